// What the server's answers mean.
extension Registrar {
    mutating func handle(_ answer: Message, to operation: Operation, _ now: Duration) {
        let status = answer.status ?? .formatError
        switch operation {
        case .register(let portals, let targets, let version):
            registered(portals, targets, version, answer, status, now)
        case .deregisterTargets(let names):
            guard isGone(status) else { return refused(answer, now) }
            for name in names {
                targets[name] = nil
                suspectedTargets.remove(name)
                notified.remove(name)
            }
        case .deregisterPortals(let keys):
            guard isGone(status) else { return refused(answer, now) }
            for key in keys { portals[key] = nil }
            suspectedPortals.subtract(keys)
        case .deregisterEntity:
            guard isGone(status) else { return refused(answer, now) }
            forgetAll()
        case .notifications(let node, let bitmap): notificationsAnswered(node, bitmap, status)
        case .confirmEntity: confirmed(answer, status, now)
        case .confirmTarget(let name):
            guard status == .success || isUnknown(status) else { return refused(answer, now) }
            if !answer.operatingAttributes.contains(where: { $0.tag == .iscsiName && $0.text == name }) {
                lose(name)
            }
        case .askInitiators(let name):
            if isUnknown(status) { return forgotten(now) }
            guard status == .success else { return refused(answer, now) }
            report(answer, of: name)
        }
    }

    private func isGone(_ status: ResponseStatus) -> Bool {
        [.success, .noSuchEntry, .invalidDeregistration, .sourceUnknown].contains(status)
    }

    private func isUnknown(_ status: ResponseStatus) -> Bool { [.sourceUnknown, .noSuchEntry].contains(status) }

    private mutating func registered(
        _ newPortals: [Portal], _ newTargets: [TargetNode], _ version: Int, _ answer: Message,
        _ status: ResponseStatus, _ now: Duration
    ) {
        if status == .statusInquiryNotAvailable, !statusInquiriesAreRefused {
            statusInquiriesAreRefused = true
            actions.append(.notice(.noStatusInquiries))
            return
        }
        if isUnknown(status) { return forgotten(now) }
        guard status == .success else { return refused(answer, now) }
        isReplaced = true
        for portal in newPortals { portals[portal.key] = portal }
        for target in newTargets { targets[target.name] = Confirmed(node: target, portalsVersion: version) }
        accessDue = now
        if let granted = answer.attributes.last(where: { $0.tag == .registrationPeriod })?.number { period = granted }
    }

    private mutating func notificationsAnswered(
        _ node: String, _ bitmap: NotificationBitmap, _ status: ResponseStatus
    ) {
        if status == .success {
            notified.insert(node)
        } else if bitmap == .ofManager {
            managementIsRefused = true
        } else {
            notificationsAreRefused = true
            actions.append(.notice(.noNotifications(status)))
        }
    }

    private mutating func confirmed(_ answer: Message, _ status: ResponseStatus, _ now: Duration) {
        guard status == .success || isUnknown(status) else { return refused(answer, now) }
        let attributes = answer.operatingAttributes
        guard attributes.contains(where: { $0.tag == .entityIdentifier }) else { return forgotten(now) }
        if let granted = attributes.last(where: { $0.tag == .registrationPeriod })?.number { period = granted }
        var found: Set<PortalKey> = []
        var address: PortalAddress?
        for attribute in attributes {
            if attribute.tag == .portalAddress {
                address = PortalAddress(attribute.value)
            } else if attribute.tag == .portalPort, let known = address, let number = attribute.number {
                // The upper half tells UDP from TCP.
                found.insert(PortalKey(address: known, port: UInt16(truncatingIfNeeded: number)))
                address = nil
            }
        }
        // A portal through which the asking node is not reached may be hidden from it.
        guard let node = source.flatMap({ targets[$0]?.node }) else { return }
        let isLost = portals.values.contains { !found.contains($0.key) && node.tag(through: $0) != nil }
        if isLost { lose("a portal") }
    }

    private mutating func report(_ answer: Message, of target: String) {
        var names: Set<String> = []
        for attribute in answer.operatingAttributes where attribute.tag == .iscsiName {
            guard let name = attribute.text else { continue }
            guard names.count < Limit.initiators else {
                actions.append(.notice(.tooManyInitiators(target: target)))
                break
            }
            names.insert(name)
        }
        actions.append(.initiators(target: target, names))
    }

    /// Where one object is missing others may be, which cannot be seen: everything is registered again.
    private mutating func lose(_ what: String) {
        actions.append(.notice(.lost(what)))
        portals = [:]
        targets = [:]
        notified = []
        toConfirm = []
        toAsk = []
        isDirty = true
        isRegistered = false
    }

    private mutating func forgetAll() {
        portals = [:]
        targets = [:]
        suspectedPortals = []
        suspectedTargets = []
        notified = []
        mayHaveEntity = false
        toConfirm = []
        toAsk = []
        isDirty = true
        isRegistered = false
    }

    /// The server has lost everything: all of it is registered again, at once the first time, after a pause when it
    /// happens again soon.
    private mutating func forgotten(_ now: Duration) {
        forgetAll()
        if let lastForgotten, now < lastForgotten + Limit.answer {
            return fail("the server does not keep the registration", now)
        }
        lastForgotten = now
        actions.append(.notice(.forgotten))
    }

    private mutating func refused(_ answer: Message, _ now: Duration) {
        let function = answer.function.description.dropLast("Rsp".count)
        fail("the server refused \(function): \(answer.status ?? .formatError)", now)
    }
}

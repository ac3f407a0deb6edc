// What to send next.
extension Registrar {
    /// Sends the next request, if the connection is free and there is one.
    mutating func work(_ now: Duration) {
        guard connection == .open, outstanding == nil, !isStopped else { return }
        if stopDeadline != nil, !mayHaveEntity { return end() }
        guard let operation = nextOperation(now) else { return }
        transactionID &+= 1
        guard let request = request(operation) else { return }
        if case .register(let portals, let targets, _) = operation {
            mayHaveEntity = true
            suspectedPortals.formUnion(portals.map(\.key))
            suspectedTargets.formUnion(targets.map(\.name))
            lastSource = source
        }
        outstanding = (operation, request, now + Limit.answer)
        actions.append(.send(request))
    }

    private mutating func nextOperation(_ now: Duration) -> Operation? {
        if stopDeadline != nil { return .deregisterEntity }
        if isDirty {
            if let operation = nextDifference() { return operation }
            isDirty = false
            isRegistered = true
            pause = Limit.pauses.shortest
            confirmationDue = now + confirmationInterval
            actions.append(
                .notice(.registered(targets: targets.count, portals: portals.count, period: period)))
        }
        guard !targets.isEmpty else { return nil }
        if let operation = nextNotificationRegistration() { return operation }
        planRounds(now)
        if confirmsEntity {
            confirmsEntity = false
            return .confirmEntity
        }
        if let name = nextQuestion(&toConfirm) { return .confirmTarget(name) }
        if let name = nextQuestion(&toAsk) { return .askInitiators(name) }
        return nil
    }

    /// The next name that is still registered.
    private func nextQuestion(_ names: inout [String]) -> String? {
        while let name = names.popLast() {
            if targets[name] != nil { return name }
        }
        return nil
    }

    /// Begins the rounds of questions that are due; one that is under way ends first.
    private mutating func planRounds(_ now: Duration) {
        guard toConfirm.isEmpty, toAsk.isEmpty else { return }
        let mayFollowChange = lastRound.map { now >= $0 + Limit.round } ?? true
        let followsChange = isChangeAnnounced && mayFollowChange
        if followsChange {
            isChangeAnnounced = false
            lastRound = now
            confirmsEntity = true
        }
        if now >= confirmationDue {
            confirmationDue = now + confirmationInterval
            confirmsEntity = true
            toConfirm = targets.keys.sorted(by: >)
        }
        if settings.followsAccess, followsChange || now >= accessDue {
            accessDue = now + Limit.access
            toAsk = targets.keys.sorted(by: >)
        }
    }

    /// A third of the registration period, so that one lost confirmation does no harm.
    var confirmationInterval: Duration {
        guard period > 0 else { return Limit.confirmation }
        return max(.seconds(1), min(Limit.confirmation, .seconds(Int64(period)) / 3))
    }

    /// The next step from what the server has to what is desired.
    private func nextDifference() -> Operation? {
        if desired.targets.isEmpty {
            return mayHaveEntity ? .deregisterEntity : nil
        }
        let newPortals = desired.portals.filter { portals[$0.key] != $0 }
        var batch: [TargetNode] = []
        var length = 0
        for target in desired.targets {
            guard targets[target.name] != Confirmed(node: target, portalsVersion: portalsVersion) else { continue }
            length += Message.registrationLength(of: target, portals: desired.portals.count)
            if !batch.isEmpty, length > Limit.registrationLength { break }
            batch.append(target)
        }
        if !newPortals.isEmpty || !batch.isEmpty {
            return .register(portals: newPortals, targets: batch, version: portalsVersion)
        }
        // Everything that is wanted is registered by now, and so among what is suspected.
        if suspectedTargets.count > desired.targets.count {
            let superfluous = suspectedTargets.subtracting(desired.targets.map(\.name)).sorted()
            return .deregisterTargets(Array(superfluous.prefix(Limit.deregistrationCount)))
        }
        if suspectedPortals.count > desired.portals.count {
            let superfluous = suspectedPortals.subtracting(desired.portals.map(\.key))
            return .deregisterPortals(Array(superfluous.prefix(Limit.deregistrationCount)))
        }
        return nil
    }

    /// One node for all where the server lets it be a manager; else every node for itself.
    private func nextNotificationRegistration() -> Operation? {
        guard !notificationsAreRefused else { return nil }
        if !managementIsRefused {
            if notified.contains(where: { targets[$0] != nil }) { return nil }
            return source.map { .notifications(source: $0, .ofManager) }
        }
        guard notified.count < targets.count else { return nil }
        return targets.keys.filter { !notified.contains($0) }.min().map { .notifications(source: $0, .ofTarget) }
    }

    /// The node in whose name the entity is changed: one that is registered and stays, if possible.
    var source: String? {
        let staying = desired.targets.first { targets[$0.name] != nil }
        return staying?.name ?? targets.keys.min() ?? desired.targets.first?.name ?? lastSource
    }

    private func request(_ operation: Operation) -> Message? {
        // Without any node nothing was registered, and there is no name to speak in.
        guard let source else { return nil }
        let entity = settings.entityIdentifier
        switch operation {
        case .register(let portals, let targets, _):
            return .registration(
                entity: entity, source: source, replaces: !isReplaced, period: settings.registrationPeriod,
                inquiryInterval: statusInquiriesAreRefused ? nil : settings.inquiryInterval, portals: portals,
                targets: targets, allPortals: desired.portals, transactionID: transactionID)
        case .deregisterTargets(let names):
            return .deregistration(
                source: source, names.map { Attribute(.iscsiName, $0) }, transactionID: transactionID)
        case .deregisterPortals(let keys):
            let objects = keys.flatMap { key in
                [Attribute(.portalAddress, key.address.bytes), Attribute(.portalPort, UInt32(key.port))]
            }
            return .deregistration(source: source, objects, transactionID: transactionID)
        case .deregisterEntity:
            return .deregistration(
                source: source, [Attribute(.entityIdentifier, entity)], transactionID: transactionID)
        case .notifications(let node, let bitmap):
            return .notificationRegistration(source: node, bitmap, transactionID: transactionID)
        case .confirmEntity:
            return .query(
                source: source, key: Attribute(.entityIdentifier, entity),
                wanted: [.entityIdentifier, .registrationPeriod, .portalAddress, .portalPort],
                transactionID: transactionID)
        case .confirmTarget(let name):
            return .query(
                source: name, key: Attribute(.iscsiName, name), wanted: [.iscsiName], transactionID: transactionID)
        case .askInitiators(let name):
            return .query(
                source: name, key: Attribute(.iscsiNodeType, NodeType.initiator), wanted: [.iscsiName],
                transactionID: transactionID)
        }
    }
}

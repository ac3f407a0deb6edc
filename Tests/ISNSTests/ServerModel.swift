import ISNS

/// A server as the RFC describes it, as far as the registrar can see one.
struct ServerModel {
    struct PortalGroup: Hashable {
        let target: String
        let portal: PortalKey
    }

    var entity: String?
    var portals: [PortalKey: UInt16?] = [:]
    var nodes: Set<String> = []
    var tags: [PortalGroup: UInt16?] = [:]
    var notified: [String: UInt32] = [:]
    /// The initiators that each target may see.
    var initiators: [String: [String]] = [:]
    var period: UInt32 = 60
    var allowsManagement = true
    var allowsNotifications = true
    var allowsStatusInquiries = true
    /// The functions that were asked for, in order.
    var log: [Function] = []
    var replacements = 0

    mutating func forget() {
        let (initiators, log) = (initiators, log)
        self = ServerModel(
            initiators: initiators, period: period, allowsManagement: allowsManagement,
            allowsNotifications: allowsNotifications, allowsStatusInquiries: allowsStatusInquiries, log: log,
            replacements: replacements)
    }

    mutating func answer(_ request: Message) -> Message {
        log.append(request.function)
        let (status, attributes) = process(request)
        return Message(
            request.function.response, flags: .server, transactionID: request.transactionID, status: status,
            attributes: attributes)
    }

    private mutating func process(_ request: Message) -> (ResponseStatus, [Attribute]) {
        guard let source = request.attributes.first, source.tag == .iscsiName, let name = source.text else {
            return (ResponseStatus(rawValue: 7), [])
        }
        let operating = Array(request.operatingAttributes)
        switch request.function {
        case .deviceAttributeRegistration: return register(request, operating)
        case .deviceDeregistration: return deregister(operating)
        case .notificationRegistration:
            guard nodes.contains(name) else { return (.sourceUnknown, []) }
            let bitmap = operating.first?.number ?? 0
            guard allowsNotifications, allowsManagement || bitmap & 0x20 == 0 else {
                return (.notificationRegistrationRejected, [])
            }
            notified[name] = bitmap
            return (.success, [.delimiter])
        case .deviceAttributeQuery: return query(name, request.attributes[1])
        default: return (.messageNotSupported, [])
        }
    }

    private mutating func register(_ request: Message, _ operating: [Attribute]) -> (ResponseStatus, [Attribute]) {
        if !allowsStatusInquiries, operating.contains(where: { $0.tag == .statusInquiryPort }) {
            return (.statusInquiryNotAvailable, [])
        }
        if request.flags.contains(.replace) {
            replacements += 1
            forget()
        }
        entity = request.attributes[1].text
        var address: PortalAddress?
        var portal: PortalKey?
        var group: String?
        for attribute in operating {
            switch attribute.tag {
            case .portalAddress, .portalGroupAddress: address = PortalAddress(attribute.value)
            case .portalPort, .portalGroupPort:
                guard let known = address, let number = attribute.number else { return (.formatError, []) }
                let key = PortalKey(address: known, port: UInt16(number))
                portal = key
                if attribute.tag == .portalPort { portals[key] = .some(nil) }
            case .notificationPort: if let portal { portals[portal] = attribute.number.map { UInt16($0) } }
            case .iscsiName: if let name = attribute.text { nodes.insert(name) }
            case .portalGroupName: group = attribute.text
            case .portalGroupTag:
                guard let portal, let group else { return (.formatError, []) }
                tags[PortalGroup(target: group, portal: portal)] = .some(attribute.number.map { UInt16($0) })
            default: break
            }
        }
        return (
            .success,
            [Attribute(.entityIdentifier, entity ?? ""), .delimiter, Attribute(.registrationPeriod, period)]
        )
    }

    private mutating func deregister(_ operating: [Attribute]) -> (ResponseStatus, [Attribute]) {
        var address: PortalAddress?
        for attribute in operating {
            switch attribute.tag {
            case .entityIdentifier: if attribute.text == entity { forget() }
            case .iscsiName:
                guard let name = attribute.text else { return (.formatError, []) }
                nodes.remove(name)
                notified[name] = nil
                tags = tags.filter { $0.key.target != name }
            case .portalAddress: address = PortalAddress(attribute.value)
            case .portalPort:
                guard let known = address, let number = attribute.number else { return (.formatError, []) }
                let key = PortalKey(address: known, port: UInt16(number))
                portals[key] = nil
                tags = tags.filter { $0.key.portal != key }
            default: return (.formatError, [])
            }
        }
        return (.success, [.delimiter])
    }

    private func query(_ source: String, _ key: Attribute) -> (ResponseStatus, [Attribute]) {
        switch key.tag {
        case .entityIdentifier:
            guard key.text == entity else { return (.success, [key, .delimiter]) }
            let found = portals.keys.flatMap {
                [Attribute(.portalAddress, $0.address.bytes), Attribute(.portalPort, UInt32($0.port))]
            }
            return (.success, [key, .delimiter, key, Attribute(.registrationPeriod, period)] + found)
        case .iscsiName:
            let found = key.text.map(nodes.contains) ?? false
            return (.success, [key, .delimiter] + (found ? [key] : []))
        case .iscsiNodeType:
            guard nodes.contains(source) else { return (.sourceUnknown, []) }
            return (.success, [key, .delimiter] + (initiators[source] ?? []).map { Attribute(.iscsiName, $0) })
        default: return (.formatError, [])
        }
    }
}

/// A registrar, a model of its server, and the time, which only moves when told.
struct RegistrarFixture {
    var registrar: Registrar
    var server = ServerModel()
    var now = Duration.zero
    /// Whether the server accepts connections, and whether it answers.
    var isReachable = true
    var isTalkative = true
    private(set) var notices: [Registrar.Notice] = []
    private(set) var access: [String: Set<String>] = [:]
    private(set) var connections = 0
    private(set) var isConnected = false
    private(set) var isStopped = false
    private(set) var sent: [Message] = []

    init(followsAccess: Bool = false) {
        registrar = Registrar(.init(entityIdentifier: "entity", followsAccess: followsAccess))
    }

    /// Does what the registrar wants until it wants nothing more.
    mutating func settle() {
        while let action = registrar.nextAction() {
            switch action {
            case .connect:
                guard isReachable else {
                    registrar.connectionEnded("refused", now)
                    continue
                }
                connections += 1
                isConnected = true
                registrar.connected(now)
            case .send(let message):
                sent.append(message)
                guard isTalkative, !message.function.isResponse else { continue }
                registrar.received(server.answer(message), now)
            case .disconnect: isConnected = false
            case .initiators(let target, let names): access[target] = names
            case .notice(let notice): notices.append(notice)
            case .stopped: isStopped = true
            }
        }
    }

    /// Lets time pass, moment by moment.
    mutating func pass(_ duration: Duration) {
        let end = now + duration
        while let deadline = registrar.deadline, deadline <= end {
            now = max(now, deadline)
            registrar.timePassed(now)
            settle()
        }
        now = end
    }

    mutating func begin(_ entity: NetworkEntity) {
        registrar.update(entity, now)
        registrar.start(now)
        settle()
    }

    mutating func update(_ entity: NetworkEntity) {
        registrar.update(entity, now)
        settle()
    }

    mutating func loseConnection() {
        guard isConnected else { return }
        isConnected = false
        registrar.connectionEnded("closed", now)
        settle()
    }
}

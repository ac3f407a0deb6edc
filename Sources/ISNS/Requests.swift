// The requests of a client (RFC 4171 section 5.6) and the answers to what the server asks (section 5.7).

/// Of which changes a node wants to know (RFC 4171 section 6.4.4).
public struct NotificationBitmap: OptionSet, Hashable, Sendable {
    /// The 32 bits of the iSCSI SCN Bitmap.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// A node was added to a discovery domain (management registrations only).
    public static let memberAdded = NotificationBitmap(rawValue: 0x01)
    /// A node was taken out of a discovery domain (management registrations only).
    public static let memberRemoved = NotificationBitmap(rawValue: 0x02)
    /// An object has other attributes.
    public static let objectUpdated = NotificationBitmap(rawValue: 0x04)
    public static let objectAdded = NotificationBitmap(rawValue: 0x08)
    public static let objectRemoved = NotificationBitmap(rawValue: 0x10)
    /// Changes anywhere, not only in the own discovery domains.
    public static let management = NotificationBitmap(rawValue: 0x20)
    /// Initiators and the node itself only.
    public static let initiatorAndSelf = NotificationBitmap(rawValue: 0x80)

    /// What a target wants to know of the initiators that may see it.
    public static let ofTarget: NotificationBitmap = [.initiatorAndSelf, .objectAdded, .objectRemoved, .objectUpdated]
    /// What one node that stands for all others wants to know. Only this tells of nodes that leave a discovery domain.
    public static let ofManager: NotificationBitmap = [.ofTarget, .management, .memberAdded, .memberRemoved]
}

/// The kinds of nodes and protocols on the wire (RFC 4171 sections 6.2.2 and 6.4.2).
enum NodeType {
    static let target: UInt32 = 1
    static let initiator: UInt32 = 2
    static let iscsiProtocol: UInt32 = 2
}

extension Message {
    /// Registers or updates the entity with portals and targets, and the portal groups between `targets` and
    /// `allPortals`.
    static func registration(
        entity: String, source: String, replaces: Bool, period: UInt32, inquiryInterval: UInt32?,
        portals: [Portal], targets: [TargetNode], allPortals: [Portal], transactionID: UInt16
    ) -> Message {
        var attributes = [
            Attribute(.iscsiName, source), Attribute(.entityIdentifier, entity), .delimiter,
            Attribute(.entityIdentifier, entity), Attribute(.entityProtocol, NodeType.iscsiProtocol),
            Attribute(.registrationPeriod, period),
        ]
        for portal in portals {
            attributes += [
                Attribute(.portalAddress, portal.key.address.bytes), Attribute(.portalPort, UInt32(portal.key.port)),
            ]
            if let port = portal.inquiryPort {
                if let inquiryInterval {
                    attributes += [
                        Attribute(.statusInquiryInterval, inquiryInterval), Attribute(.statusInquiryPort, UInt32(port)),
                    ]
                }
                attributes.append(Attribute(.notificationPort, UInt32(port)))
            }
        }
        for target in targets {
            attributes += [Attribute(.iscsiName, target.name), Attribute(.iscsiNodeType, NodeType.target)]
            if !target.alias.isEmpty { attributes.append(Attribute(.iscsiAlias, target.alias)) }
        }
        for target in targets {
            attributes += allPortals.flatMap { portal in
                // Explicit everywhere: the server takes 1 for a tag that is not given (RFC 4171 section 6.5.4).
                [
                    Attribute(.portalGroupName, target.name), Attribute(.portalGroupAddress, portal.key.address.bytes),
                    Attribute(.portalGroupPort, UInt32(portal.key.port)),
                    target.tag(through: portal).map { Attribute(.portalGroupTag, UInt32($0)) }
                        ?? Attribute(.portalGroupTag),
                ]
            }
        }
        return Message(
            .deviceAttributeRegistration, flags: replaces ? [.client, .replace] : .client, transactionID: transactionID,
            attributes: attributes)
    }

    /// The bytes that one target takes in a registration, at most.
    static func registrationLength(of target: TargetNode, portals: Int) -> Int {
        let name = Attribute(.iscsiName, target.name).encodedLength
        return name + 12 + Attribute(.iscsiAlias, target.alias).encodedLength + portals * (name + 24 + 12 + 12)
    }

    /// Takes objects out; each is named by its key attributes.
    static func deregistration(source: String, _ objects: [Attribute], transactionID: UInt16) -> Message {
        Message(
            .deviceDeregistration, transactionID: transactionID,
            attributes: [Attribute(.iscsiName, source), .delimiter] + objects)
    }

    /// Asks to be told of changes.
    static func notificationRegistration(
        source: String, _ bitmap: NotificationBitmap, transactionID: UInt16
    ) -> Message {
        Message(
            .notificationRegistration, transactionID: transactionID,
            attributes: [
                Attribute(.iscsiName, source), Attribute(.iscsiName, source), .delimiter,
                Attribute(.iscsiNotificationBitmap, bitmap.rawValue),
            ])
    }

    /// Asks for the attributes `wanted` of the objects with `key`, as `source` may see them.
    static func query(
        source: String, key: Attribute, wanted: [AttributeTag], transactionID: UInt16
    ) -> Message {
        Message(
            .deviceAttributeQuery, transactionID: transactionID,
            attributes: [Attribute(.iscsiName, source), key, .delimiter] + wanted.map { Attribute($0) })
    }

    /// The answer to a message that the server began: ESI and SCN are confirmed, all else is refused.
    public func answer() -> Message {
        switch function {
        case .entityStatusInquiry:
            // The attributes come back as they were.
            Message(function.response, transactionID: transactionID, status: .success, attributes: attributes)
        case .stateChangeNotification:
            // The destination only.
            Message(
                function.response, transactionID: transactionID, status: .success,
                attributes: Array(attributes.prefix { $0.tag == .iscsiName }.prefix(1)))
        default:
            Message(function.response, transactionID: transactionID, status: .messageNotSupported, attributes: [])
        }
    }
}

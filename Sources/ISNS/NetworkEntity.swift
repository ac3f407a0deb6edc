internal import Bytes

/// The 16 bytes of an IPv6 address, or of an IPv4 address mapped to one (RFC 4171 section 6.3.1).
public struct PortalAddress: Hashable, Sendable {
    /// The bytes, first one first.
    public let bytes: [UInt8]

    /// The IPv6 address of those 16 bytes, or the IPv4 address of those four; nil for any other number.
    public init?(_ bytes: [UInt8]) {
        switch bytes.count {
        case 16: self.bytes = bytes
        case 4: self.bytes = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF] + bytes
        default: return nil
        }
    }
}

/// What names a portal: an address and a TCP port.
public struct PortalKey: Hashable, Sendable {
    /// The IP address it listens on.
    public let address: PortalAddress
    /// The TCP port.
    public let port: UInt16

    public init(address: PortalAddress, port: UInt16) {
        self.address = address
        self.port = port
    }
}

/// A portal as it is registered.
public struct Portal: Hashable, Sendable {
    /// Its address and port, which identify it.
    public let key: PortalKey
    public let groupTag: UInt16
    /// The TCP port at its address where the server's own messages are taken; nil when there is none.
    public let inquiryPort: UInt16?

    public init(key: PortalKey, groupTag: UInt16, inquiryPort: UInt16?) {
        self.key = key
        self.groupTag = groupTag
        self.inquiryPort = inquiryPort
    }
}

/// A target as it is registered.
public struct TargetNode: Hashable, Sendable {
    /// The iSCSI name, which identifies it.
    public let name: String
    /// The alias, or an empty text.
    public let alias: String
    /// The tags of the portal groups that offer it; nil when all do.
    public let portalGroupTags: Set<UInt16>?

    public init(name: String, alias: String, portalGroupTags: Set<UInt16>?) {
        self.name = name
        self.alias = alias
        self.portalGroupTags = portalGroupTags
    }

    /// The tag under which it is reached through `portal`; nil when it is not.
    public func tag(through portal: Portal) -> UInt16? {
        portalGroupTags?.contains(portal.groupTag) ?? true ? portal.groupTag : nil
    }
}

/// What is to be registered: the portals and the targets of one daemon.
public struct NetworkEntity: Hashable, Sendable {
    /// The most portals; more are not registered.
    public static let maximumPortals = 256
    /// The most targets; more are not registered.
    public static let maximumTargets = 16_384

    /// The portals, each once.
    public let portals: [Portal]
    /// The targets in the order of their names, each once.
    public let targets: [TargetNode]

    /// An entity of those objects, cut to the limits.
    public init(portals: [Portal], targets: [TargetNode]) {
        var keys: Set<PortalKey> = []
        self.portals = Array(portals.filter { keys.insert($0.key).inserted }.prefix(Self.maximumPortals))
        var names: Set<String> = []
        self.targets = Array(
            targets.filter { names.insert($0.name).inserted }.sorted { $0.name < $1.name }.prefix(Self.maximumTargets))
    }
}

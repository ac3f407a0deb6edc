public import ISNS

/// What a daemon offers, as it listens; the client makes the `NetworkEntity` of it.
public struct Offer: Hashable, Sendable {
    /// A portal of the offer, by host, port and group.
    public struct Portal: Hashable, Sendable {
        /// The numeric address; a wildcard stands for the address from which the server is reached.
        public let host: String
        /// The TCP port.
        public let port: UInt16
        public let groupTag: UInt16

        public init(host: String, port: UInt16, groupTag: UInt16) {
            self.host = host
            self.port = port
            self.groupTag = groupTag
        }

        /// The address under which it is reached from `local`; nil for a wildcard of another family.
        func reached(from local: String) -> String? {
            switch host {
            case "0.0.0.0": local.contains(":") ? nil : local
            case "::": local.contains(":") ? local : nil
            default: host
            }
        }
    }

    /// The portals that initiators reach.
    public let portals: [Portal]
    /// The targets that are registered as storage nodes.
    public let targets: [TargetNode]

    public init(portals: [Portal], targets: [TargetNode]) {
        self.portals = portals
        self.targets = targets
    }
}

/// How much of an offer the server has registered.
public struct RegistrationStatus: Hashable, Sendable {
    /// Whether everything that is offered is registered.
    public var isRegistered = false
    /// How many targets and portals are registered.
    public var targets = 0
    /// How many portals are registered.
    public var portals = 0
    /// The last failure; nil after none, or when all is well again.
    public var lastError: String?
}

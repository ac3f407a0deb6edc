/// A target as discovery shows it (RFC 7143 appendix C).
public struct DiscoveredTarget: Hashable, Sendable {
    /// The target's iSCSI name.
    public var name: String
    /// Its portals as `TargetAddress` values (see `SendTargets.address`).
    public var addresses: [String]

    public init(name: String, addresses: [String]) {
        self.name = name
        self.addresses = addresses
    }
}

/// The SendTargets key (RFC 7143 section 13.3 and appendix C).
public enum SendTargets {
    /// The most targets in one answer.
    public static let maximumTargetCount = 65_536
    /// The most bytes of an answer that an initiator should take.
    public static let maximumAnswerLength = 32 << 20

    /// What an initiator asks for.
    public enum Scope: Hashable, Sendable {
        /// `SendTargets=All`: every target that the initiator may see.
        case all
        /// `SendTargets=<name>`: one target, its name normalised.
        case target(String)
        /// `SendTargets=`: the target of this session; only in normal sessions.
        case session
    }

    /// The scope that `value` asks for, or nil when it is none: `All` is spelled exactly so, and names are iSCSI names.
    public static func scope(_ value: String) -> Scope? {
        switch value {
        case "All": .all
        case "": .session
        default: ISCSIName.normalized(value).map(Scope.target)
        }
    }

    /// A `TargetAddress` value (section 13.8): `host:port,tag`. An IPv6 literal is put in brackets.
    public static func address(host: String, port: UInt16, portalGroupTag: UInt16) -> String {
        let isBare = host.contains(":") && !host.hasPrefix("[")
        return "\(isBare ? "[\(host)]" : host):\(port),\(portalGroupTag)"
    }

    /// The parameters of the answer for one target: its name, then its addresses.
    public static func response(_ target: DiscoveredTarget) -> [TextParameter] {
        [TextParameter("TargetName", target.name)]
            + target.addresses.map { TextParameter("TargetAddress", $0) }
    }

    /// The targets in an answer, for initiators. Addresses before the first name are ignored.
    public static func parse(_ parameters: [TextParameter]) -> [DiscoveredTarget] {
        var targets: [DiscoveredTarget] = []
        for parameter in parameters {
            switch parameter.key {
            case "TargetName": targets.append(DiscoveredTarget(name: parameter.value, addresses: []))
            case "TargetAddress" where !targets.isEmpty:
                targets[targets.count - 1].addresses.append(parameter.value)
            default: break
            }
        }
        return targets
    }
}

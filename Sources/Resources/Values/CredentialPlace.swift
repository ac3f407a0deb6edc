/// Where initiators have to prove who they are: at a target, as members of a group, or in discovery sessions.
public enum CredentialPlace: Hashable, Sendable, CustomStringConvertible {
    /// At the target of that name, an iSCSI name or what ends that of one of this daemon's own where it is a name for a
    /// device.
    case target(String)
    /// The members of the initiator group, at every target.
    case group(String)
    case discovery

    /// `target:disk0`, `group:db` or `discovery`. A slash in the name of a target is written `%2F`, for a slash ends
    /// the place in the names of credentials.
    public var description: String {
        switch self {
        case .target(let name):
            "target:"
                + DeviceName.alias(ofTarget: name).split(separator: "/", omittingEmptySubsequences: false)
                .joined(separator: "%2F")
        case .group(let name): "group:\(name)"
        case .discovery: "discovery"
        }
    }

    /// The place that `text` names.
    public static func parse(_ text: String) throws(ManagementError) -> CredentialPlace {
        if text == "discovery" { return .discovery }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, ["target", "group"].contains(parts[0]) else {
            throw ManagementError(
                .invalid,
                "'\(text)' is no place for CHAP; write target:NAME, group:NAME or discovery, and a slash in a name as "
                    + "%2F"
            )
        }
        guard parts[0] == "target" else { return .group(try TextRule.name(of: "group").canonical(String(parts[1]))) }
        return .target(
            try TextRule.target.canonical(String(parts[1].replacing("%2F", with: "/").replacing("%2f", with: "/"))))
    }
}

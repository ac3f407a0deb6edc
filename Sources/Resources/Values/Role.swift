/// What somebody may ask the daemon for; whoever has a role may do what those before it may, too.
public enum Role: String, FieldWord, Codable, Comparable {
    /// To look: nothing that is shown is a secret.
    case viewer
    /// To run devices: make and change them, move media, and all else that lets nobody see more than before and
    /// takes no media away.
    case `operator`
    /// All, with what decides who sees what, takes media away, or reaches files of the host.
    case admin

    public static func < (first: Role, second: Role) -> Bool { first.rank < second.rank }

    private var rank: Int {
        switch self {
        case .viewer: 0
        case .operator: 1
        case .admin: 2
        }
    }

    /// With its article, for sentences.
    public var aName: String {
        switch self {
        case .viewer: "a viewer"
        case .operator: "an operator"
        case .admin: "an admin"
        }
    }
}

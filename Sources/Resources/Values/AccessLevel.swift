/// Who may log in to a target at all.
public enum AccessLevel: String, FieldWord, Codable {
    /// Nobody.
    case closed
    /// Who reaches it through a loopback address of this machine; so targets begin.
    case loopback
    /// The members of the groups that were given access; nobody when there are none.
    case groups
    /// Everyone.
    case open
}

public import TargetCore

/// Which commands are performed in which target port asymmetric access states, as SPC-5 clauses 5.16.2.4 and 5.16.2.5
/// have it. What is not listed is not; `REPORT SUPPORTED …` is what may be performed in the standby state besides.
public enum AccessStateTable {
    /// In every state.
    private static let always = [
        "INQUIRY", "REPORT LUNS", "REPORT TARGET PORT GROUPS", "REQUEST SENSE", "READ BUFFER", "WRITE BUFFER",
    ]
    /// In standby and unavailable.
    private static let settled = ["SET TARGET PORT GROUPS"]
    private static let standby = [
        "LOG SELECT", "LOG SENSE", "MODE SELECT", "MODE SENSE", "RECEIVE DIAGNOSTIC RESULTS", "SEND DIAGNOSTIC",
        "PERSISTENT RESERVE IN", "PERSISTENT RESERVE OUT", "REPORT SUPPORTED OPERATION CODES",
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
    ]

    /// What the row of the command `name` is to say of access states.
    private static func wanted(_ name: String) -> CommandConditions {
        func isOne(of names: [String]) -> Bool {
            names.contains { name == $0 || name.hasPrefix($0 + "(") || name.hasPrefix($0 + ",") }
        }
        if isOne(of: always) { return .allowedInEveryAccessState }
        if isOne(of: settled) { return [.allowedInStandby, .allowedWhenUnavailable] }
        return isOne(of: standby) ? .allowedInStandby : []
    }

    /// The commands of `set` whose row says something else, with what it says.
    public static func differences(_ set: CommandSet) -> [String] {
        set.attributes().compactMap { row in
            let found = row.conditions.intersection(.allowedInEveryAccessState)
            return found == wanted(row.name) ? nil : "\(row.name): \(found)"
        }
    }
}

public import TargetCore

/// Which commands of others a persistent reservation lets pass, as the standards' tables have it: those of SPC-5 clause
/// 5.14.1, SBC-4 clause 4.17, SSC-4 and SMC-3, with ALLOW COMMANDS 011b. What is not listed conflicts.
public enum ReservationTable {
    /// Allowed beside every type. RESERVE, RELEASE and the PERSISTENT RESERVE commands have rules of their own.
    private static let always: Set<String> = [
        "INQUIRY", "REPORT LUNS", "REQUEST SENSE", "TEST UNIT READY", "LOG SENSE", "READ CAPACITY(10)",
        "READ CAPACITY(16)", "READ BLOCK LIMITS", "REPORT DENSITY SUPPORT", "REPORT TARGET PORT GROUPS", "RESERVE(6)",
        "RESERVE(10)", "RELEASE(6)", "RELEASE(10)", "REPORT IDENTIFYING INFORMATION", "REPORT PRIORITY",
        "REPORT TIMESTAMP",
    ]
    /// Allowed beside the write exclusive types.
    private static let reads: Set<String> = [
        "READ(6)", "READ(10)", "READ(12)", "READ(16)", "PRE-FETCH(10)", "PRE-FETCH(16)", "VERIFY(6)", "VERIFY(10)",
        "REPORT PROVISIONING INITIALIZATION PATTERN",
        "READ(32)", "VERIFY(32)", "READ LONG(10)", "READ LONG(16)", "GET LBA STATUS(32)",
        "VERIFY(12)", "VERIFY(16)", "GET LBA STATUS(16)", "READ DEFECT DATA(10)", "READ DEFECT DATA(12)",
        "MODE SENSE(6)", "MODE SENSE(10)", "REPORT SUPPORTED OPERATION CODES",
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", "REWIND", "SPACE(6)", "SPACE(16)", "LOCATE(10)", "LOCATE(16)",
        "READ BUFFER(10)", "RECEIVE DIAGNOSTIC RESULTS", "POPULATE TOKEN",
    ]

    /// Allowed beside a reservation by RESERVE (SPC-2 clause 5.5.1, SBC-2 and SSC-2), as far as no field of the command
    /// decides; commands that are younger than RESERVE are where others are that do the same.
    private static let besideReserve: Set<String> = [
        "INQUIRY", "REPORT LUNS", "REQUEST SENSE", "LOG SENSE", "READ CAPACITY(10)", "READ CAPACITY(16)", "RELEASE(6)",
        "RELEASE(10)", "REPORT SUPPORTED OPERATION CODES", "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
        "REPORT IDENTIFYING INFORMATION", "REPORT PRIORITY", "REPORT TIMESTAMP", "REPORT TARGET PORT GROUPS",
    ]
    /// Performed while a unit attention is pending (SPC-5 clause 5.14.2).
    private static let besideUnitAttention: Set<String> = ["INQUIRY", "REPORT LUNS", "REQUEST SENSE"]

    /// The commands of `set` whose row says something else than the tables, with what it says.
    public static func differences(_ set: CommandSet) -> [String] {
        set.attributes().compactMap { row in
            let name = row.name
            let isBesideReserve =
                besideReserve.contains(name)
                || ["PERSISTENT RESERVE ", "RECEIVE COPY ", "RECEIVE ROD "].contains { name.hasPrefix($0) }
            guard row.conditions.contains(.allowedWhenReserved) == isBesideReserve,
                row.conditions.contains(.allowedWithUnitAttention) == besideUnitAttention.contains(name)
            else { return "\(name): \(row.conditions)" }
            let isAlways =
                always.contains(name)
                || ["PERSISTENT RESERVE ", "RECEIVE COPY ", "RECEIVE ROD "].contains { name.hasPrefix($0) }
            let isRead = reads.contains(name) || name.hasPrefix("READ POSITION") || name.hasPrefix("READ ATTRIBUTE")
            let agrees =
                row.conditions.contains(.passesExclusiveAccess) == isAlways
                && row.conditions.contains(.passesWriteExclusive) == isRead
            return agrees ? nil : "\(name): \(row.conditions)"
        }
    }
}

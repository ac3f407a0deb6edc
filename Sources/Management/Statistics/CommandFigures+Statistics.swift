import SCSI
import TargetCore

// From what the data plane has counted to what the API tells.
extension CommandFigures {
    /// The figures of `statistics`, with the names of the commands of `commands`.
    init(_ statistics: CommandStatistics, names commands: CommandSet? = nil) {
        inFlight = statistics.inFlight
        aborted = Int(clamping: statistics.aborted)
        for (key, count) in statistics.senseKeys { senseKeys[Self.name(ofSenseKey: key)] = Int(clamping: count) }
        for (status, count) in statistics.statuses { statuses[Self.name(of: status)] = Int(clamping: count) }
        operations = statistics.operations.map { code, operation in
            OperationFigures(operation, code, name: code.map { Self.name(ofOperationCode: $0, commands) } ?? "other")
        }
    }

    private static let senseKeyNames = [
        "NO SENSE", "RECOVERED ERROR", "NOT READY", "MEDIUM ERROR", "HARDWARE ERROR", "ILLEGAL REQUEST",
        "UNIT ATTENTION", "DATA PROTECT", "BLANK CHECK", "VENDOR SPECIFIC", "COPY ABORTED", "ABORTED COMMAND",
        "RESERVED", "VOLUME OVERFLOW", "MISCOMPARE", "COMPLETED",
    ]

    /// As SPC-5 table 49 has it.
    private static func name(ofSenseKey key: UInt8) -> String { senseKeyNames[Int(key & 0x0F)] }

    /// As SAM-5 table 39 has it.
    private static func name(of status: SCSIStatus) -> String {
        switch status {
        case .busy: "BUSY"
        case .reservationConflict: "RESERVATION CONFLICT"
        case .taskSetFull: "TASK SET FULL"
        default: hexadecimal(status.rawValue)
        }
    }

    private static func hexadecimal(_ value: UInt8) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return "0x" + String(repeating: "0", count: 2 - digits.count) + digits
    }

    private static func name(ofOperationCode code: UInt8, _ commands: CommandSet?) -> String {
        switch code {
        case OperationCode.serviceActionIn16: "SERVICE ACTION IN(16)"
        case OperationCode.serviceActionOut16: "SERVICE ACTION OUT(16)"
        case OperationCode.variableLength: "VARIABLE LENGTH CDB"
        case OperationCode.sanitize: "SANITIZE"
        case OperationCode.maintenanceIn: "MAINTENANCE IN"
        case OperationCode.maintenanceOut: "MAINTENANCE OUT"
        default: commands?.name(ofOperationCode: code) ?? hexadecimal(code)
        }
    }
}

extension TotalFigures {
    init(_ totals: CommandTotals) {
        inFlight = totals.inFlight
        aborted = Int(clamping: totals.aborted)
        commands = Int(clamping: totals.commands)
        failures = Int(clamping: totals.failures)
        readBytes = Int(clamping: totals.readBytes)
        writtenBytes = Int(clamping: totals.writtenBytes)
    }
}

extension OperationFigures {
    fileprivate init(_ statistics: OperationStatistics, _ code: UInt8?, name: String) {
        self.name = name
        operationCode = code.map { Int($0) }
        commands = Int(clamping: statistics.commands)
        failures = Int(clamping: statistics.failures)
        readBytes = Int(clamping: statistics.readBytes)
        writtenBytes = Int(clamping: statistics.writtenBytes)
        seconds = Double(statistics.nanoseconds) / 1e9
        longestSeconds = Double(statistics.longest) / 1e9
        latencies = statistics.latencies.classes.map { present in
            LatencyCount(
                above: LatencyScale.lowerBound(present.index), upTo: LatencyScale.upperBound(present.index),
                count: Int(clamping: present.count))
        }
    }
}

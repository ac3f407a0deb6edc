internal import Bytes
public import ISCSI
public import SCSI

/// How a SCSI command ended, as the initiator saw it.
public struct CommandOutcome: Sendable {
    /// The iSCSI response: `SCSIResponsePDU.completedAtTarget` unless the target's iSCSI layer failed.
    public var response: UInt8 = SCSIResponsePDU.completedAtTarget
    /// Status, of SAM-5.
    public var status = SCSIStatus.good
    /// The sense data as it came; empty when there was none.
    public var senseBytes: [UInt8] = []
    /// The data that came in, as far as it came: the expected length less the residual.
    public var dataIn: [UInt8] = []
    /// Residual Count with its O and U bits.
    public var residual = Residual.none
    public var bidirectionalReadResidual = Residual.none
    /// How many Data-In PDUs came.
    public var dataInCount = 0
    /// How many R2T PDUs came.
    public var readyToTransferCount = 0
    /// Whether the status came with the last Data-In PDU (phase collapse).
    public var hasCollapsedPhase = false

    /// A GOOD outcome without data.
    public init() {}

    /// Whether the command ended with GOOD.
    public var isGood: Bool { response == SCSIResponsePDU.completedAtTarget && status == .good }

    /// The sense data, when there is any that can be understood.
    public var sense: SenseData? {
        senseBytes.isEmpty ? nil : SenseData(parsing: senseBytes.rawSpan)
    }

    /// The outcome in words, for messages.
    public var summary: String {
        if response != SCSIResponsePDU.completedAtTarget { return "iSCSI response \(response)" }
        if status == .good { return "GOOD" }
        guard let sense else { return "SCSI status \(status.rawValue)" }
        return "SCSI status \(status.rawValue), \(sense.summary)"
    }
}

extension SenseData {
    /// Sense key and additional sense code in words, for messages.
    public var summary: String {
        func hex(_ value: UInt8) -> String { (value < 16 ? "0" : "") + String(value, radix: 16, uppercase: true) }
        var text = "sense \(hex(key.rawValue))/\(hex(additionalSenseCode.code))/\(hex(additionalSenseCode.qualifier))"
        if isFilemark { text += " FILEMARK" }
        if isEndOfMedium { text += " EOM" }
        if isIncorrectLength { text += " ILI" }
        return text
    }
}

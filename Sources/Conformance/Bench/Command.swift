internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// A SCSI command as a test sends it.
struct Command {
    var cdb: [UInt8]
    /// Nil is the logical unit that is tested.
    var logicalUnitNumber: LogicalUnitNumber?
    var isRead = false
    var isWrite = false
    var isImmediate = false
    var isFinal = true
    var attributes = TaskAttribute.simple.rawValue
    var expectedDataTransferLength = 0
    var immediateData: [UInt8] = []
    /// All data of a write, for what R2Ts ask for.
    var dataOut: [UInt8] = []
    /// Nil takes the next.
    var tag: UInt32?
    /// Nil takes the next.
    var cmdSN: SequenceNumber?
    var additionalHeader: [UInt8] = []

    init(_ cdb: [UInt8]) {
        self.cdb = cdb
    }

    static var testUnitReady: Command { Command([0x00, 0, 0, 0, 0, 0]) }

    /// A command whose answer has at most `length` bytes.
    static func reading(_ cdb: [UInt8], _ length: Int) -> Command {
        var command = Command(cdb)
        command.carryLongBlock()
        command.isRead = length > 0
        command.expectedDataTransferLength = length
        return command
    }

    /// A command with `data` as its Data-Out.
    static func writing(_ cdb: [UInt8], _ data: [UInt8]) -> Command {
        var command = Command(cdb)
        command.carryLongBlock()
        command.isWrite = !data.isEmpty
        command.expectedDataTransferLength = data.count
        command.dataOut = data
        return command
    }

    /// Puts what the header has no room for in an additional header segment.
    private mutating func carryLongBlock() {
        guard cdb.count > 16 else { return }
        additionalHeader = AdditionalHeaderSegments.encodeExtendedCDB(CommandDescriptorBlock(cdb))
    }

    static func inquiry(allocationLength: Int) -> Command {
        var command = Command([
            OperationCode.inquiry, 0, 0, UInt8(allocationLength >> 8), UInt8(allocationLength & 0xFF), 0,
        ])
        command.isRead = true
        command.expectedDataTransferLength = allocationLength
        return command
    }

    static func readCapacity10() -> Command {
        var command = Command([OperationCode.readCapacity10] + [UInt8](repeating: 0, count: 9))
        command.isRead = true
        command.expectedDataTransferLength = 8
        return command
    }

    static func reportLUNs(allocationLength: Int) -> Command {
        var cdb: [UInt8] = [OperationCode.reportLUNs, 0, 0, 0, 0, 0]
        cdb.appendBE32(UInt32(allocationLength))
        var command = Command(cdb + [0, 0])
        command.isRead = true
        command.expectedDataTransferLength = allocationLength
        return command
    }

    private static func transfer10(_ operationCode: UInt8, _ block: Int, _ count: Int) -> [UInt8] {
        var cdb: [UInt8] = [operationCode, 0]
        cdb.appendBE32(UInt32(block))
        cdb.append(0)
        cdb.appendBE16(UInt16(count))
        return cdb + [0]
    }

    /// READ(10) of `count` blocks of `blockLength` bytes.
    static func read(_ block: Int, _ count: Int, blockLength: Int) -> Command {
        var command = Command(transfer10(OperationCode.read10, block, count))
        command.isRead = true
        command.expectedDataTransferLength = count * blockLength
        return command
    }

    /// WRITE(10) of `data` in blocks of `blockLength` bytes, without immediate data.
    static func write(_ block: Int, _ data: [UInt8], blockLength: Int) -> Command {
        var command = Command(transfer10(OperationCode.write10, block, data.count / blockLength))
        command.isWrite = true
        command.expectedDataTransferLength = data.count
        command.dataOut = data
        return command
    }

    /// Bytes that tell their place and `seed`.
    static func pattern(_ count: Int, seed: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 8) ^ (seed &* 73)) }
    }
}

/// How a command ended.
struct CommandResult {
    var response: UInt8 = 0
    var status = SCSIStatus.good
    var residual = Residual.none
    var sense: SenseData?
    /// The sense data as it came.
    var senseBytes: [UInt8] = []
    var dataIn: [UInt8] = []
    /// The headers of all Data-In, in order.
    var dataInHeaders: [DataInPDU] = []
    /// All R2Ts, in order.
    var requests: [ReadyToTransferPDU] = []
    /// The SCSI Response; nil when the status came with data.
    var responseHeader: SCSIResponsePDU?
    /// The StatSN of the status.
    var statSN = SequenceNumber(0)

    init() {}

    /// The outcome that a SCSI Response tells.
    init(_ header: SCSIResponsePDU, _ data: [UInt8]) {
        response = header.response
        status = header.status
        residual = header.residual
        responseHeader = header
        statSN = header.statSN
        if data.count >= 2 {
            let length = Int(data.rawSpan.loadBE16(at: 0))
            if length <= data.count - 2 {
                senseBytes = Array(data[2..<(2 + length)])
                sense = SenseData(parsing: senseBytes.rawSpan)
            }
        }
    }

    var isGood: Bool { response == 0 && status == .good }

    var summary: String {
        if response != 0 { return "iSCSI response \(Wire.hex(response))" }
        var text = "status \(Wire.hex(status.rawValue))"
        if let sense { text += ", \(sense.summary)" }
        if residual.isOverflow { text += ", O \(residual.count)" }
        if residual.isUnderflow { text += ", U \(residual.count)" }
        return text
    }
}

/// A command under way.
struct CommandProgress {
    var command: Command
    var result = CommandResult()
    var isFinished = false
    /// Whether R2Ts are answered with data at once.
    var answersRequests = true
}

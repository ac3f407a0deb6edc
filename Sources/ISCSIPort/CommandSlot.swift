internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

/// How a command ends that the transport could not carry.
struct TransportFailure {
    let status: SCSIStatus
    let sense: SenseData?

    private init(_ code: AdditionalSenseCode) {
        status = .checkCondition
        sense = SenseData(.abortedCommand, code)
    }

    private init(status: SCSIStatus) {
        self.status = status
        sense = nil
    }

    /// Unsolicited data that was not agreed (RFC 7143 section 11.4.7.2).
    static let unexpectedUnsolicitedData = TransportFailure(.unexpectedUnsolicitedData)
    /// Data that does not continue what came before (RFC 7143 section 11.4.7.2).
    static let incorrectAmountOfData = TransportFailure(.notEnoughUnsolicitedData)
    /// A data digest error (RFC 7143 section 11.4.7.2).
    static let dataDigestError = TransportFailure(.protocolServiceCRCError)
    /// No buffer for the command's data: a status with which initiators wait before they try again, without counting
    /// tries.
    static let outOfBuffers = TransportFailure(status: .taskSetFull)
    /// The logical unit still works on commands of the session that this one reinstates.
    static let occupied = TransportFailure(status: .busy)
}

/// One command of a session: the task for the devices, and what the transport keeps about it.
///
/// Slots are made when they are first needed and used again and again.
final class CommandSlot {
    /// The bits of a Target Transfer Tag that hold the slot's number.
    static let indexBits: UInt32 = 12
    /// `connectionIndex` of a command whose connection is gone.
    static let noConnection = -1
    /// The index of no slot.
    static let noSlot = -1

    /// The slot's number.
    let index: Int
    /// The command as the devices see it.
    let task: SCSITask

    /// Which use of the slot this is; a reference with another generation is stale.
    private(set) var generation: UInt32 = 0
    var isUsed = false
    var isImmediate = false
    /// The connection that the command belongs to, by its index in the session; `noConnection` when that is gone.
    var connectionIndex = CommandSlot.noConnection
    /// The command waits for an earlier CmdSN.
    var isHeld = false
    /// The command's immediate data is on its way; its CmdSN is used up when that is here.
    var isArriving = false
    /// The command was aborted while it was held.
    var isCancelled = false
    var initiatorTaskTag: UInt32 = 0
    var cmdSN = SequenceNumber(0)
    var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    var expectedDataInLength = 0
    var expectedDataOutLength = 0

    // Recovery (ErrorRecoveryLevel 1 and 2).
    /// The answer is on its way to the initiator, and kept until that acknowledges it.
    var isAnswered = false
    /// The connection failed, and the command waits to be taken over by another one.
    var isOrphaned = false
    /// Which failure of a connection that was.
    var failure: UInt64 = 0
    /// The SNACK Tag that the response carries (section 11.4).
    var snackTag: UInt32 = 0
    /// The length of the Data-In that is kept to be sent again.
    var retainedLength = 0

    // Data-Out.
    /// The bytes that count as owed by the initiator.
    var owedDataOut = 0
    /// When the initiator began to owe them, on the command's present connection.
    var dataOutStart = MonotonicTime.distantFuture
    /// How much had come when the session last checked whether the data goes on.
    var watchedDataOut = -1
    /// What the datamover keeps of it.
    var dataOut = DataOutTransfer()
    /// What the transport found wrong; answered when the devices have let go of the task.
    var transportFailure: TransportFailure?

    // Data-In.
    /// What the datamover keeps of it.
    var dataIn = DataInTransfer()
    var residual = Residual.none

    /// The index of the next free slot, while this one is free.
    var nextFree = CommandSlot.noSlot
    private var nextTransferSerial: UInt32 = 0

    init(index: Int, task: SCSITask) {
        self.index = index
        self.task = task
    }

    /// Begins a use of the slot.
    func begin(_ command: SCSICommandPDU, connectionIndex: Int) {
        isUsed = true
        isImmediate = command.isImmediate
        self.connectionIndex = connectionIndex
        isHeld = false
        isArriving = false
        isCancelled = false
        initiatorTaskTag = command.initiatorTaskTag
        cmdSN = command.cmdSN
        logicalUnitNumber = command.logicalUnitNumber
        dataOut.begin()
        watchedDataOut = -1
        dataIn.plan = nil
        residual = .none
        // What recovery changes was put back when the slot was last given up.
    }

    /// Ends the use; tags and references of it are stale now.
    func end() {
        isUsed = false
        generation &+= 1
        transportFailure = nil
        dataIn.payload = nil
        if isAnswered || isOrphaned || hasRecovered { forgetRecovery() }
        task.clear()
    }

    /// Whether the command has no connection, and waits for none.
    var isAbandoned: Bool { connectionIndex < 0 && !isOrphaned }

    /// Whether the command has Data-In that the initiator may still need and that is not kept any more.
    var isDataInLost: Bool {
        guard let plan = dataIn.plan else { return false }
        guard let lease = task.dataIn.lease.take() else { return dataIn.acknowledgedLength < plan.length }
        task.dataIn.lease = consume lease
        return false
    }

    /// Whether anything of recovery is to be put back at the end of the use.
    var hasRecovered = false

    private func forgetRecovery() {
        hasRecovered = false
        isAnswered = false
        isOrphaned = false
        failure = 0
        snackTag = 0
        dataIn = DataInTransfer()
        dataOut.firstR2TSN = 0
    }

    /// A tag of this use of the slot that was not used before.
    func takeTransferTag() -> UInt32 {
        // The serial has 20 bits, is never 0 and never all ones, so no tag is 0 or the reserved one.
        nextTransferSerial = nextTransferSerial % 0xF_FFFE + 1
        return nextTransferSerial << Self.indexBits | UInt32(index)
    }

    /// Forgets what was asked for, so that all that has not come can be asked for again, on another connection.
    func restartDataOut() {
        if dataOut.restart() { hasRecovered = true }
    }

    /// The slot number in a Target Transfer Tag.
    static func index(ofTag tag: UInt32) -> Int { Int(tag & (1 << indexBits - 1)) }
}

/// A reference to one use of a slot, kept while data of its command arrives.
struct SlotReference: Equatable {
    let index: Int
    let generation: UInt32
}

extension CommandSlot {
    /// The reference to this use.
    var reference: SlotReference { SlotReference(index: index, generation: generation) }
}

internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

/// An R2T that waits for its data.
struct OutstandingTransfer {
    /// The Target Transfer Tag.
    let tag: UInt32
    /// What was asked for.
    let request: ReadyToTransfer
    /// What the data must look like.
    var sequence: DataOutSequence
}

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
    /// No buffer for the command's data: a status with which initiators wait before they try again, without counting tries.
    static let outOfBuffers = TransportFailure(status: .taskSetFull)
    /// The logical unit still works on commands of the session that this one reinstates.
    static let occupied = TransportFailure(status: .busy)
}

/// One command of a session: the task for the devices, and what the transport keeps about it.
///
/// Slots are made when they are first needed and used again and again.
final class CommandSlot {
    /// The most R2Ts outstanding for a command, whatever the initiator allows.
    static let maximumOutstandingTransfers = 8
    /// The bits of a Target Transfer Tag that hold the slot's number.
    static let indexBits: UInt32 = 12
    /// The place of a command whose connection is gone.
    static let nowhere = -1

    /// The slot's number.
    let index: Int
    /// The command as the devices see it.
    let task: SCSITask

    /// Which use of the slot this is; a reference with another generation is stale.
    private(set) var generation: UInt32 = 0
    var isUsed = false
    var isImmediate = false
    /// The place in the session of the connection that the command belongs to; `nowhere` when that is gone.
    var place = CommandSlot.nowhere
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
    /// All of the answer has gone to the output queue of the command's connection.
    var isSent = false
    /// The connection failed, and the command waits to be taken over by another one.
    var isOrphaned = false
    /// Which failure of a connection that was.
    var failure: UInt64 = 0
    /// The SNACK Tag that the response carries (section 11.4).
    var snackTag: UInt32 = 0
    /// What the initiator has acknowledged of the Data-In: how many PDUs, and how many bytes.
    var acknowledgedDataSN: UInt32 = 0
    var acknowledgedLength = 0
    /// How the Data-In was cut, from what is not acknowledged on.
    var dataInStart: DataInPlan?
    /// Whether the last Data-In carried the status.
    var isStatusInData = false
    /// The length of the Data-In that is kept to be sent again.
    var retainedLength = 0
    /// The tag that a DataACK carries; 0 while none was asked for.
    var acknowledgementTag: UInt32 = 0
    /// The first R2TSN of the next plan: the numbers go on after a reassignment.
    var firstR2TSN: UInt32 = 0

    // Data-Out.
    /// The bytes that count as owed by the initiator.
    var owedDataOut = 0
    /// When the initiator began to owe them, on the command's present connection.
    var dataOutStart = MonotonicTime.distantFuture
    /// What `receivedDataOut` was when the session last looked for data that does not come.
    var watchedDataOut = -1
    /// How many bytes the device asked for and still waits for.
    var requestedDataOut = 0
    /// How many bytes from the start have come.
    var receivedDataOut = 0
    /// The unsolicited Data-Out PDUs, while they come.
    var unsolicitedData: DataOutSequence?
    /// What is asked for by R2T, when anything is.
    var transferPlan: ReadyToTransferPlan?
    /// Whether the Data-Out that is being received is the last of its sequence.
    var dataOutProgress = DataOutProgress.more
    /// Where the data of the Data-Out that is being received belongs.
    var dataOutOffset = 0
    /// Which of the outstanding R2Ts it answers, from the oldest.
    var dataOutTransfer = 0
    private(set) var transferCount = 0
    private var firstTransfer = 0
    private var transfers = InlineArray<8, OutstandingTransfer?>(repeating: nil)
    private var nextTransferSerial: UInt32 = 0
    /// What the transport found wrong; answered when the devices have let go of the task.
    var transportFailure: TransportFailure?

    // Data-In on its way into the output queue.
    var payload: OutputQueue.Payload?
    var dataInPlan: DataInPlan?
    var residual = Residual.none

    init(index: Int, task: SCSITask) {
        self.index = index
        self.task = task
    }

    /// Begins a use of the slot.
    func begin(_ command: SCSICommandPDU, place: Int) {
        isUsed = true
        isImmediate = command.isImmediate
        self.place = place
        isHeld = false
        isArriving = false
        isCancelled = false
        initiatorTaskTag = command.initiatorTaskTag
        cmdSN = command.cmdSN
        logicalUnitNumber = command.logicalUnitNumber
        requestedDataOut = 0
        receivedDataOut = 0
        watchedDataOut = -1
        unsolicitedData = nil
        transferPlan = nil
        transferCount = 0
        dataInPlan = nil
        residual = .none
        // What recovery changes was put back when the slot was last given up.
    }

    /// Ends the use; tags and references of it are stale now.
    func end() {
        isUsed = false
        generation &+= 1
        transportFailure = nil
        payload = nil
        if isAnswered || isOrphaned || hasRecovered { forgetRecovery() }
        task.clear()
    }

    /// Whether the command has Data-In that the initiator may still need and that is not kept any more.
    var isDataInLost: Bool {
        guard let dataInPlan else { return false }
        guard let lease = task.dataIn.take() else { return acknowledgedLength < dataInPlan.length }
        task.dataIn = consume lease
        return false
    }

    /// Whether anything of recovery is to be put back at the end of the use.
    var hasRecovered = false

    private func forgetRecovery() {
        hasRecovered = false
        isAnswered = false
        isSent = false
        isOrphaned = false
        failure = 0
        snackTag = 0
        acknowledgedDataSN = 0
        acknowledgedLength = 0
        dataInStart = nil
        isStatusInData = false
        acknowledgementTag = 0
        firstR2TSN = 0
    }

    // MARK: Outstanding R2Ts, oldest first

    /// An outstanding R2T by its place from the oldest on.
    subscript(transfer position: Int) -> OutstandingTransfer? {
        get { position < transferCount ? transfers[place(ofTransfer: position)] : nil }
        set { transfers[place(ofTransfer: position)] = newValue }
    }

    private func place(ofTransfer position: Int) -> Int {
        (firstTransfer + position) % Self.maximumOutstandingTransfers
    }

    /// The place of the R2T with that tag, among the oldest `limit`; nil when it is not outstanding.
    func position(ofTransfer tag: UInt32, limit: Int) -> Int? {
        for position in 0..<min(transferCount, limit) where transfers[place(ofTransfer: position)]?.tag == tag {
            return position
        }
        return nil
    }

    /// A tag of this use of the slot that was not used before.
    func takeTransferTag() -> UInt32 {
        // The serial has 20 bits, is never 0 and never all ones, so no tag is 0 or the reserved one.
        nextTransferSerial = nextTransferSerial % 0xF_FFFE + 1
        return nextTransferSerial << Self.indexBits | UInt32(index)
    }

    /// Notes an R2T and gives its tag.
    func addTransfer(_ request: ReadyToTransfer) -> UInt32 {
        precondition(transferCount < Self.maximumOutstandingTransfers, "R2Ts are bounded")
        let tag = takeTransferTag()
        transfers[place(ofTransfer: transferCount)] = OutstandingTransfer(
            tag: tag, request: request, sequence: DataOutSequence(answering: request))
        transferCount += 1
        return tag
    }

    /// Replaces an R2T whose data was damaged by one for the rest of the data, and gives its tag.
    func replaceTransfer(_ position: Int, by request: ReadyToTransfer) -> UInt32 {
        let tag = takeTransferTag()
        self[transfer: position] = OutstandingTransfer(
            tag: tag, request: request, sequence: DataOutSequence(answering: request))
        return tag
    }

    /// Forgets an R2T: its data is complete.
    func removeTransfer(_ position: Int) {
        if position > 0 {
            for later in position..<(transferCount - 1) { self[transfer: later] = self[transfer: later + 1] }
        } else {
            firstTransfer = (firstTransfer + 1) % Self.maximumOutstandingTransfers
        }
        transferCount -= 1
        transferPlan?.completed()
    }

    /// Forgets all Data-Out that is still to come.
    func removeTransfers() {
        unsolicitedData = nil
        transferCount = 0
    }

    /// Forgets what was asked for, so that all that has not come can be asked for again, on another connection.
    func forgetDataOut() {
        if let transferPlan {
            hasRecovered = true
            firstR2TSN = transferPlan.r2tSN
            var first = transferPlan.offset
            for position in 0..<transferCount {
                if let transfer = self[transfer: position] { first = min(first, transfer.sequence.offset) }
            }
            receivedDataOut = first
        } else if let unsolicitedData {
            receivedDataOut = unsolicitedData.offset
        }
        transferPlan = nil
        removeTransfers()
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

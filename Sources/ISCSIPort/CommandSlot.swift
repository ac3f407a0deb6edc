internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

/// An R2T that waits for its data.
struct OutstandingTransfer {
    /// The Target Transfer Tag.
    let tag: UInt32
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
}

/// One command of a session: the task for the devices, and what the transport keeps about it.
///
/// Slots are made when they are first needed and used again and again.
final class CommandSlot {
    /// The most R2Ts outstanding for a command, whatever the initiator allows.
    static let maximumOutstandingTransfers = 8
    /// The bits of a Target Transfer Tag that hold the slot's number.
    static let indexBits: UInt32 = 10

    /// The slot's number.
    let index: Int
    /// The command as the devices see it.
    let task: SCSITask

    /// Which use of the slot this is; a reference with another generation is stale.
    private(set) var generation: UInt32 = 0
    var isUsed = false
    var isImmediate = false
    /// The command waits for an earlier CmdSN.
    var isHeld = false
    /// The command was aborted while it was held.
    var isCancelled = false
    var initiatorTaskTag: UInt32 = 0
    var cmdSN = SequenceNumber(0)
    var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    var expectedDataInLength = 0
    var expectedDataOutLength = 0

    // Data-Out.
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
    func begin(_ command: SCSICommandPDU) {
        isUsed = true
        isImmediate = command.isImmediate
        isHeld = false
        isCancelled = false
        initiatorTaskTag = command.initiatorTaskTag
        cmdSN = command.cmdSN
        logicalUnitNumber = command.logicalUnitNumber
        requestedDataOut = 0
        receivedDataOut = 0
        unsolicitedData = nil
        transferPlan = nil
        transferCount = 0
        dataInPlan = nil
        residual = .none
    }

    /// Ends the use; tags and references of it are stale now.
    func end() {
        isUsed = false
        generation &+= 1
        transportFailure = nil
        payload = nil
        task.clear()
    }

    // MARK: Outstanding R2Ts, oldest first

    /// The R2T whose data comes next.
    var currentTransfer: OutstandingTransfer? {
        get { transferCount > 0 ? transfers[firstTransfer] : nil }
        set { transfers[firstTransfer] = newValue }
    }

    /// Notes an R2T and gives its tag.
    func addTransfer(_ request: ReadyToTransfer) -> UInt32 {
        precondition(transferCount < Self.maximumOutstandingTransfers, "R2Ts are bounded")
        // The serial has 22 bits and is never all ones, so no tag is the reserved one.
        nextTransferSerial = (nextTransferSerial + 1) % 0x3F_FFFF
        let tag = nextTransferSerial << Self.indexBits | UInt32(index)
        let place = (firstTransfer + transferCount) % Self.maximumOutstandingTransfers
        transfers[place] = OutstandingTransfer(tag: tag, sequence: DataOutSequence(answering: request))
        transferCount += 1
        return tag
    }

    /// Forgets the oldest R2T: its data is complete.
    func removeCurrentTransfer() {
        firstTransfer = (firstTransfer + 1) % Self.maximumOutstandingTransfers
        transferCount -= 1
        transferPlan?.completed()
    }

    /// Forgets all Data-Out that is still to come.
    func removeTransfers() {
        unsolicitedData = nil
        transferCount = 0
    }

    /// The slot number in a Target Transfer Tag.
    static func index(ofTag tag: UInt32) -> Int { Int(tag & (1 << indexBits - 1)) }
}

/// A reference to one use of a slot, kept while data of its command arrives.
struct SlotReference {
    let index: Int
    let generation: UInt32
}

extension CommandSlot {
    /// The reference to this use.
    var reference: SlotReference { SlotReference(index: index, generation: generation) }
}

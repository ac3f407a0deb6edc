internal import Bytes
internal import Platform
internal import SCSI
internal import SRP
internal import TargetCore

/// How a command ends that the port itself refuses.
enum PortFailure {
    /// What the command says about its data does not fit (SRP r16a table 24, REQUEST FIELDS INVALID).
    case requestFieldsInvalid
    /// No buffer for the command's data: a status with which initiators wait before they try again.
    case outOfBuffers
    /// The logical unit still works on commands of the session before.
    case occupied
    /// The CDB is longer than that of any command.
    case unknownCommand

    var status: SCSIStatus {
        switch self {
        case .requestFieldsInvalid, .unknownCommand: .checkCondition
        case .outOfBuffers: .taskSetFull
        case .occupied: .busy
        }
    }

    var sense: SenseData? {
        switch self {
        case .requestFieldsInvalid: SenseData(.illegalRequest, .invalidFieldInCommandInformationUnit)
        case .unknownCommand: SenseData(.illegalRequest, .invalidCommandOperationCode)
        case .outOfBuffers, .occupied: nil
        }
    }
}

/// One request of a channel: its receive with the information unit, the task for the devices, and the transfer of its
/// data. Slots are made with the channel and used again and again.
final class CommandSlot {
    /// Where the request is on its way.
    enum Phase {
        /// The receive is posted, or the channel is over.
        case free
        /// The command waits until Data-In of commands before it has gone.
        case held
        /// The logical unit has the command.
        case device
        /// RDMA Reads bring its table or its Data-Out, or wait for their turn.
        case reading
        /// The command is aborted; RDMA Reads are outstanding. An answer follows them if `answersWhenDrained`.
        case draining
        /// It has its outcome, and Data-In and response follow in the order of the channel.
        case answering
        /// It is a task management function.
        case function
    }

    /// What RDMA operations bring.
    enum Goal {
        case outTable
        case dataOut
        case inTable
        /// This one by RDMA Writes.
        case dataIn
    }

    /// The end of no list.
    static let none = -1

    let index: Int
    let task: SCSITask
    var phase = Phase.free
    var goal = Goal.dataOut
    var header = RequestHeader()
    var dataOut = SRPDataBuffer.none
    var dataIn = SRPDataBuffer.none
    /// Where the partial lists and the immediate data are, in bytes from the start of the information unit.
    var outList = 0
    var inList = 0
    var immediateData = 0
    /// The tables of indirect buffers that are not all in the information unit.
    let outTable = LeasePlace()
    let inTable = LeasePlace()
    /// The Data-Out while it is on its way.
    let arriving = LeasePlace()
    var cursor = TransferCursor()
    var outstandingReads = 0
    var answersWhenDrained = false
    var failure: PortFailure?
    /// The answer of a task management function.
    var responseCode: SRPResponseCode?
    /// How much Data-Out the device has asked for.
    var dataOutLength = 0
    /// Counts its uses by functions, whose completions may come late.
    var useCount: UInt32 = 0
    /// The Data-In before it is cut to the initiator's buffer.
    var dataInLength = 0
    /// The bytes that it counts for in the channel's backlog of Data-In.
    var reserved = 0
    /// It has ended with its session, whose nexus record counts it.
    var occupiedUnit: LogicalUnit?
    /// Functions whose answers wait for the end of this request.
    var waitingFunctions: [FunctionFence] = []
    /// The next slot of the list that this one is in.
    var next = CommandSlot.none

    init(index: Int, task: SCSITask) {
        self.index = index
        self.task = task
    }

    /// How much Data-In the command may have at most, in bytes.
    var longestDataIn: Int { min(Int(dataIn.dataLength), BufferPool.maximumLeaseLength) }

    /// Ends the use.
    func end() {
        phase = .free
        dataOut = .none
        dataIn = .none
        outTable.lease = nil
        inTable.lease = nil
        arriving.lease = nil
        answersWhenDrained = false
        failure = nil
        responseCode = nil
        dataInLength = 0
        task.clear()
    }
}

/// What every request has.
struct RequestHeader {
    var tag: UInt64 = 0
    var solicitation: SRPSolicitation = []
    var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
}

/// Slots of a channel in the order in which they came, linked by their numbers.
struct SlotList {
    private(set) var first = CommandSlot.none
    private var last = CommandSlot.none

    var isEmpty: Bool { first < 0 }

    mutating func append(_ slot: CommandSlot, of slots: [CommandSlot]) {
        slot.next = CommandSlot.none
        if last >= 0 { slots[last].next = slot.index } else { first = slot.index }
        last = slot.index
    }

    mutating func removeFirst(of slots: [CommandSlot]) {
        guard first >= 0 else { return }
        let slot = slots[first]
        first = slot.next
        if first < 0 { last = CommandSlot.none }
        slot.next = CommandSlot.none
    }

    /// Takes a slot out; false when it is not there.
    @discardableResult
    mutating func remove(_ slot: CommandSlot, of slots: [CommandSlot]) -> Bool {
        var (before, index) = (CommandSlot.none, first)
        while index >= 0, index != slot.index { (before, index) = (index, slots[index].next) }
        guard index >= 0 else { return false }
        if before < 0 {
            removeFirst(of: slots)
            return true
        }
        slots[before].next = slot.next
        if last == slot.index { last = before }
        slot.next = CommandSlot.none
        return true
    }

    mutating func removeAll() {
        first = CommandSlot.none
        last = CommandSlot.none
    }
}

public import Bytes
public import Platform
public import SCSI

/// What a command handler asks for when it returns.
public enum CommandProgress: Sendable, Equatable {
    /// The task has its status; nothing is outstanding.
    case complete
    /// An operation is outstanding; the handler, or the unit's `fileCompleted`, calls `task.finish()` later or
    /// returns another progress.
    case pending
    /// The command needs this many bytes from the initiator; then its `execute` closure runs. Zero runs it at once.
    ///
    /// When the initiator offers less, nothing is transferred and the command fails; unless it has a `blockLength`
    /// above zero and the offer is a whole number of such blocks: then it works with these.
    case awaitDataOut(length: Int, blockLength: Int = 0)
}

/// Why a task is aborted, which decides what its initiator is told.
enum AbortReason: UInt8, Sendable {
    /// Its own initiator wanted it, or learns of it in another way: nothing.
    case withoutAnswer
    /// Its logical unit is no longer mapped: LOGICAL UNIT NOT SUPPORTED.
    case unitIsGone
    /// Another nexus wanted it, and TAS is one: TASK ABORTED (SAM-5 clause 5.6).
    case byAnotherNexus
}

/// One command in its slot, from the port to the device and back.
///
/// A port makes its tasks once and uses them again and again, so a command costs no allocation. A task, its leases
/// and its file request stay on the reactor that made it.
public final class SCSITask {
    /// Where a task is on its way.
    public enum State: UInt8, Sendable {
        /// The slot is free.
        case idle
        /// Older tasks come first (its task set's order).
        case blocked
        /// It waits for Data-Out.
        case awaitingDataOut
        /// Its handler runs.
        case running
        /// It waits for the medium or another slow operation.
        case pending
        /// It has ended, and the port is sending its outcome.
        case ended
    }

    /// The reactor on whose thread everything of the task happens.
    public let reactor: Reactor
    /// The port's part.
    public unowned let port: any TaskPort
    /// The number that the port gave the slot.
    public let slot: Int
    /// For slow file operations of this task; completion arrives at the logical unit's `fileCompleted`.
    public let fileRequest = FileRequest()

    /// The state that changes from command to command. It is internal and in one struct because each change of a
    /// public stored property would call the runtime's exclusivity check; the accessors below are its public face.
    struct Fields {
        var commandDescriptorBlock = CommandDescriptorBlock()
        var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
        var attribute = TaskAttribute.simple
        var expectedDataInLength = 0
        var expectedDataOutLength = 0
        var requestedDataOutLength = 0
        var status = SCSIStatus.good
        var sense: SenseData?
        var verbatimSense: [UInt8]?
        var state = State.idle
        var isAborted = false
        /// Why the task was aborted.
        var abortReason = AbortReason.withoutAnswer
        /// A function of its own nexus that clears logical units is to end it: it was there before the function.
        var isToBeCleared = false
        /// The Data-Out came before the task's turn.
        var hasDataOut = false
        /// The task runs or is blocked among those of other nexuses (serial units).
        var isInTurns = false
        /// The medium that the Data-Out was fetched for, or that the command began with.
        var mediumGeneration: UInt32 = 0
        /// The turn of the reactor in which the port submitted the task.
        var start = MonotonicTime(nanoseconds: 0)
        var command = 0
        var step = 0
        var progressCount = 0
        var totalCount = 0
        var orderingClass = OrderingClass.shared
    }
    var fields = Fields()
    /// The next task that waits in the same task set.
    var nextBlocked: SCSITask?
    /// Who waits for the aborted task to come back from the medium.
    var whenAborted = TaskWaiters()
    /// What the pending command waits for, when nothing of it is with the medium.
    var wait: CommandWait?
    /// The I_T_L nexus while the task is not idle.
    private(set) var currentNexus: ITLNexus?

    // MARK: What the initiator sent

    public var commandDescriptorBlock: CommandDescriptorBlock { fields.commandDescriptorBlock }
    public var logicalUnitNumber: LogicalUnitNumber { fields.logicalUnitNumber }
    /// Its ordering.
    public var attribute: TaskAttribute { fields.attribute }
    /// How many bytes the initiator is ready to take; zero when it expects none.
    public var expectedDataInLength: Int { fields.expectedDataInLength }
    /// How many bytes the initiator is ready to send; zero when it has none.
    public var expectedDataOutLength: Int { fields.expectedDataOutLength }

    // MARK: Data

    /// The Data-Out; complete when `execute` runs, and the device may take it (`task.dataOut.lease.take()`).
    public let dataOut = LeasePlace()
    /// The Data-In; its `count` bytes are the whole answer, already limited by the command's allocation length or
    /// transfer length. The port truncates to `expectedDataInLength` and computes the residual.
    public let dataIn = LeasePlace()
    /// How many bytes of Data-Out the command asked for: the base of the write residual.
    public var requestedDataOutLength: Int { fields.requestedDataOutLength }

    // MARK: Outcome

    public var status: SCSIStatus { fields.status }
    /// The sense data that a handler has made; nil without CHECK CONDITION, and for `failVerbatim`.
    public var sense: SenseData? { fields.sense }
    /// The sense data for the initiator when the status is CHECK CONDITION.
    public var reportedSense: Sense? {
        if let bytes = fields.verbatimSense { return .verbatim(bytes) }
        return fields.sense.map { .fields($0) }
    }

    // MARK: State

    /// The I_T_L nexus; set while the task is not idle.
    public var nexus: ITLNexus? { currentNexus }
    /// Where the task is.
    public var state: State { fields.state }
    /// Whether the task was aborted while something was outstanding.
    public var isAborted: Bool { fields.isAborted }
    /// The command's index in its unit's table.
    public var command: Int { fields.command }
    /// A handler's own place between steps of a pending command.
    public var step: Int {
        get { fields.step }
        set { fields.step = newValue }
    }
    /// A handler's own number, for example how many blocks are done.
    public var progressCount: Int {
        get { fields.progressCount }
        set { fields.progressCount = newValue }
    }
    /// Another number of a handler's own, for example how many blocks there are in all.
    public var totalCount: Int {
        get { fields.totalCount }
        set { fields.totalCount = newValue }
    }
    /// `DeviceServer.mediumGeneration` of the medium that the command is for, where the device compares it.
    public var mediumGeneration: UInt32 { fields.mediumGeneration }

    /// Notes which medium the command is for, before its Data-Out is asked for. Data-Out that came before the command's
    /// turn keeps the medium that it was fetched for.
    public func noteMediumGeneration(_ generation: UInt32) {
        if !fields.hasDataOut { fields.mediumGeneration = generation }
    }

    /// A free task in `slot` of a port's table.
    public init(slot: Int, reactor: Reactor, port: any TaskPort) {
        self.slot = slot
        self.reactor = reactor
        self.port = port
        fileRequest.owner = self
    }

    /// Prepares the task for another command. It must be idle. Immediate data may be put into `dataOut` before.
    public func prepare(
        _ commandDescriptorBlock: CommandDescriptorBlock, logicalUnitNumber: LogicalUnitNumber,
        attribute: TaskAttribute, expectedDataInLength: Int, expectedDataOutLength: Int
    ) {
        precondition(state == .idle, "a task in use cannot take another command")
        fields = Fields(
            commandDescriptorBlock: commandDescriptorBlock, logicalUnitNumber: logicalUnitNumber, attribute: attribute,
            expectedDataInLength: expectedDataInLength, expectedDataOutLength: expectedDataOutLength)
    }

    /// Binds the task to its nexus for the time until `clear`.
    func bind(_ nexus: ITLNexus) {
        currentNexus = nexus
    }

    /// Gives the slot's leases and references back; the port calls it when the outcome is on its way.
    public func clear() {
        dataOut.lease = nil
        dataIn.lease = nil
        currentNexus = nil
        fields.state = .idle
    }

    // MARK: For handlers

    /// Ends the command with GOOD: `return task.good()`.
    public func good() -> CommandProgress {
        fields.status = .good
        fields.sense = nil
        fields.verbatimSense = nil
        return .complete
    }

    /// Ends the command with CHECK CONDITION and that sense data. Data-In set before is kept: a READ that met a
    /// filemark has both.
    public func fail(_ sense: SenseData) -> CommandProgress {
        fields.status = .checkCondition
        fields.sense = sense
        fields.verbatimSense = nil
        return .complete
    }

    /// Ends the command with CHECK CONDITION and the sense data of another device, byte for byte; what is beyond
    /// `Sense.maximumLength` is cut off.
    public func failVerbatim(_ sense: [UInt8]) -> CommandProgress {
        fields.status = .checkCondition
        fields.sense = nil
        fields.verbatimSense = sense
        return .complete
    }

    /// Ends the command with CHECK CONDITION.
    public func fail(_ key: SenseKey, _ code: AdditionalSenseCode) -> CommandProgress {
        fail(SenseData(key, code))
    }

    /// Ends the command with ILLEGAL REQUEST, INVALID FIELD IN CDB, pointing at `bit` (the field's most significant)
    /// or all of `byte`.
    public func failInvalidField(byte: Int, bit: Int? = nil) -> CommandProgress {
        fail(.invalidField(byte: byte, bit: bit.map { UInt8($0) }))
    }

    /// Ends the command with ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST, pointing at `bit` or all of `byte`.
    public func failInvalidParameter(byte: Int, bit: Int? = nil) -> CommandProgress {
        fail(.invalidParameter(byte: byte, bit: bit.map { UInt8($0) }))
    }

    /// Ends the command with a status that carries no sense data.
    public func end(_ status: SCSIStatus) -> CommandProgress {
        fields.status = status
        fields.sense = nil
        fields.verbatimSense = nil
        return .complete
    }

    /// Puts a lease of at least `capacity` bytes into `dataIn`. False when the reactor's pool is exhausted: the task
    /// then has TASK SET FULL, and the handler returns `.complete`.
    public func leaseDataIn(_ capacity: Int) -> Bool {
        guard let lease = lease(capacity) else { return false }
        dataIn.lease = consume lease
        return true
    }

    /// A lease of at least `capacity` bytes. Nil when the reactor's pool is exhausted: the task then has TASK SET FULL,
    /// and the handler returns `.complete`.
    public func lease(_ capacity: Int) -> BufferLease? {
        let lease = reactor.pool.lease(capacity: capacity)
        if lease == nil { _ = end(.taskSetFull) }
        return lease
    }

    /// Answers with the first `allocationLength` bytes of `bytes` and GOOD (SPC-5 clause 4.2.5.6).
    public func answer(_ bytes: [UInt8], allocationLength: Int) -> CommandProgress {
        let count = min(bytes.count, allocationLength)
        guard count > 0 else { return good() }
        guard count <= BufferPool.maximumLeaseLength, leaseDataIn(count) else { return end(.taskSetFull) }
        dataIn.lease?.append(bytes.rawSpan.extracting(0..<count))
        return good()
    }

    /// The Data-Out as an array, for parameter lists; empty when there is none.
    public func parameterList() -> [UInt8] {
        guard let lease = dataOut.lease.take() else { return [] }
        let list = lease.copyToArray()
        dataOut.lease = consume lease
        return list
    }

    /// How many bytes of Data-Out there are, and the first of them, `limit` at most.
    func parameterListStart(_ limit: Int) -> (count: Int, first: [UInt8]) {
        guard let lease = dataOut.lease.take() else { return (0, []) }
        let count = lease.count
        let first = lease.copyToArray(first: limit)
        dataOut.lease = consume lease
        return (count, first)
    }

    /// Ends a pending task: its status is set. Called on the task's reactor.
    public func finish() {
        guard let nexus else { preconditionFailure("a task without a nexus cannot end") }
        nexus.logicalUnit.end(self, nexus)
    }

    // MARK: For ports

    /// Puts data of the initiator into the Data-Out at `offset`, if there is a lease for it; its `count` grows to cover
    /// them.
    public func storeDataOut(_ bytes: RawSpan, at offset: Int) {
        dataOut.lease?.store(bytes, at: offset)
    }

    /// Says that the Data-Out that was requested is complete.
    public func dataOutArrived() {
        guard let nexus else { preconditionFailure("data arrived for an idle task") }
        nexus.logicalUnit.dataOutArrived(self)
    }
}

extension SCSITask: FileRequestOwner {
    /// Brings the completion of a slow file operation to the logical unit.
    public func fileRequestCompleted(_ request: FileRequest) {
        guard let nexus else { preconditionFailure("a file operation of an idle task") }
        nexus.logicalUnit.fileRequestCompleted(self)
    }
}

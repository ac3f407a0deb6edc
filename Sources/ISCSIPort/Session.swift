internal import ISCSI
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// Counts of one session: written on its reactor, read on any thread.
final class SessionCounters: Sendable {
    private let commandCount = Atomic<Int>(0)
    private let sentByteCount = Atomic<Int>(0)
    private let receivedByteCount = Atomic<Int>(0)

    var commands: Int { commandCount.load(ordering: .relaxed) }
    var sentBytes: Int { sentByteCount.load(ordering: .relaxed) }
    var receivedBytes: Int { receivedByteCount.load(ordering: .relaxed) }

    // One writer, so a load and a store make an addition.
    func countCommand() { commandCount.store(commands &+ 1, ordering: .relaxed) }
    func count(sent: Int) { sentByteCount.store(sentBytes &+ sent, ordering: .relaxed) }
    func count(received: Int) { receivedByteCount.store(receivedBytes &+ received, ordering: .relaxed) }
}

/// A session in full feature phase: the command numbering, the commands in flight, and the I_T nexus.
///
/// It has one connection (MaxConnections is 1). Everything happens on `reactor`.
final class Session: @unchecked Sendable {
    let identity: LoginIdentity
    let targetSessionHandle: UInt16
    let target: Target?
    /// The logical units that the initiator sees; those of the target when nil.
    let logicalUnits: LogicalUnitMap?
    let reactor: Reactor
    let limits: PortLimits
    let counters = SessionCounters()
    /// The connection, until it closes.
    var connection: Connection?
    var window: CommandWindow
    private(set) var nexus: ITNexus?
    /// Keeps the session alive while devices work on commands of a connection that is gone.
    private var keepAlive: Session?
    /// The session that this one reinstates still has commands with devices.
    var isWaitingForFormer = false
    /// What waits for the end of this session's last command: the session that reinstates it.
    private var successors: [@Sendable () -> Void] = []

    private var slots: [CommandSlot] = []
    private var freeSlots: [Int] = []
    /// The Initiator Task Tag of each slot, `reservedTag` while it is free: close together, for quick searches.
    private var tags: [UInt32] = []
    /// Commands in flight that count for the window, and the others.
    private(set) var numberedInFlight = 0
    private var immediateInFlight = 0
    /// Commands that wait for an earlier CmdSN.
    private(set) var heldCount = 0
    /// CmdSNs ahead of their turn that ABORT TASK has made count as received; all are in the window, which bounds them.
    private var skipped: [SequenceNumber] = []

    init(
        identity: LoginIdentity, targetSessionHandle: UInt16, target: Target?, logicalUnits: LogicalUnitMap?,
        reactor: Reactor, limits: PortLimits, window: CommandWindow
    ) {
        self.identity = identity
        self.targetSessionHandle = targetSessionHandle
        self.target = target
        self.logicalUnits = logicalUnits
        self.reactor = reactor
        self.limits = limits
        self.window = window
    }

    /// Begins the session on its reactor: the nexus with the target comes into being.
    func begin(_ connection: Connection) {
        precondition(reactor.isCurrent, "a session lives on its reactor")
        self.connection = connection
        guard let target else { return }
        // The name of the initiator port: name, separator, ISID (RFC 7143 section 4.2.7.1, SAM-5 annex A).
        let isid = String(identity.initiatorSessionID.rawValue, radix: 16)
        let padded = String(repeating: "0", count: 12 - isid.count) + isid
        nexus = ITNexus(
            initiatorPortName: "\(identity.initiatorName),i,0x\(padded)", target: target, logicalUnits: logicalUnits,
            reactor: reactor, mover: self)
    }

    /// Ends the session: the nexus is lost and its tasks are aborted. Those that are with the medium come back later.
    func end() {
        guard connection != nil else { return }
        connection = nil
        nexus?.lose()
        for slot in slots where slot.isUsed && (slot.task.state == .idle || slot.task.state == .ended) { free(slot) }
        if numberedInFlight + immediateInFlight > 0 { keepAlive = self }
    }

    /// Runs `body` when the session has ended and the devices have let go of its last command, and of that of the session which it
    /// reinstated itself. A write that is still on its way must not overtake one of the next session (section 6.3.5).
    func afterLastCommand(_ body: @escaping @Sendable () -> Void) {
        successors.append(body)
        runSuccessors()
    }

    /// The commands of the session that this one reinstates have ended.
    func formerHasEnded() {
        isWaitingForFormer = false
        runSuccessors()
    }

    private func runSuccessors() {
        guard connection == nil, !isWaitingForFormer, numberedInFlight + immediateInFlight == 0 else { return }
        let ready = successors
        successors = []
        for body in ready { body() }
    }

    // MARK: Slots

    /// A slot for a new command, or nil when the immediate commands are at their limit. The window bounds the others.
    func takeSlot(isImmediate: Bool) -> CommandSlot? {
        if isImmediate {
            guard immediateInFlight < limits.immediateCommands else { return nil }
            immediateInFlight += 1
        } else {
            guard numberedInFlight < limits.commandWindow else { return nil }
            numberedInFlight += 1
        }
        if let index = freeSlots.popLast() { return slots[index] }
        let index = slots.count
        slots.append(CommandSlot(index: index, task: SCSITask(slot: index, reactor: reactor, mover: self)))
        tags.append(reservedTag)
        freeSlots.reserveCapacity(slots.count)
        return slots[index]
    }

    /// Notes the tag of a slot that was taken.
    func setTag(of slot: CommandSlot) {
        tags[slot.index] = slot.initiatorTaskTag
    }

    /// Gives a slot back.
    func free(_ slot: CommandSlot) {
        if slot.isImmediate { immediateInFlight -= 1 } else { numberedInFlight -= 1 }
        if slot.isHeld { heldCount -= 1 }
        tags[slot.index] = reservedTag
        slot.end()
        freeSlots.append(slot.index)
        if connection == nil, numberedInFlight + immediateInFlight == 0 {
            runSuccessors()
            keepAlive = nil
        }
    }

    /// The command in flight with that Initiator Task Tag.
    func slot(withTag tag: UInt32) -> CommandSlot? {
        guard numberedInFlight + immediateInFlight > 0, let index = tags.firstIndex(of: tag) else { return nil }
        return slots[index]
    }

    /// The slot of that number, if it is in use.
    func slot(at index: Int) -> CommandSlot? {
        guard index < slots.count, slots[index].isUsed else { return nil }
        return slots[index]
    }

    /// The slot that `reference` means, if it is still in that use.
    func slot(_ reference: SlotReference) -> CommandSlot? {
        let slot = slots[reference.index]
        return slot.isUsed && slot.generation == reference.generation ? slot : nil
    }

    // MARK: Order

    /// Keeps a command until the CmdSNs before its own have come.
    func hold(_ slot: CommandSlot) {
        slot.isHeld = true
        heldCount += 1
    }

    /// The held command whose turn it is, no longer held.
    func takeNextHeld() -> CommandSlot? {
        guard heldCount > 0 else { return nil }
        for slot in slots where slot.isUsed && slot.isHeld && slot.cmdSN == window.expCmdSN {
            slot.isHeld = false
            heldCount -= 1
            return slot
        }
        return nil
    }

    /// Whether a command with that CmdSN is held.
    func isHolding(_ cmdSN: SequenceNumber) -> Bool {
        heldCount > 0 && slots.contains { $0.isUsed && $0.isHeld && $0.cmdSN == cmdSN }
    }

    /// Calls `body` with every held command.
    func forEachHeld(_ body: (CommandSlot) -> Void) {
        guard heldCount > 0 else { return }
        for slot in slots where slot.isUsed && slot.isHeld { body(slot) }
    }

    /// How many CmdSNs count as received before their turn, although nothing came with them.
    var skippedCount: Int { skipped.count }

    /// Whether nothing is to come with that CmdSN.
    func isSkipping(_ cmdSN: SequenceNumber) -> Bool { skipped.contains(cmdSN) }

    /// Lets a CmdSN of the window count as received when its turn comes.
    func skip(_ cmdSN: SequenceNumber) {
        skipped.append(cmdSN)
    }

    /// Whether the next CmdSN counts as received; it is forgotten then.
    func takeNextSkipped() -> Bool {
        guard let position = skipped.firstIndex(of: window.expCmdSN) else { return false }
        skipped.remove(at: position)
        return true
    }

    /// Opens the command window as far as the free slots allow.
    func openWindow() {
        window.open(inFlight: numberedInFlight)
    }
}

extension Session: DataMover {
    func requestDataOut(_ task: SCSITask, length: Int) {
        let slot = slots[task.slot]
        slot.requestedDataOut = length
        connection?.progressDataOut(slot)
    }

    func taskEnded(_ task: SCSITask) {
        let slot = slots[task.slot]
        counters.countCommand()
        guard let connection else { return free(slot) }
        connection.answer(slot)
    }

    func taskAborted(_ task: SCSITask) {
        let slot = slots[task.slot]
        guard let connection, let failure = slot.transportFailure else { return free(slot) }
        connection.respond(slot, failure)
    }

    func forEachTask(_ body: (SCSITask) -> Void) {
        for slot in slots where slot.isUsed && slot.task.state != .idle && slot.task.state != .ended {
            body(slot.task)
        }
    }
}

internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// A session in full feature phase: the command numbering, the commands in flight, and the I_T nexus.
///
/// Its connections share all of that. Everything happens on `reactor`. The other files of this folder that begin with
/// `Session` hold its parts by topic.
final class Session: @unchecked Sendable {
    let server: ISCSIServer
    let identity: LoginIdentity
    /// The name that the initiator has proved to have by CHAP; nil when it had to prove nothing.
    let authenticatedName: String?
    let targetSessionHandle: UInt16
    /// The tag of the portal group that all its connections come in on.
    let portalGroupTag: UInt16
    let target: Target?
    /// The logical units that the initiator sees; the target's own when nil.
    let logicalUnits: LogicalUnitMap?
    let reactor: Reactor
    let limits: PortLimits
    /// What was negotiated for the session as a whole, by its first connection.
    let parameters: NegotiatedParameters
    let counters = SessionCounters()
    /// Counts the commands as the devices see them.
    let commandCounters = CommandCounters()
    private(set) var nexus: ITNexus?

    /// The connections by their index; nil where there is none.
    var connections: [Connection?] = []
    var connectionCount = 0
    /// Connections that failed, whose tasks wait for another one.
    var failedConnections: [FailedConnection] = []
    var nextFailure: UInt64 = 0
    private(set) var isEnded = false

    /// The command numbering.
    var window: CommandWindow
    /// A recent ExpCmdSN and MaxCmdSN, for logins on other reactors.
    private let publishedWindow: Atomic<UInt64>

    /// Keeps the session alive while devices work on commands when it has ended.
    private var keepAlive: Session?
    /// What it takes over from the sessions before it, and hands on to the one after it.
    var succession = Succession()
    /// Whether a logical unit still works on commands of sessions before: `succession` knows which. Every command asks.
    var hasOccupiedUnits = false
    /// What ended sessions of the nexus still occupy; nil in a discovery session. Set before the session begins.
    var occupiedUnits: OccupiedUnits?

    private(set) var slots: [CommandSlot] = []
    /// The index of the first free slot, each of which knows the next; negative when there is none.
    private var firstFree = CommandSlot.noSlot
    /// The Initiator Task Tag of each slot, `reservedTag` while it is free or answered: every command is looked for
    /// among them.
    private let tags = WordList(capacity: 1 << Int(CommandSlot.indexBits), vacant: reservedTag)
    /// Commands in flight that count for the window, and the others.
    private(set) var numberedInFlight = 0
    private var immediateInFlight = 0
    /// Bytes of buffers for Data-Out that the initiator still owes.
    private(set) var owedDataOut = 0
    /// Bytes of Data-In that are kept to be sent again.
    var retainedData = 0

    /// What has come before its turn.
    let order = CommandOrder<CommandSlot, HeldRequest>()
    var isDelivering = false
    /// What held commands that were delivered in this turn have cost, as `turnWork` of a connection.
    var deliveryWork = 0
    var isTurnEndScheduled = false
    /// Responses that are fenced, and the outcomes that they hold back.
    let fences = ResponseFences<Connection, SlotReference>()
    /// Task management functions that have not ended.
    var functions: FunctionCounts

    // Deadlines.
    /// When the session ends that its initiator was asked to log out of.
    var closingDeadline: MonotonicTime?
    /// The timer for the earliest of all deadlines, or for one that has passed without being reached.
    var timer: TimerName?
    /// The deadline that `timer` is set for.
    var timerDeadline: MonotonicTime?
    /// The reactor has no timer left: nothing waits longer than to the end of the turn.
    var hasNoTimer = false

    init(
        server: ISCSIServer, identity: LoginIdentity, authenticatedName: String?, targetSessionHandle: UInt16,
        portalGroupTag: UInt16, target: Target?,
        logicalUnits: LogicalUnitMap?, reactor: Reactor, parameters: NegotiatedParameters, window: CommandWindow
    ) {
        self.server = server
        self.identity = identity
        self.authenticatedName = authenticatedName
        self.targetSessionHandle = targetSessionHandle
        self.portalGroupTag = portalGroupTag
        self.target = target
        self.logicalUnits = logicalUnits
        self.reactor = reactor
        self.parameters = parameters
        self.window = window
        limits = server.limits
        functions = FunctionCounts(
            limit: limits.taskManagementFunctions, share: limits.taskManagementFunctionsOfUnit)
        publishedWindow = Atomic(Self.word(of: window))
    }

    /// Whether an initiator that has proved to be `name`, or nobody, may join the session or take its place: what one
    /// CHAP user has begun is not another's. Where nothing had to be proved the names of the initiator port decide.
    func belongs(to name: String?) -> Bool { authenticatedName == nil || authenticatedName == name }

    /// Establishes the nexus with the target, for an initiator whose first connection comes from the host `address`. On
    /// the session's reactor.
    func begin(from address: String) {
        precondition(reactor.isCurrent, "a session lives on its reactor")
        guard nexus == nil, let target else { return }
        succession.occupiedUnits = occupiedUnits?.begin(self) ?? []
        hasOccupiedUnits = !succession.occupiedUnits.isEmpty
        nexus = ITNexus(
            initiatorPort: InitiatorPort(
                iSCSIName: identity.initiatorName, initiatorSessionID: identity.initiatorSessionID),
            targetPort: TargetPort(iSCSITarget: target.name, portalGroupTag: portalGroupTag), target: target,
            logicalUnits: logicalUnits, reactor: reactor, port: self, counters: commandCounters,
            owner: NexusOwner(
                initiatorName: identity.initiatorName, user: authenticatedName, address: address),
            knownTargetPorts: { [server] in
                server.portalGroupTags(of: target).map {
                    TargetPort(iSCSITarget: target.name, portalGroupTag: $0)
                }
            })
    }

    /// Ends the session: its connections close when they have sent what is queued, the nexus is lost and its tasks are
    /// aborted. Those that are with the medium come back later.
    func end(_ reason: CloseReason) {
        guard !isEnded else { return }
        isEnded = true
        let former = connections
        connections = []
        connectionCount = 0
        forgetFailures()
        order.withdrawRequests { _ in true }
        for slot in slots where slot.isUsed {
            slot.connectionIndex = CommandSlot.noConnection
            slot.isOrphaned = false
        }
        for case .some(let connection) in former {
            connection.leaveSession()
            connection.closeAfterSending(reason)
        }
        succession.waitingLogin?.connection.close(reason)
        succession.waitingLogin = nil
        fences.removeAll()
        cancelTimer()
        nexus?.lose()
        for slot in slots where slot.isUsed {
            if slot.isAnswered {
                release(slot)
            } else if slot.task.state == .idle || slot.task.state == .ended {
                free(slot)
            }
        }
        if !isDrained { keepAlive = self }
        occupyUnits()
        server.sessionEnded(self, reason: reason)
        if let successor = succession.successor { handOver(to: successor) }
    }

    /// Whether the devices have let go of all its commands.
    var isDrained: Bool { inFlight == 0 }

    /// Commands that have not ended.
    private var inFlight: Int { numberedInFlight + immediateInFlight }

    // MARK: Slots

    /// A slot for a new command, or nil when the immediate commands are at their limit. The window bounds the others.
    /// With answers that wait for an acknowledgement or another connection, all slots together have the limit of their
    /// numbers.
    func takeSlot(isImmediate: Bool) -> CommandSlot? {
        guard firstFree >= 0 || slots.count < tags.capacity else { return nil }
        if isImmediate {
            guard immediateInFlight < limits.immediateCommands else { return nil }
            immediateInFlight += 1
        } else {
            guard numberedInFlight < limits.commandWindow else { return nil }
            numberedInFlight += 1
        }
        if firstFree >= 0 {
            let slot = slots[firstFree]
            firstFree = slot.nextFree
            return slot
        }
        let slot = CommandSlot(index: slots.count, task: SCSITask(slot: slots.count, reactor: reactor, port: self))
        tags.append()
        // Not by `append`: see "Exclusive access" in Performance.
        var more = slots
        more.append(slot)
        slots = more
        return slot
    }

    /// Notes the tag of a slot that was taken.
    func setTag(of slot: CommandSlot) {
        tags[slot.index] = slot.initiatorTaskTag
    }

    /// Gives a slot back whose command has ended.
    func free(_ slot: CommandSlot) {
        if slot.isAnswered { return release(slot) }
        endCount(of: slot)
        let unit = isEnded ? slot.task.nexus?.logicalUnit : nil
        recycle(slot)
        guard isEnded else { return }
        hasLetGo(of: unit)
        if isDrained { keepAlive = nil }
    }

    /// The command of a slot has its answer, which is kept until the initiator acknowledges it: it counts for the
    /// window no longer.
    func keepAnswered(_ slot: CommandSlot) {
        guard !slot.isAnswered else { return }
        endCount(of: slot)
        slot.isAnswered = true
        slot.task.dataOut.lease = nil
    }

    /// Gives a slot back whose answer was acknowledged.
    func release(_ slot: CommandSlot) {
        recycle(slot)
    }

    private func endCount(of slot: CommandSlot) {
        if slot.isImmediate { immediateInFlight -= 1 } else { numberedInFlight -= 1 }
        if slot.isHeld { order.remove(slot) }
        slot.isHeld = false
        settleDataOut(slot)
        tags[slot.index] = reservedTag
    }

    /// The Data-In of an answered command is no longer kept.
    func settleRetained(_ slot: CommandSlot) {
        retainedData -= slot.retainedLength
        slot.retainedLength = 0
    }

    private func recycle(_ slot: CommandSlot) {
        settleRetained(slot)
        slot.end()
        slot.nextFree = firstFree
        firstFree = slot.index
    }

    /// The command in flight with that Initiator Task Tag.
    func slot(withTag tag: UInt32) -> CommandSlot? {
        guard inFlight > 0, let index = tags.firstIndex(of: tag) else { return nil }
        return slots[index]
    }

    /// The command with that Initiator Task Tag that belongs to a connection: one in flight, else one
    /// whose answer is kept, the latest.
    func command(withTag tag: UInt32, ofConnection index: Int) -> CommandSlot? {
        if let slot = slot(withTag: tag) { return slot.connectionIndex == index ? slot : nil }
        return slots.last { $0.isUsed && $0.isAnswered && $0.connectionIndex == index && $0.initiatorTaskTag == tag }
    }

    /// The command with that Initiator Task Tag whose connection is gone.
    func orphan(withTag tag: UInt32) -> CommandSlot? {
        slots.first { $0.isUsed && $0.isOrphaned && $0.initiatorTaskTag == tag }
    }

    /// Whether the command with that Initiator Task Tag belongs to a connection that is there.
    func isAllegiant(_ tag: UInt32) -> Bool {
        slots.contains { $0.isUsed && $0.connectionIndex >= 0 && $0.initiatorTaskTag == tag }
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

    /// The connection that a command belongs to (its allegiance, section 4.2.5.1); nil when it is gone.
    func connection(of slot: CommandSlot) -> Connection? {
        slot.connectionIndex >= 0 ? connections[slot.connectionIndex] : nil
    }

    /// Ends a command that waits for its turn, or whose outcome is not all sent, without an answer; false when it is
    /// with its logical unit, or answered.
    func withdraw(_ slot: CommandSlot) -> Bool {
        if slot.isHeld {
            // Its CmdSN is used up in its turn.
            slot.isCancelled = true
            slot.transportFailure = nil
            settleDataOut(slot)
            return true
        }
        guard slot.task.state == .ended, !slot.isAnswered else { return false }
        connection(of: slot)?.datamover?.withdrawData(slot)
        // A connection that had to be closed for it has ended the command already.
        if slot.isUsed, slot.task.state == .ended { free(slot) }
        return true
    }

    // MARK: Data-Out that is owed

    /// Ends the commands of a connection whose data has not gone on since the last check, or has taken too long in all
    /// (section 7.9).
    func watchDataOut(of connection: Connection) {
        // A command that fails may close the connection; tasks without one have the same index then.
        let index = connection.connectionIndex
        guard owedDataOut > 0, index >= 0 else { return }
        for slot in slots where slot.isUsed && slot.owedDataOut > 0 && !slot.isHeld && slot.connectionIndex == index {
            if slot.watchedDataOut == slot.dataOut.received || slot.dataOutStart + limits.dataOutDuration <= reactor.now
            {
                connection.fail(slot, .incorrectAmountOfData)
            } else {
                slot.watchedDataOut = slot.dataOut.received
            }
            if isEnded { return }
        }
    }

    /// Counts the buffer for data that the initiator is still to send; false when the session holds too many such bytes
    /// already.
    func owe(_ slot: CommandSlot, _ length: Int) -> Bool {
        guard slot.owedDataOut == 0 else { return true }
        let share = max(limits.assuredDataOut, (reactor.pool.limit - reactor.pool.leasedBytes) / 2)
        guard owedDataOut + length <= min(limits.owedDataOut, share) else { return false }
        slot.owedDataOut = length
        slot.dataOutStart = reactor.now
        owedDataOut += length
        return true
    }

    /// The data has come, or will not come any more.
    func settleDataOut(_ slot: CommandSlot) {
        owedDataOut -= slot.owedDataOut
        slot.owedDataOut = 0
    }

    // MARK: The window

    /// Changes the command numbering by a copy that is put back: see "Exclusive access" in Performance.
    @inline(__always)
    func changeWindow<Result>(_ body: (inout CommandWindow) -> Result) -> Result {
        var changed = window
        defer { window = changed }
        return body(&changed)
    }

    /// Opens the command window as far as the free slots allow.
    func openWindow() {
        changeWindow { $0.open(inFlight: numberedInFlight) }
        publishedWindow.store(Self.word(of: window), ordering: .relaxed)
    }

    /// A recent state of the command numbering, on any thread: what the responses of a login that joins the session
    /// show.
    var recentWindow: CommandWindow {
        let word = publishedWindow.load(ordering: .relaxed)
        return CommandWindow(
            expCmdSN: SequenceNumber(UInt32(truncatingIfNeeded: word >> 32)),
            maxCmdSN: SequenceNumber(UInt32(truncatingIfNeeded: word)), limit: limits.commandWindow)
    }

    private static func word(of window: CommandWindow) -> UInt64 {
        UInt64(window.expCmdSN.rawValue) << 32 | UInt64(window.maxCmdSN.rawValue)
    }
}

extension Session: TaskPort {
    func requestDataOut(_ task: SCSITask, length: Int) {
        let slot = slots[task.slot]
        slot.dataOut.requested = length
        if let connection = connection(of: slot) {
            connection.progressDataOut(slot)
        } else if !slot.isOrphaned {
            task.abort()
        }
    }

    func taskEnded(_ task: SCSITask) {
        let slot = slots[task.slot]
        counters.countCommand()
        endDataOut(slot)
        if fences.isRaised { return holdBehindFence(slot) }
        if let connection = connection(of: slot) {
            connection.answer(slot)
        } else if !slot.isOrphaned {
            free(slot)
        }
    }

    func taskAborted(_ task: SCSITask) {
        let slot = slots[task.slot]
        guard slot.transportFailure != nil else { return free(slot) }
        endDataOut(slot)
        if fences.isRaised { return holdBehindFence(slot) }
        endOfTask(slot)
    }

    /// A task has ended whose outcome may be held back or kept: what the initiator still sends for it is discarded.
    private func endDataOut(_ slot: CommandSlot) {
        guard slot.dataOut.isOutstanding || slot.owedDataOut > 0 else { return }
        slot.dataOut.cancel()
        slot.dataOut.requested = 0
        settleDataOut(slot)
    }

    /// Sends the outcome of a command, or lets go of it when there is nobody to send it to.
    func endOfTask(_ slot: CommandSlot) {
        if let connection = connection(of: slot) {
            connection.answer(slot)
        } else if !slot.isOrphaned {
            free(slot)
        }
    }

    func forEachTask(_ body: (SCSITask) -> Void) {
        for slot in slots where slot.isUsed && slot.task.state != .idle && slot.task.state != .ended {
            body(slot.task)
        }
    }
}

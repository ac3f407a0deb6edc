internal import Bytes
internal import Fabric
internal import Platform
internal import SCSI
internal import SRP
internal import TargetCore

/// An RDMA channel: a queue pair, the requests that are in flight on it, and its credits.
///
/// Everything happens on the reactor of its session. The other files that begin with `Channel` hold its parts by topic.
final class Channel: @unchecked Sendable {
    /// The highest REQUEST LIMIT that can be chosen.
    static let maximumRequestLimit = 1024

    /// How far it is.
    enum State {
        /// Accepted, and not established.
        case connecting
        case serving
        /// SRP_T_LOGOUT is on its way, or the queue pair is closing.
        case closing
        case closed
    }

    let key: NexusKey
    private let targetPort: SRPTargetPort
    private let access: SRPAccessRequest
    /// Its number in the registry; 0 before it is there.
    private(set) var number: UInt64 = 0
    private let logicalUnits: LogicalUnitMap?
    let port: ReactorPort
    let sizes: ChannelSizes
    let rules: SRPCommandRules
    /// What its login asks to be solicited.
    let solicitsLogout: Bool
    let solicitsCreditRequests: Bool
    var state = State.connecting
    private(set) var session: Session?
    private(set) var pair: QueuePair?
    /// Nil when the queue pair is gone.
    private(set) var buffers: ChannelBuffers?
    private(set) var slots: [CommandSlot] = []
    private var timer: TimerName?
    /// All but commands with the devices is given back.
    private var isFinished = false
    /// The channel itself from its accept until the devices have let go of all commands: tasks do not keep it.
    private var keptAlive: Channel?

    // Credits.
    /// How many requests the initiator may send, as far as it has been told.
    var credits = 0
    /// Requests that ended without an answer that says so.
    var untoldCredits = 0
    /// SRP_CRED_REQ is not answered.
    var isCreditRequestOutstanding = false
    /// Requests that have not ended.
    var busySlots = 0

    /// Something has come since the last look.
    var hasHeard = false
    /// The initiator was asked for an answer and has sent nothing since.
    private var isAsked = false

    /// Commands that wait for others' Data-In to go, in their order.
    var held = SlotList()
    /// Bytes of buffers with Data-In that is on its way.
    var reserved = 0
    /// How many responses had ended at the last look.
    private var lookedAnswers = 0
    /// Looks since then with responses on their way.
    private var stuckLooks = 0

    // Transfers.
    var readers = SlotList()
    var answers = SlotList()
    var outstandingReads = 0
    var isPumping = false
    var mustPumpAgain = false
    /// Places for responses, each with the Data-In that goes before it.
    let places: [AnswerPlace]
    var freePlaces: [Int]
    /// Responses that were posted, and those that have ended.
    var postedAnswers = 0
    var endedAnswers = 0

    init(_ admitted: AdmittedLogin, port: ReactorPort, buffers: ChannelBuffers) {
        key = admitted.key
        targetPort = admitted.targetPort
        access = admitted.access
        logicalUnits = admitted.logicalUnits
        self.port = port
        self.buffers = buffers
        sizes = buffers.sizes
        let login = admitted.login
        rules = SRPCommandRules(immediateDataOffset: admitted.immediateDataOffset)
        solicitsLogout = login.solicitsLogout
        solicitsCreditRequests = login.solicitsCreditRequests
        places = (0..<sizes.targetUnits).map { AnswerPlace(index: $0) }
        // The first ones are those of SRP_CRED_REQ and SRP_T_LOGOUT.
        freePlaces = Array((SRPPortLimits.reservedSends..<sizes.targetUnits).reversed())
        slots = (0..<sizes.receives).map {
            CommandSlot(index: $0, task: SCSITask(slot: $0, reactor: port.reactor, port: self))
        }
    }

    /// Whether it takes requests, or will.
    var isServing: Bool { state == .connecting || state == .serving }

    /// Posts all receives and accepts the connection.
    func begin(_ pair: QueuePair, _ session: Session, _ admitted: AdmittedLogin, _ result: SRPMultiChannelResult) {
        keptAlive = self
        self.pair = pair
        self.session = session
        credits = sizes.requestLimit
        show(pair, session)
        for slot in slots { postReceive(slot) }
        var response = SRPLoginResponse()
        response.tag = admitted.login.tag
        response.requestLimitDelta = Int32(sizes.requestLimit)
        response.maximumInitiatorLength = UInt32(sizes.maximumLength)
        response.maximumTargetLength = UInt32(SRPPortLimits.maximumTargetLength)
        response.multiChannelResult = result
        response.supportsSolicitation = true
        response.grantsImmediateData = rules.immediateDataOffset != nil
        do throws(FabricError) {
            try pair.accept(
                admitted.request.parameters.accepting(on: pair.domain.device, privateData: response.encoded))
            port.counters.countAcceptedLogin()
        } catch {
            // `closed` follows.
            pair.close()
        }
        wait(for: port.server.limits.loginDuration)
    }

    /// Whether the initiator would be let in as it was.
    func mayStay(_ targets: any SRPTargets) -> Bool {
        guard let present = targets.targetPort(targetPort.identifier, portal: access.portal),
            present.target === targetPort.target, present.scsiPort == targetPort.scsiPort,
            case .granted(let map) = targets.access(access, to: present)
        else { return false }
        return map === logicalUnits
    }

    private func show(_ pair: QueuePair, _ session: Session) {
        let (start, length) = (port.reactor.now, buffers?.length ?? 0)
        number = port.server.registry.withLock { registry in
            registry.show(self) { number in
                SRPChannelSummary(
                    number: number, initiatorPort: key.initiatorPort, targetPort: targetPort, portal: access.portal,
                    peerAddress: access.peerAddress, localAddress: access.localAddress,
                    deviceName: pair.domain.device.name, requestLimit: sizes.requestLimit,
                    maximumLength: sizes.maximumLength, bufferBytes: length, start: start,
                    reactor: port.reactor.index, commandCounters: session.commandCounters)
            }
        }
    }

    /// Has a receive posted for the information unit of a slot.
    func postReceive(_ slot: CommandSlot) {
        guard let pair, let entry = buffers?.receiveEntry(slot.index) else { return }
        _ = pair.receive(entry, id: WorkID(.receive, slot.index).word)
    }

    // MARK: Tasks

    func slot(of task: SCSITask) -> CommandSlot { slots[task.slot] }

    func forEachTask(_ body: (SCSITask) -> Void) {
        guard busySlots > 0 else { return }
        for slot in slots where slot.task.state != .idle && slot.task.state != .ended { body(slot.task) }
    }

    /// The task of that tag that has not ended.
    func task(withTag tag: UInt64) -> SCSITask? {
        slots.first { $0.header.tag == tag && $0.task.state != .idle && $0.task.state != .ended }?.task
    }

    // MARK: Ends

    func wait(for duration: Duration) {
        cancelTimer()
        timer = port.reactor.schedule(after: duration, self, token: Self.waitToken)
        // Without a timer nobody would end the wait.
        if timer == nil { pair?.close() }
    }

    private func watch() {
        timer = port.reactor.schedule(after: port.server.limits.keepAliveInterval, self, token: Self.watchToken)
    }

    private static let waitToken: UInt64 = 0
    private static let watchToken: UInt64 = 1

    /// Asks a silent initiator for an answer, and logs out one that has not given it.
    func lookAfter() {
        guard state == .serving else { return }
        stuckLooks = endedAnswers == lookedAnswers && postedAnswers > endedAnswers ? stuckLooks + 1 : 0
        lookedAnswers = endedAnswers
        // It has no receives: SRP_T_LOGOUT would not come through either.
        if stuckLooks > 2 { return leave() }
        if !hasHeard {
            guard !isAsked else { return logOut(.inactive) }
            isAsked = true
            if !isCreditRequestOutstanding { sendCreditRequest() }
        } else {
            hasHeard = false
            isAsked = false
        }
        watch()
    }

    func cancelTimer() {
        if let timer { port.reactor.cancel(timer) }
        timer = nil
    }

    /// Ends the channel: what it has is given back, and the session is told.
    func finish() {
        guard state != .closed else { return }
        let wasConnecting = state == .connecting
        let wasServing = isServing
        cancelTimer()
        state = .closed
        if wasConnecting { endConnecting() }
        readers.removeAll()
        answers.removeAll()
        held.removeAll()
        outstandingReads = 0
        for place in places { place.data.lease = nil }
        for slot in slots where slot.phase != .free {
            slot.outstandingReads = 0
            slot.arriving.lease = nil
            if slot.phase == .reading || slot.phase == .device { continue }
            release(slot)
        }
        if wasServing { session?.channelClosing(self) }
        // A channel that was logging out has told already; its reads have ended only now.
        for slot in slots where slot.phase == .reading { abandon(slot) }
        let length = buffers?.length ?? 0
        buffers = nil
        pair = nil
        port.channelEnded(self, bufferLength: length)
        session?.advanceFences()
        isFinished = true
        endIfDrained()
    }

    /// A command waits for data that does not come.
    private func abandon(_ slot: CommandSlot) {
        if slot.task.state == .awaitingDataOut { slot.task.abort() } else { release(slot) }
    }

    private func endConnecting() {
        port.server.registry.withLock { $0.endConnecting() }
    }

    /// The connection is there.
    func beginServing() {
        guard state == .connecting else { return }
        cancelTimer()
        state = .serving
        endConnecting()
        watch()
    }

    /// The login is over before the connection was there.
    func stopConnecting() {
        guard state == .connecting else { return }
        state = .closing
        endConnecting()
    }

    /// Gives the slot of a request back that gets no answer.
    func release(_ slot: CommandSlot) {
        guard slot.phase != .free else { return }
        let fences = slot.waitingFunctions
        if !fences.isEmpty { slot.waitingFunctions = [] }
        if let unit = slot.occupiedUnit {
            slot.occupiedUnit = nil
            session?.record.letGo(of: unit)
        }
        reserved -= slot.reserved
        slot.reserved = 0
        slot.end()
        busySlots -= 1
        untoldCredits += 1
        if state == .serving { postReceive(slot) }
        for fence in fences { fence.leave() }
        endIfDrained()
    }

    private func endIfDrained() {
        guard isFinished, busySlots == 0, let last = session else { return }
        session = nil
        keptAlive = nil
        last.channelDrained(self)
    }

    /// The session has ended: logical units that work on its commands stay occupied.
    func occupyUnits(of record: NexusRecord) {
        for slot in slots where slot.phase != .free && slot.task.isAborted && slot.task.state == .pending {
            guard slot.occupiedUnit == nil, let unit = slot.task.nexus?.logicalUnit else { continue }
            slot.occupiedUnit = unit
            record.occupy(unit)
        }
    }
}

extension Channel: TimerHandler {
    /// The peer has not established the connection, has not taken SRP_T_LOGOUT, or is to be looked after.
    func timerFired(_ token: UInt64) {
        timer = nil
        if token == Self.watchToken { lookAfter() } else { pair?.close() }
    }
}

extension Channel: QueuePairHandler {
    func established(_ queuePair: QueuePair, _ parameters: ConnectionParameters) { beginServing() }

    func completed(_ completion: Completion, on queuePair: QueuePair) {
        let work = WorkID(word: completion.id)
        let succeeded = completion.status == .success
        switch work.kind {
        case .receive:
            if succeeded, state == .serving { received(slots[work.index], byteCount: completion.byteCount) }
        case .read: readEnded(slots[work.index], succeeded: succeeded)
        case .write: break
        case .answer: answerEnded(places[work.index])
        case .creditRequest: break
        case .logout: queuePair.close()
        }
        if state == .serving { pump() }
    }

    func closed(_ queuePair: QueuePair, _ reason: CloseReason) { finish() }
}

/// What a work request of a channel is, in its id.
struct WorkID {
    enum Kind: UInt8 {
        case receive
        case read
        case write
        case answer
        case creditRequest
        case logout
    }

    let kind: Kind
    /// The number of the slot or place.
    let index: Int

    init(_ kind: Kind, _ index: Int = 0) {
        self.kind = kind
        self.index = index
    }

    init(word: UInt64) {
        kind = Kind(rawValue: UInt8(truncatingIfNeeded: word >> 56)) ?? .write
        index = Int(word & 0xFFFF_FFFF)
    }

    var word: UInt64 { UInt64(kind.rawValue) << 56 | UInt64(index) }
}

/// A place for a response on its way, and the Data-In that the RDMA Writes before it take from.
final class AnswerPlace {
    let index: Int
    let data = LeasePlace()
    /// The bytes that they count for in the channel's backlog.
    var reserved = 0

    init(index: Int) {
        self.index = index
    }
}

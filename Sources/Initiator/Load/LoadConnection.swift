internal import Bytes
internal import ISCSI
public import Platform
internal import SCSI

/// One session that keeps `LoadPlan.depth` commands under way, for measuring a target with as little work of its own as
/// possible: what comes in is parsed where it was received, data is dropped, all writes send the same memory, and many
/// commands go out with one system call. After its start it allocates nothing.
///
/// After `start` it belongs to its reactor's thread.
public final class LoadConnection: ReadyHandler, @unchecked Sendable {
    /// The most bytes of a PDU other than Data-In: sense data, NOP-In, asynchronous messages.
    static let smallPDULimit = 16_384
    /// The most unit attentions that a new session may report without being counted as errors.
    static let unitAttentionLimit = 16

    /// A place for a command.
    struct Slot {
        var command = LoadCommand()
        var startTime: Int64 = 0
        /// Data-In bytes so far.
        var received = 0
        var generation: UInt16 = 0
        var isActive = false
    }

    /// Data that waits to be sent: a part of a command's data that the target asked for, or unsolicited data.
    struct Transfer {
        var tag: UInt32
        var targetTransferTag: UInt32
        var dataSN: UInt32 = 0
        var offset: Int
        var end: Int
    }

    /// A Data-In PDU whose data is still coming.
    struct IncomingData {
        var header: DataInPDU
        /// Data and padding that are missing.
        var remaining: Int
        var checksum: UInt32 = 0
    }

    /// All that changes from command to command.
    struct State {
        var work: LoadWork
        var slots: [Slot]
        var freeSlots: [Int]
        /// Slots whose command must be sent again.
        var retrySlots: [Int] = []
        /// How many of them may be sent: one for each command that has ended since, so that a target that says BUSY is
        /// not pressed further.
        var retryAllowance = 0
        /// A ring of transfers, `transferCount` of them from `firstTransfer` on.
        var transfers: [Transfer]
        var firstTransfer = 0
        var transferCount = 0
        var nextCmdSN: SequenceNumber
        var maxCmdSN: SequenceNumber
        var expStatSN: SequenceNumber
        /// The received part of a PDU that is not complete.
        var kept = [UInt8](repeating: 0, count: LoadConnection.smallPDULimit + 1024)
        var keptCount = 0
        var incoming: IncomingData?
        var isWaitingForRoom = false
        var isRunning = false
        var isMeasuring = false
        var unitAttentions = 0
        var report = LoadReport()
    }

    let session: EstablishedSession
    let plan: LoadPlan
    let inputFramer: PDUFramer
    let outputFramer: PDUFramer
    let output = OutputQueue()
    var payload: OutputQueue.Payload?
    var state: State
    private var reactor: Reactor?
    private var registration: RegistrationName?

    /// A connection that will do `plan` on `session`.
    public init(_ session: EstablishedSession, _ plan: LoadPlan) {
        precondition((1...LoadPlan.maximumDepth).contains(plan.depth), "the depth is 1 to 1024")
        precondition((1...LoadPlan.maximumBlockLength).contains(plan.blockLength), "a block has 1 byte to 16 MiB")
        self.session = session
        self.plan = plan
        let parameters = session.parameters
        inputFramer = PDUFramer(
            maximumDataSegmentLength: parameters.maxRecvDataSegmentLength,
            hasHeaderDigest: parameters.headerDigest == .crc32c, hasDataDigest: parameters.dataDigest == .crc32c)
        outputFramer = PDUFramer(
            maximumDataSegmentLength: parameters.maxSendDataSegmentLength,
            hasHeaderDigest: inputFramer.hasHeaderDigest, hasDataDigest: inputFramer.hasDataDigest)
        let nothing = Transfer(tag: 0, targetTransferTag: 0, offset: 0, end: 0)
        state = State(
            work: LoadWork(plan), slots: Array(repeating: Slot(), count: plan.depth),
            freeSlots: Array((0..<plan.depth).reversed()),
            // Each command has its unsolicited data or up to MaxOutstandingR2T transfers.
            transfers: Array(repeating: nothing, count: plan.depth * max(parameters.maxOutstandingR2T, 1)),
            nextCmdSN: session.nextCmdSN, maxCmdSN: session.maxCmdSN, expStatSN: session.expStatSN)
        state.retrySlots.reserveCapacity(plan.depth)
    }

    // MARK: Life

    /// Begins the work on `reactor`, whose thread calls this.
    public func start(on reactor: Reactor) throws(InitiatorError) {
        self.reactor = reactor
        guard var lease = reactor.pool.lease(capacity: plan.blockLength) else {
            throw .protocolViolation("the pool has no room for a block of \(plan.blockLength) bytes")
        }
        fill(&lease)
        payload = output.hold(lease)
        do throws(SystemError) {
            registration = try reactor.register(session.socket.fileDescriptor, interest: .readable, handler: self)
        } catch {
            throw .system(error)
        }
        state.isRunning = true
        send()
    }

    /// Forgets what was measured and measures from now on.
    public func beginMeasuring() {
        let failure = state.report.failure
        state.report.latencies.reset()
        state.report = LoadReport(failure: failure, latencies: state.report.latencies)
        state.isMeasuring = true
    }

    /// Whether the plan's operation limit is reached and nothing is under way, or the connection has ended.
    public var isDone: Bool {
        !state.isRunning || (state.work.isExhausted && state.freeSlots.count == plan.depth)
    }

    /// Stops measuring and gives the result.
    public func endMeasuring() -> LoadReport {
        state.isMeasuring = false
        return state.report
    }

    /// Stops the work at once; commands under way are dropped with the connection.
    public func stop() {
        state.isRunning = false
        if let registration { reactor?.unregister(registration) }
        registration = nil
        if let payload { _ = output.release(payload) }
        payload = nil
        output.discard()
        session.socket.shutdownWriting()
    }

    /// Data that does not compress and is not the same in any two places.
    private func fill(_ lease: inout BufferLease) {
        let length = plan.blockLength
        lease.extendWithZeros(to: length)
        var bytes = lease.mutableBytes
        var random = SplitMix64(seed: plan.seed)
        var offset = 0
        while offset + 8 <= length {
            bytes.storeBE64(random.next(), at: offset)
            offset += 8
        }
    }

    func fail(_ error: InitiatorError) {
        guard state.isRunning else { return }
        state.report.failure = error
        stop()
    }

    // MARK: Readiness

    /// The socket is ready.
    public func ready(_ events: ReadyEvents) {
        if !events.isDisjoint(with: [.readable, .failed]) { receive() }
        if state.isRunning { send() }
    }

    /// Sends data that was asked for, new commands, and whatever else waits.
    func send() {
        guard let reactor, let registration else { return }
        let now = MonotonicTime.current().nanoseconds
        while true {
            let isComplete = fillOutput(now)
            switch output.flush(to: session.socket, counters: reactor.counters) {
            case .drained:
                if !isComplete { continue }
                if state.isWaitingForRoom {
                    state.isWaitingForRoom = false
                    listen(.readable, registration, reactor)
                }
            case .blocked:
                if !state.isWaitingForRoom {
                    state.isWaitingForRoom = true
                    listen([.readable, .writable], registration, reactor)
                }
            case .failed(let code):
                fail(.system(SystemError(code: code, operation: "send")))
            }
            return
        }
    }

    private func listen(_ interest: ReadyEvents, _ registration: RegistrationName, _ reactor: Reactor) {
        do throws(SystemError) {
            try reactor.modify(registration, interest: interest)
        } catch {
            fail(.system(error))
        }
    }

    /// Receives once and handles all that is there.
    private func receive() {
        guard let reactor else { return }
        let buffer = reactor.receiveBuffer
        buffer.begin(with: state.kept.rawSpan.extracting(0..<state.keptCount))
        switch session.socket.receive(into: buffer) {
        case .received: handle(buffer.bytes, now: MonotonicTime.current().nanoseconds)
        case .wouldBlock: break
        case .closed: fail(.connectionClosed)
        case .failed(let code): fail(.system(SystemError(code: code, operation: "receive")))
        }
    }
}

extension LoadReport {
    /// An empty report that keeps why the connection ended, and the memory of a histogram.
    fileprivate init(failure: InitiatorError?, latencies: LatencyHistogram) {
        self.init()
        self.failure = failure
        self.latencies = latencies
    }
}

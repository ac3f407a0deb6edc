/// What performs the requests of lanes: threads, or a simulation in tests.
public protocol MediumEngine: AnyObject, Sendable {
    /// `lane` has a request that may begin: call its `performNext()` once, soon, on a thread that may wait. Lanes come
    /// in turns, so that none waits for another's backlog. Called on any thread; it must not wait.
    func schedule(_ lane: Lane)
}

/// The queue of one medium for what may wait: its requests, in the order of their submission, of which only a few are
/// performed at a time.
///
/// Each medium has its own lane, so a medium that hangs keeps its own commands waiting and no more threads than
/// `concurrency`. A lane is the list of its requests: submitting allocates nothing. All methods may be called on any
/// thread unless they say otherwise.
public final class Lane: @unchecked Sendable {
    /// The most requests that wait in a lane unless its owner says otherwise.
    public static let defaultWaitingLimit = 4096
    /// The most requests of a lane that are performed at a time unless its owner says otherwise.
    public static let defaultConcurrency = 4

    /// What performs the requests.
    public let engine: any MediumEngine
    /// The most requests that wait; more are refused.
    public let waitingLimit: Int
    /// The most requests that are performed at a time; their order is then not defined.
    public let concurrency: Int
    /// Lanes that together have no more than so many performed at a time; nil when it is alone.
    private let group: LaneGroup?

    private struct State {
        var waiting = FileRequestList()
        var running = 0
        /// Whether the engine knows that a request may begin; it is told once until it takes one.
        var isScheduled = false

        /// Whether the engine must be told now.
        mutating func mustSchedule(_ concurrency: Int) -> Bool {
            guard !isScheduled, !waiting.isEmpty, running < concurrency else { return false }
            isScheduled = true
            return true
        }
    }

    private let state = Lock(State())
    /// The lane behind this one in the engine's list; the engine's lock guards it.
    var nextScheduled: Lane?

    /// A lane whose requests `engine` performs.
    public init(
        engine: any MediumEngine, waitingLimit: Int = defaultWaitingLimit, concurrency: Int = defaultConcurrency,
        group: LaneGroup? = nil
    ) {
        self.group = group
        precondition(waitingLimit > 0 && concurrency > 0, "a lane has room and goes on")
        self.engine = engine
        self.waitingLimit = waitingLimit
        self.concurrency = concurrency
    }

    /// How many requests wait to be begun.
    public var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// Queues the first step of a command, whose owner is called on `reactor` when it is done. Call it on that
    /// reactor's thread.
    ///
    /// False when `waitingLimit` requests wait: the request is untouched, and the command ends before it has changed
    /// anything.
    public func submit(_ request: FileRequest, on reactor: Reactor) -> Bool {
        let (accepted, mustSchedule) = state.withLock { state in
            guard state.waiting.count < waitingLimit else { return (false, false) }
            request.begin(on: reactor)
            state.waiting.append(request)
            return (true, state.mustSchedule(concurrency))
        }
        if mustSchedule { engine.schedule(self) }
        return accepted
    }

    /// Queues a further step of a command that has begun. It is always accepted: the commands that have begun bound the
    /// number of these.
    public func submitContinuation(_ request: FileRequest, on reactor: Reactor) {
        request.begin(on: reactor)
        enqueue(request)
    }

    /// Queues a piece of background work, which belongs to no reactor: its medium does the work in `perform`, answers
    /// nil, and nobody is told of the end. For the next piece the medium submits the same request again, so that
    /// requests of commands come in between. Any thread.
    public func submitDetached(_ request: FileRequest) {
        request.isDetached = true
        enqueue(request)
    }

    // MARK: For engines

    /// Takes the oldest request and performs it, once for each call of `schedule`. It may wait.
    public func performNext() {
        guard let request = takeNext() else { return }
        perform(request)
    }

    /// Takes the oldest request to perform it, once for each call of `schedule`.
    public func takeNext() -> FileRequest? {
        // Whoever leaves the group has the engine call again; until then it counts as scheduled.
        guard group?.enter(self) != false else { return nil }
        let (request, mustSchedule) = state.withLock { state in
            state.isScheduled = false
            let request = state.waiting.takeFirst()
            if request != nil { state.running += 1 }
            return (request, state.mustSchedule(concurrency))
        }
        if request == nil { group?.leave() }
        // Before the work: it may take long, and the next request need not wait for it.
        if mustSchedule { engine.schedule(self) }
        return request
    }

    /// Performs a request that `takeNext` gave, and hands it back to its owner's reactor. It may wait.
    public func perform(_ request: FileRequest) {
        if let result = request.perform() { complete(request, with: result) }
        group?.leave()
        let mustSchedule = state.withLock { state in
            state.running -= 1
            return state.mustSchedule(concurrency)
        }
        if mustSchedule { engine.schedule(self) }
    }

    /// Ends all that wait with ECANCELED: the engine performs nothing any more.
    public func cancelWaiting() {
        var waiting = state.withLock { state in
            state.isScheduled = false
            return state.waiting.takeAll()
        }
        while let request = waiting.takeFirst() { complete(request, with: .failed(Errno.cancelled)) }
    }

    // MARK: For media

    /// Ends a request that the medium has put aside.
    public func complete(_ request: FileRequest, with result: FileResult) {
        if request.isDetached {
            request.medium = nil
            return
        }
        guard let reactor = request.reactor else { preconditionFailure("a request is completed once") }
        request.result = result
        reactor.complete(request)
    }

    /// Queues a request again that the medium has put aside.
    public func requeue(_ request: FileRequest) {
        precondition(request.isSubmitted, "a request that is put aside is submitted")
        enqueue(request)
    }

    private func enqueue(_ request: FileRequest) {
        let mustSchedule = state.withLock { state in
            state.waiting.append(request)
            return state.mustSchedule(concurrency)
        }
        if mustSchedule { engine.schedule(self) }
    }
}

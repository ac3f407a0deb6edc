public import Bytes
internal import CPlatform
internal import Synchronization

/// What a reactor calls when a registered file descriptor is ready, on the reactor's thread.
public protocol ReadyHandler: AnyObject {
    /// The descriptor is ready for `events`. Level-triggered: what is left undone is reported again next turn.
    func ready(_ events: ReadyEvents)
}

/// What a reactor calls at the end of a turn for those who asked, on the reactor's thread.
public protocol TurnHandler: AnyObject {
    /// All events of the turn are handled: send what has gathered.
    func turnEnded()
}

/// Kinds of readiness.
public struct ReadyEvents: OptionSet, Sendable {
    /// The bits, as epoll has them.
    public let rawValue: UInt32

    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Data to read, or a connection to accept, or the peer's end of stream.
    public static let readable = ReadyEvents(rawValue: cplatform_epollin)
    /// Room to write.
    public static let writable = ReadyEvents(rawValue: cplatform_epollout)
    /// An error or a closed connection; reported whether asked for or not.
    public static let failed = ReadyEvents(rawValue: cplatform_epollerr | cplatform_epollhup)
}

/// A file descriptor's registration with a reactor. A stale name reaches nothing.
public struct RegistrationName: Hashable, Sendable {
    let slot: SlotName
}

/// One thread that waits for readiness, timers and messages, and runs everything to completion.
///
/// All methods run on the reactor's own thread unless they say otherwise. A turn is: one wait, the ready handlers,
/// messages and completed file requests, due timers, pollers, and last the handlers that asked for the turn's end.
@safe public final class Reactor: @unchecked Sendable {
    /// The most registered descriptors.
    public static let maximumRegistrations = 1 << 16
    /// The most messages that wait in the mailbox.
    public static let mailboxLimit = 1 << 14
    /// The most pending timers, unless `start` is told otherwise. Connections, sessions and portals have a handful
    /// each.
    public static let timerLimit = 1 << 17

    /// The reactor's number, from 0.
    public let index: Int
    /// The thread's name.
    public let name: String
    /// Buffers of this thread.
    public let pool: BufferPool
    /// The engine for file operations that may wait.
    public let fileEngine: FileEngine
    /// The receive buffer that all connections of this thread share.
    public let receiveBuffer: ReceiveBuffer
    /// What the reactor has done; readable on any thread.
    public let counters: ReactorCounters

    private final class Registration {
        let fileDescriptor: Int32
        let handler: any ReadyHandler

        init(fileDescriptor: Int32, handler: any ReadyHandler) {
            self.fileDescriptor = fileDescriptor
            self.handler = handler
        }
    }

    /// What other threads put in, under the lock.
    private struct Mailbox {
        var work: [@Sendable () -> Void] = []
        /// How many of `work` could have been refused.
        var messageCount = 0
        /// Completed requests: what was accepted always comes back.
        var completed = FileRequestList()
        var isSignalled = false
        var isStopping = false

        /// Whether the reactor must be woken, which is asked for once a turn.
        mutating func mustSignal() -> Bool {
            defer { isSignalled = true }
            return !isSignalled
        }
    }

    /// The word of the wake-up descriptor; no slot has a generation of 0.
    private static let wakeWord: UInt64 = 0

    private let epoll: Int32
    private let wake: Int32
    private let mailbox = Lock(Mailbox())
    private let threadIdentifier = Atomic<UInt>(0)
    private var thread: PlatformThread?

    // State of the thread.
    private var registrations = SlotTable<Registration>(limit: maximumRegistrations)
    private var timers: Timers
    private var turnHandlers: [any TurnHandler] = []
    private var endingHandlers: [any TurnHandler] = []
    private var runningWork: [@Sendable () -> Void] = []
    private var isStopping = false
    private let clock: MonotonicClock
    private var time: MonotonicTime
    private var eventCount = 0
    /// When idle memory of the pool is given back next; nil while there is none.
    private var poolUpkeep: MonotonicTime?
    var pollers: [any Poller] = []
    /// When pollers, or anything else, had work last.
    var lastPolledWork = MonotonicTime(nanoseconds: 0)

    private init(
        index: Int, name: String, poolLimit: Int, poolPages: PageChoice, timerLimit: Int, fileEngine: FileEngine,
        clock: MonotonicClock
    ) throws(SystemError) {
        self.index = index
        timers = Timers(limit: timerLimit)
        self.name = name
        self.clock = clock
        time = clock.now
        self.fileEngine = fileEngine
        pool = BufferPool(limit: poolLimit, pages: poolPages)
        counters = ReactorCounters()
        receiveBuffer = ReceiveBuffer(counters: counters)
        epoll = try check(cplatform_epoll_create(), "create epoll for", name)
        wake = try check(cplatform_eventfd(), "create eventfd for", name)
        _ = try check(cplatform_epoll_add(epoll, wake, ReadyEvents.readable.rawValue, Self.wakeWord), "register", name)
        turnHandlers.reserveCapacity(256)
        endingHandlers.reserveCapacity(256)
    }

    deinit {
        _ = cplatform_close(wake)
        _ = cplatform_close(epoll)
    }

    /// Starts a reactor: a thread named `name` with a buffer pool of at most `poolLimit` bytes, made of `poolPages`
    /// where they can be had, and at most `timerLimit` pending timers. Any thread.
    ///
    /// A `clock` that a test moves is read when the reactor wakes: post something after moving it.
    public static func start(
        name: String, index: Int = 0, poolLimit: Int, poolPages: PageChoice = .standard, timerLimit: Int = timerLimit,
        fileEngine: FileEngine, clock: MonotonicClock = .system
    ) throws(SystemError) -> Reactor {
        let reactor = try Reactor(
            index: index, name: name, poolLimit: poolLimit, poolPages: poolPages, timerLimit: timerLimit,
            fileEngine: fileEngine, clock: clock)
        reactor.thread = try PlatformThread.start(name: name) { reactor.run() }
        return reactor
    }

    /// Whether the caller runs on the reactor's thread. Any thread.
    public var isCurrent: Bool { threadIdentifier.load(ordering: .relaxed) == PlatformThread.currentIdentifier }

    /// The clock, read once a turn.
    public var now: MonotonicTime { time }

    /// The clock, read now; costs a clock read (about 20 ns). On any thread.
    public var clockTime: MonotonicTime { clock.now }

    /// How many timers are pending.
    public var pendingTimers: Int { timers.count }

    /// How many descriptors were found ready in this turn, mail counted as one.
    public var readyCount: Int { eventCount }

    // MARK: From any thread

    /// Runs `work` on the reactor in one of its next turns. Any thread; for control work, not per command.
    ///
    /// False when the reactor is stopping or `mailboxLimit` messages wait: `work` is then dropped. What ends something
    /// that was accepted goes by `postCompletion`.
    @discardableResult
    public func post(_ work: @escaping @Sendable () -> Void) -> Bool {
        let (accepted, mustSignal) = mailbox.withLock { box in
            guard !box.isStopping, box.messageCount < Self.mailboxLimit else { return (false, false) }
            box.messageCount += 1
            box.work.append(work)
            return (true, box.mustSignal())
        }
        if mustSignal { _ = cplatform_eventfd_signal(wake) }
        return accepted
    }

    /// Runs `work`, which ends something that was accepted before, on the reactor in one of its next turns, in order
    /// with posted work. Any thread.
    ///
    /// It is never refused for want of room: what was accepted bounds it, one end for each. False, and `work` is
    /// dropped, only when the reactor is stopping.
    @discardableResult
    public func postCompletion(_ work: @escaping @Sendable () -> Void) -> Bool {
        let (accepted, mustSignal) = mailbox.withLock { box in
            guard !box.isStopping else { return (false, false) }
            box.work.append(work)
            return (true, box.mustSignal())
        }
        if mustSignal { _ = cplatform_eventfd_signal(wake) }
        return accepted
    }

    /// Hands `request`, which is not submitted, to its owner in one of the next turns, as if it had been performed: a
    /// wake-up that costs no memory and cannot be refused. Any thread, when no other uses the request.
    public func postCompletion(of request: FileRequest) {
        request.begin(on: self)
        request.result = .done(0)
        complete(request)
    }

    /// Hands a finished request to its owner on the reactor's thread. Any thread.
    func complete(_ request: FileRequest) {
        let mustSignal = mailbox.withLock { box in
            box.completed.append(request)
            return box.mustSignal()
        }
        if mustSignal { _ = cplatform_eventfd_signal(wake) }
    }

    /// Ends the loop after the messages that wait already, and waits for the thread. Any other thread, once.
    ///
    /// Registered handlers are released on the reactor's thread. Stop the owners of file requests first: a completion
    /// that arrives later is not delivered.
    public func stop() {
        precondition(!isCurrent, "a reactor cannot wait for itself")
        mailbox.withLock { $0.isStopping = true }
        _ = cplatform_eventfd_signal(wake)
        thread?.join()
    }

    // MARK: Registration

    /// Calls `handler` whenever `fileDescriptor` is ready for `interest`. The handler is kept until `unregister`.
    ///
    /// Fails with ENOSPC at `maximumRegistrations`, or as epoll does.
    public func register(
        _ fileDescriptor: Int32, interest: ReadyEvents, handler: any ReadyHandler
    ) throws(SystemError) -> RegistrationName {
        let registration = Registration(fileDescriptor: fileDescriptor, handler: handler)
        guard let slot = registrations.insert(registration) else {
            throw SystemError(code: Errno.noSpace, operation: "register descriptor with", path: name)
        }
        let status = cplatform_epoll_add(epoll, fileDescriptor, interest.rawValue, slot.word)
        if status < 0 {
            registrations.remove(slot)
            throw SystemError(code: -status, operation: "register descriptor with", path: name)
        }
        counters.countSystemCall()
        return RegistrationName(slot: slot)
    }

    /// Changes what the registration is interested in; fails as epoll does.
    public func modify(_ registration: RegistrationName, interest: ReadyEvents) throws(SystemError) {
        guard let found = registrations[registration.slot] else { return }
        counters.countSystemCall()
        let status = cplatform_epoll_modify(epoll, found.fileDescriptor, interest.rawValue, registration.slot.word)
        _ = try check(status, "watch descriptor with", name)
    }

    /// Ends the registration; call it before the descriptor is closed. Its handler is not called again, not even for
    /// events that this turn has found already.
    public func unregister(_ registration: RegistrationName) {
        guard let found = registrations.remove(registration.slot) else { return }
        counters.countSystemCall()
        _ = cplatform_epoll_remove(epoll, found.fileDescriptor)
    }

    // MARK: Timers and turns

    /// Calls `handler` with `token` after `delay`, rounded up to a millisecond. The handler is kept until then.
    ///
    /// Nil when the reactor has as many pending timers as it may have: the handler is not called.
    public func schedule(after delay: Duration, _ handler: any TimerHandler, token: UInt64) -> TimerName? {
        timers.schedule(at: time + delay, handler: handler, token: token)
    }

    /// Forgets the timer; nothing happens when it is gone already.
    public func cancel(_ timer: TimerName) {
        timers.cancel(timer)
    }

    /// Calls `handler` once at the end of this turn, or of the next when the end has begun.
    public func afterEvents(_ handler: any TurnHandler) {
        turnHandlers.append(handler)
    }

    // MARK: The loop

    private func run() {
        threadIdentifier.store(PlatformThread.currentIdentifier, ordering: .relaxed)
        var events = [cplatform_event](repeating: cplatform_event(), count: Int(CPLATFORM_EVENTS_MAX))
        while !isStopping {
            let capacity = Int32(events.count)
            let wait = mayWait() ? waitMilliseconds : 0
            let count = unsafe events.withUnsafeMutableBufferPointer { buffer in
                // Safe: the buffer has `capacity` elements and outlives the call.
                unsafe cplatform_epoll_wait(epoll, buffer.baseAddress!, capacity, wait)
            }
            precondition(count >= 0, "waiting on an own epoll descriptor does not fail")
            time = clock.now
            eventCount = Int(count)
            counters.countTurn(events: Int(count))
            for event in events[0..<Int(count)] { dispatch(event) }
            while let due = timers.popDue(at: time) { due.handler.timerFired(due.token) }
            poll(hasWork: count > 0)
            endTurn()
            maintainPool()
        }
        registrations = SlotTable(limit: Self.maximumRegistrations)
        timers.removeAll()
        turnHandlers = []
        pollers = []
    }

    /// How long the next wait may take.
    private var waitMilliseconds: Int32 {
        if !turnHandlers.isEmpty { return 0 }
        guard var deadline = timers.nextDeadline ?? poolUpkeep else { return -1 }
        if let poolUpkeep, poolUpkeep < deadline { deadline = poolUpkeep }
        let rest = deadline.nanoseconds - clock.now.nanoseconds
        // Rounded up: waking early would only mean to wait again.
        return rest <= 0 ? 0 : Int32(min((rest + 999_999) / 1_000_000, 60_000))
    }

    private func dispatch(_ event: cplatform_event) {
        if event.word == Self.wakeWord {
            takeMail()
        } else if let registration = registrations[SlotName(word: event.word)] {
            registration.handler.ready(ReadyEvents(rawValue: event.events))
        }
    }

    private func takeMail() {
        counters.countSystemCall()
        _ = cplatform_eventfd_clear(wake)
        var completed = FileRequestList()
        isStopping = mailbox.withLock { box in
            box.isSignalled = false
            box.messageCount = 0
            swap(&box.work, &runningWork)
            completed = box.completed.takeAll()
            return box.isStopping
        }
        while let request = completed.takeFirst() { request.deliver() }
        for work in runningWork { work() }
        runningWork.removeAll(keepingCapacity: true)
    }

    private func endTurn() {
        guard !turnHandlers.isEmpty else { return }
        swap(&turnHandlers, &endingHandlers)
        for handler in endingHandlers { handler.turnEnded() }
        endingHandlers.removeAll(keepingCapacity: true)
    }

    // MARK: The pool

    /// How often idle memory of the pool is given back while there is some.
    private static let upkeepInterval = Duration.seconds(1)

    /// Gives idle memory of the pool back when that is due.
    private func maintainPool() {
        guard pool.hasIdleMemory else {
            poolUpkeep = nil
            return
        }
        if let poolUpkeep, poolUpkeep > time { return }
        if poolUpkeep != nil { pool.giveBackIdleMemory() }
        poolUpkeep = time + Self.upkeepInterval
    }
}

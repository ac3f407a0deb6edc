import Dispatch
import Platform
import Resources

/// Runs changes: those with a key in common one after another in the order in which they came, all others at the same
/// time, each on a thread of the queue's own, where it may wait.
///
/// A change gets all of its keys at once or waits without any, so that two changes never wait for each other
/// (`KeyLines`).
final class KeyedQueue<Key: Hashable & Sendable>: Sendable {
    /// Which threads run a change.
    enum Lane: Sendable {
        /// What is soon done, or waits for a bounded time.
        case short
        /// What makes or removes thousands of files; as many as there are threads for it run at a time, and none takes
        /// a thread from the short ones.
        case long
    }

    /// The bounds of a queue.
    struct Limits: Sendable {
        /// How many changes of each lane run at the same time.
        var shortThreads: Int
        var longThreads: Int
        /// How many changes may wait for keys or a thread, beside those that run.
        var waiting: Int
    }

    private struct Change: Sendable {
        let lane: Lane
        let run: @Sendable () -> Void
        let refuse: @Sendable (ManagementError) -> Void
    }

    private struct State {
        var lines: KeyLines<Key>
        var lastTicket: UInt64 = 0
        /// The changes that have not begun.
        var pending: [UInt64: Change] = [:]
        /// Those that have not come yet; one that is cancelled before that is none of them any more.
        var expected: Set<UInt64> = []
        var running = 0
        var refusal: ManagementError?
        var whenIdle: [@Sendable () -> Void] = []
    }

    private let state: Lock<State>
    private let shortThreads: WorkerThreads
    private let longThreads: WorkerThreads
    private let limits: Limits

    /// A queue whose threads have that name. Changes wait for the keys that `isHeldForLong` tells before they stand in
    /// the lines of others.
    init(
        name: String, limits: Limits, isHeldForLong: @escaping @Sendable (Key) -> Bool = { _ in false }
    ) throws(SystemError) {
        self.limits = limits
        state = Lock(State(lines: KeyLines(isHeldForLong: isHeldForLong)))
        shortThreads = try WorkerThreads(name: name, limit: limits.shortThreads)
        longThreads = try WorkerThreads(name: name + "-long", limit: limits.longThreads)
    }

    /// What a change is told that finds the queue full.
    static var isFull: ManagementError {
        ManagementError(.system, "too much is being changed at this moment; try again")
    }

    /// What a change is told that was cancelled while it waited.
    static var isCancelled: ManagementError {
        ManagementError(.conflict, "the change was cancelled before it began; nothing was changed")
    }

    /// What a change is told that others have kept from beginning for so long.
    static var isLate: ManagementError {
        ManagementError(
            .inUse,
            "others have been at work at the same things for long, so this was not begun; 'carousel job list' and "
                + "'carousel status' tell of what takes long")
    }

    /// What is told of a change that has begun and takes so long.
    static var isUnderWay: ManagementError {
        ManagementError(
            .system,
            "this takes long, and goes on; perhaps a file system does not answer: see what has come of it before you "
                + "try again")
    }

    /// Runs `body` when it has all of `keys` and a thread, and gives what it gives.
    ///
    /// When the task is cancelled before `body` has begun, it never does; once begun it goes on to its end. So it is
    /// when nothing has come of it for `patience`; the caller waits no longer then.
    ///
    /// - Throws: `isFull`, `isCancelled`, `isLate`, `isUnderWay`, the refusal of `close`, or what `body` throws.
    func run<Value: Sendable>(
        _ keys: Set<Key>, in lane: Lane = .short, patience: Duration? = nil,
        _ body: @escaping @Sendable () throws(ManagementError) -> Value
    ) async throws(ManagementError) -> Value {
        try await run(keys, in: lane, patience: patience, releasing: { _ throws(ManagementError) in try body() })
    }

    /// The same for a `body` that can give some of the keys to others before it ends, by the function that it gets.
    /// With `beginning`, it is `isLate` when it has not begun in that time.
    func run<Value: Sendable>(
        _ keys: Set<Key>, in lane: Lane = .short, patience: Duration? = nil, beginning: Duration? = nil,
        releasing body: @escaping @Sendable (_ release: (Set<Key>) -> Void) throws(ManagementError) -> Value
    ) async throws(ManagementError) -> Value {
        let ticket = state.withLock { state in
            state.lastTicket += 1
            state.expected.insert(state.lastTicket)
            return state.lastTicket
        }
        let outcome: Result<Value, ManagementError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer = BoundedAnswer(continuation)
                let change = Change(lane: lane) {
                    let outcome = Result { () throws(ManagementError) in
                        try body { self.release(ticket, $0) }
                    }
                    self.end(ticket)
                    answer.give(outcome)
                } refuse: {
                    answer.give(.failure($0))
                }
                if let patience {
                    answer.wait(atMost: patience) {
                        if !self.withdraw(ticket, Self.isLate) { answer.give(.failure(Self.isUnderWay)) }
                    }
                }
                if let beginning { answer.wait(atMost: beginning) { _ = self.withdraw(ticket, Self.isLate) } }
                enter(ticket, keys, change)
            }
        } onCancel: {
            _ = withdraw(ticket, Self.isCancelled)
        }
        return try outcome.get()
    }

    /// How many changes wait, for keys or for a thread.
    var waitingCount: Int { state.withLock { $0.pending.count } }

    /// Refuses what waits and what comes with `refusal`, and waits until nothing runs any more, but not longer than
    /// `limit`. False when something still runs then.
    func close(_ refusal: ManagementError, waitingAtMost limit: DispatchTimeInterval) async -> Bool {
        let refused = state.withLock { state in
            state.refusal = refusal
            defer { state.pending = [:] }
            return state.pending.map { ticket, change in
                // Nobody comes to hold anything by that: all that waits is refused.
                _ = state.lines.leave(ticket)
                return change
            }
        }
        for change in refused { change.refuse(refusal) }
        return await withCheckedContinuation { continuation in
            let first = Lock(true)
            let resume: @Sendable (Bool) -> Void = { isIdle in
                let isFirst = first.withLock { first in
                    defer { first = false }
                    return first
                }
                if isFirst { continuation.resume(returning: isIdle) }
            }
            let isIdle = state.withLock { state in
                if state.running > 0 { state.whenIdle.append { resume(true) } }
                return state.running == 0
            }
            guard !isIdle else { return resume(true) }
            DispatchQueue.global().asyncAfter(deadline: .now() + limit) { resume(false) }
        }
    }

    // MARK: The way of a change

    private func enter(_ ticket: UInt64, _ keys: Set<Key>, _ change: Change) {
        let (refusal, isReady): (ManagementError?, Bool) = state.withLock { state in
            guard state.expected.remove(ticket) != nil else { return (Self.isCancelled, false) }
            if let refusal = state.refusal { return (refusal, false) }
            guard state.pending.count < limits.waiting else { return (Self.isFull, false) }
            state.pending[ticket] = change
            return (nil, state.lines.enter(ticket, keys: keys))
        }
        if let refusal { return change.refuse(refusal) }
        if isReady { submit(ticket, change.lane) }
    }

    /// Has a thread begin the change that has its keys, unless it is cancelled until then.
    private func submit(_ ticket: UInt64, _ lane: Lane) {
        let threads = lane == .short ? shortThreads : longThreads
        threads.submit {
            let change = self.state.withLock { state in
                let change = state.pending.removeValue(forKey: ticket)
                if change != nil { state.running += 1 }
                return change
            }
            change?.run()
        }
    }

    private func release(_ ticket: UInt64, _ keys: Set<Key>) {
        let ready = state.withLock { state in Self.begun(state.lines.release(ticket, keys), state) }
        for (ticket, lane) in ready { submit(ticket, lane) }
    }

    private func end(_ ticket: UInt64) {
        let (ready, whenIdle) = state.withLock { state in
            state.running -= 1
            let whenIdle = state.running == 0 ? state.whenIdle : []
            if state.running == 0 { state.whenIdle = [] }
            return (Self.leave(ticket, &state), whenIdle)
        }
        for (ticket, lane) in ready { submit(ticket, lane) }
        for action in whenIdle { action() }
    }

    /// Refuses a change that has not begun with `refusal`; false when it has begun, or has not come yet.
    private func withdraw(_ ticket: UInt64, _ refusal: ManagementError) -> Bool {
        let (change, ready) = state.withLock { state -> (Change?, [(UInt64, Lane)]) in
            guard let change = state.pending.removeValue(forKey: ticket) else {
                // One that has not come yet will find that out; one that runs goes on.
                state.expected.remove(ticket)
                return (nil, [])
            }
            return (change, Self.leave(ticket, &state))
        }
        for (ticket, lane) in ready { submit(ticket, lane) }
        change?.refuse(refusal)
        return change != nil
    }

    /// Those that have all of their keys when `ticket` has left.
    private static func leave(_ ticket: UInt64, _ state: inout State) -> [(UInt64, Lane)] {
        begun(state.lines.leave(ticket), state)
    }

    /// `tickets`, which have all of their keys now, with the lanes where they are to go on.
    private static func begun(_ tickets: [UInt64], _ state: State) -> [(UInt64, Lane)] {
        tickets.compactMap { ticket in state.pending[ticket].map { (ticket, $0.lane) } }
    }
}

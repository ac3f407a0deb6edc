import Dispatch
import Platform

/// Looks at files, on threads of its own: one on a file system that does not answer keeps one of them until it does,
/// and nobody who asks for longer than a bounded time.
final class FileLooks: Sendable {
    enum Limit {
        /// How many files may keep a thread each. Where more hang, no others are looked at.
        static let threads = 32
        /// How many files are looked at side by side, beside those that hang.
        static let workers = 8
        /// How long a file may take to answer.
        static let answer = Duration.seconds(30)
    }

    /// What goes on about a name.
    private struct Look {
        var count = 0
        /// When the first began that has not ended.
        let since: MonotonicTime
    }

    private let threads: WorkerThreads
    private let looks = Lock<[String: Look]>([:])
    private let patience = Lock(Limit.answer)

    init() throws(SystemError) { threads = try WorkerThreads(name: "look", limit: Limit.threads) }

    /// How long a file may take to answer.
    var limit: Duration {
        get { patience.withLock { $0 } }
        set { patience.withLock { $0 = newValue } }
    }

    /// What `body` makes of `items`, by name; without those that do not answer in time, or have not answered one who
    /// has asked before. Waits as long as some answer, and then no longer than `limit`, or what is given in its place,
    /// for each 8 that do not.
    func look<Item: Sendable, Value: Sendable>(
        at items: [(name: String, item: Item)], within given: Duration? = nil,
        _ body: @escaping @Sendable (Item) -> Value
    ) -> [String: Value] {
        let (limit, now) = (given ?? limit, MonotonicTime.current())
        let hanging = looks.withLock { looks in Set(looks.filter { now - $0.value.since >= limit }.keys) }
        let round = Round<Item, Value>(items.filter { !hanging.contains($0.name) })
        var free = Limit.threads - hanging.count
        func begin() {
            let workers = min(free, Limit.workers, round.untaken)
            free -= workers
            for _ in 0..<workers { threads.submit { [self] in work(on: round, body) } }
        }
        guard round.untaken > 0, free > 0 else { return [:] }
        begin()
        while true {
            let before = round.done
            if round.wait(atMost: .nanoseconds(Int(limit.wholeNanoseconds))) { break }
            guard round.done == before else { continue }
            guard free > 0, round.untaken > 0 else { break }
            begin()
        }
        return round.close()
    }

    /// The same for one: nil when it does not answer.
    func look<Value: Sendable>(at name: String, _ body: @escaping @Sendable () -> Value) -> Value? {
        look(at: [(name, ())]) { body() }[name]
    }

    /// Whether somebody has asked it for so long, and it has not answered.
    func hangs(_ name: String) -> Bool {
        let (limit, now) = (limit, MonotonicTime.current())
        return looks.withLock { looks in looks[name].map { now - $0.since >= limit } ?? false }
    }

    private func work<Item, Value>(on round: Round<Item, Value>, _ body: (Item) -> Value) {
        while let (name, item) = round.take() {
            looks.withLock { $0[name, default: Look(since: .current())].count += 1 }
            let value = body(item)
            looks.withLock { looks in
                looks[name]?.count -= 1
                if looks[name]?.count == 0 { looks[name] = nil }
            }
            round.give(value, name)
        }
    }
}

/// Files that somebody waits for.
private final class Round<Item: Sendable, Value: Sendable>: Sendable {
    private struct State {
        /// Those from here on nobody has begun to look at.
        var next = 0
        var done = 0
        var values: [String: Value] = [:]
        var isClosed = false
    }
    private let items: [(name: String, item: Item)]
    private let state = Lock(State())
    private let end = DispatchSemaphore(value: 0)

    init(_ items: [(name: String, item: Item)]) { self.items = items }

    var done: Int { state.withLock { $0.done } }
    var untaken: Int { items.count - state.withLock { $0.next } }

    /// The next to look at; nil when there is none, or nobody waits any more.
    func take() -> (name: String, item: Item)? {
        let index = state.withLock { state -> Int? in
            guard !state.isClosed, state.next < items.count else { return nil }
            defer { state.next += 1 }
            return state.next
        }
        return index.map { items[$0] }
    }

    func give(_ value: Value, _ name: String) {
        let isLast = state.withLock { state in
            state.done += 1
            if !state.isClosed { state.values[name] = value }
            return state.done == items.count
        }
        if isLast { end.signal() }
    }

    /// Whether all are done within `limit`.
    func wait(atMost limit: DispatchTimeInterval) -> Bool { end.wait(timeout: .now() + limit) == .success }

    /// What was found; what comes later counts no more.
    func close() -> [String: Value] {
        state.withLock { state in
            state.isClosed = true
            return state.values
        }
    }
}

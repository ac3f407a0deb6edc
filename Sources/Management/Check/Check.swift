import Dispatch
import Foundation
import Platform
import Resources

/// Something to check: a file that is read from one end to the other, mostly.
struct CheckSubject: Sendable {
    /// How many bytes it has to read, or nearly; it may ask the system.
    let length: @Sendable () -> Int64
    /// Checks it. The function that it gets is called at each read with the number of bytes, and is false when the
    /// check is to end.
    let check: @Sendable (_ observer: @escaping @Sendable (Int64) -> Bool) -> [Finding]
}

/// A check under way, or one that is over: subjects that some threads take one after another. It tells its job how far
/// it is, and ends where that is to stop. Any thread.
final class Check: Sendable {
    /// How many subjects are checked at a time.
    static let workers = 4
    /// The most findings that are kept.
    static let findingLimit = 10_000

    private struct State {
        var job: Job?
        var isCancelled = false
        var ended: Date?
        var next = 0
        var checked = 0
        var done: Int64 = 0
        var total: Int64 = 0
        var findings: [Finding] = []
        var omitted = 0
        var waiters: [BoundedAnswer<Bool>] = []
    }

    private let subjects: [CheckSubject]
    private let started = Date()
    private let state = Lock(State())

    /// Whether it mends what it can.
    let repairs: Bool

    init(_ subjects: [CheckSubject], repairs: Bool = false) {
        self.subjects = subjects
        self.repairs = repairs
    }

    /// Begins, as the work of `job`.
    func begin(as job: Job) {
        state.withLock { $0.job = job }
        DispatchQueue.global().async { self.run(job) }
    }

    var isRunning: Bool { state.withLock { $0.ended == nil } }

    var status: CheckStatus {
        state.withLock { state in
            CheckStatus(
                job: state.job?.id ?? 0, isRunning: state.ended == nil, isCancelled: state.isCancelled,
                started: started, ended: state.ended,
                checked: state.checked, subjects: subjects.count, done: state.done, total: state.total,
                findings: state.findings.sorted {
                    ($0.kind.rawValue, $0.name) < ($1.kind.rawValue, $1.name)
                }, omitted: state.omitted)
        }
    }

    /// Waits until it is over, but not longer than `limit` if there is one: a file may keep it for ever. Whether it is.
    @discardableResult
    func finished(within limit: Duration? = nil) async -> Bool {
        let outcome: Result<Bool, ManagementError> = await withCheckedContinuation { continuation in
            let answer = BoundedAnswer(continuation)
            if let limit { answer.wait(atMost: limit) { answer.give(.success(false)) } }
            let isOver = state.withLock { state in
                if state.ended == nil { state.waiters.append(answer) }
                return state.ended != nil
            }
            if isOver { answer.give(.success(true)) }
        }
        return (try? outcome.get()) == true
    }

    /// Whether nobody wants it to stop: asked at each read of each thread.
    private func goesOn(_ job: Job) -> Bool {
        let isStopping = job.isStopping
        return state.withLock { state in
            if isStopping { state.isCancelled = true }
            return !state.isCancelled
        }
    }

    private func run(_ job: Job) {
        job.begin()
        let lengths = subjects.map { goesOn(job) ? $0.length() : 0 }
        state.withLock { $0.total = lengths.reduce(0, +) }
        let work = DispatchGroup()
        for _ in 0..<min(Self.workers, subjects.count) {
            DispatchQueue.global().async(group: work) {
                while let index = self.take(job) {
                    self.check(self.subjects[index], length: lengths[index], job)
                }
            }
        }
        work.wait()
        let waiters = state.withLock { state in
            state.ended = Date()
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.give(.success(true)) }
    }

    private func take(_ job: Job) -> Int? {
        guard goesOn(job) else { return nil }
        return state.withLock { state in
            guard state.next < subjects.count else { return nil }
            defer { state.next += 1 }
            return state.next
        }
    }

    private func check(_ subject: CheckSubject, length: Int64, _ job: Job) {
        let rest = Lock(length)
        let findings = subject.check { count in
            // What is read twice counts once.
            let counted = rest.withLock { rest in
                let counted = min(rest, count)
                rest -= counted
                return counted
            }
            return self.advance(by: counted, job)
        }
        _ = advance(by: rest.withLock { $0 }, job)
        state.withLock { state in
            let room = Self.findingLimit - state.findings.count
            state.findings += findings.prefix(room)
            state.omitted += max(0, findings.count - room)
            if !state.isCancelled { state.checked += 1 }
        }
    }

    /// Counts bytes; false when the check is to end.
    private func advance(by count: Int64, _ job: Job) -> Bool {
        let (done, total) = state.withLock { state in
            state.done += count
            return (state.done, state.total)
        }
        job.report(done: Int(done), of: Int(total))
        return goesOn(job)
    }
}

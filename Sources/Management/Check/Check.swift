import Dispatch
import Foundation
import Platform

/// Something to check: a file that is read from one end to the other, mostly.
struct CheckSubject: Sendable {
    /// How many bytes it has to read, or nearly; it may ask the system.
    let length: @Sendable () -> Int64
    /// Checks it. The function that it gets is called at each read with the number of bytes, and is false when the
    /// check is to end.
    let check: @Sendable (_ observer: @escaping @Sendable (Int64) -> Bool) -> [Finding]
}

/// A check under way, or one that is over: subjects that some threads take one after another. Any thread.
final class Check: Sendable {
    /// How many subjects are checked at a time.
    static let workers = 4
    /// The most findings that are kept.
    static let findingLimit = 10_000

    private struct State {
        var isCancelled = false
        var ended: Date?
        var next = 0
        var checked = 0
        var done: Int64 = 0
        var total: Int64 = 0
        var findings: [Finding] = []
        var omitted = 0
    }

    private let subjects: [CheckSubject]
    private let started = Date()
    private let state = Lock(State())
    private let group = DispatchGroup()
    private let progress: @Sendable (_ done: Int64, _ total: Int64) -> Void

    /// A check that begins at once. `progress` is called whenever bytes were read, on any thread, and must not wait.
    init(
        _ subjects: [CheckSubject], progress: @escaping @Sendable (_ done: Int64, _ total: Int64) -> Void = { _, _ in }
    ) {
        self.subjects = subjects
        self.progress = progress
        group.enter()
        DispatchQueue.global().async { self.run() }
    }

    var isRunning: Bool { state.withLock { $0.ended == nil } }

    var status: CheckStatus {
        state.withLock { state in
            CheckStatus(
                isRunning: state.ended == nil, isCancelled: state.isCancelled, started: started, ended: state.ended,
                checked: state.checked, subjects: subjects.count, done: state.done, total: state.total,
                findings: state.findings.sorted {
                    ($0.kind.rawValue, $0.name) < ($1.kind.rawValue, $1.name)
                }, omitted: state.omitted)
        }
    }

    /// Ends it at the next read of each thread; does nothing when it is over.
    func cancel() {
        state.withLock { state in if state.ended == nil { state.isCancelled = true } }
    }

    /// Waits until it is over.
    func finished() async {
        await withCheckedContinuation { continuation in
            group.notify(queue: .global()) { continuation.resume() }
        }
    }

    private var goesOn: Bool { state.withLock { !$0.isCancelled } }

    private func run() {
        let lengths = subjects.map { goesOn ? $0.length() : 0 }
        state.withLock { $0.total = lengths.reduce(0, +) }
        let work = DispatchGroup()
        for _ in 0..<min(Self.workers, subjects.count) {
            DispatchQueue.global().async(group: work) {
                while let index = self.take() {
                    self.check(self.subjects[index], length: lengths[index])
                }
            }
        }
        work.wait()
        state.withLock { $0.ended = Date() }
        group.leave()
    }

    private func take() -> Int? {
        state.withLock { state in
            guard !state.isCancelled, state.next < subjects.count else { return nil }
            defer { state.next += 1 }
            return state.next
        }
    }

    private func check(_ subject: CheckSubject, length: Int64) {
        let rest = Lock(length)
        let findings = subject.check { count in
            // What is read twice counts once.
            let counted = rest.withLock { rest in
                let counted = min(rest, count)
                rest -= counted
                return counted
            }
            return self.advance(by: counted)
        }
        _ = advance(by: rest.withLock { $0 })
        state.withLock { state in
            let room = Self.findingLimit - state.findings.count
            state.findings += findings.prefix(room)
            state.omitted += max(0, findings.count - room)
            if !state.isCancelled { state.checked += 1 }
        }
    }

    /// Counts bytes; false when the check is to end.
    private func advance(by count: Int64) -> Bool {
        let (done, total, goesOn) = state.withLock { state in
            state.done += count
            return (state.done, state.total, !state.isCancelled)
        }
        progress(done, total)
        return goesOn
    }
}

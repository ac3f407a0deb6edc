import Catalog
import Foundation
import Platform
import Resources

/// Something that takes long, on its way: what it does tells it how far it is, and asks it whether to go on.
final class Job: Sendable {
    /// What a job is about; the words of `JobSummary`.
    struct Subject: Sendable {
        var verb: String
        var kind: String
        var name: String
        var unit: String
    }

    private struct State {
        var state = JobState.waiting
        var done = 0
        var total: Int
        let asked = Date()
        var began: (date: Date, moment: MonotonicTime)?
        var ended: (date: Date, moment: MonotonicTime)?
        /// Nil when it goes on whoever wants to stop it.
        var canBeCancelled: Bool
        /// Why it is to stop.
        var stop: ManagementError?
        var failure: ManagementError?
        var followers: [UInt64: AsyncStream<JobSummary>.Continuation] = [:]
        var lastFollower: UInt64 = 0
    }

    let id: Int
    let subject: Subject
    let actor: EventActor
    private let state: Lock<State>

    /// A job that waits; `total` is how many units there are to do.
    init(id: Int, subject: Subject, actor: EventActor, total: Int) {
        self.id = id
        self.subject = subject
        self.actor = actor
        state = Lock(State(total: total, canBeCancelled: true))
    }

    /// What a job ends with that was cancelled.
    static var wasCancelled: ManagementError { ManagementError(.conflict, "it was cancelled") }

    // MARK: For the work

    /// It has begun.
    func begin() {
        change { state in
            state.state = .running
            state.began = (Date(), .current())
        }
    }

    /// So many units are done, of so many.
    func report(done: Int, of total: Int) {
        change { state in
            // Those who report at the same time do so in any order.
            state.done = max(state.done, done)
            state.total = total
        }
    }

    /// Ends the work when somebody wants it to stop.
    func check() throws(ManagementError) {
        if let stop = state.withLock({ $0.stop }) { throw stop }
    }

    /// From here on it cannot be cancelled: what is done cannot be taken back, or nearly everything is done.
    func commit() throws(ManagementError) {
        let stop = state.withLock { state in
            if state.stop == nil { state.canBeCancelled = false }
            return state.stop
        }
        if let stop { throw stop }
    }

    /// It has ended, with `failure` if there is one.
    func end(_ failure: ManagementError?) {
        let followers = state.withLock { state in
            state.ended = (Date(), .current())
            state.canBeCancelled = false
            if let failure {
                // What never began ends for the reason why it was to stop, whatever the queue says.
                state.failure = state.began == nil ? state.stop ?? failure : failure
                state.state = state.failure == state.stop ? .cancelled : .failed
            } else {
                state.state = .done
                state.done = state.total
            }
            defer { state.followers = [:] }
            return state.followers.values.map { $0 }
        }
        let summary = summary
        for follower in followers {
            follower.yield(summary)
            follower.finish()
        }
    }

    // MARK: For those who asked

    /// The job as it is now.
    var summary: JobSummary { state.withLock { summary(of: $0) } }

    /// Why it failed or was cancelled; nil when it has not ended, or has done what it was to do.
    var failure: ManagementError? { state.withLock { $0.failure } }

    /// Whether it has ended.
    var hasEnded: Bool { state.withLock { $0.state.isFinal } }

    /// Whether it is to stop.
    var isStopping: Bool { state.withLock { $0.stop != nil } }

    /// Has it stop, where it can, with `reason`. False when it cannot be stopped, or has ended.
    func stop(_ reason: ManagementError) -> Bool {
        state.withLock { state in
            guard state.canBeCancelled, !state.state.isFinal else { return false }
            if state.stop == nil { state.stop = reason }
            return true
        }
    }

    /// The job as it is now, then after each change; what is not read in time is left out, but never the end.
    func follow() -> AsyncStream<JobSummary> {
        let (stream, continuation) = AsyncStream<JobSummary>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let (key, summary) = state.withLock { state -> (UInt64?, JobSummary) in
            guard !state.state.isFinal else { return (nil, self.summary(of: state)) }
            state.lastFollower += 1
            state.followers[state.lastFollower] = continuation
            return (state.lastFollower, self.summary(of: state))
        }
        continuation.yield(summary)
        guard let key else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.followers.removeValue(forKey: key) }
        }
        return stream
    }

    private func change(_ change: (inout State) -> Void) {
        let (followers, summary) = state.withLock { state in
            change(&state)
            return (state.followers, self.summary(of: state))
        }
        for follower in followers.values { follower.yield(summary) }
    }

    private func summary(of state: State) -> JobSummary {
        var rate: Double?
        if let began = state.began, state.done > 0 {
            let duration = (state.ended?.moment ?? .current()) - began.moment
            let seconds = Double(duration.wholeNanoseconds) / 1e9
            if seconds > 0 { rate = Double(state.done) / seconds }
        }
        let remaining = state.ended == nil ? rate.map { Double(state.total - state.done) / $0 } : nil
        return JobSummary(
            id: id, verb: subject.verb, kind: subject.kind, name: subject.name, actor: actor.description,
            state: state.state, unit: subject.unit, done: state.done, total: state.total, rate: rate,
            remaining: remaining, asked: state.asked, began: state.began?.date, ended: state.ended?.date,
            canBeCancelled: state.canBeCancelled, problem: state.failure?.message,
            problemCode: state.failure?.code)
    }
}

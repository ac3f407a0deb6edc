internal import ISCSI
internal import Platform

/// What response fences ask of a connection.
protocol FencedConnection: AnyObject {
    /// The StatSN of its next response.
    var nextStatSN: SequenceNumber { get }
    /// The StatSN before which the initiator has acknowledged everything.
    var acknowledgedStatSN: SequenceNumber { get }
    /// Whether it belongs to a session.
    var isInSession: Bool { get }
}

/// Response fences: a response that everything sent before it must be acknowledged for, and that must be acknowledged
/// before anything follows it (RFC 7143 sections 4.2.2.3 and 4.2.3.3).
///
/// A fence holds all responses of the session back, not only those of one I_T_L nexus: sessions whose functions matter
/// to several connections at once are rare, and the wait is short. This says what is to be done next; the session does
/// it.
final class ResponseFences<Connection: FencedConnection, Outcome> {
    /// What is to be done.
    enum Step {
        /// Ask these connections for an acknowledgement.
        case ask([Connection])
        /// Send the response.
        case respond(() -> Void)
        /// No fence is left: send the outcomes that were held back.
        case release([Outcome])
    }

    private struct Fence {
        /// What the response goes out on.
        let connection: Connection
        let respond: () -> Void
        var stage = Stage.new
        /// When the wait for the acknowledgement ends.
        var deadline = MonotonicTime.distantFuture
        /// It has not done so.
        var isGivenUp = false
        /// The StatSNs up to which each connection has to be acknowledged.
        var awaited: [(connection: Connection, statSN: SequenceNumber)] = []

        var isAcknowledged: Bool {
            awaited.allSatisfy { !$0.connection.isInSession || !$0.connection.acknowledgedStatSN.precedes($0.statSN) }
        }
    }

    private enum Stage {
        /// Nothing is done for it yet.
        case new
        /// Everything before the response is to be acknowledged.
        case before
        /// The response is sent.
        case sent
        /// The response is to be acknowledged.
        case after
    }

    private var fences: [Fence] = []
    private var outcomes: [Outcome] = []
    /// Whether the next outcome begins a fence.
    private var fencesNextOutcome = false

    /// How many responses are fenced.
    var count: Int { fences.count }
    /// Whether outcomes of commands are held back.
    private(set) var isRaised = false
    /// When the wait for an acknowledgement ends; nil when there is none.
    var deadline: MonotonicTime? { fences.first?.deadline }

    /// Sends a response on `connection` behind a fence, by `respond`.
    func append(on connection: Connection, _ respond: @escaping () -> Void) {
        isRaised = true
        fences.append(Fence(connection: connection, respond: respond))
    }

    /// The first outcome from now on is fenced.
    func fenceNextOutcome() {
        isRaised = true
        fencesNextOutcome = true
    }

    /// Whether the outcome that is to be held back begins a fence itself; asked once for each.
    func takeFenceOfOutcome() -> Bool {
        defer { fencesNextOutcome = false }
        return fencesNextOutcome
    }

    /// Holds the outcome of a command back.
    func hold(_ outcome: Outcome) {
        outcomes.append(outcome)
    }

    /// What is to be done next; nil when an acknowledgement is waited for. `connections` are those of the session, and
    /// a wait that begins now ends at `deadline`.
    func next(_ connections: [Connection], until deadline: MonotonicTime) -> Step? {
        guard let fence = fences.first else { return nil }
        switch fence.stage {
        case .new:
            let awaited = connections.filter { $0.acknowledgedStatSN.precedes($0.nextStatSN) }
            fences[0].stage = .before
            fences[0].deadline = deadline
            fences[0].awaited = awaited.map { ($0, $0.nextStatSN) }
            return .ask(awaited)
        case .before:
            guard fence.isAcknowledged || fence.isGivenUp || !fence.connection.isInSession else { return nil }
            guard fence.connection.isInSession else { return lower() }
            fences[0].stage = .sent
            return .respond(fence.respond)
        case .sent:
            if fence.isGivenUp { return lower() }
            fences[0].stage = .after
            fences[0].awaited = [(fence.connection, fence.connection.nextStatSN)]
            return .ask(fence.connection.isInSession ? [fence.connection] : [])
        case .after:
            return fence.isAcknowledged || fence.isGivenUp ? lower() : nil
        }
    }

    /// The first fence is cleared.
    private func lower() -> Step? {
        fences.removeFirst()
        guard fences.isEmpty else { return .ask([]) }
        isRaised = fencesNextOutcome
        defer { outcomes = [] }
        return .release(outcomes)
    }

    /// Forgets all fences and outcomes.
    func removeAll() {
        fences = []
        outcomes = []
        fencesNextOutcome = false
        isRaised = false
    }

    /// Whether the initiator has not acknowledged until `now`: what waits goes on without.
    func giveUp(at now: MonotonicTime) -> Bool {
        guard let deadline, deadline <= now, !fences[0].isGivenUp else { return false }
        fences[0].isGivenUp = true
        return true
    }
}

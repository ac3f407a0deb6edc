public import Platform
internal import TestSupport

/// An engine without threads, whose order a seed decides: it performs a request on the thread that submits it, or,
/// while it is held, when the test says so.
///
/// A lane can hang: what it takes is not performed until the lane goes on, as with a file whose host does not answer.
public final class SimulatedEngine: MediumEngine {
    private struct Begun: @unchecked Sendable {
        let lane: Lane
        let request: FileRequest
    }

    private struct State {
        var generator: SeededRandom
        var isHeld = false
        var scheduled: [Lane] = []
        var hanging: [Lane] = []
        /// What hanging lanes have taken.
        var begun: [Begun] = []
        var performedCount = 0
    }

    private let state: Lock<State>

    /// An engine that is not held.
    public init(seed: UInt64 = 1) {
        state = Lock(State(generator: SeededRandom(seed: seed)))
    }

    /// How many requests have been performed.
    public var performedCount: Int { state.withLock { $0.performedCount } }

    /// How many requests of hanging lanes are under way.
    public var hangingCount: Int { state.withLock { $0.begun.count } }

    /// Whether a lane that does not hang has a request that may begin.
    public var hasWork: Bool { state.withLock { !$0.scheduled.isEmpty } }

    /// Performs nothing until `step`, `run` or `release`.
    public func hold() {
        state.withLock { $0.isHeld = true }
    }

    /// Performs one request of a lane that chance chooses; false when there is none.
    @discardableResult
    public func step() -> Bool {
        let lane = state.withLock { state -> Lane? in
            guard !state.scheduled.isEmpty else { return nil }
            let index = Int.random(in: 0..<state.scheduled.count, using: &state.generator)
            return state.scheduled.remove(at: index)
        }
        guard let lane else { return false }
        perform(lane)
        return true
    }

    /// Performs what has gathered, and everything to come at once.
    public func release() {
        state.withLock { $0.isHeld = false }
        while step() {}
    }

    /// Steps until nothing is left to do, `settle` being called before each step: it waits until the reactors have done
    /// what they can.
    public func run(settle: () -> Void) {
        repeat { settle() } while step()
    }

    /// Lets `lane` hang from now on.
    public func hang(_ lane: Lane) {
        state.withLock { $0.hanging.append(lane) }
    }

    /// Lets `lane` go on: what it has taken is performed.
    public func resume(_ lane: Lane) {
        let begun = state.withLock { state in
            state.hanging.removeAll { $0 === lane }
            defer { state.begun.removeAll { $0.lane === lane } }
            return state.begun.filter { $0.lane === lane }
        }
        for entry in begun { perform(entry.request, of: entry.lane) }
    }

    /// Takes notice of a lane that has something to do.
    public func schedule(_ lane: Lane) {
        enum Action { case none, perform, hang }
        let action: Action = state.withLock { state in
            if state.hanging.contains(where: { $0 === lane }) { return .hang }
            if !state.isHeld { return .perform }
            state.scheduled.append(lane)
            return .none
        }
        switch action {
        case .none: break
        case .perform: perform(lane)
        case .hang:
            guard let request = lane.takeNext() else { return }
            let entry = Begun(lane: lane, request: request)
            state.withLock { $0.begun.append(entry) }
        }
    }

    private func perform(_ lane: Lane) {
        guard let request = lane.takeNext() else { return }
        perform(request, of: lane)
    }

    private func perform(_ request: FileRequest, of lane: Lane) {
        lane.perform(request)
        state.withLock { $0.performedCount += 1 }
    }
}

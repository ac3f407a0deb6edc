import Platform
import Resources

/// Counts the effects on files and catalog, and lets some of them fail.
final class EffectGate: Sendable {
    /// What happens at one effect.
    enum Mode: CaseIterable {
        /// The process ends: it has no more effects.
        case crash
        /// The system refuses this one.
        case failure
        /// The system refuses this one and all that follow.
        case lastingFailure
    }

    private struct State {
        var isArmed = false
        var paths: [String] = []
        /// The number of the effect, from 1, that fails.
        var failing: Int?
        var mode = Mode.crash
        /// The reserve of a file system that has no room but that.
        var reserve: String?
    }
    private let state = Lock(State())

    /// The paths of the effects since the gate was armed.
    var paths: [String] { state.withLock { $0.paths } }
    /// Whether an effect has failed.
    var hasFailed: Bool { state.withLock { state in state.failing.map { state.paths.count >= $0 } ?? false } }

    /// Counts from now on; the effect with that number fails.
    func arm(failing number: Int? = nil, _ mode: Mode = .failure) {
        state.withLock { $0 = State(isArmed: true, failing: number, mode: mode) }
    }

    /// From now on the file system has no room but what the file `reserve` gives.
    func armFull(reserve: String) { state.withLock { $0 = State(isArmed: true, reserve: reserve) } }

    /// Lets all pass again.
    func disarm() { state.withLock { $0.isArmed = false } }

    func pass(_ path: String) throws(ManagementError) {
        let fails = state.withLock { state in
            guard state.isArmed else { return false }
            state.paths.append(path)
            if let reserve = state.reserve {
                return path != reserve && (try? FileStatus.of(reserve))?.length != 0
            }
            guard let failing = state.failing else { return false }
            return state.mode == .failure ? state.paths.count == failing : state.paths.count >= failing
        }
        if fails { throw ManagementError(.system, "no space for \(path)") }
    }
}

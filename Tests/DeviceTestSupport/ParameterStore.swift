internal import Platform
public import TargetCore

/// A keeper of parameters in memory, which keeps when the test says so.
public final class ParameterStore: ParameterKeeper, Sendable {
    private struct State {
        var values: [KeptParameter: [UInt8]]
        var isHeld = false
        var fails = false
        var waiting: [@Sendable () -> Void] = []
    }
    private let state: Lock<State>
    public let isReadable: Bool

    /// A keeper that has `values` already.
    public init(_ values: [KeptParameter: [UInt8]] = [:], isReadable: Bool = true) {
        state = Lock(State(values: values, fails: !isReadable))
        self.isReadable = isReadable
    }

    /// What is kept now.
    public var kept: [KeptParameter: [UInt8]] { state.withLock { $0.values } }
    /// How many changes wait to be kept.
    public var waiting: Int { state.withLock { $0.waiting.count } }

    /// Has changes wait until `release`.
    public func hold() { state.withLock { $0.isHeld = true } }

    /// Has all changes fail from now on, those that wait too.
    public func fail() { state.withLock { $0.fails = true } }

    /// Ends the changes that wait.
    public func release() {
        let waiting = state.withLock { state in
            state.isHeld = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for end in waiting { end() }
    }

    public func keep(_ values: [KeptParameter: [UInt8]], completion: @escaping @Sendable (Bool) -> Void) {
        let end: @Sendable () -> Void = { [self] in
            completion(
                state.withLock { state in
                    guard !state.fails else { return false }
                    for (parameter, value) in values { state.values[parameter] = value.isEmpty ? nil : value }
                    return true
                })
        }
        let isHeld = state.withLock { state in
            if state.isHeld { state.waiting.append(end) }
            return state.isHeld
        }
        if !isHeld { end() }
    }
}

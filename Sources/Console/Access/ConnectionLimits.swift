import Platform

/// How many connections there are, in all and from each address: so many that one address cannot take all of them.
final class ConnectionLimits: Sendable {
    private struct State {
        var total = 0
        var perAddress: [String: Int] = [:]
    }

    private let maximum: Int
    private let maximumPerAddress: Int
    private let state = Lock(State())

    init(maximum: Int, maximumPerAddress: Int) {
        self.maximum = maximum
        self.maximumPerAddress = maximumPerAddress
    }

    /// Whether one more may come from `address`; it counts until it leaves.
    func admit(_ address: String) -> Bool {
        state.withLock { state in
            guard state.total < maximum, state.perAddress[address, default: 0] < maximumPerAddress else { return false }
            state.total += 1
            state.perAddress[address, default: 0] += 1
            return true
        }
    }

    /// One that was admitted from `address` has gone.
    func leave(_ address: String) {
        state.withLock { state in
            guard let count = state.perAddress[address] else { return }
            state.total -= 1
            state.perAddress[address] = count == 1 ? nil : count - 1
        }
    }
}

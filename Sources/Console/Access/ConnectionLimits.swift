import Platform
import Resources

/// How many connections there are, in all and from each address: so many that one address cannot take all of them. Of
/// an IPv6 address the first 64 bits count: one who has a network has all its addresses (RFC 4291 section 2.5.1).
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

    /// What counts as one address.
    private static func origin(_ address: String) -> String {
        guard let parsed = IPAddress(address)?.unmapped else { return address }
        guard parsed.isIPv6 else { return parsed.description }
        return parsed.bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ":") + "/64"
    }

    /// Whether one more may come from `address`; it counts until it leaves.
    func admit(_ address: String) -> Bool {
        let address = Self.origin(address)
        return state.withLock { state in
            guard state.total < maximum, state.perAddress[address, default: 0] < maximumPerAddress else { return false }
            state.total += 1
            state.perAddress[address, default: 0] += 1
            return true
        }
    }

    /// One that was admitted from `address` has gone.
    func leave(_ address: String) {
        let address = Self.origin(address)
        state.withLock { state in
            guard let count = state.perAddress[address] else { return }
            state.total -= 1
            state.perAddress[address] = count == 1 ? nil : count - 1
        }
    }
}

import HummingbirdCore
import Platform

/// How many connections a control socket has, and which of them are silent: when every place is taken, who has been
/// silent for longest goes, so that nobody keeps others out by saying nothing.
final class ConnectionPlaces: AvailableConnectionsDelegate {
    /// A connection that asks for nothing.
    private struct Silent {
        let connection: ObjectIdentifier
        /// Closes it unless it has begun to ask for something; called from any thread.
        let close: @Sendable () -> Void
    }

    private struct State {
        /// How many there are.
        var count = 0
        /// How many of these have been told to go.
        var leaving = 0
        /// In the order in which they became so.
        var silent: [Silent] = []
    }

    private let maximum: Int
    private let state = Lock(State())

    init(maximum: Int) { self.maximum = maximum }

    func connectionOpened() {
        state.withLock { $0.count += 1 }
        makeRoom()
    }

    func connectionClosed() {
        state.withLock { state in
            state.count -= 1
            state.leaving = max(0, state.leaving - 1)
        }
        makeRoom()
    }

    func isAcceptingNewConnections() -> Bool { state.withLock { $0.count < maximum } }

    /// `connection` has been silent for so long that its place may be taken; `close` closes it, unless it has become
    /// busy, which it says with ``stays()``.
    func offer(_ connection: ObjectIdentifier, close: @escaping @Sendable () -> Void) {
        state.withLock { $0.silent.append(Silent(connection: connection, close: close)) }
        makeRoom()
    }

    /// `connection` asks for something, or has gone.
    func withdraw(_ connection: ObjectIdentifier) {
        state.withLock { $0.silent.removeAll { $0.connection == connection } }
    }

    /// One that was told to go has begun to ask for something and stays.
    func stays() {
        state.withLock { $0.leaving = max(0, $0.leaving - 1) }
        makeRoom()
    }

    /// Keeps a place free as long as anybody is silent.
    private func makeRoom() {
        let first: Silent? = state.withLock { state in
            guard state.count - state.leaving >= maximum, !state.silent.isEmpty else { return nil }
            state.leaving += 1
            return state.silent.removeFirst()
        }
        first?.close()
    }
}

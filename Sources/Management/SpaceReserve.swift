import Bytes
import Platform
import Resources

/// A file in the state folder whose only use is the room that it takes: when the file system is full and something is
/// to be deleted, it is cut, so that the deletion has the room that it needs itself (rows, directories, the log of the
/// catalog). It is made again when there is room.
final class SpaceReserve: Sendable {
    /// How long the file is, in bytes.
    static let length = 1 << 20

    /// By chance, so that no file system saves the room by compressing it.
    private static let content: [UInt8] = {
        var word = UInt64.random(in: 1...UInt64.max)
        return (0..<length).map { _ in
            word ^= word << 13
            word ^= word >> 7
            word ^= word << 17
            return UInt8(truncatingIfNeeded: word)
        }
    }()

    /// Whether the file takes its room, and how many use what it has given.
    private struct State {
        var isTaken: Bool
        var borrowers = 0
    }

    private let path: String
    private let gate: ChangeGate?
    /// Held while the file is cut or made.
    private let state: Lock<State>

    /// The reserve at `path`, as it is there; its changes pass `gate`.
    init(path: String, gate: ChangeGate? = nil) {
        self.path = path
        self.gate = gate
        let length = (try? FileStatus.of(path, followsLinks: false))?.length
        state = Lock(State(isTaken: length == Int64(Self.length)))
    }

    /// Gives the room to `body`, and does not take it again before that returns. Does not call it when there is nothing
    /// to give.
    func lend(_ body: () -> Void) {
        let isLent = state.withLock { state in
            // Others may be using it already: then there is room as well.
            guard state.isTaken || state.borrowers > 0 else { return false }
            if state.isTaken {
                guard cut() else { return false }
                state.isTaken = false
            }
            state.borrowers += 1
            return true
        }
        guard isLent else { return }
        body()
        state.withLock { $0.borrowers -= 1 }
    }

    private func cut() -> Bool {
        guard isPermitted(), let file = try? File.open(path: path, .readWrite), file.truncate(to: 0) == 0 else {
            return false
        }
        // Some file systems have the room only when the change is durable.
        _ = file.synchronize()
        return true
    }

    /// Takes the room if it is not taken, nobody uses it, and there is room now.
    func restore() {
        state.withLock { state in
            guard !state.isTaken, state.borrowers == 0, isPermitted(),
                let file = try? File.open(path: path, [.readWrite, .create])
            else { return }
            if file.write(Self.content.rawSpan, fileOffset: 0) == .done(Self.length), file.synchronize() == 0 {
                state.isTaken = true
            } else {
                // A part of it would keep others from the little that there is.
                _ = file.truncate(to: 0)
            }
        }
    }

    private func isPermitted() -> Bool {
        do throws(ManagementError) {
            try PlainFile.check(path)
            try gate?(path)
            return true
        } catch {
            return false
        }
    }
}

import Bytes
import Platform

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

    private let path: String
    /// Whether the file takes its room. Held while it is cut or made.
    private let isTaken: Lock<Bool>

    /// The reserve at `path`, as it is there.
    init(path: String) {
        self.path = path
        let length = (try? FileStatus.of(path, followsLinks: false))?.length
        isTaken = Lock(length == Int64(Self.length))
    }

    /// Gives the room to whoever needs it now; false when there was nothing to give.
    func giveUp() -> Bool {
        isTaken.withLock { isTaken in
            guard isTaken, let file = try? File.open(path: path, .readWrite), file.truncate(to: 0) == 0 else {
                return false
            }
            isTaken = false
            // Some file systems have the room only when the change is durable.
            _ = file.synchronize()
            return true
        }
    }

    /// Takes the room if it is not taken, and if there is room now.
    func restore() {
        isTaken.withLock { isTaken in
            guard !isTaken, let file = try? File.open(path: path, [.readWrite, .create]) else { return }
            if file.write(Self.content.rawSpan, fileOffset: 0) == .done(Self.length), file.synchronize() == 0 {
                isTaken = true
            } else {
                // A part of it would keep others from the little that there is.
                _ = file.truncate(to: 0)
            }
        }
    }
}

import Bytes
import Foundation
import Platform
import Resources

/// What tells whether a file is the one that it was: its length, and a checksum of what is in it.
struct FileSeal: Hashable, Sendable, Codable {
    var length: Int64
    /// CRC32C over the offsets and bytes of all pieces that are not zero, so that holes cost nothing and count nothing.
    var checksum: UInt32
}

/// Copies of files of any length, with holes where the original has them.
enum FileCopy {
    /// How many bytes are read at a time; the checksum depends on it.
    private static let pieceLength = 1 << 20

    /// Copies the file at `path` to `target`, where nothing is; the copy is for its owner only, and durable on return.
    /// `observer` hears of each piece, and may end it; then nothing of the copy stays.
    static func copy(
        _ path: String, to target: String, observer: () throws(ManagementError) -> Void = {}
    ) throws(ManagementError) -> FileSeal {
        do {
            let output = try File.open(path: target, [.readWrite, .create, .exclusive], permissions: 0o600)
            let made = try FileStatus.of(target, followsLinks: false).identity
            do {
                let seal = try read(path, observer) { bytes, offset in
                    if case .failed(let code) = output.write(bytes, fileOffset: offset) {
                        throw SystemError(code: code, operation: "write", path: target)
                    }
                }
                for status in [output.truncate(to: seal.length), output.synchronize()] where status != 0 {
                    throw SystemError(code: status, operation: "write", path: target)
                }
                return seal
            } catch {
                // The half goes, if it is still that.
                if (try? FileStatus.of(target, followsLinks: false).identity) == made { try? File.remove(target) }
                throw error
            }
        } catch let error as ManagementError {
            throw error
        } catch {
            throw ManagementError(.system, "cannot copy \(path) to \(target): \(StateFolder.reason(error))")
        }
    }

    /// The seal of the file at `path`.
    static func seal(_ path: String) throws(ManagementError) -> FileSeal {
        do {
            return try read(path, {}) { _, _ in }
        } catch let error as ManagementError {
            throw error
        } catch {
            throw ManagementError(.system, "cannot read \(path): \(StateFolder.reason(error))")
        }
    }

    private static func read(
        _ path: String, _ observer: () throws(ManagementError) -> Void, _ take: (RawSpan, Int64) throws -> Void
    ) throws -> FileSeal {
        // To open a pipe would wait for somebody who writes to it.
        guard try FileStatus.of(path).kind == .regular else {
            throw ManagementError(.damaged, "\(path) is no regular file")
        }
        let file = try File.open(path: path)
        let length = try file.size()
        var bytes = [UInt8](repeating: 0, count: pieceLength)
        let zeros = bytes
        var checksum: UInt32 = 0
        var offset: Int64 = 0
        while offset < length {
            guard let start = file.nextAllocated(from: offset), start < length else { break }
            // Pieces begin at multiples of their length, wherever the storage does.
            offset = start / Int64(pieceLength) * Int64(pieceLength)
            let wanted = Int(min(Int64(pieceLength), length - offset))
            switch bytes.modifyBytes({ file.read(into: &$0, fileOffset: offset) }) {
            case .done(let count) where count >= wanted: break
            case .failed(let code): throw SystemError(code: code, operation: "read", path: path)
            default: throw ManagementError(.conflict, "\(path) became shorter while it was read; try again")
            }
            let piece = bytes.rawSpan.extracting(..<wanted)
            // Only what has the checksum of zeros may be zeros.
            let isZero =
                CRC32C.checksum(piece) == CRC32C.checksum(zeros.rawSpan.extracting(..<wanted))
                && bytes[..<wanted].allSatisfy { $0 == 0 }
            if !isZero {
                let place = (0..<8).map { UInt8(truncatingIfNeeded: offset >> (8 * $0)) }
                checksum = CRC32C.checksum(place.rawSpan, previous: checksum)
                checksum = CRC32C.checksum(piece, previous: checksum)
                try take(piece, offset)
            }
            offset += Int64(wanted)
            try observer()
        }
        return FileSeal(length: length, checksum: checksum)
    }
}

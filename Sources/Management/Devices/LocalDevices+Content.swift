import Bytes
public import Catalog
import DiskDevice
public import Encryption
import Media
import Platform
public import Resources

// The content of disks as a whole, for those who copy it.
extension LocalDevices {
    public func read(
        _ disk: DiskRecord, node: String?, imagePath: String,
        _ body: (any DiskContent) throws(ManagementError) -> Void
    ) throws(ManagementError) {
        guard let node else {
            guard let running = disks.withLock({ $0[disk.identity.id] }),
                let image = running.server.image as? RawDiskImage
            else { throw Self.unserved("disk", disk.name) }
            return try body(RawContent(image: image, name: disk.name))
        }
        let file = try acquire(imagePath)
        defer { families.release(imagePath) }
        guard let found = file.nodes(named: node).first else {
            throw ManagementError(.notFound, "image \(imagePath) does not have '\(node)'")
        }
        try body(NodeContent(file: file, node: found.number, capacity: found.capacity, name: node))
    }

    public func fill(
        _ disk: DiskRecord, imagePath: String, userKey: UserKey?,
        _ body: (ContentWriter) throws(ManagementError) -> Void
    ) throws(ManagementError) {
        let opened = try openImage(of: disk, at: imagePath, userKey: userKey)
        do throws(ManagementError) {
            try body { bytes, offset throws(ManagementError) in
                let first = try Self.firstBlock(
                    of: bytes.count, at: offset, blockSize: disk.blockSize, capacity: opened.image.capacity)
                guard let failure = opened.image.fill(first: first, with: bytes) else { return }
                throw Self.unwritten(imagePath, failure)
            }
            if let failure = opened.image.synchronize() { throw Self.unwritten(imagePath, failure) }
        } catch {
            close(opened)
            throw error
        }
        close(opened)
    }

    /// The block at which `count` bytes begin that are written at `offset`; refused when they are no whole blocks of
    /// the disk.
    static func firstBlock(
        of count: Int, at offset: Int64, blockSize: Int, capacity: Int64
    ) throws(ManagementError) -> UInt64 {
        let block = Int64(blockSize)
        guard offset >= 0, offset % block == 0, Int64(count) % block == 0, offset <= capacity - Int64(count) else {
            throw ManagementError(
                .internal,
                "\(count) bytes at \(offset) are not whole blocks of \(blockSize) bytes of a disk of \(capacity)")
        }
        return UInt64(offset / block)
    }

    private static func unwritten(_ path: String, _ failure: MediaFailure) -> ManagementError {
        ManagementError(.system, "\(path) cannot be written: \(failure)")
    }
}

/// The content of a disk without snapshots.
private struct RawContent: DiskContent {
    let image: RawDiskImage
    let name: String
    var capacity: Int64 { image.capacity }

    func next(from offset: Int64) throws(ManagementError) -> Range<Int64>? { image.nextContent(from: offset) }

    func read(into bytes: inout MutableRawSpan, at offset: Int64) -> ManagementError? {
        unread("disk '\(name)'", image.readContent(into: &bytes, at: offset))
    }
}

/// The content of a disk or a snapshot in an image of several.
private struct NodeContent: DiskContent {
    let file: FamilyFile
    let node: UInt32
    let capacity: Int64
    let name: String

    func next(from offset: Int64) throws(ManagementError) -> Range<Int64>? {
        do {
            return try file.nextContent(of: node, from: offset)
        } catch {
            throw ManagementError(.damaged, "'\(name)' cannot be read: \(error)")
        }
    }

    func read(into bytes: inout MutableRawSpan, at offset: Int64) -> ManagementError? {
        let failure = file.readContent(of: node, into: &bytes, at: offset)
        guard failure == .corrupt else { return unread("'\(name)'", failure) }
        return unread("byte \(firstBad(in: offset..<offset + Int64(bytes.byteCount))) of '\(name)'", failure)
    }

    /// Where the first piece of some bytes begins that does not match its checksum.
    private func firstBad(in range: Range<Int64>) -> Int64 {
        var piece = [UInt8](repeating: 0, count: Self.pieceLength)
        var place = range.lowerBound
        while place < range.upperBound {
            let end = min(range.upperBound, (place / Int64(Self.pieceLength) + 1) * Int64(Self.pieceLength))
            let failure = piece.modifyBytes { bytes in
                var part = bytes._mutatingExtracting(0..<Int(end - place))
                return file.readContent(of: node, into: &part, at: place)
            }
            if failure != nil { return place }
            place = end
        }
        return range.lowerBound
    }

    /// What has a checksum, in bytes.
    private static let pieceLength = 4096
}

private func unread(_ name: String, _ failure: MediaFailure?) -> ManagementError? {
    failure.map { ManagementError(.damaged, "\(name) cannot be read: \($0)") }
}

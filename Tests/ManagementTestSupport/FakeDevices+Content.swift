import Bytes
public import Catalog
public import Encryption
import Foundation
public import Management
public import Media
import Platform
public import Resources

// Content of disks: what their images have, raw or not, as one row of bytes.
extension FakeDevices {
    /// Makes the next copy wait after its first piece, until the barrier is opened.
    public func hangAtContent() -> Barrier {
        let barrier = Barrier()
        notes.withLock { $0.hangingContent = barrier }
        return barrier
    }

    public func read(
        _ disk: DiskRecord, node: String?, imagePath: String,
        _ body: (any DiskContent) throws(ManagementError) -> Void
    ) throws(ManagementError) {
        let bytes = notes.withLock { $0.contents[node ?? disk.name] ?? [] }
        try body(FakeContent(capacity: disk.size, bytes: bytes))
    }

    public func fill(
        _ disk: DiskRecord, imagePath: String, userKey: UserKey?,
        _ body: (ContentWriter) throws(ManagementError) -> Void
    ) throws(ManagementError) {
        try gate?(imagePath)
        try body { bytes, offset throws(ManagementError) in
            notes.withLock { notes in
                let end = Int(offset) + bytes.count
                var content = notes.contents[disk.name] ?? []
                content += Array(repeating: 0, count: max(0, end - content.count))
                content.replaceSubrange(Int(offset)..<end, with: bytes)
                notes.contents[disk.name] = content
            }
            let barrier = notes.withLock { notes in
                defer { notes.hangingContent = nil }
                return notes.hangingContent
            }
            barrier?.pass()
        }
        try gate?(imagePath)
    }

    public func receive(
        inImage path: String, base: String, work: String, size: Int64,
        _ body: (any DeltaTarget) throws(ManagementError) -> Void
    ) throws(ManagementError) { throw ManagementError(.conflict, "there are no images") }

    public func keepReceived(
        _ work: String, inImage path: String, as name: String, _ identity: SnapshotIdentity
    ) throws(ManagementError) { throw ManagementError(.conflict, "there are no images") }

    /// What is on the disk or snapshot.
    public func content(of name: String) -> [UInt8] { notes.withLock { $0.contents[name] ?? [] } }
    /// Puts something on it.
    public func setContent(of name: String, _ bytes: [UInt8]) { notes.withLock { $0.contents[name] = bytes } }
}

private struct FakeContent: DiskContent {
    let capacity: Int64
    let bytes: [UInt8]

    func next(from offset: Int64) throws(ManagementError) -> Range<Int64>? {
        offset < bytes.count ? offset..<Int64(bytes.count) : nil
    }

    @_lifetime(bytes: copy bytes)
    func read(into bytes: inout MutableRawSpan, at offset: Int64) -> ManagementError? {
        for index in 0..<bytes.byteCount { bytes.store(byte: self.bytes[Int(offset) + index], at: index) }
        return nil
    }
}

internal import Bytes
internal import Platform

/// What is to be made anew when the key of a family's file has been exchanged: the one disk that the file has, without
/// data. It is kept as a note of the file (`StoreNoteKey.erasure`) until that is done.
struct FamilyErasure: Equatable, Sendable {
    private static let version: UInt8 = 1
    private static let fixedLength = 60
    private static let checksumLength = 4

    /// The generation of the key file with which the former content is gone.
    let generation: UInt64
    /// The family's.
    let uuid: [UInt8]
    /// What the next node of the family is to be called; numbers are not given twice.
    let nextNode: UInt32
    let number: UInt32
    let capacity: UInt64
    let blockSize: Int
    /// The level of zstd at which extents are compressed; 0 when they are not.
    let compressionLevel: UInt8
    /// When the disk was made.
    let time: CalendarTime
    let name: String

    /// The node `node` of a family, under the key of that generation.
    init(generation: UInt64, uuid: [UInt8], nextNode: UInt32, compression: Int?, _ node: FamilyNode) {
        compressionLevel = UInt8(clamping: compression ?? 0)
        self.generation = generation
        self.uuid = uuid
        self.nextNode = nextNode
        number = node.number
        capacity = UInt64(node.capacity)
        blockSize = node.blockSize
        time = node.time
        name = node.name
    }

    /// Version, length of the name, level of compression, a byte of zero, bytes of a block, generation, UUID, the next
    /// node, the node, capacity, time, name, CRC32C of all before.
    var encoded: [UInt8] {
        let text = EpochFormat.bytes(ofName: name)
        var bytes: [UInt8] = [Self.version, UInt8(clamping: text.count), compressionLevel, 0]
        bytes.appendBE32(UInt32(clamping: blockSize))
        bytes.appendBE64(generation)
        bytes += uuid
        bytes.appendBE32(nextNode)
        bytes.appendBE32(number)
        bytes.appendBE64(capacity)
        bytes.appendBE64(UInt64(bitPattern: time.seconds))
        // Room for later.
        bytes.appendBE32(0)
        bytes += text
        bytes.appendBE32(CRC32C.checksum(bytes.rawSpan))
        return bytes
    }

    /// Nil when the note is none, or of a later version.
    init?(_ note: [UInt8]) {
        let end = note.count - Self.checksumLength
        guard end >= Self.fixedLength, note[0] == Self.version else { return nil }
        let span = note.rawSpan
        guard span.loadBE32(at: end) == CRC32C.checksum(span.extracting(0..<end)),
            Self.fixedLength + Int(note[1]) == end,
            let time = CalendarTime(seconds: Int64(bitPattern: span.loadBE64(at: 48))),
            let name = String(validating: note[Self.fixedLength..<end], as: UTF8.self)
        else { return nil }
        blockSize = Int(span.loadBE32(at: 4))
        generation = span.loadBE64(at: 8)
        uuid = Array(note[16..<32])
        nextNode = span.loadBE32(at: 32)
        number = span.loadBE32(at: 36)
        capacity = span.loadBE64(at: 40)
        compressionLevel = note[2]
        guard compressionLevel == 0 || ZstdContext.levels.contains(Int(compressionLevel)) else { return nil }
        guard number > 0, nextNode > number, capacity <= EpochFormat.maximumCapacity else { return nil }
        self.time = time
        self.name = name
    }

    /// Frees what `store` has, and makes the disk in it. Until that is durable no copy of the superblock is valid: what
    /// the former key has encrypted is noise.
    func make(in store: any ByteStore, grace: Grace) throws(FamilyError) -> DiskFamily {
        let length: Int64
        do throws(SystemError) { length = try store.size() } catch { throw FamilyError(code: error.code) }
        // A part of a unit at the end is nobody's, and a device has nothing behind it.
        let whole = length & ~Int64(EpochFormat.unitLength - 1)
        let code = whole > 0 ? store.punchHole(at: 0, length: whole) : 0
        guard code == 0 else { throw FamilyError(code: code) }
        return try DiskFamily.create(
            on: store, capacity: Int64(capacity), blockSize: blockSize, name: name, time: time, uuid: uuid,
            checksums: false, compression: compressionLevel > 0 ? Int(compressionLevel) : nil, number: number,
            nextNode: nextNode, grace: grace)
    }
}

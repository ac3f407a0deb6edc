internal import Bytes
internal import Platform

/// A version of a disk as the node table has it: 256 bytes.
struct NodeRecord: Equatable, Sendable {
    static let byteCount = 256
    private static let nameOffset = 80
    private static let lockOffset = 240
    private static let deletionBit: UInt8 = 1
    private static let namelessBit: UInt8 = 2

    enum Kind: UInt8, Sendable {
        /// What is written.
        case head = 1
        /// What is not.
        case snapshot = 2
    }

    /// From 1 on, never given twice.
    var number: UInt32
    /// The node that it was made of; 0 for none. A parent is a snapshot.
    var parent: UInt32
    /// Of a snapshot, the last epoch that it sees; of a head, that of its parent, 0 without one.
    var epoch: UInt32
    var kind: Kind
    var isBeingDeleted = false
    /// Whether its name is gone and only its descendants need it.
    var isNameless = false
    /// The levels of the map above its regions.
    var levels: Int
    /// In bytes, a multiple of the block length.
    var capacity: UInt64
    var time: CalendarTime
    var map: UnitPointer
    /// While it is being deleted: how many pages of level 1, from the beginning of the disk on, are done.
    var pagesDone: UInt64 = 0
    /// The bytes of a logical block: 512 or 4096.
    var blockSize: Int
    var uuid: [UInt8]
    /// At most `EpochFormat.nameLimit` bytes of UTF-8; empty when it is gone.
    var name: String
    /// Until when a snapshot is not to be deleted; nil when nothing was said. Never 0 seconds.
    var lockedUntil: CalendarTime?

    /// A node that has no data.
    init(
        number: UInt32, parent: UInt32, epoch: UInt32, kind: Kind, capacity: UInt64, blockSize: Int,
        time: CalendarTime, uuid: [UInt8], name: String
    ) {
        self.number = number
        self.parent = parent
        self.epoch = epoch
        self.kind = kind
        self.capacity = capacity
        self.blockSize = blockSize
        self.time = time
        self.uuid = uuid
        self.name = name
        levels = Self.levels(capacity: capacity)
        map = .nothing
    }

    /// The levels of the map of a disk with that capacity in bytes.
    static func levels(capacity: UInt64) -> Int {
        EpochFormat.levels(leaves: EpochFormat.regions(capacity: capacity))
    }

    /// The regions of the disk.
    var regions: UInt64 { EpochFormat.regions(capacity: capacity) }

    /// The pages of level 1 of the disk.
    var firstLevelPages: UInt64 { (regions + UInt64(EpochFormat.fanOut - 1)) / UInt64(EpochFormat.fanOut) }

    // MARK: Bytes

    /// Writes the record to `target`, where all is zero, at `offset`.
    @_lifetime(target: copy target)
    func encode(into target: inout MutableRawSpan, at offset: Int) {
        let text = EpochFormat.bytes(ofName: name)
        target.storeBE32(number, at: offset)
        target.storeBE32(parent, at: offset + 4)
        target.storeBE32(epoch, at: offset + 8)
        target.store(byte: kind.rawValue, at: offset + 12)
        let flags = (isBeingDeleted ? Self.deletionBit : 0) | (isNameless ? Self.namelessBit : 0)
        target.store(byte: flags, at: offset + 13)
        target.store(byte: UInt8(clamping: levels), at: offset + 14)
        target.store(byte: UInt8(clamping: text.count), at: offset + 15)
        target.storeBE64(capacity, at: offset + 16)
        target.storeBE64(UInt64(clamping: time.seconds), at: offset + 24)
        target.store(map, at: offset + 32)
        target.storeBE64(pagesDone, at: offset + 48)
        target.storeBE32(UInt32(clamping: blockSize), at: offset + 56)
        target.store(uuid.rawSpan, at: offset + 60)
        target.store(text.rawSpan, at: offset + Self.nameOffset)
        target.storeBE64(UInt64(clamping: lockedUntil?.seconds ?? 0), at: offset + Self.lockOffset)
    }

    /// The record at `offset`, of which every field is in its range; nil when there is none, or it is not possible.
    init?(_ source: RawSpan, at offset: Int) {
        guard offset >= 0, source.byteCount - offset >= Self.byteCount,
            let kind = Kind(rawValue: source.byte(at: offset + 12)), let map = source.loadPointer(at: offset + 32),
            let time = CalendarTime(seconds: Int64(clamping: source.loadBE64(at: offset + 24)))
        else { return nil }
        let flags = source.byte(at: offset + 13)
        let nameLength = Int(source.byte(at: offset + 15))
        let capacity = source.loadBE64(at: offset + 16)
        let blockSize = Int(source.loadBE32(at: offset + 56))
        guard nameLength <= EpochFormat.nameLimit, flags & ~(Self.deletionBit | Self.namelessBit) == 0,
            capacity > 0, capacity <= EpochFormat.maximumCapacity, blockSize == 512 || blockSize == 4096,
            capacity % UInt64(blockSize) == 0
        else { return nil }
        let nameStart = offset + Self.nameOffset
        guard
            let name = String(
                validating: source.extracting(nameStart..<nameStart + nameLength).copyToArray(),
                as: UTF8.self)
        else { return nil }
        self.init(
            number: source.loadBE32(at: offset), parent: source.loadBE32(at: offset + 4),
            epoch: source.loadBE32(at: offset + 8), kind: kind, capacity: capacity, blockSize: blockSize, time: time,
            uuid: source.extracting(offset + 60..<offset + 76).copyToArray(), name: name)
        isBeingDeleted = flags & Self.deletionBit != 0
        isNameless = flags & Self.namelessBit != 0
        self.map = map
        pagesDone = source.loadBE64(at: offset + 48)
        let lock = source.loadBE64(at: offset + Self.lockOffset)
        lockedUntil = lock == 0 ? nil : CalendarTime(seconds: Int64(clamping: lock))
        guard number > 0, epoch <= EpochFormat.epochLimit, levels == Int(source.byte(at: offset + 14)),
            map.kind != .run, pagesDone <= firstLevelPages, isBeingDeleted || pagesDone == 0,
            lock == 0 || (kind == .snapshot && lockedUntil != nil)
        else { return nil }
    }
}

internal import Bytes
internal import Platform

/// The identity of a cartridge and the state of its current epoch: one 4 KiB page, kept in two copies at the beginning
/// of the data file, of which one is always valid.
///
/// An epoch begins when the host overwrites: from its first object on only records of that epoch count. The history
/// holds the epochs that still own objects, so the owner of every object is known, and an index of an older epoch can
/// be cut to what is still true.
struct Superblock: Equatable, Sendable {
    /// The bytes of one copy.
    static let byteCount = 4096
    /// Where the first record begins: after both copies.
    static let dataOffset: Int64 = 8192
    /// "CRSLTAPE"
    static let magic: UInt64 = 0x4352_534C_5441_5045
    /// The format that this source code writes.
    static let currentVersion: UInt32 = 1
    /// The most epochs that the history holds.
    static let historyLimit = 196
    static let textLength = 32
    private static let historyOffset = 128
    private static let entryLength = 20
    /// Behind the longest history.
    private static let lossTimeOffset = 4048

    /// No generation is higher, so that adding to one never overflows.
    static let maximumGeneration: UInt64 = 1 << 62

    /// The beginning of an epoch.
    struct Epoch: Equatable, Sendable {
        var number: UInt32
        /// The first object that it wrote.
        var firstObject: UInt64
        /// Where that object's record is.
        var fileOffset: Int64
    }

    /// A failure of the host to make data durable that nobody has acknowledged.
    struct Loss: Equatable, Sendable {
        /// What the host said; never 0.
        var errorNumber: UInt16
        /// The objects before this were durable then.
        var durableObjects: UInt64
        /// When it was; nil when that was not recorded.
        var time: CalendarTime?

        var report: LossReport { LossReport(failure: MediaFailure(errorNumber: Int32(errorNumber)), time: time) }
    }

    /// What reading a copy found.
    enum Copy: Equatable {
        case valid(Superblock)
        case newer(version: UInt32)
        case invalid
    }

    var identity: CartridgeIdentity
    var partition: UInt32
    /// Increases with every write of a superblock; the higher of two valid copies counts.
    var generation: UInt64
    /// Objects from `durableObjects` on do not count, and nothing is written, until this is nil again.
    var loss: Loss?
    /// Oldest first; epoch numbers and first objects both increase strictly. Never empty.
    private(set) var history: [Epoch]

    /// The superblock of an empty partition.
    init(identity: CartridgeIdentity, partition: UInt32) {
        self.identity = identity
        self.partition = partition
        generation = 1
        history = [Epoch(number: 1, firstObject: 0, fileOffset: Self.dataOffset)]
    }

    /// The file is never longer than this.
    var endOfCapacity: Int64 { Self.dataOffset + identity.capacity }

    /// The epoch that writes now.
    var epoch: Epoch { history[history.count - 1] }

    /// Begins epoch `number` at an object: what older epochs wrote from there on no longer counts.
    mutating func beginEpoch(_ number: UInt32, firstObject: UInt64, fileOffset: Int64) {
        while let last = history.last, last.firstObject >= firstObject { history.removeLast() }
        if history.count == Self.historyLimit { history.removeFirst() }
        history.append(Epoch(number: number, firstObject: firstObject, fileOffset: fileOffset))
    }

    /// The epochs whose records of `object` count: one, or all below a bound where the history has been cut.
    func owners(of object: UInt64) -> ClosedRange<UInt32> {
        if let owner = history.last(where: { $0.firstObject <= object }) { return owner.number...owner.number }
        return 0...(history[0].number - 1)
    }

    /// How many objects an index that was right at the end of `epoch` still knows truly; all when it is the current
    /// one.
    func objectsValid(forIndexOf epoch: UInt32) -> UInt64 {
        guard epoch < self.epoch.number else { return epoch == self.epoch.number ? .max : 0 }
        // A cut history does not tell what came between.
        if epoch < history[0].number { return 0 }
        return history.first { $0.number > epoch }?.firstObject ?? 0
    }

    /// What headers of records take their checksum's start from.
    var seed: UInt32 { CRC32C.checksum(identity.uuid.rawSpan, previous: partition) }

    // MARK: Bytes

    /// One copy.
    func encoded() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        bytes.modifyBytes { target in
            target.storeBE64(Self.magic, at: 0)
            target.storeBE32(Self.currentVersion, at: 8)
            target.storeBE32(partition, at: 12)
            target.store(identity.uuid.rawSpan, at: 16)
            target.storeBE64(generation, at: 32)
            target.storeBE64(UInt64(identity.capacity), at: 40)
            target.store(byte: identity.densityCode, at: 48)
            target.store(byte: identity.isWORM ? 1 : 0, at: 49)
            target.storeBE16(loss?.errorNumber ?? 0, at: 50)
            target.storeBE32(UInt32(history.count), at: 52)
            target.store(Self.padded(identity.barcode).rawSpan, at: 56)
            target.store(Self.padded(identity.mediumSerialNumber).rawSpan, at: 88)
            target.storeBE64(loss?.durableObjects ?? 0, at: 120)
            target.storeBE64(UInt64(loss?.time?.seconds ?? 0), at: Self.lossTimeOffset)
            for (index, epoch) in history.enumerated() {
                let offset = Self.historyOffset + index * Self.entryLength
                target.storeBE32(epoch.number, at: offset)
                target.storeBE64(epoch.firstObject, at: offset + 4)
                target.storeBE64(UInt64(epoch.fileOffset), at: offset + 12)
            }
            let end = Self.byteCount - 4
            target.storeBE32(CRC32C.checksum(target.bytes.extracting(0..<end)), at: end)
        }
        return bytes
    }

    /// Reads one copy of `byteCount` bytes. Every field is checked, not only the checksum.
    static func decode(_ source: RawSpan) -> Copy {
        let end = byteCount - 4
        guard source.byteCount == byteCount, source.loadBE64(at: 0) == magic,
            source.loadBE32(at: end) == CRC32C.checksum(source.extracting(0..<end))
        else { return .invalid }
        let version = source.loadBE32(at: 8)
        guard version <= currentVersion else { return .newer(version: version) }
        let count = Int(source.loadBE32(at: 52))
        let generation = source.loadBE64(at: 32)
        guard version > 0, count > 0, count <= historyLimit, generation <= maximumGeneration,
            source.loadBE32(at: 12) <= UInt32(UInt8.max),
            source.loadBE64(at: 40) <= UInt64(CartridgeStore.maximumCapacity),
            let barcode = text(source, at: 56), let serial = text(source, at: 88)
        else { return .invalid }
        let identity = CartridgeIdentity(
            uuid: source.extracting(16..<32).copyToArray(), barcode: barcode, mediumSerialNumber: serial,
            capacity: Int64(source.loadBE64(at: 40)), densityCode: source.byte(at: 48),
            isWORM: source.byte(at: 49) & 1 != 0)
        var block = Superblock(identity: identity, partition: source.loadBE32(at: 12))
        block.generation = generation
        block.history = []
        for index in 0..<count {
            let offset = historyOffset + index * entryLength
            let fileOffset = source.loadBE64(at: offset + 12)
            let epoch = Epoch(
                number: source.loadBE32(at: offset), firstObject: source.loadBE64(at: offset + 4),
                fileOffset: Int64(clamping: fileOffset))
            guard epoch.number > (block.history.last?.number ?? 0),
                fileOffset <= UInt64(dataOffset + identity.capacity), epoch.fileOffset >= dataOffset,
                epoch.firstObject <= UInt64(identity.capacity / Int64(RecordHeader.byteCount)),
                block.history.last.map({ $0.firstObject < epoch.firstObject }) ?? true
            else { return .invalid }
            block.history.append(epoch)
        }
        let errorNumber = source.loadBE16(at: 50)
        if errorNumber != 0 {
            let durableObjects = source.loadBE64(at: 120)
            guard durableObjects >= block.epoch.firstObject,
                durableObjects <= UInt64(identity.capacity / Int64(RecordHeader.byteCount))
            else { return .invalid }
            let seconds = source.loadBE64(at: lossTimeOffset)
            guard seconds <= UInt64(CalendarTime.limit) else { return .invalid }
            block.loss = Loss(
                errorNumber: errorNumber, durableObjects: durableObjects,
                time: seconds == 0 ? nil : CalendarTime(seconds: Int64(seconds)))
        }
        return .valid(block)
    }

    private static func padded(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8.prefix(textLength))
        return bytes + [UInt8](repeating: 0, count: textLength - bytes.count)
    }

    private static func text(_ source: RawSpan, at offset: Int) -> String? {
        let bytes = source.extracting(offset..<offset + textLength).copyToArray().prefix { $0 != 0 }
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}

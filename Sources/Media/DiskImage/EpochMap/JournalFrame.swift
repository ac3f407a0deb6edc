internal import Bytes

/// The header of a frame of the journal: the records that one flush makes durable.
struct JournalFrame: Equatable, Sendable {
    /// No frame has a higher number, so that adding to one never overflows.
    static let sequenceLimit: UInt64 = 1 << 62
    private static let checksumOffset = 36

    /// One more than that of the frame before; 1 is the first.
    var sequence: UInt64
    /// This frame and all before were durable before the frame was written; 0 for none.
    var confirmed: UInt64
    /// How many units it takes.
    var units: UInt32
    /// How many slots of records it has.
    var slots: Int
    /// The checksum of the frame before.
    var chain: UInt32
    /// Its own.
    var checksum: UInt32
    /// The opening of the image in which it was written.
    var opening: UInt64
    /// The last commit that was durable then.
    var commit: UInt64

    /// The units of a frame with that many slots.
    static func units(slots: Int) -> UInt32 {
        let bytes = EpochFormat.frameHeaderLength + slots * EpochFormat.slotLength
        return UInt32(clamping: (bytes + EpochFormat.unitLength - 1) >> EpochFormat.unitShift)
    }

    /// The most slots of a frame of that many units.
    static func slots(units: UInt32) -> Int {
        (Int(units) << EpochFormat.unitShift - EpochFormat.frameHeaderLength) / EpochFormat.slotLength
    }

    /// The frame whose first unit `source` begins with, or nil when no frame with these numbers can be. Whether its
    /// bytes are right, only `isWhole` tells.
    init?(header source: RawSpan) {
        guard source.byteCount >= EpochFormat.frameHeaderLength, source.loadBE64(at: 0) == EpochFormat.frameMagic
        else { return nil }
        sequence = source.loadBE64(at: 8)
        confirmed = source.loadBE64(at: 16)
        units = source.loadBE32(at: 24)
        slots = Int(source.loadBE32(at: 28))
        chain = source.loadBE32(at: 32)
        checksum = source.loadBE32(at: Self.checksumOffset)
        opening = source.loadBE64(at: 40)
        commit = source.loadBE64(at: 48)
        guard sequence > 0, sequence <= Self.sequenceLimit, confirmed < sequence, units > 0,
            units <= EpochFormat.frameUnitLimit, units == Self.units(slots: slots)
        else { return nil }
    }

    /// Whether `source` is all units of the frame, with its checksum.
    func isWhole(_ source: RawSpan, seed: UInt32) -> Bool {
        guard source.byteCount == Int(units) << EpochFormat.unitShift else { return false }
        return Self.checksum(source, seed: seed) == checksum
    }

    private static func checksum(_ source: RawSpan, seed: UInt32) -> UInt32 {
        let zeros: InlineArray<4, UInt8> = [0, 0, 0, 0]
        var value = CRC32C.checksum(source.extracting(0..<checksumOffset), previous: seed)
        value = CRC32C.checksum(zeros.rawSpan, previous: value)
        return CRC32C.checksum(source.extracting(checksumOffset + 4..<source.byteCount), previous: value)
    }

    /// Calls `body` with the records of a whole frame and the numbers of their first slots, in order, until it is
    /// false. Gives the number of the first slot in which no possible record begins, or nil.
    func forEachRecord(in source: RawSpan, _ body: (JournalRecord, Int) -> Bool) -> Int? {
        let start = EpochFormat.frameHeaderLength
        let end = start + slots * EpochFormat.slotLength
        guard end <= source.byteCount else { return 0 }
        var slot = 0
        while slot < slots {
            guard let record = JournalRecord(source, at: start + slot * EpochFormat.slotLength, end: end) else {
                return slot
            }
            guard body(record, slot) else { return nil }
            slot += record.slots
        }
        return nil
    }

    // MARK: Making frames

    /// The bytes of a frame that records are added to. It keeps its memory when it is used again.
    struct Builder: ~Copyable {
        /// The most units of the frame.
        let unitLimit: UInt32
        /// How many slots the records take.
        private(set) var slots = 0
        private var bytes: [UInt8]

        /// An empty frame of at most that many units.
        init(unitLimit: UInt32) {
            self.unitLimit = min(max(unitLimit, 1), EpochFormat.frameUnitLimit)
            bytes = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        }

        var isEmpty: Bool { slots == 0 }
        /// The units that the frame takes.
        var units: UInt32 { JournalFrame.units(slots: slots) }

        /// Whether `count` more slots have room.
        func hasRoom(forSlots count: Int) -> Bool { slots + count <= JournalFrame.slots(units: unitLimit) }

        /// Adds a record; false when it has no room.
        mutating func append(_ record: JournalRecord) -> Bool {
            let count = record.slots
            guard hasRoom(forSlots: count) else { return false }
            let offset = EpochFormat.frameHeaderLength + slots * EpochFormat.slotLength
            let needed = Int(JournalFrame.units(slots: slots + count)) << EpochFormat.unitShift
            if bytes.count < needed {
                // Twice as much, so that a long frame is not copied for every unit.
                let most = Int(unitLimit) << EpochFormat.unitShift
                let length = max(needed, min(bytes.count * 2, most))
                bytes.append(contentsOf: repeatElement(0, count: length - bytes.count))
            }
            bytes.modifyBytes { record.encode(into: &$0, at: offset) }
            slots += count
            return true
        }

        /// Writes the header. `body` gets the frame and its bytes, of `units` units.
        mutating func finish<Result>(
            sequence: UInt64, confirmed: UInt64, chain: UInt32, seed: UInt32, opening: UInt64 = 0,
            commit: UInt64 = 0, _ body: (JournalFrame, RawSpan) -> Result
        ) -> Result {
            let (units, slots) = (units, slots)
            let length = Int(units) << EpochFormat.unitShift
            let checksum = bytes.modifyBytes { target in
                target.storeBE64(EpochFormat.frameMagic, at: 0)
                target.storeBE64(sequence, at: 8)
                target.storeBE64(confirmed, at: 16)
                target.storeBE32(units, at: 24)
                target.storeBE32(UInt32(clamping: slots), at: 28)
                target.storeBE32(chain, at: 32)
                target.storeBE64(opening, at: 40)
                target.storeBE64(commit, at: 48)
                let checksum = JournalFrame.checksum(target.bytes.extracting(0..<length), seed: seed)
                target.storeBE32(checksum, at: JournalFrame.checksumOffset)
                return checksum
            }
            let frame = JournalFrame(
                sequence: sequence, confirmed: confirmed, units: units, slots: slots, chain: chain, checksum: checksum,
                opening: opening, commit: commit)
            return body(frame, bytes.rawSpan.extracting(0..<length))
        }

        /// Takes all records out.
        mutating func removeAll() {
            let length = Int(units) << EpochFormat.unitShift
            bytes.modifyBytes { $0.fill(at: 0, count: length) }
            slots = 0
        }
    }

    private init(
        sequence: UInt64, confirmed: UInt64, units: UInt32, slots: Int, chain: UInt32, checksum: UInt32,
        opening: UInt64, commit: UInt64
    ) {
        self.opening = opening
        self.commit = commit
        self.sequence = sequence
        self.confirmed = confirmed
        self.units = units
        self.slots = slots
        self.chain = chain
        self.checksum = checksum
    }
}

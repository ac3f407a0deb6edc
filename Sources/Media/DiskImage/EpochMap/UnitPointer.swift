internal import Bytes

/// Where a page is, when it was born and what its checksum is: 16 bytes in the page above it.
struct UnitPointer: Equatable, Sendable {
    static let byteCount = 16

    enum Kind: UInt8, Sendable {
        /// There is no page: the leaves are all zero.
        case nothing = 0
        case page = 1
        /// A region whose entries are data in consecutive physical units, with one epoch of birth; in maps only.
        case run = 2
        /// All regions below are lost, and lie in the disk as a whole; in maps only.
        case lost = 3
    }

    var kind: Kind
    /// The physical unit of the page, or the first one of the run.
    var unit: UInt64
    /// The epoch of birth.
    var birth: UInt32
    /// Of the page, begun with that of the family's UUID; 0 of a run.
    var checksum: UInt32

    static let nothing = UnitPointer(kind: .nothing, unit: 0, birth: 0, checksum: 0)

    static let lost = UnitPointer(kind: .lost, unit: 0, birth: 0, checksum: 0)

    static func page(_ unit: UInt64, birth: UInt32, checksum: UInt32) -> UnitPointer {
        UnitPointer(kind: .page, unit: unit, birth: birth, checksum: checksum)
    }

    static func run(_ unit: UInt64, birth: UInt32) -> UnitPointer {
        UnitPointer(kind: .run, unit: unit, birth: birth, checksum: 0)
    }

    /// How many physical units it stands for.
    var unitCount: UInt64 {
        switch kind {
        case .nothing, .lost: 0
        case .page: 1
        case .run: UInt64(EpochFormat.regionUnits)
        }
    }

    /// Whether the units that it stands for end at `limit` or before.
    func fits(_ limit: UInt64) -> Bool { unit <= limit && unitCount <= limit - unit }
}

extension RawSpan {
    /// The pointer at `offset`; nil when no pointer has these bytes, or it points behind the largest file.
    func loadPointer(at offset: Int) -> UnitPointer? {
        let place = loadBE64(at: offset)
        let birth = loadBE32(at: offset + 8)
        let checksum = loadBE32(at: offset + 12)
        guard let kind = UnitPointer.Kind(rawValue: UInt8(truncatingIfNeeded: place >> 56)),
            place >> 48 & 0xFF == 0
        else { return nil }
        let pointer = UnitPointer(kind: kind, unit: place & (1 << 48 - 1), birth: birth, checksum: checksum)
        if kind == .nothing { return pointer == .nothing ? pointer : nil }
        if kind == .lost { return pointer == .lost ? pointer : nil }
        guard birth <= EpochFormat.epochLimit, pointer.fits(EpochFormat.physicalUnitLimit),
            kind == .page || checksum == 0
        else { return nil }
        return pointer
    }
}

extension MutableRawSpan {
    /// Stores a pointer, whose unit is below 2^48, at `offset`.
    @_lifetime(self: copy self)
    mutating func store(_ pointer: UnitPointer, at offset: Int) {
        storeBE64(UInt64(pointer.kind.rawValue) << 56 | pointer.unit, at: offset)
        storeBE32(pointer.birth, at: offset + 8)
        storeBE32(pointer.checksum, at: offset + 12)
    }
}

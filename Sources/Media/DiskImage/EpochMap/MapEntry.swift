/// What a logical unit of a disk is: nothing, which reads as zeros, data in a physical unit that was born in an epoch,
/// a part of a compressed extent, or lost: nobody knows what it was. One 64-bit word of a leaf of a map.
struct MapEntry: RawRepresentable, Equatable, Sendable {
    /// The word; big-endian in a file.
    let rawValue: UInt64

    private static let dataBits: UInt64 = 1 << 62
    private static let compressedBits: UInt64 = 2 << 62
    private static let kindMask: UInt64 = 3 << 62
    private static let lostBits: UInt64 = 3 << 62
    private static let unconfirmedBit: UInt64 = 1 << 61
    private static let birthBits: UInt64 = 24

    /// A word of memory, which may be one that no file has.
    init(rawValue: UInt64) { self.rawValue = rawValue }

    /// A word of a file; nil when it is no entry. Whether the entries of an extent agree is another question.
    init?(stored word: UInt64) {
        let kind = word & (Self.kindMask | Self.unconfirmedBit)
        guard word == 0 || word == Self.lostBits || kind == Self.dataBits || kind == Self.compressedBits else {
            return nil
        }
        rawValue = word
    }

    static let nothing = MapEntry(rawValue: 0)
    /// It is not read, until it is written or discarded as a whole.
    static let lost = MapEntry(rawValue: lostBits)

    /// Data in a physical unit below `EpochFormat.physicalUnitLimit`, born in an epoch up to `EpochFormat.epochLimit`;
    /// confirmed.
    static func data(_ unit: UInt64, birth: UInt32) -> MapEntry {
        MapEntry(rawValue: dataBits | unit << birthBits | UInt64(birth))
    }

    /// The part of a compressed extent that owns a physical unit, one of those that hold what is stored of the extent;
    /// born in an epoch, confirmed.
    static func compressed(_ unit: UInt64, birth: UInt32) -> MapEntry {
        MapEntry(rawValue: compressedBits | unit << birthBits | UInt64(birth))
    }

    /// A part of a compressed extent that owns nothing.
    static func continuation(birth: UInt32) -> MapEntry { compressed(0, birth: birth) }

    var isData: Bool { rawValue & Self.kindMask == Self.dataBits }
    var isLost: Bool { rawValue & Self.kindMask == Self.lostBits }

    /// Whether it is one of the `EpochFormat.extentUnits` entries of a compressed extent.
    var isCompressed: Bool { rawValue & Self.kindMask == Self.compressedBits }

    /// Whether a physical unit is its own: data, or what is stored of a compressed extent.
    var ownsUnit: Bool { isData || (isCompressed && unit != 0) }

    /// The physical unit, of data; of a compressed extent 0 for none.
    var unit: UInt64 { rawValue >> Self.birthBits & (EpochFormat.physicalUnitLimit - 1) }

    /// The epoch of birth, of all but nothing.
    var birth: UInt32 { UInt32(truncatingIfNeeded: rawValue) & EpochFormat.epochLimit }

    /// Whether a durable frame of the journal confirms it, so that its data may be overwritten in place. In memory
    /// only: entries of a file are confirmed.
    var isConfirmed: Bool { rawValue & Self.unconfirmedBit == 0 }

    var confirmed: MapEntry { MapEntry(rawValue: rawValue & ~Self.unconfirmedBit) }
    var unconfirmed: MapEntry { MapEntry(rawValue: rawValue | Self.unconfirmedBit) }
}

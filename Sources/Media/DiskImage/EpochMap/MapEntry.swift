/// What a logical unit of a disk is: nothing, which reads as zeros, or data in a physical unit that was born in an
/// epoch. One 64-bit word of a leaf of a map.
struct MapEntry: RawRepresentable, Equatable, Sendable {
    /// The word; big-endian in a file.
    let rawValue: UInt64

    private static let dataBits: UInt64 = 1 << 62
    private static let kindMask: UInt64 = 3 << 62
    private static let unconfirmedBit: UInt64 = 1 << 61
    private static let birthBits: UInt64 = 24

    /// A word of memory, which may be one that no file has.
    init(rawValue: UInt64) { self.rawValue = rawValue }

    /// A word of a file; nil when it is no entry.
    init?(stored word: UInt64) {
        guard word == 0 || word & (Self.kindMask | Self.unconfirmedBit) == Self.dataBits else { return nil }
        rawValue = word
    }

    static let nothing = MapEntry(rawValue: 0)

    /// Data in a physical unit below `EpochFormat.physicalUnitLimit`, born in an epoch up to `EpochFormat.epochLimit`;
    /// confirmed.
    static func data(_ unit: UInt64, birth: UInt32) -> MapEntry {
        MapEntry(rawValue: dataBits | unit << birthBits | UInt64(birth))
    }

    var isData: Bool { rawValue & Self.kindMask == Self.dataBits }

    /// The physical unit, of data.
    var unit: UInt64 { rawValue >> Self.birthBits & (EpochFormat.physicalUnitLimit - 1) }

    /// The epoch of birth, of data.
    var birth: UInt32 { UInt32(truncatingIfNeeded: rawValue) & EpochFormat.epochLimit }

    /// Whether a durable frame of the journal confirms it, so that its data may be overwritten in place. In memory
    /// only: entries of a file are confirmed.
    var isConfirmed: Bool { rawValue & Self.unconfirmedBit == 0 }

    var confirmed: MapEntry { MapEntry(rawValue: rawValue & ~Self.unconfirmedBit) }
    var unconfirmed: MapEntry { MapEntry(rawValue: rawValue | Self.unconfirmedBit) }
}

/// Where an image with checksums of data has them.
///
/// The units behind the journal are in groups. The first units of a group are its area, which has a word of four bytes
/// for each unit of the group. No unit of an area is ever allocated, and none is in use in the free map.
struct ChecksumAreas: Equatable, Sendable {
    /// The units of a group, 1 GiB, as a power of two.
    static let groupShift: UInt64 = 18
    static let groupUnits: UInt64 = 1 << groupShift
    /// The bytes of a word.
    static let wordLength = 4
    /// The units of an area.
    static let units = (groupUnits * UInt64(wordLength)) >> UInt64(EpochFormat.unitShift)

    /// The first unit behind the journal, where the first group begins.
    let start: UInt64

    /// The place of a unit in its group; of units behind the journal.
    private func index(_ unit: UInt64) -> UInt64 { (unit - start) & (Self.groupUnits - 1) }

    func contains(_ unit: UInt64) -> Bool { unit >= start && index(unit) < Self.units }

    /// Whether a run has a unit of an area.
    func overlaps(_ run: Range<UInt64>) -> Bool {
        !run.isEmpty && (contains(run.lowerBound) || next(from: run.lowerBound) < run.upperBound)
    }

    /// Where the first area begins that begins at `unit`, which is in the format's limits, or behind.
    func next(from unit: UInt64) -> UInt64 {
        guard unit > start else { return start }
        return start + ((unit - start + Self.groupUnits - 1) & ~(Self.groupUnits - 1))
    }

    /// The byte of the file at which the word of a unit behind the journal is.
    func place(ofWord unit: UInt64) -> Int64 {
        EpochFormat.offset(ofUnit: unit - index(unit)) + Int64(index(unit)) * Int64(Self.wordLength)
    }
}

/// An eight-byte logical unit number (SAM-5 clause 4.7).
public struct LogicalUnitNumber: RawRepresentable, Hashable, Sendable {
    /// The eight bytes, first byte most significant.
    public let rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// The highest number that the extended flat space addressing method can express.
    public static let maximumNumber = 0xFF_FFFF
    /// The well known REPORT LUNS logical unit (SAM-5 clause 4.7.7.5.1, SPC-5 clause 8.2).
    public static let reportLUNsWellKnown = Self(rawValue: 0xC101_0000_0000_0000)
    /// The well known TARGET LOG PAGES logical unit (SPC-5 clause 8.4).
    public static let targetLogPagesWellKnown = Self(rawValue: 0xC103_0000_0000_0000)

    /// Logical unit `number`: peripheral device addressing below 256 (SAM-5 clause 4.7.7.2), flat space addressing
    /// below 16384 (clause 4.7.7.3), extended flat space addressing above (clause 4.7.7.5). `number` is at most
    /// `maximumNumber`.
    public init(_ number: Int) {
        precondition(number >= 0 && number <= Self.maximumNumber, "a logical unit number is at most 16777215")
        rawValue =
            switch number {
            case ..<256: UInt64(number) << 48
            case ..<16384: (0x4000 | UInt64(number)) << 48
            default: (Self.extendedFlat << 24 | UInt64(number)) << 32
            }
    }

    /// The first byte of the extended flat space addressing format: ADDRESS METHOD 11b, LENGTH 01b, EXTENDED ADDRESS
    /// METHOD 2h. A number of three bytes follows.
    @usableFromInline
    static let extendedFlat: UInt64 = 0xD2

    /// The number when only one level is used with peripheral (bus 0), flat space or extended flat space addressing,
    /// else nil.
    @inlinable
    public var number: Int? {
        if rawValue >> 56 == Self.extendedFlat {
            return rawValue & 0xFFFF_FFFF == 0 ? Int(rawValue >> 32 & 0xFF_FFFF) : nil
        }
        guard rawValue & 0x0000_FFFF_FFFF_FFFF == 0 else { return nil }
        let first = Int(rawValue >> 48)
        switch first >> 14 {
        case 0: return first < 256 ? first : nil
        case 1: return first & 0x3FFF
        default: return nil
        }
    }
}

/// An eight-byte logical unit number (SAM-5 clause 4.7).
public struct LogicalUnitNumber: RawRepresentable, Hashable, Sendable {
    /// The eight bytes, first byte most significant.
    public let rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// The highest number that the flat space addressing method can express.
    public static let maximumNumber = 16383
    /// The well known REPORT LUNS logical unit (SAM-5 clause 4.7.7.5.1, SPC-5 clause 8.2).
    public static let reportLUNsWellKnown = Self(rawValue: 0xC101_0000_0000_0000)
    /// The well known TARGET LOG PAGES logical unit (SPC-5 clause 8.4).
    public static let targetLogPagesWellKnown = Self(rawValue: 0xC103_0000_0000_0000)

    /// Logical unit `number`: peripheral device addressing below 256 (SAM-5 clause 4.7.7.2), flat space addressing
    /// (clause 4.7.7.3) above. `number` is at most `maximumNumber`.
    public init(_ number: Int) {
        precondition(number >= 0 && number <= Self.maximumNumber, "a logical unit number is at most 16383")
        rawValue = number < 256 ? UInt64(number) << 48 : (0x4000 | UInt64(number)) << 48
    }

    /// The number when only the first level is used with peripheral (bus 0) or flat space addressing, else nil.
    @inlinable
    public var number: Int? {
        guard rawValue & 0x0000_FFFF_FFFF_FFFF == 0 else { return nil }
        let first = Int(rawValue >> 48)
        switch first >> 14 {
        case 0: return first < 256 ? first : nil
        case 1: return first & 0x3FFF
        default: return nil
        }
    }
}

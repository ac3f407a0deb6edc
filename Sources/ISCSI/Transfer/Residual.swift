/// How far a transfer missed the expected data transfer length (RFC 7143 section 11.4.5).
@frozen public struct Residual: Hashable, Sendable {
    /// O: the command would have moved `count` bytes more than expected.
    public var isOverflow: Bool
    /// U: the command moved `count` bytes fewer than expected.
    public var isUnderflow: Bool
    /// Residual Count: how many bytes too many or too few.
    public var count: UInt32

    /// A residual with those fields, right or wrong: PDU parsing needs both bits at once.
    @inlinable
    public init(isOverflow: Bool, isUnderflow: Bool, count: UInt32) {
        self.isOverflow = isOverflow
        self.isUnderflow = isUnderflow
        self.count = count
    }

    /// The residual of a command that had `actual` bytes to move (before any cut to what was expected) when the
    /// initiator expected `expected`.
    @inlinable
    public init(expected: Int, actual: Int) {
        isOverflow = actual > expected
        isUnderflow = actual < expected
        count = UInt32(clamping: actual > expected ? actual - expected : expected - actual)
    }

    /// Exactly what was expected.
    public static let none = Self(isOverflow: false, isUnderflow: false, count: 0)

    /// O and U as they stand in byte 1 of SCSI Response and Data-In.
    @inlinable
    var flags: UInt8 { (isOverflow ? 0x04 : 0) | (isUnderflow ? 0x02 : 0) }
}

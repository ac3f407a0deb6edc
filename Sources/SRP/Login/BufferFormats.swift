/// The data buffer descriptor formats that a login requires or offers (SRP r16a table 10).
@frozen public struct SRPBufferFormats: OptionSet, Hashable, Sendable {
    /// The field's value, two bytes.
    public let rawValue: UInt16

    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// DDBD: direct data buffer descriptors.
    public static let direct = Self(rawValue: 0x0002)
    /// IDBD: indirect data buffer descriptors.
    public static let indirect = Self(rawValue: 0x0004)

    /// Both that SRP r16a defines.
    public static let all: Self = [.direct, .indirect]
}

public import Bytes

/// An SRP initiator or target port identifier: 16 bytes that name the port in all the fabric (SRP r16a clause 6.2).
///
/// On InfiniBand and RDMA-CM it is an identifier extension and a GUID, of 8 bytes each, in this order; drafts up to
/// revision 10 had the GUID first. `id_ext` and `ioc_guid` of Linux's ib_srp are the two halves of a target port
/// identifier, `initiator_ext` and the interface identifier of the port's GID those of an initiator port identifier.
@frozen public struct SRPPortIdentifier: Hashable, Sendable {
    /// The length, in bytes.
    public static let length = 16

    /// Bytes 0 to 7.
    public var identifierExtension: UInt64
    /// Bytes 8 to 15: an EUI-64.
    public var guid: UInt64

    @inlinable
    public init(identifierExtension: UInt64, guid: UInt64) {
        self.identifierExtension = identifierExtension
        self.guid = guid
    }

    /// The identifier whose 16 bytes are at `offset` of `bytes`, inside the span.
    @inlinable
    public init(_ bytes: RawSpan, at offset: Int) {
        identifierExtension = bytes.loadBE64(at: offset)
        guid = bytes.loadBE64(at: offset + 8)
    }

    /// The same port in the order of drafts up to revision 10, or the other way round.
    @inlinable
    public var swapped: Self { Self(identifierExtension: guid, guid: identifierExtension) }

    /// Whether `other` names the same port in one of the two orders.
    @inlinable
    public func isSamePort(as other: Self) -> Bool { self == other || swapped == other }
}

extension MutableRawSpan {
    /// Writes the 16 bytes of `identifier` at `offset`.
    @inlinable @_lifetime(self: copy self)
    mutating func store(_ identifier: SRPPortIdentifier, at offset: Int) {
        storeBE64(identifier.identifierExtension, at: offset)
        storeBE64(identifier.guid, at: offset + 8)
    }
}

/// The identifier as text: `0x` and 32 hexadecimal digits.
extension SRPPortIdentifier: LosslessStringConvertible {
    public var description: String { "0x" + Self.digits(identifierExtension) + Self.digits(guid) }

    /// 16 hexadecimal digits, as `id_ext` and `ioc_guid` have them in the line that ib_srp's `add_target` takes.
    public static func digits(_ half: UInt64) -> String {
        let digits = String(half, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// The identifier in `text`: 32 hexadecimal digits in letters of either case, with `0x` before them or without.
    public init?(_ text: String) {
        var digits = Array(text.utf8)
        if digits.count == 34, digits[0] == UInt8(ascii: "0"), digits[1] | 0x20 == UInt8(ascii: "x") {
            digits.removeFirst(2)
        }
        guard digits.count == 32 else { return nil }
        var halves: [UInt64] = [0, 0]
        for (position, digit) in digits.enumerated() {
            guard let value = Self.value(ofDigit: digit) else { return nil }
            halves[position / 16] = halves[position / 16] << 4 | UInt64(value)
        }
        self.init(identifierExtension: halves[0], guid: halves[1])
    }

    private static func value(ofDigit digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// The TransportID of an SRP initiator port, by which persistent reservations remember it (SPC-5 clause 7.6.4.5).
extension SRPPortIdentifier {
    /// The length of a TransportID, in bytes.
    public static let transportIDLength = 24

    /// FORMAT CODE 00b and PROTOCOL IDENTIFIER 4h (SCSI RDMA Protocol).
    private static let transportIDStart: UInt8 = 0x04
    /// Where a TransportID has the identifier.
    private static let transportIDOffset = 8

    /// The TransportID of the initiator port: 24 bytes.
    public var transportID: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.transportIDOffset)
        bytes[0] = Self.transportIDStart
        bytes.appendBE64(identifierExtension)
        bytes.appendBE64(guid)
        return bytes
    }

    /// The identifier in a TransportID; nil for those of other protocols, and for wrong lengths.
    public init?(transportID: [UInt8]) {
        guard transportID.count == Self.transportIDLength, transportID[0] & 0xCF == Self.transportIDStart else {
            return nil
        }
        self.init(transportID.rawSpan, at: Self.transportIDOffset)
    }
}

internal import Bytes

/// A TransportID: how persistent reservations name an initiator port (SPC-5 clause 7.6.4).
///
/// It is kept in one form: those that name the same are equal, whatever fills them up and in whatever letters the
/// digits of an ISID are.
public struct TransportID: Hashable, Sendable, CustomStringConvertible {
    /// A multiple of 4 bytes.
    public let bytes: [UInt8]

    /// The one of those bytes; such as are of no form that SPC knows are kept as they are.
    public init(bytes: [UInt8]) { self.bytes = Self.canonicalForm(of: bytes[...]) ?? bytes }

    /// The longest that is taken: an iSCSI name of 223 bytes, separator, ISID, and what makes a multiple of 4 of it.
    static let maximumLength = 4 + 244

    /// The one that begins at `offset` of `list`, and how long it is there; nil when it does not end there, or is of no
    /// form that SPC knows.
    static func read(_ list: [UInt8], at offset: Int) -> (transportID: TransportID, length: Int)? {
        guard list.count - offset >= 4, let length = length(list, at: offset), length <= maximumLength,
            list.count - offset >= length, let bytes = canonicalForm(of: list[offset..<offset + length])
        else { return nil }
        return (TransportID(canonical: bytes), length)
    }

    private init(canonical bytes: [UInt8]) { self.bytes = bytes }

    /// PROTOCOL IDENTIFIER.
    var protocolIdentifier: UInt8 { (bytes.first ?? 0) & 0x0F }

    /// Whether it names an iSCSI initiator device (format 00b), and so all ports of that name.
    var namesDevice: Bool { Self.isiSCSI(bytes[...]) && bytes[0] >> 6 == 0 }

    /// The iSCSI name of the device, without its session; nil for other protocols.
    var deviceName: ArraySlice<UInt8>? {
        guard Self.isiSCSI(bytes[...]) else { return nil }
        let text = bytes[4...].prefix { $0 != 0 }
        return Self.separator(in: text).map { text[..<$0] } ?? text
    }

    /// The name of an iSCSI port or device; of other protocols the bytes in hexadecimal digits.
    public var description: String {
        guard Self.isiSCSI(bytes[...]) else {
            return bytes.map { String($0 >> 4, radix: 16) + String($0 & 0x0F, radix: 16) }.joined()
        }
        return String(decoding: bytes[4...].prefix { $0 != 0 }, as: UTF8.self)
    }

    // MARK: Forms

    private static func isiSCSI(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.count > 4 && bytes[bytes.startIndex] & 0x0F == ProtocolIdentifier.iSCSI.rawValue
    }

    /// How long the one at `offset` is, which has 4 bytes there: 24 bytes but for iSCSI, where it says so itself.
    private static func length(_ list: [UInt8], at offset: Int) -> Int? {
        let (format, identifier) = (list[offset] >> 6, list[offset] & 0x0F)
        switch (identifier, format) {
        // Fibre Channel, parallel SCSI, IEEE 1394, RDMA, SAS, SOP.
        case (0, 0), (1, 0), (3, 0), (4, 0), (6, 0), (10, 0): return 24
        case (5, 0), (5, 1):
            let length = Int(list.rawSpan.loadBE16(at: offset + 2))
            return length >= 20 && length % 4 == 0 ? 4 + length : nil
        default: return nil
        }
    }

    /// What all that name the same have in common; nil when the text is not that of the format, or has no NUL behind
    /// it.
    private static func canonicalForm(of bytes: ArraySlice<UInt8>) -> [UInt8]? {
        guard isiSCSI(bytes) else { return Array(bytes) }
        let text = bytes.dropFirst(4)
        guard let end = text.firstIndex(of: 0), end > text.startIndex, text[end...].allSatisfy({ $0 == 0 }) else {
            return nil
        }
        let name = text[..<end]
        switch (bytes[bytes.startIndex] >> 6, separator(in: name)) {
        case (0, nil): return padded(0, Array(name))
        case (1, let mark?):
            let digits = name[(mark + sessionMark.count)...].compactMap(lowercaseDigit)
            guard mark > name.startIndex, (1...12).contains(digits.count),
                digits.count == name.endIndex - mark - sessionMark.count
            else { return nil }
            let zeros = [UInt8](repeating: UInt8(ascii: "0"), count: 12 - digits.count)
            return padded(1, name[..<mark] + sessionMark + zeros + digits)
        default: return nil
        }
    }

    private static func padded(_ format: UInt8, _ name: [UInt8]) -> [UInt8] {
        var text = name + [0]
        while text.count % 4 != 0 || text.count < 20 { text.append(0) }
        return [format << 6 | ProtocolIdentifier.iSCSI.rawValue, 0, UInt8(text.count >> 8), UInt8(text.count & 0xFF)]
            + text
    }

    /// The hexadecimal digit in the letters of the one form; nil when it is none.
    private static func lowercaseDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"): byte
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte + 0x20
        default: nil
        }
    }

    /// What stands between a name and an ISID.
    private static let sessionMark = Array(",i,0x".utf8)

    /// Where that begins.
    private static func separator(in name: ArraySlice<UInt8>) -> Int? {
        guard name.count >= sessionMark.count else { return nil }
        return (name.startIndex...name.endIndex - sessionMark.count).first {
            name[$0] == sessionMark[0] && name[$0..<$0 + sessionMark.count].elementsEqual(sessionMark)
        }
    }
}

/// Who is registered: an I_T nexus, of an initiator port and one port of a target.
///
/// A logical unit may be mapped in several targets, whose ports have the same identifiers.
public struct Registrant: Hashable, Sendable {
    /// The initiator port.
    public let transportID: TransportID
    /// The name of the target.
    public let target: String
    /// RELATIVE TARGET PORT IDENTIFIER.
    public let targetPort: UInt16

    public init(_ transportID: TransportID, target: String, targetPort: UInt16) {
        self.transportID = transportID
        self.target = target
        self.targetPort = targetPort
    }

    /// The same initiator port and target, through another port.
    func through(_ targetPort: UInt16) -> Registrant {
        Registrant(transportID, target: target, targetPort: targetPort)
    }
}

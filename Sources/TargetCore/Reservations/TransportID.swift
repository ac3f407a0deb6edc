internal import Bytes

/// A TransportID: how persistent reservations name an initiator port (SPC-5 clause 7.6.4). It is kept as it came; two
/// that differ in what fills them up only are the same.
public struct TransportID: Sendable {
    /// A multiple of 4 bytes.
    public let bytes: [UInt8]
    /// What it is compared by: for iSCSI the first byte and the name without what fills it up.
    private let key: [UInt8]
    /// The key of the one that names all sessions of the same iSCSI name; nil when it has no session.
    private let keyOfAllSessions: [UInt8]?

    public init(bytes: [UInt8]) {
        self.bytes = bytes
        guard bytes.count > 4, Self.isiSCSI(bytes), let name = Self.iSCSIName(bytes) else {
            (key, keyOfAllSessions) = (bytes, nil)
            return
        }
        key = [bytes[0]] + name
        keyOfAllSessions = Self.separator(in: name).map { [ProtocolIdentifier.iSCSI.rawValue] + name[..<$0] }
    }

    /// The longest that is taken: an iSCSI name of 223 bytes, separator, ISID, and what makes a multiple of 4 of it.
    static let maximumLength = 4 + 244

    /// The one that begins at `offset` of `list`; nil when it does not end there, or is of no form that SPC knows.
    init?(_ list: [UInt8], at offset: Int) {
        guard list.count - offset >= 4, let length = Self.length(list, at: offset),
            length <= Self.maximumLength, list.count - offset >= length
        else { return nil }
        let bytes = Array(list[offset..<offset + length])
        guard Self.isiSCSI(bytes) == false || Self.iSCSIName(bytes) != nil else { return nil }
        self.init(bytes: bytes)
    }

    private static func isiSCSI(_ bytes: [UInt8]) -> Bool { bytes[0] & 0x0F == ProtocolIdentifier.iSCSI.rawValue }

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

    /// The text of one of iSCSI, up to its NUL, which the end of the field has to have; nil when it has none, or the
    /// format is not that of the text.
    private static func iSCSIName(_ bytes: [UInt8]) -> ArraySlice<UInt8>? {
        let text = bytes[4...]
        guard let end = text.firstIndex(of: 0), end > 4, text[end...].allSatisfy({ $0 == 0 }) else { return nil }
        let name = text[..<end]
        let hasSession = separator(in: name) != nil
        return hasSession == (bytes[0] >> 6 == 1) ? name : nil
    }

    /// Where `,i,0x` begins, behind which the ISID stands.
    private static func separator(in name: ArraySlice<UInt8>) -> Int? {
        let mark = Array(",i,0x".utf8)
        guard name.count >= mark.count else { return nil }
        return (name.startIndex...name.endIndex - mark.count).first { name[$0..<$0 + mark.count].elementsEqual(mark) }
    }

    /// Whether it names the initiator port `other`: they are the same, or it is an iSCSI name without ISID, which names
    /// all ports of that name (SPC-5 clause 7.6.4.6).
    func names(_ other: TransportID) -> Bool { key == other.key || key == other.keyOfAllSessions }

    /// Whether one of those with the keys `others` names it.
    func isNamed(in others: Set<Key>) -> Bool {
        others.contains(Key(bytes: key)) || keyOfAllSessions.map { others.contains(Key(bytes: $0)) } ?? false
    }

    /// What it is looked up by.
    struct Key: Hashable { fileprivate let bytes: [UInt8] }

    var lookUpKey: Key { Key(bytes: key) }
}

extension TransportID: Hashable {
    public static func == (one: TransportID, other: TransportID) -> Bool { one.key == other.key }

    public func hash(into hasher: inout Hasher) { hasher.combine(key) }
}

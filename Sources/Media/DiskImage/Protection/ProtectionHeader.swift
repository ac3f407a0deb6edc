internal import Bytes
internal import SCSI

/// What the file of protection information says of itself, in its first bytes: one sector, so that a crash leaves the
/// old or the new one.
struct ProtectionHeader: Equatable, Sendable {
    private static let magic: UInt64 = 0x4361_726F_5072_6F74
    /// Of headers without an identity, and with one.
    private static let formerVersion: UInt32 = 1
    private static let version: UInt32 = 2
    /// What comes before the identity: magic number, version, type, block size, number of blocks.
    private static let fieldsLength = 28
    /// The bytes of an identity.
    static let identityLength = 16
    /// The bytes of the longest header: a checksum of all before is last.
    static let length = fieldsLength + identityLength + 4

    var type: ProtectionType
    var blockSize: Int
    var blocks: UInt64
    /// What ties the file to its image, which has the same in its note (`StoreNoteKey.protection`); nil in a file that
    /// was never opened since there are identities.
    var identity: [UInt8]?

    /// Another identity than any other.
    static func newIdentity() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<identityLength).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE64(Self.magic)
        bytes.appendBE32(identity == nil ? Self.formerVersion : Self.version)
        bytes.appendBE32(UInt32(type.rawValue))
        bytes.appendBE32(UInt32(blockSize))
        bytes.appendBE64(blocks)
        bytes += identity ?? []
        bytes.appendBE32(CRC32C.checksum(bytes.rawSpan))
        return bytes
    }

    init(_ type: ProtectionType, blockSize: Int, blocks: UInt64, identity: [UInt8]?) {
        self.type = type
        self.blockSize = blockSize
        self.blocks = blocks
        self.identity = identity
    }

    /// Of the first `length` bytes of a file; nil when that is none of ours.
    init?(_ bytes: [UInt8]) {
        let span = bytes.rawSpan
        guard bytes.count >= Self.length, Self.hasMagic(bytes) else { return nil }
        let end: Int
        switch span.loadBE32(at: 8) {
        case Self.formerVersion: end = Self.fieldsLength
        case Self.version: end = Self.fieldsLength + Self.identityLength
        default: return nil
        }
        guard span.loadBE32(at: end) == CRC32C.checksum(span.extracting(0..<end)),
            let code = UInt8(exactly: span.loadBE32(at: 12)), let type = ProtectionType(rawValue: code)
        else { return nil }
        self.type = type
        blockSize = Int(span.loadBE32(at: 16))
        blocks = span.loadBE64(at: 20)
        identity = end == Self.fieldsLength ? nil : Array(bytes[Self.fieldsLength..<end])
    }

    /// Whether a file begins as one of ours.
    static func hasMagic(_ bytes: [UInt8]) -> Bool { bytes.count >= 8 && bytes.rawSpan.loadBE64(at: 0) == magic }
}

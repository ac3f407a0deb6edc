internal import Bytes

/// How far a stream was read or written: all that has to be known to go on.
public struct DeltaPosition: Hashable, Sendable {
    /// The byte of the file at which the next record begins.
    public internal(set) var place: Int64
    /// The number of the next record.
    public internal(set) var record: UInt64
    /// The checksum of the header of the record before, or of the stream.
    public internal(set) var chain: UInt32
    /// That of all data before.
    public internal(set) var data: UInt32
    /// The byte of the disk behind the last range that was told of.
    public internal(set) var end: Int64

    static func first(_ chain: UInt32) -> DeltaPosition {
        DeltaPosition(place: Int64(DeltaHeader.byteCount), record: 0, chain: chain, data: 0, end: 0)
    }

    // MARK: Text

    /// The characters of `text`.
    public static let textLength = 50

    /// All of it in `textLength` hexadecimal digits.
    public var text: String {
        Self.hex(UInt64(bitPattern: place), 12) + Self.hex(record, 10) + Self.hex(UInt64(chain), 8)
            + Self.hex(UInt64(data), 8) + Self.hex(UInt64(bitPattern: end), 12)
    }

    private static func hex(_ value: UInt64, _ count: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, count - digits.count)) + digits
    }

    init(place: Int64, record: UInt64, chain: UInt32, data: UInt32, end: Int64) {
        self.place = place
        self.record = record
        self.chain = chain
        self.data = data
        self.end = end
    }

    /// What `text` was; nil when it was no position.
    public init?(text: some StringProtocol) {
        let digits = Array(text.utf8)
        guard digits.count == Self.textLength else { return nil }
        var values: [UInt64] = []
        var index = 0
        for count in [12, 10, 8, 8, 12] {
            guard let value = UInt64(String(decoding: digits[index..<index + count], as: UTF8.self), radix: 16) else {
                return nil
            }
            values.append(value)
            index += count
        }
        guard values[0] >= UInt64(DeltaHeader.byteCount) else { return nil }
        self.init(
            place: Int64(values[0]), record: values[1], chain: UInt32(values[2]), data: UInt32(values[3]),
            end: Int64(values[4]))
    }
}

/// What a record tells of.
public enum DeltaRecord: Equatable, Sendable {
    /// The bytes from that one on are these.
    case data(Int64, [UInt8])
    /// These bytes are zeros.
    case nothing(Range<Int64>)
    /// All was told.
    case end

    /// The most bytes of data in a record.
    public static let dataLimit = 1 << 20
    static let byteCount = 40
    static let magic: UInt32 = 0x4352_4C52

    enum Kind: UInt8 {
        case data = 1
        case nothing = 2
        case end = 3
    }
}

/// The header of a record.
struct DeltaRecordHeader {
    var kind: DeltaRecord.Kind
    var number: UInt64
    var offset: UInt64
    var length: UInt64
    /// Of the data; of all data of the stream at its end.
    var data: UInt32

    /// The bytes, and their checksum, begun with that of the record before.
    func encoded(chain: UInt32) -> (bytes: [UInt8], chain: UInt32) {
        var bytes = [UInt8](repeating: 0, count: DeltaRecord.byteCount)
        bytes.modifyBytes { span in
            span.storeBE32(DeltaRecord.magic, at: 0)
            span.store(byte: kind.rawValue, at: 4)
            span.storeBE64(number, at: 8)
            span.storeBE64(offset, at: 16)
            span.storeBE64(length, at: 24)
            span.storeBE32(data, at: 32)
        }
        let next = CRC32C.checksum(bytes.rawSpan.extracting(0..<36), previous: chain)
        bytes.modifyBytes { $0.storeBE32(next, at: 36) }
        return (bytes, next)
    }

    /// The header that these bytes are behind a record with that checksum; nil when they are none.
    static func decoded(_ bytes: RawSpan, chain: UInt32) -> (DeltaRecordHeader, chain: UInt32)? {
        let next = bytes.loadBE32(at: 36)
        guard bytes.loadBE32(at: 0) == DeltaRecord.magic, bytes.loadBE32(at: 4) & 0xFF_FFFF == 0,
            let kind = DeltaRecord.Kind(rawValue: UInt8(bytes.loadBE32(at: 4) >> 24)),
            CRC32C.checksum(bytes.extracting(0..<36), previous: chain) == next
        else { return nil }
        return (
            DeltaRecordHeader(
                kind: kind, number: bytes.loadBE64(at: 8), offset: bytes.loadBE64(at: 16),
                length: bytes.loadBE64(at: 24), data: bytes.loadBE32(at: 32)), next
        )
    }
}

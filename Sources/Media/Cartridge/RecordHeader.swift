internal import Bytes

/// What an object on a tape is. The raw values are those of the data file and of the index.
public enum TapeObjectKind: UInt8, Sendable {
    /// A logical block.
    case block = 1
    case filemark = 2
}

/// The 32 bytes before every object in a cartridge's data file. `CartridgeFormat` in the documentation draws it.
struct RecordHeader: Equatable, Sendable {
    /// The bytes of an encoded header.
    static let byteCount = 32
    /// "CR", the first two bytes.
    static let magic: UInt16 = 0x4352
    /// Records begin at multiples of this many bytes.
    static let alignment: Int64 = 8

    var kind: TapeObjectKind
    /// The epoch that wrote it.
    var epoch: UInt32
    /// Its logical object identifier: the number of objects before it in the partition.
    var object: UInt64
    /// The bytes of the logical block, as the initiator sees it; 0 for a filemark.
    var logicalLength: UInt32
    /// The bytes of payload in the file; the logical length as long as nothing compresses or encrypts.
    var storedLength: UInt32
    /// The CRC32C of the payload; 0 without one.
    var payloadChecksum: UInt32

    /// The distance from a record with that payload to the next one.
    static func stride(storedLength: UInt32) -> Int64 {
        (Int64(byteCount) + Int64(storedLength) + alignment - 1) & ~(alignment - 1)
    }

    /// Writes the header to `target` at `offset`; `seed` binds it to its cartridge.
    @_lifetime(target: copy target)
    func encode(into target: inout MutableRawSpan, at offset: Int, seed: UInt32) {
        target.storeBE16(Self.magic, at: offset)
        target.store(byte: kind.rawValue, at: offset + 2)
        target.store(byte: 0, at: offset + 3)
        target.storeBE32(epoch, at: offset + 4)
        target.storeBE64(object, at: offset + 8)
        target.storeBE32(logicalLength, at: offset + 16)
        target.storeBE32(storedLength, at: offset + 20)
        target.storeBE32(payloadChecksum, at: offset + 24)
        let checksum = CRC32C.checksum(target.bytes.extracting(offset..<offset + 28), previous: seed)
        target.storeBE32(checksum, at: offset + 28)
    }

    /// The header at `offset`, or nil when there is none that is whole and of this cartridge.
    init?(_ source: RawSpan, at offset: Int, seed: UInt32) {
        guard offset >= 0, source.byteCount - offset >= Self.byteCount, source.loadBE16(at: offset) == Self.magic,
            let kind = TapeObjectKind(rawValue: source.byte(at: offset + 2)), source.byte(at: offset + 3) == 0,
            source.loadBE32(at: offset + 28)
                == CRC32C.checksum(source.extracting(offset..<offset + 28), previous: seed)
        else { return nil }
        self.kind = kind
        epoch = source.loadBE32(at: offset + 4)
        object = source.loadBE64(at: offset + 8)
        logicalLength = source.loadBE32(at: offset + 16)
        storedLength = source.loadBE32(at: offset + 20)
        payloadChecksum = source.loadBE32(at: offset + 24)
        guard logicalLength <= Cartridge.maximumBlockLength, storedLength == logicalLength,
            kind == .block ? logicalLength > 0 : logicalLength == 0
        else { return nil }
    }

    init(
        kind: TapeObjectKind, epoch: UInt32, object: UInt64, length: UInt32, payloadChecksum: UInt32
    ) {
        self.kind = kind
        self.epoch = epoch
        self.object = object
        logicalLength = length
        storedLength = length
        self.payloadChecksum = payloadChecksum
    }
}

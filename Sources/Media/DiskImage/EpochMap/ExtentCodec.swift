internal import Bytes
internal import Platform

/// How extents are stored: a header, the zstd frame of their 64 KiB, and zeros to the end of the unit.
///
/// | offset | length | field |
/// | --- | --- | --- |
/// | 0 | 4 | length of the frame |
/// | 4 | 4 | CRC32C of the first unit's number (8 bytes), the length and the frame, begun with that of the UUID |
/// | 8 | | the frame |
struct ExtentCodec: Sendable {
    static let headerLength = 8
    /// The units that what is stored of an extent may take.
    static let unitLimit = EpochFormat.extentUnits - 1

    /// Of zstd.
    let level: Int32
    /// What checksums begin with.
    let seed: UInt32

    /// Nil when the images of a superblock have no compressed extents.
    init?(_ superblock: EpochSuperblock) {
        guard superblock.compressionLevel > 0 else { return nil }
        level = Int32(superblock.compressionLevel)
        seed = superblock.seed
    }

    /// The units that the frame of an extent takes.
    private static func units(_ frameLength: Int) -> Int {
        (headerLength + frameLength + EpochFormat.unitLength - 1) / EpochFormat.unitLength
    }

    /// Compresses an extent into `scratch.stored`; the units that it takes, nil when these would be more than `limit`.
    func encode(_ content: RawSpan, limit: Int, _ scratch: ExtentScratch) -> Int? {
        let most = min(limit, Self.unitLimit)
        guard most > 0 else { return nil }
        return scratch.stored.modifyBytes { target in
            var room = target._mutatingExtracting(Self.headerLength..<most * EpochFormat.unitLength)
            guard let length = scratch.context.compress(content, into: &room, level: level) else { return nil }
            let units = Self.units(length)
            target.storeBE32(UInt32(length), at: 0)
            let end = Self.headerLength + length
            target.fill(at: end, count: units * EpochFormat.unitLength - end)
            return units
        }
    }

    /// Makes what `encode` has made that of units from `unit` on.
    func seal(_ scratch: ExtentScratch, unit: UInt64) {
        let length = Int(scratch.stored.rawSpan.loadBE32(at: 0))
        let checksum = checksum(scratch.stored.rawSpan, length, unit)
        scratch.stored.modifyBytes { $0.storeBE32(checksum, at: 4) }
    }

    private func checksum(_ stored: RawSpan, _ length: Int, _ unit: UInt64) -> UInt32 {
        var place: InlineArray<8, UInt8> = .init(repeating: 0)
        place.modifyBytes { $0.storeBE64(unit, at: 0) }
        var checksum = CRC32C.checksum(place.rawSpan, previous: seed)
        checksum = CRC32C.checksum(stored.extracting(0..<4), previous: checksum)
        return CRC32C.checksum(
            stored.extracting(Self.headerLength..<Self.headerLength + length), previous: checksum)
    }

    /// Fills `target`, an extent, with what `scratch.stored` has of `units`; false when that is not what was written.
    @_lifetime(target: copy target)
    func decode(_ scratch: ExtentScratch, units: Range<UInt64>, into target: inout MutableRawSpan) -> Bool {
        // Held, not copied.
        let bytes = scratch.stored
        let stored = bytes.rawSpan.extracting(0..<units.count * EpochFormat.unitLength)
        let length = Int(stored.loadBE32(at: 0))
        guard length <= stored.byteCount - Self.headerLength, Self.units(length) == units.count,
            checksum(stored, length, units.lowerBound) == stored.loadBE32(at: 4)
        else { return false }
        let frame = stored.extracting(Self.headerLength..<Self.headerLength + length)
        return scratch.context.decompress(frame, into: &target)
    }
}

/// The memory that an extent is compressed or decompressed with. Whoever takes one has it for itself.
final class ExtentScratch: @unchecked Sendable {
    /// How many are kept, of all images together: more than the requests of a disk that are performed at a time. Each
    /// is about a megabyte at most.
    static let keptLimit = 16
    private static let kept = Lock<[ExtentScratch]>([])

    let context: ZstdContext
    /// What is in the file.
    var stored = [UInt8](repeating: 0, count: ExtentCodec.unitLimit * EpochFormat.unitLength)
    /// What it stands for.
    var content = [UInt8](repeating: 0, count: EpochFormat.extentLength)

    private init?() {
        guard let context = ZstdContext() else { return nil }
        self.context = context
    }

    /// What `body` does with one; nil when there is no memory.
    static func use<Result>(
        _ body: (ExtentScratch) throws(EpochFault) -> Result
    ) throws(EpochFault) -> Result? {
        guard let scratch = kept.withLock({ $0.popLast() }) ?? ExtentScratch() else { return nil }
        defer { kept.withLock { if $0.count < keptLimit { $0.append(scratch) } } }
        return try body(scratch)
    }
}

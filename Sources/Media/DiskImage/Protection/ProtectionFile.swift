internal import Bytes
internal import Platform
internal import SCSI
internal import Synchronization

/// The protection information of an image's blocks (SBC-4 clause 4.21), in a file beside it: 8 bytes for each block,
/// one after another, with all bits inverted, so that a hole is what blocks have that were never written: nothing that
/// would be checked.
///
/// Data and protection information of blocks are read and written under the lock of their stripe, so no read finds the
/// one without the other. Everything here waits, on threads of the lane.
final class ProtectionFile: Sendable {
    /// Where the first block's is; a header and the bits of `ProtectionRegions` come before.
    static let dataOffset: Int64 = 8192
    /// The bytes of data whose protection information is read and written at a time.
    static let groupLength = 256 << 10
    /// How many groups are worked on at a time, at most.
    private static let stripeCount = 16

    /// What is needed for one group at a time.
    struct Scratch {
        /// Protection information as the file has it.
        var tags: [UInt8] = []
        /// Data on the way between the file and a lease with protection information in it.
        var data: [UInt8] = []
    }

    final class Stripe: Sendable {
        let scratch = Lock(Scratch())
    }

    let store: any ByteStore
    let type: ProtectionType
    let regions: ProtectionRegions
    let blockSize: Int
    /// What ties it to its image; nil when that could not be recorded.
    let identity: [UInt8]?
    private let clock: MonotonicClock
    private let stripes: [Stripe]
    /// How many blocks have lost their protection information since somebody has asked.
    let forgottenBlocks = Atomic<Int>(0)
    /// The blocks of a group.
    let groupBlocks: UInt64

    /// The protection information in `store`, which has those bits of regions.
    convenience init(
        _ store: any ByteStore, type: ProtectionType, blockSize: Int, identity: [UInt8]? = nil, regionBits: [UInt8],
        clock: MonotonicClock
    ) {
        self.init(
            store, type, blockSize, identity, ProtectionRegions(store, bits: regionBits), clock,
            (0..<Self.stripeCount).map { _ in Stripe() })
    }

    private init(
        _ store: any ByteStore, _ type: ProtectionType, _ blockSize: Int, _ identity: [UInt8]?,
        _ regions: ProtectionRegions, _ clock: MonotonicClock, _ stripes: [Stripe]
    ) {
        self.store = store
        self.type = type
        self.blockSize = blockSize
        self.identity = identity
        self.regions = regions
        self.clock = clock
        self.stripes = stripes
        groupBlocks = UInt64(Self.groupLength / blockSize)
    }

    /// The same file, with the same locks, as one of another type: all of its blocks have no protection information.
    func retyped(_ type: ProtectionType) -> ProtectionFile {
        ProtectionFile(
            store, type, blockSize, identity, ProtectionRegions(store, bits: ProtectionRegions.none), clock, stripes)
    }

    func takeForgottenBlocks() -> Int { forgottenBlocks.exchange(0, ordering: .relaxed) }

    static func offset(_ block: UInt64) -> Int64 { dataOffset + Int64(block) * Int64(ProtectionInformation.length) }

    /// How long the file is for so many blocks.
    static func length(_ blocks: UInt64) -> Int64 { offset(blocks) }

    /// Whether the file is shorter than so many blocks need.
    func isTruncated(_ blocks: UInt64) -> Bool {
        guard let length = try? store.size() else { return false }
        return length < Self.length(blocks)
    }

    // MARK: Groups

    /// Blocks whose protection information is worked on at a time.
    struct Group {
        let first: UInt64
        let count: Int
        /// How many blocks of the request come before.
        let index: UInt64
    }

    /// The blocks from `first` on of which `index` are done, as far as one lock goes.
    func group(_ first: UInt64, _ blocks: UInt64, after index: UInt64) -> Group {
        let block = first + index
        return Group(
            first: block, count: Int(min(blocks - index, groupBlocks - block % groupBlocks)), index: index)
    }

    func stripe(_ block: UInt64) -> Stripe { stripes[Int(block / groupBlocks % UInt64(Self.stripeCount))] }

    func region(_ block: UInt64) -> Int { ProtectionRegions.index(of: Int64(block) * Int64(blockSize)) }

    /// Calls `body` with all stripes locked.
    func exclusively(_ body: () -> Int32) -> Int32 { exclusively(from: 0, body) }

    /// One after another in their order, so that nobody waits in a circle.
    private func exclusively(from index: Int, _ body: () -> Int32) -> Int32 {
        guard index < stripes.count else { return body() }
        return stripes[index].scratch.withLock { _ in exclusively(from: index + 1, body) }
    }

    // MARK: Tags

    /// Reads the protection information of blocks into `scratch`; 0 or an error number.
    func readTags(_ scratch: inout Scratch, _ first: UInt64, _ count: Int) -> Int32 {
        let length = count * ProtectionInformation.length
        Self.make(&scratch.tags, length)
        let result = scratch.tags.modifyBytes { bytes in
            var part = bytes._mutatingExtracting(0..<length)
            return store.read(into: &part, offset: Self.offset(first), mode: .blocking)
        }
        return Self.code(result, length)
    }

    /// Writes the protection information of blocks from `scratch`; 0 or an error number.
    func writeTags(_ scratch: borrowing Scratch, _ first: UInt64, _ count: Int) -> Int32 {
        let length = count * ProtectionInformation.length
        return Self.code(
            store.write(scratch.tags.rawSpan.extracting(0..<length), offset: Self.offset(first)), length)
    }

    static func make(_ bytes: inout [UInt8], _ count: Int) {
        if bytes.count < count { bytes += [UInt8](repeating: 0, count: count - bytes.count) }
    }

    static func code(_ result: FileResult, _ count: Int) -> Int32 {
        switch result {
        case .done(count): 0
        case .done: MediaFailure.truncatedNumber
        case .failed(let code): code
        case .wouldBlock: Errno.wouldBlock
        }
    }

    // MARK: Ranges

    /// Takes the protection information of blocks away: nothing of them is checked until they are written.
    func reset(_ first: UInt64, _ blocks: UInt64) -> Int32 {
        let (offset, length) = (Self.offset(first), Int64(blocks) * Int64(ProtectionInformation.length))
        let code = store.punchHole(at: offset, length: length)
        return code == Errno.notSupported ? write([UInt8](repeating: 0, count: Self.pieceLength), offset, length) : code
    }

    private static let pieceLength = 65536

    /// Repeats `content` over a range; 0 or an error number.
    private func write(_ content: [UInt8], _ offset: Int64, _ length: Int64) -> Int32 {
        var done: Int64 = 0
        while done < length {
            let count = Int(min(Int64(content.count), length - done))
            let code = Self.code(
                store.write(content.rawSpan.extracting(0..<count), offset: offset + done), count)
            guard code == 0 else { return code }
            done += Int64(count)
        }
        return 0
    }

    /// Changes data and protection information of a range that is now zeros, or has no storage: first `tags` is called,
    /// then `data`; each gives 0 or an error number.
    func change(
        _ first: UInt64, _ blocks: UInt64, synchronizeOwn: () -> Int32, tags: () -> Int32, data: () -> Int32
    ) -> Int32 {
        withRegions(first, blocks, synchronizeOwn) {
            exclusively {
                let code = tags()
                guard code == 0 else { return code }
                let changed = data()
                // Nobody knows what the blocks are now.
                if changed != 0 { _ = reset(first, blocks) }
                return changed
            }
        }
    }

    /// Puts down what is made for blocks of zeros.
    func generateForZeros(_ first: UInt64, _ blocks: UInt64) -> Int32 {
        let zeros = [UInt8](repeating: 0, count: blockSize)
        let made = ProtectionInformation(generatedFor: zeros.rawSpan, type, logicalBlock: first)
        return writeRepeated(made, counts: type == .type1, first, blocks)
    }

    /// Puts the same down for each block, with reference tags that count.
    func writeRepeated(
        _ information: ProtectionInformation, counts: Bool, _ first: UInt64, _ blocks: UInt64
    ) -> Int32 {
        var content = [UInt8](repeating: 0, count: Self.pieceLength)
        var index: UInt64 = 0
        while index < blocks {
            let count = Int(min(blocks - index, UInt64(Self.pieceLength / ProtectionInformation.length)))
            content.modifyBytes { bytes in
                for entry in 0..<count {
                    var own = information
                    if counts { own.referenceTag &+= UInt32(truncatingIfNeeded: index + UInt64(entry)) }
                    bytes.storeBE64(~own.word, at: entry * ProtectionInformation.length)
                }
            }
            let length = Int64(count * ProtectionInformation.length)
            let code = write(content, Self.offset(first + index), length)
            guard code == 0 else { return code }
            index += UInt64(count)
        }
        return 0
    }

    /// Says that a range is written while `body` runs; 0, or the error number with which it does not, or of `body`.
    /// `synchronizeOwn` makes the file durable, and counts a failure as a loss.
    func withRegions(
        _ first: UInt64, _ blocks: UInt64, _ synchronizeOwn: () -> Int32, _ body: () -> Int32
    ) -> Int32 {
        guard blocks > 0 else { return body() }
        let size = Int64(blockSize)
        let begin = Int64(first) * size / ProtectionRegions.length
        let end = (Int64(first + blocks) * size - 1) / ProtectionRegions.length
        var begun = begin
        var code: Int32 = 0
        while begun <= end, code == 0 {
            code = regions.begin(Int(begun % Int64(ProtectionRegions.count)), synchronize: synchronizeOwn)
            if code == 0 { begun += 1 }
        }
        if code == 0 { code = body() }
        let now = clock.now.nanoseconds
        for region in begin..<begun { regions.end(Int(region % Int64(ProtectionRegions.count)), at: now) }
        return code
    }

    // MARK: Durability

    /// Makes everything durable by `body`, which does that for the data, and for the file itself; 0 or an error number.
    func synchronize(_ body: () -> Int32) -> Int32 {
        let rested = regions.resting(at: clock.now.nanoseconds)
        let code = body()
        guard code == 0 else { return code }
        let own = store.synchronizeData()
        if own == 0 { regions.settle(rested) }
        return own
    }

    /// Nothing is written any more; what was written to the regions `rested` is durable.
    func close(_ rested: [Int: Int64]) {
        regions.settle(rested)
        _ = store.synchronizeData()
    }

    /// Written data were lost, and that is acknowledged: memory may have had what the device has not.
    func forget() {
        regions.suspectAll()
        store.dropCache()
    }
}

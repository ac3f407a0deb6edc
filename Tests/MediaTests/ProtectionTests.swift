import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TestSupport
import Testing

@testable import Media

@Suite("Protection information beside an image")
struct ProtectionTests {
    private let folder: TemporaryFolder
    private let pool = BufferPool(limit: 8 << 20)
    private let engine = SimulatedEngine()

    init() throws {
        folder = try TemporaryFolder()
    }

    private var path: String { folder.file("disk.img") }

    private func create(_ type: ProtectionType = .type1, blocks: Int64 = 4096) throws -> RawDiskImage {
        try RawDiskImage.create(
            path: path, capacity: blocks * 512, blockSize: 512, protection: type, engine: engine)
    }

    private func open(_ type: ProtectionType? = .type1) throws -> RawDiskImage {
        try RawDiskImage.open(path: path, blockSize: 512, protection: type, engine: engine)
    }

    /// Blocks with protection information behind each.
    private func interleaved(_ first: UInt64, _ count: Int, _ fill: UInt8, tag: UInt16 = 7) -> [UInt8] {
        (0..<count).flatMap { index -> [UInt8] in
            var bytes = [UInt8](repeating: fill, count: 512)
            let information = ProtectionInformation(
                blockGuard: CRC16T10.checksum(bytes.rawSpan), applicationTag: tag,
                referenceTag: UInt32(first) + UInt32(index))
            bytes.appendBE64(information.word)
            return bytes
        }
    }

    @discardableResult
    private func write(_ image: RawDiskImage, _ first: UInt64, _ bytes: [UInt8]) throws -> MediaResult {
        let runner = RequestRunner()
        runner.request.payload.lease = try pool.required(bytes)
        image.beginWriting(runner.request)
        runner.run(in: image.lane) {
            image.prepareWrite(
                $0, at: 0, first: first, blocks: UInt64(bytes.count / 520), ProtectionTransfer(.lease))
        }
        runner.request.payload.lease = nil
        return image.outcome(of: runner.request)
    }

    private func read(
        _ image: RawDiskImage, _ first: UInt64, _ count: Int, _ checks: ProtectionChecks = .all
    ) throws -> (bytes: [UInt8], result: MediaResult, failure: ProtectionFailure?) {
        let runner = RequestRunner()
        runner.request.payload.lease = pool.lease(capacity: count * 520)
        runner.run(in: image.lane) {
            image.prepareRead(
                $0, at: 0, first: first, blocks: UInt64(count),
                ProtectionTransfer(
                    .lease, checks: checks, expected: ExpectedTags(referenceTag: UInt32(first))))
        }
        let bytes = runner.request.payload.lease.take()?.copyToArray() ?? []
        return (bytes, image.outcome(of: runner.request), image.protectionFailure(of: runner.request))
    }

    private let none = [UInt8](repeating: 0, count: 512) + [UInt8](repeating: 0xFF, count: 8)

    /// Changes a byte of a file.
    private func spoil(_ name: String, at offset: Int64) throws {
        let file = try File.open(path: folder.file(name), .readWrite)
        var byte: [UInt8] = [0]
        _ = byte.modifyBytes { file.read(into: &$0, fileOffset: offset) }
        byte[0] ^= 0x40
        #expect(file.write(byte.rawSpan, fileOffset: offset) == .done(1))
    }

    /// Has an image for `body`, and then lets go of it, so that it can be opened again.
    private func use(
        _ image: @autoclosure () throws -> RawDiskImage, closes: Bool = true, _ body: (RawDiskImage) throws -> Void
    ) throws {
        let image = try image()
        try body(image)
        if closes { #expect(image.close() == nil) }
    }

    @Test("It is kept over restarts; a hole is none")
    func restart() throws {
        let bytes = interleaved(510, 4, 3)
        try use(create()) { (image) throws in
            #expect(try write(image, 510, bytes) == .done)
            #expect(image.maximumAtomicLength == 0)
        }
        try use(open()) { (image) throws in
            #expect(try read(image, 509, 6).bytes == none + bytes + none)
            #expect(image.protection == .type1)
            let runner = RequestRunner()
            image.beginWriting(runner.request)
            runner.run(in: image.lane) { image.prepareDeallocate($0, first: 511, blocks: 2) }
            #expect(try read(image, 510, 4).bytes == bytes.prefix(520) + none + none + bytes.suffix(520))
            try image.resize(to: 5000 * 512)
            #expect(try write(image, 4990, interleaved(4990, 2, 9)) == .done)
        }
        try use(open()) { (image) throws in
            #expect(try read(image, 4989, 3).bytes == none + interleaved(4990, 2, 9))
        }
    }

    @Test("Data that do not fit it are found, and which block they are in")
    func corruption() throws {
        try use(create()) { (image) throws in
            #expect(try write(image, 8, interleaved(8, 8, 1)) == .done)
        }
        try spoil("disk.img", at: 11 * 512 + 5)
        try use(open()) { (image) throws in
            let found = try read(image, 8, 8)
            #expect(found.result == .failed(.protection))
            #expect(found.failure == ProtectionFailure(.blockGuard, block: 11))
            #expect(try read(image, 8, 8, []).result == .done)
            #expect(try read(image, 12, 4).result == .done)
            // Plain reads check as well.
            let runner = RequestRunner()
            runner.request.payload.lease = pool.lease(capacity: 4096)
            runner.run(in: image.lane) { image.prepareRead($0, at: 0, first: 8, blocks: 8) }
            #expect(image.outcome(of: runner.request) == .failed(.protection))
        }
    }

    @Test("After an unclean end, blocks that were being written have none where it does not fit")
    func unclean() throws {
        try use(create()) { (image) throws in
            #expect(try write(image, 8, interleaved(8, 4, 1)) == .done)
        }
        try use(open(), closes: false) { (image) throws in
            #expect(try write(image, 9, interleaved(9, 1, 2)) == .done)
        }
        // The host went down: of the last write only the data, or only the rest, are there.
        try spoil("disk.img", at: 9 * 512)
        try use(open()) { (image) throws in
            let told = Lock<[Int]>([])
            image.observeForgottenProtection { count in told.withLock { $0.append(count) } }
            #expect(told.withLock { $0 } == [1])
            let found = try read(image, 8, 4)
            #expect(found.result == .done)
            #expect(Array(found.bytes[520 + 512..<1040]) == [UInt8](repeating: 0xFF, count: 8))
            #expect(Array(found.bytes.prefix(520)) == interleaved(8, 1, 1))
        }
        // It was looked through: what does not fit now is an error.
        try spoil("disk.img", at: 8 * 512)
        try use(open()) { (image) throws in #expect(try read(image, 8, 1).result == .failed(.protection)) }
    }

    @Test("A file that is missing, another one, of another type, or cut is refused")
    func files() throws {
        try use(create()) { _ in }
        func reason(_ type: ProtectionType = .type1) -> String? {
            do throws(DiskImageError) {
                _ = try RawDiskImage.open(path: path, blockSize: 512, protection: type, engine: engine)
                return nil
            } catch {
                guard case .protection(_, let reason) = error else { return error.description }
                return reason
            }
        }
        #expect(reason() == nil)
        #expect(reason(.type2)?.contains("another type") == true)
        let whole = try folder.read("disk.img.pi")
        #expect(try RawDiskImage.protection(ofImage: path)?.type == .type1)
        for length in [0, 31, 5000, whole.count - 1] {
            try folder.write(Array(whole.prefix(length)), to: "disk.img.pi")
            #expect(reason() != nil, "\(length)")
        }
        for byte in 0..<48 {
            var wrong = whole
            wrong[byte] ^= 1
            try folder.write(wrong, to: "disk.img.pi")
            #expect(reason() != nil, "\(byte)")
        }
        for wrong in [[], Array(whole.prefix(31)), Array(whole.dropLast()), [UInt8](repeating: 0, count: 64)] {
            try folder.write(wrong, to: "disk.img.pi")
            #expect(throws: DiskImageError.self) { _ = try RawDiskImage.protection(ofImage: path) }
        }
        try folder.write([1, 2, 3], to: "disk.img.pi")
        try RawDiskImage.removeProtection(ofImage: path)
        #expect(try folder.names.contains("disk.img.pi"), "what is another's stays")
        try folder.write(whole, to: "disk.img.pi")
        #expect(reason() == nil)
        try RawDiskImage.removeProtection(ofImage: path)
        try RawDiskImage.removeProtection(ofImage: path)
        #expect(try folder.names == ["disk.img"] && reason()?.hasPrefix("is missing; ") == true)
        #expect(try RawDiskImage.protection(ofImage: path)?.type == nil)
    }

    // MARK: Simulated hosts

    private func image(_ data: SimulatedStore, _ tags: SimulatedStore) -> RawDiskImage {
        let bits = Array(tags.content[4096..<8192])
        let image = RawDiskImage(
            store: data, engine: engine, path: "simulated", blockSize: 512, capacity: Int64(data.content.count),
            protection: ProtectionFile(tags, type: .type1, blockSize: 512, regionBits: bits, clock: .system))
        image.startRecovery()
        return image
    }

    @Test("A full host ends a write without protection information that does not fit")
    func full() throws {
        for call in 1...6 {
            for failsTags in [false, true] {
                let (data, tags) = (
                    SimulatedStore([UInt8](repeating: 0, count: 64 * 512)),
                    SimulatedStore([UInt8](repeating: 0, count: 8192 + 64 * 8))
                )
                let image = image(data, tags)
                #expect(try write(image, 4, interleaved(4, 8, 1)) == .done)
                (failsTags ? tags : data).fail(at: call, errorNumber: Errno.noSpace, fromThenOn: false)
                let result = try write(image, 6, interleaved(6, 4, 2))
                let hasFailed = (failsTags ? tags : data).hasFailed
                #expect(hasFailed ? result == .failed(.hostFull) : result == .done)
                (failsTags ? tags : data).stopFailing()
                #expect(try read(image, 4, 8).result == .done, "call \(call)")
            }
        }
    }

    @Test("A host that cannot make it durable has lost data; what is written meanwhile is suspect afterwards")
    func loss() throws {
        let (data, tags) = (
            SimulatedStore([UInt8](repeating: 0, count: 64 * 512)),
            SimulatedStore([UInt8](repeating: 0, count: 8192 + 64 * 8))
        )
        let image = image(data, tags)
        tags.failSynchronizations(Errno.inputOutput)
        // The bit of the region.
        #expect(try write(image, 4, interleaved(4, 2, 1)) == .failed(.device(Errno.inputOutput)))
        #expect(image.loss == .device(Errno.inputOutput))
        tags.stopFailing()
        #expect(try write(image, 4, interleaved(4, 2, 1)) != .done)
        #expect(image.acknowledgeLoss() == nil)
        #expect(try write(image, 4, interleaved(4, 2, 1)) == .done)
        tags.failSynchronizations(Errno.inputOutput)
        #expect(image.synchronize() == .device(Errno.inputOutput))
        tags.stopFailing()
        let told = Lock<[Int]>([])
        // The host has the old data of one block.
        #expect(data.write([UInt8](repeating: 0, count: 512).rawSpan, offset: 5 * 512) == .done(512))
        #expect(image.acknowledgeLoss() == nil)
        // It is looked through at once, and whoever asks later is told too.
        image.observeForgottenProtection { count in told.withLock { $0.append(count) } }
        #expect(told.withLock { $0 } == [1])
        let found = try read(image, 4, 2)
        #expect(found.result == .done && Array(found.bytes.suffix(520)) == none)
        // From then on what does not fit is an error.
        #expect(data.write([UInt8](repeating: 0, count: 512).rawSpan, offset: 4 * 512) == .done(512))
        #expect(try read(image, 4, 2).result == .failed(.protection))
    }

    @Test("An acknowledgement rewrites the head of the file only where it is not whole")
    func head() throws {
        let identity = ProtectionHeader.newIdentity()
        func header(_ blocks: UInt64) -> [UInt8] {
            ProtectionHeader(.type1, blockSize: 512, blocks: blocks, identity: identity).encoded
        }
        for (name, content, blocks, writes) in [
            ("whole", header(64), 64, 0), ("of more blocks", header(65), 65, 0), ("cut", [], 64, 1),
            ("of fewer blocks", header(63), 64, 1), ("of more blocks than there are", header(66), 64, 1),
        ] as [(String, [UInt8], UInt64, Int)] {
            let tags = SimulatedStore(
                content + [UInt8](repeating: 0, count: Int(ProtectionFile.length(65)) - content.count))
            let file = ProtectionFile(
                tags, type: .type1, blockSize: 512, identity: identity, regionBits: ProtectionRegions.none,
                clock: .system)
            let before = tags.callCount
            #expect(file.restore(64) == 0, "\(name)")
            // And one synchronisation.
            #expect(tags.callCount - before == writes + 1, "\(name)")
            #expect(Array(tags.content.prefix(48)) == header(blocks), "\(name)")
        }
        // Bits that are not what memory has.
        let tags = SimulatedStore(header(64) + [UInt8](repeating: 0, count: Int(ProtectionFile.length(64)) - 48))
        var bits = ProtectionRegions.none
        bits[7] = 1
        let file = ProtectionFile(
            tags, type: .type1, blockSize: 512, identity: identity, regionBits: bits, clock: .system)
        #expect(file.restore(64) == 0 && tags.durable[4096 + 7] == 1)
    }

    @Test("A region's bit is durable before the first write, and goes when it has rested")
    func regions() {
        let store = SimulatedStore([UInt8](repeating: 0, count: 8192))
        let regions = ProtectionRegions(store, bits: [UInt8](repeating: 0, count: 4096))
        var synchronizations = 0
        func begin(_ region: Int) -> Int32 {
            regions.begin(region) {
                synchronizations += 1
                return store.synchronizeData()
            }
        }
        #expect(begin(9) == 0 && begin(9) == 0 && begin(32767) == 0)
        #expect(synchronizations == 2)
        #expect(store.durable[4096 + 1] == 0x02 && store.durable[8191] == 0x80)
        regions.end(9, at: 5)
        regions.end(32767, at: 5)
        // One writer is still there.
        #expect(Set(regions.resting(at: 105, for: 100).keys) == [32767])
        let rested = regions.resting(at: 105, for: 100)
        #expect(regions.resting(at: 104, for: 100).isEmpty)
        // It is written again before the synchronisation ends.
        #expect(begin(32767) == 0)
        regions.end(32767, at: 106)
        regions.settle(rested)
        #expect(store.content[8191] == 0x80)
        regions.end(9, at: 200)
        regions.settle(regions.resting(at: 400, for: 100))
        #expect(store.content[4096...].allSatisfy { $0 == 0 })
        #expect(begin(9) == 0 && synchronizations == 3)
        // What cannot be made durable is not written.
        store.failSynchronizations(Errno.inputOutput)
        #expect(begin(10) == Errno.inputOutput)
        store.stopFailing()
        #expect(begin(10) == 0 && synchronizations == 5)
        // An opening finds what was not taken back.
        let again = ProtectionRegions(store, bits: Array(store.durable[4096...]))
        #expect(again.suspects == [9, 10] && again.isSuspect(9) && !again.isSuspect(11))
        again.clear([9, 10])
        #expect(!again.hasSuspects && store.content[4096...].allSatisfy { $0 == 0 })
        #expect(ProtectionRegions.index(of: ProtectionRegions.length * 32768 + 5) == 0)
    }

    @Test("After any crash all blocks fit, and those that were durable have what was written", arguments: 0..<60)
    func crashes(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let count = 40
        var data = SimulatedStore([UInt8](repeating: 0, count: count * 512))
        var tags = SimulatedStore([UInt8](repeating: 0, count: 8192 + count * 8))
        /// What each block may be, the bytes with protection information; one when that is durable.
        var allowed = [[[UInt8]]](repeating: [none], count: count)
        for _ in 0..<4 {
            let image = image(data, tags)
            for block in 0..<count {
                let found = try read(image, UInt64(block), 1)
                #expect(found.result == .done)
                let isUnchecked = found.bytes.suffix(8) == none.suffix(8)
                if allowed[block].count == 1 {
                    #expect(found.bytes == allowed[block][0], "block \(block) of seed \(seed)")
                } else {
                    #expect(isUnchecked || allowed[block].contains(found.bytes))
                }
                allowed[block] = [found.bytes]
            }
            for step in 0..<Int.random(in: 1...12, using: &random) {
                if Int.random(in: 0..<4, using: &random) == 0 {
                    #expect(image.synchronize() == nil)
                    allowed = allowed.map { [$0[$0.count - 1]] }
                    continue
                }
                let first = Int.random(in: 0..<count, using: &random)
                let length = Int.random(in: 1...min(8, count - first), using: &random)
                let bytes = interleaved(
                    UInt64(first), length, UInt8(step + 1), tag: UInt16.random(in: 0..<0xFFFF, using: &random))
                #expect(try write(image, UInt64(first), bytes) == .done)
                for index in 0..<length {
                    allowed[first + index].append(Array(bytes[index * 520..<(index + 1) * 520]))
                }
            }
            data = data.afterCrash(using: &random)
            tags = tags.afterCrash(using: &random)
        }
    }
}

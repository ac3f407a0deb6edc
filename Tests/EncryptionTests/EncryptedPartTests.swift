import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Encryption

@Suite("Parts of sectors in the file of an encrypted image")
struct EncryptedPartTests {
    private static let sector = 4096
    private static let granule = 512
    /// Three sectors that are not the first ones.
    private static let start: Int64 = 5 * 4096
    private static let length = 3 * sector
    private static let zeros = [UInt8](repeating: 0, count: length)
    /// No 16 bytes of it are the same.
    private static let content = (0..<length).map { UInt8(truncatingIfNeeded: $0 >> 4 &* 31 ^ $0 &* 7 ^ $0 >> 9) }
    /// All granules at which something begins or ends.
    private static let places = Array(stride(from: 0, through: length, by: granule))

    private let cipher: SectorCipher
    private let below = SimulatedStore([UInt8](repeating: 0, count: Int(start) + length))
    private let store: EncryptedStore

    init() throws {
        cipher = try SectorCipher(try .random(), sectorSize: Self.sector)
        store = EncryptedStore(below, cipher, granule: Self.granule)
    }

    /// What is stored of `content` when it is written as whole sectors.
    private func whole() throws -> [UInt8] {
        try #require(cipher.encrypted(Self.content, first: UInt64(Self.start) / UInt64(Self.sector)))
    }

    private var stored: [UInt8] { Array(below.content[Int(Self.start)...]) }

    private func write(_ range: Range<Int>, of content: [UInt8] = Self.content) -> FileResult {
        store.write(content.rawSpan.extracting(range), offset: Self.start + Int64(range.lowerBound))
    }

    private func read(_ range: Range<Int>) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0xEE, count: range.count)
        let result = bytes.modifyBytes {
            store.read(into: &$0, offset: Self.start + Int64(range.lowerBound), mode: .cached)
        }
        return result == .done(range.count) ? bytes : nil
    }

    /// `content` where `range` is, and else `other`.
    private func mixed(_ range: Range<Int>, of content: [UInt8], else other: [UInt8]) -> [UInt8] {
        var bytes = other
        bytes.replaceSubrange(range, with: content[range])
        return bytes
    }

    private func forEachRange(_ body: (Range<Int>) throws -> Void) rethrows {
        for start in Self.places { for end in Self.places where end > start { try body(start..<end) } }
    }

    @Test("What is stored of a part is what is stored of it with all the rest; in a hole nothing else is")
    func ciphertext() throws {
        let whole = try whole()
        try forEachRange { range in
            #expect(write(range) == .done(range.count))
            try #require(stored == mixed(range, of: whole, else: Self.zeros), "\(range)")
            try #require(
                store.encrypted(Array(Self.content[range]), at: Self.start + Int64(range.lowerBound))
                    == Array(whole[range]), "\(range)")
            // The rest of a sector that has something reads as zeros.
            try #require(read(0..<Self.length) == mixed(range, of: Self.content, else: Self.zeros), "\(range)")
            #expect(store.punchHole(at: Self.start, length: Int64(Self.length)) == 0)
        }
        #expect(write(0..<Self.length) == .done(Self.length))
        #expect(stored == whole)
    }

    @Test("Each part of what was written is read, into a lease too")
    func reads() throws {
        #expect(write(0..<Self.length) == .done(Self.length))
        let pool = BufferPool(limit: 1 << 20)
        guard var lease = pool.lease(capacity: 2 * Self.length) else { return }
        try forEachRange { range in
            try #require(read(range) == Array(Self.content[range]), "\(range)")
            var nothing = MutableRawSpan()
            let result = store.read(
                header: &nothing, into: &lease, at: 100, count: range.count,
                offset: Self.start + Int64(range.lowerBound), mode: .blocking)
            #expect(result == .done(range.count))
            let found = Array(lease.copyToArray()[100..<100 + range.count])
            try #require(found == Array(Self.content[range]), "\(range)")
        }
    }

    @Test("A part that is overwritten leaves the rest, without a read")
    func overwriting() throws {
        let other = Self.content.map { ~$0 }
        below.isCached = false
        try forEachRange { range in
            #expect(write(0..<Self.length) == .done(Self.length))
            let result = store.writeCached(
                other.rawSpan.extracting(range), offset: Self.start + Int64(range.lowerBound))
            try #require(result == .done(range.count), "\(range)")
            below.isCached = true
            try #require(read(0..<Self.length) == mixed(range, of: other, else: Self.content), "\(range)")
            below.isCached = false
        }
    }

    @Test("Granules whose stored bytes are zero read as zeros, whichever of a sector they are")
    func holes() throws {
        for mask in 0..<256 {
            #expect(write(0..<Self.length) == .done(Self.length))
            var wanted = Self.content
            for index in 0..<8 where mask >> index & 1 == 1 {
                // In the second sector.
                let place = Self.sector + index * Self.granule
                let offset = Self.start + Int64(place)
                #expect(
                    (index % 2 == 0 ? store.punchHole : store.zeroRange)(offset, Int64(Self.granule)) == 0)
                wanted.replaceSubrange(place..<place + Self.granule, with: Self.zeros.prefix(Self.granule))
            }
            try #require(read(0..<Self.length) == wanted, "\(mask)")
            for range in [512..<8192 + 512, 4096 + 512..<8192 - 512, 4096..<8192 - 1024, 4096 + 1024..<8192] {
                try #require(read(range) == Array(wanted[range]), "\(mask), \(range)")
            }
        }
    }

    @Test("Zeros that are written are stored as anything else")
    func writtenZeros() throws {
        #expect(write(512..<1536, of: Self.zeros) == .done(1024))
        #expect(cipherBlocks(Array(stored[512..<1536])).count == 64)
        #expect(stored[..<512].allSatisfy { $0 == 0 } && stored[1536...].allSatisfy { $0 == 0 })
        #expect(read(0..<Self.length) == Self.zeros)
    }

    @Test("While content is hidden parts read as zeros too")
    func hidden() throws {
        #expect(write(0..<Self.length) == .done(Self.length))
        store.replaceKey(by: try .random())
        #expect(read(512..<5120) == Array(Self.zeros.prefix(4608)))
        store.showContent()
        let noise = try #require(read(512..<5120))
        #expect(noise != Array(Self.content[512..<5120]))
        #expect(write(512..<5120) == .done(4608))
        #expect(read(512..<5120) == Array(Self.content[512..<5120]))
    }

    @Test("A file that ends early gives the whole granules that it has")
    func truncation() throws {
        #expect(write(0..<Self.length) == .done(Self.length))
        #expect(below.truncate(to: Self.start + 4096 + 1300) == 0)
        for first in [0, 512] {
            var bytes = [UInt8](repeating: 0xEE, count: Self.length - first)
            let result = bytes.modifyBytes {
                store.read(into: &$0, offset: Self.start + Int64(first), mode: .blocking)
            }
            #expect(result == .done(4096 + 1300 - first))
            #expect(Array(bytes.prefix(4096 + 1024 - first)) == Array(Self.content[first..<4096 + 1024]))
        }
    }

    @Test("Of a long write only the first piece begins inside of a sector")
    func pieces() throws {
        let count = 3 * SectorCipher.scratchLength + 1536
        let content = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 16 ^ $0 >> 12) }
        for (offset, calls) in [(0, 4), (512, 4), (3584, 4), (3072, 4)] {
            let below = SimulatedStore([UInt8](repeating: 0, count: 4096 + count))
            let store = EncryptedStore(below, cipher, granule: Self.granule)
            below.fail(at: 1000, errorNumber: Errno.inputOutput, fromThenOn: false)
            #expect(store.write(content.rawSpan, offset: Int64(offset)) == .done(count))
            #expect(below.callCount == calls)
            var bytes = [UInt8](repeating: 0, count: count)
            let result = bytes.modifyBytes { store.read(into: &$0, offset: Int64(offset), mode: .blocking) }
            #expect(result == .done(count) && bytes == content)
            // The second one ends, or begins, with a sector.
            below.fail(at: 2, errorNumber: Errno.noSpace, fromThenOn: false)
            #expect(store.write(content.rawSpan, offset: Int64(offset)) == .failed(Errno.noSpace))
        }
    }

    @Test("Parts of granules are refused, and so are parts of sectors where there are no granules")
    func refusals() throws {
        let refusal = FileResult.failed(Errno.invalidArgument)
        let sectors = EncryptedStore(below, cipher)
        #expect(store.granule == 512 && sectors.granule == 4096)
        let content = Self.content.rawSpan
        for (filter, offset, count) in [
            (store, 0, 100), (store, 0, 256), (store, 0, 4096 + 16), (store, 16, 512), (store, 256, 4096),
            (store, -512, 512), (sectors, 0, 512), (sectors, 512, 4096), (sectors, 4096, 4096 + 512),
        ] as [(EncryptedStore, Int64, Int)] {
            #expect(filter.write(content.extracting(0..<count), offset: offset) == refusal)
            #expect(filter.writeCached(content.extracting(0..<count), offset: offset) == refusal)
            var bytes = [UInt8](repeating: 0, count: count)
            let result = bytes.modifyBytes { filter.read(into: &$0, offset: offset, mode: .blocking) }
            #expect(result == refusal)
            #expect(filter.encrypted(bytes, at: offset) == nil)
            #expect(filter.punchHole(at: offset, length: Int64(count)) == Errno.invalidArgument)
            #expect(filter.zeroRange(at: offset, length: Int64(count)) == Errno.invalidArgument)
            #expect(filter.reserve(at: offset, length: Int64(count)) == Errno.invalidArgument)
        }
        #expect(store.reserve(at: 512, length: 1024) == 0)
        #expect(below.content.allSatisfy { $0 == 0 })
    }

    @Test("Threads that write and read parts of the same sectors do not meet")
    func threads() throws {
        let (store, below) = (store, below)
        let failures = Lock(0)
        let threads = try (0..<4).map { index in
            try PlatformThread.start(name: "parts") {
                let places = Self.places.dropLast().filter { $0 / Self.granule % 4 == index }
                for round in 0..<100 {
                    for place in places {
                        let content = [UInt8](repeating: UInt8(truncatingIfNeeded: round + index), count: Self.granule)
                        var found = content
                        let offset = Self.start + Int64(place)
                        let isWritten = store.write(content.rawSpan, offset: offset) == .done(content.count)
                        let result = found.modifyBytes { store.read(into: &$0, offset: offset, mode: .blocking) }
                        if !isWritten || result != .done(content.count) || found != content {
                            failures.withLock { $0 += 1 }
                        }
                    }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(failures.withLock { $0 } == 0 && below.content.count == Int(Self.start) + Self.length)
    }
}

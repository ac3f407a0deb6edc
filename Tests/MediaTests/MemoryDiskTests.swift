import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Disks in memory")
struct MemoryDiskTests {
    private let engine = SimulatedEngine()

    private func make(_ capacity: Int64 = 1 << 20, blockSize: Int = 512) throws -> RawDiskImage {
        try RawDiskImage.createInMemory(name: "memory", capacity: capacity, blockSize: blockSize, engine: engine)
    }

    private func read(_ image: RawDiskImage, _ first: UInt64, _ blocks: UInt64) -> [UInt8]? {
        let pool = BufferPool(limit: 1 << 20)
        guard var lease = pool.lease(capacity: Int(blocks) * image.blockSize),
            image.readCached(into: &lease, first: first, blocks: blocks) == .done
        else { return nil }
        return lease.copyToArray()
    }

    @Test(
        "It reads as zeros and keeps what is written, takes memory for that only, and gives it back",
        arguments: [512, 4096])
    func content(blockSize: Int) throws {
        let image = try make(64 << 20, blockSize: blockSize)
        #expect(image.capacity == 64 << 20 && image.allocatedBytes == 0 && !image.isEncrypted)
        #expect(read(image, 100, 8) == [UInt8](repeating: 0, count: 8 * blockSize))
        let content = [UInt8](repeating: 7, count: 64 << 10)
        #expect(image.fill(first: 8, with: content) == nil && image.synchronize() == nil)
        #expect(read(image, 8, UInt64(content.count / blockSize)) == content)
        #expect(try #require(image.allocatedBytes) >= 64 << 10)
        let found = image.nextContent(from: 0)
        #expect(found?.contains(Int64(8 * blockSize)) == true)
        #expect(image.erase(first: 0, blocks: image.maximumDeallocation) == nil)
        #expect(image.allocatedBytes == 0 && image.nextContent(from: 0) == nil)
        #expect(read(image, 8, 1) == [UInt8](repeating: 0, count: blockSize))
        try image.resize(to: 128 << 20)
        #expect(image.fill(first: image.blockCount - 1, with: [UInt8](repeating: 9, count: blockSize)) == nil)
        #expect(read(image, image.blockCount - 1, 1) == [UInt8](repeating: 9, count: blockSize))
        #expect(image.close() == nil)
    }

    @Test("Operations and marks are kept as long as it is there; there is no atomic write, and no way past memory")
    func notes() throws {
        let image = try make()
        #expect(image.keep(operation: [1, 2], insteadOf: nil) == nil)
        #expect(image.keep(operation: nil, insteadOf: [1, 2]) == nil)
        let runner = RequestRunner()
        image.beginWriting(runner.request)
        runner.run(in: image.lane) { image.prepareMarking($0, first: 5) }
        #expect(image.outcome(of: runner.request) == .done && image.isMarked(5))
        #expect(image.removeMarks() == nil && !image.hasMarks)
        #expect(image.maximumAtomicLength == 0 && image.keyIdentity == nil && image.protection == nil)
        #expect(throws: DiskImageError.notDirect(path: "memory")) { try image.setDirect(true) }
    }

    @Test("What is no place in memory, or no length of a disk, is refused")
    func refusals() throws {
        #expect(throws: DiskImageError.self) { try make(1000) }
        #expect(throws: DiskImageError.self) { try make(blockSize: 100) }
        #expect(throws: DiskImageError.self) {
            try RawDiskImage.createInMemory(
                name: "memory", capacity: 1 << 20, blockSize: 512, engine: engine, folder: "/no such folder")
        }
        #expect(throws: DiskImageError.self) {
            try RawDiskImage.createInMemory(
                name: "memory", capacity: 1 << 20, blockSize: 512, engine: engine, folder: "/proc")
        }
    }

    @Test("A write changes its status")
    func status() throws {
        let image = try make()
        let before = try #require(image.memoryStatus)
        sleepMilliseconds(20)
        #expect(image.fill(first: 0, with: [UInt8](repeating: 1, count: 512)) == nil)
        #expect(image.memoryStatus != before)
    }
}

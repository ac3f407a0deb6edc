import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Raw disk image")
struct RawDiskImageTests {
    let folder: TemporaryFolder
    let pool = BufferPool(limit: 8 << 20)

    init() throws {
        folder = try TemporaryFolder()
    }

    private func read(_ image: RawDiskImage, _ offset: Int64, _ count: Int, _ mode: ReadMode = .blocking) throws
        -> [UInt8]?
    {
        var lease = try pool.required(max(1, count))
        guard image.read(into: &lease, at: 0, count: count, offset: offset, mode: mode) == .done else { return nil }
        return lease.bytes.copyToArray()
    }

    @Test("What was written is read, around it are zeros, and it is there after reopening", arguments: [512, 4096])
    func contents(blockSize: Int) throws {
        let path = folder.file("disk")
        let data = [UInt8]((0..<blockSize).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        do {
            let image = try RawDiskImage.create(path: path, capacity: 1 << 20, blockSize: blockSize)
            #expect(image.blockCount == UInt64(1 << 20) / UInt64(blockSize))
            let lease = try pool.required([0, 0, 0] + data)
            #expect(image.write(from: lease, at: 3, count: blockSize, offset: Int64(blockSize)) == .done)
            #expect(image.synchronize() == nil)
            #expect(try read(image, Int64(blockSize), blockSize, .cached) == data)
        }
        let image = try RawDiskImage.open(path: path, blockSize: blockSize, expectedCapacity: 1 << 20)
        #expect(try read(image, 0, blockSize) == [UInt8](repeating: 0, count: blockSize))
        #expect(try read(image, Int64(blockSize), blockSize) == data)
        #expect(try read(image, 1 << 20, 0) == [])
    }

    @Test("Images that cannot be used are refused with one sentence")
    func refusals() throws {
        let path = folder.file("disk")
        #expect(throws: DiskImageError.missing(path: path)) { try RawDiskImage.open(path: path, blockSize: 512) }
        try folder.write([UInt8](repeating: 0, count: 1000), to: "disk")
        let mismatch = DiskImageError.lengthMismatch(path: path, length: 1000, blockSize: 512)
        #expect(throws: mismatch) { try RawDiskImage.open(path: path, blockSize: 512) }
        #expect(mismatch.description == "image \(path) is 1000 bytes long, not a multiple of 512")
        #expect(throws: DiskImageError.exists(path: path)) {
            try RawDiskImage.create(path: path, capacity: 4096, blockSize: 512)
        }
        #expect(try folder.read("disk").count == 1000)
        try folder.write([], to: "disk")
        #expect(throws: DiskImageError.lengthMismatch(path: path, length: 0, blockSize: 512)) {
            try RawDiskImage.open(path: path, blockSize: 512)
        }
        try folder.write([UInt8](repeating: 0, count: 4096), to: "disk")
        #expect(throws: DiskImageError.capacityMismatch(path: path, length: 4096, expected: 8192)) {
            try RawDiskImage.open(path: path, blockSize: 512, expectedCapacity: 8192)
        }
        let image = try RawDiskImage.open(path: path, blockSize: 512)
        #expect(throws: DiskImageError.inUse(path: path)) { try RawDiskImage.open(path: path, blockSize: 512) }
        #expect(image.capacity == 4096)
        let nowhere = folder.file("nowhere/disk")
        #expect(throws: DiskImageError.missing(path: nowhere)) {
            try RawDiskImage.create(path: nowhere, capacity: 4096, blockSize: 512)
        }
    }

    @Test("A file that becomes shorter gives an error, never zeros")
    func truncated() throws {
        let path = folder.file("disk")
        let image = try RawDiskImage.create(path: path, capacity: 8192, blockSize: 512)
        let other = try File.open(path: path, .readWrite)
        #expect(other.truncate(to: 4352) == 0)
        var lease = try pool.required(4096)
        // The page cache may not know the page any more; but it never makes up zeros.
        #expect(image.read(into: &lease, at: 0, count: 512, offset: 4096, mode: .cached) != .done)
        #expect(
            image.read(into: &lease, at: 0, count: 512, offset: 4096, mode: .blocking) == .failed(.truncated))
        #expect(image.read(into: &lease, at: 0, count: 512, offset: 3584, mode: .blocking) == .done)
    }

    @Test("Unmapped blocks read as zeros and take no storage; their neighbours stay")
    func provisioning() throws {
        let image = try RawDiskImage.create(path: folder.file("disk"), capacity: 1 << 20, blockSize: 512)
        #expect(image.provisioning(at: 0) == .init(isMapped: false, end: 1 << 20))
        var lease = try pool.required(65536)
        lease.extendWithZeros(to: 0)
        lease.assign([UInt8](repeating: 7, count: 65536))
        #expect(image.write(from: lease, at: 0, count: 65536, offset: 65536) == .done)
        #expect(image.synchronize() == nil)
        #expect(image.provisioning(at: 0) == .init(isMapped: false, end: 65536))
        #expect(image.provisioning(at: 65536) == .init(isMapped: true, end: 131_072))
        #expect(image.unmap(at: 65536 + 512, length: 32768) == nil)
        #expect(try read(image, 65536, 512) == [UInt8](repeating: 7, count: 512))
        #expect(try read(image, 65536 + 512, 512) == [UInt8](repeating: 0, count: 512))
        #expect(try read(image, 65536 + 512 + 32768, 512) == [UInt8](repeating: 7, count: 512))
        #expect(image.writeZeros(at: 65536, length: 65536) == nil)
        #expect(try read(image, 131_072 - 512, 512) == [UInt8](repeating: 0, count: 512))
        #expect(image.capacity == 1 << 20)
    }

    @Test("A disk grows with zeros, and what is cut off is gone")
    func resize() throws {
        let path = folder.file("disk")
        let image = try RawDiskImage.create(path: path, capacity: 4096, blockSize: 512)
        let lease = try pool.required([UInt8](repeating: 9, count: 4096))
        #expect(image.write(from: lease, at: 0, count: 4096, offset: 0) == .done)
        try image.resize(to: 1024)
        #expect(image.blockCount == 2)
        try image.resize(to: 8192)
        #expect(try read(image, 512, 1024) == [UInt8](repeating: 9, count: 512) + [UInt8](repeating: 0, count: 512))
        #expect(throws: DiskImageError.lengthMismatch(path: path, length: 1000, blockSize: 512)) {
            try image.resize(to: 1000)
        }
        #expect(image.capacity == 8192)
    }

    @Test("A full host is told apart from a broken device")
    func failures() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 4096))
        let image = RawDiskImage(store: store, file: nil, path: "test", blockSize: 512, capacity: 4096)
        let lease = try pool.required([UInt8](repeating: 1, count: 512))
        store.fail(at: 1, errorNumber: Errno.noSpace, fromThenOn: true)
        #expect(image.write(from: lease, at: 0, count: 512, offset: 0) == .failed(.hostFull))
        #expect(image.unmap(at: 0, length: 512) == .hostFull)
        store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: true)
        #expect(image.write(from: lease, at: 0, count: 512, offset: 0) == .failed(.device(Errno.inputOutput)))
        #expect(image.synchronize() == .device(Errno.inputOutput))
        store.stopFailing()
        #expect(image.write(from: lease, at: 0, count: 512, offset: 0) == .done)
    }
}

import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("A disk over a node of a family")
struct EpochDiskImageTests {
    private let store = SimulatedStore()
    private let time = FamilyFixture.time()

    @Test("A snapshot is a disk that is read, and that everything fails to change")
    func snapshot() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        #expect(try disk.write(0, 8, 1) == .done)
        let number = try file.snapshot([1], names: ["one"], time: time)[0]
        #expect(try disk.write(0, 8, 2) == .done)
        let snapshot = try #require(FamilyDisk(file, number))
        #expect(snapshot.image.isReadOnly && !disk.image.isReadOnly)
        #expect(try snapshot.read(0) == 1)
        #expect(try disk.read(0) == 2)
        let protected = MediaResult.failed(.writeProtected)
        #expect(try snapshot.write(0, 8, 3) == protected)
        #expect(try snapshot.discard(0, 8) == protected)
        #expect(try snapshot.perform { snapshot.image.prepareZeros($0, first: 0, blocks: 8) } == protected)
        #expect(try snapshot.mark(0) == protected)
        #expect(snapshot.image.fill(first: 0, with: [UInt8](repeating: 4, count: 512)) == .writeProtected)
        #expect(snapshot.image.erase(first: 0, blocks: 8) == .writeProtected)
        #expect(snapshot.image.keep(operation: [1], insteadOf: nil) == .writeProtected)
        #expect(snapshot.image.keep(failedOperation: [1]) == .writeProtected)
        #expect(throws: DiskImageError.family(path: "test", .notHead(number))) {
            try snapshot.image.resize(to: 16 << 20)
        }
        #expect(throws: FamilyError.notHead(number)) {
            try snapshot.image.rollBack(to: number, keeping: "kept", time: time)
        }
        #expect(try snapshot.synchronize() == .done)
        #expect(try snapshot.read(0) == 1)
        #expect(file.loss == nil)
    }

    @Test("Disks share their file, and the last one closes it")
    func users() throws {
        let file = try FamilyDisk.file(store)
        let first = try #require(FamilyDisk(file))
        // A head is one disk's; a snapshot may be several ones'.
        #expect(FamilyDisk(file) == nil)
        #expect(FamilyDisk(file, 9) == nil)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        let clone = try file.clone(snapshot, name: "clone", time: time)
        let second = try #require(FamilyDisk(file, clone))
        let readers = try (#require(FamilyDisk(file, snapshot)), #require(FamilyDisk(file, snapshot)))
        for node in [1, snapshot, clone] {
            #expect(throws: FamilyError.inUse(node)) { try file.delete(node) }
        }
        #expect(try first.write(0, 8, 1) == .done)
        #expect(first.image.close() == nil)
        // That was made durable, but nothing more: the others go on.
        #expect(try DiskFamily.open(SimulatedStore(store.durable)).content(1, at: 0, count: 512).first == 1)
        #expect(try first.write(0, 8, 2) == .failed(.device(Errno.cancelled)))
        #expect(try first.read(0) == nil)
        #expect(try first.synchronize() == .done)
        #expect(!file.isClosed)
        #expect(try second.write(8, 8, 3) == .done)
        for image in [readers.0.image, readers.1.image] { #expect(image.close() == nil) }
        #expect(try second.read(8) == 3)
        #expect(second.image.close() == nil)
        #expect(second.image.close() == nil)
        #expect(file.isClosed)
        #expect(FamilyDisk(file) == nil)
        #expect(throws: FamilyError.closed) { try file.snapshot([1], names: ["two"], time: time) }
        #expect(throws: FamilyError.closed) { try file.delete(clone) }
        // Nothing is left to replay.
        guard case .valid(let superblock) = EpochSuperblock.newest(of: EpochSuperblock.readCopies(store)) else {
            return #expect(Bool(false), "there is a superblock")
        }
        #expect(superblock.isClosed)
        let opened = try FamilyFile.open(SimulatedStore(store.durable), path: "test")
        #expect(try #require(FamilyDisk(opened, clone)).read(8) == 3)
    }

    @Test("A disk that goes away without having been closed gives its node up")
    func released() throws {
        let file = try FamilyDisk.file(store)
        do {
            let disk = try #require(FamilyDisk(file))
            #expect(try disk.write(0, 8, 1) == .done)
        }
        #expect(file.isClosed)
    }

    @Test("Blocks on either side of a resizing are there, over an opening too")
    func resizing() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        let last = disk.image.blockCount - 1
        #expect(try disk.write(last, 1, 1) == .done)
        #expect(throws: DiskImageError.smaller(path: "test", capacity: 8 << 20)) {
            try disk.image.resize(to: 4 << 20)
        }
        #expect(throws: DiskImageError.lengthMismatch(path: "test", length: 100, blockSize: 512)) {
            try disk.image.resize(to: 100)
        }
        try disk.image.resize(to: 16 << 20)
        #expect(disk.image.capacity == 16 << 20)
        #expect(try disk.write(last + 1, 1, 2) == .done)
        #expect(try disk.read(last + 2) == 0)
        #expect(try disk.synchronize() == .done)
        let opened = try #require(FamilyDisk(try FamilyFile.open(SimulatedStore(store.durable), path: "test")))
        #expect(opened.image.capacity == 16 << 20)
        #expect(try opened.read(last) == 1)
        #expect(try opened.read(last + 1) == 2)
    }
}

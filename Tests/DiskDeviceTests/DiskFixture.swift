import Bytes
import DeviceTestSupport
import Dispatch
import Glibc
import Platform
import SCSI
import Synchronization
import TargetCore
import TestSupport

@testable import DiskDevice
@testable import Media

/// A disk in a target of its own, over an image that goes away with the fixture, and two reactors.
final class DiskFixture: @unchecked Sendable {
    private let threads: FileEngine
    let reactor: Reactor
    let otherReactor: Reactor
    let image: any DiskImage
    let unit: DiskDeviceServer
    /// What the unit has told of operations on all blocks.
    let notices = OperationNotices()
    let logicalUnit: LogicalUnit
    let target: Target
    private let file: TemporaryPath

    /// What its image is.
    enum Format: CaseIterable, Sendable {
        case raw
        /// With snapshots.
        case carousel
        /// With snapshots and checksums of data.
        case checksums
    }

    /// A fixture with a fresh image, whose requests go to `engine` or to threads.
    convenience init(
        blocks: Int = 4096, blockSize: Int = 512, engine: (any MediumEngine)? = nil, isReadOnly: Bool = false,
        attributes: DiskAttributes = DiskAttributes(), isEjected: Bool = false, cache: DiskCachePolicy = .writeBack,
        protection: ProtectionType? = nil, changesProtection: Bool = false, format: Format = .raw
    ) throws {
        try self.init(
            isReadOnly: isReadOnly, attributes: attributes, isEjected: isEjected, cache: cache
        ) { path, threads in
            if format != .raw {
                return try Self.image(path, blocks * blockSize, blockSize, engine ?? threads, format == .checksums)
            }
            // With a clock that stands, the file system has always just taken a write.
            return try RawDiskImage.create(
                path: path, capacity: Int64(blocks * blockSize), blockSize: blockSize, protection: protection,
                changesProtection: changesProtection, engine: engine ?? threads, clock: ManualClock().clock)
        }
    }

    /// A fixture with a disk over all of `store`.
    convenience init(
        store: SimulatedStore, blockSize: Int = 512, engine: any MediumEngine, cache: DiskCachePolicy = .writeBack,
        attributes: DiskAttributes = DiskAttributes()
    ) throws {
        try self.init(attributes: attributes, cache: cache) { path, _ in
            RawDiskImage(store: store, engine: engine, path: path, blockSize: blockSize, capacity: store.size())
        }
    }

    /// A fixture with the image that `make` makes at a path.
    init(
        isReadOnly: Bool = false, attributes: DiskAttributes = DiskAttributes(), isEjected: Bool = false,
        cache: DiskCachePolicy = .writeBack, protectionKeeper: (any DiskProtectionKeeper)? = nil,
        image make: (String, FileEngine) throws -> any DiskImage
    ) throws {
        file = TemporaryPath(prefix: "carousel-disk")
        threads = try FileEngine(threads: 4)
        reactor = try Reactor.start(name: "disk-test", poolLimit: 1 << 26, fileEngine: threads)
        otherReactor = try Reactor.start(name: "disk-test2", index: 1, poolLimit: 1 << 26, fileEngine: threads)
        image = try make(file.path, threads)
        unit = DiskDeviceServer(
            image: image,
            identity: DeviceIdentity(
                vendor: "CAROUSEL", product: "VIRTUAL DISK", revision: "0001", serialNumber: "D0000001",
                naa: 0x3000_0000_0000_00D1),
            attributes: attributes, isReadOnly: isReadOnly, isEjected: isEjected, cache: cache,
            protectionKeeper: protectionKeeper,
            operationWatcher: { [notices] notice in notices.add(notice) })
        target = Target(name: "iqn.2026-11.dev.carousel:disk", alias: "", homeReactor: nil)
        logicalUnit = LogicalUnit(unit)
        target.map(logicalUnit, at: 0)
    }

    /// The first disk of a family.
    private static func image(
        _ path: String, _ capacity: Int, _ blockSize: Int, _ engine: any MediumEngine, _ checksums: Bool
    ) throws -> any DiskImage {
        let file = try FamilyFile.create(
            path: path, capacity: Int64(capacity), blockSize: blockSize, name: "disk", time: CalendarTime.current(),
            uuid: Array(1...16), checksums: checksums)
        guard let image = EpochDiskImage(file: file, node: 1, engine: engine) else {
            preconditionFailure("a new family has its first head")
        }
        return image
    }

    deinit {
        _ = unit.close()
        for suffix in [".pi", ".key"] { _ = unsafe unlink(path + suffix) }
        reactor.stop()
        otherReactor.stop()
        threads.stop()
    }

    var path: String { file.path }

    /// An initiator that has seen its unit attentions.
    func initiator(_ name: String = "iqn.2026-11.test:a", on reactor: Reactor? = nil) -> DiskInitiator {
        let port = InMemoryPort(name, target: target, reactor: reactor ?? self.reactor)
        port.clearUnitAttentions()
        return DiskInitiator(fixture: self, port: port)
    }

    /// Puts the image out of the page cache.
    func evict() {
        let descriptor = unsafe open(path, O_RDWR)
        precondition(fdatasync(descriptor) == 0 && posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0)
        close(descriptor)
    }

    /// Cuts the file off behind the disk's back.
    func cut(to length: Int) {
        precondition(unsafe truncate(path, length) == 0)
    }

    /// How many bytes of the reactor's pool are leased, asked on its thread.
    func leasedBytes(_ port: DiskInitiator) -> Int {
        let bytes = Atomic<Int>(-1)
        port.port.onReactor { [reactor] in bytes.store(reactor.pool.leasedBytes, ordering: .relaxed) }
        return bytes.load(ordering: .relaxed)
    }

    /// How many bytes of storage the file takes.
    var allocatedBytes: Int64 { image.allocatedBytes ?? -1 }

    /// Waits until both reactors have done what they can, what they have posted to each other included.
    func settle() {
        for _ in 0..<3 {
            for reactor in [reactor, otherReactor] {
                let done = DispatchSemaphore(value: 0)
                reactor.postCompletion { done.signal() }
                done.wait()
            }
        }
    }
}

/// An outcome that a test waits for, or whose arrival it checks.
final class Outcome: @unchecked Sendable {
    private let done = DispatchSemaphore(value: 0)
    private let lock = DispatchQueue(label: "outcome")
    private var stored: CommandResult?

    func set(_ result: CommandResult) {
        lock.sync { stored = result }
        done.signal()
    }

    var hasArrived: Bool { lock.sync { stored != nil } }

    /// Waits for the outcome; with `again` it may have been waited for before.
    func wait(again: Bool = false) -> CommandResult {
        if !again { done.wait() }
        return lock.sync { stored! }
    }
}

/// ILLEGAL REQUEST, INVALID FIELD IN CDB with a field pointer.
func invalidField(_ byte: Int, bit: UInt8? = nil) -> SenseData {
    SenseData(
        .illegalRequest, .invalidFieldInCDB,
        fieldPointer: FieldPointer(isInCommand: true, byte: UInt16(byte), bit: bit))
}

/// ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST with a field pointer.
func invalidParameter(_ byte: Int, bit: UInt8? = nil) -> SenseData {
    SenseData(
        .illegalRequest, .invalidFieldInParameterList,
        fieldPointer: FieldPointer(isInCommand: false, byte: UInt16(byte), bit: bit))
}

let outOfRange = SenseData(.illegalRequest, .logicalBlockAddressOutOfRange)

/// What a unit has told of operations on all blocks.
final class OperationNotices: Sendable {
    private let notices = Lock<[DiskOperationNotice]>([])

    func add(_ notice: DiskOperationNotice) { notices.withLock { $0.append(notice) } }

    /// Those since the last time.
    func take() -> [DiskOperationNotice] {
        notices.withLock { notices in
            defer { notices = [] }
            return notices
        }
    }
}

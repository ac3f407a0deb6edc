import Bytes
import DeviceTestSupport
import DiskDevice
import Dispatch
import Glibc
import Media
import Platform
import SCSI
import Synchronization
import TargetCore
import TestSupport

/// A disk in a target of its own, over an image that goes away with the bench, and two reactors.
final class DiskBench: @unchecked Sendable {
    let engine: FileEngine
    let reactor: Reactor
    let otherReactor: Reactor
    let image: RawDiskImage
    let unit: DiskDeviceServer
    let target: Target
    private let file: TemporaryPath

    /// A bench with a fresh image, or with `image`.
    init(
        blocks: Int = 4096, blockSize: Int = 512, engineThreads: Int = 2, isReadOnly: Bool = false,
        physicalBlockExponent: UInt8 = 0, image: RawDiskImage? = nil
    ) throws {
        file = TemporaryPath(prefix: "carousel-disk")
        engine = try FileEngine(threads: engineThreads, queueLimit: 64)
        reactor = try Reactor.start(name: "disk-test", poolLimit: 1 << 26, fileEngine: engine)
        otherReactor = try Reactor.start(name: "disk-test2", index: 1, poolLimit: 1 << 26, fileEngine: engine)
        self.image =
            try image
            ?? RawDiskImage.create(path: file.path, capacity: Int64(blocks * blockSize), blockSize: blockSize)
        unit = DiskDeviceServer(
            image: self.image,
            identity: DeviceIdentity(
                vendor: "CAROUSEL", product: "VIRTUAL DISK", revision: "0001", serialNumber: "D0000001",
                naa: 0x3000_0000_0000_00D1),
            physicalBlockExponent: physicalBlockExponent, isReadOnly: isReadOnly)
        target = Target(name: "iqn.2026-11.dev.carousel:disk", alias: "", homeReactor: nil)
        target.map(LogicalUnit(unit), at: 0)
    }

    deinit {
        reactor.stop()
        otherReactor.stop()
        engine.stop()
    }

    var path: String { file.path }

    /// An initiator that has seen its unit attentions.
    func initiator(_ name: String = "iqn.2026-11.test:a", on reactor: Reactor? = nil) -> DiskInitiator {
        let port = InMemoryPort(name, target: target, reactor: reactor ?? self.reactor)
        port.clearUnitAttentions()
        return DiskInitiator(bench: self, port: port)
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

    /// Keeps all threads of the engine busy until the hold is released.
    func holdEngine(threads: Int, port: DiskInitiator) -> EngineHold {
        let hold = EngineHold(threads: threads)
        let reactor = reactor
        port.port.onReactor { hold.begin(on: reactor) }
        hold.waitUntilHeld()
        return hold
    }
}

/// Requests that keep the threads of an engine.
final class EngineHold: FileRequestOwner, @unchecked Sendable {
    private let threads: Int
    private let entered = DispatchSemaphore(value: 0)
    private let gate = DispatchSemaphore(value: 0)
    private var requests: [FileRequest] = []
    /// Itself until all requests have come back: a test may end before they do.
    private var keptAlive: EngineHold?

    init(threads: Int) {
        self.threads = threads
    }

    func begin(on reactor: Reactor) {
        let entered = entered
        let gate = gate
        keptAlive = self
        for _ in 0..<threads {
            let request = FileRequest(owner: self)
            request.operation = .call {
                entered.signal()
                // A test that fails before it releases the threads must not hold the others up for ever.
                _ = gate.wait(timeout: .now() + 60)
                return 0
            }
            requests.append(request)
            precondition(reactor.fileEngine.submit(request, on: reactor))
        }
    }

    func waitUntilHeld() {
        for _ in 0..<threads { entered.wait() }
    }

    func release() {
        for _ in 0..<threads { gate.signal() }
    }

    func fileRequestCompleted(_ request: FileRequest) {
        requests.removeAll { $0 === request }
        if requests.isEmpty { keptAlive = nil }
    }
}

/// An outcome that a test waits for, or sees not to be there yet.
final class Outcome: @unchecked Sendable {
    private let done = DispatchSemaphore(value: 0)
    private let lock = DispatchQueue(label: "outcome")
    private var stored: CommandResult?

    func set(_ result: CommandResult) {
        lock.sync { stored = result }
        done.signal()
    }

    var isThere: Bool { lock.sync { stored != nil } }

    func wait() -> CommandResult {
        done.wait()
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

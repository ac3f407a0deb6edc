import Bytes
import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import Synchronization
import TargetCore

@testable import DiskDevice
@testable import Media

/// Disks over simulated stores, with one copy manager, and two reactors. All are logical units of one target; each is
/// also the only one of a target of its own.
final class CopyFixture: @unchecked Sendable {
    /// One of the disks.
    struct Disk {
        let store: SimulatedStore
        let image: RawDiskImage
        let server: DiskDeviceServer
        let unit: LogicalUnit
        let target: Target
        let naa: UInt64
    }

    let engine: SimulatedEngine
    let reactor: Reactor
    let otherReactor: Reactor
    let manager: CopyManager
    let clock = ManualClock()
    let disks: [Disk]
    /// The target that shows the disks at the numbers 0, 1 …
    let target: Target

    /// A fixture with disks of those block sizes, with 8 MiB of different content each.
    init(
        blockSizes: [Int] = [512, 512], length: Int = 8 << 20, engine: SimulatedEngine = SimulatedEngine(),
        protection: ProtectionType? = nil
    ) throws {
        self.engine = engine
        let threads = try FileEngine(threads: 1)
        reactor = try Reactor.start(name: "copy-test", poolLimit: 1 << 26, fileEngine: threads)
        otherReactor = try Reactor.start(name: "copy-test2", index: 1, poolLimit: 1 << 26, fileEngine: threads)
        let manager = CopyManager(clock: clock.clock)
        self.manager = manager
        let all = Target(name: "iqn.2026-11.dev.carousel:all", alias: "", homeReactor: nil)
        target = all
        disks = blockSizes.enumerated().map { number, blockSize in
            let store = SimulatedStore(Self.content(number, length), forgetsAfterFailedSynchronization: true)
            let image = RawDiskImage(
                store: store, engine: engine, path: "/disk\(number)", blockSize: blockSize, capacity: Int64(length),
                journal: AtomicWriteJournal(identity: UInt64(number)) { () throws(SystemError) in
                    SimulatedStore()
                } removeStore: {
                    0
                },
                protection: protection.map { Self.protection($0, blockSize, length) })
            let naa = 0x3000_0000_0000_0C00 + UInt64(number)
            let server = DiskDeviceServer(
                image: image,
                identity: DeviceIdentity(
                    vendor: "CAROUSEL", product: "VIRTUAL DISK", revision: "0001", serialNumber: "C000000\(number)",
                    naa: naa),
                copyManager: manager)
            let unit = LogicalUnit(server)
            let target = Target(name: "iqn.2026-11.dev.carousel:disk\(number)", alias: "", homeReactor: nil)
            target.map(unit, at: 0)
            all.map(unit, at: number)
            manager.add(unit)
            return Disk(store: store, image: image, server: server, unit: unit, target: target, naa: naa)
        }
    }

    deinit {
        for disk in disks { manager.remove(disk.unit) }
        reactor.stop()
        otherReactor.stop()
    }

    private static func protection(_ type: ProtectionType, _ blockSize: Int, _ length: Int) -> ProtectionFile {
        ProtectionFile(
            SimulatedStore([UInt8](repeating: 0, count: Int(ProtectionFile.length(UInt64(length / blockSize))))),
            type: type, blockSize: blockSize,
            regionBits: [UInt8](repeating: 0, count: ProtectionRegions.count / 8), clock: .system)
    }

    /// What a disk has at first: no two blocks are alike.
    static func content(_ number: Int, _ length: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(length)
        for word in 0..<length / 8 { bytes.appendBE64(UInt64(number + 1) << 56 | UInt64(word)) }
        return bytes
    }

    /// The bytes of a disk as a read sees them.
    func bytes(_ disk: Int, _ range: Range<Int>) -> [UInt8] { Array(disks[disk].store.content[range]) }

    /// An initiator that has seen its unit attentions.
    func initiator(
        _ name: String = "iqn.2026-11.test:a", target: Target? = nil, on reactor: Reactor? = nil,
        owner: NexusOwner? = nil
    ) -> CopyInitiator {
        let target = target ?? self.target
        let port = InMemoryPort(name, target: target, reactor: reactor ?? self.reactor, owner: owner)
        for number in target.logicalUnits.all.keys { port.clearUnitAttentions(logicalUnit: number) }
        return CopyInitiator(fixture: self, port: port)
    }

    /// Waits until both reactors have done what they can.
    func settle() {
        for _ in 0..<3 {
            for reactor in [reactor, otherReactor] {
                let done = DispatchSemaphore(value: 0)
                reactor.postCompletion { done.signal() }
                done.wait()
            }
        }
    }

    /// How many bytes of the reactor's pool are leased.
    var leasedBytes: Int {
        let bytes = Atomic<Int>(-1)
        let done = DispatchSemaphore(value: 0)
        reactor.postCompletion { [reactor] in
            bytes.store(reactor.pool.leasedBytes, ordering: .relaxed)
            done.signal()
        }
        done.wait()
        return bytes.load(ordering: .relaxed)
    }
}

/// An initiator of a fixture, which it keeps alive.
final class CopyInitiator: Sendable {
    let fixture: CopyFixture
    let port: InMemoryPort

    init(fixture: CopyFixture, port: InMemoryPort) {
        self.fixture = fixture
        self.port = port
    }

    @discardableResult
    func execute(_ command: [UInt8], unit: Int = 0, dataOut: [UInt8] = []) -> CommandResult {
        port.execute(command, logicalUnit: unit, dataOut: dataOut)
    }

    @discardableResult
    func submit(_ command: [UInt8], unit: Int = 0, dataOut: [UInt8] = []) -> (slot: Int, outcome: Outcome) {
        let outcome = Outcome()
        let slot = port.submit(command, logicalUnit: unit, dataOut: dataOut) { outcome.set($0) }
        return (slot, outcome)
    }

    /// EXTENDED COPY(LID1) with that parameter list.
    @discardableResult
    func copy(_ list: CopyList, unit: Int = 0) -> CommandResult {
        let bytes = list.bytes
        return execute(CopyCDB.extendedCopy(bytes.count, isLong: list.isLong), unit: unit, dataOut: bytes)
    }

    /// WRITE(16) of blocks, with what it answered.
    @discardableResult
    func write(_ lba: Int, _ data: [UInt8], unit: Int = 0, blockSize: Int = 512) -> CommandResult {
        execute(
            CDB.sixteen(OperationCode.write16, lba: UInt64(lba), count: data.count / blockSize), unit: unit,
            dataOut: data)
    }
}

/// Third-party copy commands as an initiator writes them.
enum CopyCDB {
    private static func out(_ action: UInt8, identifier: UInt32? = nil, _ length: Int) -> [UInt8] {
        var bytes: [UInt8] = [0x83, action, 0, 0, 0, 0]
        bytes.appendBE32(identifier ?? 0)
        bytes.appendBE32(UInt32(length))
        return bytes + [0, 0]
    }

    static func extendedCopy(_ length: Int, isLong: Bool = false) -> [UInt8] { out(isLong ? 1 : 0, length) }
    static func populateToken(_ identifier: UInt32, _ length: Int) -> [UInt8] {
        out(0x10, identifier: identifier, length)
    }
    static func writeUsingToken(_ identifier: UInt32, _ length: Int) -> [UInt8] {
        out(0x11, identifier: identifier, length)
    }
    static func abort(_ identifier: UInt32) -> [UInt8] {
        var bytes: [UInt8] = [0x83, 0x1C]
        bytes.appendBE32(identifier)
        return bytes + [UInt8](repeating: 0, count: 10)
    }

    /// RECEIVE COPY STATUS and the others; those of LID1 have a list identifier of one byte.
    static func receive(_ action: UInt8, _ identifier: UInt32 = 0, allocationLength: Int = 4096) -> [UInt8] {
        var bytes: [UInt8] = [0x84, action]
        if action < 5 {
            bytes += [UInt8(identifier), 0, 0, 0]
        } else {
            bytes.appendBE32(identifier)
        }
        bytes += [0, 0, 0, 0]
        bytes.appendBE32(UInt32(allocationLength))
        return bytes + [0, 0]
    }
}

/// The parameter list of an EXTENDED COPY.
struct CopyList {
    /// A block to block segment descriptor.
    struct Segment {
        var source: UInt16 = 0
        var destination: UInt16 = 1
        var from = 0
        var to = 0
        var count: Int
        /// DC and CAT.
        var flags: UInt8 = 0
        /// The byte offsets of a segment of type 0Ah, whose `count` is in bytes.
        var offsets: (source: UInt16, destination: UInt16)?

        var bytes: [UInt8] {
            if let offsets {
                var bytes: [UInt8] = [0x0A, flags, 0, 28]
                bytes.appendBE16(source)
                bytes.appendBE16(destination)
                bytes.appendBE32(UInt32(count))
                bytes.appendBE64(UInt64(from))
                bytes.appendBE64(UInt64(to))
                bytes.appendBE16(offsets.source)
                bytes.appendBE16(offsets.destination)
                return bytes
            }
            var bytes: [UInt8] = [0x02, flags, 0, 24]
            bytes.appendBE16(source)
            bytes.appendBE16(destination)
            bytes += [0, 0]
            bytes.appendBE16(UInt16(count))
            bytes.appendBE64(UInt64(from))
            bytes.appendBE64(UInt64(to))
            return bytes
        }
    }

    var isLong = false
    var identifier: UInt32 = 1
    var usage: UInt8 = 0
    var descriptors: [[UInt8]]
    var segments: [Segment]

    /// The identification CSCD descriptor of a disk.
    static func descriptor(_ naa: UInt64, type: UInt8 = 0, blockSize: Int = 0, pad: Bool = false) -> [UInt8] {
        var bytes: [UInt8] = [0xE4, type, 0, 0, 0x01, 0x03, 0x00, 0x08]
        bytes.appendBE64(naa)
        bytes += [UInt8](repeating: 0, count: 12)
        bytes.appendBE32(UInt32(blockSize) | (pad ? 0x0400_0000 : 0))
        return bytes
    }

    init(_ disks: [CopyFixture.Disk], _ segments: [Segment]) {
        descriptors = disks.map { Self.descriptor($0.naa, blockSize: $0.server.blockSize) }
        self.segments = segments
    }

    /// The same in the form of EXTENDED COPY(LID4), where the first CSCD descriptor has the ID 1.
    var long: CopyList {
        var list = self
        list.isLong = true
        for index in list.segments.indices {
            if list.segments[index].source < 0xC000 { list.segments[index].source += 1 }
            if list.segments[index].destination < 0xC000 { list.segments[index].destination += 1 }
        }
        return list
    }

    var bytes: [UInt8] {
        let targets = descriptors.flatMap { $0 }
        let parts = segments.flatMap(\.bytes)
        var bytes: [UInt8] = []
        if isLong {
            bytes = [0x01, usage << 3, 0, 0x20] + [UInt8](repeating: 0, count: 12) + [0xFF, 0, 0, 0]
            bytes.appendBE32(identifier)
            bytes += [UInt8](repeating: 0, count: 18)
            bytes.appendBE16(UInt16(targets.count))
            bytes.appendBE16(UInt16(parts.count))
            bytes.appendBE16(0)
        } else {
            bytes = [UInt8(identifier), usage << 3]
            bytes.appendBE16(UInt16(targets.count))
            bytes.appendBE32(0)
            bytes.appendBE32(UInt32(parts.count))
            bytes.appendBE32(0)
        }
        return bytes + targets + parts
    }
}

/// The fields of the sense data of a copy that was aborted, in fixed format.
struct AbortedCopy: Equatable {
    var code: AdditionalSenseCode
    var segment = 0
    /// SD, and the byte in error; nil without.
    var pointer: [Int]?
    var residual: Int?
    /// The status and the sense data of the source or the destination.
    var source: [UInt8] = []
    var destination: [UInt8] = []

    init(
        _ code: AdditionalSenseCode, segment: Int = 0, pointer: [Int]? = nil, residual: Int? = nil,
        source: [UInt8] = [], destination: [UInt8] = []
    ) {
        self.code = code
        self.segment = segment
        self.pointer = pointer
        self.residual = residual
        self.source = source
        self.destination = destination
    }

    /// Nil when `result` is no COPY ABORTED.
    init?(_ result: CommandResult) {
        guard result.status == .checkCondition, let bytes = result.verbatimSense, bytes.count >= 18,
            bytes[0] & 0x7F == 0x70, bytes[2] == 0x0A, Int(bytes[7]) == bytes.count - 8
        else { return nil }
        code = AdditionalSenseCode(bytes[12], bytes[13])
        segment = Int(bytes.be16(at: 10))
        if bytes[15] & 0x80 != 0 {
            pointer = [bytes[15] & 0x40 != 0 ? 1 : 0, Int(bytes.be16(at: 16))]
        }
        if bytes[0] & 0x80 != 0 { residual = Int(bytes.be32(at: 3)) }
        if bytes[8] != 0 { source = Array(bytes[Int(bytes[8])...]) }
        if bytes[9] != 0 { destination = Array(bytes[Int(bytes[9])...]) }
    }
}

extension [UInt8] {
    // Fields of answers.
    func be16(at offset: Int) -> UInt16 { rawSpan.loadBE16(at: offset) }
    func be32(at offset: Int) -> UInt32 { rawSpan.loadBE32(at: offset) }
    func be64(at offset: Int) -> UInt64 { rawSpan.loadBE64(at: offset) }
}

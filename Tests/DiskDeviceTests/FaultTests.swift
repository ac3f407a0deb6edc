import Bytes
import DeviceTestSupport
import Platform
import SCSI
import Synchronization
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice
@testable import Media

@Suite("When the host fails")
struct FaultTests {
    private let block = [UInt8](repeating: 1, count: 512)

    @Test(
        "A full host is DATA PROTECT, another write error a MEDIUM ERROR",
        arguments: [
            (Errno.noSpace, SenseKey.dataProtect, AdditionalSenseCode.spaceAllocationFailed),
            (Errno.quotaExceeded, .dataProtect, .spaceAllocationFailed),
            (Errno.inputOutput, .mediumError, .writeError),
        ])
    func writeErrors(code: Int32, key: SenseKey, additional: AdditionalSenseCode) throws {
        let file = TemporaryPath(prefix: "carousel-disk")
        let image = try RawDiskImage.create(path: file.path, capacity: 1 << 20, blockSize: 512)
        let store = FailingStore(try #require(image.file), code: code)
        let bench = try DiskBench(
            image: RawDiskImage(
                store: store, file: image.file, path: file.path, blockSize: 512, capacity: 1 << 20))
        let port = bench.initiator()
        #expect(port.write(9, block).sense == SenseData(key, additional, information: 9))
        let list = CDB.unmapList([(0, 8)])
        #expect(port.sense(CDB.unmap(length: list.count), dataOut: list) == SenseData(key, additional))
        #expect(port.sense(CDB.ten(0x41, lba: 3, count: 8), dataOut: [UInt8](repeating: 0, count: 512))?.key == key)
        #expect(
            port.sense(CDB.compareAndWrite(lba: 3, count: 1), dataOut: [UInt8](repeating: 0, count: 512) + block)?.key
                == key)
        #expect(port.execute(CDB.ten(0x28, lba: 9, count: 1)).status == .good)
        #expect(bench.leasedBytes(port) == 0)
    }

    @Test("A loss of written data is told to every nexus once, but not to later ones")
    func lostWrites() throws {
        let bench = try DiskBench(blocks: 64)
        let port = bench.initiator()
        let other = bench.initiator("iqn.2026-11.test:b", on: bench.otherReactor)
        bench.unit.lostWrites.add(1, ordering: .relaxed)
        let later = bench.initiator("iqn.2026-11.test:c")
        #expect(later.execute(CDB.ten(0x35, lba: 0, count: 0)).status == .good)
        for initiator in [port, other] {
            #expect(initiator.write(0, block).status == .good)
            #expect(initiator.write(0, block, flags: 0x08).sense == SenseData(.mediumError, .writeError))
            #expect(initiator.execute(CDB.ten(0x35, lba: 0, count: 0)).status == .good)
        }
    }

    @Test("A write that waits for COMPARE AND WRITE goes on after it, or is aborted")
    func parked() throws {
        let bench = try DiskBench(engineThreads: 1)
        let port = bench.initiator()
        let hold = bench.holdEngine(threads: 1, port: port)
        let alone = port.submit(
            CDB.compareAndWrite(lba: 0, count: 1), dataOut: [UInt8](repeating: 0, count: 512) + block)
        let second = port.submit(CDB.sixteen(0x8B, lba: 0, count: 1), dataOut: [UInt8](repeating: 2, count: 512))
        let write = port.submit(CDB.ten(0x2A, lba: 1, count: 1), dataOut: block)
        let aborted = port.submit(CDB.ten(0x2A, lba: 2, count: 1), dataOut: block)
        #expect(port.execute(CDB.ten(0x25, lba: 0, count: 0)).status == .good)
        #expect(![alone, second, write, aborted].contains { $0.outcome.isThere })
        port.port.onReactor { [reactor = bench.reactor] in
            _ = reactor.schedule(after: .milliseconds(20), Later { hold.release() }, token: 0)
        }
        #expect(port.port.manage(.abortTask, slot: aborted.slot) == .complete)
        #expect(aborted.outcome.wait().isAborted)
        #expect(alone.outcome.wait().status == .good)
        #expect(second.outcome.wait().status == .good)
        #expect(write.outcome.wait().status == .good)
        #expect(port.read(0, 3) == [UInt8](repeating: 3, count: 512) + block + [UInt8](repeating: 0, count: 512))
    }
}

/// A store that reads, and fails with one error number when it should write.
private final class FailingStore: ByteStore {
    private let good: File
    private let code: Int32

    init(_ file: File, code: Int32) {
        good = file
        self.code = code
    }

    @_lifetime(header: copy header)
    func read(
        header: inout MutableRawSpan, into lease: inout BufferLease, at leaseOffset: Int, count: Int,
        offset: Int64, mode: ReadMode
    ) -> FileResult {
        good.read(header: &header, into: &lease, at: leaseOffset, count: count, offset: offset, mode: mode)
    }

    @_lifetime(bytes: copy bytes)
    func read(into bytes: inout MutableRawSpan, offset: Int64, mode: ReadMode) -> FileResult {
        good.read(into: &bytes, offset: offset, mode: mode)
    }

    func write(
        header: RawSpan, from lease: borrowing BufferLease, at leaseOffset: Int, count: Int, offset: Int64
    ) -> FileResult { .failed(code) }
    var cacheProbeInterval: Int64 { good.cacheProbeInterval }
    func write(_ bytes: RawSpan, offset: Int64) -> FileResult { .failed(code) }
    func synchronizeData() -> Int32 { good.synchronizeData() }
    func dropCached(from offset: Int64) { good.dropCached(from: offset) }
    func truncate(to length: Int64) -> Int32 { code }
    func punchHole(at offset: Int64, length: Int64) -> Int32 { code }
    func zeroRange(at offset: Int64, length: Int64) -> Int32 { code }
    func size() throws(SystemError) -> Int64 { try good.size() }
    func nextData(from offset: Int64) -> Int64? { good.nextData(from: offset) }
    func nextHole(from offset: Int64) -> Int64? { good.nextHole(from: offset) }
}

import Bytes
import DeviceTestSupport
import Foundation
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("WRITE ATOMIC(16)")
struct AtomicWriteTests {
    private func atomic(_ lba: UInt64, _ count: Int, boundary: UInt16 = 0, flags: UInt8 = 0) -> [UInt8] {
        CDB.writeAtomic(lba: lba, count: count, boundary: boundary, flags: flags)
    }

    @Test("Block Limits: the most is 1 MiB, not more than a transfer; no alignment, granularity or boundary")
    func page() throws {
        let page = try DiskFixture(blocks: 4096).initiator().execute([OperationCode.inquiry, 1, 0xB0, 0, 64, 0]).dataIn
        #expect(page.count == 64)
        #expect(page.rawSpan.loadBE32(at: 44) == 2048)
        #expect(page[48..<64].allSatisfy { $0 == 0 })
        #expect(page.rawSpan.loadBE32(at: 44) <= page.rawSpan.loadBE32(at: 8))
        let other = try DiskFixture(blocks: 512, blockSize: 4096).initiator()
        #expect(other.execute([OperationCode.inquiry, 1, 0xB0, 0, 64, 0]).dataIn.rawSpan.loadBE32(at: 44) == 256)
    }

    @Test("It writes its blocks, durably, with DPO and FUA or without, and leaves nothing beside the image at the end")
    func writing() throws {
        let fixture = try DiskFixture(blocks: 4096)
        let port = fixture.initiator()
        for (count, flags) in [(1, 0x00), (8, 0x08), (255, 0x10), (2048, 0x18)] as [(Int, UInt8)] {
            let data = (0..<count * 512).map { UInt8(truncatingIfNeeded: $0 / 512 &+ count) }
            #expect(port.execute(atomic(3, count, flags: flags), dataOut: data).status == .good)
            #expect(port.read(3, count) == data)
        }
        #expect(FileManager.default.fileExists(atPath: fixture.path + ".atomic"))
        #expect(fixture.unit.close() == nil)
        #expect(!FileManager.default.fileExists(atPath: fixture.path + ".atomic"))
    }

    @Test("The same of a disk with snapshots, which has nothing beside the image", arguments: [512, 4096])
    func withSnapshots(blockSize: Int) throws {
        let fixture = try DiskFixture(blocks: 4096, blockSize: blockSize, format: .carousel)
        let port = fixture.initiator()
        let page = port.execute([OperationCode.inquiry, 1, 0xB0, 0, 64, 0]).dataIn
        #expect(page.rawSpan.loadBE32(at: 44) == UInt32((1 << 20) / blockSize))
        for (count, flags) in [(1, 0x00), (8, 0x08), (255, 0x10), ((1 << 20) / blockSize, 0x18)] as [(Int, UInt8)] {
            let data = (0..<count * blockSize).map { UInt8(truncatingIfNeeded: $0 / 512 &+ count) }
            #expect(port.execute(atomic(3, count, flags: flags), dataOut: data).status == .good)
            #expect(port.read(3, count) == data)
        }
        #expect(!FileManager.default.fileExists(atPath: fixture.path + ".atomic"))
    }

    @Test("The log pages count it, and what it has written, among the writes")
    func logPages() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        func log(_ code: UInt8) -> [UInt8] {
            port.execute([OperationCode.logSense, 0, 0x40 | code, 0, 0, 0, 0, 4, 0, 0]).dataIn
        }
        let written = log(0x02).be64(at: 4 + 5 * 12 + 4)
        let commands = log(0x19).be64(at: 16)
        #expect(port.execute(atomic(3, 8), dataOut: [UInt8](repeating: 1, count: 4096)).status == .good)
        #expect(log(0x02).be64(at: 4 + 5 * 12 + 4) == written + 4096)
        #expect(log(0x19).be64(at: 16) == commands + 1)
    }

    @Test("Ranges, boundaries and lengths that are refused; data that are fewer than the command names")
    func refusals() throws {
        let port = try DiskFixture(blocks: 4096).initiator()
        port.write(0, [UInt8](repeating: 7, count: 512))
        let data = [UInt8](repeating: 1, count: 2049 * 512)
        #expect(port.execute(atomic(0, 0)).status == .good)
        #expect(port.execute(atomic(4096, 0)).status == .good)
        for (lba, count) in [(4097, 0), (4096, 1), (1 << 63, 0), (.max, 1), (4095, 2)] as [(UInt64, Int)] {
            #expect(port.sense(atomic(lba, count), dataOut: data) == outOfRange)
        }
        #expect(port.sense(atomic(0, 2049), dataOut: data) == invalidField(12))
        #expect(port.sense(atomic(0, 8, boundary: 8), dataOut: data) == invalidField(10))
        for protect in 1..<8 as Range<UInt8> {
            #expect(
                port.sense(atomic(0, 1, flags: protect << 5), dataOut: data)?.additionalSenseCode == .invalidFieldInCDB)
        }
        let short = port.sense(atomic(0, 8), dataOut: [UInt8](repeating: 1, count: 7 * 512))
        #expect(short == SenseData(.illegalRequest, .invalidFieldInCommandInformationUnit))
        #expect(port.read(0, 1) == [UInt8](repeating: 7, count: 512))
        let protected = try DiskFixture(blocks: 64, isReadOnly: true).initiator()
        #expect(protected.sense(atomic(0, 1), dataOut: data) == SenseData(.dataProtect, .writeProtected))
    }

    @Test("No READ finds a part of an atomic write, nor of an other write within it")
    func readsBeside() throws {
        let fixture = try DiskFixture(blocks: 4096)
        let ports = [
            fixture.initiator(), fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor),
            fixture.initiator("iqn.2026-11.test:c", on: fixture.otherReactor),
        ]
        let count = 256
        ports[0].write(0, [UInt8](repeating: 0, count: count * 512))
        concurrently(3) { index in
            let port = ports[index]
            for round in 0..<40 {
                if index == 0 {
                    let data = [UInt8](repeating: UInt8(round), count: count * 512)
                    #expect(port.execute(atomic(0, count), dataOut: data).status == .good)
                } else {
                    let found = port.read(0, count)
                    #expect(found.allSatisfy { $0 == found[0] })
                }
            }
        }
    }

    @Test("A READ that an atomic write overtakes waits for it, and an abort of either leaves the gate open")
    func repeatedRead() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(blocks: 4096, engine: engine)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        port.write(0, [UInt8](repeating: 1, count: 8 * 512))
        for aborts in [0, 1, 2] {
            engine.hold()
            let data = [UInt8](repeating: 2, count: 8 * 512)
            let write = port.submit(atomic(0, 8), dataOut: data)
            fixture.settle()
            let read = other.submit(CDB.ten(OperationCode.read10, lba: 0, count: 8))
            fixture.settle()
            #expect(!read.outcome.hasArrived && !write.outcome.hasArrived)
            if aborts == 1 { _ = other.port.manage(.abortTask, slot: read.slot) { engine.release() } }
            if aborts == 2 { _ = port.port.manage(.abortTask, slot: write.slot) { engine.release() } }
            engine.release()
            if aborts != 1 { #expect(read.outcome.wait().dataIn == data) }
            if aborts != 2 { #expect(write.outcome.wait().status == .good) }
            #expect(port.write(0, [UInt8](repeating: 1, count: 8 * 512)).status == .good)
        }
    }
}

import Bytes
import DeviceTestSupport
import DiskDevice
import SCSI
import TargetCore
import TestSupport
import Testing

@Suite("UNMAP, WRITE SAME, GET LBA STATUS, PRE-FETCH")
struct ProvisioningTests {
    private func statusDescriptors(_ port: DiskInitiator, lba: UInt64 = 0, allocation: Int = 4096) -> [[UInt64]] {
        let data = port.execute(CDB.sixteen(OperationCode.serviceActionIn16, lba: lba, count: allocation, flags: 0x12))
            .dataIn
        return stride(from: 8, to: data.count - 15, by: 16).map {
            [data.rawSpan.loadBE64(at: $0), UInt64(data.rawSpan.loadBE32(at: $0 + 8)), UInt64(data[$0 + 12])]
        }
    }

    @Test("UNMAP makes blocks zero, frees storage and leaves the neighbours alone")
    func unmap() throws {
        let fixture = try DiskFixture(blocks: 8192)
        let port = fixture.initiator()
        let data = [UInt8](repeating: 0xEE, count: 4096 * 512)
        port.write(0, data)
        let before = fixture.allocatedBytes
        let list = CDB.unmapList([(lba: 801, count: 1600), (lba: 5, count: 0), (lba: 3000, count: 8)])
        #expect(port.execute(CDB.unmap(length: list.count), dataOut: list).status == .good)
        #expect(port.read(800, 1).allSatisfy { $0 == 0xEE })
        #expect(port.read(801, 1600).allSatisfy { $0 == 0 })
        #expect(port.read(2401, 1).allSatisfy { $0 == 0xEE })
        #expect(port.read(3000, 8).allSatisfy { $0 == 0 })
        #expect(fixture.allocatedBytes <= before - 700_000)
    }

    @Test("UNMAP with nothing to do, and with what cannot be done")
    func unmapLists() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        port.write(0, [UInt8](repeating: 1, count: 64 * 512))
        #expect(port.execute(CDB.unmap(length: 0)).status == .good)
        #expect(port.execute(CDB.unmap(length: 8), dataOut: CDB.unmapList([])).status == .good)
        #expect(
            port.sense(CDB.unmap(length: 7), dataOut: [UInt8](repeating: 0, count: 7))
                == SenseData(.illegalRequest, .parameterListLengthError))
        // One bad descriptor, and nothing happens.
        let bad = CDB.unmapList([(0, 8), (60, 5)])
        #expect(port.sense(CDB.unmap(length: bad.count), dataOut: bad) == outOfRange)
        let huge = CDB.unmapList([(UInt64.max, 1)])
        #expect(port.sense(CDB.unmap(length: huge.count), dataOut: huge) == outOfRange)
        #expect(port.read(0, 8).allSatisfy { $0 == 1 })
        let many = CDB.unmapList([(lba: UInt64, count: UInt32)](repeating: (0, 1), count: 257))
        #expect(port.sense(CDB.unmap(length: many.count), dataOut: many) == invalidParameter(2))
        // A list that claims more than it has.
        var short = CDB.unmapList([(8, 8)])
        short[3] = 0xF0
        #expect(port.execute(CDB.unmap(length: short.count), dataOut: short).status == .good)
        #expect(port.read(8, 8).allSatisfy { $0 == 0 })
    }

    @Test("WRITE SAME repeats a block, or frees it", arguments: [Form.ten, .sixteen], [0x00, 0x08] as [UInt8])
    func writeSame(form: Form, flags: UInt8) throws {
        let fixture = try DiskFixture(blocks: 8192)
        let port = fixture.initiator()
        let code: UInt8 = form == .ten ? 0x41 : 0x93
        var random = SeededRandom(seed: 8)
        let block = random.bytes(512)
        #expect(port.execute(form.command(code, lba: 10, count: 5000, flags: flags), dataOut: block).status == .good)
        let read = port.read(9, 5002)
        #expect(read.prefix(512).allSatisfy { $0 == 0 } && read.suffix(512).allSatisfy { $0 == 0 })
        #expect((1...5000).allSatisfy { Array(read[$0 * 512..<($0 + 1) * 512]) == block })
        let zeros = [UInt8](repeating: 0, count: 512)
        #expect(port.execute(form.command(code, lba: 16, count: 4000, flags: flags), dataOut: zeros).status == .good)
        #expect(port.read(16, 4000).allSatisfy { $0 == 0 })
        #expect(port.read(4016, 1) == block)
        // Only with UNMAP is the storage given back.
        if flags == 0x08 {
            #expect(fixture.allocatedBytes < 1_000_000)
        } else {
            #expect(fixture.allocatedBytes >= 5000 * 512)
        }
    }

    @Test(
        "WRITE SAME of zeros without UNMAP gives blocks storage and takes none away",
        arguments: [(OperationCode.writeSame10, 0x00, true), (OperationCode.writeSame16, 0x01, false)]
            as [(UInt8, UInt8, Bool)])
    func writeSameKeepsStorage(code: UInt8, flags: UInt8, hasData: Bool) throws {
        let fixture = try DiskFixture(blocks: 8192)
        let port = fixture.initiator()
        port.write(0, [UInt8](repeating: 1, count: 1 << 20))
        let form = code == OperationCode.writeSame10 ? Form.ten : .sixteen
        let zeros = hasData ? [UInt8](repeating: 0, count: 512) : []
        #expect(port.execute(form.command(code, lba: 0, count: 4096, flags: flags), dataOut: zeros).status == .good)
        #expect(port.read(0, 4096).allSatisfy { $0 == 0 })
        #expect(statusDescriptors(port) == [[0, 4096, 0], [4096, 4096, 1]])
        #expect(fixture.allocatedBytes >= 4096 * 512)
        // With UNMAP they lose it.
        let freeing = form.command(code, lba: 0, count: 4096, flags: flags | 0x08)
        #expect(port.execute(freeing, dataOut: zeros).status == .good)
        #expect(statusDescriptors(port) == [[0, 8192, 1]])
    }

    @Test(
        "WRITE SAME of zero blocks fills all from its address to the last block, of whatever it has",
        arguments: [Form.ten, .sixteen], [0x00, 0x08] as [UInt8])
    func writeSameToTheEnd(form: Form, flags: UInt8) throws {
        // Seven more than MAXIMUM WRITE SAME LENGTH.
        let fixture = try DiskFixture(blocks: 32775)
        let port = fixture.initiator()
        let code: UInt8 = form == .ten ? 0x41 : 0x93
        for byte in [0xAB, 0x00] as [UInt8] {
            let block = [UInt8](repeating: byte, count: 512)
            port.write(6, [UInt8](repeating: 1, count: 512))
            #expect(port.execute(form.command(code, lba: 7, count: 0, flags: flags), dataOut: block).status == .good)
            #expect(port.read(6, 2) == [UInt8](repeating: 1, count: 512) + block)
            for lba in [16384, 32773, 32774] { #expect(port.read(lba, 1) == block) }
        }
        // The last block alone.
        let last = [UInt8](repeating: 2, count: 512)
        #expect(port.execute(form.command(code, lba: 32774, count: 0, flags: flags), dataOut: last).status == .good)
        #expect(port.read(32773, 2) == [UInt8](repeating: 0, count: 512) + last)
    }

    @Test("A WRITE SAME to the last block does not follow a disk that grows while it goes on")
    func writeSameWhileGrowing() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(blocks: 16384, engine: engine)
        let port = fixture.initiator()
        engine.hold()
        let block = [UInt8](repeating: 3, count: 512)
        let outcome = port.submit(CDB.sixteen(OperationCode.writeSame16, lba: 0, count: 0), dataOut: block).outcome
        fixture.settle()
        try fixture.unit.resize(to: 32768 * 512)
        engine.release()
        #expect(outcome.wait().status == .good)
        _ = port.sense(CDB.ten(OperationCode.read10, lba: 0, count: 1))
        #expect(port.read(16383, 2) == block + [UInt8](repeating: 0, count: 512))
    }

    @Test("Long deallocation goes piece by piece; writes wait for a piece in the lane and not on the reactor")
    func pieces() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(blocks: 1 << 20, engine: engine)
        let port = fixture.initiator()
        let list = CDB.unmapList([(lba: 1000, count: 1 << 19), (lba: 0, count: 0), (lba: (1 << 20) - 1, count: 1)])
        engine.hold()
        let unmap = port.submit(CDB.unmap(length: list.count), dataOut: list).outcome
        fixture.settle()
        engine.step()
        fixture.settle()
        #expect(!unmap.hasArrived)
        // Between two pieces nothing keeps a writer.
        #expect(port.write(5, [UInt8](repeating: 1, count: 512)).status == .good)
        engine.release()
        #expect(unmap.wait().status == .good)
        // 256 MiB from an odd start on are five pieces, and the last block is one.
        #expect(engine.performedCount == 6)
    }

    @Test("GET LBA STATUS asks the file system in the lane")
    func statusInLane() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(blocks: 4096, engine: engine)
        let port = fixture.initiator()
        engine.hold()
        let status = port.submit(CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 64, flags: 0x12)).outcome
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 36, 0]).status == .good)
        #expect(!status.hasArrived)
        engine.release()
        #expect(status.wait().dataIn.count == 24)
    }

    @Test("WRITE SAME refuses too many blocks, also when it names them by zero, and what leaves the medium")
    func writeSameLimits() throws {
        // MAXIMUM WRITE SAME LENGTH.
        let most = 32768
        let port = try DiskFixture(blocks: most + 1).initiator()
        let zeros = [UInt8](repeating: 0, count: 512)
        func sixteen(_ lba: UInt64, _ count: Int, flags: UInt8 = 8) -> [UInt8] {
            CDB.sixteen(OperationCode.writeSame16, lba: lba, count: count, flags: flags)
        }
        #expect(port.sense(CDB.ten(OperationCode.writeSame10, lba: 0, count: 0), dataOut: zeros) == invalidField(7))
        #expect(port.sense(sixteen(0, 0), dataOut: zeros) == invalidField(10))
        #expect(port.sense(CDB.thirtyTwo(0x0D, lba: 0, count: 0), dataOut: zeros) == invalidField(28))
        #expect(port.execute(sixteen(1, 0), dataOut: zeros).status == .good)
        #expect(port.execute(sixteen(0, most), dataOut: zeros).status == .good)
        #expect(port.sense(sixteen(0, most + 1), dataOut: zeros) == invalidField(10))
        #expect(port.sense(sixteen(UInt64(most), 2), dataOut: zeros) == outOfRange)
        for lba in [UInt64(most) + 1, 1 << 63, .max] {
            #expect(port.sense(sixteen(lba, 0), dataOut: zeros) == outOfRange)
        }
        let odd = SenseData(.illegalRequest, .invalidFieldInCommandInformationUnit)
        #expect(port.sense(CDB.ten(OperationCode.writeSame10, lba: 0, count: 1), dataOut: zeros + zeros) == odd)
        #expect(
            port.sense(CDB.ten(OperationCode.writeSame10, lba: 0, count: 1), dataOut: [UInt8](repeating: 0, count: 256))
                == odd)
        // NDOB: no data at all.
        port.write(40, [UInt8](repeating: 1, count: 1024))
        #expect(port.execute(CDB.sixteen(OperationCode.writeSame16, lba: 40, count: 1, flags: 0x09)).status == .good)
        #expect(port.execute(CDB.sixteen(OperationCode.writeSame16, lba: 41, count: 1, flags: 0x01)).status == .good)
        #expect(port.read(40, 2).allSatisfy { $0 == 0 })
    }

    @Test("GET LBA STATUS tells data from holes, and fits the allocation length")
    func status() throws {
        let port = try DiskFixture(blocks: 4096).initiator()
        #expect(statusDescriptors(port) == [[0, 4096, 1]])
        port.write(1024, [UInt8](repeating: 1, count: 512 * 512))
        #expect(statusDescriptors(port) == [[0, 1024, 1], [1024, 512, 0], [1536, 2560, 1]])
        #expect(statusDescriptors(port, lba: 1030, allocation: 24) == [[1030, 506, 0]])
        let list = CDB.unmapList([(1024, 512)])
        #expect(port.execute(CDB.unmap(length: list.count), dataOut: list).status == .good)
        #expect(statusDescriptors(port, lba: 1024).first?.last == 1)
        #expect(
            port.execute(CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 4, flags: 0x12)).dataInLength == 4)
        #expect(
            port.execute(CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 0, flags: 0x12)).status == .good)
        #expect(
            port.sense(CDB.sixteen(OperationCode.serviceActionIn16, lba: 4096, count: 24, flags: 0x12)) == outOfRange)
    }

    @Test("PRE-FETCH meets its condition when the cache can hold all of it")
    func prefetch() throws {
        let fixture = try DiskFixture(blocks: 1 << 18)
        let port = fixture.initiator()
        #expect(port.execute(CDB.ten(OperationCode.prefetch10, lba: 100, count: 64)).status == .conditionMet)
        #expect(
            port.execute(CDB.sixteen(OperationCode.prefetch16, lba: 100, count: 64, flags: 0x02)).status
                == .conditionMet)
        #expect(port.execute(CDB.ten(OperationCode.prefetch10, lba: (1 << 18) - 1, count: 0)).status == .conditionMet)
        #expect(port.execute(CDB.sixteen(OperationCode.prefetch16, lba: 0, count: 0)).status == .good)
        #expect(port.sense(CDB.ten(OperationCode.prefetch10, lba: 1 << 18, count: 1)) == outOfRange)
        #expect(port.sense(CDB.ten(OperationCode.prefetch10, lba: (1 << 18) - 1, count: 2)) == outOfRange)
    }

    @Test("REPORT PROVISIONING INITIALIZATION PATTERN gives a block of zeros, as far as it is asked for")
    func provisioningPattern() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        for length in [0, 1, 511, 512, 513, 65535] {
            let command: [UInt8] = [
                OperationCode.maintenanceIn, 0x1D, 0, 0, 0, 0, 0, 0, UInt8(length >> 8), UInt8(length & 0xFF), 0, 0,
            ]
            #expect(port.execute(command).dataIn == [UInt8](repeating: 0, count: min(length, 512)))
        }
    }

    @Test("ANCHOR is refused by its place: there is nothing to anchor")
    func anchor() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        let block = [UInt8](repeating: 0, count: 512)
        #expect(
            port.sense(CDB.ten(OperationCode.writeSame10, lba: 0, count: 1, flags: 0x18), dataOut: block)
                == invalidField(1, bit: 4))
        #expect(
            port.sense(CDB.sixteen(OperationCode.writeSame16, lba: 0, count: 1, flags: 0x18), dataOut: block)
                == invalidField(1, bit: 4))
        var unmap = CDB.unmap(length: 24)
        unmap[1] = 1
        #expect(port.sense(unmap, dataOut: CDB.unmapList([(0, 1)])) == invalidField(1, bit: 0))
    }
}

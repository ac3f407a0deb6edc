import Bytes
import DeviceTestSupport
import DiskDevice
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@Suite("READ and WRITE")
struct ReadWriteTests {
    @Test("What each form writes, each form reads", arguments: Form.allCases, [512, 4096])
    func forms(form: Form, blockSize: Int) throws {
        let port = try DiskFixture(blocks: 1024, blockSize: blockSize).initiator()
        var random = SeededRandom(seed: 1)
        let data = random.bytes(5 * blockSize)
        #expect(port.execute(form.command(form.writeCode, lba: 700, count: 5), dataOut: data).status == .good)
        for reader in Form.allCases {
            let result = port.execute(reader.command(reader.readCode, lba: 700, count: 5))
            #expect(result.status == .good)
            #expect(result.dataIn == data)
            #expect(result.dataInLength == data.count)
        }
        #expect(port.read(699, 1) == [UInt8](repeating: 0, count: blockSize))
        #expect(port.read(705, 1) == [UInt8](repeating: 0, count: blockSize))
    }

    @Test("A length of zero is 256 blocks in the 6-byte form, and none in the others")
    func zeroLength() throws {
        let port = try DiskFixture(blocks: 4096).initiator()
        #expect(port.execute(CDB.six(OperationCode.read6, lba: 0, count: 0)).dataInLength == 256 * 512)
        let data = [UInt8](repeating: 0xA5, count: 256 * 512)
        #expect(port.execute(CDB.six(OperationCode.write6, lba: 10, count: 0), dataOut: data).status == .good)
        #expect(port.read(10, 256) == data)
        for form in Form.allCases where form != .six {
            let read = port.execute(form.command(form.readCode, lba: 0, count: 0))
            #expect(read.status == .good)
            #expect(read.dataInLength == 0)
            #expect(port.execute(form.command(form.writeCode, lba: 0, count: 0)).status == .good)
            // The range is checked all the same.
            #expect(port.sense(form.command(form.readCode, lba: 4097, count: 0)) == outOfRange)
            #expect(port.sense(form.command(form.writeCode, lba: 4097, count: 0)) == outOfRange)
        }
    }

    @Test("A transfer ends with the last block and not after it", arguments: Form.allCases)
    func end(form: Form) throws {
        let port = try DiskFixture(blocks: 64).initiator()
        let data = [UInt8](repeating: 7, count: 1024)
        #expect(port.execute(form.command(form.writeCode, lba: 62, count: 2), dataOut: data).status == .good)
        #expect(port.execute(form.command(form.readCode, lba: 62, count: 2)).dataIn == data)
        for (lba, count) in [(63, 2), (64, 1), (65, 1), (0x1F_FFFF, 1)] {
            let out = [UInt8](repeating: 9, count: count * 512)
            #expect(port.sense(form.command(form.readCode, lba: lba, count: count)) == outOfRange)
            #expect(port.sense(form.command(form.writeCode, lba: lba, count: count), dataOut: out) == outOfRange)
        }
        #expect(port.read(62, 2) == data)
    }

    @Test(
        "Addresses at the ends of 64 bits are out of range", arguments: [1 << 63, UInt64.max, UInt64.max - 1, 1 << 55])
    func hugeAddresses(lba: UInt64) throws {
        let port = try DiskFixture(blocks: 64).initiator()
        let block = [UInt8](repeating: 1, count: 512)
        #expect(port.sense(CDB.sixteen(OperationCode.read16, lba: lba, count: 1)) == outOfRange)
        #expect(port.sense(CDB.sixteen(OperationCode.read16, lba: lba, count: 0)) == outOfRange)
        #expect(port.sense(CDB.sixteen(OperationCode.read16, lba: 0, count: 0xFFFF_FFFF)) == outOfRange)
        #expect(port.sense(CDB.sixteen(OperationCode.write16, lba: lba, count: 1), dataOut: block) == outOfRange)
        #expect(port.sense(CDB.sixteen(OperationCode.verify16, lba: lba, count: 1)) == outOfRange)
        #expect(port.sense(CDB.sixteen(OperationCode.prefetch16, lba: lba, count: 1)) == outOfRange)
        #expect(port.sense(CDB.sixteen(OperationCode.synchronizeCache16, lba: lba, count: 1)) == outOfRange)
        #expect(port.sense(CDB.sixteen(OperationCode.writeSame16, lba: lba, count: 1), dataOut: block) == outOfRange)
        #expect(port.sense(CDB.sixteen(OperationCode.orWrite16, lba: lba, count: 1), dataOut: block) == outOfRange)
        #expect(
            port.sense(CDB.sixteen(OperationCode.serviceActionIn16, lba: lba, count: 24, flags: 0x12)) == outOfRange)
    }

    @Test("Protection information is refused, DPO and FUA are not")
    func flags() throws {
        let port = try DiskFixture().initiator()
        let block = [UInt8](repeating: 3, count: 512)
        for form in Form.allCases where form != .six {
            for code in [form.readCode, form.writeCode, form.verifyCode, form.writeAndVerifyCode] {
                let out = code == form.readCode || code == form.verifyCode ? [] : block
                #expect(
                    port.sense(form.command(code, lba: 0, count: 1, flags: 0x20), dataOut: out)
                        == invalidField(1, bit: 5))
                #expect(
                    port.sense(form.command(code, lba: 0, count: 1, flags: 0xE0), dataOut: out)
                        == invalidField(1, bit: 7))
                #expect(port.execute(form.command(code, lba: 0, count: 1, flags: 0x10), dataOut: out).status == .good)
            }
            for code in [form.readCode, form.writeCode] {
                let out = code == form.readCode ? [] : block
                #expect(port.execute(form.command(code, lba: 0, count: 1, flags: 0x18), dataOut: out).status == .good)
            }
        }
        #expect(port.read(0, 1) == block)
    }

    @Test("The longest transfer is 16 MiB; a longer one is an invalid length")
    func longest() throws {
        let fixture = try DiskFixture(blocks: 1 << 17)
        let port = fixture.initiator()
        var random = SeededRandom(seed: 2)
        let pattern = random.bytes(4096)
        var data: [UInt8] = []
        for _ in 0..<4096 { data += pattern }
        #expect(port.write(3, data).status == .good)
        let result = port.execute(CDB.sixteen(OperationCode.read16, lba: 3, count: 32768))
        #expect(result.dataInLength == 1 << 24)
        #expect(result.dataIn == data)
        #expect(port.sense(CDB.sixteen(OperationCode.read16, lba: 3, count: 32769)) == invalidField(10))
        #expect(port.sense(CDB.twelve(OperationCode.read12, lba: 3, count: 32769)) == invalidField(6))
        #expect(port.sense(CDB.ten(OperationCode.read10, lba: 3, count: 32769)) == invalidField(7))
    }

    @Test("An initiator that offers less than the command needs: whole blocks are written, and no part of one")
    func tooLittleData() throws {
        let port = try DiskFixture().initiator()
        let ones = [UInt8](repeating: 1, count: 512)
        let part = port.execute(
            CDB.ten(OperationCode.write10, lba: 0, count: 2), dataOut: [UInt8](repeating: 1, count: 700))
        #expect(part.sense == SenseData(.illegalRequest, .invalidFieldInCommandInformationUnit))
        #expect(port.read(0, 2).allSatisfy { $0 == 0 })
        for (lba, code) in [(0, 0x2A), (10, 0x2E)] as [(Int, UInt8)] {
            #expect(port.execute(CDB.ten(code, lba: lba, count: 2), dataOut: ones).status == .good)
            #expect(port.read(lba, 2) == ones + [UInt8](repeating: 0, count: 512))
            #expect(port.execute(CDB.ten(code, lba: lba, count: 2)).status == .good)
        }
        #expect(port.sense(CDB.ten(OperationCode.verify10, lba: 0, count: 2, flags: 2), dataOut: ones) != nil)
        #expect(port.sense(CDB.sixteen(OperationCode.orWrite16, lba: 0, count: 2), dataOut: ones) != nil)
        #expect(port.sense(CDB.compareAndWrite(lba: 0, count: 1), dataOut: ones) != nil)
    }

    @Test("What memory does not hold is read by the lane, without keeping the reactor")
    func cold() throws {
        var random = SeededRandom(seed: 3)
        let data = random.bytes(128 * 512)
        let store = SimulatedStore(data)
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(store: store, engine: engine)
        let port = fixture.initiator()
        store.isCached = false
        engine.hold()
        let cold = port.submit(CDB.ten(OperationCode.read10, lba: 60, count: 64)).outcome
        // The reactor goes on with other commands.
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 36, 0]).status == .good)
        #expect(!cold.hasArrived)
        engine.release()
        #expect(cold.wait().dataIn == Array(data[60 * 512..<124 * 512]))
        // Now it is warm.
        store.isCached = true
        engine.hold()
        #expect(port.read(60, 64) == Array(data[60 * 512..<124 * 512]))
    }

    @Test("A long transfer is cut into pieces, between which other media are served")
    func pieces() throws {
        let engine = SimulatedEngine()
        let store = SimulatedStore([UInt8](repeating: 0, count: 16 << 20))
        let fixture = try DiskFixture(store: store, engine: engine)
        let port = fixture.initiator()
        var random = SeededRandom(seed: 4)
        let pattern = random.bytes(1 << 16)
        let data = Array(repeating: pattern, count: 160).flatMap(\.self)
        #expect(port.write(7, data).status == .good)
        #expect(engine.performedCount == 3)
        #expect(port.read(7, data.count / 512) == data)
        #expect(engine.performedCount == 6)
        #expect(
            port.execute(CDB.sixteen(OperationCode.writeAndVerify16, lba: 8, count: data.count / 512), dataOut: data)
                .status == .good)
        #expect(
            port.execute(CDB.sixteen(OperationCode.orWrite16, lba: 8, count: data.count / 512), dataOut: data).status
                == .good)
        #expect(port.read(8, data.count / 512) == data)
    }

    @Test("A block that cannot be read is named, and no data come with it")
    func badBlock() throws {
        let fixture = try DiskFixture(blocks: 64)
        let port = fixture.initiator()
        port.write(0, [UInt8](repeating: 5, count: 64 * 512))
        fixture.cut(to: 20 * 512)
        let unrecovered = SenseData(.mediumError, .unrecoveredReadError, information: 20)
        let result = port.execute(CDB.ten(OperationCode.read10, lba: 4, count: 32))
        #expect(result.sense == unrecovered)
        #expect(result.dataInLength == 0)
        // What was cut off had been written by this nexus.
        #expect(port.sense([OperationCode.testUnitReady, 0, 0, 0, 0, 0])?.isDeferred == true)
        #expect(port.sense(CDB.ten(OperationCode.verify10, lba: 4, count: 32)) == unrecovered)
        #expect(
            port.sense(CDB.compareAndWrite(lba: 18, count: 4), dataOut: [UInt8](repeating: 5, count: 4096))
                == unrecovered)
        #expect(port.execute(CDB.ten(OperationCode.read10, lba: 4, count: 16)).status == .good)
        #expect(port.execute(CDB.ten(OperationCode.prefetch10, lba: 4, count: 32)).status == .good)
    }

    @Test("An aborted READ gives its buffer back and answers nothing")
    func abort() throws {
        let store = SimulatedStore([UInt8](repeating: 5, count: 64 * 512))
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(store: store, engine: engine)
        let port = fixture.initiator()
        store.isCached = false
        engine.hold()
        let read = port.submit(CDB.ten(OperationCode.read10, lba: 0, count: 64))
        let write = port.submit(
            CDB.ten(OperationCode.write10, lba: 0, count: 1, flags: 8), dataOut: [UInt8](repeating: 6, count: 512))
        #expect(port.port.manage(.abortTask, slot: read.slot) { engine.release() } == .complete)
        #expect(read.outcome.wait().isAborted)
        #expect(write.outcome.wait().status == .good)
        // The gate is open again, and nothing is leased.
        #expect(
            port.execute(CDB.compareAndWrite(lba: 40, count: 1), dataOut: [UInt8](repeating: 5, count: 1024)).status
                == .good)
        #expect(fixture.leasedBytes(port) == 0)
    }
}

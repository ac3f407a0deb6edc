import Bytes
import DeviceTestSupport
import Media
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice

@Suite("WRITE LONG, READ LONG, REASSIGN BLOCKS")
struct MarkTests {
    private func writeLong(_ lba: Int, flags: UInt8 = 0x40, length: Int = 0) -> [UInt8] {
        CDB.ten(OperationCode.writeLong10, lba: lba, count: length, flags: flags)
    }

    private func writeLong16(_ lba: UInt64, flags: UInt8 = 0x40, length: UInt8 = 0) -> [UInt8] {
        var command = CDB.sixteen(OperationCode.serviceActionOut16, lba: lba, count: 0, flags: flags | 0x11)
        command[13] = length
        return command
    }

    private func readLong(_ lba: Int, length: Int) -> [UInt8] {
        CDB.ten(OperationCode.readLong10, lba: lba, count: length)
    }

    private func markedBad(_ lba: Int64) -> SenseData {
        SenseData(.mediumError, .markedBadByApplicationClient, information: lba)
    }

    private let block = [UInt8](repeating: 7, count: 512)

    @Test("Every command that reads a marked block ends with its address; the others are read")
    func reads() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        port.write(0, [UInt8](repeating: 7, count: 64 * 512))
        #expect(port.execute(writeLong(5)).status == .good)
        #expect(port.execute(writeLong16(9, flags: 0xC0)).status == .good)
        for form in Form.allCases {
            #expect(port.sense(form.command(form.readCode, lba: 0, count: 64)) == markedBad(5))
            #expect(port.sense(form.command(form.readCode, lba: 6, count: 10)) == markedBad(9))
            #expect(port.execute(form.command(form.readCode, lba: 6, count: 3)).status == .good)
        }
        #expect(port.sense(CDB.ten(OperationCode.verify10, lba: 0, count: 64)) == markedBad(5))
        #expect(port.sense(CDB.compareAndWrite(lba: 5, count: 1), dataOut: block + block) == markedBad(5))
        #expect(port.sense(CDB.sixteen(OperationCode.orWrite16, lba: 5, count: 1), dataOut: block) == markedBad(5))
        // READ LONG gives what is there.
        #expect(port.execute(readLong(5, length: 512)).dataIn == block)
    }

    @Test("Whatever writes a marked block takes its mark away")
    func writes() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        let commands: [([UInt8], [UInt8])] = [
            (CDB.ten(OperationCode.write10, lba: 5, count: 1), block),
            (CDB.ten(OperationCode.write10, lba: 5, count: 1, flags: 0x08), block),
            (CDB.ten(OperationCode.write10, lba: 4, count: 2), block + block),
            (CDB.ten(OperationCode.writeAndVerify10, lba: 5, count: 1, flags: 0x02), block),
            (CDB.ten(OperationCode.writeSame10, lba: 0, count: 64), block),
            (CDB.ten(OperationCode.writeSame10, lba: 0, count: 64), [UInt8](repeating: 0, count: 512)),
            (CDB.ten(OperationCode.writeSame10, lba: 0, count: 64, flags: 0x08), [UInt8](repeating: 0, count: 512)),
            (CDB.unmap(length: 24), CDB.unmapList([(5, 1)])),
            ([OperationCode.writeAtomic16, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0], block),
            (OperationCDB.blockErase(), []),
            ([OperationCode.formatUnit, 0, 0, 0, 0, 0], []),
            ([OperationCode.reassignBlocks, 0, 0, 0, 0, 0], [0, 0, 0, 4, 0, 0, 0, 5]),
        ]
        for (command, data) in commands {
            #expect(port.execute(writeLong(5)).status == .good)
            #expect(port.sense(CDB.ten(OperationCode.read10, lba: 5, count: 1)) == markedBad(5))
            #expect(port.execute(command, dataOut: data).status == .good, "\(command)")
            #expect(port.execute(CDB.ten(OperationCode.read10, lba: 5, count: 1)).status == .good, "\(command)")
        }
        // A write beside it does not.
        #expect(port.execute(writeLong(5)).status == .good)
        port.write(4, block)
        port.write(6, block)
        #expect(port.sense(CDB.ten(OperationCode.read10, lba: 5, count: 1)) == markedBad(5))
    }

    @Test("Marks are there after a restart, and gone after it when they were written")
    func restart() throws {
        let store = SimulatedStore([UInt8](repeating: 3, count: 64 * 512))
        do {
            let port = try DiskFixture(store: store, engine: SimulatedEngine()).initiator()
            #expect(port.execute(writeLong(5)).status == .good)
            #expect(port.execute(writeLong(6)).status == .good)
        }
        var random = SeededRandom(seed: 1)
        let after = store.afterCrash(using: &random)
        do {
            let port = try DiskFixture(store: after, engine: SimulatedEngine()).initiator()
            #expect(port.sense(CDB.ten(OperationCode.read10, lba: 0, count: 64)) == markedBad(5))
            #expect(port.write(5, block).status == .good)
        }
        let port = try DiskFixture(store: after, engine: SimulatedEngine()).initiator()
        #expect(port.sense(CDB.ten(OperationCode.read10, lba: 0, count: 64)) == markedBad(6))
        #expect(port.read(5, 1) == block)
    }

    @Test("What cannot be kept is not marked, and what cannot be forgotten is no success")
    func failures() throws {
        let store = SimulatedStore([UInt8](repeating: 3, count: 512 * 512))
        let port = try DiskFixture(store: store, engine: SimulatedEngine()).initiator()
        store.failNotes(Errno.inputOutput)
        #expect(port.sense(writeLong(5))?.key == .mediumError)
        store.stopFailing()
        #expect(port.execute(CDB.ten(OperationCode.read10, lba: 5, count: 1)).status == .good)
        #expect(port.execute(writeLong(5)).status == .good)
        store.failNotes(Errno.inputOutput)
        #expect(port.write(5, block).sense?.additionalSenseCode == .writeError)
        #expect(port.sense(CDB.ten(OperationCode.read10, lba: 5, count: 1)) == markedBad(5))
        store.stopFailing()
        #expect(port.write(5, block).status == .good)
        for lba in 0..<256 { #expect(port.execute(writeLong(lba)).status == .good) }
        #expect(port.sense(writeLong(256)) == SenseData(.illegalRequest, .insufficientResources))
        // One that is there already takes no room.
        #expect(port.execute(writeLong(255)).status == .good)
    }

    @Test("Fields of WRITE LONG and READ LONG")
    func fields() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        #expect(port.sense(writeLong(64)) == outOfRange)
        #expect(port.sense(writeLong16(1 << 63)) == outOfRange)
        #expect(port.sense(writeLong(0, flags: 0), dataOut: block) == invalidField(1, bit: 6))
        #expect(port.sense(writeLong(0, flags: 0x60)) == invalidField(1, bit: 5))
        #expect(port.sense(writeLong(0, length: 1)) == invalidField(7))
        #expect(port.sense(writeLong16(0, length: 1)) == invalidField(12))
        #expect(port.sense(readLong(64, length: 512)) == outOfRange)
        #expect(port.execute(readLong(0, length: 0)).status == .good)
        for length in [1, 511, 513, 65535] {
            let sense = port.sense(readLong(0, length: length))
            #expect(sense?.isIncorrectLength == true && sense?.additionalSenseCode == .invalidFieldInCDB)
            #expect(sense?.information == Int64(length - 512))
        }
        var long = CDB.sixteen(OperationCode.serviceActionIn16, lba: 3, count: 0, flags: 0x11)
        long[12] = 2
        #expect(port.execute(long).dataIn.count == 512)
    }

    @Test("REASSIGN BLOCKS: short and long lists, wrong addresses, lists cut at any byte")
    func reassign() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        func command(_ flags: UInt8) -> [UInt8] { [OperationCode.reassignBlocks, flags, 0, 0, 0, 0] }
        port.write(5, block)
        #expect(port.execute(command(0), dataOut: [0, 0, 0, 0]).status == .good)
        #expect(port.execute(command(0), dataOut: [0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 6]).status == .good)
        #expect(port.execute(command(1), dataOut: [0, 0, 0, 4, 0, 0, 0, 5]).status == .good)
        #expect(port.execute(command(2), dataOut: [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 5]).status == .good)
        // A block that can be read keeps its data.
        #expect(port.read(5, 1) == block)
        #expect(port.sense(command(0), dataOut: [0, 1, 0, 0]) == invalidParameter(1))
        #expect(
            port.sense(command(0), dataOut: [0, 0, 0, 6, 0, 0, 0, 5, 0, 0])
                == SenseData(.illegalRequest, .parameterListLengthError))
        var wrong = outOfRange
        wrong.commandSpecificInformation = 5
        #expect(port.sense(command(0), dataOut: [0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 64]) == wrong)
        let long: [UInt8] = [0, 0, 0, 16] + [0, 0, 0, 0, 0, 0, 0, 5] + [0, 0, 0, 0, 0, 0, 0, 6]
        for length in 0..<long.count {
            #expect(
                port.sense(command(3), dataOut: Array(long.prefix(length)))
                    == SenseData(.illegalRequest, .parameterListLengthError))
        }
        #expect(port.execute(command(3), dataOut: long).status == .good)
        #expect(port.execute(writeLong(6)).status == .good)
        #expect(port.execute(command(3), dataOut: long).status == .good)
        #expect(port.read(6, 1) == [UInt8](repeating: 0, count: 512))
    }

    @Test("A list of REASSIGN BLOCKS has 65536 bytes at most, whatever the initiator offers")
    func longestList() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        // LONGLIST.
        let command: [UInt8] = [OperationCode.reassignBlocks, 1, 0, 0, 0, 0]
        func list(_ length: Int) -> [UInt8] {
            var list: [UInt8] = []
            list.appendBE32(UInt32(length - 4))
            return list + [UInt8](repeating: 0, count: length - 4)
        }
        #expect(port.execute(command, dataOut: list(65536)).status == .good)
        #expect(
            port.sense(command, dataOut: list(65540)) == SenseData(.illegalRequest, .parameterListLengthError))
    }
}

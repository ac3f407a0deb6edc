import Bytes
import DeviceTestSupport
import DiskDevice
import SCSI
import TargetCore
import Testing

@Suite("The command table")
struct FieldTests {
    @Test("REPORT SUPPORTED OPERATION CODES lists what is there, and all that is listed is there")
    func consistency() throws {
        let fixture = try DiskFixture(blocks: 64)
        let port = fixture.initiator()
        let list = port.execute([OperationCode.maintenanceIn, 0x0C, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0]).dataIn
        let length = Int(list.rawSpan.loadBE32(at: 0))
        #expect(length == list.count - 4 && length % 8 == 0)
        #expect(length / 8 == fixture.unit.commands.attributes().count)
        for offset in stride(from: 4, to: list.count, by: 8) {
            let code = list[offset]
            let hasAction = list[offset + 5] & 1 != 0
            let cdbLength = Int(list.rawSpan.loadBE16(at: offset + 6))
            var command = [UInt8](repeating: 0, count: cdbLength)
            command[0] = code
            if code == OperationCode.variableLength {
                command[7] = UInt8(cdbLength - 8)
                command[9] = list[offset + 3]
            } else if hasAction {
                command[1] = list[offset + 3]
            }
            let result = port.execute(command, dataOut: [UInt8](repeating: 0, count: 1024))
            #expect(result.sense?.additionalSenseCode != .invalidCommandOperationCode)
            #expect((CommandDescriptorBlock.length(ofOperationCode: code) ?? 32) == cdbLength)
            let one = port.execute(
                [
                    OperationCode.maintenanceIn, 0x0C, hasAction ? 2 : 1, code, 0, hasAction ? list[offset + 3] : 0, 0,
                    0, 0, 0xFF, 0, 0,
                ])
            #expect(one.status == .good)
            #expect(one.dataIn[1] & 7 == 3)
            #expect(Int(one.dataIn.rawSpan.loadBE16(at: 2)) == cdbLength)
            #expect(one.dataIn[4] == code)
        }
    }

    @Test("What passes a persistent reservation is what the tables of SPC and SBC say")
    func reservationTable() throws {
        #expect(ReservationTable.differences(try DiskFixture(blocks: 64).unit.commands) == [])
    }

    @Test("What is performed in which access state of the target port is what SPC says")
    func accessStateTable() throws {
        #expect(AccessStateTable.differences(try DiskFixture(blocks: 64).unit.commands) == [])
    }

    @Test("The command set of the product is complete")
    func completeness() throws {
        let unit = try DiskFixture(blocks: 64).unit
        let codes = Set(unit.commands.attributes().map(\.operationCode))
        let expected: [UInt8] = [
            0x00, 0x03, 0x04, 0x07, 0x08, 0x0A, 0x12, 0x15, 0x16, 0x17, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x25, 0x28, 0x2A,
            0x2E,
            0x2F, 0x34, 0x35, 0x37, 0x3B, 0x3C, 0x3E, 0x3F,
            0x41, 0x42, 0x48, 0x4C, 0x4D, 0x55, 0x56, 0x57, 0x5A, 0x5E, 0x5F, 0x7F, 0x83, 0x84, 0x88, 0x89, 0x8A, 0x8B,
            0x8E, 0x8F,
            0x90, 0x91, 0x93, 0x9C, 0x9E, 0x9F, 0xA0,
            0xA3, 0xA4,
            0xA8, 0xAA, 0xAE, 0xAF, 0xB7,
        ]
        #expect(codes == Set(expected))
    }

    @Test(
        "Bits that a command does not have are refused by their place",
        arguments: [
            (CDB.ten(OperationCode.read10, lba: 0, count: 1, flags: 0x01), 1, 0 as UInt8),
            ([OperationCode.read10, 0, 0, 0, 0, 0, 0x3F, 0, 1, 0], 6, 5),
            ([OperationCode.read10, 0, 0, 0, 0, 0, 0, 0, 1, 0x06], 9, 1),
            (CDB.sixteen(OperationCode.read16, lba: 0, count: 1, flags: 0x02), 1, 1),
            (CDB.ten(OperationCode.writeSame10, lba: 0, count: 1, flags: 0x10), 1, 4),
            (CDB.sixteen(OperationCode.writeSame16, lba: 0, count: 1, flags: 0x02), 1, 1),
            ([OperationCode.unmap, 0x01, 0, 0, 0, 0, 0, 0, 0, 0], 1, 0),
            ([OperationCode.startStopUnit, 0, 0, 0, 0x02, 0], 4, 1),
            ([OperationCode.readCapacity10, 0, 0, 0, 0, 1, 0, 0, 0, 0], 5, 0),
            (CDB.ten(OperationCode.writeAndVerify10, lba: 0, count: 1, flags: 0x04), 1, 2),
        ])
    func reservedBits(command: [UInt8], byte: Int, bit: UInt8) throws {
        #expect(try DiskFixture(blocks: 64).initiator().sense(command) == invalidField(byte, bit: bit))
    }

    @Test("An unknown operation code and an unknown service action")
    func unknown() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        #expect(port.sense([OperationCode.rewind, 0, 0, 0, 0, 0])?.additionalSenseCode == .invalidCommandOperationCode)
        #expect(
            port.sense(CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 32, flags: 0x1F))
                == invalidField(1, bit: 4))
    }

    @Test("A read-only disk refuses every command that writes, and none that reads")
    func readOnly() throws {
        let port = try DiskFixture(blocks: 64, isReadOnly: true).initiator()
        let protected = SenseData(.dataProtect, .writeProtected)
        let block = [UInt8](repeating: 1, count: 512)
        for form in Form.allCases {
            #expect(port.sense(form.command(form.writeCode, lba: 0, count: 1), dataOut: block) == protected)
            #expect(port.execute(form.command(form.readCode, lba: 0, count: 1)).status == .good)
        }
        #expect(port.sense(CDB.ten(OperationCode.writeAndVerify10, lba: 0, count: 1), dataOut: block) == protected)
        #expect(port.sense(CDB.ten(OperationCode.writeSame10, lba: 0, count: 1), dataOut: block) == protected)
        #expect(port.sense(CDB.sixteen(OperationCode.writeSame16, lba: 0, count: 1), dataOut: block) == protected)
        #expect(port.sense(CDB.sixteen(OperationCode.orWrite16, lba: 0, count: 1), dataOut: block) == protected)
        #expect(port.sense(CDB.compareAndWrite(lba: 0, count: 1), dataOut: block + block) == protected)
        #expect(port.sense(CDB.unmap(length: 24), dataOut: CDB.unmapList([(0, 1)])) == protected)
        #expect(port.execute(CDB.ten(OperationCode.prefetch10, lba: 0, count: 1)).status == .conditionMet)
        #expect(port.execute(CDB.ten(OperationCode.verify10, lba: 0, count: 1)).status == .good)
        #expect(port.execute(CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 1)).status == .good)
    }
}

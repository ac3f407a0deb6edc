import Bytes
import DeviceTestSupport
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("32-byte commands")
struct VariableLengthTests {
    private func command(
        _ action: UInt16, lba: UInt64, count: UInt32, flags: UInt8 = 0, additionalLength: UInt8 = 0x18
    ) -> [UInt8] {
        CDB.thirtyTwo(action, lba: lba, count: count, flags: flags, additionalLength: additionalLength)
    }

    private let block = [UInt8](repeating: 7, count: 512)

    @Test("READ, WRITE, VERIFY, WRITE AND VERIFY, WRITE SAME and GET LBA STATUS")
    func medium() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        #expect(port.execute(command(0x0B, lba: 3, count: 2, flags: 0x18), dataOut: block + block).status == .good)
        #expect(port.execute(command(0x09, lba: 3, count: 2, flags: 0x18)).dataIn == block + block)
        #expect(port.execute(command(0x0A, lba: 3, count: 2)).status == .good)
        #expect(port.execute(command(0x0A, lba: 3, count: 1, flags: 0x02), dataOut: block).status == .good)
        #expect(port.execute(command(0x0A, lba: 3, count: 2, flags: 0x06), dataOut: block).status == .good)
        #expect(
            port.sense(command(0x0A, lba: 2, count: 1, flags: 0x02), dataOut: block)
                == SenseData(.miscompare, .miscompareDuringVerify, information: 0))
        #expect(port.execute(command(0x0C, lba: 9, count: 1, flags: 0x02), dataOut: block).status == .good)
        #expect(port.execute(command(0x0D, lba: 16, count: 4), dataOut: block).status == .good)
        #expect(port.execute(command(0x0D, lba: 60, count: 0), dataOut: block).status == .good)
        #expect(port.read(9, 1) == block && port.read(19, 1) == block)
        #expect(port.read(59, 5) == [UInt8](repeating: 0, count: 512) + block + block + block + block)
        // UNMAP, and NDOB.
        #expect(port.execute(command(0x0D, lba: 0, count: 64, flags: 0x09)).status == .good)
        #expect(port.read(16, 1) == [UInt8](repeating: 0, count: 512))
        let status = port.execute(command(0x12, lba: 8, count: 255)).dataIn
        #expect(status.count == 24 && status.rawSpan.loadBE64(at: 8) == 8 && status.rawSpan.loadBE32(at: 16) == 56)
        var scan = command(0x12, lba: 8, count: 255)
        scan[23] = 5
        #expect(port.execute(scan).dataIn.rawSpan.loadBE32(at: 16) == 5)
    }

    @Test("Lengths, fields of protection information, service actions")
    func fields() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        for length in [0, 0x08, 0x17, 0x19, 0xFF] as [UInt8] {
            #expect(port.sense(command(0x09, lba: 0, count: 1, additionalLength: length)) == invalidField(7))
        }
        let whole = command(0x09, lba: 0, count: 1)
        for length in 10..<32 { #expect(port.sense(Array(whole.prefix(length))) == invalidField(7)) }
        for byte in 20..<28 {
            var wrong = whole
            wrong[byte] = 1
            #expect(port.sense(wrong) == invalidField(byte, bit: 0))
        }
        var control = whole
        control[1] = 0x01
        #expect(port.sense(control) == invalidField(1, bit: 0))
        #expect(port.sense(command(0x09, lba: 0, count: 1, flags: 0x20)) == invalidField(10, bit: 5))
        #expect(port.sense(command(0x0A, lba: 0, count: 1, flags: 0x04)) == invalidField(10, bit: 2))
        #expect(port.sense(command(0x0D, lba: 0, count: 1, flags: 0x10), dataOut: block) == invalidField(10, bit: 4))
        #expect(port.sense(command(0x0D, lba: 64, count: 0), dataOut: block) == outOfRange)
        #expect(port.sense(command(0x09, lba: 64, count: 1)) == outOfRange)
        #expect(port.sense(command(0x09, lba: .max, count: .max)) == outOfRange)
        for action in [0, 0x08, 0x11, 0x13, 0x29, 0x109, 0xFFFF] as [UInt16] {
            #expect(port.sense(command(action, lba: 0, count: 1)) == invalidField(8))
        }
    }

    @Test("REPORT SUPPORTED OPERATION CODES has them by service action")
    func reported() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        func report(_ option: UInt8, _ action: UInt16) -> CommandResult {
            port.execute([
                OperationCode.maintenanceIn, 0x0C, option, 0x7F, UInt8(action >> 8), UInt8(action & 0xFF), 0, 0, 0, 255,
                0, 0,
            ])
        }
        let one = report(2, 0x0B).dataIn
        #expect(one.prefix(4) == [0, 3, 0, 32])
        #expect(one[4] == 0x7F && Array(one[6..<14]) == [0, 0, 0, 0, 0x1F, 0x18, 0x00, 0x0B])
        #expect(one[14] == 0x18 && one[24..<32].allSatisfy { $0 == 0 } && one[32..<36].allSatisfy { $0 == 0xFF })
        #expect(report(2, 0x10B).dataIn == [0, 1, 0, 0])
        #expect(report(3, 0x0A).dataIn.prefix(2) == [0, 3])
        #expect(report(1, 0).sense == invalidField(2, bit: 2))
    }
}

import Bytes
import DeviceTestSupport
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("What a disk says of itself")
struct AttributeTests {
    private func page(_ port: DiskInitiator, _ code: UInt8) -> [UInt8] {
        port.execute([OperationCode.inquiry, 1, code, 0, 255, 0]).dataIn
    }

    @Test(
        "READ CAPACITY(16) says physical blocks, alignment and LBPRZ",
        arguments: [
            (512, DiskAttributes(), [0, 0xC0, 0]),
            (512, DiskAttributes(physicalBlockExponent: 3, lowestAlignedBlock: 7), [3, 0xC0, 7]),
            (4096, DiskAttributes(), [0, 0xC0, 0]),
            (512, DiskAttributes(unmappedReads: 0), [0, 0x80, 0]),
            (512, DiskAttributes(unmappedReads: 2), [0, 0x80, 0]),
            (512, DiskAttributes(lowestAlignedBlock: 0xFFFF), [0, 0xFF, 0xFF]),
        ] as [(Int, DiskAttributes, [UInt8])])
    func capacity(blockSize: Int, attributes: DiskAttributes, bytes: [UInt8]) throws {
        let port = try DiskFixture(blocks: 64, blockSize: blockSize, attributes: attributes).initiator()
        let data = port.execute(CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 32, flags: 0x10)).dataIn
        #expect(data[13..<16] == bytes[...])
        #expect(data.rawSpan.loadBE32(at: 8) == UInt32(blockSize))
    }

    @Test(
        "Block Device Characteristics says rotation rate and form factor", arguments: [0, 1, 7200, 65534] as [UInt16])
    func characteristics(rate: UInt16) throws {
        let attributes = DiskAttributes(rotationRate: rate, formFactor: 3)
        let data = page(try DiskFixture(blocks: 64, attributes: attributes).initiator(), 0xB1)
        #expect(data.count == 64 && data.rawSpan.loadBE16(at: 4) == rate)
        #expect(data[6] == 0 && data[7] & 0x0F == 3 && data.dropFirst(8).allSatisfy { $0 == 0 })
    }

    @Test("Logical Block Provisioning says LBPRZ", arguments: [0, 1, 2] as [UInt8])
    func unmappedReads(value: UInt8) throws {
        let attributes = DiskAttributes(unmappedReads: value)
        let data = page(try DiskFixture(blocks: 64, attributes: attributes).initiator(), 0xB2)
        #expect(data[5] == 0xE0 | value << 2)
    }

    @Test(
        "A removable disk has RMB, and may be told to load and eject; another refuses that", arguments: [false, true])
    func removable(isRemovable: Bool) throws {
        let port = try DiskFixture(blocks: 64, attributes: DiskAttributes(isRemovable: isRemovable)).initiator()
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 36, 0]).dataIn[1] == (isRemovable ? 0x80 : 0))
        // REPORT SUPPORTED OPERATION CODES of START STOP UNIT: CDB usage data.
        let usage = port.execute([OperationCode.maintenanceIn, 0x0C, 1, 0x1B, 0, 0, 0, 0, 1, 0, 0, 0]).dataIn
        #expect(usage[8] == (isRemovable ? 0xF7 : 0xF5))
        let sense = port.sense([OperationCode.startStopUnit, 0, 0, 0, 0x03, 0])
        #expect(sense == (isRemovable ? nil : invalidField(4, bit: 1)))
        // There is nothing to remove, so preventing it costs nothing.
        #expect(port.execute([OperationCode.preventAllowMediumRemoval, 0, 0, 0, 1, 0]).status == .good)
        #expect(
            port.sense([OperationCode.preventAllowMediumRemoval, 0, 0, 0, 2, 0]) == invalidField(4, bit: 1))
    }

    @Test("A disk becomes read-only and writable again while it is used; who uses it learns of it")
    func readOnly() throws {
        let fixture = try DiskFixture(blocks: 64)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let block = [UInt8](repeating: 3, count: 512)
        fixture.unit.setReadOnly(false)
        #expect(port.port.clearUnitAttentions() == [])
        fixture.unit.setReadOnly(true)
        for initiator in [port, other] {
            #expect(initiator.port.clearUnitAttentions() == [.modeParametersChanged])
            #expect(initiator.write(0, block).sense == SenseData(.dataProtect, .writeProtected))
            #expect(initiator.execute([OperationCode.modeSense6, 8, 0x3F, 0, 255, 0]).dataIn[2] == 0x90)
        }
        // SWP comes and goes, and the operator's word stays.
        let control: [UInt8] = [0, 0, 0, 0, 0x0A, 10, 0x20, 0x10, 0x08, 0, 0, 0, 0, 0, 0, 0]
        #expect(port.execute([OperationCode.modeSelect6, 0x10, 0, 0, 16, 0], dataOut: control).status == .good)
        #expect(port.write(0, block).sense == SenseData(.dataProtect, .writeProtected))
        #expect(port.port.manage(.logicalUnitReset) == .complete)
        port.port.clearUnitAttentions()
        #expect(port.write(0, block).sense == SenseData(.dataProtect, .writeProtected))
        fixture.unit.setReadOnly(false)
        #expect(port.port.clearUnitAttentions() == [.modeParametersChanged])
        #expect(port.write(0, block).status == .good)
    }
}

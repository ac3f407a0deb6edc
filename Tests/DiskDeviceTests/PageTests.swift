import Bytes
import DeviceTestSupport
import DiskDevice
import SCSI
import TargetCore
import Testing

@Suite("INQUIRY, capacity, mode and log pages")
struct PageTests {
    private func page(_ port: DiskInitiator, _ code: UInt8) -> [UInt8] {
        port.execute([OperationCode.inquiry, 1, code, 0xFF, 0xFF, 0]).dataIn
    }

    @Test("Standard INQUIRY data claim a disk of SPC-4 and SBC-3")
    func standard() throws {
        let data = try DiskFixture(blocks: 64).initiator().execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).dataIn
        #expect(data[0] == 0 && data[1] == 0 && data[2] == 6)
        let descriptors = stride(from: 58, to: 74, by: 2).map { data.rawSpan.loadBE16(at: $0) }
        #expect(descriptors.contains(VersionDescriptor.sbc3))
    }

    @Test("Every VPD page that is listed is there, in order, with its own code and length")
    func vitalProductData() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        let list = Array(page(port, 0).dropFirst(4))
        #expect(list == [0x00, 0x80, 0x83, 0x86, 0x87, 0x88, 0x8A, 0x8F, 0xB0, 0xB1, 0xB2])
        for code in list {
            let data = page(port, code)
            #expect(data[0] == 0 && data[1] == code)
            #expect(Int(data.rawSpan.loadBE16(at: 2)) == data.count - 4)
        }
        #expect(port.sense([0x12, 1, 0xB3, 0, 255, 0]) == invalidField(2))
    }

    @Test("Block Limits", arguments: [512, 4096])
    func blockLimits(blockSize: Int) throws {
        let data = page(try DiskFixture(blocks: 64, blockSize: blockSize).initiator(), 0xB0)
        #expect(data.count == 64)
        #expect(data[4] == 0)  // WSNZ
        #expect(data[5] == 255)
        #expect(Int(data.rawSpan.loadBE32(at: 8)) == (16 << 20) / blockSize)
        #expect(data.rawSpan.loadBE32(at: 20) == UInt32.max)
        #expect(data.rawSpan.loadBE32(at: 24) == 256)
        // A granularity of one block is not reported: it says nothing, and QEMU 7.2 aborts.
        let granularity = blockSize == 512 ? 8 : 0
        #expect(Int(data.rawSpan.loadBE16(at: 6)) == granularity)
        #expect(Int(data.rawSpan.loadBE32(at: 28)) == granularity)
        #expect(data.rawSpan.loadBE32(at: 32) == (blockSize == 512 ? 0x8000_0000 : 0))
        #expect(data.rawSpan.loadBE64(at: 36) == 32768)
        // Atomic writes up to 1 MiB, without alignment or granularity, and without boundaries.
        #expect(Int(data.rawSpan.loadBE32(at: 44)) == (1 << 20) / blockSize)
        #expect(data.dropFirst(48).allSatisfy { $0 == 0 })
    }

    @Test("Block Device Characteristics and Logical Block Provisioning")
    func otherPages() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        let characteristics = page(port, 0xB1)
        #expect(characteristics.count == 64 && characteristics.rawSpan.loadBE16(at: 4) == 1)
        #expect(page(port, 0xB2) == [0, 0xB2, 0, 4, 11, 0xE4, 2, 0])
    }

    @Test("READ CAPACITY says the last block, the block length and thin provisioning")
    func capacity() throws {
        let port = try DiskFixture(blocks: 4096, attributes: DiskAttributes(physicalBlockExponent: 3)).initiator()
        #expect(
            port.execute(CDB.ten(OperationCode.readCapacity10, lba: 0, count: 0)).dataIn == [
                0, 0, 0x0F, 0xFF, 0, 0, 2, 0,
            ])
        let long = port.execute(CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 255, flags: 0x10)).dataIn
        #expect(long == [0, 0, 0, 0, 0, 0, 0x0F, 0xFF, 0, 0, 2, 0, 0, 3, 0xC0, 0] + [UInt8](repeating: 0, count: 16))
        #expect(
            port.execute(CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 8, flags: 0x10)).dataIn
                == Array(long.prefix(8)))
    }

    @Test("More than 2 TiB is all ones in READ CAPACITY(10) and in the short block descriptor")
    func largeCapacity() throws {
        let port = try DiskFixture(blocks: 1 << 33).initiator()
        #expect(
            port.execute(CDB.ten(OperationCode.readCapacity10, lba: 0, count: 0)).dataIn.prefix(4) == [
                0xFF, 0xFF, 0xFF, 0xFF,
            ])
        let last = (1 << 33) - 1
        #expect(port.write(last, [UInt8](repeating: 4, count: 512)).status == .good)
        #expect(port.read(last, 1).allSatisfy { $0 == 4 })
        #expect(
            port.execute([OperationCode.modeSense6, 0, 0x08, 0, 255, 0]).dataIn[4..<8] == [0xFF, 0xFF, 0xFF, 0xFF])
    }

    @Test("Each mode page alone is what it is among all")
    func modePages() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        let all = port.execute([OperationCode.modeSense6, 0x08, 0x3F, 0, 255, 0]).dataIn
        #expect(Int(all[0]) == all.count - 1)
        #expect(all[2] == 0x10)  // DPOFUA, not write protected
        var codes: [UInt8] = []
        var offset = 4
        while offset < all.count {
            let code = all[offset]
            let length = Int(all[offset + 1]) + 2
            codes.append(code)
            let alone = port.execute([OperationCode.modeSense6, 0x08, code, 0, 255, 0]).dataIn
            #expect(Array(alone.dropFirst(4)) == Array(all[offset..<offset + length]))
            offset += length
        }
        #expect(codes == [0x01, 0x08, 0x0A, 0x1A, 0x1C])
        #expect(port.execute([OperationCode.modeSense10, 0x10, 0x08, 0, 0, 0, 0, 0, 255, 0]).dataIn[4] == 1)  // LONGLBA
        #expect(port.sense([OperationCode.modeSense6, 0, 0x05, 0, 255, 0]) == invalidField(2, bit: 5))
        #expect(
            port.sense([OperationCode.modeSense6, 0, 0xC8, 0, 255, 0])?.additionalSenseCode
                == .savingParametersNotSupported)
    }

    @Test("MODE SELECT leaves capacity and block length alone")
    func blockDescriptor() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        func select(_ descriptor: [UInt8]) -> SenseData? {
            port.sense([OperationCode.modeSelect6, 0x10, 0, 0, 12, 0], dataOut: [0, 0, 0, 8] + descriptor)
        }
        #expect(select([0, 0, 0, 64, 0, 0, 2, 0]) == nil)
        #expect(select([0, 0, 0, 0, 0, 0, 2, 0]) == nil)
        #expect(select([0, 0, 0, 63, 0, 0, 2, 0]) == invalidParameter(7))
        #expect(select([0, 0, 0, 64, 0, 0, 0x10, 0]) == invalidParameter(10))
    }

    @Test("D_SENSE, SWP and WCE can be changed, and a reset restores the defaults")
    func changeableBits() throws {
        let fixture = try DiskFixture(blocks: 64)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let control: [UInt8] = [0, 0, 0, 0, 0x0A, 10, 0x24, 0x10, 0x08, 0, 0, 0, 0, 0, 0, 0]
        #expect(port.execute([OperationCode.modeSelect6, 0x10, 0, 0, 16, 0], dataOut: control).status == .good)
        #expect(fixture.logicalUnit.usesDescriptorSense)
        #expect(other.port.clearUnitAttentions() == [.modeParametersChanged])
        #expect(port.port.clearUnitAttentions() == [])
        let block = [UInt8](repeating: 1, count: 512)
        #expect(port.write(0, block).sense == SenseData(.dataProtect, .softwareWriteProtected))
        #expect(other.execute([OperationCode.modeSense6, 0x08, 0x0A, 0, 255, 0]).dataIn[2] == 0x90)
        var wrong = control
        wrong[7] = 0
        #expect(
            port.sense([OperationCode.modeSelect6, 0x10, 0, 0, 16, 0], dataOut: wrong) == invalidParameter(7, bit: 4))
        #expect(port.port.manage(.logicalUnitReset) == .complete)
        #expect(port.port.clearUnitAttentions() == [.busDeviceResetOccurred])
        #expect(other.port.clearUnitAttentions() == [.busDeviceResetOccurred])
        #expect(!fixture.logicalUnit.usesDescriptorSense)
        #expect(port.write(0, block).status == .good)
    }

    @Test("READ DEFECT DATA has empty lists")
    func defects() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        #expect(
            port.execute([OperationCode.readDefectData10, 0, 0x1D, 0, 0, 0, 0, 0, 255, 0]).dataIn == [0, 0x1D, 0, 0])
        #expect(
            port.execute([OperationCode.readDefectData12, 0x1D, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]).dataIn == [
                0, 0x1D, 0, 0, 0, 0, 0, 0,
            ])
    }

    @Test("Every log page that is listed is there, and counts what was read and written")
    func logPages() throws {
        let fixture = try DiskFixture(blocks: 64)
        let port = fixture.initiator()
        func log(_ code: UInt8) -> [UInt8] {
            port.execute([OperationCode.logSense, 0, 0x40 | code, 0, 0, 0, 0, 0xFF, 0xFF, 0]).dataIn
        }
        let codes: [UInt8] = [0x02, 0x03, 0x05, 0x06, 0x0D, 0x0E, 0x0F, 0x10, 0x11, 0x15, 0x19, 0x1A, 0x2F]
        #expect(log(0) == [0, 0, 0, 14, 0] + codes)
        for code in codes {
            let page = log(code)
            #expect(page[0] == code && Int(page.rawSpan.loadBE16(at: 2)) == page.count - 4)
        }
        port.write(0, [UInt8](repeating: 1, count: 1024))
        _ = port.read(0, 3)
        // Write Error Counters: 0005h total bytes, 0006h uncorrected errors; Read Error Counters: the same.
        let written = log(0x02)
        #expect(written.count == 4 + 7 * 12 && written.rawSpan.loadBE64(at: 4 + 5 * 12 + 4) == 1024)
        #expect(log(0x03).rawSpan.loadBE64(at: 4 + 5 * 12 + 4) == 1536)
        #expect(log(0x05).count == 4 + 6 * 12)
        let general = log(0x19)
        #expect((0..<4).map { general.rawSpan.loadBE64(at: 8 + $0 * 8) } == [1, 1, 2, 3])
        #expect(log(0x0D) == [0x0D, 0, 0, 12, 0, 0, 3, 2, 0, 0xFF, 0, 1, 3, 2, 0, 0xFF])
        #expect(log(0x11) == [0x11, 0, 0, 8, 0, 1, 3, 4, 0, 0, 0, 0])
        #expect(log(0x2F) == [0x2F, 0, 0, 7, 0, 0, 3, 3, 0, 0, 0xFF])
        #expect(Array(log(0x15).prefix(8)) == [0x15, 0, 0, 16, 0, 0, 3, 12])
    }

    @Test("The timestamp is said to be changeable by others, and by SCSI first")
    func controlExtension() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        let page = port.execute([OperationCode.modeSense6, 0x08, 0x0A, 0x01, 255, 0]).dataIn
        #expect(Array(page.dropFirst(4)) == [0x4A, 0x01, 0, 0x1C, 0x06] + [UInt8](repeating: 0, count: 27))
    }
}

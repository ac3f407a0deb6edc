import Bytes
import DeviceTestSupport
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("The threshold of a thin provisioned disk")
struct ThresholdTests {
    private let blocksPerSet = 2048
    private let logSense: [UInt8] = [OperationCode.logSense, 0, 0x4C, 0, 0, 0, 0, 0, 255, 0]
    private let modeSense: [UInt8] = [OperationCode.modeSense10, 8, 0x1C, 2, 0, 0, 0, 0, 255, 0]

    @Test("The pages say the threshold, and what is used and free, in sets of 1 MiB", arguments: [512, 4096])
    func pages(blockSize: Int) throws {
        let fixture = try DiskFixture(blocks: (16 << 20) / blockSize, blockSize: blockSize)
        let port = fixture.initiator()
        #expect(port.execute([OperationCode.inquiry, 1, 0xB2, 0, 255, 0]).dataIn[4] == (blockSize == 512 ? 11 : 8))
        let header: [UInt8] = [0x5C, 0x02, 0, 20] + [UInt8](repeating: 0, count: 12)
        #expect(Array(port.execute(modeSense).dataIn.dropFirst(8)) == header + [UInt8](repeating: 0, count: 8))
        #expect(port.sense(logSense) == invalidField(2, bit: 5))
        fixture.unit.setThreshold(percent: 75)
        #expect(port.port.clearUnitAttentions() == [.modeParametersChanged])
        #expect(Array(port.execute(modeSense).dataIn.dropFirst(8)) == header + [0x81, 2, 0, 0, 0, 0, 0, 12])
        let data = [UInt8](repeating: 1, count: 1 << 20)
        #expect(port.write(0, data, blockSize: blockSize, flags: 0x08).status == .good)
        #expect(fixture.unit.observeThreshold() == nil)
        let log = port.execute(logSense).dataIn
        #expect(log.count == 28 && Array(log.prefix(4)) == [0x0C, 0, 0, 24])
        #expect(Array(log[4..<8]) == [0, 1, 3, 8] && Array(log[16..<20]) == [0, 2, 3, 8])
        let (available, used) = (log.rawSpan.loadBE32(at: 8), log.rawSpan.loadBE32(at: 20))
        // The file system may take some more for itself.
        #expect(used >= 1 && used <= 2 && available + used == 16)
        #expect(log[12] == 1 && log[24] == 1)
        let pages = port.execute([OperationCode.logSense, 0, 0x40, 0, 0, 0, 0, 0, 255, 0]).dataIn.dropFirst(4)
        #expect(pages.contains(0x0C))
        // It is the operator's, not initiators'.
        var list: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0] + port.execute(modeSense).dataIn.dropFirst(8)
        list[31] = 5
        #expect(
            port.sense([OperationCode.modeSelect10, 0x10, 0, 0, 0, 0, 0, 0, UInt8(list.count), 0], dataOut: list)
                == invalidParameter(31, bit: 3))
        try fixture.unit.resize(to: 32 << 20)
        #expect(port.port.clearUnitAttentions() == [.capacityDataHasChanged])
        #expect(port.execute(modeSense).dataIn.last == 24)
        fixture.unit.setThreshold(percent: nil)
        #expect(port.port.clearUnitAttentions() == [.modeParametersChanged])
        #expect(port.sense(logSense) == invalidField(2, bit: 5))
    }

    @Test("Every nexus is told once when the threshold is reached, and again after less was used")
    func reaching() throws {
        let fixture = try DiskFixture(blocks: 8192)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        fixture.unit.setThreshold(percent: 50)
        for initiator in [port, other] { initiator.port.clearUnitAttentions() }
        let data = [UInt8](repeating: 1, count: 1 << 20)
        #expect(port.write(0, data, flags: 0x08).status == .good)
        #expect(fixture.unit.observeThreshold() == nil)
        for _ in 0..<2 {
            #expect(port.write(2048, data, flags: 0x08).status == .good)
            #expect(port.write(4096, data, flags: 0x08).status == .good)
            #expect(fixture.unit.observeThreshold()?.isNew == true)
            #expect(fixture.unit.observeThreshold()?.isNew == false)
            for initiator in [port, other] {
                #expect(initiator.port.clearUnitAttentions() == [.thinProvisioningSoftThresholdReached])
            }
            let unmap = CDB.sixteen(OperationCode.writeSame16, lba: 2048, count: 4096, flags: 0x09)
            #expect(port.execute(unmap).status == .good)
            #expect(fixture.unit.observeThreshold() == nil)
        }
        fixture.unit.setThreshold(percent: nil)
        #expect(fixture.unit.observeThreshold() == nil)
    }
}

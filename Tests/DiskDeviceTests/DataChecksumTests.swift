import DeviceTestSupport
import Foundation
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("Disks with checksums of data")
struct DataChecksumTests {
    /// Turns a bit over behind the disk's back, of the one place of its file that has these bytes.
    private func flip(_ fixture: DiskFixture, _ bytes: [UInt8]) throws {
        var content = try Data(contentsOf: URL(filePath: fixture.path))
        let place = try #require(content.range(of: Data(bytes)))
        let handle = try FileHandle(forUpdating: URL(filePath: fixture.path))
        content[place.lowerBound] ^= 1
        try handle.seek(toOffset: UInt64(place.lowerBound))
        try handle.write(contentsOf: content[place.lowerBound..<place.lowerBound + 1])
        try handle.close()
    }

    private func block(_ lba: Int, _ blockSize: Int) -> [UInt8] {
        [UInt8](repeating: 0xA5, count: 8) + [UInt8](repeating: UInt8(lba), count: blockSize - 8)
    }

    @Test("A flipped bit is a MEDIUM ERROR with its address, what is beside it is read", arguments: [512, 4096])
    func reads(blockSize: Int) throws {
        let fixture = try DiskFixture(blocks: 64, blockSize: blockSize, format: .checksums)
        let port = fixture.initiator()
        #expect(port.write(0, (1...64).flatMap { block($0, blockSize) }, blockSize: blockSize).status == .good)
        // On a reactor, or from what the lane reads.
        #expect(port.read(0, 64) == (1...64).flatMap { block($0, blockSize) })
        #expect(port.read(3, 1) == block(4, blockSize))
        let bad = 27
        try flip(fixture, block(bad + 1, blockSize))
        // The first block of the unit.
        let first = blockSize == 512 ? 24 : bad
        let sense = SenseData(.mediumError, .unrecoveredReadError, information: Int64(first))
        for form in Form.allCases {
            #expect(port.sense(form.command(form.readCode, lba: 0, count: 64)) == sense)
        }
        let inside = SenseData(.mediumError, .unrecoveredReadError, information: Int64(bad))
        #expect(port.sense(CDB.ten(OperationCode.read10, lba: bad, count: 1)) == inside)
        #expect(port.sense(CDB.ten(OperationCode.verify10, lba: bad, count: 1)) == inside)
        #expect(port.read(0, first).count == first * blockSize)
        #expect(port.read(32, 32).count == 32 * blockSize)
        if blockSize == 512 {
            #expect(port.write(bad + 1, block(1, 512)).sense?.key == .mediumError)
            #expect(port.sense(CDB.ten(OperationCode.read10, lba: bad, count: 1)) == inside)
        }
        // Who writes all of the unit has it again.
        let count = blockSize == 512 ? 8 : 1
        let new = (0..<count).flatMap { block(100 + $0, blockSize) }
        #expect(port.write(first, new, blockSize: blockSize).status == .good)
        #expect(port.read(first, count) == new)
        #expect(fixture.leasedBytes(port) == 0)
    }
}

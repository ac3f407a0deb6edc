import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("What is told of copies")
struct CopyStatusTests {
    private typealias Segment = CopyList.Segment

    @Test("RECEIVE COPY OPERATING PARAMETERS says what the VPD page says")
    func parameters() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let data = port.execute(CopyCDB.receive(3)).dataIn
        #expect(
            data == [
                0, 0, 0, 43, 1, 0, 0, 0, 0, 16, 0, 64, 0, 0, 10, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 16, 16, 9, 0, 0, 0, 0, 0, 3, 0x02, 0x0A, 0xE4,
            ])
        #expect(port.execute(CopyCDB.receive(3, allocationLength: 5)).dataIn == Array(data.prefix(5)))
        #expect(port.execute(CopyCDB.receive(3, allocationLength: 0)).dataIn.isEmpty)
        let page = descriptors(port)
        #expect(Array(page[0x0004]!.prefix(16)) == [0, 0, 0, 0] + data[8..<16] + [0, 0, 0, 0])
        #expect(page[0x8001]!.be32(at: 8) == data.be32(at: 16))
        #expect(page[0x8001]![12] == 9)
        #expect(page[0x0008]! == [3, 0x02, 0x0A, 0xE4])
    }

    /// The third-party copy descriptors of the VPD page, by type.
    private func descriptors(_ port: CopyInitiator) -> [UInt16: [UInt8]] {
        let page = port.execute([OperationCode.inquiry, 1, 0x8F, 0x10, 0, 0]).dataIn
        #expect(page[1] == 0x8F && Int(page.be16(at: 2)) == page.count - 4)
        var descriptors: [UInt16: [UInt8]] = [:]
        var offset = 4
        var last = -1
        while offset + 4 <= page.count {
            let type = page.be16(at: offset)
            let length = Int(page.be16(at: offset + 2))
            #expect(length % 4 == 0 && Int(type) > last)
            last = Int(type)
            descriptors[type] = Array(page[offset + 4..<offset + 4 + length])
            offset += 4 + length
        }
        #expect(offset == page.count)
        return descriptors
    }

    @Test("The Third-party Copy VPD page lists the commands that there are, and the ROD types", arguments: [512, 4096])
    func page(blockSize: Int) throws {
        let fixture = try CopyFixture(blockSizes: [blockSize])
        let port = fixture.initiator()
        let page = descriptors(port)
        #expect(page.keys.sorted() == [0x0000, 0x0001, 0x0004, 0x0008, 0x000C, 0x0106, 0x0108, 0x8001])
        #expect(page[0x0001]! == [14, 0x83, 5, 0, 1, 0x10, 0x11, 0x1C, 0x84, 5, 0, 3, 4, 5, 7, 0])
        #expect(page[0x000C]! == [0, 2, 0xFF, 0xFF])
        let limits = page[0x0000]!
        #expect(limits.count == 32 && limits.be16(at: 6) == 64)
        #expect(limits.be32(at: 8) == 600 && limits.be32(at: 12) == 60)
        #expect(limits.be64(at: 16) == UInt64((256 << 20) / blockSize))
        let types = page[0x0108]!
        #expect(types.be16(at: 2) == 192 && types.count == 196)
        #expect(
            stride(from: 4, to: 196, by: 64).map { types.be32(at: $0) } == [
                0x0080_0001, 0x0080_FFFF, 0xFFFF_0001,
            ])
        // A block device zero ROD token is never returned.
        #expect([types[8], types[72], types[136]] == [3, 1, 2])
        let features = page[0x0106]!
        #expect(features.be16(at: 42) == 48 && features.count == 92)
        // 3PC.
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).dataIn[5] & 0x08 != 0)
    }

    @Test("RECEIVE COPY STATUS(LID1) is given once; failure details once they have been taken whole")
    func shortStatus() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        #expect(port.execute(CopyCDB.receive(0, 1)).sense == invalidField(2))
        #expect(port.execute(CopyCDB.receive(4, 1)).sense == invalidField(2))
        let list = CopyList(fixture.disks, [Segment(count: 3), Segment(count: 5)])
        #expect(port.copy(list).status == .good)
        #expect(port.execute(CopyCDB.receive(0, 2)).sense == invalidField(2))
        #expect(port.execute(CopyCDB.receive(0, 1), unit: 1).sense == invalidField(2))
        let other = fixture.initiator("iqn.2026-11.test:b")
        #expect(other.execute(CopyCDB.receive(0, 1)).sense == invalidField(2))
        #expect(port.execute(CopyCDB.receive(0, 1)).dataIn == [0, 0, 0, 8, 0x01, 0, 2, 0, 0, 0, 0x10, 0])
        #expect(port.execute(CopyCDB.receive(0, 1)).sense == invalidField(2))
        #expect(port.execute(CopyCDB.receive(4, 1)).dataIn == [0, 0, 0, 0])
        // One that fails in its second segment.
        let failing = CopyList(fixture.disks, [Segment(count: 3), Segment(from: 16384, count: 5)])
        let failed = port.copy(failing)
        #expect(failed.status == .checkCondition)
        let sense = failed.verbatimSense ?? []
        let details = [0, 0, 0, UInt8(56 + sense.count)] + [UInt8](repeating: 0, count: 52) + [2, 0, 0, 18] + sense
        #expect(port.execute(CopyCDB.receive(4, 1, allocationLength: 60)).dataIn == Array(details.prefix(60)))
        #expect(port.execute(CopyCDB.receive(4, 1)).dataIn == details)
        #expect(port.execute(CopyCDB.receive(4, 1)).sense == invalidField(2))
        #expect(port.execute(CopyCDB.receive(0, 1)).dataIn == [0, 0, 0, 8, 0x02, 0, 2, 0, 0, 0, 6, 0])
        // Nothing wanted is all taken.
        _ = port.copy(failing)
        #expect(port.execute(CopyCDB.receive(4, 1, allocationLength: 0)).status == .good)
        #expect(port.execute(CopyCDB.receive(4, 1)).sense == invalidField(2))
    }

    @Test("RECEIVE COPY STATUS(LID4) of a copy that is under way, and of one that has ended")
    func longStatus() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        fixture.engine.hold()
        var list = CopyList(fixture.disks, [Segment(count: 1), Segment(count: 4096)]).long
        list.identifier = 0xDEAD_BEEF
        let copy = port.submit(CopyCDB.extendedCopy(list.bytes.count, isLong: true), dataOut: list.bytes)
        for _ in 0..<4 {
            fixture.settle()
            fixture.engine.step()
        }
        fixture.settle()
        let running = port.execute(CopyCDB.receive(5, 0xDEAD_BEEF)).dataIn
        #expect(running.count == 32 && running.be32(at: 0) == 28)
        #expect(running[4] == 0x01 && running[5] == 0x11)
        #expect(running.be16(at: 6) == 4 && running.be32(at: 8) == 100)
        #expect(running.be64(at: 16) == 512 + 1 << 20)
        #expect(running.be16(at: 24) == 2)
        // The list identifier is in use.
        let duplicate = port.copy(list).sense
        #expect(duplicate == SenseData(.illegalRequest, .operationInProgress))
        fixture.engine.release()
        #expect(copy.outcome.wait().status == .good)
        for _ in 0..<2 {
            let ended = port.execute(CopyCDB.receive(5, 0xDEAD_BEEF)).dataIn
            #expect(ended[5] == 0x01 && ended.be32(at: 8) == 0xFFFF_FFFE && ended[12] == 0)
            #expect(ended.be64(at: 16) == 512 * 4097)
        }
    }

    @Test("The two forms of EXTENDED COPY do not share a list identifier at a time")
    func forms() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let short = CopyList(fixture.disks, [Segment(count: 1)])
        fixture.engine.hold()
        let copy = port.submit(CopyCDB.extendedCopy(short.bytes.count), dataOut: short.bytes)
        #expect(port.copy(short).sense == SenseData(.illegalRequest, .operationInProgress))
        #expect(port.copy(short.long).sense == invalidParameter(20))
        fixture.settle()
        fixture.engine.release()
        #expect(copy.outcome.wait().status == .good)
        // Afterwards the number is free, and what was kept under it goes.
        #expect(port.copy(short.long).status == .good)
        #expect(port.execute(CopyCDB.receive(5, 1)).dataIn[4] == 0x01)
        #expect(port.execute(CopyCDB.receive(4, 1)).sense == invalidField(2))
    }

    @Test("LIST ID USAGE 11b keeps nothing")
    func unnamed() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        var list = CopyList(fixture.disks, [Segment(count: 1)])
        (list.usage, list.identifier) = (3, 0)
        #expect(port.copy(list).status == .good)
        #expect(port.execute(CopyCDB.receive(0, 0)).sense == invalidField(2))
        list.usage = 2
        #expect(port.copy(list).status == .good)
        #expect(port.execute(CopyCDB.receive(0, 0)).status == .good)
    }

    @Test("Of each nexus the latest 32 results are kept, and none after its loss or a reset")
    func results() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        var list = CopyList(fixture.disks, [Segment(count: 1)])
        for number in 0..<40 {
            list.identifier = UInt32(number)
            #expect(port.copy(list).status == .good)
        }
        for number in 0..<40 {
            #expect((port.execute(CopyCDB.receive(5, UInt32(number))).status == .good) == (number >= 8))
        }
        #expect(port.port.manage(.logicalUnitReset) == .complete)
        port.port.clearUnitAttentions()
        #expect(port.execute(CopyCDB.receive(5, 39)).sense == invalidField(2))
        #expect(port.copy(list).status == .good)
        port.port.logOut()
        let again = fixture.initiator()
        #expect(again.execute(CopyCDB.receive(5, 39)).sense == invalidField(2))
    }

    @Test("REPORT SUPPORTED OPERATION CODES has the commands, and reserved bits are refused")
    func fields() throws {
        let port = try CopyFixture().initiator()
        for action in [UInt8(0), 1, 0x10, 0x11, 0x1C] {
            var command = [UInt8](repeating: 0, count: 16)
            (command[0], command[1], command[14]) = (0x83, action, 0x20)
            #expect(port.execute(command).sense == invalidField(14, bit: 5))
        }
        for action in [UInt8(2), 0x12, 0x1F] {
            #expect(port.execute([0x83, action] + [UInt8](repeating: 0, count: 14)).sense == invalidField(1, bit: 4))
        }
        for action in [UInt8(0), 3, 4, 5, 7] {
            var command = CopyCDB.receive(action)
            command[6] = 1
            #expect(port.execute(command).sense == invalidField(6, bit: 0))
        }
        for action in [UInt8(1), 2, 6, 8] { #expect(port.execute(CopyCDB.receive(action)).sense != nil) }
    }
}

import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("EXTENDED COPY")
struct ExtendedCopyTests {
    private typealias Segment = CopyList.Segment

    @Test("Blocks go from one disk to another, by both forms of the command", arguments: [false, true])
    func copies(isLong: Bool) throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        var list = CopyList(
            fixture.disks,
            [
                Segment(from: 1, to: 100, count: 5000), Segment(from: 9000, to: 9001, count: 1),
                Segment(source: 1, destination: 0, from: 0, to: 16383, count: 1), Segment(count: 0),
            ])
        if isLong { list = list.long }
        let before = [fixture.bytes(0, 0..<8 << 20), fixture.bytes(1, 0..<8 << 20)]
        #expect(port.copy(list).status == .good)
        var expected = before[1]
        expected.replaceSubrange(100 * 512..<5100 * 512, with: before[0][512..<5001 * 512])
        expected.replaceSubrange(9001 * 512..<9002 * 512, with: before[0][9000 * 512..<9001 * 512])
        #expect(fixture.bytes(1, 0..<8 << 20) == expected)
        #expect(fixture.bytes(0, 16383 * 512..<16384 * 512) == Array(before[1][0..<512]))
        #expect(fixture.leasedBytes == 0)
    }

    @Test("Protection information is checked where a copy reads and made anew where it writes")
    func protection() throws {
        let fixture = try CopyFixture(protection: .type1)
        let port = fixture.initiator()
        var sent = ProtectedBlocks(fixture.bytes(0, 5 * 512..<8 * 512), first: 5)
        func write() -> CommandResult {
            port.port.execute(
                CDB.ten(OperationCode.write10, lba: 5, count: 3, flags: 0x60), logicalUnit: 0, dataOut: sent.bytes)
        }
        #expect(write().status == .good)
        let list = CopyList(fixture.disks, [Segment(from: 5, to: 100, count: 3)])
        #expect(port.copy(list).status == .good)
        let read = CDB.ten(OperationCode.read10, lba: 100, count: 3, flags: 0x20)
        let made = ProtectedBlocks(sent.data, first: 100, application: .max)
        #expect(port.port.execute(read, logicalUnit: 1).dataIn == made.bytes)
        sent.information[1].blockGuard ^= 1
        #expect(write().status == .good)
        // What the source has answered: ABORTED COMMAND, LOGICAL BLOCK GUARD CHECK FAILED, as to a READ.
        let source = try #require(AbortedCopy(port.copy(list))?.source)
        #expect(source.count == 19 && source[0] == 0x02 && source[1] == 0xF0 && source[3] & 0x0F == 0x0B)
        #expect(source[13] == 0x10 && source[14] == 0x01 && source.be32(at: 4) == 6)
    }

    @Test("FFFFh is the unit that the command was sent to; a unit can name itself and no other")
    func ownUnit() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let list = CopyList([fixture.disks[0]], [Segment(source: 0xFFFF, destination: 0, from: 8, to: 100, count: 10)])
        #expect(port.copy(list).status == .good)
        #expect(fixture.bytes(0, 100 * 512..<110 * 512) == fixture.bytes(0, 8 * 512..<18 * 512))
        let before = fixture.bytes(1, 0..<1 << 20)
        #expect(port.copy(list, unit: 1).status == .good)
        #expect(fixture.bytes(0, 100 * 512..<110 * 512) == Array(before[8 * 512..<18 * 512]))
    }

    @Test("Overlapping blocks of one disk are copied as if all were read first", arguments: [-3000, -1, 0, 1, 3000])
    func overlap(distance: Int) throws {
        let fixture = try CopyFixture(blockSizes: [512])
        let port = fixture.initiator()
        let before = fixture.bytes(0, 0..<8 << 20)
        let segment = Segment(destination: 0, from: 4000, to: 4000 + distance, count: 7000)
        #expect(port.copy(CopyList(fixture.disks, [segment])).status == .good)
        var expected = before
        expected.replaceSubrange(
            (4000 + distance) * 512..<(11000 + distance) * 512, with: before[4000 * 512..<11000 * 512])
        #expect(fixture.bytes(0, 0..<8 << 20) == expected)
    }

    @Test("Between block sizes DC says which blocks are counted")
    func blockSizes() throws {
        let fixture = try CopyFixture(blockSizes: [512, 4096])
        let port = fixture.initiator()
        let source = fixture.bytes(0, 0..<8 << 20)
        #expect(port.copy(CopyList(fixture.disks, [Segment(from: 3, to: 1, count: 16)])).status == .good)
        #expect(fixture.bytes(1, 4096..<3 * 4096) == Array(source[3 * 512..<19 * 512]))
        #expect(port.copy(CopyList(fixture.disks, [Segment(from: 5, to: 9, count: 2, flags: 2)])).status == .good)
        #expect(fixture.bytes(1, 9 * 4096..<11 * 4096) == Array(source[5 * 512..<21 * 512]))
        let back = Segment(source: 1, destination: 0, from: 100, to: 7, count: 3)
        let large = fixture.bytes(1, 100 * 4096..<103 * 4096)
        #expect(port.copy(CopyList(fixture.disks, [back])).status == .good)
        #expect(fixture.bytes(0, 7 * 512..<31 * 512) == large)
    }

    @Test("A segment of type 0Ah counts bytes, from any byte of its first block on", arguments: [0, 1, 511])
    func bytes(offset: Int) throws {
        let fixture = try CopyFixture(blockSizes: [512, 4096])
        let port = fixture.initiator()
        let source = fixture.bytes(0, 0..<8 << 20)
        let start = 3 * 512 + offset
        func segment(_ count: Int, destination: UInt16 = 1, to: Int) -> Segment {
            Segment(destination: destination, from: 3, to: to, count: count, offsets: (UInt16(offset), 0))
        }
        #expect(port.copy(CopyList(fixture.disks, [segment(3 << 20, to: 7)])).status == .good)
        #expect(fixture.bytes(1, 7 * 4096..<7 * 4096 + 3 << 20) == Array(source[start..<start + 3 << 20]))
        // Onto itself, upwards: as if all were read first. Another segment may follow, of the other type.
        let second = Segment(source: 1, destination: 0, from: 7, count: 1)
        let list = CopyList(fixture.disks, [segment(2 << 20, destination: 0, to: 4), second])
        #expect(port.copy(list).status == .good)
        let copied = fixture.bytes(0, 8 * 512..<4 * 512 + 2 << 20)
        #expect(copied == Array(source[start + 4 * 512..<start + 2 << 20]))
        #expect(fixture.bytes(0, 0..<4096) == Array(source[start..<start + 4096]))
    }

    @Test("What a segment of type 0Ah cannot ask for")
    func wrongBytes() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        func outcome(
            _ count: Int, from: Int = 0, source: UInt16 = 0, destination: UInt16 = 0, flags: UInt8 = 0
        ) -> AbortedCopy? {
            let segment = Segment(from: from, count: count, flags: flags, offsets: (source, destination))
            return AbortedCopy(port.copy(CopyList(fixture.disks, [segment])))
        }
        #expect(outcome(512, source: 512) == AbortedCopy(.invalidFieldInParameterList, pointer: [1, 28]))
        #expect(outcome(512, destination: 1) == AbortedCopy(.invalidFieldInParameterList, pointer: [1, 30]))
        #expect(outcome(64 << 20 + 1) == AbortedCopy(.invalidFieldInParameterList, pointer: [1, 8]))
        #expect(outcome(513) == AbortedCopy(.unexpectedInexactSegment))
        #expect(outcome(512, from: 16383, source: 1) == AbortedCopy(.noAdditionalSenseInformation, pointer: [1, 12]))
        let before = fixture.bytes(1, 0..<4096)
        #expect(outcome(0) == nil && fixture.bytes(1, 0..<4096) == before)
    }

    @Test("Data that do not fill a block: PAD and CAT decide")
    func inexact() throws {
        let fixture = try CopyFixture(blockSizes: [512, 4096])
        let port = fixture.initiator()
        let (small, large) = (fixture.disks[0], fixture.disks[1])
        let source = fixture.bytes(0, 0..<1 << 20)
        let before = fixture.bytes(1, 0..<1 << 20)
        func list(_ segments: [Segment], padSource: Bool = false, padDestination: Bool = false) -> CopyList {
            var list = CopyList(fixture.disks, segments)
            list.descriptors = [
                CopyList.descriptor(small.naa, pad: padSource), CopyList.descriptor(large.naa, pad: padDestination),
            ]
            return list
        }
        let segment = Segment(from: 0, to: 2, count: 11)
        #expect(AbortedCopy(port.copy(list([segment]))) == AbortedCopy(.unexpectedInexactSegment))
        #expect(fixture.bytes(1, 0..<1 << 20) == before)
        // Padded with zeros.
        for padSource in [false, true] {
            #expect(port.copy(list([segment], padSource: padSource, padDestination: true)).status == .good)
            let expected = Array(source[0..<11 * 512]) + [UInt8](repeating: 0, count: 5 * 512)
            #expect(fixture.bytes(1, 2 * 4096..<4 * 4096) == expected)
        }
        // Discarded: one block of the destination is filled, and the next one stays.
        let discarded = Segment(from: 20, to: 10, count: 15)
        #expect(port.copy(list([discarded], padSource: true)).status == .good)
        #expect(fixture.bytes(1, 10 * 4096..<12 * 4096) == Array(source[20 * 512..<28 * 512] + before[45056..<49152]))
        // Retained for a segment that does not come.
        let retained = Segment(from: 40, to: 20, count: 9, flags: 1)
        #expect(port.copy(list([retained])).status == .good)
        #expect(fixture.bytes(1, 20 * 4096..<21 * 4096) == Array(source[40 * 512..<48 * 512]))
        let notLast = AbortedCopy(.invalidFieldInParameterList, pointer: [1, 1])
        #expect(AbortedCopy(port.copy(list([retained, segment]))) == notLast)
        // The other way, a part of the last block that is read is left over.
        let back = Segment(source: 1, destination: 0, from: 50, to: 900, count: 9, flags: 2)
        #expect(AbortedCopy(port.copy(list([back]))) == AbortedCopy(.unexpectedInexactSegment))
        var discarding = list([back])
        discarding.descriptors[1] = CopyList.descriptor(large.naa, pad: true)
        let read = fixture.bytes(1, 50 * 4096..<52 * 4096)
        #expect(port.copy(discarding).status == .good)
        #expect(fixture.bytes(0, 900 * 512..<909 * 512) == Array(read[0..<9 * 512]))
        #expect(fixture.bytes(0, 909 * 512..<910 * 512) == Array(source[909 * 512..<910 * 512]))
    }

    @Test("A segment that is wrong ends the copy with the segment's number and the byte in error")
    func wrongSegments() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let good = Segment(count: 1)
        func outcome(_ segment: Segment) -> AbortedCopy? {
            AbortedCopy(port.copy(CopyList(fixture.disks, [good, segment])))
        }
        let before = fixture.bytes(1, 512..<8 << 20)
        #expect(
            outcome(Segment(source: 2, count: 1)) == AbortedCopy(.unreachableCopyTarget, segment: 1, pointer: [1, 4]))
        for identifier in [UInt16(2), 0x07FF, 0xC000, 0xC001, 0xF800, 0xFFFE] {
            #expect(
                outcome(Segment(destination: identifier, count: 1))
                    == AbortedCopy(.unreachableCopyTarget, segment: 1, pointer: [1, 6]))
        }
        for (from, count) in [(16384, 1), (16383, 2), (Int.max, 1), (1, 16384)] {
            #expect(
                outcome(Segment(from: from, count: count))
                    == AbortedCopy(.noAdditionalSenseInformation, segment: 1, pointer: [1, 12]))
        }
        #expect(
            outcome(Segment(to: 16383, count: 2))
                == AbortedCopy(.noAdditionalSenseInformation, segment: 1, pointer: [1, 20]))
        #expect(fixture.bytes(1, 512..<8 << 20) == before)
        #expect(fixture.leasedBytes == 0)
    }

    @Test("A segment has at most 64 MiB")
    func segmentLength() throws {
        let fixture = try CopyFixture(blockSizes: [4096])
        let list = CopyList(fixture.disks, [Segment(destination: 0, count: (64 << 20) / 4096 + 1)])
        #expect(
            AbortedCopy(fixture.initiator().copy(list)) == AbortedCopy(.invalidFieldInParameterList, pointer: [1, 10]))
    }

    @Test("A CSCD descriptor that names no disk that can be reached")
    func wrongDescriptors() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        var list = CopyList(fixture.disks, [Segment(count: 1)])
        func outcome(_ descriptor: [UInt8], at index: Int = 1) -> AbortedCopy? {
            list = CopyList(fixture.disks, [Segment(count: 1)])
            list.descriptors[index] = descriptor
            return AbortedCopy(port.copy(list))
        }
        let naa = fixture.disks[1].naa
        #expect(outcome(CopyList.descriptor(1)) == AbortedCopy(.copyTargetDeviceNotReachable, pointer: [0, 48]))
        #expect(
            outcome(CopyList.descriptor(1), at: 0) == AbortedCopy(.copyTargetDeviceNotReachable, pointer: [0, 16]))
        #expect(
            outcome(CopyList.descriptor(naa, type: 1)) == AbortedCopy(.incorrectCopyTargetDeviceType, pointer: [0, 48]))
        #expect(
            outcome(CopyList.descriptor(naa, blockSize: 4096))
                == AbortedCopy(.invalidFieldInParameterList, pointer: [0, 77]))
        // Another code set, association, designator type and length.
        for (offset, value) in [(4, 2), (5, 0x13), (5, 2), (7, 16), (7, 0)] {
            var descriptor = CopyList.descriptor(naa)
            descriptor[offset] = UInt8(value)
            #expect(outcome(descriptor) == AbortedCopy(.copyTargetDeviceNotReachable, pointer: [0, 48]))
        }
        // LU ID TYPE and RELATIVE INITIATOR PORT IDENTIFIER do not count.
        var ignored = CopyList.descriptor(naa)
        (ignored[1], ignored[2]) = (0xC0, 0x12)
        list.descriptors[1] = ignored
        #expect(port.copy(list).status == .good)
    }

    @Test("A copy goes on while other commands of the disks are performed, a piece at a time")
    func pieces() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        fixture.engine.hold()
        let list = CopyList(fixture.disks, [Segment(count: 8192)]).bytes
        let copy = port.submit(CopyCDB.extendedCopy(list.count), dataOut: list)
        var steps = 0
        while !copy.outcome.hasArrived {
            fixture.settle()
            if !fixture.engine.step() { fixture.settle() }
            steps += 1
            #expect(other.execute(CDB.ten(OperationCode.read10, lba: steps, count: 1), unit: 1).status == .good)
            #expect(port.execute(CDB.ten(OperationCode.readCapacity10, lba: 0, count: 0)).status == .good)
        }
        #expect(copy.outcome.wait().status == .good)
        // Four pieces of 1 MiB, each read and written.
        #expect(fixture.engine.performedCount == 8)
    }

    @Test("Sense data in descriptor format")
    func descriptorFormat() {
        let sense = CopySense(
            .thirdPartyDeviceFailure, segment: 0x0102, pointer: .list(48),
            answer: CopySense.Answer(
                isDestination: true, status: .checkCondition, sense: SenseData(.dataProtect, .writeProtected)),
            residual: 7)
        #expect(
            sense.encoded(isDescriptorFormat: true) == [
                0x72, 0x0A, 0x0D, 0x01, 0, 0, 0, 44, 0x00, 0x0A, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x01, 0x0A, 0, 0, 0,
                0, 1, 2, 0, 0, 0, 0, 0x02, 0x06, 0, 0, 0x80, 0, 48, 0, 0x0C, 0x0A, 0x02, 0x02, 0x72, 0x07, 0x27, 0, 0,
                0, 0, 0,
            ])
        let fixed = sense.encoded(isDescriptorFormat: false)
        #expect(
            fixed.prefix(19) == [0xF0, 0, 0x0A, 0, 0, 0, 7, 29, 0, 18, 1, 2, 0x0D, 0x01, 0, 0x80, 0, 48, 0x02])
        #expect(Array(fixed[19...]) == SenseData(.dataProtect, .writeProtected).encoded())
    }
}

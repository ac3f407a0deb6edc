import Bytes
import DeviceTestSupport
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("Parameter lists of EXTENDED COPY")
struct CopyListTests {
    private typealias Segment = CopyList.Segment
    private let lengthError = SenseData(.illegalRequest, .parameterListLengthError)

    private func list(_ fixture: CopyFixture, isLong: Bool) -> CopyList {
        let list = CopyList(fixture.disks, [Segment(from: 4, to: 8, count: 3), Segment(from: 40, to: 80, count: 3)])
        return isLong ? list.long : list
    }

    @Test("A list that is cut at any byte is refused, and nothing changes", arguments: [false, true])
    func cut(isLong: Bool) throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let bytes = list(fixture, isLong: isLong).bytes
        let before = fixture.bytes(1, 0..<1 << 20)
        for length in 1..<bytes.count {
            let result = port.execute(
                CopyCDB.extendedCopy(length, isLong: isLong), dataOut: Array(bytes.prefix(length)))
            #expect(result.sense == lengthError, "cut at \(length)")
        }
        #expect(port.execute(CopyCDB.extendedCopy(0, isLong: isLong)).status == .good)
        // The initiator has less than the command says.
        let short = port.execute(
            CopyCDB.extendedCopy(bytes.count, isLong: isLong), dataOut: Array(bytes.dropLast()))
        #expect(short.sense == SenseData(.illegalRequest, .invalidFieldInCommandInformationUnit))
        #expect(fixture.bytes(1, 0..<1 << 20) == before)
        #expect(port.execute(CopyCDB.receive(0x05, 1)).sense == invalidField(2))
    }

    @Test("Each length that lies is refused where it is, and nothing changes", arguments: [false, true])
    func lies(isLong: Bool) throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let bytes = list(fixture, isLong: isLong).bytes
        let before = fixture.bytes(1, 0..<1 << 20)
        func outcome(_ offset: Int, _ value: [UInt8]) -> SenseData? {
            var changed = bytes
            changed.replaceSubrange(offset..<offset + value.count, with: value)
            return port.execute(
                CopyCDB.extendedCopy(bytes.count, isLong: isLong), dataOut: changed
            ).sense
        }
        let header = isLong ? 48 : 16
        let (descriptors, segments, inline) = isLong ? (42, 44, 46) : (2, 10, 14)
        // The CSCD descriptor list: longer than all, no multiple, one less, none.
        #expect(outcome(descriptors, [0xFF, 0xE0]) == lengthError)
        #expect(outcome(descriptors, [0x00, 0x60]) == lengthError)
        #expect(outcome(descriptors, [0x00, 0x3F]) == invalidParameter(descriptors))
        #expect(outcome(descriptors, [0x00, 0x20])?.additionalSenseCode == .unsupportedSegmentDescriptorTypeCode)
        // The segment descriptor list: in the middle of a descriptor, and beyond the end.
        #expect(outcome(segments, [0xFF, 0xFF]) == lengthError)
        #expect(outcome(segments, [0x00, 57]) == lengthError)
        for length in 1...3 { #expect(outcome(segments, [0, UInt8(length)]) == invalidParameter(header + 64)) }
        for length in 4...27 { #expect(outcome(segments, [0, UInt8(length)]) == invalidParameter(header + 66)) }
        for length in 29...31 { #expect(outcome(segments, [0, UInt8(length)]) == invalidParameter(header + 92)) }
        #expect(outcome(inline, [0, 1]) == invalidParameter(isLong ? 46 : 12))
        if !isLong {
            #expect(outcome(8, [0xFF, 0xFF, 0xFF, 0xFF]) == lengthError)
            #expect(outcome(12, [0xFF, 0xFF, 0xFF, 0xFF]) == invalidParameter(12))
        }
        // The length of a segment descriptor and of a designator.
        for length in [UInt16(0), 23, 25, 0xFFFF] {
            let value = [UInt8(length >> 8), UInt8(length & 0xFF)]
            #expect(outcome(header + 64 + 2, value) == invalidParameter(header + 66))
        }
        #expect(outcome(header + 7, [21]) == invalidParameter(header + 7))
        #expect(outcome(header, [0xE0])?.additionalSenseCode == .unsupportedTargetDescriptorTypeCode)
        #expect(outcome(header + 32, [0xFF])?.additionalSenseCode == .unsupportedTargetDescriptorTypeCode)
        #expect(outcome(header + 64, [0x0B])?.additionalSenseCode == .unsupportedSegmentDescriptorTypeCode)
        // LIST ID USAGE.
        #expect(outcome(1, [0x08]) == invalidParameter(1, bit: 4))
        #expect(outcome(1, [0x18]) == invalidParameter(isLong ? 20 : 0))
        if isLong {
            #expect(outcome(0, [0]) == invalidParameter(0))
            #expect(outcome(2, [0, 0x40]) == invalidParameter(2))
            #expect(outcome(15, [0x02]) == invalidParameter(15, bit: 1))
            #expect(outcome(16, [0xE4]) == invalidParameter(16))
        }
        #expect(fixture.bytes(1, 0..<1 << 20) == before)
        // IMMED is no other command.
        if isLong {
            #expect(outcome(15, [0x01]) == nil)
            #expect(fixture.bytes(1, 8 * 512..<11 * 512) == fixture.bytes(0, 4 * 512..<7 * 512))
        }
    }

    @Test("More descriptors than there may be")
    func tooMany() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let descriptor = CopyList.descriptor(fixture.disks[1].naa)
        var list = CopyList([], [Segment(destination: 0, count: 1)])
        list.descriptors = [[UInt8]](repeating: descriptor, count: 17)
        #expect(port.copy(list).sense?.additionalSenseCode == .tooManyTargetDescriptors)
        list.descriptors = [[UInt8]](repeating: descriptor, count: 16)
        list.segments = [Segment](repeating: Segment(destination: 15, count: 1), count: 64)
        #expect(list.bytes.count == 16 + 2304)
        #expect(port.copy(list).status == .good)
        list.descriptors = [descriptor]
        list.segments = [Segment](repeating: Segment(destination: 0, count: 1), count: 65)
        #expect(port.copy(list).sense?.additionalSenseCode == .tooManySegmentDescriptors)
        list.descriptors = [[UInt8]](repeating: descriptor, count: 17)
        list.segments = [Segment](repeating: Segment(destination: 0, count: 1), count: 75)
        #expect(port.copy(list).sense == lengthError)
        // Nothing is fetched of a list that is longer than any.
        for length in [16 + 2561, Int(UInt32.max)] {
            #expect(port.execute(CopyCDB.extendedCopy(length)).sense == lengthError)
        }
        #expect(port.execute(CopyCDB.extendedCopy(48 + 2561, isLong: true)).sense == lengthError)
    }

    @Test("Any change of any byte is answered", arguments: [false, true])
    func everyByte(isLong: Bool) throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let bytes = list(fixture, isLong: isLong).bytes
        for offset in bytes.indices {
            for value in [UInt8(0x00), 0x01, 0x7F, 0x80, 0xFF] {
                var changed = bytes
                changed[offset] = value
                let result = port.execute(CopyCDB.extendedCopy(bytes.count, isLong: isLong), dataOut: changed)
                #expect(result.status == .good || result.status == .checkCondition)
            }
        }
        #expect(fixture.leasedBytes == 0)
        #expect(port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
    }
}

import Bytes
import SCSI
import Testing

@Suite("Sense data")
struct SenseTests {
    @Test("Fixed format: SPC-5 table 48")
    func fixed() {
        let sense = SenseData(
            .illegalRequest, .invalidFieldInCDB, fieldPointer: FieldPointer(isInCommand: true, byte: 2, bit: 5))
        #expect(
            sense.encoded() == [0x70, 0, 0x05, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xCD, 0x00, 0x02])
    }

    @Test("Stream bits and a negative information field, as a long block gives them")
    func stream() {
        let sense = SenseData(.noSense, .noAdditionalSenseInformation, information: -512, isIncorrectLength: true)
        let bytes = sense.encoded()
        #expect(bytes[0] == 0xF0)
        #expect(bytes[2] == 0x20)
        #expect(Array(bytes[3..<7]) == [0xFF, 0xFF, 0xFE, 0x00])
        #expect(SenseData(parsing: bytes.rawSpan) == sense)
    }

    @Test("Information that does not fit four bytes is not valid in the fixed format")
    func largeInformation() {
        let sense = SenseData(.mediumError, .unrecoveredReadError, information: 0x1_0000_0000)
        #expect(sense.encoded()[0] == 0x70)
        let unsigned = SenseData(.mediumError, .unrecoveredReadError, information: 0xFFFF_FFF0)
        #expect(Array(unsigned.encoded()[0..<7]) == [0xF0, 0, 3, 0xFF, 0xFF, 0xFF, 0xF0])
    }

    @Test("Descriptor format: information, field pointer, stream descriptors")
    func descriptors() {
        var sense = SenseData(.blankCheck, .endOfDataDetected, information: 7, isEndOfMedium: true)
        sense.fieldPointer = FieldPointer(isInCommand: false, byte: 0x102)
        #expect(
            sense.encoded(isDescriptorFormat: true) == [
                0x72, 0x08, 0x00, 0x05, 0, 0, 0, 24,
                0x00, 0x0A, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 7,
                0x02, 0x06, 0, 0, 0x80, 0x01, 0x02, 0,
                0x04, 0x02, 0, 0x40,
            ])
    }

    @Test("Any bytes parse or do not, without a trap", arguments: 0..<40)
    func garbage(length: Int) {
        for first in [0x70, 0x72, 0xF0, 0x00] as [UInt8] {
            var bytes = [UInt8](repeating: 0xFF, count: length)
            if length > 0 { bytes[0] = first }
            _ = SenseData(parsing: bytes.rawSpan)
        }
    }
}

@Suite("Logical unit numbers and commands")
struct IdentifierTests {
    @Test(
        "Peripheral, flat and extended flat addressing",
        arguments: [
            (0, 0x0000_0000_0000_0000), (1, 0x0001_0000_0000_0000), (255, 0x00FF_0000_0000_0000),
            (256, 0x4100_0000_0000_0000), (16383, 0x7FFF_0000_0000_0000),
            (16384, 0xD200_4000_0000_0000), (65535, 0xD200_FFFF_0000_0000), (0xFF_0000, 0xD2FF_0000_0000_0000),
            (0xFF_FFFF, 0xD2FF_FFFF_0000_0000),
        ] as [(Int, UInt64)])
    func numbers(number: Int, rawValue: UInt64) {
        #expect(LogicalUnitNumber(number).rawValue == rawValue)
        #expect(LogicalUnitNumber(rawValue: rawValue).number == number)
    }

    @Test(
        "Other forms name no unit",
        arguments: [
            0x0100_0000_0000_0000, 0x0000_0001_0000_0000, 0xC101_0000_0000_0000, 0x8000_0000_0000_0000,
            0xD200_4000_0000_0001, 0xD200_4000_0001_0000, 0xE200_4000_0000_0000, 0xD100_4000_0000_0000,
        ] as [UInt64])
    func otherForms(rawValue: UInt64) {
        #expect(LogicalUnitNumber(rawValue: rawValue).number == nil)
    }

    @Test("A block keeps its bytes, and zeros after them")
    func blocks() {
        let block = CommandDescriptorBlock([0x28, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        #expect(block.operationCode == 0x28)
        #expect(block.count == 10)
        #expect(block.bytes.loadBE32(at: 2) == 0x0203_0405)
        #expect(block[31] == 0)
        #expect(CommandDescriptorBlock([UInt8](repeating: 1, count: 260)).count == 32)
        #expect(CommandDescriptorBlock.length(ofOperationCode: 0x28) == 10)
        #expect(CommandDescriptorBlock.length(ofOperationCode: 0x7F) == nil)
    }

    @Test("A SCSI name string is NUL-ended and padded to four")
    func nameString() {
        let bytes = DesignationDescriptor.nameString("iqn.a", association: 2, 5)
        #expect(bytes == [0x53, 0xA8, 0, 8] + Array("iqn.a".utf8) + [0, 0, 0])
    }

    @Test("A progress indication goes where a field pointer would, with SKSV, in both formats")
    func progress() {
        var sense = SenseData(.notReady, .sanitizeInProgress)
        sense.progress = 0x8001
        let fixed = sense.encoded()
        #expect(fixed[2] == 0x02 && Array(fixed[12...17]) == [0x04, 0x1B, 0, 0x80, 0x80, 0x01])
        #expect(SenseData(parsing: fixed.rawSpan) == sense)
        let descriptors = sense.encoded(isDescriptorFormat: true)
        #expect(descriptors == [0x72, 0x02, 0x04, 0x1B, 0, 0, 0, 8, 0x02, 0x06, 0, 0, 0x80, 0x80, 0x01, 0])
    }
}

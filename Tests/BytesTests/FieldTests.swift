import Bytes
import TestSupport
import Testing

@Suite("Big-endian fields and checksums")
struct FieldTests {
    @Test("Stores and loads are each other's inverse, at any alignment")
    func fields() {
        var bytes = [UInt8](repeating: 0, count: 32)
        bytes.modifyBytes { target in
            target.storeBE16(0x0102, at: 1)
            target.storeBE24(0x030405, at: 3)
            target.storeBE32(0x0607_0809, at: 7)
            target.storeBE64(0x1011_1213_1415_1617, at: 13)
        }
        let span = bytes.rawSpan
        #expect(span.loadBE16(at: 1) == 0x0102)
        #expect(span.byte(at: 1) == 1)
        #expect(span.loadBE24(at: 3) == 0x030405)
        #expect(span.loadBE32(at: 7) == 0x0607_0809)
        #expect(span.loadBE64(at: 13) == 0x1011_1213_1415_1617)
    }

    @Test("CRC16 of T10 gives the check value, and the vectors of SBC-4 clause 4.21.4")
    func blockGuard() {
        #expect(CRC16T10.checksum(Array("123456789".utf8).rawSpan) == 0xD0DB)
        let vectors: [([UInt8], UInt16)] = [
            ([], 0), ([UInt8](repeating: 0, count: 32), 0x0000), ([UInt8](repeating: 0xFF, count: 32), 0xA293),
            ((0..<32).map { UInt8($0) }, 0x0224), ([0xFF, 0xFF] + [UInt8](repeating: 0, count: 30), 0x21B8),
            ((0..<32).map { 255 - UInt8($0) }, 0xA0B7),
        ]
        for (bytes, checksum) in vectors { #expect(CRC16T10.checksum(bytes.rawSpan) == checksum) }
    }

    @Test("CRC32C gives the check value, and RFC 3720 appendix B.4's vectors")
    func checksum() {
        #expect(CRC32C.checksum(Array("123456789".utf8).rawSpan) == 0xE306_9283)
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32).rawSpan) == 0x8A91_36AA)
        #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32).rawSpan) == 0x62A8_AB43)
        let whole = CRC32C.checksum(Array("123456789".utf8).rawSpan)
        let head = CRC32C.checksum(Array("1234".utf8).rawSpan)
        #expect(CRC32C.checksum(Array("56789".utf8).rawSpan, previous: head) == whole)
    }

    @Test("The first difference and all-zero are found in the tail as in the words")
    func comparison() {
        let first = [UInt8](repeating: 0, count: 19)
        for position in 0..<19 {
            var second = first
            second[position] = 1
            #expect(first.rawSpan.firstDifference(from: second.rawSpan) == position)
            let isAllZero = second.rawSpan.isAllZero
            #expect(!isAllZero)
        }
        #expect(first.rawSpan.firstDifference(from: first.rawSpan) == nil)
        let isAllZero = first.rawSpan.isAllZero
        #expect(isAllZero)
    }
}

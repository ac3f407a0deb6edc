import Bytes
import ISCSI
import SCSI
import Testing

/// Lengths, digests and additional headers (RFC 7143 sections 11.1, 11.2 and 13.1).
@Suite("Framing")
struct FramingTests {
    private func header(dataSegmentLength: Int, additionalHeaderLength: Int = 0) -> [UInt8] {
        var command = SCSICommandPDU()
        command.dataSegmentLength = dataSegmentLength
        command.additionalHeaderLength = additionalHeaderLength
        return encoded(command)
    }

    @Test("CRC examples of RFC 7143 appendix A.4, in the order of the wire")
    func digests() {
        func wire(_ bytes: [UInt8]) -> UInt32 { Digest.value(of: bytes.rawSpan) }
        #expect(wire([UInt8](repeating: 0, count: 32)) == 0xAA36_918A)
        #expect(wire([UInt8](repeating: 0xFF, count: 32)) == 0x43AB_A862)
        #expect(wire((0..<32).map { UInt8($0) }) == 0x4E79_DD46)
        #expect(wire((0..<32).map { UInt8(31 - $0) }) == 0x5CDB_3F11)
        let readCommand = words(
            0x01C0_0000, 0, 0, 0, 0x1400_0000, 0x0400, 0x14, 0x18, 0x2800_0000, 0, 0x0200_0000, 0)
        #expect(wire(readCommand) == 0x563A_96D9)
    }

    @Test("Where the parts of a PDU lie", arguments: [(0, 0), (1, 3), (2, 2), (3, 1), (4, 0), (8191, 1)])
    func layout(length: Int, pad: Int) {
        let framer = PDUFramer(maximumDataSegmentLength: 8192, hasHeaderDigest: true, hasDataDigest: true)
        let layout = framer.layout(additionalHeaderLength: 8, dataSegmentLength: length)
        #expect(layout.headerLength == 56 && layout.dataOffset == 60)
        #expect(layout.padLength == pad)
        #expect(layout.dataDigestLength == (length == 0 ? 0 : 4), "no data, no digest")
        #expect(layout.totalLength == 60 + length + pad + (length == 0 ? 0 : 4))
    }

    @Test("A header in pieces, then whole")
    func pieces() {
        let framer = PDUFramer(maximumDataSegmentLength: 8192)
        let bytes = header(dataSegmentLength: 5, additionalHeaderLength: 8) + [UInt8](repeating: 0, count: 8)
        #expect(framer.frame(Array(bytes.prefix(0)).rawSpan) == .needsHeader(more: 48))
        #expect(framer.frame(Array(bytes.prefix(47)).rawSpan) == .needsHeader(more: 1))
        #expect(framer.frame(Array(bytes.prefix(48)).rawSpan) == .needsHeader(more: 8))
        #expect(framer.frame(bytes.rawSpan) == .header(framer.layout(additionalHeaderLength: 8, dataSegmentLength: 5)))
    }

    @Test("Limits of data and additional headers")
    func limits() {
        let framer = PDUFramer(maximumDataSegmentLength: 512)
        #expect(framer.frame(header(dataSegmentLength: 512).rawSpan) == .header(framer.layout(dataSegmentLength: 512)))
        #expect(framer.frame(header(dataSegmentLength: 513).rawSpan) == .failed(.dataSegmentTooLong(513)))
        let tooMuch = PDUFramer.maximumAdditionalHeaderLength + 4
        #expect(
            framer.frame(header(dataSegmentLength: 0, additionalHeaderLength: tooMuch).rawSpan)
                == .failed(.additionalHeaderTooLong(tooMuch)))
    }

    @Test("A header digest covers the additional header, and a wrong one fails")
    func headerDigest() {
        let framer = PDUFramer(maximumDataSegmentLength: 512, hasHeaderDigest: true)
        var bytes = header(dataSegmentLength: 0, additionalHeaderLength: 8) + [0, 5, 2, 0, 0, 0, 16, 0]
        bytes.appendBE32(Digest.value(of: bytes.rawSpan))
        #expect(framer.frame(Array(bytes.dropLast()).rawSpan) == .needsHeader(more: 1))
        #expect(
            framer.frame(bytes.rawSpan) == .header(framer.layout(additionalHeaderLength: 8, dataSegmentLength: 0)))
        for position in bytes.indices where position != 4 {
            var damaged = bytes
            damaged[position] ^= 0x01
            if case .header = framer.frame(damaged.rawSpan) { Issue.record("byte \(position) is not covered") }
        }
    }

    @Test("A data digest covers the padding")
    func dataDigest() {
        let data: [UInt8] = [1, 2, 3]
        let digest = Digest.value(of: [1, 2, 3, 0].rawSpan)
        func isValid(_ digest: UInt32, padding: [UInt8]) -> Bool {
            Digest.isValid(digest, data: data.rawSpan, padding: padding.rawSpan)
        }
        #expect(isValid(digest, padding: [0]))
        #expect(!isValid(digest, padding: [1]))
        #expect(!isValid(digest ^ 1, padding: [0]))
    }

    @Test("Extended CDB and bidirectional read length")
    func additionalHeaders() throws {
        let cdb = CommandDescriptorBlock((0..<32).map { UInt8($0) })
        let bytes =
            AdditionalHeaderSegments.encodeExtendedCDB(cdb)
            + AdditionalHeaderSegments.encodeBidirectionalReadLength(0x1234)
        #expect(Array(bytes.prefix(4)) == [0, 17, 1, 0] && bytes.count == 28)
        let first = CommandDescriptorBlock(cdb.bytes.extracting(0..<16))
        let segments = try AdditionalHeaderSegments(parsing: bytes.rawSpan, cdb: first)
        #expect(segments.bidirectionalReadLength == 0x1234)
        #expect(segments.extendedCDB?.count == 32)
        #expect(segments.extendedCDB?.bytes.copyToArray() == cdb.bytes.copyToArray())
        #expect(AdditionalHeaderSegments.encodeExtendedCDB(first).isEmpty)
        let odd = CommandDescriptorBlock((0..<18).map { UInt8($0) })
        #expect(AdditionalHeaderSegments.encodeExtendedCDB(odd) == [0, 3, 1, 0, 16, 17, 0, 0])
    }

    @Test(
        "Bad additional headers",
        arguments: [
            ([0, 0, 2, 0], AdditionalHeaderSegments.ParsingError.invalidLength),
            ([0, 5, 2, 0], .invalidLength), ([0, 4, 2, 0, 0, 0, 0, 0], .invalidLength), ([0, 1, 1, 0], .invalidLength),
            ([0, 1, 3, 0], .unknownType(3)), ([0, 1, 0, 0], .unknownType(0)), ([0, 1], .invalidLength),
            ([0, 5, 2, 0, 0, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 0], .repeatedType(2)),
            ([0, 18, 1, 0] + [UInt8](repeating: 0, count: 20), .commandTooLong),
        ] as [([UInt8], AdditionalHeaderSegments.ParsingError)])
    func badAdditionalHeaders(bytes: [UInt8], error: AdditionalHeaderSegments.ParsingError) {
        #expect(throws: error) {
            try AdditionalHeaderSegments(parsing: bytes.rawSpan, cdb: CommandDescriptorBlock())
        }
    }
}

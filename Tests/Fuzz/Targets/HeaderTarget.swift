internal import Bytes
internal import ISCSI
internal import SCSI

/// The input is a header, and behind its 48 bytes additional header segments.
enum HeaderTarget {
    static func run(_ input: [UInt8]) throws(FuzzFinding) {
        let padding = max(0, BasicHeaderSegment.length - input.count)
        let header = Array(input.prefix(BasicHeaderSegment.length)) + [UInt8](repeating: 0, count: padding)
        try roundTrip(NOPOutPDU.self, header)
        try roundTrip(SCSICommandPDU.self, header)
        try roundTrip(TaskManagementRequestPDU.self, header)
        try roundTrip(LoginRequestPDU.self, header)
        try roundTrip(TextRequestPDU.self, header)
        try roundTrip(DataOutPDU.self, header)
        try roundTrip(LogoutRequestPDU.self, header)
        try roundTrip(SNACKRequestPDU.self, header)
        try roundTrip(NOPInPDU.self, header)
        try roundTrip(SCSIResponsePDU.self, header)
        try roundTrip(TaskManagementResponsePDU.self, header)
        try roundTrip(LoginResponsePDU.self, header)
        try roundTrip(TextResponsePDU.self, header)
        try roundTrip(DataInPDU.self, header)
        try roundTrip(LogoutResponsePDU.self, header)
        try roundTrip(ReadyToTransferPDU.self, header)
        try roundTrip(AsyncMessagePDU.self, header)
        try roundTrip(RejectPDU.self, header)
        try additionalSegments(Array(input.dropFirst(BasicHeaderSegment.length)), header)
    }

    /// What is parsed encodes to bytes that parse to the same again, and the length of the data is kept.
    private static func roundTrip<Header: PDUHeader>(
        _ kind: Header.Type, _ bytes: [UInt8]
    ) throws(FuzzFinding) {
        guard let header = Header(parsing: bytes.rawSpan) else {
            try require(
                bytes.rawSpan.opcode != Header.opcode, "\(kind) takes any 48 bytes with its operation code")
            return
        }
        let first = BasicHeaderSegment(header).bytes.copyToArray()
        guard let again = Header(parsing: first.rawSpan) else {
            throw FuzzFinding(description: "\(kind) parses what it has encoded")
        }
        let second = BasicHeaderSegment(again).bytes.copyToArray()
        try require(first == second, "\(kind) encodes to the same again")
        try require(
            header.dataSegmentLength == again.dataSegmentLength, "\(kind) keeps the length of its data segment")
        try require(first.rawSpan.opcode == Header.opcode, "\(kind) keeps its operation code")
        try require(
            first.rawSpan.initiatorTaskTag == bytes.rawSpan.initiatorTaskTag || kind is any Untagged.Type,
            "\(kind) keeps its task tag")
    }

    private static func additionalSegments(_ bytes: [UInt8], _ header: [UInt8]) throws(FuzzFinding) {
        let cdb = CommandDescriptorBlock(Array(header[32..<48]))
        let length = min(bytes.count & ~3, PDUFramer.maximumAdditionalHeaderLength)
        guard let found = try? AdditionalHeaderSegments(parsing: Array(bytes.prefix(length)).rawSpan, cdb: cdb) else {
            return
        }
        var encoded: [UInt8] = []
        if let extended = found.extendedCDB { encoded += AdditionalHeaderSegments.encodeExtendedCDB(extended) }
        if let length = found.bidirectionalReadLength {
            encoded += AdditionalHeaderSegments.encodeBidirectionalReadLength(length)
        }
        try require(encoded.count % 4 == 0, "additional header segments fill words")
        guard let again = try? AdditionalHeaderSegments(parsing: encoded.rawSpan, cdb: cdb) else {
            throw FuzzFinding(description: "additional header segments that were encoded can be parsed")
        }
        try require(
            again.bidirectionalReadLength == found.bidirectionalReadLength, "the bidirectional read length is kept")
        try require(
            again.extendedCDB?.bytes.copyToArray() == found.extendedCDB?.bytes.copyToArray(),
            "the extended CDB is kept")
    }
}

/// Headers without an initiator task tag.
private protocol Untagged {}
extension AsyncMessagePDU: Untagged {}
extension RejectPDU: Untagged {}

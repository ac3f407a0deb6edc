import Bytes
import ISCSI
import ISER
import TestSupport
import Testing

/// Bytes made of words of four, as the RFC's diagrams show them.
private func words(_ words: UInt32...) -> [UInt8] {
    var bytes: [UInt8] = []
    for word in words { bytes.appendBE32(word) }
    return bytes
}

/// 28 bytes that `body` writes.
private func header(_ body: (inout MutableRawSpan) -> Void) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: ISERHeader.length)
    bytes.modifyBytes(body)
    return bytes
}

/// The error of `body`, which must be one.
private func error<Value>(of body: () throws(ISERError) -> Value) throws -> ISERError {
    var found: ISERError?
    do throws(ISERError) {
        _ = try body()
    } catch {
        found = error
    }
    return try #require(found)
}

/// The headers of RFC 7145 section 9, and the layout of Linux's `struct iser_ctrl` and `struct iser_cm_hdr`.
@Suite("iSER headers")
struct HeaderTests {
    private static let write = ISERTaggedBuffer(sTag: 0x1122_3344, baseOffset: 0x0102_0304_0506_0708)
    private static let read = ISERTaggedBuffer(sTag: 0x5566_7788, baseOffset: 0x1112_1314_1516_1718)

    @Test(
        "Control-type PDUs",
        arguments: [
            (ISERControlHeader(), words(0x1000_0000, 0, 0, 0, 0, 0, 0)),
            (
                ISERControlHeader(write: write),
                words(0x1800_0000, 0x1122_3344, 0x0102_0304, 0x0506_0708, 0, 0, 0)
            ),
            (ISERControlHeader(read: read), words(0x1400_0000, 0, 0, 0, 0x5566_7788, 0x1112_1314, 0x1516_1718)),
            (
                ISERControlHeader(write: write, read: read),
                words(
                    0x1C00_0000, 0x1122_3344, 0x0102_0304, 0x0506_0708, 0x5566_7788, 0x1112_1314, 0x1516_1718)
            ),
        ])
    func control(unit: ISERControlHeader, vector: [UInt8]) throws {
        #expect(header { unit.encode(into: &$0) } == vector)
        #expect(try ISERControlHeader(parsing: vector.rawSpan) == unit)
        #expect(try ISERHeader.opcode(of: vector.rawSpan) == .control)
        // Reserved bits and bytes are ignored.
        var reserved = vector
        reserved[0] |= 0x03
        reserved[2] = 0xFF
        #expect(try ISERControlHeader(parsing: reserved.rawSpan) == unit)
    }

    @Test("STags without their bit are not there; a read's STag is the one to invalidate")
    func validity() throws {
        let bytes = words(0x1000_0000, 1, 2, 3, 4, 5, 6)
        #expect(try ISERControlHeader(parsing: bytes.rawSpan) == ISERControlHeader())
        #expect(ISERControlHeader().invalidatableSTag == nil)
        #expect(ISERControlHeader(write: Self.write).invalidatableSTag == 0x1122_3344)
        #expect(ISERControlHeader(write: Self.write, read: Self.read).invalidatableSTag == 0x5566_7788)
    }

    @Test("Hello and HelloReply")
    func hello() throws {
        var hello = ISERHello()
        hello.inboundReadDepth = 0x0102
        let vector = words(0x20AA_0102, 0, 0, 0, 0, 0, 0)
        #expect(header { hello.encode(into: &$0) } == vector)
        #expect(try ISERHello(parsing: vector.rawSpan) == hello)

        let reply = hello.reply(outboundReadDepth: 16)
        #expect(!reply.isRejected && reply.outboundReadDepth == 16)
        #expect(hello.reply(outboundReadDepth: 0x0FFF).outboundReadDepth == 0x0102)
        let answer = words(0x30AA_0010, 0, 0, 0, 0, 0, 0)
        #expect(header { reply.encode(into: &$0) } == answer)
        #expect(try ISERHelloReply(parsing: answer.rawSpan) == reply)
    }

    @Test("Versions that the target does not know are rejected", arguments: [(UInt8(1), UInt8(1)), (9, 0), (15, 11)])
    func versions(highest: UInt8, lowest: UInt8) throws {
        var hello = ISERHello()
        hello.highestVersion = highest
        hello.lowestVersion = lowest
        let reply = try ISERHello(parsing: header { hello.encode(into: &$0) }.rawSpan).reply(outboundReadDepth: 1)
        #expect(reply.isRejected)
        #expect(header { reply.encode(into: &$0) }[0] == 0x31)
    }

    @Test("Versions that contradict each other")
    func contradictions() throws {
        let hello = words(0x20AB_0000, 0, 0, 0, 0, 0, 0)
        #expect(
            try error { () throws(ISERError) in try ISERHello(parsing: hello.rawSpan) }
                == .contradictoryVersions(highest: 10, other: 11))
        let reply = words(0x301A_0000, 0, 0, 0, 0, 0, 0)
        #expect(
            try error { () throws(ISERError) in try ISERHelloReply(parsing: reply.rawSpan) }
                == .contradictoryVersions(highest: 1, other: 10))
    }

    @Test("Opcodes that are reserved or do not belong here", arguments: UInt8(0)...15)
    func opcodes(code: UInt8) throws {
        let bytes = [code << 4] + [UInt8](repeating: 0, count: 27)
        guard let opcode = ISEROpcode(rawValue: code) else {
            #expect(
                try error { () throws(ISERError) in try ISERControlHeader(parsing: bytes.rawSpan) }
                    == .unknownOpcode(code))
            return
        }
        #expect(try ISERHeader.opcode(of: bytes.rawSpan) == opcode)
        if opcode != .control {
            #expect(
                try error { () throws(ISERError) in try ISERControlHeader(parsing: bytes.rawSpan) }
                    == .unexpectedOpcode(opcode, expected: .control))
        }
        if opcode != .hello {
            #expect(
                try error { () throws(ISERError) in try ISERHello(parsing: bytes.rawSpan) }
                    == .unexpectedOpcode(opcode, expected: .hello))
        }
    }

    @Test("Every length that is too short is refused", arguments: 0..<28)
    func truncation(count: Int) throws {
        for opcode: UInt8 in [0x10, 0x20, 0x30] {
            let bytes = Array(([opcode] + [UInt8](repeating: 0, count: 27)).prefix(count))
            let short = ISERError.tooShort(length: count, needed: 28)
            #expect(try error { () throws(ISERError) in try ISERControlHeader(parsing: bytes.rawSpan) } == short)
            #expect(try error { () throws(ISERError) in try ISERHello(parsing: bytes.rawSpan) } == short)
            #expect(try error { () throws(ISERError) in try ISERHelloReply(parsing: bytes.rawSpan) } == short)
            #expect(try error { () throws(ISERError) in try ISERMessage(parsing: bytes.rawSpan) } == short)
        }
    }

    @Test(
        "Private data says what is not used",
        arguments: [(false, false, UInt8(0xC0)), (true, false, 0x40), (false, true, 0x80), (true, true, 0x00)])
    func privateData(zeroBased: Bool, invalidate: Bool, flags: UInt8) {
        let data = ISERPrivateData(usesZeroBasedAddresses: zeroBased, usesSendWithInvalidate: invalidate)
        var bytes = [UInt8](repeating: 0xEE, count: ISERPrivateData.length)
        bytes.modifyBytes { data.encode(into: &$0) }
        #expect(bytes == [flags, 0, 0, 0])
        #expect(ISERPrivateData(parsing: bytes.rawSpan) == data)
        for count in 0..<4 { #expect(ISERPrivateData(parsing: Array(bytes.prefix(count)).rawSpan) == nil) }
        let both = ISERPrivateData(usesZeroBasedAddresses: true, usesSendWithInvalidate: true)
        #expect(both.agreed(with: data) == data && data.agreed(with: both) == data)
        #expect(data.agreed(with: nil) == ISERPrivateData())
    }

    // MARK: Messages

    /// A SCSI Command with additional headers of so many bytes and immediate data.
    private static func message(additional: Int, data: Int) -> [UInt8] {
        var command = SCSICommandPDU()
        command.additionalHeaderLength = additional
        command.dataSegmentLength = data
        return header { ISERControlHeader(write: write).encode(into: &$0) }
            + BasicHeaderSegment(command).bytes.copyToArray() + [UInt8](repeating: 1, count: additional + data)
    }

    @Test("The parts of a message, with padding or without", arguments: [(0, 0), (0, 7), (8, 0), (1020, 512)])
    func message(additional: Int, data: Int) throws {
        let bytes = Self.message(additional: additional, data: data)
        for padding in 0...3 {
            let padded = bytes + [UInt8](repeating: 0, count: padding)
            let message = try ISERMessage(parsing: padded.rawSpan)
            #expect(message.header.write == Self.write)
            #expect(message.additionalHeader == 76..<76 + additional)
            #expect(message.data == 76 + additional..<76 + additional + data)
        }
        #expect(BasicHeaderSegment(parsing: bytes.rawSpan.extracting(ISERMessage.basicHeader))?.opcode == .scsiCommand)
        for count in 28..<bytes.count {
            let needed = count < 76 ? 76 : bytes.count
            #expect(
                try error { () throws(ISERError) in try ISERMessage(parsing: Array(bytes.prefix(count)).rawSpan) }
                    == .tooShort(length: count, needed: needed))
        }
    }

    @Test("Messages of random bytes", arguments: 0..<16 as Range<UInt64>)
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            var bytes = random.bytes(Int.random(in: 0...600, using: &random))
            if !bytes.isEmpty, Bool.random(using: &random) {
                bytes[0] = UInt8.random(in: 0x10...0x3F, using: &random)
                if bytes.count > 35 { bytes.replaceSubrange(32..<35, with: [0, 0, 0]) }
            }
            if let message = try? ISERMessage(parsing: bytes.rawSpan) {
                #expect(message.data.upperBound <= bytes.count)
            }
            if let control = try? ISERControlHeader(parsing: bytes.rawSpan) {
                let again = header { control.encode(into: &$0) }
                #expect((try? ISERControlHeader(parsing: again.rawSpan)) == control)
            }
            if let hello = try? ISERHello(parsing: bytes.rawSpan) {
                let again = header { hello.encode(into: &$0) }
                #expect((try? ISERHello(parsing: again.rawSpan)) == hello)
            }
            if let reply = try? ISERHelloReply(parsing: bytes.rawSpan) {
                let again = header { reply.encode(into: &$0) }
                #expect((try? ISERHelloReply(parsing: again.rawSpan)) == reply)
            }
        }
    }
}

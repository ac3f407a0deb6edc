internal import Bytes
internal import ISER

/// The input is a message with an iSER header.
enum ISERTarget {
    static func run(_ input: [UInt8]) throws(FuzzFinding) {
        try message(input)
        try privateData(input)
        if let control = try? ISERControlHeader(parsing: input.rawSpan) {
            let again = encoded { control.encode(into: &$0) }
            try require((try? ISERControlHeader(parsing: again.rawSpan)) == control, "a control header is kept")
            try require(
                (control.invalidatableSTag == nil) == (control.write == nil && control.read == nil),
                "an STag to invalidate is one that was advertised")
        }
        if let hello = try? ISERHello(parsing: input.rawSpan) {
            let again = encoded { hello.encode(into: &$0) }
            try require((try? ISERHello(parsing: again.rawSpan)) == hello, "Hello is kept")
            let reply = hello.reply(outboundReadDepth: 16)
            try require(
                reply.outboundReadDepth <= min(16, hello.inboundReadDepth),
                "no more RDMA Reads than both sides can have outstanding")
            let answer = encoded { reply.encode(into: &$0) }
            try require((try? ISERHelloReply(parsing: answer.rawSpan)) == reply, "a reply can be parsed")
        }
        if let reply = try? ISERHelloReply(parsing: input.rawSpan) {
            let again = encoded { reply.encode(into: &$0) }
            try require((try? ISERHelloReply(parsing: again.rawSpan)) == reply, "HelloReply is kept")
        }
    }

    private static func encoded(_ body: (inout MutableRawSpan) -> Void) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: ISERHeader.length)
        bytes.modifyBytes(body)
        return bytes
    }

    /// The parts of a message follow each other and end inside of it; and only too few bytes keep a control-type PDU
    /// from having them.
    private static func message(_ input: [UInt8]) throws(FuzzFinding) {
        let message: ISERMessage
        do throws(ISERError) {
            message = try ISERMessage(parsing: input.rawSpan)
        } catch {
            switch error {
            case .tooShort(let length, let needed):
                return try require(length == input.count && needed > length, "a message is too short by some bytes")
            case .unknownOpcode, .unexpectedOpcode:
                let opcode = try? ISERHeader.opcode(of: input.rawSpan)
                return try require(opcode != .control, "a control-type PDU has a message")
            case .contradictoryVersions:
                throw FuzzFinding(description: "a control-type PDU has no versions")
            }
        }
        let (additional, data) = (message.additionalHeader, message.data)
        try require(
            additional.lowerBound == ISERMessage.headersLength && additional.upperBound == data.lowerBound
                && data.upperBound <= input.count && additional.count % 4 == 0,
            "the parts of a message are inside of it")
    }

    private static func privateData(_ input: [UInt8]) throws(FuzzFinding) {
        guard let data = ISERPrivateData(parsing: input.rawSpan) else {
            return try require(input.count < ISERPrivateData.length, "four bytes are private data")
        }
        var again = [UInt8](repeating: 0xEE, count: ISERPrivateData.length)
        again.modifyBytes { data.encode(into: &$0) }
        try require(ISERPrivateData(parsing: again.rawSpan) == data, "private data is kept")
    }
}

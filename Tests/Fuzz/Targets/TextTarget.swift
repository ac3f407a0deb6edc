internal import Bytes
internal import ISCSI

/// The input is the kind of session, what there is to discover, and text requests: flags, tags and texts.
enum TextTarget {
    static func run(_ input: [UInt8]) throws(FuzzFinding) {
        var reader = FuzzReader(input)
        let kind = reader.byte()
        let count = Int(reader.byte())
        var machine = TextMachine(sessionType: kind & 1 == 0 ? .discovery : .normal, settings: .target)
        var parameters = NegotiatedParameters()
        parameters.maxSendDataSegmentLength = kind & 2 == 0 ? 8192 : 512
        let found = (0..<count).map { number in
            DiscoveredTarget(
                name: "iqn.2026-11.dev.carousel:\(number)",
                addresses: (0..<1 + number % 3).map { "127.0.0.\($0 + 1):3260,1" })
        }
        var lastTag = reservedTag
        while !reader.isAtEnd {
            let flags = reader.byte()
            var request = TextRequestPDU()
            request.isFinal = flags & 1 != 0
            request.isContinued = flags & 2 != 0
            request.initiatorTaskTag = flags & 4 != 0 ? 2 : 1
            request.targetTransferTag = [reservedTag, lastTag, 1, UInt32(flags)][Int(flags >> 3 & 3)]
            if flags & 32 != 0 { machine.elapse() }
            let repetitions = flags & 64 != 0 ? 64 : 1
            let text = reader.bytes(reader.number16() % 8193)
            for _ in 0..<repetitions {
                request.dataSegmentLength = text.count
                let step = machine.receive(request, data: text.rawSpan, parameters: &parameters) { scope in
                    switch scope {
                    case .all: found
                    case .target(let name): found.filter { $0.name == name }
                    case .session: Array(found.prefix(1))
                    }
                }
                try LoginTarget.check(parameters)
                guard case .respond(let response, let answer) = step else {
                    try require(!machine.isActive, "a rejected negotiation is over")
                    break
                }
                try check(response, answer, request, parameters)
                try require(machine.isActive == !response.isFinal, "F ends the negotiation")
                lastTag = response.targetTransferTag
                if repetitions > 1 { request.targetTransferTag = lastTag }
                guard !response.isFinal else { break }
            }
        }
    }

    private static func check(
        _ response: TextResponsePDU, _ text: [UInt8], _ request: TextRequestPDU, _ parameters: NegotiatedParameters
    ) throws(FuzzFinding) {
        try require(response.dataSegmentLength == text.count, "a response's header has the length of its text")
        // The limit may be a new one from the next response on.
        let limit = max(8192, parameters.maxSendDataSegmentLength)
        try require(text.count <= limit, "a response fits what initiators take")
        try require(response.initiatorTaskTag == request.initiatorTaskTag, "a response has the request's tag")
        try require(!(response.isFinal && response.isContinued), "a response with C is not the last")
        try require(!(response.isFinal && !request.isFinal), "F is only answered with F")
        try require(
            response.isFinal == (response.targetTransferTag == reservedTag), "only the last response has no tag")
    }
}

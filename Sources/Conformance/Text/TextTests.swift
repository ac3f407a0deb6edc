internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// Text negotiations in full feature phase.
enum TextTests {
    static let all = exchange + parameters

    private static let exchange = [
        ConformanceTest(
            "Text.Exchange.Empty", "11.10.5", "A Text Request without text is answered with a Text Response."
        ) { bench in
            let wire = try bench.logIn()
            let request = wire.textRequest([])
            try wire.send(request.header)
            let (response, _) = try wire.expect(TextResponsePDU.self, "a Text Response")
            try require(
                response.initiatorTaskTag == request.header.initiatorTaskTag, "the request's Initiator Task Tag",
                got: "\(response.initiatorTaskTag)")
            try wire.ping()
        },
        ConformanceTest(
            "Text.Exchange.UnknownKey", "6.2", "A key that the target does not know is answered with NotUnderstood."
        ) { bench in
            let wire = try bench.logIn()
            let text = try wire.exchangeText([TextParameter("X-dev.carousel.conformance", "1")])
            try require(
                text == [TextParameter("X-dev.carousel.conformance", "NotUnderstood")], "NotUnderstood",
                got: text.first?.description ?? "an empty text")
        },
        ConformanceTest(
            "Text.Exchange.FinalFields", "11.11.4",
            "A Text Response with F has the reserved Target Transfer Tag; without F it has another."
        ) { bench in
            let wire = try bench.logIn()
            let request = wire.textRequest([TextParameter("X-dev.carousel.a", "1")], isFinal: false)
            try wire.send(request.header, data: request.data)
            let (open, _) = try wire.expect(TextResponsePDU.self, "a Text Response")
            try require(!open.isFinal, "no F while the request had none", got: "F")
            try require(
                open.targetTransferTag != reservedTag, "a Target Transfer Tag that is not reserved", got: "ffffffff")
            var last = wire.textRequest(
                [], tag: request.header.initiatorTaskTag, transferTag: open.targetTransferTag)
            last.header.logicalUnitNumber = open.logicalUnitNumber
            try wire.send(last.header)
            let (final, _) = try wire.expect(TextResponsePDU.self, "a Text Response")
            try require(
                final.isFinal && final.targetTransferTag == reservedTag, "F and the reserved Target Transfer Tag",
                got: "F \(final.isFinal ? 1 : 0), tag \(final.targetTransferTag)")
        },
        ConformanceTest(
            "Text.Exchange.Continued", "11.10.2",
            "A Text Request with C is answered without text; the pair that it cuts counts when it is whole."
        ) { bench in
            let wire = try bench.logIn()
            let text = TextCodec.format([TextParameter("X-dev.carousel.split", "value")])
            var first = wire.textRequest([], isFinal: false, isContinued: true)
            first.header.dataSegmentLength = 10
            try wire.send(first.header, data: Array(text[..<10]))
            let (empty, data) = try wire.expect(TextResponsePDU.self, "an empty Text Response")
            try require(
                data.isEmpty && !empty.isFinal && !empty.isContinued && empty.targetTransferTag != reservedTag,
                "no text, neither F nor C, and a Target Transfer Tag", got: "\(data.count) bytes")
            var second = wire.textRequest(
                [], tag: first.header.initiatorTaskTag, transferTag: empty.targetTransferTag)
            second.header.dataSegmentLength = text.count - 10
            second.header.logicalUnitNumber = empty.logicalUnitNumber
            try wire.send(second.header, data: Array(text[10...]))
            let (_, answer) = try wire.expect(TextResponsePDU.self, "a Text Response")
            try require(
                Wire.text(answer).hasPrefix("X-dev.carousel.split="), "an answer to the key", got: Wire.text(answer))
        },
        ConformanceTest(
            "Text.Exchange.UnknownTransferTag", "11.10.4",
            "A Text Request with a Target Transfer Tag that the target never gave is rejected."
        ) { bench in
            let wire = try bench.logIn()
            let request = wire.textRequest([], transferTag: 0x1234_5678)
            try wire.send(request.header)
            let isClosed = try wire.expectRejectOrClosed(
                [.protocolError, .invalidPDUField, .commandNotSupported], of: BasicHeaderSegment(request.header),
                "a Reject")
            if !isClosed { try wire.ping() }
        },
        ConformanceTest(
            "Text.Exchange.Immediate", "11.10", "A Text Request may be immediate and then uses no CmdSN."
        ) { bench in
            let wire = try bench.logIn()
            var request = wire.textRequest([TextParameter("X-dev.carousel.a", "1")])
            wire.session.nextCmdSN = request.header.cmdSN
            request.header.isImmediate = true
            try wire.send(request.header, data: request.data)
            _ = try wire.expect(TextResponsePDU.self, "a Text Response")
            _ = try wire.run(.testUnitReady)
        },
    ]

    private static let parameters = [
        ConformanceTest(
            "Text.Parameter.LoginOnlyKey", "13.1",
            "A key that may only be negotiated at login is not granted in full feature phase."
        ) { bench in
            let wire = try bench.logIn()
            for (key, value) in [("HeaderDigest", "CRC32C"), ("MaxConnections", "2"), ("ErrorRecoveryLevel", "2")] {
                let request = wire.textRequest([TextParameter(key, value)])
                try wire.send(request.header, data: request.data)
                let pdu = try wire.next("a Text Response or a Reject")
                guard pdu.opcode != .reject else { continue }
                let answer = ((try? TextCodec.parse(pdu.data.rawSpan)) ?? []).first { $0.key == key }?.value
                try require(
                    pdu.opcode == .textResponse && answer != value, "\(key)=\(value) not to be granted",
                    got: Wire.describe(pdu))
            }
            try wire.ping()
        },
        ConformanceTest(
            "Text.Parameter.MaxRecvDataSegmentLength", "13.12",
            "MaxRecvDataSegmentLength declared in full feature phase bounds the Data-In PDUs that follow.", .disk
        ) { bench in
            let wire = try bench.logInToUnit()
            _ = try wire.exchangeText([TextParameter("MaxRecvDataSegmentLength", "512")])
            let length = bench.survey.blockLength
            let result = try wire.runGood(.read(0, 8, blockLength: length))
            let longest = result.dataInHeaders.map(\.dataSegmentLength).max() ?? 0
            try require(longest <= 512, "Data-In of at most 512 bytes", got: "\(longest) bytes")
            try require(result.dataIn.count == 8 * length, "\(8 * length) bytes", got: "\(result.dataIn.count)")
        },
        ConformanceTest(
            "Text.Parameter.LongAnswer", "11.11.2",
            "An answer beyond the initiator's MaxRecvDataSegmentLength comes in parts."
        ) { bench in
            let wire = try bench.logIn(LoginPlan(["MaxRecvDataSegmentLength": "512"]))
            let offers = (0..<24).map { TextParameter("X-dev.carousel.conformance.long.key.number.\($0)", "1") }
            let text = try wire.exchangeText(offers)
            let answered = Set(text.map(\.key))
            let missing = offers.filter { !answered.contains($0.key) }
            try require(missing.isEmpty, "answers to \(offers.count) keys", got: "\(missing.count) are missing")
        },
    ]
}

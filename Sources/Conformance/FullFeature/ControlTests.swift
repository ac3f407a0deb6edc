internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// NOP-Out, Logout and Reject.
enum ControlTests {
    static let all = pings + logouts + rejects

    private static let pings = [
        ConformanceTest(
            "FullFeature.NOP.Echo", "11.18", "A ping without data comes back without data."
        ) { bench in
            let wire = try bench.logIn()
            try wire.ping()
            try wire.ping(isImmediate: false)
        },
        ConformanceTest(
            "FullFeature.NOP.EchoData", "11.18.3", "A ping's data comes back, whatever its length."
        ) { bench in
            let wire = try bench.logIn()
            let most = min(wire.negotiated.targetMaxRecvDataSegmentLength, 8192)
            for length in [1, 2, 3, 4, 48, 513, 4096, most] {
                try wire.ping(Command.pattern(length, seed: length), "the echo of \(length) bytes")
            }
        },
        ConformanceTest(
            "FullFeature.NOP.EchoIsCut", "11.18.3",
            "A ping's data comes back as far as the initiator's MaxRecvDataSegmentLength allows."
        ) { bench in
            let wire = try bench.logIn(LoginPlan(["MaxRecvDataSegmentLength": "512"]))
            let data = Command.pattern(2048, seed: 9)
            let echo = try wire.next(try wire.sendPing(data), "the ping's echo")
            try require(echo == Array(data[..<512]), "the first 512 bytes", got: "\(echo.count) bytes")
        },
        ConformanceTest(
            "FullFeature.NOP.Fields", "11.19.1",
            "The answer to a ping repeats its tag and has the reserved Target Transfer Tag."
        ) { bench in
            let wire = try bench.logIn()
            let tag = try wire.sendPing([1, 2, 3, 4])
            let (header, _) = try wire.expect(NOPInPDU.self, "a NOP-In")
            try require(
                header.initiatorTaskTag == tag && header.targetTransferTag == reservedTag,
                "the tag \(tag) and the reserved Target Transfer Tag",
                got: "\(header.initiatorTaskTag), \(header.targetTransferTag)")
        },
        ConformanceTest(
            "FullFeature.NOP.NoAnswerWanted", "11.18.1", "A NOP-Out with the reserved tag is not answered."
        ) { bench in
            let wire = try bench.logIn()
            var request = NOPOutPDU()
            request.isImmediate = true
            request.cmdSN = wire.session.nextCmdSN
            request.expStatSN = wire.expStatSN
            try wire.send(request)
            try wire.expectNothing("no answer to a NOP-Out with the reserved tag")
            try wire.ping()
        },
        ConformanceTest(
            "FullFeature.NOP.Many", "4.2.2.1", "Pings under way together are all answered."
        ) { bench in
            let wire = try bench.logIn()
            // Of immediate requests a target need take only a few at a time; numbered ones wait for the window.
            for _ in 0..<32 {
                let first = try wire.sendPing([1], isImmediate: false)
                _ = try wire.next(first, "the first ping's echo")
            }
            try wire.ping()
        },
    ]

    // MARK: Logout

    private static func expectLogout(
        _ wire: Wire, _ response: LogoutResponsePDU, _ outcome: LogoutOutcome
    ) throws {
        try require(
            response.response == outcome, "logout response \(outcome.rawValue)", got: "\(response.response.rawValue)")
    }

    private static let logouts = [
        ConformanceTest(
            "FullFeature.Logout.CloseSession", "11.15.1",
            "A logout of the session is answered with response 0, and nothing follows it."
        ) { bench in
            let wire = try bench.logIn()
            try expectLogout(wire, try wire.logOut(), .closed)
            try wire.expectEnd()
        },
        ConformanceTest(
            "FullFeature.Logout.CloseConnection", "11.15.1",
            "A logout of the own connection is answered with response 0, and nothing follows it."
        ) { bench in
            let wire = try bench.logIn()
            try expectLogout(wire, try wire.logOut(.closeConnection), .closed)
            try wire.expectEnd()
        },
        ConformanceTest(
            "FullFeature.Logout.Numbered", "11.14", "A logout need not be immediate."
        ) { bench in
            let wire = try bench.logIn()
            let request = wire.logoutRequest(0, isImmediate: false)
            try wire.send(request)
            let (response, _) = try wire.expect(LogoutResponsePDU.self, "a Logout Response")
            try expectLogout(wire, response, .closed)
            try wire.expectEnd()
        },
        ConformanceTest(
            "FullFeature.Logout.UnknownConnection", "11.15.1",
            "A logout of a connection that is not there is answered with response 1, and the session goes on."
        ) { bench in
            let wire = try bench.logIn()
            try expectLogout(wire, try wire.logOut(.closeConnection, connectionID: 0x7EAD), .connectionNotFound)
            try wire.ping()
        },
        ConformanceTest(
            "FullFeature.Logout.RecoveryAtLevel0", "11.15.1",
            "A logout for recovery below ErrorRecoveryLevel 2 is answered with response 2, or rejected."
        ) { bench in
            let wire = try bench.logIn()
            let request = wire.logoutRequest(LogoutReason.removeConnectionForRecovery.rawValue)
            try wire.send(request)
            let pdu = try wire.next("a Logout Response with response 2, or a Reject")
            if pdu.opcode == .reject { return }
            guard let response: LogoutResponsePDU = pdu.parsed() else {
                throw TestEnd.failed(expected: "a Logout Response", got: Wire.describe(pdu))
            }
            try expectLogout(wire, response, .recoveryNotSupported)
        },
        ConformanceTest(
            "FullFeature.Logout.ReservedReason", "11.14.1",
            "A logout with a reserved reason code is rejected and closes nothing, or ends the connection as a format "
                + "error."
        ) { bench in
            let wire = try bench.logIn()
            let request = wire.logoutRequest(3)
            try wire.send(request)
            guard let pdu = try wire.nextOrClosed("a Reject") else { return }
            let response: LogoutResponsePDU? = pdu.parsed()
            try require(
                pdu.opcode == .reject || response.map { $0.response != .closed } == true, "a Reject",
                got: Wire.describe(pdu))
            try wire.ping()
        },
        ConformanceTest(
            "FullFeature.Logout.CommandsAfter", "11.14",
            "A command after the logout is not answered; the Logout Response is the last PDU."
        ) { bench in
            let wire = try bench.logInToUnit()
            let request = wire.logoutRequest(0)
            let command = wire.connection.encoded(BasicHeaderSegment(wire.header(.testUnitReady)))
            try wire.send(bytes: wire.connection.encoded(BasicHeaderSegment(request)) + command)
            let (response, _) = try wire.expect(LogoutResponsePDU.self, "a Logout Response")
            try expectLogout(wire, response, .closed)
            try wire.expectEnd()
        },
        ConformanceTest(
            "FullFeature.Logout.EndsTasks", "11.14.5",
            "A logout ends the commands of the session without answers.", .disk
        ) { bench in
            let wire = try bench.logInToUnit(.solicited)
            _ = try wire.startPendingWrite()
            let response = try wire.logOut()
            try expectLogout(wire, response, .closed)
            try wire.expectEnd()
        },
        ConformanceTest(
            "FullFeature.Logout.LoginAgain", "11.14", "After a logout the same ISID logs in again at once."
        ) { bench in
            let wire = try bench.logIn()
            try wire.logOut()
            let again = try bench.logIn(wire.plan)
            try again.ping()
        },
    ]

    private static let rejects = [
        ConformanceTest(
            "FullFeature.Reject.Fields", "11.17",
            "A Reject has F and the reserved Initiator Task Tag, uses StatSN up, and the connection goes on."
        ) { bench in
            let wire = try bench.logIn()
            var header = BasicHeaderSegment(NOPOutPDU())
            header.modifyBytes { bytes in
                bytes.store(byte: 0x40 | 0x1C, at: 0)
                bytes.storeBE32(0x4242, at: 16)
                bytes.storeBE32(wire.session.nextCmdSN.rawValue, at: 24)
                bytes.storeBE32(wire.expStatSN.rawValue, at: 28)
            }
            try wire.send(header)
            let pdu = try wire.next("a Reject")
            try require(pdu.opcode == .reject, "a Reject", got: Wire.describe(pdu))
            try require(
                pdu.header.isFinal && pdu.header.initiatorTaskTag == reservedTag,
                "F and the reserved Initiator Task Tag", got: String(pdu.header.initiatorTaskTag, radix: 16))
            try wire.ping()
            try require(
                wire.numberingFaults.isEmpty, "consecutive StatSN", got: wire.numberingFaults.first ?? "")
        },
        ConformanceTest(
            "FullFeature.Reject.SNACKAtLevel0", "11.16",
            "A SNACK at ErrorRecoveryLevel 0 is rejected, or ends the connection."
        ) { bench in
            for type in 0...3 as ClosedRange<UInt8> {
                let wire = try bench.logIn()
                var request = SNACKRequestPDU()
                request.type = SNACKType(rawValue: type)
                request.initiatorTaskTag = type == 1 || type == 2 ? reservedTag : 0x1234
                request.targetTransferTag = type >= 2 ? 0x1234 : reservedTag
                request.expStatSN = wire.expStatSN
                request.begRun = type == 1 ? wire.expStatSN.rawValue : 0
                try wire.send(request)
                let isClosed = try wire.expectRejectOrClosed(
                    [.protocolError, .snackReject, .invalidDataACK, .invalidPDUField, .commandNotSupported],
                    of: BasicHeaderSegment(request), "a Reject of SNACK type \(type)")
                if !isClosed { try wire.ping() }
            }
        },
    ]
}

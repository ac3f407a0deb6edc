internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// SendTargets and discovery sessions.
enum DiscoveryTests {
    static let all = sendTargets + discovery

    /// A discovery session, or the reason why there is none.
    private static func discover(_ bench: Bench) throws -> Wire { try bench.logIn(.discovery) }

    private static func targets(_ text: [TextParameter]) -> [String] {
        text.filter { $0.key == "TargetName" }.map(\.value)
    }

    private static func words(_ text: [TextParameter]) -> String {
        text.isEmpty ? "an empty text" : text.prefix(4).map(\.description).joined(separator: " ")
    }

    /// What a target says to `text` that it does not grant: a text without targets, or a Reject. The session goes on.
    private static func expectNoTargets(
        _ wire: Wire, _ text: [TextParameter], _ why: String, isDiscovery: Bool = true
    ) throws {
        let request = wire.textRequest(text)
        try wire.send(request.header, data: request.data)
        let pdu = try wire.next(why)
        if pdu.opcode != .reject {
            let answer = (try? TextCodec.parse(pdu.data.rawSpan)) ?? []
            try require(
                pdu.opcode == .textResponse && targets(answer).isEmpty, why, got: Wire.describe(pdu))
        }
        // A discovery session takes only texts and the logout.
        guard isDiscovery else { return try wire.ping() }
        wire.session.nextCmdSN = wire.session.expCmdSN
        let all = try wire.exchangeText([TextParameter("SendTargets", "All")])
        try require(!targets(all).isEmpty, "the targets for SendTargets=All after that", got: words(all))
    }

    private static let sendTargets = [
        ConformanceTest(
            "Text.SendTargets.All", "C", "SendTargets=All in a discovery session shows the target that is tested."
        ) { bench in
            let wire = try discover(bench)
            let text = try wire.exchangeText([TextParameter("SendTargets", "All")])
            try require(
                targets(text).contains(bench.target.targetName), "TargetName=\(bench.target.targetName)",
                got: words(text))
        },
        ConformanceTest(
            "Text.SendTargets.Form", "13.8",
            "Each TargetName comes before its TargetAddresses, which are host[:port][,tag]."
        ) { bench in
            let wire = try discover(bench)
            let text = try wire.exchangeText([TextParameter("SendTargets", "All")])
            try require(text.first?.key == "TargetName", "TargetName first", got: words(text))
            for parameter in text where parameter.key != "TargetName" {
                try require(parameter.key == "TargetAddress", "TargetAddress after TargetName", got: parameter.key)
                let parts = parameter.value.split(separator: ",", omittingEmptySubsequences: false)
                let isTagRight = parts.count == 1 || parts.count == 2 && UInt16(parts[1]) != nil
                let host = parts.first ?? ""
                let isHostRight = !host.isEmpty && (!host.hasPrefix("[") || host.contains("]"))
                try require(isTagRight && isHostRight, "host[:port][,tag]", got: parameter.value)
            }
        },
        ConformanceTest(
            "Text.SendTargets.OneTarget", "C", "SendTargets with a name shows that target alone."
        ) { bench in
            let wire = try discover(bench)
            let text = try wire.exchangeText([TextParameter("SendTargets", bench.target.targetName)])
            try require(
                targets(text) == [bench.target.targetName], "only TargetName=\(bench.target.targetName)",
                got: words(text))
        },
        ConformanceTest(
            "Text.SendTargets.UnknownTarget", "C", "SendTargets with a name that no target has shows none."
        ) { bench in
            try expectNoTargets(
                try discover(bench), [TextParameter("SendTargets", "iqn.2026-11.dev.carousel:there.is.none")],
                "an answer without targets")
        },
        ConformanceTest(
            "Text.SendTargets.WrongKey", "6.1", "A key in other letters than SendTargets shows no target."
        ) { bench in
            let wire = try discover(bench)
            for key in ["sendtargets", "SENDTARGETS", "SendTarget"] {
                try expectNoTargets(wire, [TextParameter(key, "All")], "an answer to \(key)=All without targets")
            }
        },
        ConformanceTest(
            "Text.SendTargets.WrongValue", "C", "A value that is neither All, a name nor empty shows no target."
        ) { bench in
            let wire = try discover(bench)
            for value in ["all", "ALL", "None"] {
                try expectNoTargets(
                    wire, [TextParameter("SendTargets", value)], "an answer to SendTargets=\(value) without targets")
            }
        },
        ConformanceTest(
            "Text.SendTargets.OwnInNormalSession", "C",
            "SendTargets with nothing or its own name shows the target of a normal session."
        ) { bench in
            let wire = try bench.logIn()
            for value in ["", bench.target.targetName] {
                let text = try wire.exchangeText([TextParameter("SendTargets", value)])
                let addresses = text.filter { $0.key == "TargetAddress" }
                try require(
                    targets(text) == [bench.target.targetName] || targets(text).isEmpty && !addresses.isEmpty,
                    "the session's target for SendTargets=\(value)", got: words(text))
            }
        },
        ConformanceTest(
            "Text.SendTargets.AllInNormalSession", "C",
            "SendTargets=All in a normal session shows no other target than the session's."
        ) { bench in
            let wire = try bench.logIn()
            let request = wire.textRequest([TextParameter("SendTargets", "All")])
            try wire.send(request.header, data: request.data)
            let pdu = try wire.next("a Text Response or a Reject")
            if pdu.opcode != .reject {
                let answer = (try? TextCodec.parse(pdu.data.rawSpan)) ?? []
                let others = targets(answer).filter { $0 != bench.target.targetName }
                try require(
                    pdu.opcode == .textResponse && others.isEmpty, "no other target", got: Wire.describe(pdu))
            }
            try wire.ping()
        },
        ConformanceTest(
            "Text.SendTargets.OtherInNormalSession", "C",
            "SendTargets with the name of another target shows nothing in a normal session."
        ) { bench in
            try expectNoTargets(
                try bench.logIn(), [TextParameter("SendTargets", "iqn.2026-11.dev.carousel:there.is.none")],
                "an answer without targets", isDiscovery: false)
        },
    ]

    private static let discovery = [
        ConformanceTest(
            "Text.Discovery.WithTargetName", "4.3", "A discovery session may be opened without TargetName."
        ) { bench in
            let wire = try discover(bench)
            try wire.logOut()
        },
        ConformanceTest(
            "Text.Discovery.Logout", "4.3", "A discovery session is closed by a Logout Request."
        ) { bench in
            let wire = try discover(bench)
            let response = try wire.logOut()
            try require(response.response == .closed, "response 0", got: "\(response.response.rawValue)")
            try wire.expectEnd()
        },
        ConformanceTest(
            "Text.Discovery.CommandRejected", "4.3", "A SCSI Command in a discovery session is rejected."
        ) { bench in
            let wire = try discover(bench)
            let header = wire.header(.testUnitReady)
            try wire.send(header)
            try wire.expectReject(anyReason, of: BasicHeaderSegment(header), "a Reject")
        },
        ConformanceTest(
            "Text.Discovery.TaskManagementRejected", "4.3",
            "A Task Management Function Request in a discovery session is rejected."
        ) { bench in
            let wire = try discover(bench)
            let request = wire.taskManagementRequest(TaskManagementFunction.logicalUnitReset.rawValue)
            try wire.send(request)
            try wire.expectReject(anyReason, of: BasicHeaderSegment(request), "a Reject")
        },
        ConformanceTest(
            "Text.Discovery.SessionHandle", "4.3", "A discovery session, too, has a TSIH that is not 0."
        ) { bench in
            let wire = try discover(bench)
            try require(wire.session.targetSessionHandle != 0, "a TSIH that is not 0", got: "0")
        },
    ]

    /// Every reason of a Reject.
    private static let anyReason = Set((1...0xFF).map { RejectReason(rawValue: $0) })
}

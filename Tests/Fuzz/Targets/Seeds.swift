internal import Bytes
internal import ISCSI
internal import SCSI

/// Inputs to begin with: what a well-behaved peer would say, in the form of each target.
extension FuzzTarget {
    /// The inputs.
    public var seeds: [[UInt8]] {
        switch self {
        case .header: Self.headers + [Self.additionalHeaders]
        case .framing: Self.framings
        case .chap: Self.chapValues
        case .loginText: Self.logins
        case .text: Self.texts
        case .stream: Self.streams
        case .session: Self.programs
        case .cdb: Self.commands
        case .srp: Self.srpUnits
        case .srpLogin: Self.srpLogins
        case .iser: Self.iserMessages
        }
    }

    private static func encoded<Header: PDUHeader>(_ header: Header) -> [UInt8] {
        BasicHeaderSegment(header).bytes.copyToArray()
    }

    private static let headers: [[UInt8]] = [
        encoded(NOPOutPDU()), encoded(SCSICommandPDU()), encoded(TaskManagementRequestPDU()),
        encoded(LoginRequestPDU()), encoded(TextRequestPDU()), encoded(DataOutPDU()), encoded(LogoutRequestPDU()),
        encoded(SNACKRequestPDU()), encoded(NOPInPDU()), encoded(SCSIResponsePDU()),
        encoded(TaskManagementResponsePDU()), encoded(LoginResponsePDU()), encoded(TextResponsePDU()),
        encoded(DataInPDU()), encoded(LogoutResponsePDU()), encoded(ReadyToTransferPDU()),
        encoded(AsyncMessagePDU()), encoded(RejectPDU()),
    ]

    private static var additionalHeaders: [UInt8] {
        encoded(SCSICommandPDU())
            + AdditionalHeaderSegments.encodeExtendedCDB(CommandDescriptorBlock((0..<20).map { UInt8($0) }))
            + AdditionalHeaderSegments.encodeBidirectionalReadLength(0x1234)
    }

    private static let framings: [[UInt8]] = [
        [0x10, 0, 7, 0, 0, 48, 0, 1, 0, 0, 0, 0, 2],
        [0x13, 1, 2, 0, 0, 3, 0, 1, 2, 1, 0, 0, 2, 7, 7, 255, 0, 1],
        [0x11, 0, 9, 0, 0, 8, 210, 1], [0x12, 0, 9, 1, 0, 5, 230, 1], [0x1B, 0, 9, 9, 0, 0, 0, 1],
        [0x03, 0, 1, 0, 0, 1],
        [0x14, 0, 3] + headers[0] + headers[1],
    ]

    private static let chapValues: [[UInt8]] = [
        [0x00, 0], [0x02, 0], [0x11, 0], [0x13, 0], [0x31, 0] + text("0x0102"), [0x51, 0] + text("255"),
        [0x08, 0] + text("guest"), [0x04, 0] + text("7,5"), [0x00, 1] + text("0bAAEC"), [0x01, 6], [0x01, 7],
        [0, 0] + text("2001-04.com.example:storage"), [0, 0] + text("5006048452A83974"),
        [0x31, 0] + text(TextCodec.formatBinary((0..<32).map { UInt8($0 + 18) })),
    ]

    private static func text(_ text: String) -> [UInt8] { Array(text.utf8) }

    // MARK: Logins

    /// The pairs, each with its NUL.
    private static func terminated(_ pairs: [String]) -> [UInt8] { pairs.flatMap { text($0) + [0] } }

    /// One request of `LoginTarget`'s form.
    private static func request(_ flags: UInt8, _ pairs: [String], odd: UInt8 = 0) -> [UInt8] {
        let text = terminated(pairs)
        return [flags, odd, UInt8(text.count >> 8), UInt8(text.count & 0xFF)] + text
    }

    private static let names = [
        "InitiatorName=\(FuzzIdentity.initiatorName)", "TargetName=\(FuzzIdentity.targetName)", "SessionType=Normal",
    ]
    private static let operational = [
        "HeaderDigest=CRC32C,None", "DataDigest=None", "MaxConnections=4", "InitialR2T=No", "ImmediateData=Yes",
        "MaxRecvDataSegmentLength=262144", "MaxBurstLength=16776192", "FirstBurstLength=0x10000", "DefaultTime2Wait=2",
        "DefaultTime2Retain=0", "MaxOutstandingR2T=1", "DataPDUInOrder=Yes", "DataSequenceInOrder=Yes",
        "ErrorRecoveryLevel=2", "IFMarker=No", "OFMarker=No", "TaskReporting=FastAbort", "iSCSIProtocolLevel=2",
        "X-com.example=1",
    ]

    private static func chapRequests(_ algorithm: CHAPAlgorithm, _ more: [String] = []) -> [UInt8] {
        let response = TextCodec.formatBinary(CHAPTarget.proof(of: FuzzIdentity.initiator, algorithm))
        return request(0x00, names + ["AuthMethod=CHAP,None"]) + request(0x00, ["CHAP_A=\(algorithm.rawValue)"])
            + request(0x81, ["CHAP_N=host", "CHAP_R=\(response)"] + more) + request(0x87, operational)
            + request(0x87, [])
    }

    private static var logins: [[UInt8]] {
        [
            [0] + request(0x87, names + operational) + request(0x87, []),
            [1] + chapRequests(.sha256),
            [2] + chapRequests(.md5, ["CHAP_I=3", "CHAP_C=0x01020304"]),
            [0] + request(0x81, names + ["AuthMethod=None"]) + request(0x87, operational) + request(0x87, []),
            [0] + request(0x44, names) + request(0x87, operational) + request(0x87, []),
            [0]
                + request(
                    0x87,
                    ["InitiatorName=iqn.2026-11.dev.carousel:host", "SessionType=Discovery", "MaxBurstLength=512"])
                + request(0x87, []),
            [0] + request(0x87, names, odd: 4) + request(0x87, [], odd: 4), [0] + request(0x87, names, odd: 0xC4),
            [1] + request(0x87, names + operational),
        ]
    }

    /// A request of `TextTarget`'s form.
    private static func textRequest(_ flags: UInt8, _ text: String) -> [UInt8] {
        [flags, UInt8(text.utf8.count >> 8), UInt8(text.utf8.count & 0xFF)] + Array(text.utf8)
    }

    private static let texts: [[UInt8]] = [
        [0, 3] + textRequest(0x01, "SendTargets=All\0"),
        [2, 200] + textRequest(0x01, "SendTargets=All\0") + textRequest(0x49, ""),
        [1, 1] + textRequest(0x01, "SendTargets=\0"),
        [0, 5] + textRequest(0x01, "SendTargets=iqn.2026-11.dev.carousel:2\0"),
        [1, 1] + textRequest(0x01, "MaxRecvDataSegmentLength=4096\0X-a=1\0"),
        [1, 1] + textRequest(0x02, "MaxRecvData") + textRequest(0x09, "SegmentLength=8192\0"),
        [0, 3] + textRequest(0x00, "SendTargets=All\0") + textRequest(0x09, ""),
    ]

    // MARK: Sessions

    private static func wire<Header: PDUHeader>(_ header: Header, _ data: [UInt8] = []) -> [UInt8] {
        var bytes = encoded(header)
        bytes[6] = UInt8(data.count >> 8)
        bytes[7] = UInt8(data.count & 0xFF)
        return bytes + data + [UInt8](repeating: 0, count: -data.count & 3)
    }

    private static func login(_ more: [String] = [], isDiscovery: Bool = false) -> [UInt8] {
        var header = LoginRequestPDU()
        header.isTransit = true
        header.currentStageCode = LoginStage.operationalNegotiation.rawValue
        header.nextStageCode = LoginStage.fullFeaturePhase.rawValue
        header.initiatorSessionID = InitiatorSessionID(rawValue: 0x8000_0000_0001)
        header.cmdSN = SequenceNumber(1)
        let who = isDiscovery ? [names[0], "SessionType=Discovery"] : names
        return wire(header, terminated(who + more))
    }

    private static func command(
        _ cdb: [UInt8], tag: UInt32, cmdSN: UInt32, length: Int, isWrite: Bool = false, data: [UInt8] = []
    ) -> [UInt8] {
        var command = SCSICommandPDU()
        command.isRead = !isWrite && length > 0
        command.isWrite = isWrite
        command.expectedDataTransferLength = UInt32(length)
        command.initiatorTaskTag = tag
        command.cmdSN = SequenceNumber(cmdSN)
        command.cdb = CommandDescriptorBlock(cdb)
        return wire(command, data)
    }

    private static var streams: [[UInt8]] {
        let read: [UInt8] = [OperationCode.read10, 0, 0, 0, 0, 0, 0, 0, 2, 0]
        let write: [UInt8] = [OperationCode.write10, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        let block = [UInt8](repeating: 0x5A, count: 512)
        var text = TextRequestPDU()
        text.cmdSN = SequenceNumber(1)
        text.initiatorTaskTag = 1
        var ping = NOPOutPDU()
        ping.isImmediate = true
        ping.initiatorTaskTag = 9
        ping.cmdSN = SequenceNumber(1)
        var logout = LogoutRequestPDU()
        logout.initiatorTaskTag = 5
        logout.cmdSN = SequenceNumber(3)
        var abort = TaskManagementRequestPDU()
        abort.initiatorTaskTag = 4
        abort.referencedTaskTag = 3
        abort.cmdSN = SequenceNumber(4)
        abort.refCmdSN = SequenceNumber(3)
        var dataOut = DataOutPDU()
        dataOut.initiatorTaskTag = 2
        return [
            login(["MaxRecvDataSegmentLength=65536"]) + command(read, tag: 1, cmdSN: 1, length: 1024) + wire(logout),
            login() + command(read, tag: 1, cmdSN: 1, length: 1024)
                + command(write, tag: 2, cmdSN: 2, length: 512, isWrite: true, data: block) + wire(logout),
            login() + wire(ping, [1, 2, 3]) + command([0xC0, 0, 0, 0, 0, 0], tag: 3, cmdSN: 1, length: 0) + wire(abort),
            login(["InitialR2T=No", "FirstBurstLength=4096"])
                + command(write, tag: 2, cmdSN: 1, length: 512, isWrite: true) + wire(dataOut, block) + wire(logout),
            login(isDiscovery: true) + wire(text, Array("SendTargets=All\0".utf8)) + wire(logout),
            login(["ErrorRecoveryLevel=2"]) + command(read, tag: 1, cmdSN: 1, length: 100) + wire(SNACKRequestPDU()),
        ]
    }

    private static let programs: [[UInt8]] = [
        // Reads, writes with immediate data, and a logout.
        [0, 0, 0x01, 11, 1, 0x01, 0, 4, 2, 0x01, 3, 8, 3, 0, 0x0B, 0x07, 0, 0],
        // Digests, short segments, R2Ts and their answers.
        [0x83, 0, 0x01, 11, 1, 0x01, 0x03, 16, 2, 2, 0x03, 0x03, 0x03, 0x0B, 0x01, 0x01, 8, 3, 0x0B],
        // Unsolicited data that follows.
        [0x00, 0, 0x01, 11, 1, 0x01, 3, 4, 2, 0x03, 0x11, 2, 0, 0, 64, 0x0B],
        // A command that waits, aborted; another, with the unit reset.
        [0, 0, 0x01, 11, 1, 0x01, 7, 0, 2, 0x04, 1, 1, 2, 1, 0x01, 7, 0, 3, 0x04, 5, 2, 0, 0, 0x0B, 0x01, 8, 0, 4],
        // Two connections of one session, which one closes for the other.
        [0, 2, 0x01, 11, 1, 0x10, 0, 0x42, 0x01, 0, 4, 2, 0x0F, 0x01, 0, 4, 3, 0x0B, 0x1F, 0x07, 2, 1],
        // Data that is asked for again, and acknowledged.
        [0x80, 2, 0x01, 11, 1, 0x01, 0, 16, 2, 0x0B, 0x08, 2, 0, 4, 0x48, 0, 2, 0x88, 2, 0, 0, 0x0B],
        // Discovery, and a ping.
        [0x1F, 0, 0x26, 0xFF, 0x0B, 0x15, 1, 8, 0x0B],
        // A task moved to another connection.
        [0, 2, 0x01, 11, 1, 0x01, 7, 0, 2, 0x10, 0, 0x42, 0x07, 2, 0, 0x0B, 0x04, 14, 1, 2, 1, 0x0B],
        // Wrong digests and a PDU in two pieces.
        [0x03, 1, 0x01, 11, 1, 0x2D, 0x01, 3, 4, 2, 0, 0x0B, 0x0E, 0, 60, 0x01, 3, 4, 3, 0, 0x1D, 0x05, 1, 2, 0x0B],
        // The same initiator port again.
        [0, 0, 0x01, 11, 1, 0x01, 7, 0, 2, 0x10, 0, 0, 0x01, 11, 1, 0x0B],
    ]
}

extension FuzzTarget {
    /// Whether a command has ended with GOOD in an input of `cdb` that this process has run: an operation code, with
    /// the service action or mode where commands of that code are told apart by it.
    public static func hasSucceeded(_ command: [UInt8]) -> Bool { CommandTarget.hasSucceeded(command) }

    /// Throws when the login that `input` describes, in the form of `loginText`, leads to a session.
    public static func expectRefusal(ofLogin input: [UInt8]) throws(FuzzFinding) {
        let hasSession = try LoginTarget.hasSession(input)
        try require(!hasSession, "the login is refused")
    }
}

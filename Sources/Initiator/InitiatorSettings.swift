public import ISCSI

/// How an initiator logs in.
public struct InitiatorSettings: Sendable {
    /// The name that Carousel's own initiator uses.
    public static let defaultName = "iqn.2026-11.dev.carousel:initiator"

    /// InitiatorName: the iSCSI name of the initiator node (section 13.4).
    public var initiatorName = InitiatorSettings.defaultName
    /// SessionType: normal or discovery (section 13.21).
    public var sessionType: SessionType
    /// TargetName; nil in discovery sessions.
    public var targetName: String?
    /// The ISID; random at first, so that no session of the same initiator is reinstated.
    public var initiatorSessionID = InitiatorSessionID.random()
    /// The TSIH: 0 for a new session, else the session to join (with its `initiatorSessionID` and a `connectionID` of
    /// its own) or whose connection of that `connectionID` is replaced.
    public var targetSessionHandle: UInt16 = 0
    /// CID: the initiator's number of the connection in its session (section 4.2.4).
    public var connectionID: UInt16 = 0
    /// The CmdSN of the login: a new session's first, or the next of a session that is joined.
    public var firstCmdSN = SequenceNumber(1)
    /// The parameters of the session that the connection joins; nil for a new session.
    public var sessionParameters: NegotiatedParameters?
    /// What is offered in the negotiation: `operational.preferred.errorRecoveryLevel`, `maxConnections` and so on.
    public var operational = OperationalSettings.initiator
    /// The CHAP name and secret of the initiator; nil logs in without authentication.
    public var credential: CHAPCredential?
    /// What the target has to prove to know (mutual CHAP); nil does not ask. It needs `credential`, with another
    /// secret.
    public var targetCredential: CHAPCredential?
    /// Digests and random numbers, needed with `credential`: `CHAPProvider.standard` of module `Authentication`, or one
    /// with other `algorithms`, which are offered in their order.
    public var authenticationProvider: CHAPProvider?
    /// Whether a login without `credential` begins with the SecurityNegotiation stage, offering `AuthMethod=None`.
    public var startsWithSecurityStage = true
    /// Parameters to send beyond those of `operational`, right or wrong, in the operational stage.
    public var additionalParameters: [TextParameter] = []
    /// How long to wait for the connection and for each PDU.
    public var timeout = Duration.seconds(10)
    /// The size of the socket's buffers in bytes; 0 leaves the system's default.
    public var socketBufferSize = 0

    /// Settings for a normal session to `targetName`.
    public init(targetName: String) {
        sessionType = .normal
        self.targetName = targetName
    }

    private init() {
        sessionType = .discovery
    }

    /// Settings for a discovery session.
    public static var discovery: Self { Self() }

    /// Settings for a further connection `connectionID` of the session that `report` tells of and that began with these
    /// settings; `cmdSN` is the session's next CmdSN.
    public func joining(_ report: LoginReport, connectionID: UInt16, cmdSN: SequenceNumber) -> Self {
        var settings = self
        settings.targetSessionHandle = report.targetSessionHandle
        settings.connectionID = connectionID
        settings.sessionParameters = report.parameters
        settings.firstCmdSN = cmdSN
        return settings
    }
}

extension OperationalSettings {
    /// Settings of an initiator that wants few round trips: immediate and unsolicited data up to 256 KiB, bursts of
    /// 1 MiB, data segments of 256 KiB; no digests.
    public static let initiator: Self = {
        var preferred = NegotiatedParameters()
        preferred.initialR2T = false
        preferred.maxRecvDataSegmentLength = 262_144
        preferred.maxBurstLength = 1_048_576
        preferred.firstBurstLength = 262_144
        preferred.maxOutstandingR2T = 8
        preferred.defaultTime2Retain = 0
        var settings = Self(preferred: preferred)
        settings.headerDigests = [.none]
        settings.dataDigests = [.none]
        return settings
    }()
}

extension InitiatorSessionID {
    /// A random identifier: type 10b, a 24-bit random number and a 16-bit qualifier (RFC 7143 section 11.12.5).
    public static func random() -> Self {
        Self(rawValue: 0x8000_0000_0000 | UInt64.random(in: 0...0xFF_FFFF) << 16 | UInt64.random(in: 0...0xFFFF))
    }
}

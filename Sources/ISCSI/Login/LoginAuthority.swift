/// Who logs in, and to what: what the first text of a login says.
public struct LoginIdentity: Hashable, Sendable {
    /// InitiatorName, normalised.
    public var initiatorName: String
    /// InitiatorAlias: a name for people to read; nil when none was sent.
    public var initiatorAlias: String?
    /// ISID: with the initiator's name it is the initiator port (section 4.2.4).
    public var initiatorSessionID: InitiatorSessionID
    /// SessionType: normal or discovery (section 13.21).
    public var sessionType: SessionType
    /// TargetName, normalised; nil in discovery sessions that do not name one.
    public var targetName: String?
    /// The TSIH: 0 for a new session, else the session that the connection shall join.
    public var targetSessionHandle: UInt16
    /// CID: the initiator's number of the connection in its session (section 4.2.4).
    public var connectionID: UInt16

    public init(
        initiatorName: String, initiatorAlias: String?, initiatorSessionID: InitiatorSessionID,
        sessionType: SessionType, targetName: String?, targetSessionHandle: UInt16, connectionID: UInt16
    ) {
        self.initiatorName = initiatorName
        self.initiatorAlias = initiatorAlias
        self.initiatorSessionID = initiatorSessionID
        self.sessionType = sessionType
        self.targetName = targetName
        self.targetSessionHandle = targetSessionHandle
        self.connectionID = connectionID
    }
}

/// What an initiator has said about itself and its wish in a login, so far; nothing of it is proved.
public struct LoginClaims: Hashable, Sendable {
    /// InitiatorName, normalised.
    public var initiatorName: String?
    /// TargetName, normalised.
    public var targetName: String?
    /// CHAP_N, as it came.
    public var chapName: String?

    public init(initiatorName: String? = nil, targetName: String? = nil, chapName: String? = nil) {
        self.initiatorName = initiatorName
        self.targetName = targetName
        self.chapName = chapName
    }
}

/// What a login is granted when its names are known.
public struct LoginGrant: Sendable {
    /// The tag of the portal group that the connection came in on (RFC 7143 section 13.9).
    public var targetPortalGroupTag: UInt16
    /// TargetAlias: a name for people to read; nil when none is sent.
    public var targetAlias: String?
    /// What the target wants in the negotiation.
    public var settings: OperationalSettings
    /// What the initiator has to prove.
    public var authentication: AuthenticationPolicy
    /// The command numbering of the session that the connection joins; nil for a new session.
    public var joinedWindow: CommandWindow?
    /// The parameters of the session that the connection joins; nil for a new session.
    public var joinedParameters: NegotiatedParameters?

    public init(
        targetPortalGroupTag: UInt16, targetAlias: String? = nil, settings: OperationalSettings = .target,
        authentication: AuthenticationPolicy = .none, joinedWindow: CommandWindow? = nil,
        joinedParameters: NegotiatedParameters? = nil
    ) {
        self.targetPortalGroupTag = targetPortalGroupTag
        self.targetAlias = targetAlias
        self.settings = settings
        self.authentication = authentication
        self.joinedWindow = joinedWindow
        self.joinedParameters = joinedParameters
    }
}

/// Whether a login may go on.
public enum LoginAdmission: Sendable {
    /// It may, under these conditions.
    case granted(LoginGrant)
    /// It may not: `.targetNotFound`, `.targetRemoved`, `.authorizationFailure`, `.sessionDoesNotExist`,
    /// `.tooManyConnections`, `.serviceUnavailable`, `.outOfResources` …
    case refused(LoginStatus)
    /// The target is elsewhere: `address` is a `TargetAddress` value without portal group tag.
    case moved(address: String, permanently: Bool)
}

/// Whether a session could be set up at the end of its login.
public enum SessionAdmission: Sendable {
    /// It was; its TSIH, never 0.
    case established(targetSessionHandle: UInt16)
    /// It was not, for example `.outOfResources`.
    case refused(LoginStatus)
}

/// The knowledge outside the protocol that a login depends on: which targets there are and who may use them.
///
/// The machine calls it from `receive`, on the thread of the connection; it answers at once.
public protocol LoginAuthority {
    /// Whether `identity` may log in. Called once a login, when its first text is complete. A TSIH other than 0 asks
    /// to join (or replace a connection of) a session.
    func admit(_ identity: LoginIdentity) -> LoginAdmission

    /// Sets up the session (or adds the connection to it) when nothing but the last response is missing. A session of
    /// the same initiator name, ISID and portal group is reinstated: the old one ends (RFC 7143 section 6.3.5).
    func establish(_ identity: LoginIdentity, _ parameters: NegotiatedParameters) -> SessionAdmission
}

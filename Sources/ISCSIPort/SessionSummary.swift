public import ISCSI
public import Platform
public import TargetCore

/// What the control plane shows of a session.
public struct SessionSummary: Sendable {
    /// The TSIH: the session's number at this server.
    public let targetSessionHandle: UInt16
    /// InitiatorName: the iSCSI name of the initiator node (section 13.4).
    public let initiatorName: String
    /// InitiatorAlias: a name for people to read; nil when none was sent.
    public let initiatorAlias: String?
    /// The name that the initiator has proved to have by CHAP; nil when it had to prove nothing.
    public let authenticatedName: String?
    /// ISID: with the initiator's name it is the initiator port (section 4.2.4).
    public let initiatorSessionID: InitiatorSessionID
    /// The target's name; nil in a discovery session.
    public let targetName: String?
    /// The tag of the portal group that the session came in on.
    public let portalGroupTag: UInt16
    /// The connections, by CID.
    public let connections: [ConnectionSummary]
    /// What was negotiated, on the leading connection.
    public let parameters: NegotiatedParameters
    /// When the session began.
    public let start: MonotonicTime
    /// The number of the reactor that it runs on.
    public let reactor: Int
    /// Commands that have ended.
    public let commands: Int
    /// Bytes sent as Data-In.
    public let sentBytes: Int
    /// Bytes received as Data-Out.
    public let receivedBytes: Int
    /// What counts its commands, for who wants more of them; nil in a discovery session.
    public let commandCounters: CommandCounters?
}

/// What the control plane shows of a connection of a session.
public struct ConnectionSummary: Sendable, Hashable {
    /// CID: the initiator's number of the connection in its session (section 4.2.4).
    public let connectionID: UInt16
    /// The initiator's address.
    public let peerAddress: SocketAddress
    /// The address that the initiator used.
    public let localAddress: SocketAddress
    /// The address that the portal listens on, perhaps a wildcard.
    public let portal: SocketAddress
}

public import ISCSI
public import Platform

/// What the control plane shows of a session.
public struct SessionSummary: Sendable {
    /// The TSIH: the session's number at this server.
    public let targetSessionHandle: UInt16
    /// InitiatorName.
    public let initiatorName: String
    /// InitiatorAlias.
    public let initiatorAlias: String?
    /// The ISID.
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
}

/// What the control plane shows of a connection of a session.
public struct ConnectionSummary: Sendable, Hashable {
    /// The CID.
    public let connectionID: UInt16
    /// The initiator's address.
    public let peerAddress: SocketAddress
    /// The address that the initiator used.
    public let localAddress: SocketAddress
    /// The address that the portal listens on, perhaps a wildcard.
    public let portal: SocketAddress
}

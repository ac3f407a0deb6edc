/// The limits of an SRP server: what one peer, or all of them, can make it hold.
public struct SRPPortLimits: Sendable {
    /// The most RDMA channels at a time, over all portals; further logins are rejected with insufficient resources.
    public var channels = 1024
    /// The most channels at a time that were accepted and are not established; further logins are rejected with
    /// insufficient resources.
    public var connectingChannels = 256
    /// The most channels of one I_T nexus; further logins are rejected (SRP r16a clause 6.4, 00010006h).
    public var channelsOfNexus = 32
    /// The most channels of one initiator port, over all target ports; further logins are rejected as above.
    public var channelsOfInitiator = 256
    /// How long a channel may take to be established after it was accepted.
    public var loginDuration = Duration.seconds(15)
    /// REQUEST LIMIT: the most requests of a channel at a time, fewer where the device has too few receives.
    public var requestLimit = 64
    /// The longest information unit that is received, in bytes: `ib_srp` asks for 8272, or for 4148 and more with
    /// partial lists of 255 descriptors.
    public var maximumLength = 8448
    /// The most descriptors of an indirect table that is fetched: 16 MiB in pages of 4 KiB. Longer ones are answered
    /// with REQUEST FIELDS INVALID.
    public var tableDescriptors = 4096
    /// Work requests of a channel's send queue, fewer where the device has too few.
    public var sendQueue = 256
    /// The most RDMA Reads of a channel that are outstanding, if both sides can do as many.
    public var outstandingReads = 16
    /// Bytes of Data-In that a channel may have on its way at a time; further commands wait then. It is less when the
    /// reactor's pool has less than twice as much left, so that others find buffers however many initiators take
    /// nothing.
    public var dataInBacklog = 64 << 20
    /// Bytes of it that a channel may have in any case.
    public var assuredDataIn = 64 << 10
    /// How long a peer may take to receive SRP_T_LOGOUT before the connection ends without.
    public var logoutDuration = Duration.seconds(2)
    /// How long an initiator may be silent before SRP_CRED_REQ asks it for an answer, and again before the channel is
    /// logged out as inactive: a reliable connection does not notice by itself that its peer is gone. A channel that
    /// has taken no response for twice as long is closed.
    public var keepAliveInterval = Duration.seconds(30)
    /// Whether an I_T nexus may have several channels.
    public var allowsMultipleChannels = true
    /// Whether commands may carry immediate data.
    public var allowsImmediateData = true

    public init() {}

    /// Channels may hold one part in so many of a reactor's pool for information units; further logins are rejected
    /// with insufficient resources.
    static let poolShare = 2
    /// Receives beyond those of the request limit: for SRP_CRED_RSP, SRP_I_LOGOUT and one that breaks the limit.
    static let spareReceives = 3
    /// Requests of the send queue that are kept for SRP_CRED_REQ and SRP_T_LOGOUT.
    static let reservedSends = 2
    /// The room for an information unit to the initiator, in bytes: SRP_RSP with response data and all sense data.
    static let maximumTargetLength = 36 + 4 + 252
    /// The bytes of memory for one of them.
    static let targetUnitStride = 512
}

internal import ISCSI

/// The limits of an iSCSI server: what one peer, or all of them, can make it hold.
public struct PortLimits: Sendable {
    /// The most connections at a time, over all portals; more are closed when they come.
    public var connections = 8192
    /// The most sessions at a time, at most 65,534; further logins are refused with Out of resources (RFC 7143 section
    /// 11.13.5).
    public var sessions = 4096
    /// The most connections at a time that have not logged in; when more come, the oldest of them are closed. Each
    /// holds at most some 100 KiB: a PDU of `LoginLimits.dataSegmentLength` in, `LoginLimits.textLength` collected, and
    /// as much on its way out.
    public var loginConnections = 1024
    /// The most of them from one IPv4 address or one IPv6 network of 64 bits; when more come, the oldest of these are
    /// closed.
    public var loginConnectionsPerAddress = 256
    /// How long a login may take.
    public var loginDuration = LoginLimits.duration
    /// The most connections of a session.
    public var sessionConnections = 8
    /// The command window: the most commands of a session at a time.
    public var commandWindow = 128
    /// Requests of a connection a second that are no commands (pings, texts, task management), on average; a connection
    /// with more is not read from for a while. Texts count once more for every 8 KiB of an answer, and for every 64
    /// targets to choose from.
    public var requestsPerSecond = 2000
    /// The most immediate commands of a session at a time, beside those of the window.
    public var immediateCommands = 16
    /// The most task management functions of a session at a time; more are rejected, and the initiator may send them
    /// again (RFC 7143 section 11.17.1). Beyond them one is taken for each logical unit, and one for all units, that
    /// has none under way: `FunctionCounts.assured` at most.
    public var taskManagementFunctions = 128
    /// The most of them that wait for one logical unit, and the most of those on all units.
    public var taskManagementFunctionsOfUnit = 32
    /// The most PDUs other than commands that wait for an earlier CmdSN, of a session.
    public var heldRequests = 128
    /// How long a function that ends many tasks waits for the commands before it.
    public var taskManagementWait = Duration.seconds(3)
    /// Bytes of buffers for Data-Out that a session may owe at a time; commands beyond them end with TASK SET FULL.
    public var owedDataOut = 128 << 20
    /// Bytes of them that a session may owe in any case; beyond these it may owe half of what the reactor's pool has
    /// left, so that others find buffers however many sessions announce data that does not come.
    public var assuredDataOut = 64 << 10
    /// The most answers of a connection that are not acknowledged, at ErrorRecoveryLevel 1 and 2; beyond them it
    /// closes.
    public var unacknowledgedAnswers = 256
    /// Bytes of data of such answers, those of commands left out; beyond them the connection closes.
    public var unacknowledgedText = 32 << 20
    /// Bytes of Data-In that a session keeps to send them again; beyond them the oldest cannot be had again.
    public var retainedData = 64 << 20
    /// How long a login waits for the end of the session that it reinstates before it fails.
    public var reinstatementWait = Duration.seconds(30)
    /// Bytes queued for a peer beyond which nothing more is read from it until it takes its answers.
    public var outputBacklog = 4 << 20
    /// Bytes queued beyond which they are sent before the end of the turn, while they are in the processor's caches.
    public var earlyFlush = 512 << 10
    /// Bytes of Data-In that one connection sends in a turn before others have theirs.
    public var turnOutput = 4 << 20
    /// Bytes that the commands of one connection, or held commands of one session, move in a turn before others have
    /// theirs. Each PDU counts as 8 KiB beside its data, so that a turn of a connection takes some 1 to 2 ms at most.
    public var turnWork = 4 << 20
    /// How long a peer may be silent before it is pinged with NOP-In, and again before it is given up. Data-Out
    /// that has not gone on for as long ends its command.
    public var keepAliveInterval = Duration.seconds(30)
    /// How long the Data-Out of a command may take in all, from its first byte on; its command ends then, however
    /// steadily the data comes, by `keepAliveInterval` later at most.
    public var dataOutDuration = Duration.seconds(120)

    public init() {}
}

import Resources

public import struct Foundation.Date

// The bodies of the HTTP API, shared by the daemon and the command line. Sizes are in bytes.

/// The answer to a request that has nothing else to say.
public struct Acknowledgement: Codable, Sendable {
    /// What was done, in words.
    public var done: String

    public init(_ done: String) { self.done = done }
}

/// The state of the daemon.
public struct DaemonStatus: Codable, Sendable {
    /// The version of Carousel.
    public var version: String
    /// The daemon's process ID.
    public var processID: Int
    /// The absolute path of the state folder.
    public var stateFolder: String
    /// When the daemon started to serve.
    public var started: Date
    /// Where it listens, as `address:port`.
    public var portals: [String]
    /// How many disks there are.
    public var disks: Int
    /// How many libraries there are.
    public var libraries: Int
    /// How many cartridges there are.
    public var cartridges: Int
    /// How many sessions are logged in.
    public var sessions: Int
    /// What is not served, or not all of it, or has lost written data, and why; empty when all is well.
    public var problems: [String]
    /// What works as it was asked for, and may not be what is wanted: targets that are open to other machines, or that
    /// nobody can reach.
    public var warnings: [String]
    /// How many logins were refused since the daemon started.
    public var refusedLogins: Int
    /// Images, libraries and cartridges in the state folder that the catalog does not know; nothing serves or removes
    /// them.
    public var unclaimed: [String]
}

/// A logical unit of a target.
public struct LogicalUnitSummary: Codable, Sendable, Hashable {
    /// The logical unit number at the target.
    public var number: Int
    /// `disk`, `changer` or `drive`.
    public var kind: String
    /// What it is in words: `disk disk0`, `drive:1 of library vtl`.
    public var device: String
    /// The unit serial number (VPD page 80h).
    public var serialNumber: String
    /// The NAA designator (VPD page 83h), 16 hexadecimal digits.
    public var naa: String
}

public struct TargetSummary: Codable, Sendable, Hashable {
    /// The iSCSI name, unique in the daemon.
    public var name: String
    /// The logical units by number, as everyone sees them for whom nothing else is mapped.
    public var logicalUnits: [LogicalUnitSummary]
    /// The portals that offer it, as `address:port`.
    public var portals: [String]
    /// The tags of the portal groups that offer it; nil when all do.
    public var portalGroups: [Int]?
    /// Who may log in: `closed` nobody, `loopback` who uses a loopback address of the daemon's machine, `groups` the
    /// members of those groups, `open` everyone.
    public var accessLevel: String
    /// The groups that may log in at that access level, in the order in which it is decided.
    public var access: [TargetAccessSummary]
    /// Whether initiators have to prove who they are.
    public var hasCHAP: Bool
    /// Where logins are sent instead, as `address:port`; nil when they are taken.
    public var redirect: String?
    /// Whether the redirection is permanent (status 0102h), so that initiators remember it.
    public var isRedirectPermanent: Bool
    /// Whether it was made for itself, not with a disk or a library.
    public var isOwn: Bool
    /// How many sessions are logged in.
    public var sessions: Int
}

/// A session that is logged in.
public struct SessionSummary: Codable, Sendable, Hashable {
    /// The TSIH: the session's number at this daemon.
    public var handle: Int
    /// The iSCSI name of the initiator.
    public var initiator: String
    /// InitiatorAlias, if the initiator sent one.
    public var initiatorAlias: String?
    /// The name that the initiator has proved to have by CHAP; nil when it had to prove nothing.
    public var chapUser: String?
    /// The ISID, 12 hexadecimal digits.
    public var isid: String
    /// The iSCSI name of the target.
    public var target: String
    /// The tag of the portal group that the session is in.
    public var portalGroup: Int
    /// The connections by CID.
    public var connections: [ConnectionSummary]
    /// The negotiated keys of the session, and those of the leading connection, as they were declared.
    public var parameters: [String: String]
    /// For how many seconds it has been logged in.
    public var age: Int
    /// How many commands have ended.
    public var commands: Int
    /// How many bytes were sent as Data-In.
    public var sentBytes: Int
    /// How many bytes were received as Data-Out.
    public var receivedBytes: Int

    /// A session of `initiator` with `target`.
    public init(
        handle: Int, initiator: String, initiatorAlias: String? = nil, chapUser: String? = nil, isid: String,
        target: String, portalGroup: Int = 1, connections: [ConnectionSummary], parameters: [String: String] = [:],
        age: Int = 0,
        commands: Int = 0, sentBytes: Int = 0, receivedBytes: Int = 0
    ) {
        self.handle = handle
        self.initiator = initiator
        self.initiatorAlias = initiatorAlias
        self.chapUser = chapUser
        self.isid = isid
        self.target = target
        self.portalGroup = portalGroup
        self.connections = connections
        self.parameters = parameters
        self.age = age
        self.commands = commands
        self.sentBytes = sentBytes
        self.receivedBytes = receivedBytes
    }
}

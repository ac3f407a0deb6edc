public import Foundation

// The bodies of the API for portals, access, maps of logical units, CHAP and sessions.

// MARK: Portals

/// A portal to open.
public struct PortalCreation: Codable, Sendable {
    /// A numeric address and a port: `192.0.2.7:3260` or `[::1]:3260`.
    public var portal: String
    /// The tag of its portal group, 1 to 65535; 1 when nil.
    public var group: Int?

    public init(portal: String, group: Int?) {
        self.portal = portal
        self.group = group
    }
}

/// How a portal is freed of its sessions, or sessions are closed.
public struct GracePeriod: Codable, Sendable {
    /// How long initiators get to log out, in seconds.
    public var seconds: Int

    public init(seconds: Int) { self.seconds = seconds }
}

public struct PortalSummary: Codable, Sendable, Hashable {
    /// The address and port it listens on.
    public var portal: String
    /// The tag of its portal group, 1 to 65535.
    public var group: Int
    /// Whether new logins are sent elsewhere.
    public var isDraining: Bool
    /// How many connections came in through it, logged in or not.
    public var connections: Int

    public init(portal: String, group: Int, isDraining: Bool, connections: Int) {
        self.portal = portal
        self.group = group
        self.isDraining = isDraining
        self.connections = connections
    }
}

// MARK: Initiator groups

/// An initiator group to make.
public struct InitiatorGroupCreation: Codable, Sendable {
    /// The name, by the rules of `DeviceName`, unique among groups.
    public var name: String
    /// The patterns of initiators' names, with `*` and `?`; any name when empty.
    public var names: [String]
    /// The ranges of initiators' addresses, as `10.0.0.0/8`; any address when empty.
    public var addresses: [String]
    /// Its place among the groups; after all others when nil.
    public var rank: Int?

    public init(name: String, names: [String], addresses: [String], rank: Int?) {
        self.name = name
        self.names = names
        self.addresses = addresses
        self.rank = rank
    }
}

/// Members to add to a group or to remove from it, or a new rank.
public struct InitiatorGroupChange: Codable, Sendable {
    /// The patterns of initiators' names.
    public var names: [String]
    /// The ranges of initiators' addresses.
    public var addresses: [String]
    /// The new rank; as before when nil.
    public var rank: Int?
    /// Whether any name shall do when the last pattern is removed; that is refused otherwise.
    public var anyName: Bool?
    /// Whether any address shall do when the last range is removed; that is refused otherwise.
    public var anyAddress: Bool?
    /// Whether a removal may let initiators see more of a target, because another group decides for them then.
    public var mayWiden: Bool?

    public init(
        names: [String] = [], addresses: [String] = [], rank: Int? = nil, anyName: Bool? = nil,
        anyAddress: Bool? = nil, mayWiden: Bool? = nil
    ) {
        self.names = names
        self.addresses = addresses
        self.rank = rank
        self.anyName = anyName
        self.anyAddress = anyAddress
        self.mayWiden = mayWiden
    }
}

public struct InitiatorGroupSummary: Codable, Sendable, Hashable {
    /// The name, unique among groups.
    public var name: String
    /// Where several groups match an initiator, that with the lowest rank counts.
    public var rank: Int
    /// The patterns of initiators' names.
    public var names: [String]
    /// The ranges of initiators' addresses.
    public var addresses: [String]
    /// The iSCSI names of the targets that the group was given access to.
    public var targets: [String]
    /// When it was made.
    public var created: Date
}

// MARK: Targets

/// A target to make.
public struct TargetCreation: Codable, Sendable {
    /// The name: the end of an iSCSI name, or a whole one.
    public var name: String

    public init(name: String) { self.name = name }
}

/// Logical units to show at a target.
public struct TargetMapping: Codable, Sendable {
    /// The group that sees them, and may log in; everyone who sees what the target shows when nil.
    public var group: String?
    /// Devices by logical unit number: `disk0`, `vtl`, `vtl/drive:1`.
    public var logicalUnits: [Int: String]
    /// Whether a group that was given some units shall see all from now on.
    public var allUnits: Bool?

    public init(group: String?, logicalUnits: [Int: String], allUnits: Bool? = nil) {
        self.group = group
        self.logicalUnits = logicalUnits
        self.allUnits = allUnits
    }
}

/// Logical units to show no longer.
public struct TargetUnmapping: Codable, Sendable {
    /// The group that saw them; everyone when nil.
    public var group: String?
    /// The numbers; with a group and none, the group's access ends.
    public var numbers: [Int]
    /// Whether initiators may see more then, because another group decides for them.
    public var mayWiden: Bool?

    public init(group: String?, numbers: [Int], mayWiden: Bool? = nil) {
        self.group = group
        self.numbers = numbers
        self.mayWiden = mayWiden
    }
}

/// Who may log in to a target.
public struct TargetAccessSetting: Codable, Sendable {
    /// `closed`, `loopback`, `groups` or `open`.
    public var level: String
    /// Whether somebody may see more than before; refused otherwise.
    public var mayWiden: Bool?

    public init(level: String, mayWiden: Bool? = nil) {
        self.level = level
        self.mayWiden = mayWiden
    }
}

/// The portal groups that offer a target.
public struct TargetPortalGroups: Codable, Sendable {
    /// Their tags; all when nil.
    public var groups: [Int]?

    public init(groups: [Int]?) { self.groups = groups }
}

/// Where logins to a target are sent instead (RFC 7143 section 11.13.5).
public struct TargetRedirect: Codable, Sendable {
    /// `address:port`; nowhere when nil.
    public var address: String?
    /// Whether initiators are to remember it.
    public var isPermanent: Bool

    public init(address: String?, isPermanent: Bool) {
        self.address = address
        self.isPermanent = isPermanent
    }
}

/// The access of a group to a target.
public struct TargetAccessSummary: Codable, Sendable, Hashable {
    /// The name of the group.
    public var group: String
    /// The logical units that it sees by number; those of the target when nil.
    public var logicalUnits: [LogicalUnitSummary]?
}

// MARK: CHAP

/// Where CHAP is asked for: at a target, of a group, or at discovery; exactly one.
public struct CHAPPlace: Codable, Sendable, Hashable {
    /// The target's name, whole or its end.
    public var target: String?
    /// The name of the initiator group.
    public var group: String?
    /// Whether it is for discovery sessions.
    public var isDiscovery: Bool

    public init(target: String? = nil, group: String? = nil, isDiscovery: Bool = false) {
        self.target = target
        self.group = group
        self.isDiscovery = isDiscovery
    }
}

/// A name and its secret; the only body that holds one, and only on its way to the daemon.
public struct CHAPSecret: Codable, Sendable {
    /// CHAP_N.
    public var name: String
    /// The secret, 12 to 255 bytes.
    public var secret: Data

    public init(name: String, secret: Data) {
        self.name = name
        self.secret = secret
    }
}

/// Names and secrets to set.
public struct CHAPSetting: Codable, Sendable {
    /// Where the proof is asked for.
    public var place: CHAPPlace
    /// An initiator's, which is added, or replaces that of the name.
    public var initiator: CHAPSecret?
    /// The name and secret that the target proves itself with; as before when nil.
    public var target: CHAPSecret?
    /// The algorithms to allow, by name; as before, or all, when nil.
    public var algorithms: [String]?

    public init(place: CHAPPlace, initiator: CHAPSecret?, target: CHAPSecret?, algorithms: [String]?) {
        self.place = place
        self.initiator = initiator
        self.target = target
        self.algorithms = algorithms
    }
}

/// Names to forget.
public struct CHAPClearing: Codable, Sendable {
    /// Where names are forgotten.
    public var place: CHAPPlace
    /// The initiator's name; everything at the place when nil.
    public var user: String?
    /// Whether nothing has to be proved there any more; otherwise nobody gets in there until a secret is set.
    public var isNotRequired: Bool?

    /// A request to forget `user`, or everything, at `place`.
    public init(place: CHAPPlace, user: String?, isNotRequired: Bool? = nil) {
        self.place = place
        self.user = user
        self.isNotRequired = isNotRequired
    }
}

/// Who has to prove what at one place, without the secrets.
public struct CHAPSummary: Codable, Sendable, Hashable {
    /// Where the proof is asked for.
    public var place: CHAPPlace
    /// The initiators' names (CHAP_N), sorted; where there are none, nobody gets in.
    public var users: [String]
    /// The name that the target proves itself with; nil when it has no secret.
    public var mutualUser: String?
    /// The names of the algorithms that are allowed.
    public var algorithms: [String]
}

// MARK: Sessions

/// Sessions to close: that with the TSIH, or those of an initiator.
public struct SessionClosing: Codable, Sendable {
    /// The TSIH of the one session to close.
    public var handle: Int?
    /// The iSCSI name of the initiator whose sessions are closed.
    public var initiator: String?
    /// Only those with this target.
    public var target: String?
    /// How long initiators get to log out, in seconds.
    public var seconds: Int

    /// A request to close the selected sessions.
    public init(handle: Int?, initiator: String?, target: String?, seconds: Int) {
        self.handle = handle
        self.initiator = initiator
        self.target = target
        self.seconds = seconds
    }
}

/// A connection of a session.
public struct ConnectionSummary: Codable, Sendable, Hashable {
    /// The CID, unique in the session.
    public var connectionID: Int
    /// The initiator's address and port.
    public var peer: String
    /// The address and port that the initiator connected to.
    public var local: String
    /// The address and port of the portal, which may be a wildcard.
    public var portal: String

    public init(connectionID: Int, peer: String, local: String, portal: String) {
        self.connectionID = connectionID
        self.peer = peer
        self.local = local
        self.portal = portal
    }
}

public import Resources

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
    /// Images, libraries and cartridges in the state folder that the catalog does not know; nothing serves or removes
    /// them.
    public var unclaimed: [String]
}

/// Whether a cartridge can be used.
public enum CartridgeState: String, Codable, Sendable, Hashable {
    /// Its files are there and are those of this cartridge.
    case ready
    /// It is read, but not written: data that were written are lost, and nobody has acknowledged that.
    case dataLost = "data lost"
    /// Its files are not there.
    case missing
    /// Its files cannot be read, or contradict themselves or the catalog.
    case damaged
    /// The host does not let its files be used now: its file system is full or read-only, its storage fails.
    case unavailable
    /// It was being made when the daemon or the file system failed; the next start removes it.
    case creating = "being made"
    /// It is deleted, but files are left; the next start, or another deletion, removes them.
    case deleting = "being deleted"
}

/// A library to make.
public struct LibraryCreation: Codable, Sendable {
    /// The name, by the rules of `DeviceName`, unique among disks and libraries.
    public var name: String
    /// The name of the library profile.
    public var profile: String
    /// How many drives, at least one.
    public var drives: Int
    /// The name of the profile of all drives.
    public var driveProfile: String
    /// How many storage elements.
    public var slots: Int
    /// How many import/export elements.
    public var mailSlots: Int
    /// How many cartridges, in the first slots.
    public var cartridges: Int
    /// The first barcode; the others count up. When nil, the first one that no library uses.
    public var firstBarcode: String?
    /// The capacity of each cartridge in bytes; that of its kind when nil.
    public var cartridgeSize: Int64?

    public init(
        name: String, profile: String, drives: Int, driveProfile: String, slots: Int, mailSlots: Int,
        cartridges: Int = 0, firstBarcode: String? = nil, cartridgeSize: Int64? = nil
    ) {
        self.name = name
        self.profile = profile
        self.drives = drives
        self.driveProfile = driveProfile
        self.slots = slots
        self.mailSlots = mailSlots
        self.cartridges = cartridges
        self.firstBarcode = firstBarcode
        self.cartridgeSize = cartridgeSize
    }
}

/// A drive of a library.
public struct DriveSummary: Codable, Sendable, Hashable {
    /// Its element, `drive:1`.
    public var element: String
    public var logicalUnitNumber: Int
    /// The name of its profile.
    public var profile: String
    /// The unit serial number (VPD page 80h).
    public var serialNumber: String
    /// The NAA designator (VPD page 83h), 16 hexadecimal digits.
    public var naa: String
    /// The barcode of the cartridge in it; nil when it is empty.
    public var barcode: String?
}

public struct LibrarySummary: Codable, Sendable, Hashable {
    /// The name, unique among disks and libraries.
    public var name: String
    /// The name of its profile.
    public var profile: String
    /// The iSCSI name of the target.
    public var target: String
    /// The serial number of the changer; its unit serial number (VPD page 80h) is made of it as the profile says.
    public var serialNumber: String
    /// The NAA identifier of the changer, 16 hexadecimal digits.
    public var naa: String
    /// How many storage elements it has.
    public var slots: Int
    /// How many import/export elements it has.
    public var mailSlots: Int
    /// The drives by number.
    public var drives: [DriveSummary]
    /// How many cartridges are in the library.
    public var cartridges: Int
    /// How many of its cartridges are in the vault.
    public var exported: Int
    /// When it was made.
    public var created: Date
    /// How many sessions are logged in.
    public var sessions: Int
    /// Whether it is served.
    public var state: ServiceState
    /// Why it is not served, or not all of it; nil when all is well.
    public var problem: String?
}

/// A library with its cartridges and last moves.
public struct LibraryDetail: Codable, Sendable {
    /// The library itself.
    public var library: LibrarySummary
    /// The cartridges by place: drives, slots, mail slots, vault.
    public var cartridges: [CartridgeSummary]
    /// The last moves, the newest first.
    public var moves: [MoveSummary]
}

/// A line of the move history.
public struct MoveSummary: Codable, Sendable {
    /// When it was made, by the daemon's clock.
    public var time: Date
    /// The barcode of the cartridge.
    public var barcode: String
    /// From where: `slot:3` or `vault`.
    public var origin: String
    /// To where: `drive:1` or `vault`.
    public var destination: String
    /// Who asked: `command` or `initiator`.
    public var cause: String
}

/// A move to make.
public struct MoveRequest: Codable, Sendable {
    /// The element that holds the cartridge, `slot:3`.
    public var origin: String
    /// The empty element that gets it, `drive:1`.
    public var destination: String

    public init(origin: String, destination: String) {
        self.origin = origin
        self.destination = destination
    }
}

/// A cartridge to move out of the library or back in.
public struct CartridgeReference: Codable, Sendable {
    /// The barcode, as it stands on the label.
    public var barcode: String

    public init(barcode: String) { self.barcode = barcode }
}

/// A cartridge to make.
public struct CartridgeCreation: Codable, Sendable {
    /// The barcode, by the rules of `Barcode`, unique in the library.
    public var barcode: String
    /// The native capacity in bytes; that of the kind of cartridge that the barcode's ending means when nil.
    public var size: Int64?

    public init(barcode: String, size: Int64?) {
        self.barcode = barcode
        self.size = size
    }
}

public struct CartridgeSummary: Codable, Sendable, Hashable {
    /// The name of the library it belongs to.
    public var library: String
    /// The barcode, unique in the library.
    public var barcode: String
    /// The medium's serial number (MAM attribute 0401h), unique in the catalog.
    public var serialNumber: String
    /// The native capacity in bytes.
    public var capacity: Int64
    /// The format of its medium, and whether it is WORM; nil where that was not asked for or is not known.
    public var medium: String?
    /// How many bytes of it are written; nil where that was not asked for or is not known.
    public var used: Int64?
    /// Where it is: `slot:3` or `vault`.
    public var location: String
    /// The slot it was last taken from; nil when it has been in none.
    public var source: String?
    /// When it was made.
    public var created: Date
    /// Whether it can be used.
    public var state: CartridgeState
    /// Why it cannot be used, or not written, and what to do; nil when it can, as far as is known without loading it.
    public var problem: String?
    /// What was lost of it; nil without a loss.
    public var loss: LossSummary?
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
    /// Who may log in, in the order in which it is decided; everyone when empty.
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
        handle: Int, initiator: String, initiatorAlias: String? = nil, isid: String, target: String,
        portalGroup: Int = 1, connections: [ConnectionSummary], parameters: [String: String] = [:], age: Int = 0,
        commands: Int = 0, sentBytes: Int = 0, receivedBytes: Int = 0
    ) {
        self.handle = handle
        self.initiator = initiator
        self.initiatorAlias = initiatorAlias
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

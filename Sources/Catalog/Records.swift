public import Resources

public import struct Foundation.Date

/// The identity of a logical unit: random, made once and kept, unique in its catalog.
public struct LogicalUnitIdentity: Hashable, Sendable {
    /// The catalog's key of the logical unit.
    public let id: Int64
    /// The unit serial number (VPD page 80h), ASCII.
    public let serialNumber: String
    /// The NAA designator (VPD page 83h): 64 bits, of the locally assigned kind, so the first four bits are 3h.
    public let naaIdentifier: UInt64
}

/// A tape drive of a library.
public struct DriveRecord: Hashable, Sendable {
    public let identity: LogicalUnitIdentity
    /// Its number in the library, from 1; also its logical unit number in the library's target.
    public let number: Int
    /// The name of its drive profile.
    public let profile: String
}

/// A library; its identity is that of the medium changer.
public struct LibraryRecord: Hashable, Sendable {
    /// The identity of the medium changer.
    public let identity: LogicalUnitIdentity
    /// The name given by the user.
    public let name: String
    /// The name of its library profile.
    public let profile: String
    /// How many storage elements it has.
    public let slotCount: Int
    /// How many import/export elements it has.
    public let mailSlotCount: Int
    /// The drives, by number.
    public let drives: [DriveRecord]
    /// When it was made.
    public let created: Date
    /// Whether it is being made, complete or being deleted.
    public let phase: RecordPhase
    /// Which state of it this is.
    public let generation: Int64
}

/// A cartridge of a library.
public struct CartridgeRecord: Hashable, Sendable {
    /// The catalog's key.
    public let id: Int64
    /// The label, unique in the library.
    public let barcode: String
    /// The medium's own serial number, unique in the catalog.
    public let serialNumber: String
    /// The native capacity in bytes.
    public let capacity: Int64
    /// The element that holds it, or the vault.
    public let location: CartridgeLocation
    /// The storage element it was last moved from (SMC-3: source storage element address), when there is one.
    public let source: ElementAddress?
    /// The slot that is kept for it, because it was taken from there to a drive or a mail slot: an unload finds it.
    /// Only those who say so expressly put something else there.
    public var keptSlot: ElementAddress? {
        guard let element = location.element, element.kind != .slot else { return nil }
        return source
    }
    /// Whether the operator put it into the mail slot that it is in (SMC-3 table 26: IMPEXP).
    public let isImported: Bool
    /// When it was made.
    public let created: Date
    /// Whether it is being made, complete or being deleted.
    public let phase: RecordPhase
    /// Which state of it this is.
    public let generation: Int64
}

/// A target and its logical units.
public struct TargetRecord: Hashable, Sendable {
    /// The catalog's key.
    public let id: Int64
    /// The iSCSI name.
    public let name: String
    /// The key of the logical unit that it was made for and goes with; nil for a target made for itself.
    public let device: Int64?
    /// The keys of its logical units, by logical unit number.
    public var logicalUnits: [Int: Int64]
    /// The tags of the portal groups that offer it, sorted; nil when all do.
    public let portalGroupTags: [Int]?
    /// Where logins are sent instead; nil when they are taken.
    public let redirection: TargetRedirection?
    /// Who may log in at all.
    public var accessLevel: AccessLevel
    /// Whether initiators have to prove who they are, where their group does not say something else.
    public let requiresAuthentication: Bool
    /// The groups that may log in at access level `groups`, by rank.
    public var access: [TargetAccessRecord]
    /// Which state of it this is.
    public let generation: Int64
}

/// Where logins to a target are sent instead (RFC 7143 section 11.13.5).
public struct TargetRedirection: Hashable, Sendable {
    /// The address and port of the other portal.
    public let address: String
    /// Whether it is permanent (status 0102h) rather than temporary (0101h).
    public let isPermanent: Bool

    public init(address: String, isPermanent: Bool) {
        self.address = address
        self.isPermanent = isPermanent
    }
}

/// The permission of an initiator group to log in to a target.
public struct TargetAccessRecord: Hashable, Sendable {
    /// The key of the group.
    public let group: Int64
    /// The keys of the logical units that the group sees, by number; nil when they are those of the target.
    public var logicalUnits: [Int: Int64]?

    public init(group: Int64, logicalUnits: [Int: Int64]?) {
        self.group = group
        self.logicalUnits = logicalUnits
    }
}

public struct InitiatorGroupRecord: Hashable, Sendable {
    /// The catalog's key.
    public let id: Int64
    /// The name given by the user.
    public let name: String
    /// Its place among the groups: where several match, that with the lowest rank counts, then that which was made
    /// first.
    public let rank: Int
    /// The patterns of initiators' names, sorted.
    public var namePatterns: [String]
    /// The ranges of addresses, sorted.
    public var addressRanges: [String]
    /// Whether its members have to prove who they are.
    public let requiresAuthentication: Bool
    /// When it was made.
    public let created: Date
    /// Which state of it this is.
    public let generation: Int64
}

/// Where the daemon listens.
public struct PortalRecord: Hashable, Sendable {
    /// The numeric IPv4 or IPv6 address; 0.0.0.0 or :: for all of the machine.
    public let address: String
    /// The TCP port; 0 lets the system choose.
    public let port: Int
    /// The tag of its portal group, 1 to 65535.
    public let portalGroupTag: Int

    public init(address: String, port: Int, portalGroupTag: Int) {
        self.address = address
        self.port = port
        self.portalGroupTag = portalGroupTag
    }
}

/// Who asked for a move.
public enum MoveCause: String, Hashable, Sendable {
    /// An operator, through the API.
    case command
    /// An initiator, through the medium changer.
    case initiator
}

/// A move to make: one cartridge from where it is to where nothing is.
public struct CartridgeMove: Hashable, Sendable {
    /// The cartridge's label.
    public let barcode: String
    /// The element that holds it, or the vault.
    public let origin: CartridgeLocation
    /// The element that gets it, which is empty, or the vault.
    public let destination: CartridgeLocation

    public init(barcode: String, origin: CartridgeLocation, destination: CartridgeLocation) {
        self.barcode = barcode
        self.origin = origin
        self.destination = destination
    }
}

/// A line of the move history.
public struct MoveRecord: Hashable, Sendable {
    /// When it happened.
    public let time: Date
    /// The name of the library at that time.
    public let library: String
    /// The cartridge's label.
    public let barcode: String
    /// From where, in words.
    public let origin: String
    /// To where, in words.
    public let destination: String
    /// Who asked for it.
    public let cause: MoveCause
}

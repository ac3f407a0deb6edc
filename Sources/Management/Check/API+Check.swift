public import Resources

public import struct Foundation.Date

/// What a check is about.
public struct CheckRequest: Record {
    /// The most things that one request names.
    public static let maximumNames = 10_000

    /// Disks, libraries, and cartridges as `LIBRARY/BARCODE`; the catalog and everything when empty.
    public var names: [String] = []
    /// Whether to make indexes anew where the data are whole, and to mend the images of the disks that are named.
    public var repairs = false

    public init() {}

    public init(names: [String] = [], repairs: Bool = false) {
        self.names = names
        self.repairs = repairs
    }

    public static let fields: [Field<CheckRequest>] = [
        Field(
            "names", \.names, .list(.text(.any("name")), maximumCount: maximumNames),
            help: "Disks, libraries, and cartridges as LIBRARY/BARCODE; the catalog and everything if left out."),
        Field(
            "repairs", \.repairs, .flag, .withDefault(false), role: .admin,
            help: "Whether to make indexes anew where the data are whole, and to mend the images of named disks."),
    ]
}

/// Something that a check found.
public struct Finding: Codable, Sendable, Hashable {
    public enum Kind: String, Codable, Sendable, Hashable {
        case catalog
        case disk
        case cartridge
    }
    /// How bad it is.
    public enum Severity: String, Codable, Sendable, Hashable {
        /// Nothing is wrong: it was not checked, or needs nothing.
        case note
        /// It is served, but not as it should be.
        case warning
        /// Something of it is lost or cannot be read.
        case error
    }
    public var kind: Kind
    /// The disk, or the cartridge as `LIBRARY/BARCODE`; the path of the catalog.
    public var name: String
    public var severity: Severity
    /// What was found, and what to do.
    public var sentence: String
    /// Whether a check that repairs mends it.
    public var isRepairable: Bool
    /// Whether this check has mended it.
    public var isRepaired: Bool

    public init(
        _ kind: Kind, _ name: String, _ severity: Severity, _ sentence: String, isRepairable: Bool = false,
        isRepaired: Bool = false
    ) {
        self.kind = kind
        self.name = name
        self.severity = severity
        self.sentence = sentence
        self.isRepairable = isRepairable
        self.isRepaired = isRepaired
    }

    /// Whether something is wrong still.
    public var isOpen: Bool { severity != .note && !isRepaired }
}

/// How far a check is, and what it has found.
public struct CheckStatus: Codable, Sendable {
    /// The number of its job.
    public var job: Int
    public var isRunning: Bool
    /// Whether somebody has ended it before it was through.
    public var isCancelled: Bool
    public var started: Date
    /// When it was over; nil while it runs.
    public var ended: Date?
    /// How many disks, cartridges and catalogs are checked.
    public var checked: Int
    /// How many there are to check.
    public var subjects: Int
    /// How many bytes are read.
    public var done: Int64
    /// How many bytes there are to read, as far as is known.
    public var total: Int64
    /// What was found, by kind and name.
    public var findings: [Finding]
    /// How many findings there were beyond those.
    public var omitted: Int
}

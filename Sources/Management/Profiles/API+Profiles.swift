import Profiles
public import Resources

/// A profile of drives or libraries.
public struct ProfileSummary: Codable, Sendable, Hashable {
    /// The name that selects it.
    public var name: String
    /// `drive` or `library`.
    public var kind: String
    /// One line for people: maker and model.
    public var description: String
    /// T10 VENDOR IDENTIFICATION.
    public var vendor: String
    /// PRODUCT IDENTIFICATION.
    public var product: String
    /// PRODUCT REVISION LEVEL.
    public var revision: String
    /// The file that it comes from; nil when it is inside the program.
    public var path: String?
    /// The libraries that use it.
    public var libraries: [String]

    init(_ entry: ProfileEntry, libraries: [String] = []) {
        name = entry.name
        kind = entry.kind.rawValue
        description = entry.description
        vendor = entry.vendor
        product = entry.product
        revision = entry.revision
        path = entry.path
        self.libraries = libraries
    }
}

/// A recording format of a drive profile.
public struct DensitySummary: Codable, Sendable {
    /// PRIMARY DENSITY CODE, as in `0x5E`.
    public var code: String
    /// DESCRIPTION.
    public var description: String
    /// The native capacity in bytes.
    public var capacity: Int64
    /// What the labels of such cartridges end with.
    public var barcodeSuffixes: [String]
    /// What the labels of such WORM cartridges end with.
    public var wormBarcodeSuffixes: [String]
    public var isWritable: Bool
    /// Whether it is the drive's own format.
    public var isDefault: Bool
}

/// The elements of one kind that a library profile has.
public struct ElementRangeSummary: Codable, Sendable {
    /// `slot`, `mail`, `drive` or `robot`.
    public var kind: String
    /// The address of the first one, as in `0x0400`.
    public var firstAddress: String
    public var maximumCount: Int
}

/// A profile with what it decides.
public struct ProfileDetail: Codable, Sendable {
    public var profile: ProfileSummary
    /// The formats of a drive profile; empty for a library.
    public var densities: [DensitySummary]
    /// The elements of a library profile; empty for a drive.
    public var elements: [ElementRangeSummary]
    /// What stands in its file, to begin another profile with.
    public var content: String
}

/// A profile to add to those of the state folder.
public struct ProfileAddition: Record {
    /// The longest profile in bytes.
    public static let maximumLength = 65_536

    /// What the file is called in messages.
    public var file = ""
    /// The JSON of the profile.
    public var content = ""
    /// Whether it may take the place of one of the same name.
    public var replaces = false

    public init() {}

    public static let fields: [Field<ProfileAddition>] = [
        Field("file", \.file, .text(.any("file")), .required, help: "What the file is called in messages."),
        Field(
            "content", \.content, .text(.any("JSON", maximumLength: maximumLength)), .required,
            help: "The JSON of the profile."),
        Field(
            "replaces", \.replaces, .flag, .withDefault(false),
            help: "Whether it may take the place of one of the same name."),
    ]

    public init(file: String, content: String, replaces: Bool = false) {
        self.file = file
        self.content = content
        self.replaces = replaces
    }
}

public import Resources

/// An image of a disk that the catalog does not know.
public struct DiskAdoption: Record {
    /// The name of a file in the folder of images, with or without `.img`, or an absolute path.
    public var image = ""
    /// The name of the disk; that of the file when nil.
    public var name: String?
    /// The logical block length in bytes, 512 or 4096; 512 when nil.
    public var blockSize: Int?
    /// The absolute path of the file with the user's key, or the command that writes it, of an encrypted image.
    public var encryptionKeyFile: String?
    public var encryptionKeyCommand: String?

    public init() {}

    public init(image: String, name: String? = nil, blockSize: Int? = nil) {
        self.image = image
        self.name = name
        self.blockSize = blockSize
    }

    public static let fields: [Field<DiskAdoption>] = [
        Field(
            "image", \.image, .text(.any("file")), .required,
            help: "The name of a file in the folder of images, with or without .img, or an absolute path."),
        Field("name", \.name, .text(.name(of: "disk")), help: "The name of the disk; that of the file if left out."),
        Field(
            "blockSize", \.blockSize, .choice([512, 4096]),
            help: "The logical block length in bytes; 512 if left out."),
        Field(
            "encryptionKeyFile", \.encryptionKeyFile, .text(.path), role: .admin,
            help: "Of an encrypted image with its key file beside it, the file with the user's key."),
        Field(
            "encryptionKeyCommand", \.encryptionKeyCommand,
            .text(.line("command", maximumLength: Disk.keyCommandLength)), role: .admin,
            help: "As encryption-key-file, with what this command writes to its standard output."),
    ]
}

extension DiskAdoption {
    /// A spec that says where the user's key comes from, and nothing else.
    func encryption() throws(ManagementError) -> Disk.Spec {
        var spec = Disk.Spec()
        spec.encryptionKeyFile = encryptionKeyFile
        spec.encryptionKeyCommand = encryptionKeyCommand
        try spec.checkEncryption()
        return spec
    }
}

/// A cartridge that the catalog does not know.
public struct CartridgeAdoption: Record {
    /// The barcode of one in the library's folder, or the absolute path of a folder `BARCODE.tape`.
    public var cartridge = ""

    public init() {}

    public init(cartridge: String) { self.cartridge = cartridge }

    public static let fields: [Field<CartridgeAdoption>] = [
        Field(
            "cartridge", \.cartridge, .text(.any("cartridge")), .required,
            help: "The barcode of one in the library's folder, or the absolute path of a folder BARCODE.tape.")
    ]
}

/// A folder of cartridges of which the catalog does not know the library.
public struct LibraryAdoption: Record {
    /// The name, which is that of the folder.
    public var name = ""
    /// The name of the library profile.
    public var profile = ""
    /// How many drives, at least one.
    public var drives = 1
    /// The name of the profile of all drives.
    public var driveProfile = ""
    /// How many storage elements; as many as cartridges when nil, as far as the profile allows.
    public var slots: Int?
    /// How many import/export elements.
    public var mailSlots = 0

    public init() {}

    public static let fields: [Field<LibraryAdoption>] = [
        Field("name", \.name, .text(.name(of: "library")), .required, help: "The name of the library and its folder."),
        Field("profile", \.profile, .text(.any("profile")), .required, help: "The library profile."),
        Field("drives", \.drives, .count(1...Library.maximumDrives), .required, help: "How many drives."),
        Field("driveProfile", \.driveProfile, .text(.any("profile")), .required, help: "The profile of the drives."),
        Field(
            "slots", \.slots, .count(1...Library.maximumSlots),
            help: "How many slots; as many as there are cartridges if left out."),
        Field(
            "mailSlots", \.mailSlots, .count(0...Library.maximumMailSlots), .withDefault(0),
            help: "How many mail slots."),
    ]

    public init(
        name: String, profile: String, drives: Int, driveProfile: String, slots: Int? = nil, mailSlots: Int
    ) {
        self.name = name
        self.profile = profile
        self.drives = drives
        self.driveProfile = driveProfile
        self.slots = slots
        self.mailSlots = mailSlots
    }
}

/// A library that was taken up.
public struct LibraryAdoptionResult: Sendable {
    public var library: Resource<Library>
    /// Why folders of cartridges were left as they are, one sentence each.
    public var left: [String]
}

extension LibraryAdoptionResult: Codable {
    public init(from decoder: any Decoder) throws {
        let json = try JSONValue(from: decoder)
        guard let library = json["library"].flatMap(Resource<Library>.init),
            let left = json["left"].flatMap([String].from)
        else {
            throw DecodingError.dataCorrupted(
                DecodingError.Context(codingPath: decoder.codingPath, debugDescription: "no adopted library"))
        }
        self.init(library: library, left: left)
    }

    public func encode(to encoder: any Encoder) throws {
        try (["library": library.json, "left": left.json] as JSONValue).encode(to: encoder)
    }
}

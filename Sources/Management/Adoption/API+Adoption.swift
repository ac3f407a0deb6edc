public import Resources

/// An image of a disk that the catalog does not know.
public struct DiskAdoption: Codable, Sendable {
    /// The name of a file in the folder of images, with or without `.img`, or an absolute path.
    public var image: String
    /// The name of the disk; that of the file when nil.
    public var name: String?
    /// The logical block length in bytes, 512 or 4096; 512 when nil.
    public var blockSize: Int?

    public init(image: String, name: String? = nil, blockSize: Int? = nil) {
        self.image = image
        self.name = name
        self.blockSize = blockSize
    }
}

/// A cartridge that the catalog does not know.
public struct CartridgeAdoption: Codable, Sendable {
    /// The barcode of one in the library's folder, or the absolute path of a folder `BARCODE.tape`.
    public var cartridge: String

    public init(cartridge: String) { self.cartridge = cartridge }
}

/// A folder of cartridges of which the catalog does not know the library.
public struct LibraryAdoption: Codable, Sendable {
    /// The name, which is that of the folder.
    public var name: String
    /// The name of the library profile.
    public var profile: String
    /// How many drives, at least one.
    public var drives: Int
    /// The name of the profile of all drives.
    public var driveProfile: String
    /// How many storage elements; as many as cartridges when nil, as far as the profile allows.
    public var slots: Int?
    /// How many import/export elements.
    public var mailSlots: Int

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

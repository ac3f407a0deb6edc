/// Where the elements of one type begin, and how many there may be (SMC-3 clause 4.2).
public struct ElementRangeProfile: Sendable, Decodable {
    public let firstAddress: Int
    /// The most elements of the type that a library may have.
    public let maximumCount: Int

    public init(from decoder: any Decoder) throws {
        let fields = try ProfileFields(decoder, known: ["firstAddress", "maximumCount"])
        firstAddress = try fields.hexadecimal("firstAddress", in: 0...0xFFFF)
        maximumCount = try fields.integer("maximumCount", in: 1...0x10000)
        guard firstAddress + maximumCount <= 0x10000 else {
            throw fields.error("maximumCount", "must keep all addresses below 0x10000")
        }
    }

    /// All addresses that there may be.
    var addresses: Range<Int> { firstAddress..<firstAddress + maximumCount }
}

/// How READ ELEMENT STATUS names a drive when DVCID is one (SMC-3 clause 6.10.5).
public enum DriveIdentificationForm: String, Sendable, Decodable {
    /// Vendor, product and serial number: 34 characters.
    case vendorProductSerialNumber
    /// The serial number alone.
    case serialNumber
}

/// A library's personality.
public struct LibraryProfile: Sendable, Decodable {
    /// The names of timeouts that a profile may give; a command without one has `default`.
    static let timeoutNames = [
        "default", "exchangeMedium", "initializeElementStatus", "moveMedium", "positionToElement",
        "readElementStatus",
    ]

    /// The name that selects it: `--profile NAME`.
    public let name: String
    /// One line for people: maker, model.
    public let description: String
    /// T10 VENDOR IDENTIFICATION.
    public let vendor: String
    /// PRODUCT IDENTIFICATION.
    public let product: String
    /// PRODUCT REVISION LEVEL.
    public let revision: String
    /// The medium transport elements: one robot.
    public let mediumTransport: ElementRangeProfile
    /// The data transfer elements: drives.
    public let dataTransfer: ElementRangeProfile
    /// The import/export elements: mail slots.
    public let importExport: ElementRangeProfile
    /// The storage elements: slots.
    public let storage: ElementRangeProfile
    /// How many characters a label may have.
    public let barcodeLength: ClosedRange<Int>
    /// How drives are named.
    public let driveIdentification: DriveIdentificationForm
    /// The mode pages that do not follow from the elements.
    public let modePages: [ProfileModePage]
    private let timeouts: [String: UInt32]
    private let head: ProfileHead

    private struct BarcodeLimits: Decodable {
        let length: ClosedRange<Int>

        init(from decoder: any Decoder) throws {
            let fields = try ProfileFields(decoder, known: ["minimumLength", "maximumLength"])
            let maximum = try fields.integer("maximumLength", in: 1...32)
            length = try fields.integer("minimumLength", in: 1...maximum)...maximum
        }
    }

    public init(from decoder: any Decoder) throws {
        let ranges = ["mediumTransport", "dataTransfer", "importExport", "storage"]
        let fields = try ProfileFields(
            decoder, known: ProfileHead.fields + ranges + ["barcode", "driveIdentification"])
        head = try ProfileHead(fields, timeoutNames: Self.timeoutNames, hasStorage: true)
        name = head.name
        description = head.description
        vendor = head.vendor
        product = head.product
        revision = head.revision
        modePages = head.modePages
        timeouts = head.timeouts
        mediumTransport = try fields.value("mediumTransport")
        dataTransfer = try fields.value("dataTransfer")
        importExport = try fields.value("importExport")
        storage = try fields.value("storage")
        barcodeLength = try fields.value("barcode", as: BarcodeLimits.self).length
        driveIdentification = try fields.value("driveIdentification")
        guard mediumTransport.maximumCount == 1 else {
            throw fields.error("mediumTransport.maximumCount", "must be 1")
        }
        let all = [mediumTransport, dataTransfer, importExport, storage]
        for first in all.indices {
            for second in all.indices where first < second && all[first].addresses.overlaps(all[second].addresses) {
                throw fields.error(ranges[second], "must not overlap the addresses of \(ranges[first])")
            }
        }
        for page in modePages where (0x1D...0x1F).contains(page.code) {
            throw fields.error("modePages", "must not have pages 0x1D to 0x1F, which are made from the elements")
        }
    }

    /// What is wrong with a label, as the end of a sentence; nil when it may be used.
    public func problem(withBarcode barcode: String) -> String? {
        guard barcodeLength.contains(barcode.utf8.count) else {
            return "must have \(barcodeLength.lowerBound) to \(barcodeLength.upperBound) characters"
        }
        let isPlain = barcode.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) }
        return isPlain ? nil : "must consist of the letters A to Z and digits"
    }

    /// What a changer of this profile with that serial number says of itself.
    public func personality(serialNumber: String) -> ProfilePersonality {
        ProfilePersonality(
            head,
            TemplateValues(
                serialNumber: serialNumber, vendor: vendor, product: product, revision: revision,
                firstStorage: storage.firstAddress))
    }

    /// RECOMMENDED COMMAND TIMEOUT of a group of commands, in seconds.
    public func timeout(_ group: TimeoutGroup) -> UInt32 {
        timeouts[group.rawValue] ?? timeouts["default"] ?? 60
    }

    /// The groups of commands that have a timeout of their own.
    public enum TimeoutGroup: String, Sendable {
        case exchangeMedium
        case initializeElementStatus
        case moveMedium
        case positionToElement
        case readElementStatus
        /// Every command that has no group of its own.
        case other = "default"
    }
}

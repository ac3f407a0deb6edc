/// A recording format that a drive knows (SSC-5 clause 8.1: density support descriptor).
public struct DensityProfile: Sendable, Decodable {
    /// PRIMARY DENSITY CODE.
    public let code: UInt8
    /// DENSITY NAME, at most 8 characters.
    public let name: String
    /// DESCRIPTION, at most 20 characters.
    public let description: String
    /// ASSIGNING ORGANIZATION, at most 8 characters.
    public let organization: String
    /// BITS PER MM.
    public let bitsPerMillimeter: UInt32
    /// MEDIA WIDTH in tenths of a millimetre.
    public let widthTenthsOfMillimeter: UInt16
    public let tracks: UInt16
    /// CAPACITY in units of 1,000,000 bytes.
    public let capacityMegabytes: UInt32
    /// MEDIUM TYPE of the mode parameter header when such a cartridge is loaded.
    public let mediumType: UInt8
    /// MEDIUM TYPE when such a WORM cartridge is loaded.
    public let wormMediumType: UInt8
    /// The last two characters of the labels of such cartridges.
    public let barcodeSuffixes: [String]
    /// The last two characters of the labels of such cartridges that are WORM; none where there are no such cartridges.
    public let wormBarcodeSuffixes: [String]
    /// Whether the drive writes the format, or only reads it.
    public let isWritable: Bool
    /// Whether it is the drive's own format (DEFLT).
    public let isDefault: Bool

    public init(from decoder: any Decoder) throws {
        let fields = try ProfileFields(
            decoder,
            known: [
                "code", "name", "description", "organization", "bitsPerMillimeter", "widthTenthsOfMillimeter",
                "tracks", "capacityMegabytes", "mediumType", "wormMediumType", "barcodeSuffixes",
                "wormBarcodeSuffixes", "isWritable", "isDefault",
            ])
        code = UInt8(try fields.hexadecimal("code", in: 1...0x7E))
        name = try fields.text("name", maximumLength: 8)
        description = try fields.text("description", maximumLength: 20)
        organization = try fields.text("organization", maximumLength: 8)
        bitsPerMillimeter = UInt32(try fields.integer("bitsPerMillimeter", in: 1...0xFF_FFFF))
        widthTenthsOfMillimeter = UInt16(try fields.integer("widthTenthsOfMillimeter", in: 1...0xFFFF))
        tracks = UInt16(try fields.integer("tracks", in: 1...0xFFFF))
        capacityMegabytes = UInt32(try fields.integer("capacityMegabytes", in: 1...Int(UInt32.max)))
        mediumType = UInt8(try fields.hexadecimal("mediumType", in: 0...0xFF))
        barcodeSuffixes = try fields.barcodeParts("barcodeSuffixes", lengths: 2...2)
        wormBarcodeSuffixes =
            fields.has("wormBarcodeSuffixes") ? try fields.barcodeParts("wormBarcodeSuffixes", lengths: 2...2) : []
        let isWORM = !wormBarcodeSuffixes.isEmpty
        wormMediumType = isWORM ? UInt8(try fields.hexadecimal("wormMediumType", in: 0...0xFF)) : mediumType
        isWritable = try fields.flag("isWritable")
        isDefault = try fields.flag("isDefault")
    }
}

/// Where early warning begins, by the capacity of the cartridge.
public struct EarlyWarningProfile: Sendable, Decodable {
    /// Thousandths of the capacity before the end of the partition.
    public let perMille: Int
    /// The least distance to the end, in bytes.
    public let minimumBytes: Int64
    /// The greatest distance to the end, in bytes.
    public let maximumBytes: Int64

    public init(from decoder: any Decoder) throws {
        let fields = try ProfileFields(decoder, known: ["perMille", "minimumBytes", "maximumBytes"])
        perMille = try fields.integer("perMille", in: 0...500)
        minimumBytes = Int64(try fields.integer("minimumBytes", in: 0...1 << 40))
        maximumBytes = Int64(try fields.integer("maximumBytes", in: 1...1 << 40))
        guard minimumBytes <= maximumBytes else {
            throw fields.error("minimumBytes", "must not be above maximumBytes")
        }
    }

    /// The bytes between early warning and the end of a partition of `capacity` bytes: never more than a quarter of
    /// it, so that a very small cartridge still has a place before the warning.
    public func bytes(capacity: Int64) -> Int64 {
        min(capacity / 4, min(maximumBytes, max(minimumBytes, capacity / 1000 * Int64(perMille))))
    }
}

/// What READ BLOCK LIMITS says (SSC-5 clause 6.7).
public struct BlockLimitsProfile: Sendable, Decodable {
    /// MINIMUM BLOCK LENGTH LIMIT, in bytes.
    public let minimum: Int
    /// MAXIMUM BLOCK LENGTH LIMIT, in bytes.
    public let maximum: Int
    /// GRANULARITY: block lengths are multiples of two to this power.
    public let granularity: Int

    public init(from decoder: any Decoder) throws {
        let fields = try ProfileFields(decoder, known: ["minimum", "maximum", "granularity"])
        maximum = try fields.integer("maximum", in: 1...16_777_215)
        minimum = try fields.integer("minimum", in: 1...65535)
        granularity = try fields.integer("granularity", in: 0...24)
        guard minimum <= maximum else { throw fields.error("minimum", "must not be above maximum") }
    }
}

/// A drive's personality.
public struct DriveProfile: Sendable, Decodable {
    /// The names of timeouts that a profile may give; a command without one has `default`.
    static let timeoutNames = [
        "default", "erase", "loadUnload", "locate", "read", "rewind", "space", "verify", "write", "writeFilemarks",
    ]

    /// The name that selects it: `--drive-profile NAME`.
    public let name: String
    /// One line for people: maker, model, generation.
    public let description: String
    /// T10 VENDOR IDENTIFICATION.
    public let vendor: String
    /// PRODUCT IDENTIFICATION.
    public let product: String
    /// PRODUCT REVISION LEVEL.
    public let revision: String
    /// The limits of a block's length, as READ BLOCK LIMITS reports them.
    public let blockLimits: BlockLimitsProfile
    /// BUFFERED MODE after power on: 0 or 1.
    public let defaultBufferedMode: UInt8
    /// The distance from the end of the partition at which early warning begins.
    public let earlyWarning: EarlyWarningProfile
    /// The formats that it reads or writes, one of them its own.
    public let densities: [DensityProfile]
    /// Label suffixes of cartridges that it cannot use at all.
    public let refusedBarcodeSuffixes: [String]
    /// What the labels of cleaning cartridges begin with.
    public let cleaningBarcodePrefixes: [String]
    /// The mode pages with their default values, by page code.
    public let modePages: [ProfileModePage]
    /// RECOMMENDED COMMAND TIMEOUT by name, in seconds.
    private let timeouts: [String: UInt32]
    private let head: ProfileHead

    public init(from decoder: any Decoder) throws {
        let fields = try ProfileFields(
            decoder,
            known: ProfileHead.fields + [
                "blockLimits", "defaultBufferedMode", "earlyWarning", "densities", "refusedBarcodeSuffixes",
                "cleaningBarcodePrefixes",
            ])
        head = try ProfileHead(fields, timeoutNames: Self.timeoutNames, hasStorage: false)
        name = head.name
        description = head.description
        vendor = head.vendor
        product = head.product
        revision = head.revision
        modePages = head.modePages
        timeouts = head.timeouts
        blockLimits = try fields.value("blockLimits")
        defaultBufferedMode = UInt8(try fields.integer("defaultBufferedMode", in: 0...1))
        earlyWarning = try fields.value("earlyWarning")
        densities = try fields.value("densities")
        refusedBarcodeSuffixes = try fields.barcodeParts("refusedBarcodeSuffixes", lengths: 2...2)
        cleaningBarcodePrefixes =
            fields.has("cleaningBarcodePrefixes")
            ? try fields.barcodeParts("cleaningBarcodePrefixes", lengths: 1...30) : []
        guard densities.count(where: \.isDefault) == 1 else {
            throw fields.error("densities", "must have exactly one that is the default")
        }
        guard Set(densities.map(\.code)).count == densities.count else {
            throw fields.error("densities", "must not have a code twice")
        }
        let suffixes = densities.flatMap { $0.barcodeSuffixes + $0.wormBarcodeSuffixes } + refusedBarcodeSuffixes
        guard Set(suffixes).count == suffixes.count else {
            throw fields.error("densities", "must not have a barcode suffix twice, nor one that is refused")
        }
        for (code, length) in [(UInt8(0x0F), 14), (0x10, 14), (0x11, 8), (0x1D, 30)] {
            guard modePages.contains(where: { $0.code == code && $0.subpage == 0 && $0.values.count == length }) else {
                let page = "0x" + String(code, radix: 16, uppercase: true)
                throw fields.error("modePages", "must have page \(page) with \(length) bytes")
            }
        }
    }

    /// The drive's own format.
    public var defaultDensity: DensityProfile {
        guard let density = densities.first(where: \.isDefault) else { preconditionFailure("checked when it was read") }
        return density
    }

    /// The format with that code, nil when the drive does not know it.
    public func density(code: UInt8) -> DensityProfile? {
        densities.first { $0.code == code }
    }

    /// What a label says of the cartridge.
    public enum LabelledMedium: Sendable {
        /// It holds data in that format, which the drive reads.
        case data(DensityProfile, isWORM: Bool)
        /// It cleans.
        case cleaning
        /// It is of a generation that the drive cannot use.
        case unusable
    }

    /// The kind of a cartridge with that label: by its beginning, then by its last two characters; the drive's own
    /// format when they say nothing.
    public func medium(barcode: String) -> LabelledMedium {
        if cleaningBarcodePrefixes.contains(where: { barcode.hasPrefix($0) }) { return .cleaning }
        let suffix = String(barcode.suffix(2))
        for density in densities {
            if density.barcodeSuffixes.contains(suffix) { return .data(density, isWORM: false) }
            if density.wormBarcodeSuffixes.contains(suffix) { return .data(density, isWORM: true) }
        }
        return refusedBarcodeSuffixes.contains(suffix) ? .unusable : .data(defaultDensity, isWORM: false)
    }

    /// What a drive of this profile with that serial number says of itself.
    public func personality(serialNumber: String) -> ProfilePersonality {
        ProfilePersonality(
            head,
            TemplateValues(
                serialNumber: serialNumber, vendor: vendor, product: product, revision: revision,
                firstStorage: nil))
    }

    /// RECOMMENDED COMMAND TIMEOUT of a group of commands, in seconds.
    public func timeout(_ group: TimeoutGroup) -> UInt32 {
        timeouts[group.rawValue] ?? timeouts["default"] ?? 60
    }

    /// The groups of commands that have a timeout of their own.
    public enum TimeoutGroup: String, Sendable {
        case erase
        case loadUnload
        case locate
        case read
        case rewind
        case space
        case verify
        case write
        case writeFilemarks
        /// Every command that has no group of its own.
        case other = "default"
    }
}

/// What a disk promises of data that were written (`DiskDevice` has the table).
public enum CachePolicy: String, FieldWord, Codable {
    /// A write ends when the host's page cache has its data.
    case writeBack = "write-back"
    /// A write ends when its data are durable.
    case writeThrough = "write-through"
    /// Data go past the host's page cache, as far as they are whole pages.
    case direct
}

/// How the blocks of a disk lie in its image.
public enum DiskFormat: String, FieldWord, Codable {
    /// With snapshots and clones in one file, copy-on-write (`DiskImageFormat` in the docs of `Media`).
    case carousel
    /// One after another, as on the disk.
    case raw
    /// As raw, in the host's memory only: after a start of the daemon the disk reads zeros.
    case ram
}

/// The nominal form factors (SBC-4 clause 6.6.2), in inches.
public enum FormFactor: String, FieldWord, Codable {
    case fiveAndAQuarter = "5.25"
    case threeAndAHalf = "3.5"
    case twoAndAHalf = "2.5"
    case onePointEight = "1.8"
    /// Less than 1.8 inches.
    case smaller

    /// The code of the standard.
    public var code: UInt8 {
        switch self {
        case .fiveAndAQuarter: 1
        case .threeAndAHalf: 2
        case .twoAndAHalf: 3
        case .onePointEight: 4
        case .smaller: 5
        }
    }
}

/// Where the medium of a removable disk is.
public enum MediumState: String, FieldWord, Codable {
    case loaded, ejected
}

/// How SANITIZE, or FORMAT UNIT, goes through all blocks of a disk.
public enum OperationMethod: String, FieldWord, Codable {
    /// SANITIZE, OVERWRITE.
    case overwrite
    /// SANITIZE, BLOCK ERASE.
    case blockErase = "block-erase"
    /// SANITIZE, CRYPTOGRAPHIC ERASE.
    case cryptographicErase = "cryptographic-erase"
    /// FORMAT UNIT.
    case format
}

/// What has become of an operation on all blocks of a disk.
public enum OperationState: String, FieldWord, Codable {
    case running, failed
}

/// An operation on all blocks of a disk that goes on, or has failed: until then, or until an initiator has ended that,
/// the disk does little else.
public struct OperationSummary: Record, Codable {
    public var method = OperationMethod.format
    public var state = OperationState.running
    /// How much of it is done; nil when it has failed.
    public var percent: Int?

    public init() {}

    public init(method: OperationMethod) { self.method = method }

    public static let fields: [Field<OperationSummary>] = [
        Field(
            "method", \.method, OperationMethod.type, .required,
            help: "How SANITIZE goes through all blocks, or 'format' for FORMAT UNIT."),
        Field("state", \.state, OperationState.type, .required, help: "Whether it goes on, or has failed."),
        Field("percent", \.percent, .percent(0...100), help: "How much of it is done, while it goes on."),
    ]
}

extension Disk.Spec {
    /// How many logical blocks a physical block has.
    public var blocksPerPhysicalBlock: Int { max(1, (physicalBlockSize ?? blockSize) / blockSize) }

    /// Whether its blocks are encrypted where they are stored.
    public var isEncrypted: Bool { encryptionKeyFile != nil || encryptionKeyCommand != nil }

    /// The words of the command for its key.
    public var keyCommandWords: [String] { (encryptionKeyCommand ?? "").split(separator: " ").map(String.init) }

    /// How its blocks lie in the image.
    public var imageFormat: DiskFormat { format ?? .raw }

    /// Whether its content is in the host's memory only.
    public var isInMemory: Bool { format == .ram }

    /// The levels of zstd, and the one without a choice (`DiskImageFormat` in the docs of `Media` has the reason).
    private static let compressionLevels = 1...19
    private static let standardCompressionLevel = 3

    /// The level of zstd at which a new disk is compressed; nil when it is not, or the words say nothing.
    public var compressionLevel: Int? {
        guard let words = compression?.split(separator: ":", omittingEmptySubsequences: false), words.first == "zstd"
        else { return nil }
        guard words.count > 1 else { return Self.standardCompressionLevel }
        guard words.count == 2, let level = Int(words[1]), "\(level)" == words[1],
            Self.compressionLevels.contains(level)
        else { return nil }
        return level
    }

    /// The format that it gets where none is asked for: images of the user and protection information are for raw ones.
    public var formatWithoutChoice: DiskFormat { image != nil || protection != 0 ? .raw : Disk.standardFormat }

    /// Refuses what does not go with the format.
    func checkFormat() throws(ManagementError) {
        guard format == .carousel || isInMemory else {
            guard hasChecksums, (format ?? formatWithoutChoice) == .raw else { return try checkChecksums() }
            throw ManagementError(
                .invalid,
                "disks of the format carousel have checksums of data; leave them out, or choose --format "
                    + "carousel", field: "hasChecksums")
        }
        try checkChecksums()
        let refused = [
            ("image", "an existing file becomes a raw disk only", image != nil),
            ("protection", "protection information is kept by raw disks only", protection != 0),
            (
                "encryptionKeyFile", "a disk in memory is stored nowhere, so nothing of it is encrypted",
                isInMemory && encryptionKeyFile != nil
            ),
            (
                "encryptionKeyCommand", "a disk in memory is stored nowhere, so nothing of it is encrypted",
                isInMemory && encryptionKeyCommand != nil
            ),
        ]
        guard let (field, reason, _) = refused.first(where: \.2) else { return }
        throw ManagementError(.invalid, "\(reason); leave it out, or choose --format raw", field: field)
    }

    /// Refuses what is too large for the format.
    func checkSize(isNew: Bool) throws(ManagementError) {
        guard let size, size > Disk.maximumCarouselSize, format ?? (isNew ? formatWithoutChoice : .raw) == .carousel
        else { return }
        throw ManagementError(
            .invalid,
            "a disk of the format carousel has at most \(ByteSize.format(Disk.maximumCarouselSize)); "
                + "make it smaller, or "
                + "choose --format raw", field: "size")
    }

    /// Refuses checksums of data that are not kept.
    private func checkChecksums() throws(ManagementError) {
        guard hasChecksums, isEncrypted || isInMemory else { return }
        throw ManagementError(
            .invalid,
            "\(isInMemory ? "a disk in memory" : "an encrypted disk") has no checksums of data; leave out one of them",
            field: "hasChecksums")
    }

    /// Refuses a compression that there is not, or not for such a disk.
    func checkCompression() throws(ManagementError) {
        guard let compression else { return }
        guard compressionLevel != nil else {
            throw ManagementError(
                .invalid, "compression '\(compression)' is not offered; give zstd, or zstd:1 to zstd:19",
                field: "compression")
        }
        guard format ?? formatWithoutChoice == .carousel else {
            throw ManagementError(
                .invalid, "disks of the format carousel are compressed, raw ones are not; leave out one of them",
                field: "compression")
        }
    }

    /// Refuses automatic snapshots of a disk that has none.
    func checkSchedule(isNew: Bool) throws(ManagementError) {
        guard snapshotEvery != nil || snapshotKeep != nil else { return }
        guard format ?? (isNew ? formatWithoutChoice : .raw) == .carousel else {
            throw ManagementError(
                .invalid,
                "a \(isInMemory ? "disk in memory" : "raw disk") has no snapshots; leave that out, or make it with "
                    + "--format carousel",
                field: snapshotEvery == nil ? "snapshotKeep" : "snapshotEvery")
        }
    }

    /// Refuses a limit of the space of a disk that nothing can limit.
    func checkSpaceLimit(isNew: Bool) throws(ManagementError) {
        guard spaceLimit != nil, format ?? (isNew ? formatWithoutChoice : .raw) != .carousel else { return }
        throw ManagementError(
            .invalid,
            "a \(isInMemory ? "disk in memory gets its memory" : "raw disk gets its storage") from the host without "
                + "asking, up to its size; leave the limit out, or make it with --format carousel", field: "spaceLimit")
    }

    /// Refuses what does not go with encryption.
    public func checkEncryption() throws(ManagementError) {
        guard isEncrypted else { return }
        let field = encryptionKeyFile == nil ? "encryptionKeyCommand" : "encryptionKeyFile"
        if encryptionKeyFile != nil, encryptionKeyCommand != nil {
            throw ManagementError(
                .invalid, "a key comes from a file or from a command; leave out one of them", field: field)
        }
        if encryptionKeyCommand != nil, keyCommandWords.first?.hasPrefix("/") != true {
            throw ManagementError(
                .invalid, "the command for a key begins with the absolute path of a program", field: field)
        }
        if image != nil {
            throw ManagementError(
                .invalid,
                "an image of one's own keeps its content, which is not encrypted; leave out the key, or image",
                field: field)
        }
        if protection != 0 {
            throw ManagementError(
                .invalid,
                "protection information would tell what encrypted blocks are; leave out the key, or protection",
                field: field)
        }
    }

    /// Refuses fields that do not go together.
    func checkGeometry() throws(ManagementError) {
        if let physicalBlockSize, physicalBlockSize < blockSize {
            throw ManagementError(
                .invalid,
                "a physical block of \(physicalBlockSize) bytes is smaller than a logical one of \(blockSize); give "
                    + "\(blockSize), or leave it out", field: "physicalBlockSize")
        }
        let blocks = blocksPerPhysicalBlock
        guard alignment < blocks else {
            let reason =
                blocks == 1
                ? "a physical block has no more than one logical block, so all of them are aligned; leave it out, or "
                    + "give a physical block size of 4096 with a block size of 512"
                : "a physical block has \(blocks) logical blocks; give 0 to \(blocks - 1)"
            throw ManagementError(.invalid, "alignment \(alignment) is not possible: \(reason)", field: "alignment")
        }
        guard protection == 0 || image == nil else {
            throw ManagementError(
                .invalid,
                "an image of one's own has no protection information beside it; leave out protection, or image",
                field: "protection")
        }
        guard rotationRate <= 1 || rotationRate >= Disk.rotationRates.lowerBound else {
            throw ManagementError(
                .invalid,
                "rotation rate \(rotationRate) is not possible; give 1 for what does not rotate, 0 to say nothing, or "
                    + "\(Disk.rotationRates.lowerBound) to \(Disk.rotationRates.upperBound) in revolutions a minute",
                field: "rotationRate")
        }
    }
}

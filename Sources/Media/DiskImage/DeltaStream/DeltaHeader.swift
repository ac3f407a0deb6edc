internal import Bytes
public import Platform

/// Which content a snapshot has, wherever it is: that of its node where it was made. What is made of a stream has that
/// of its origin.
public struct SnapshotIdentity: Hashable, Sendable {
    /// 16 bytes.
    public let uuid: [UInt8]
    /// When it was made: a copy of an image goes on with the same UUIDs.
    public let time: CalendarTime

    public init(uuid: [UInt8], time: CalendarTime) {
        precondition(uuid.count == EpochFormat.uuidLength, "a UUID has 16 bytes")
        self.uuid = uuid
        self.time = time
    }
}

extension FamilyNode {
    /// Which content it has, of a snapshot.
    public var identity: SnapshotIdentity { SnapshotIdentity(uuid: uuid, time: time) }
}

/// What a delta stream begins with (`DeltaStream` in the docs).
public struct DeltaHeader: Equatable, Sendable {
    /// A snapshot, with its name and the bytes of the disk.
    public struct Version: Equatable, Sendable {
        public let identity: SnapshotIdentity
        /// `DISK@NAME`, as it was called there.
        public let name: String
        public let capacity: Int64

        public init(identity: SnapshotIdentity, name: String, capacity: Int64) {
            self.identity = identity
            self.name = name
            self.capacity = capacity
        }
    }

    static let magic = [UInt8]("CRSLDLTA".utf8)
    static let version: UInt32 = 1
    static let nameLimit = EpochFormat.nameLimit
    /// The bytes of a header.
    public static let byteCount = 4096

    /// Of the stream: 16 bytes by chance.
    public let uuid: [UInt8]
    /// What it brings.
    public let target: Version
    /// What has to be there before; nil of a whole content.
    public let origin: Version?
    /// The bytes of a logical block.
    public let blockSize: Int
    /// The bytes of all ranges that the records tell of: for progress only.
    public let length: Int64

    public init(uuid: [UInt8], target: Version, origin: Version?, blockSize: Int, length: Int64) {
        precondition(uuid.count == EpochFormat.uuidLength, "a UUID has 16 bytes")
        self.uuid = uuid
        self.target = target
        self.origin = origin
        self.blockSize = blockSize
        self.length = length
    }

    /// Whether another stream brings the same.
    public func isContinued(by other: DeltaHeader) -> Bool {
        target == other.target && origin == other.origin && blockSize == other.blockSize
    }

    // MARK: Bytes

    func encoded() -> (bytes: [UInt8], checksum: UInt32) {
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        bytes.modifyBytes { span in
            span.store(Self.magic.rawSpan, at: 0)
            span.storeBE32(Self.version, at: 8)
            span.store(uuid.rawSpan, at: 16)
            Self.store(target, 32, 80, 100, 128, &span)
            if let origin { Self.store(origin, 56, 88, 104, 288, &span) }
            span.storeBE32(UInt32(blockSize), at: 96)
            span.storeBE64(UInt64(length), at: 112)
        }
        let checksum = CRC32C.checksum(bytes.rawSpan.extracting(0..<Self.byteCount - 4))
        bytes.modifyBytes { $0.storeBE32(checksum, at: Self.byteCount - 4) }
        return (bytes, checksum)
    }

    private static func store(
        _ version: Version, _ identity: Int, _ capacity: Int, _ length: Int, _ name: Int,
        _ span: inout MutableRawSpan
    ) {
        let text = Array(version.name.utf8.prefix(nameLimit))
        span.store(version.identity.uuid.rawSpan, at: identity)
        span.storeBE64(UInt64(version.identity.time.seconds), at: identity + 16)
        span.storeBE64(UInt64(version.capacity), at: capacity)
        span.storeBE32(UInt32(text.count), at: length)
        span.store(text.rawSpan, at: name)
    }

    /// The header that these bytes are, and its checksum.
    static func decoded(_ bytes: [UInt8]) throws(DeltaError) -> (DeltaHeader, checksum: UInt32) {
        let span = bytes.rawSpan
        guard span.byteCount == byteCount, span.extracting(0..<8).copyToArray() == magic else { throw .noStream }
        let checksum = span.loadBE32(at: byteCount - 4)
        guard CRC32C.checksum(span.extracting(0..<byteCount - 4)) == checksum else { throw .damagedHeader }
        let (version, features) = (span.loadBE32(at: 8), span.loadBE32(at: 12))
        guard version == Self.version, features == 0 else { throw .newer(version: version, features: features) }
        let blockSize = Int(span.loadBE32(at: 96))
        let length = Int64(bitPattern: span.loadBE64(at: 112))
        guard blockSize == 512 || blockSize == 4096, length >= 0,
            let target = Self.version(span, 32, 80, 100, 128, blockSize)
        else { throw .damagedHeader }
        let origin: Version?
        if span.loadBE64(at: 88) == 0 {
            guard span.extracting(56..<80).isAllZero, span.loadBE32(at: 104) == 0 else { throw .damagedHeader }
            origin = nil
        } else {
            origin = Self.version(span, 56, 88, 104, 288, blockSize)
            guard let origin, origin.capacity <= target.capacity else { throw .damagedHeader }
        }
        return (
            DeltaHeader(
                uuid: span.extracting(16..<32).copyToArray(), target: target, origin: origin, blockSize: blockSize,
                length: length), checksum
        )
    }

    private static func version(
        _ span: RawSpan, _ identity: Int, _ capacity: Int, _ length: Int, _ name: Int, _ blockSize: Int
    ) -> Version? {
        let bytes = span.loadBE64(at: capacity)
        let count = Int(span.loadBE32(at: length))
        guard bytes > 0, bytes <= EpochFormat.maximumCapacity, bytes % UInt64(blockSize) == 0,
            (1...nameLimit).contains(count),
            let text = String(validating: span.extracting(name..<name + count).copyToArray(), as: UTF8.self),
            let seconds = Int64(exactly: span.loadBE64(at: identity + 16)), let time = CalendarTime(seconds: seconds)
        else { return nil }
        let uuid = span.extracting(identity..<identity + 16).copyToArray()
        return Version(identity: SnapshotIdentity(uuid: uuid, time: time), name: text, capacity: Int64(bytes))
    }
}

/// Why a file is no delta stream, or cannot be gone on with: one clause each.
public enum DeltaError: Error, Equatable, Sendable, CustomStringConvertible {
    case noStream
    case newer(version: UInt32, features: UInt32)
    case damagedHeader
    /// The record with that number, at that byte, is not what was written.
    case damaged(record: UInt64, at: Int64)
    /// The file ends before the end of the stream, in or before the record with that number.
    case cut(record: UInt64, at: Int64)
    /// Something follows its end.
    case tooLong(at: Int64)
    /// The host's storage has failed.
    case failed(Int32)

    public var description: String {
        switch self {
        case .noStream: "it is no delta stream"
        case .newer(let version, let features):
            "it is a delta stream of version \(version) with features \(features), which is not known"
        case .damagedHeader: "it is a delta stream with a damaged header"
        case .damaged(let record, let place): "record \(record) of the delta stream, at byte \(place), is damaged"
        case .cut(let record, let place):
            "the delta stream is cut off at byte \(place), before record \(record) is whole"
        case .tooLong(let place): "something follows the end of the delta stream at byte \(place)"
        case .failed(let code): SystemError(code: code, operation: "read or write it").reason
        }
    }
}

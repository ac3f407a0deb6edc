/// What a cartridge is and stays: kept in the data file itself.
public struct CartridgeIdentity: Equatable, Sendable {
    /// 16 bytes made at random when the cartridge was.
    public let uuid: [UInt8]
    /// The bar code (volume identifier) on its label: 1 to 32 characters.
    public let barcode: String
    /// The serial number in its medium auxiliary memory (MAM attribute 0401h): at most 32 characters.
    public let mediumSerialNumber: String
    /// The bytes that fit between beginning and end of the partition, record headers included.
    public let capacity: Int64
    /// The density code (SSC-5 clause 8.3).
    public let densityCode: UInt8
    /// Whether blocks can be written only once.
    public let isWORM: Bool

    init(
        uuid: [UInt8], barcode: String, mediumSerialNumber: String, capacity: Int64, densityCode: UInt8, isWORM: Bool
    ) {
        precondition(uuid.count == 16, "a UUID has 16 bytes")
        self.uuid = uuid
        self.barcode = barcode
        self.mediumSerialNumber = mediumSerialNumber
        self.capacity = capacity
        self.densityCode = densityCode
        self.isWORM = isWORM
    }

    /// The UUID in its usual form, 8-4-4-4-12 hexadecimal digits.
    public var uuidText: String {
        var text = ""
        for (index, byte) in uuid.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            let digits = String(byte, radix: 16)
            text += digits.count == 1 ? "0" + digits : digits
        }
        return text
    }
}

/// A medium auxiliary memory attribute (SPC-5 clause 7.4).
public struct MediumAttribute: Equatable, Sendable {
    /// The most bytes of one value: what the length field of an attribute can say.
    public static let maximumLength = 65535
    /// The most attributes of a cartridge.
    public static let countLimit = 1024

    /// How the value is encoded (SPC-5 table 290).
    public enum Format: UInt8, Sendable {
        /// A number or bits.
        case binary = 0
        /// ASCII, left-aligned.
        case ascii = 1
        /// Text in the character set of attribute 0805h.
        case text = 2
    }

    public let identifier: UInt16
    /// The partition that it belongs to.
    public let partition: UInt8
    /// How the value is encoded.
    public let format: Format
    /// The value; never empty.
    public let value: [UInt8]

    public init(identifier: UInt16, partition: UInt8 = 0, format: Format, value: [UInt8]) {
        precondition(!value.isEmpty && value.count <= Self.maximumLength, "a value has 1 to 65535 bytes")
        self.identifier = identifier
        self.partition = partition
        self.format = format
        self.value = value
    }
}

/// What changes during the life of a cartridge, besides its data: kept in `index.sqlite`.
struct CartridgeSettings: Equatable, Sendable {
    /// The highest load count: what the database's numbers can say.
    static let maximumLoadCount = UInt64(Int64.max)

    /// What is one row.
    struct Header: Equatable, Sendable {
        /// The write-protect tab.
        var isWriteProtected: Bool
        /// How often a drive has loaded it.
        var loadCount: UInt64
    }

    /// Which attribute of which partition.
    struct AttributeKey: Hashable, Comparable, Sendable {
        let partition: UInt8
        let identifier: UInt16

        static func < (left: AttributeKey, right: AttributeKey) -> Bool {
            (left.partition, left.identifier) < (right.partition, right.identifier)
        }
    }

    /// The write-protect tab.
    var isWriteProtected = false
    /// How often a drive has loaded it, at most `maximumLoadCount`.
    var loadCount: UInt64 = 0
    /// By partition and identifier, in that order.
    var attributes: [AttributeKey: MediumAttribute] = [:]

    var header: Header { Header(isWriteProtected: isWriteProtected, loadCount: loadCount) }
}

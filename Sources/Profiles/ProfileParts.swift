/// A mode page as a profile gives it (SPC-5 clause 7.5): everything after the page length field.
public struct ProfileModePage: Sendable, Decodable {
    public let code: UInt8
    /// SUBPAGE CODE, zero for the page_0 format.
    public let subpage: UInt8
    /// The default values.
    public let values: [UInt8]
    /// Ones where MODE SELECT may change a bit; as long as `values`.
    public let changeable: [UInt8]

    /// Reads the object with `page`, `values` and, where they are needed, `subpage`, `name` and `changeable`.
    public init(from decoder: any Decoder) throws {
        let fields = try ProfileFields(decoder, known: ["page", "subpage", "name", "values", "changeable"])
        code = UInt8(try fields.hexadecimal("page", in: 1...0x3E))
        subpage = fields.has("subpage") ? UInt8(try fields.hexadecimal("subpage", in: 0...0xFE)) : 0
        values = try fields.bytes("values", maximumCount: 255)
        let mask = fields.has("changeable") ? try fields.bytes("changeable", maximumCount: 255) : []
        guard mask.isEmpty || mask.count == values.count else {
            throw fields.error("changeable", "must be as long as values: \(values.count) bytes, not \(mask.count)")
        }
        changeable = mask.isEmpty ? [UInt8](repeating: 0, count: values.count) : mask
    }
}

/// A VPD page of the profile (SPC-5 clause 7.7): everything after the page length field.
struct ProfileVitalProductData: Sendable, Decodable {
    /// PAGE CODE.
    let page: UInt8
    /// The bytes from byte 4 on.
    let content: ProfileTemplate

    /// Reads the object with `page`, `content` and perhaps `name`.
    init(from decoder: any Decoder) throws {
        let fields = try ProfileFields(decoder, known: ["page", "name", "content"])
        page = UInt8(try fields.hexadecimal("page", in: 1...0xFF))
        guard page != 0x80, page != 0x83 else {
            throw fields.error("page", "must not be 0x80 or 0x83, which are made from the device's identity")
        }
        content = try fields.template("content", maximumCount: 1024)
    }
}

/// What drives and libraries have in common: how they identify themselves.
struct ProfileHead: Sendable {
    static let fields = [
        "kind", "name", "description", "vendor", "product", "revision", "unitSerialNumber", "inquiryVendorSpecificBit",
        "inquiryVendorSpecific", "acceptsMicrocode", "modePages", "vitalProductData", "timeoutsSeconds",
    ]
    /// The most characters of a unit serial number.
    static let maximumSerialNumberLength = 64

    let name: String
    let description: String
    let vendor: String
    let product: String
    let revision: String
    /// PRODUCT SERIAL NUMBER; nil when it is the device's serial number as it is.
    let unitSerialNumber: ProfileTemplate?
    /// Byte 6, bit 5 of standard INQUIRY data.
    let hasInquiryVendorSpecificBit: Bool
    /// Bytes 36 to 55 of standard INQUIRY data, or fewer.
    let inquiryVendorSpecific: ProfileTemplate?
    /// Whether WRITE BUFFER downloads microcode.
    let acceptsMicrocode: Bool
    let modePages: [ProfileModePage]
    let vitalProductData: [ProfileVitalProductData]
    let timeouts: [String: UInt32]

    init(_ fields: ProfileFields, timeoutNames: [String], hasStorage: Bool) throws {
        name = try fields.text("name", maximumLength: 64)
        guard name.utf8.allSatisfy(Self.isNameByte) else {
            throw fields.error("name", "must consist of lower-case letters, digits and hyphens")
        }
        description = try fields.text("description", maximumLength: 120)
        vendor = try fields.text("vendor", maximumLength: 8)
        product = try fields.text("product", maximumLength: 16)
        revision = try fields.text("revision", maximumLength: 4)
        unitSerialNumber =
            fields.has("unitSerialNumber")
            ? try fields.template("unitSerialNumber", maximumCount: Self.maximumSerialNumberLength) : nil
        if let unitSerialNumber {
            let isText = unitSerialNumber.parts.allSatisfy { part in
                if case .bytes(let bytes) = part { bytes.allSatisfy { (0x20...0x7E).contains($0) } } else { true }
            }
            guard isText else { throw fields.error("unitSerialNumber", "must be printable ASCII") }
            guard unitSerialNumber.contains(.serial) else {
                throw fields.error("unitSerialNumber", "must have a place {serial:10}, so that no two are the same")
            }
        }
        hasInquiryVendorSpecificBit = try fields.flag("inquiryVendorSpecificBit")
        acceptsMicrocode = try fields.flag("acceptsMicrocode")
        inquiryVendorSpecific =
            fields.has("inquiryVendorSpecific") ? try fields.template("inquiryVendorSpecific", maximumCount: 20) : nil
        modePages = try fields.value("modePages")
        vitalProductData = try fields.value("vitalProductData")
        timeouts = try fields.value("timeoutsSeconds")
        var seen = Set<Int>()
        for page in modePages where !seen.insert(Int(page.code) << 8 | Int(page.subpage)).inserted {
            throw fields.error("modePages", "must not have page 0x\(String(page.code, radix: 16)) twice")
        }
        guard Set(vitalProductData.map(\.page)).count == vitalProductData.count else {
            throw fields.error("vitalProductData", "must not have a page twice")
        }
        if !hasStorage {
            let templates =
                [("unitSerialNumber", unitSerialNumber), ("inquiryVendorSpecific", inquiryVendorSpecific)]
                + vitalProductData.map { ("vitalProductData", $0.content) }
            for (field, template) in templates where template?.contains(.firstStorage) == true {
                throw fields.error(field, "must not have a place {firstStorage}: a drive has no storage elements")
            }
        }
        for name in timeouts.keys.sorted() where !timeoutNames.contains(name) {
            throw fields.error("timeoutsSeconds.\(name)", "is not a field that profiles have")
        }
        guard timeouts["default"] != nil else { throw fields.error("timeoutsSeconds.default", "is missing") }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == 0x2D
    }
}

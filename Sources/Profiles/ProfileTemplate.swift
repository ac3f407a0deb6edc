/// What the places in templates stand for: the values of one device.
struct TemplateValues: Sendable {
    /// The serial number that the catalog has made for the device.
    let serialNumber: String
    let vendor: String
    let product: String
    let revision: String
    /// The address of the first storage element; nil for a drive.
    let firstStorage: Int?
}

/// Bytes of INQUIRY data or of a VPD page, parts of which are the device's own.
///
/// In a file it is pairs of hexadecimal digits, `'text'` and places such as `{serial:12}`, with any spaces between.
struct ProfileTemplate: Sendable {
    /// What fills a place.
    enum Source: String, CaseIterable {
        /// The serial number, zeros in front.
        case serial
        /// The address of the first storage element in hexadecimal digits, zeros in front.
        case firstStorage
        /// T10 VENDOR IDENTIFICATION, blanks behind.
        case vendor
        /// PRODUCT IDENTIFICATION, blanks behind.
        case product
        /// PRODUCT REVISION LEVEL, blanks behind.
        case revision

        /// The fewest characters of a place, so that none of its content is cut off.
        var minimumLength: Int {
            switch self {
            case .serial: 10
            case .firstStorage, .revision: 4
            case .vendor: 8
            case .product: 16
            }
        }
    }

    enum Part {
        case bytes([UInt8])
        case place(Source, length: Int)
    }

    /// The most characters of a place.
    static let maximumLength = 64

    let parts: [Part]

    /// How many bytes it makes.
    var count: Int {
        parts.reduce(0) { count, part in
            switch part {
            case .bytes(let bytes): count + bytes.count
            case .place(_, let length): count + length
            }
        }
    }

    func contains(_ source: Source) -> Bool {
        parts.contains { part in if case .place(source, _) = part { true } else { false } }
    }

    /// The bytes for a device.
    func bytes(_ values: TemplateValues) -> [UInt8] {
        parts.flatMap { part in
            switch part {
            case .bytes(let bytes): bytes
            case .place(let source, let length): Self.text(of: source, length, values)
            }
        }
    }

    private static func text(of source: Source, _ length: Int, _ values: TemplateValues) -> [UInt8] {
        func behind(_ text: String) -> [UInt8] {
            let text = text.utf8.prefix(length)
            return text + [UInt8](repeating: 0x20, count: length - text.count)
        }
        func inFront(_ text: String) -> [UInt8] {
            let text = text.utf8.suffix(length)
            return [UInt8](repeating: 0x30, count: length - text.count) + text
        }
        return switch source {
        case .serial: inFront(values.serialNumber)
        case .firstStorage: inFront(String(values.firstStorage ?? 0, radix: 16, uppercase: true))
        case .vendor: behind(values.vendor)
        case .product: behind(values.product)
        case .revision: behind(values.revision)
        }
    }
}

extension ProfileFields {
    /// A template of at most `maximumCount` bytes.
    func template(_ name: String, maximumCount: Int) throws -> ProfileTemplate {
        var rest = Substring(try value(name, as: String.self))
        var parts: [ProfileTemplate.Part] = []
        while let first = rest.first {
            switch first {
            case " ": rest.removeFirst()
            case "'":
                rest.removeFirst()
                guard let end = rest.firstIndex(of: "'") else { throw error(name, "must end its text with \"'\"") }
                let text = rest[..<end]
                guard text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
                    throw error(name, "must be printable ASCII between quotes")
                }
                parts.append(.bytes(Array(text.utf8)))
                rest = rest[rest.index(after: end)...]
            case "{":
                rest.removeFirst()
                guard let end = rest.firstIndex(of: "}") else { throw error(name, "must end its place with \"}\"") }
                parts.append(try place(rest[..<end], of: name))
                rest = rest[rest.index(after: end)...]
            default:
                let digits = rest.prefix(2).map(\.hexDigitValue)
                guard digits.count == 2, let high = digits[0], let low = digits[1] else {
                    throw error(name, "must be pairs of hexadecimal digits, 'text' and places such as {serial:12}")
                }
                parts.append(.bytes([UInt8(high << 4 | low)]))
                rest = rest.dropFirst(2)
            }
        }
        let template = ProfileTemplate(parts: parts)
        guard template.count <= maximumCount else {
            throw error(name, "must have at most \(maximumCount) bytes, not \(template.count)")
        }
        return template
    }

    private func place(_ text: Substring, of name: String) throws -> ProfileTemplate.Part {
        let words = text.split(separator: ":", omittingEmptySubsequences: false)
        guard let source = ProfileTemplate.Source(rawValue: String(words[0])) else {
            let known = ProfileTemplate.Source.allCases.map(\.rawValue).joined(separator: ", ")
            throw error(name, "has a place \"\(words[0])\", which there is not; there are: \(known)")
        }
        let range = source.minimumLength...ProfileTemplate.maximumLength
        guard words.count == 2, let length = Int(words[1]), range.contains(length) else {
            throw error(
                name,
                "must say how long the place is, as in {\(source.rawValue):\(source.minimumLength)}: "
                    + "\(range.lowerBound) to \(range.upperBound) characters")
        }
        return .place(source, length: length)
    }
}

/// What a profile makes one device say of itself.
public struct ProfilePersonality: Sendable {
    /// PRODUCT SERIAL NUMBER of VPD page 80h, which ends the T10 designator of page 83h too.
    public let unitSerialNumber: String
    /// The codes of the profile's VPD pages.
    public let pages: [UInt8]
    /// Whether WRITE BUFFER downloads microcode, which changes PRODUCT REVISION LEVEL.
    public let acceptsMicrocode: Bool
    private let contents: [UInt8: [UInt8]]
    private let vendorSpecific: [UInt8]
    private let hasVendorSpecificBit: Bool

    init(_ head: ProfileHead, _ values: TemplateValues) {
        unitSerialNumber =
            head.unitSerialNumber.map { String(decoding: $0.bytes(values), as: UTF8.self) } ?? values.serialNumber
        pages = head.vitalProductData.map(\.page)
        contents = Dictionary(uniqueKeysWithValues: head.vitalProductData.map { ($0.page, $0.content.bytes(values)) })
        vendorSpecific = head.inquiryVendorSpecific?.bytes(values) ?? []
        acceptsMicrocode = head.acceptsMicrocode
        hasVendorSpecificBit = head.hasInquiryVendorSpecificBit
    }

    /// `standard` INQUIRY data with what the profile says of byte 6, bit 5, and of bytes 36 to 55.
    public func inquiryData(_ standard: [UInt8]) -> [UInt8] {
        var bytes = standard
        if hasVendorSpecificBit { bytes[6] |= 0x20 }
        bytes.replaceSubrange(36..<36 + vendorSpecific.count, with: vendorSpecific)
        return bytes
    }

    /// The profile's VPD page of that code from byte 4 on; nil when it has none.
    public func vitalProductData(page: UInt8) -> [UInt8]? { contents[page] }
}

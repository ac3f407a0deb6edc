/// A numeric IPv4 or IPv6 address.
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// Four or sixteen bytes, the first most significant.
    public let bytes: [UInt8]

    private init(bytes: [UInt8]) { self.bytes = bytes }

    /// The address that `text` writes, without brackets (RFC 4291 section 2.2); nil when it is none. The zone of a
    /// link-local address, after `%`, is not part of it.
    public init?(_ text: String) {
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let literal = parts.first else { return nil }
        if literal.contains(":") {
            guard let bytes = Self.sixteen(literal) else { return nil }
            self.bytes = bytes
        } else {
            guard parts.count == 1, let bytes = Self.four(literal) else { return nil }
            self.bytes = bytes
        }
    }

    public var isIPv6: Bool { bytes.count == 16 }

    /// Whether it stays inside of this machine: 127.0.0.0/8, also as an IPv4-mapped address, or ::1 (RFC 1122 section
    /// 3.2.1.3, RFC 4291 sections 2.5.3 and 2.5.5.2).
    public var isLoopback: Bool {
        guard isIPv6 else { return bytes[0] == 127 }
        return bytes == [UInt8](repeating: 0, count: 15) + [1]
            || bytes.starts(with: [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 127])
    }

    /// The IPv4 address of an IPv4-mapped one (RFC 4291 section 2.5.5.2), else the address itself.
    public var unmapped: IPAddress {
        isIPv6 && bytes.starts(with: [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF])
            ? IPAddress(bytes: Array(bytes[12...])) : self
    }

    private static func four(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            // A leading zero would be octal to some.
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                part.utf8.count == 1 || part.utf8.first != 0x30, let byte = UInt8(part)
            else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    private static func sixteen(_ text: Substring) -> [UInt8]? {
        let halves = text.components(separatedByPair: ":")
        guard halves.count <= 2, let head = groups(halves[0], mayEndInFour: halves.count == 1) else { return nil }
        guard halves.count == 2 else { return head.count == 16 ? head : nil }
        guard let tail = groups(halves[1], mayEndInFour: true), head.count + tail.count <= 14 else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    /// The bytes of colon-separated groups, none when `text` is empty.
    private static func groups(_ text: Substring, mayEndInFour: Bool) -> [UInt8]? {
        guard !text.isEmpty else { return [] }
        var bytes: [UInt8] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if part.contains(".") {
                guard mayEndInFour, index == parts.count - 1, let last = four(part) else { return nil }
                bytes += last
            } else {
                guard (1...4).contains(part.utf8.count), part.utf8.allSatisfy(isHexadecimal),
                    let group = UInt16(part, radix: 16)
                else { return nil }
                bytes += [UInt8(group >> 8), UInt8(truncatingIfNeeded: group)]
            }
        }
        return bytes
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x46).contains(byte) || (0x61...0x66).contains(byte)
    }

    /// The canonical form (RFC 5952 section 4), without brackets.
    public var description: String {
        guard isIPv6 else { return bytes.map(String.init).joined(separator: ".") }
        let groups = stride(from: 0, to: 16, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        var zeros = 0..<0
        var start = 0
        while start < 8 {
            let end = groups[start...].firstIndex { $0 != 0 } ?? 8
            if end - start > max(zeros.count, 1) { zeros = start..<end }
            start = max(end, start + 1)
        }
        func text(_ range: Range<Int>) -> String {
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        return zeros.isEmpty ? text(0..<8) : text(0..<zeros.lowerBound) + "::" + text(zeros.upperBound..<8)
    }
}

extension Substring {
    /// The parts between two of `separator` in a row.
    fileprivate func components(separatedByPair separator: Character) -> [Substring] {
        var parts: [Substring] = []
        var rest = self
        while let first = rest.indices.first(where: { index in
            let next = rest.index(after: index)
            return next < rest.endIndex && rest[index] == separator && rest[next] == separator
        }) {
            parts.append(rest[..<first])
            rest = rest[rest.index(first, offsetBy: 2)...]
        }
        return parts + [rest]
    }
}

/// Addresses with a common beginning, as in `10.0.0.0/8` or `fd00::/8` (RFC 4632 section 3.1, RFC 4291 section 2.3).
public struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    public let first: IPAddress
    /// How many bits all have in common.
    public let prefixLength: Int

    /// The range that `text` writes; an address alone is a range of one.
    public static func parse(_ text: String) throws(ManagementError) -> AddressRange {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first.flatMap({ IPAddress(String($0)) }) else { throw notARange(text) }
        let width = address.bytes.count * 8
        var length = width
        if parts.count == 2 {
            guard let number = PlainNumber.parse(parts[1]), (0...width).contains(number) else {
                throw notARange(text)
            }
            length = number
        }
        let range = AddressRange(first: address, prefixLength: length)
        guard range.isAligned else {
            throw ManagementError(
                .invalid,
                "'\(text)' has an address inside its range; write the first address of the range, or \(address) alone")
        }
        return range
    }

    public func contains(_ address: IPAddress) -> Bool {
        guard address.bytes.count == first.bytes.count else { return false }
        return address.bytes.indices.allSatisfy { (address.bytes[$0] ^ first.bytes[$0]) & mask(ofByte: $0) == 0 }
    }

    /// Whether both have an address in common, which means that one is part of the other.
    public func overlaps(_ other: AddressRange) -> Bool { contains(other.first) || other.contains(first) }

    private var isAligned: Bool { first.bytes.indices.allSatisfy { first.bytes[$0] & ~mask(ofByte: $0) == 0 } }

    private func mask(ofByte index: Int) -> UInt8 {
        let bits = min(max(prefixLength - index * 8, 0), 8)
        return UInt8(truncatingIfNeeded: 0xFF << (8 - bits))
    }

    private static func notARange(_ text: String) -> ManagementError {
        ManagementError(
            .invalid, "'\(text)' is no range of addresses; write one as in 10.1.0.0/16, fd00::/8 or 192.0.2.7")
    }

    /// `10.0.0.0/8`.
    public var description: String { "\(first)/\(prefixLength)" }
}

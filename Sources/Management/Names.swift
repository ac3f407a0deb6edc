public import Catalog

/// The rules for names of disks and libraries, which end the iSCSI names of their targets.
public enum DeviceName {
    /// How many characters a name may have.
    public static let maximumLength = 64
    /// What stands before the name in the name of its target (RFC 7143 section 4.2.7.4).
    public static let targetPrefix = "iqn.2026-11.dev.carousel:"

    /// The iSCSI name of the target of `name`.
    public static func targetName(_ name: String) -> String { targetPrefix + name }

    /// What people call the target of that iSCSI name: what stands behind our prefix, or the whole name.
    public static func alias(ofTarget name: String) -> String {
        name.hasPrefix(targetPrefix) ? String(name.dropFirst(targetPrefix.count)) : name
    }

    /// Checks that `name` may be the name of a disk or a library.
    public static func check(_ name: String, of what: String) throws(ManagementError) {
        let isAllowed = name.utf8.allSatisfy { character in
            switch character {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "."):
                true
            default: false
            }
        }
        // A leading dot or dash would be a hidden folder or look like an option.
        guard isAllowed, !name.isEmpty, name.utf8.count <= maximumLength, !name.hasPrefix("."), !name.hasPrefix("-")
        else {
            throw ManagementError(
                .invalid,
                "'\(name)' is no name for a \(what); "
                    + "use 1 to \(maximumLength) of a-z, 0-9, '-' and '.', with a letter or digit first")
        }
    }
}

/// The rules for barcodes of cartridges.
public enum Barcode {
    /// How many characters a barcode may have (SMC-3 clause 6.12: the volume identification field).
    public static let maximumLength = 32

    /// Checks that `text` may be a barcode.
    public static func check(_ text: String) throws(ManagementError) {
        let isAllowed = text.utf8.allSatisfy { character in
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "_"):
                true
            default: false
            }
        }
        guard isAllowed, !text.isEmpty, text.utf8.count <= maximumLength, !text.hasPrefix("-") else {
            throw ManagementError(
                .invalid,
                "'\(text)' is no barcode; "
                    + "use 1 to \(maximumLength) of A-Z, 0-9, '-' and '_', with a letter or digit first")
        }
    }

    /// `count` barcodes from `first` on, counting up in its first run of digits: V00001L8, V00002L8, …
    public static func series(from first: String, count: Int) throws(ManagementError) -> [String] {
        try check(first)
        guard count > 1 else { return count == 1 ? [first] : [] }
        let prefix = first.prefix { !$0.isNumber }
        let digits = first.dropFirst(prefix.count).prefix { $0.isNumber }
        let suffix = first.dropFirst(prefix.count + digits.count)
        guard let start = Int(digits), let largest = Int(String(repeating: "9", count: digits.count)),
            start <= largest - (count - 1)
        else {
            throw ManagementError(
                .invalid,
                "barcode '\(first)' has no digits to count \(count) cartridges with; use one such as V00001L8")
        }
        return (start..<start + count).map { number in
            let text = String(number)
            return prefix + String(repeating: "0", count: digits.count - text.count) + text + suffix
        }
    }
}

extension ElementAddress {
    /// The element that `text` names: `slot:3`, `drive:1`, `mail:1`.
    public static func parse(_ text: String) throws(ManagementError) -> ElementAddress {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let kind = ElementKind(rawValue: String(parts[0])),
            parts[1].utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
            let number = Int(parts[1]), number > 0
        else {
            throw ManagementError(
                .invalid, "'\(text)' is no element; write slot:3, drive:1 or mail:1, with numbers from 1")
        }
        return ElementAddress(kind: kind, number: number)
    }
}

/// An address and a port to listen on: `127.0.0.1:3260`, `[::1]:3260`.
public struct PortalAddress: Hashable, Sendable, CustomStringConvertible {
    /// Where the daemon listens unless told otherwise: this machine only.
    public static let `default` = PortalAddress(address: "127.0.0.1", port: 3260)

    /// A numeric IPv4 or IPv6 address.
    public let address: String
    /// The TCP port; 0 lets the system choose.
    public let port: Int

    public init(address: String, port: Int) {
        self.address = address
        self.port = port
    }

    /// `address:port`, an IPv6 address in brackets.
    public var description: String { address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)" }

    /// The portal that `text` names; without a port it is 3260.
    public static func parse(_ text: String) throws(ManagementError) -> PortalAddress {
        func refusal() -> ManagementError {
            ManagementError(
                .invalid, "'\(text)' is no portal; write an address and a port, as in 127.0.0.1:3260 or [::1]:3260")
        }
        var address = Substring(text)
        var port = Substring("3260")
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw refusal() }
            address = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { throw refusal() }
            if !rest.isEmpty { port = rest.dropFirst() }
        } else if text.filter({ $0 == ":" }).count == 1, let colon = text.firstIndex(of: ":") {
            address = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        guard port.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }), let number = Int(port),
            (0...65535).contains(number), let literal = IPAddress(String(address)),
            !text.hasPrefix("[") || literal.isIPv6
        else { throw refusal() }
        return PortalAddress(address: Self.text(of: literal, zone: address), port: number)
    }

    /// The canonical form of `literal`, with the zone that `text` has behind it.
    private static func text(of literal: IPAddress, zone text: Substring) -> String {
        literal.description + (text.firstIndex(of: "%").map { text[$0...] } ?? "")
    }
}

/// The syntax of elements, for those that need no catalog.
public enum ElementSyntax {
    /// Checks that `text` names an element, such as `slot:3`.
    public static func check(_ text: String) throws(ManagementError) { _ = try ElementAddress.parse(text) }
}

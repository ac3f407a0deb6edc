/// The kinds of elements that hold a cartridge at rest (SMC-3 clause 4.2: storage, data transfer, import/export).
public enum ElementKind: String, Hashable, Sendable, CaseIterable {
    /// A storage element.
    case slot
    /// A data transfer element.
    case drive
    /// An import/export element.
    case mail
}

/// An element of a library by kind and number, the numbers from 1; written `slot:3`.
public struct ElementAddress: Hashable, Sendable, CustomStringConvertible {
    public let kind: ElementKind
    /// Which one of its kind, from 1.
    public let number: Int

    public init(kind: ElementKind, number: Int) {
        self.kind = kind
        self.number = number
    }

    /// As in the command line: `slot:3`.
    public var description: String { "\(kind.rawValue):\(number)" }
}

/// Where a cartridge is.
public enum CartridgeLocation: Hashable, Sendable, CustomStringConvertible {
    /// In an element of its library.
    case element(ElementAddress)
    /// Exported: outside the library, kept for an import.
    case vault

    /// `slot:3` or `vault`.
    public var description: String {
        switch self {
        case .element(let address): address.description
        case .vault: "vault"
        }
    }

    /// The element, unless the cartridge is in the vault.
    public var element: ElementAddress? {
        if case .element(let address) = self { address } else { nil }
    }
}

extension ElementAddress {
    /// The element that `text` names: `slot:3`, `drive:1`, `mail:1`.
    public static func parse(_ text: String) throws(ManagementError) -> ElementAddress {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let kind = ElementKind(rawValue: String(parts[0])),
            let number = PlainNumber.parse(parts[1]), number > 0
        else {
            throw ManagementError(
                .invalid, "'\(text)' is no element; write slot:3, drive:1 or mail:1, with numbers from 1")
        }
        return ElementAddress(kind: kind, number: number)
    }
}

extension CartridgeLocation {
    /// The place outside of drives that `text` names: `slot:3`, `mail:1` or `vault`.
    public static func parse(home text: String) throws(ManagementError) -> CartridgeLocation {
        if text == "vault" { return .vault }
        let element = try ElementAddress.parse(text)
        guard element.kind != .drive else {
            throw ManagementError(
                .invalid,
                "'\(text)' is no place to lie in; write slot:3, mail:1 or vault, and load with 'carousel library move'")
        }
        return .element(element)
    }
}

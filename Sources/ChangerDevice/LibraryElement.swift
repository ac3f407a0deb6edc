/// The types of elements (SMC-3 clause 4.2); the raw values are those of ELEMENT TYPE CODE.
public enum ElementType: UInt8, Sendable, CaseIterable {
    /// Medium transport: the robot's hand.
    case mediumTransport = 1
    /// Storage: a slot.
    case storage = 2
    /// Import/export: a mail slot.
    case importExport = 3
    /// Data transfer: a drive.
    case dataTransfer = 4
}

/// An element of a library by its type and its number among those of the type, from 1.
public struct LibraryElement: Hashable, Sendable, CustomStringConvertible {
    public let type: ElementType
    /// Which one of its type, from 1.
    public let number: Int

    public init(_ type: ElementType, _ number: Int) {
        self.type = type
        self.number = number
    }

    /// For people: `slot 3`.
    public var description: String {
        switch type {
        case .mediumTransport: "transport \(number)"
        case .storage: "slot \(number)"
        case .importExport: "mail slot \(number)"
        case .dataTransfer: "drive \(number)"
        }
    }
}

/// Where a cartridge is.
public enum MediumPlace: Hashable, Sendable {
    case element(LibraryElement)
    /// Not in the library.
    case outside
}

/// A cartridge in an element.
public struct ElementContent: Hashable, Sendable {
    /// PRIMARY VOLUME TAG: the label, at most 32 characters.
    public let barcode: String
    /// SOURCE STORAGE ELEMENT ADDRESS: the storage element that the cartridge was last moved from.
    public var source: LibraryElement?
    /// IMPEXP: the operator put it into the import/export element.
    public var isImported: Bool

    public init(barcode: String, source: LibraryElement? = nil, isImported: Bool = false) {
        self.barcode = barcode
        self.source = source
        self.isImported = isImported
    }
}

/// One cartridge's way from a place to another.
public struct MediumMove: Hashable, Sendable {
    /// The cartridge.
    public let barcode: String
    /// Where it is.
    public let origin: MediumPlace
    /// Where it goes; in a list of moves, a place that an earlier or later move of the same list makes free.
    public let destination: MediumPlace

    public init(barcode: String, origin: MediumPlace, destination: MediumPlace) {
        self.barcode = barcode
        self.origin = origin
        self.destination = destination
    }
}

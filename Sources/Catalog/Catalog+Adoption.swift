import GRDB
import Resources

public import struct Foundation.Date

/// A cartridge that is there with its files, and that the catalog is to know.
public struct AdoptedCartridge: Hashable, Sendable {
    public let barcode: String
    /// The medium's own serial number.
    public let serialNumber: String
    /// The native capacity in bytes.
    public let capacity: Int64

    public init(barcode: String, serialNumber: String, capacity: Int64) {
        self.barcode = barcode
        self.serialNumber = serialNumber
        self.capacity = capacity
    }
}

// Rows for files that are there are complete from the first moment on: nothing that ends what was interrupted may take
// the files for its own.
extension Catalog {
    /// Adds a cartridge that is there to the vault of the library with the key `library`.
    public func adoptCartridge(
        _ cartridge: AdoptedCartridge, library: Int64, created: Date, event: NewEvent? = nil
    ) throws(CatalogError) {
        try write(event) { database in
            try Self.insert(cartridge, at: .vault, library: library, created: created, in: database)
        }
    }

    static func insert(
        _ cartridge: AdoptedCartridge, at location: CartridgeLocation, library: Int64, created: Date,
        in database: Database
    ) throws {
        try insertCartridge(
            barcode: cartridge.barcode, capacity: cartridge.capacity, serialNumber: cartridge.serialNumber,
            location: location, library: library, created: created, phase: .complete, in: database)
    }

    /// The cartridge that has the medium serial number, with the name of its library, if there is one.
    public func cartridge(serialNumber: String) throws(CatalogError) -> (library: String, barcode: String)? {
        try read { database in
            try Row.fetchOne(
                database,
                sql: """
                    SELECT library.name AS library, barcode
                    FROM cartridge JOIN library ON library.id = cartridge.library
                    WHERE serialNumber = ?
                    """, arguments: [serialNumber]
            ).map { ($0["library"], $0["barcode"]) }
        }
    }
}

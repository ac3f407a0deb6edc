import Catalog
import Foundation
import Logging

extension Controller {
    /// The smallest cartridge: room for the early warning zone and some data.
    static let minimumCartridgeCapacity: Int64 = 1 << 20
    /// The largest cartridge.
    static let maximumCartridgeCapacity: Int64 = 1 << 50

    /// Makes an empty cartridge and puts it into the first free slot.
    public func createCartridge(
        library name: String, _ request: CartridgeCreation
    ) throws(ManagementError) -> CartridgeSummary {
        try Barcode.check(request.barcode)
        let library = try servedLibrary(name)
        let driveProfile = library.drives.first?.profile ?? ""
        try assembly.checkBarcode(
            request.barcode, libraryProfile: library.profile, driveProfile: driveProfile)
        let capacity = try checkCapacity(request.size, driveProfile: driveProfile)
        let cartridges = try cartridgeRecords(library)
        if let other = cartridges.first(where: { $0.barcode == request.barcode }) {
            throw ManagementError(
                .conflict,
                "barcode '\(request.barcode)' is used already in library '\(name)', by the cartridge in \(other.location); choose another"
            )
        }
        guard let slot = freeElement(.slot, of: library, cartridges) else {
            throw ManagementError(
                .conflict,
                "the \(library.slotCount) slots of library '\(name)' are full; export or delete a cartridge first")
        }
        let path = folder.cartridgePath(request.barcode, library: name)
        guard !folder.exists(path) else {
            throw ManagementError(
                .conflict, "\(path) exists already and belongs to no cartridge; move it away or remove it")
        }
        do throws(ManagementError) {
            let cartridge = try query { () throws(CatalogError) in
                try catalog.addCartridge(
                    barcode: request.barcode, capacity: capacity, location: .vault, library: library.identity.id,
                    created: Date())
            }
            do throws(ManagementError) {
                try assembly.createCartridges(
                    [cartridge], in: folder.libraryPath(name), driveProfile: driveProfile)
                return try perform(.element(slot), of: cartridge, in: library)
            } catch {
                try query { () throws(CatalogError) in
                    try catalog.removeCartridge(request.barcode, library: library.identity.id)
                }
                throw error
            }
        } catch {
            folder.remove(path)
            throw error
        }
    }

    /// The cartridges of the library `name`, or of all libraries, by library and place.
    public func cartridges(library name: String? = nil) throws(ManagementError) -> [CartridgeSummary] {
        if let name { return try cartridgeSummaries(try libraryRecord(name)) }
        var summaries: [CartridgeSummary] = []
        for library in try query({ () throws(CatalogError) in try catalog.libraries() }) {
            summaries += try cartridgeSummaries(library)
        }
        return summaries
    }

    /// The cartridge `barcode` of the library `name`, with how much of it is written.
    public func cartridge(_ barcode: String, library name: String) throws(ManagementError) -> CartridgeSummary {
        let library = try libraryRecord(name)
        let cartridge = try cartridgeRecord(barcode, library: library)
        var result = summary(of: cartridge, in: library)
        result.used = assembly.usedCapacity(of: cartridge, in: folder.libraryPath(name))
        return result
    }

    /// Deletes the cartridge `barcode` of the library `name` with its content.
    public func deleteCartridge(_ barcode: String, library name: String) throws(ManagementError) {
        let library = try servedLibrary(name)
        let cartridge = try cartridgeRecord(barcode, library: library)
        if let element = cartridge.location.element {
            guard element.kind != .drive else {
                throw ManagementError(
                    .inUse,
                    "cartridge '\(barcode)' is in \(element); move it to a slot before you delete it, with 'carousel library move \(name) \(element) slot:N'"
                )
            }
            // First out of the library, as an operator takes it, so that initiators learn of the change.
            _ = try perform(.vault, of: cartridge, in: library)
        }
        try query { () throws(CatalogError) in
            try catalog.removeCartridge(barcode, library: library.identity.id)
        }
        folder.remove(folder.cartridgePath(barcode, library: name))
        logger.info("cartridge deleted", metadata: ["library": "\(name)", "cartridge": "\(barcode)"])
    }

    // MARK: Shared

    func cartridgeRecords(_ library: LibraryRecord) throws(ManagementError) -> [CartridgeRecord] {
        try query { () throws(CatalogError) in try catalog.cartridges(library: library.identity.id) }
    }

    func cartridgeRecord(_ barcode: String, library: LibraryRecord) throws(ManagementError) -> CartridgeRecord {
        let cartridge = try query { () throws(CatalogError) in
            try catalog.cartridge(barcode, library: library.identity.id)
        }
        guard let cartridge else {
            throw ManagementError(
                .notFound,
                "library '\(library.name)' has no cartridge '\(barcode)'; 'carousel tape list \(library.name)' shows those it has"
            )
        }
        return cartridge
    }

    /// The cartridges of `library` by place: drives, slots, mail slots, vault.
    func cartridgeSummaries(_ library: LibraryRecord) throws(ManagementError) -> [CartridgeSummary] {
        func rank(_ cartridge: CartridgeRecord) -> (Int, Int, String) {
            guard let element = cartridge.location.element else { return (3, 0, cartridge.barcode) }
            let kind: Int =
                switch element.kind {
                case .drive: 0
                case .slot: 1
                case .mail: 2
                }
            return (kind, element.number, cartridge.barcode)
        }
        return try cartridgeRecords(library).sorted { rank($0) < rank($1) }.map { summary(of: $0, in: library) }
    }

    func summary(of cartridge: CartridgeRecord, in library: LibraryRecord) -> CartridgeSummary {
        CartridgeSummary(
            library: library.name, barcode: cartridge.barcode, serialNumber: cartridge.serialNumber,
            capacity: cartridge.capacity, used: nil, location: cartridge.location.description,
            source: cartridge.source?.description, created: cartridge.created)
    }
}

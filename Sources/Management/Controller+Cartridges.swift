import Catalog
import Foundation
import Logging
public import Resources

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
        if let size = request.size { try checkCapacity(size) }
        let capacity =
            request.size ?? assembly.nativeCapacity(barcode: request.barcode, driveProfile: driveProfile)
        let cartridges = try cartridgeRecords(library)
        if let other = cartridges.first(where: { $0.barcode == request.barcode }) {
            throw ManagementError(
                .conflict,
                "barcode '\(request.barcode)' is used already in library '\(name)', "
                    + "by the cartridge in \(other.location); choose another")
        }
        let slot = try freeSlot(of: library, cartridges)
        let path = folder.cartridgePath(request.barcode, library: name)
        guard !folder.exists(path) else {
            throw ManagementError(
                .conflict, "\(path) exists already and belongs to no cartridge; move it away or remove it")
        }
        let cartridge = try query { () throws(CatalogError) in
            try catalog.addCartridge(
                barcode: request.barcode, capacity: capacity, location: .vault, library: library.identity.id,
                created: Date())
        }
        do throws(ManagementError) {
            try assembly.createCartridges([cartridge], in: folder.libraryPath(name), driveProfile: driveProfile)
            return try perform(.element(slot), of: cartridge, in: library)
        } catch {
            takeBack(cartridge, in: library)
            throw error
        }
    }

    /// Removes a cartridge that could not be made or moved to its slot, unless the move has been made after all: the
    /// catalog decides, and refuses a move that comes later.
    private func takeBack(_ cartridge: CartridgeRecord, in library: LibraryRecord) {
        do {
            let isUnfinished = try query { () throws(CatalogError) in
                try catalog.setPhase(.deleting, ofCartridge: cartridge.id, in: .creating)
            }
            if isUnfinished { try removeRemains(of: cartridge, in: library) }
        } catch {
            logger.error(
                "cartridge is not removed",
                metadata: [
                    "library": "\(library.name)", "cartridge": "\(cartridge.barcode)", "reason": "\(error.message)",
                ])
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
        let path = folder.libraryPath(name)
        var result = summary(of: cartridge, in: library, assembly.examine([cartridge], of: library, in: path))
        let medium = assembly.medium(of: cartridge, in: path, driveProfile: library.drives.first?.profile ?? "")
        result.medium = medium?.kind
        result.used = medium?.used
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
                    "cartridge '\(barcode)' is in \(element); move it to a slot before you delete it, "
                        + "with 'carousel library move \(name) \(element) slot:N'")
            }
        }
        try mark(cartridge, .deleting)
        do throws(ManagementError) {
            // First out of the library, as an operator takes it, so that initiators learn of the change.
            if cartridge.location != .vault { _ = try perform(.vault, of: cartridge, in: library) }
        } catch {
            try mark(cartridge, cartridge.phase)
            throw error
        }
        do throws(ManagementError) {
            try removeRemains(of: cartridge, in: library)
        } catch {
            // In use, it is whole, and in the vault now.
            if error.code == .inUse { try mark(cartridge, cartridge.phase) }
            throw error
        }
        logger.info("cartridge deleted", metadata: ["library": "\(name)", "cartridge": "\(barcode)"])
    }

    /// Says that a cartridge is being deleted, or that it is not after all.
    private func mark(_ cartridge: CartridgeRecord, _ phase: RecordPhase) throws(ManagementError) {
        _ = try query { () throws(CatalogError) in try catalog.setPhase(phase, ofCartridge: cartridge.id, in: nil) }
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
                "library '\(library.name)' has no cartridge '\(barcode)'; "
                    + "'carousel tape list \(library.name)' shows those it has")
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
        let cartridges = try cartridgeRecords(library)
        let findings = assembly.examine(
            cartridges.filter { $0.phase == .complete }, of: library, in: folder.libraryPath(library.name))
        return cartridges.sorted { rank($0) < rank($1) }.map { summary(of: $0, in: library, findings) }
    }

    func summary(
        of cartridge: CartridgeRecord, in library: LibraryRecord, _ findings: CartridgeFindings
    ) -> CartridgeSummary {
        let problem = findings.problems[cartridge.barcode]
        let loss = findings.losses[cartridge.barcode]
        let state: CartridgeState =
            switch cartridge.phase {
            case .creating: .creating
            case .complete: problem?.state ?? (loss == nil ? .ready : .dataLost)
            case .deleting: .deleting
            }
        return CartridgeSummary(
            library: library.name, barcode: cartridge.barcode, serialNumber: cartridge.serialNumber,
            capacity: cartridge.capacity, medium: nil, used: nil, location: cartridge.location.description,
            source: cartridge.source?.description, created: cartridge.created, state: state,
            problem: problem?.reason
                ?? loss.map { Self.sentence($0, ofCartridge: cartridge.barcode, library: library.name) },
            loss: loss)
    }
}

import Catalog
import Foundation
import Logging
import Resources

extension ControlPlane {
    /// Makes an empty cartridge and puts it into its home, or into the first free slot.
    @discardableResult
    func createCartridge(
        _ barcode: String, library name: String, _ spec: Cartridge.Spec = Cartridge.Spec()
    ) throws(ManagementError) -> Resource<Cartridge> {
        let library = try servedLibrary(name)
        let driveProfile = library.drives.first?.profile ?? ""
        try assembly.checkBarcode(
            barcode, libraryProfile: library.profile, driveProfile: driveProfile)
        if let size = spec.size { try checkCapacity(size) }
        let capacity = spec.size ?? assembly.nativeCapacity(barcode: barcode, driveProfile: driveProfile)
        let cartridges = try cartridgeRecords(library)
        if let other = cartridges.first(where: { $0.barcode == barcode }) {
            throw ManagementError(
                .conflict,
                "barcode '\(barcode)' is used already in library '\(name)', "
                    + "by the cartridge in \(other.location); choose another")
        }
        let home = try newHome(spec.home, in: library, cartridges)
        let path = folder.cartridgePath(barcode, library: name)
        guard !folder.exists(path) else {
            throw ManagementError(
                .conflict, "\(path) exists already and belongs to no cartridge; move it away or remove it")
        }
        let cartridge = try query { () throws(CatalogError) in
            try catalog.addCartridge(
                barcode: barcode, capacity: capacity, location: .vault, library: library.identity.id,
                created: Date())
        }
        do throws(ManagementError) {
            try assembly.createCartridges([cartridge], in: folder.libraryPath(name), driveProfile: driveProfile)
            guard home == .vault else { return try perform(home, of: cartridge, in: library) }
            let event = event("create", "cartridge", "\(name)/\(barcode)", new: ["location": .text("\(home)")])
            _ = try query { () throws(CatalogError) in
                try catalog.setPhase(.complete, ofCartridge: cartridge.id, in: .creating, event: event)
            }
            return try self.cartridge(barcode, library: name)
        } catch {
            takeBack(cartridge, in: library)
            throw error
        }
    }

    /// Where a new cartridge goes: to `home` if that is given, else to the first free slot.
    private func newHome(
        _ home: String?, in library: LibraryRecord, _ cartridges: [CartridgeRecord]
    ) throws(ManagementError) -> CartridgeLocation {
        guard let home else { return .element(try freeSlot(of: library, cartridges)) }
        let location = try CartridgeLocation.parse(home: home)
        if let element = location.element {
            try check(element, existsIn: library)
            try checkIsEmpty(element, of: library, cartridges)
        }
        return location
    }

    /// Puts the cartridge `barcode` of the library `name` where `spec` says that it lies when no drive has it.
    func changeCartridge(
        _ barcode: String, library name: String, to spec: Cartridge.Spec
    ) throws(ManagementError) -> Resource<Cartridge> {
        let library = try servedLibrary(name)
        let cartridge = try cartridgeRecord(barcode, library: library)
        if let home = spec.home, home != cartridge.home?.description {
            let location = try CartridgeLocation.parse(home: home)
            if let element = cartridge.location.element, element.kind == .drive {
                throw ManagementError(
                    .inUse,
                    "cartridge '\(barcode)' is in \(element); move it to a slot first, "
                        + "with 'carousel library move \(name) \(element) slot:N'", field: "home")
            }
            guard cartridge.phase == .complete else {
                throw ManagementError(.conflict, "cartridge '\(barcode)' is not there any more")
            }
            if let element = location.element {
                try check(element, existsIn: library)
                try checkIsEmpty(element, of: library, try cartridgeRecords(library))
            }
            _ = try perform(location, of: cartridge, in: library)
        }
        return try self.cartridge(barcode, library: name)
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

    /// The cartridges of the library `name`, or of all libraries, by library and barcode: at most `limit` of those
    /// behind `after`, which is the name of one.
    func cartridges(
        library name: String? = nil, after: String? = nil, limit: Int = .max
    ) throws(ManagementError) -> [Resource<Cartridge>] {
        let parts = (after ?? "").split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        var found: [Resource<Cartridge>] = []
        for library in try libraryRecords(name) where library.name >= parts.first ?? "" {
            let isFirst = parts.count == 2 && library.name == parts[0]
            let records = try cartridgeRecords(library).filter { !isFirst || $0.barcode > parts[1] }
                .prefix(limit - found.count)
            let findings = assembly.examine(
                records.filter { $0.phase == .complete }, of: library, in: folder.libraryPath(library.name))
            found += records.map { resource($0, in: library, findings) }
            if found.count >= limit { break }
        }
        return found
    }

    /// The cartridge `barcode` of the library `name`, with how much of it is written.
    func cartridge(_ barcode: String, library name: String) throws(ManagementError) -> Resource<Cartridge> {
        let library = try libraryRecord(name)
        let cartridge = try cartridgeRecord(barcode, library: library)
        let path = folder.libraryPath(name)
        var result = resource(cartridge, in: library, assembly.examine([cartridge], of: library, in: path))
        let medium = assembly.medium(of: cartridge, in: path, driveProfile: library.drives.first?.profile ?? "")
        result.status.medium = medium?.kind
        result.status.used = medium?.used
        return result
    }

    /// Deletes the cartridge `barcode` of the library `name` with its content.
    func deleteCartridge(_ barcode: String, library name: String) throws(ManagementError) {
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
        try checkAreOwn([cartridge], of: library)
        try mark(
            cartridge, .deleting,
            event(
                "delete", "cartridge", "\(name)/\(barcode)",
                old: ["location": .text("\(cartridge.location)"), "capacity": .integer(cartridge.capacity)]))
        do throws(ManagementError) {
            // First out of the library, as an operator takes it, so that initiators learn of the change.
            if cartridge.location != .vault { _ = try perform(.vault, of: cartridge, in: library) }
        } catch {
            try mark(cartridge, cartridge.phase, event("keep", "cartridge", "\(name)/\(barcode)"))
            throw error
        }
        do throws(ManagementError) {
            try removeRemains(of: cartridge, in: library)
        } catch {
            // In use, it is whole, and in the vault now.
            if error.code == .inUse {
                try mark(cartridge, cartridge.phase, event("keep", "cartridge", "\(name)/\(barcode)"))
                throw error
            }
            throw Self.unremoved("cartridge", "\(name)/\(barcode)", error)
        }
        logger.info("cartridge deleted", metadata: ["library": "\(name)", "cartridge": "\(barcode)"])
    }

    /// Refuses when files are in the place of one of `cartridges` that are those of another: they may be all that there
    /// is of it.
    func checkAreOwn(_ cartridges: [CartridgeRecord], of library: LibraryRecord) throws(ManagementError) {
        let complete = cartridges.filter { $0.phase == .complete }
        let problems = assembly.examine(complete, of: library, in: folder.libraryPath(library.name)).problems
        for cartridge in complete {
            guard let problem = problems[cartridge.barcode], problem.isForeign else { continue }
            throw problem.refusal(
                of: cartridge.barcode, at: folder.cartridgePath(cartridge.barcode, library: library.name))
        }
    }

    /// Says that a cartridge is being deleted, or that it is not after all and kept.
    private func mark(
        _ cartridge: CartridgeRecord, _ phase: RecordPhase, _ event: NewEvent
    ) throws(ManagementError) {
        _ = try query { () throws(CatalogError) in
            try catalog.setPhase(phase, ofCartridge: cartridge.id, in: nil, event: event)
        }
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

    func resource(
        _ cartridge: CartridgeRecord, in library: LibraryRecord, _ findings: CartridgeFindings
    ) -> Resource<Cartridge> {
        let problem = findings.problems[cartridge.barcode]
        let loss = findings.losses[cartridge.barcode]
        var status = Cartridge.Status()
        status.place = cartridge.location.description
        status.state =
            switch cartridge.phase {
            case .creating: .creating
            case .complete: problem?.state ?? (loss == nil ? .ready : .dataLost)
            case .deleting: .deleting
            }
        status.source = cartridge.source?.description
        status.serialNumber = cartridge.serialNumber
        status.created = cartridge.created
        status.problem =
            problem?.reason ?? loss.map { Self.sentence($0, ofCartridge: cartridge.barcode, library: library.name) }
        status.loss = loss
        return Resource(
            name: "\(library.name)/\(cartridge.barcode)",
            spec: Cartridge.Spec(size: cartridge.capacity, home: cartridge.home?.description),
            status: status, generation: cartridge.generation)
    }
}

extension CartridgeRecord {
    /// Where it lies when no drive has it; nil when it is in a drive and no slot is kept for it.
    var home: CartridgeLocation? {
        guard let element = location.element, element.kind == .drive else { return location }
        return source.map(CartridgeLocation.element)
    }
}

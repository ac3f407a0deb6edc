import Catalog
import Foundation
import Logging
import Profiles
import Resources

extension ControlPlane {
    /// The most moves that `library(_:)` gives.
    static let recentMoves = 20

    /// The libraries by name.
    func libraries() throws(ManagementError) -> [Resource<Library>] {
        var libraries: [Resource<Library>] = []
        for library in try query({ () throws(CatalogError) in try catalog.libraries() }) {
            libraries.append(try resource(library))
        }
        return libraries
    }

    /// The library `name`, by what is known of its cartridges.
    func knownLibrary(_ name: String) throws(ManagementError) -> Resource<Library> {
        try resource(try libraryRecord(name))
    }

    /// The library `name`, after a look at its cartridges.
    func library(_ name: String) throws(ManagementError) -> Resource<Library> {
        let library = try libraryRecord(name)
        // First the cartridges: the library's state follows from them.
        _ = assembly.examine(
            try cartridgeRecords(library).filter { $0.phase == .complete }, of: library,
            in: folder.libraryPath(name))
        return try resource(library)
    }

    /// The drives of the library `name`, or of all, by library and number.
    func drives(library name: String? = nil) throws(ManagementError) -> [Resource<Drive>] {
        var drives: [Resource<Drive>] = []
        for library in try libraryRecords(name) {
            let cartridges = try query { () throws(CatalogError) in
                try catalog.cartridges(library: library.identity.id, in: .drive)
            }
            for drive in library.drives {
                let element = ElementAddress(kind: .drive, number: drive.number)
                var status = Drive.Status()
                status.logicalUnitNumber = drive.number
                status.profile = drive.profile
                status.serialNumber = drive.identity.serialNumber
                status.naa = drive.identity.naaText
                status.revision = assembly.revision(ofUnit: drive.identity.id)
                status.cartridge = cartridges.first { $0.location == .element(element) }?.barcode
                drives.append(Resource(name: "\(library.name)/\(element)", spec: NoFields(), status: status))
            }
        }
        return drives
    }

    /// The last moves in the library `name`, or in all, the newest first.
    func moves(library name: String? = nil) throws(ManagementError) -> [Resource<Move>] {
        var moves: [Resource<Move>] = []
        for library in try libraryRecords(name) {
            let records = try query { () throws(CatalogError) in
                try catalog.moves(library: library.identity.id, limit: Self.recentMoves)
            }
            for (index, record) in records.enumerated() {
                var status = Move.Status()
                status.time = record.time
                status.cartridge = record.barcode
                status.from = record.origin
                status.to = record.destination
                status.cause = record.cause.rawValue
                moves.append(Resource(name: "\(library.name)/\(index + 1)", spec: NoFields(), status: status))
            }
        }
        return moves
    }

    /// The unit serial number of the library's changer (VPD page 80h), by which hosts name it: its profile makes it of
    /// the serial number. That alone when the profile cannot be used.
    func unitSerialNumber(of library: LibraryRecord) -> String {
        let serialNumber = library.identity.serialNumber
        return (try? profiles.library(named: library.profile))?.personality(serialNumber: serialNumber)
            .unitSerialNumber ?? serialNumber
    }

    /// The library `name`, or all of them.
    func libraryRecords(_ name: String?) throws(ManagementError) -> [LibraryRecord] {
        if let name { return [try libraryRecord(name)] }
        return try query { () throws(CatalogError) in try catalog.libraries() }
    }

    /// Moves the cartridge in one element to another.
    @discardableResult
    func move(
        library name: String, _ request: Library.Move.Arguments
    ) throws(ManagementError) -> Resource<Cartridge> {
        let library = try servedLibrary(name)
        let origin = try ElementAddress.parse(request.from)
        let destination = try ElementAddress.parse(request.to)
        try check(origin, existsIn: library)
        try check(destination, existsIn: library)
        let cartridges = try cartridgeRecords(library)
        guard let cartridge = cartridges.first(where: { $0.location == .element(origin) }) else {
            throw ManagementError(.conflict, "\(origin) of library '\(name)' is empty; there is nothing to move")
        }
        try checkIsEmpty(destination, of: library, cartridges)
        let known = assembly.cartridgeFindings(of: library).losses[cartridge.barcode]
        let result = try perform(.element(destination), of: cartridge, in: library)
        let findings = assembly.cartridgeFindings(of: library)
        let barcode = cartridge.barcode
        if destination.kind == .drive, let problem = findings.problems[barcode] {
            throw ManagementError(
                problem.state == .unavailable ? .system : .damaged,
                "cartridge '\(barcode)' is in \(destination) now, where it cannot be used: \(problem.reason)")
        }
        if origin.kind == .drive, let loss = findings.losses[barcode], loss != known {
            throw ManagementError(
                .system,
                "cartridge '\(barcode)' is in \(destination) now, but "
                    + Self.sentence(loss, ofCartridge: barcode, library: name))
        }
        return result
    }

    /// Takes a cartridge out of the library to the vault.
    @discardableResult
    func exportCartridge(
        _ barcode: String, library name: String
    ) throws(ManagementError) -> Resource<Cartridge> {
        let library = try servedLibrary(name)
        let cartridge = try cartridgeRecord(barcode, library: library)
        guard let element = cartridge.location.element else {
            throw ManagementError(.conflict, "cartridge '\(cartridge.barcode)' is exported already")
        }
        guard element.kind != .drive else {
            throw ManagementError(
                .conflict,
                "cartridge '\(cartridge.barcode)' is in \(element); "
                    + "move it to a mail slot first, with 'carousel library move \(name) \(element) mail:1'")
        }
        return try perform(.vault, of: cartridge, in: library)
    }

    /// Puts a cartridge from the vault into the first free mail slot; where there are none, into the first free slot.
    @discardableResult
    func importCartridge(
        _ barcode: String, library name: String
    ) throws(ManagementError) -> Resource<Cartridge> {
        let library = try servedLibrary(name)
        let cartridge = try cartridgeRecord(barcode, library: library)
        guard cartridge.phase == .complete else {
            throw ManagementError(
                .conflict,
                "cartridge '\(cartridge.barcode)' is not there any more, but not all of it is removed; "
                    + "'carousel tape delete \(name) \(cartridge.barcode)' tries again")
        }
        if let element = cartridge.location.element {
            throw ManagementError(
                .conflict, "cartridge '\(cartridge.barcode)' is in the library already, in \(element)")
        }
        let cartridges = try cartridgeRecords(library)
        guard library.mailSlotCount > 0 else {
            return try perform(.element(try freeSlot(of: library, cartridges)), of: cartridge, in: library)
        }
        guard let place = freeElement(.mail, of: library, cartridges) else {
            throw ManagementError(
                .conflict, "the mail slots of library '\(name)' are full; move a cartridge from one of them first")
        }
        return try perform(.element(place), of: cartridge, in: library)
    }

    // MARK: Shared by libraries and cartridges

    /// Hands a library and its cartridges to the devices, and lets those in who may use it.
    func start(_ library: LibraryRecord) throws(ManagementError) {
        let path = folder.libraryPath(library.name)
        guard folder.exists(path) else {
            throw ManagementError(.damaged, "library '\(library.name)': its folder \(path) is missing")
        }
        let cartridges = try cartridgeRecords(library).filter { $0.phase == .complete }
        try assembly.startLibrary(
            library, cartridges: cartridges, cartridgeFolder: path, targetName: DeviceName.targetName(library.name))
        noteServed(library.name, from: path)
        // Before the cartridges are looked at, which may take long.
        admit(library.name, units: library.unitKeys)
        let isDone: Void? = looks.look(at: "cartridges of \(library.name)") { [self] in
            let findings = assembly.examine(cartridges, of: library, in: path)
            log("cannot be used", findings.problems.mapValues(\.reason), of: library)
            log("lost data, which nobody has acknowledged", findings.losses.mapValues(\.reason), of: library)
        }
        guard isDone == nil else { return }
        logger.error("cartridges take long to look at", metadata: ["library": "\(library.name)"])
    }

    /// Tells of cartridges of a library, `reasons` by barcode.
    private func log(_ what: String, _ reasons: [String: String], of library: LibraryRecord) {
        for (barcode, reason) in reasons.sorted(by: { $0.key < $1.key }).prefix(Self.namedAtMost) {
            logger.error(
                "cartridge \(what)",
                metadata: ["library": "\(library.name)", "cartridge": "\(barcode)", "reason": "\(reason)"])
        }
        if reasons.count > Self.namedAtMost {
            logger.error(
                "cartridges \(what)", metadata: ["library": "\(library.name)", "count": "\(reasons.count)"])
        }
    }

    /// What is wrong with the library or its cartridges, as far as is known; nil when nothing is.
    func problem(of library: LibraryRecord) -> String? {
        if let problem = problems[library.name] ?? detachment(of: library.name) { return problem }
        let findings = assembly.cartridgeFindings(of: library)
        let problems = Self.sentence(of: findings.problems, "cannot be used", library) {
            "cartridge '\($0)' cannot be used: \($1.reason)"
        }
        let losses = Self.sentence(of: findings.losses, "have lost data that were written", library) {
            "cartridge '\($0)': \(Self.sentence($1, ofCartridge: $0, library: library.name))"
        }
        let sentences = [problems, losses].compactMap { $0 }
        return sentences.isEmpty ? nil : "library '\(library.name)': " + sentences.joined(separator: "; ")
    }

    /// What is said of cartridges of a library: all there is to say of one, of several how many there are.
    private static func sentence<Finding>(
        of cartridges: [String: Finding], _ what: String, _ library: LibraryRecord, _ one: (String, Finding) -> String
    ) -> String? {
        guard let first = cartridges.min(by: { $0.key < $1.key }) else { return nil }
        return cartridges.count == 1
            ? one(first.key, first.value)
            : "\(cartridges.count) cartridges \(what), '\(first.key)' among them; "
                + "'carousel tape list \(library.name)' shows which"
    }

    func libraryRecord(_ name: String) throws(ManagementError) -> LibraryRecord {
        guard let library = try query({ () throws(CatalogError) in try catalog.library(named: name) }) else {
            throw ManagementError(
                .notFound, "there is no library '\(name)'; 'carousel library list' shows those there are")
        }
        return library
    }

    /// The library `name`, if it runs.
    func servedLibrary(_ name: String) throws(ManagementError) -> LibraryRecord {
        let library = try libraryRecord(name)
        if let problem = problems[name] { throw Self.unrepaired(problem) }
        guard library.phase == .complete else {
            throw ManagementError(
                .conflict, "library '\(name)' is \(library.phase == .creating ? "being made" : "being deleted")")
        }
        return library
    }

    /// Makes a move and tells of the result.
    func perform(
        _ destination: CartridgeLocation, of cartridge: CartridgeRecord, in library: LibraryRecord
    ) throws(ManagementError) -> Resource<Cartridge> {
        try Effect.begin()
        try assembly.move(
            CartridgeMove(barcode: cartridge.barcode, origin: cartridge.location, destination: destination),
            of: cartridge, in: library)
        logger.info(
            "cartridge moved",
            metadata: [
                "library": "\(library.name)", "cartridge": "\(cartridge.barcode)", "from": "\(cartridge.location)",
                "to": "\(destination)",
            ])
        return resource(
            try cartridgeRecord(cartridge.barcode, library: library), in: library,
            assembly.cartridgeFindings(of: library))
    }

    /// Refuses what is no size of a cartridge.
    func checkCapacity(_ capacity: Int64) throws(ManagementError) {
        guard Cartridge.sizes.contains(capacity) else {
            throw ManagementError(
                .invalid,
                "\(capacity) bytes are no size for a cartridge; give \(ByteSize.format(Cartridge.sizes.lowerBound)) to "
                    + ByteSize.format(Cartridge.sizes.upperBound), field: "size")
        }
    }

    // MARK: Checks

    func check(_ element: ElementAddress, existsIn library: LibraryRecord) throws(ManagementError) {
        let count = Self.elementCount(element.kind, of: library)
        guard element.number <= count else {
            throw ManagementError(
                .notFound,
                count == 0
                    ? "library '\(library.name)' has no \(element.kind.rawValue) elements"
                    : "library '\(library.name)' has no \(element); its last is \(element.kind.rawValue):\(count)")
        }
    }

    func checkIsEmpty(
        _ element: ElementAddress, of library: LibraryRecord, _ cartridges: [CartridgeRecord]
    ) throws(ManagementError) {
        guard let other = cartridges.first(where: { $0.location == .element(element) }) else { return }
        throw ManagementError(
            .conflict,
            "\(element) of library '\(library.name)' is full: it holds '\(other.barcode)'; choose an empty element")
    }

    private func resource(_ library: LibraryRecord) throws(ManagementError) -> Resource<Library> {
        let key = library.identity.id
        let problem = problem(of: library)
        var spec = Library.Spec()
        spec.profile = library.profile
        spec.drives = library.drives.count
        spec.driveProfile = library.drives.first?.profile ?? ""
        spec.slots = library.slotCount
        spec.mailSlots = library.mailSlotCount
        var status = Library.Status()
        let count = try query { () throws(CatalogError) in try catalog.cartridgeCount(library: key) }
        (status.cartridges, status.exported) = (count.all - count.inVault, count.inVault)
        status.target = DeviceName.targetName(library.name)
        status.sessions = assembly.sessionCounts()[status.target] ?? 0
        status.state =
            switch library.phase {
            case _ where problems[library.name] != nil: .notServed
            case .creating: .creating
            case .deleting: .deleting
            case .complete: problem == nil ? .serving : .degraded
            }
        status.serialNumber = unitSerialNumber(of: library)
        status.naa = library.identity.naaText
        status.revision = assembly.revision(ofUnit: key)
        status.created = library.created
        status.problem = problem
        return Resource(name: library.name, spec: spec, status: status, generation: library.generation)
    }
}

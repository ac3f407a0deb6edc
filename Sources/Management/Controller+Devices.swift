public import Resources

// Disks, libraries and cartridges.
extension Controller {
    // MARK: Disks

    /// Makes a disk, its image unless it is given one, and its target.
    @discardableResult
    public func createDisk(_ name: String, _ spec: Disk.Spec) async throws(ManagementError) -> Resource<Disk> {
        var keys = ChangeKey.device(name)
        if spec.image != nil { keys.insert(.externalImages) }
        return try await change(keys) { plane throws(ManagementError) in try plane.createDisk(name, spec) }
    }

    /// The disks of the page, by name.
    public func disks(_ page: Page = .all) async throws(ManagementError) -> [Resource<Disk>] {
        try await query { plane throws(ManagementError) in try plane.disks(page) }
    }

    public func disk(_ name: String) async throws(ManagementError) -> Resource<Disk> {
        try await query { plane throws(ManagementError) in try plane.disk(name) }
    }

    /// Makes the disk `name` larger, unless it has a loss that nobody has acknowledged. It cannot become smaller:
    /// initiators have no way to agree to losing blocks.
    public func changeDisk(_ name: String, to spec: Disk.Spec) async throws(ManagementError) -> Resource<Disk> {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in try plane.changeDisk(name, to: spec)
        }
    }

    /// Deletes the disk `name` with its image; an external image stays.
    public func deleteDisk(_ name: String) async throws(ManagementError) {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in try plane.deleteDisk(name) }
    }

    /// Says that the loss of written data on the disk `name` is known: it can be written again.
    public func acknowledgeLoss(ofDisk name: String) async throws(ManagementError) {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in
            try plane.acknowledgeLoss(ofDisk: name)
        }
    }

    /// Ejects the medium of the removable disk `name`; with `isForced` also when initiators prevent that.
    @discardableResult
    public func ejectDisk(_ name: String, isForced: Bool = false) async throws(ManagementError) -> Resource<Disk> {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in
            try plane.ejectDisk(name, isForced: isForced)
        }
    }

    /// Loads the medium of the removable disk `name`.
    @discardableResult
    public func loadDisk(_ name: String) async throws(ManagementError) -> Resource<Disk> {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in try plane.loadDisk(name) }
    }

    // MARK: Libraries

    /// Makes a library with its drives, elements, cartridges and target, and returns when it is there; a job meanwhile.
    @discardableResult
    public func createLibrary(
        _ name: String, _ spec: Library.Spec
    ) async throws(ManagementError) -> Resource<Library> {
        try await finish(try await startCreation(ofLibrary: name, spec).id)
        return try await query { plane throws(ManagementError) in try plane.knownLibrary(name) }
    }

    /// Begins to make a library, and gives the job that does it. When it fails or is cancelled, nothing of it is left.
    public func startCreation(
        ofLibrary name: String, _ spec: Library.Spec
    ) async throws(ManagementError) -> JobSummary {
        // What is wrong with the request is said at once, and checked again when it is its turn.
        try await query { plane throws(ManagementError) in try plane.check(name, spec) }
        return try startJob("create", "library", name, total: spec.cartridges) { plane, job throws(ManagementError) in
            try plane.createLibrary(name, spec, job: job)
        }
    }

    /// The libraries by name.
    public func libraries() async throws(ManagementError) -> [Resource<Library>] {
        try await query { plane throws(ManagementError) in try plane.libraries() }
    }

    /// The library `name`, after a look at the files of its cartridges.
    public func library(_ name: String) async throws(ManagementError) -> Resource<Library> {
        try await query(in: .long) { plane throws(ManagementError) in try plane.library(name) }
    }

    /// The drives of the library `name`, or of all, by library and number.
    public func drives(library name: String? = nil) async throws(ManagementError) -> [Resource<Drive>] {
        try await query { plane throws(ManagementError) in try plane.drives(library: name) }
    }

    /// The last moves in the library `name`, or in all, the newest first.
    public func moves(library name: String? = nil) async throws(ManagementError) -> [Resource<Move>] {
        try await query { plane throws(ManagementError) in try plane.moves(library: name) }
    }

    /// Deletes the library `name` with all its cartridges, and returns when it has gone; a job meanwhile.
    public func deleteLibrary(_ name: String) async throws(ManagementError) {
        try await finish(try await startDeletion(ofLibrary: name).id)
    }

    /// Begins to delete the library `name` with all its cartridges, and gives the job that does it. Once it runs it
    /// cannot be cancelled.
    public func startDeletion(ofLibrary name: String) async throws(ManagementError) -> JobSummary {
        let precondition = Precondition.current
        let total = try await query { plane throws(ManagementError) in
            try precondition?.check()
            return try plane.checkDeletion(ofLibrary: name)
        }
        return try startJob("delete", "library", name, total: total) { plane, job throws(ManagementError) in
            try plane.deleteLibrary(name, job: job)
        }
    }

    /// Moves the cartridge in one element to another.
    @discardableResult
    public func move(
        library name: String, _ request: Library.Move.Arguments
    ) async throws(ManagementError) -> Resource<Cartridge> {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in
            try plane.move(library: name, request)
        }
    }

    /// Takes a cartridge out of the library to the vault.
    @discardableResult
    public func exportCartridge(
        _ barcode: String, library name: String
    ) async throws(ManagementError) -> Resource<Cartridge> {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in
            try plane.exportCartridge(barcode, library: name)
        }
    }

    /// Puts a cartridge from the vault into the library.
    @discardableResult
    public func importCartridge(
        _ barcode: String, library name: String
    ) async throws(ManagementError) -> Resource<Cartridge> {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in
            try plane.importCartridge(barcode, library: name)
        }
    }

    // MARK: Cartridges

    /// Makes an empty cartridge and puts it into its home, or into the first free slot.
    @discardableResult
    public func createCartridge(
        _ barcode: String, library name: String, _ spec: Cartridge.Spec = Cartridge.Spec()
    ) async throws(ManagementError) -> Resource<Cartridge> {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in
            try plane.createCartridge(barcode, library: name, spec)
        }
    }

    /// The cartridges of the library `name`, or of all libraries, by library and barcode: at most `limit` of those
    /// behind `after`, which is the name of one. Their files are looked at.
    public func cartridges(
        library name: String? = nil, after: String? = nil, limit: Int = .max
    ) async throws(ManagementError) -> [Resource<Cartridge>] {
        try await query(in: .long) { plane throws(ManagementError) in
            try plane.cartridges(library: name, after: after, limit: limit)
        }
    }

    /// The cartridge `barcode` of the library `name`, with how much of it is written.
    public func cartridge(
        _ barcode: String, library name: String
    ) async throws(ManagementError) -> Resource<Cartridge> {
        try await query(in: .long) { plane throws(ManagementError) in try plane.cartridge(barcode, library: name) }
    }

    /// Puts the cartridge `barcode` of the library `name` where `spec` says that it lies when no drive has it.
    @discardableResult
    public func changeCartridge(
        _ barcode: String, library name: String, to spec: Cartridge.Spec
    ) async throws(ManagementError) -> Resource<Cartridge> {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in
            try plane.changeCartridge(barcode, library: name, to: spec)
        }
    }

    /// Deletes the cartridge `barcode` of the library `name` with its content.
    public func deleteCartridge(_ barcode: String, library name: String) async throws(ManagementError) {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in
            try plane.deleteCartridge(barcode, library: name)
        }
    }

    /// Says that the loss of written data on the cartridge is known: it ends where durability ended, and can be written
    /// again from there on.
    public func acknowledgeLoss(ofCartridge barcode: String, library name: String) async throws(ManagementError) {
        try await change(ChangeKey.device(name)) { plane throws(ManagementError) in
            try plane.acknowledgeLoss(ofCartridge: barcode, library: name)
        }
    }
}

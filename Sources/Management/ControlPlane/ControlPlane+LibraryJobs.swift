import Catalog
import Foundation
import Logging
import Platform
import Resources

// The making and the deletion of libraries, which may have thousands of cartridges: in pieces, between which a job
// hears how far they are, and may end them.
extension ControlPlane {
    /// A library that can be made.
    private struct CheckedLibrary {
        let new: NewLibrary
        let cartridges: [(barcode: String, capacity: Int64)]
    }

    /// How many cartridges are made or removed between two looks at the job.
    private static let pieceLength = 64

    /// Refuses what makes no library.
    func check(_ name: String, _ spec: Library.Spec) throws(ManagementError) {
        _ = try checked(name, spec)
        try checkNameIsFree(name)
        let path = folder.libraryPath(name)
        guard !folder.exists(path) else {
            throw ManagementError(
                .conflict, "\(path) exists already and belongs to no library; move it away or remove it")
        }
    }

    private func checked(_ name: String, _ spec: Library.Spec) throws(ManagementError) -> CheckedLibrary {
        let new = NewLibrary(
            name: name, targetName: DeviceName.targetName(name), profile: spec.profile,
            driveProfile: spec.driveProfile, driveCount: spec.drives, slotCount: spec.slots,
            mailSlotCount: spec.mailSlots)
        try assembly.check(new)
        let barcodes = try Barcode.series(from: try firstBarcode(of: spec), count: spec.cartridges)
        for barcode in barcodes {
            try assembly.checkBarcode(
                barcode, libraryProfile: spec.profile, driveProfile: spec.driveProfile)
        }
        if let size = spec.cartridgeSize { try checkCapacity(size) }
        let cartridges = barcodes.map { barcode in
            (
                barcode: barcode,
                capacity: spec.cartridgeSize
                    ?? assembly.nativeCapacity(barcode: barcode, driveProfile: spec.driveProfile)
            )
        }
        return CheckedLibrary(new: new, cartridges: cartridges)
    }

    /// Makes a library with its drives, elements, cartridges and target. `job` hears how far it is, and may end it;
    /// nothing of it is left then.
    func createLibrary(_ name: String, _ spec: Library.Spec, job: Job? = nil) throws(ManagementError) {
        try check(name, spec)
        let path = folder.libraryPath(name)
        try job?.check()
        let library = try labelling.withLock { _ throws(ManagementError) in try addRows(of: try checked(name, spec)) }
        var isComplete = false
        do throws(ManagementError) {
            try folder.createFolder(path)
            try inPieces(try cartridgeRecords(library), job) { cartridges throws(ManagementError) in
                try job?.check()
                try assembly.createCartridges(cartridges, in: path, driveProfile: spec.driveProfile)
            }
            // What initiators write from now on is not taken away by whoever cancels.
            try job?.commit()
            let event = event(
                "create", "library", name,
                new: [
                    "profile": .text(spec.profile), "drives": .integer(Int64(spec.drives)),
                    "driveProfile": .text(spec.driveProfile), "slots": .integer(Int64(spec.slots)),
                    "mailSlots": .integer(Int64(spec.mailSlots)), "cartridges": .integer(Int64(spec.cartridges)),
                ])
            try query { () throws(CatalogError) in
                try catalog.setPhase(.complete, ofDevice: library.identity.id, event: event)
            }
            isComplete = true
            try start(library)
        } catch {
            takeBack(library, isComplete: isComplete)
            throw error
        }
        logger.info("library created", metadata: ["library": "\(name)"])
    }

    /// Adds a library and its cartridges to the catalog. When that fails, and something of them is left there, the
    /// library has a problem that says so.
    private func addRows(of library: CheckedLibrary) throws(ManagementError) -> LibraryRecord {
        do throws(ManagementError) {
            return try query { () throws(CatalogError) in
                try catalog.addLibrary(library.new, cartridges: library.cartridges, created: Date())
            }
        } catch {
            let name = library.new.name
            if (try? catalog.library(named: name)) != nil { noteRemains(of: name, "library", error) }
            throw error
        }
    }

    /// Removes a library that could not be made or started.
    private func takeBack(_ library: LibraryRecord, isComplete: Bool) {
        do {
            if isComplete {
                try query { () throws(CatalogError) in
                    try catalog.setPhase(.deleting, ofDevice: library.identity.id)
                }
                noteWithdrawn(library.name)
                assembly.stopLibrary(library, targetName: DeviceName.targetName(library.name))
            }
            try removeRemains(of: library)
        } catch {
            noteRemains(of: library.name, "library", error)
        }
    }

    /// Does `body` to all of `cartridges`, some at a time, and tells `job` how far it is.
    func inPieces(
        _ cartridges: [CartridgeRecord], _ job: Job?, _ body: ([CartridgeRecord]) throws(ManagementError) -> Void
    ) throws(ManagementError) {
        job?.report(done: 0, of: cartridges.count)
        for start in stride(from: 0, to: cartridges.count, by: Self.pieceLength) {
            let end = min(start + Self.pieceLength, cartridges.count)
            try body(Array(cartridges[start..<end]))
            job?.report(done: end, of: cartridges.count)
        }
    }

    /// Refuses the deletion of the library `name` when it is not there or in use; gives how many cartridges it has.
    func checkDeletion(ofLibrary name: String) throws(ManagementError) -> Int {
        let library = try libraryRecord(name)
        try checkHasNoStrangers(library)
        try checkUnused(name, units: library.unitKeys, kind: "library", verb: "delete")
        try checkIsOwn(folder.libraryPath(name), of: name, "library")
        return try query { () throws(CatalogError) in try catalog.cartridgeCount(library: library.identity.id).all }
    }

    /// Deletes the library `name` with all its cartridges. `job` hears how far it is.
    func deleteLibrary(_ name: String, job: Job? = nil) throws(ManagementError) {
        let count = try checkDeletion(ofLibrary: name)
        let library = try libraryRecord(name)
        try checkAreOwn(try cartridgeRecords(library), of: library)
        let hasSettings = try hasFrontEndSettings(name, units: library.unitKeys)
        // From here on it is deleted, whatever happens.
        try job?.commit()
        let event = event(
            "delete", "library", name,
            old: [
                "profile": .text(library.profile), "drives": .integer(Int64(library.drives.count)),
                "slots": .integer(Int64(library.slotCount)), "mailSlots": .integer(Int64(library.mailSlotCount)),
                "cartridges": .integer(Int64(count)),
            ])
        try query { () throws(CatalogError) in
            try catalog.setPhase(.deleting, ofDevice: library.identity.id, event: event)
        }
        noteWithdrawn(name)
        assembly.stopLibrary(library, targetName: DeviceName.targetName(name))
        do {
            try removeRemains(of: library, job: job)
        } catch {
            noteRemains(of: name, "library", error)
            throw Self.unremoved("library", name, error)
        }
        if hasSettings { forgetFrontEndSettings() }
        logger.info("library deleted", metadata: ["library": "\(name)"])
    }
}

extension LibraryRecord {
    /// The keys of the logical units, in the order of their numbers: changer and drives.
    var unitKeys: [Int64] { [identity.id] + drives.map(\.identity.id) }
}

import Catalog
import Foundation
import Logging
import Platform
import Resources

import struct Media.CartridgeStore
import enum Media.ImageKeyFile
import class Media.RawDiskImage

// What a crash or a full file system has interrupted is ended: what was being made is removed, and so is what was being
// deleted. The phase of its row says what it was (`RecordPhase`); rows go last, so that nothing is forgotten on the
// way.
extension ControlPlane {
    /// How many cartridges of a library, and how many unclaimed files, are named one by one.
    static let namedAtMost = 20

    /// Tells of the files that no row claims.
    func noteUnclaimedFiles(_ unclaimed: [String]) {
        changeUnclaimed { $0 = unclaimed }
        for path in unclaimed.prefix(Self.namedAtMost) {
            logger.notice("the catalog does not know it", metadata: ["path": "\(path)"])
        }
    }

    /// Ends what was interrupted of the cartridges of a library; the others stay.
    func endInterruptedCartridges(of library: LibraryRecord) throws(ManagementError) {
        for cartridge in try cartridgeRecords(library) where cartridge.phase != .complete {
            do {
                try query { () throws(CatalogError) in try catalog.withdrawCartridge(cartridge.id) }
                try removeRemains(of: cartridge, in: library)
                logger.notice(
                    cartridge.phase == .creating ? "what was not finished is removed" : "what was deleted is removed",
                    metadata: ["library": "\(library.name)", "cartridge": "\(cartridge.barcode)"])
            } catch {
                // The row says so, and the library runs without it.
                logger.error(
                    "cartridge is not removed",
                    metadata: [
                        "library": "\(library.name)", "cartridge": "\(cartridge.barcode)", "reason": "\(error.message)",
                    ])
            }
        }
    }

    /// Decides about secrets whose change was interrupted, and removes what it has left; when that is not possible now,
    /// the next start tries again.
    func endInterruptedSecrets() throws(ManagementError) {
        let isChanged = try settleProposals(of: secrets)
        do {
            try secrets.removeRemains()
            if isChanged { try secrets.save() }
        } catch {
            logger.error("the file of CHAP secrets is not up to date", metadata: ["reason": "\(error.message)"])
        }
    }

    /// Decides about secrets whose change was interrupted by what the catalog says; false when there are none.
    func settleProposals(of secrets: SecretStore) throws(ManagementError) -> Bool {
        let required = try query { () throws(CatalogError) in try catalog.authenticationPlaces() }
        return secrets.settleProposals(required: Set(required.map(CredentialScope.init)))
    }

    /// Says that a disk or library that is not complete is still there, in part; once.
    func noteRemains(of name: String, _ kind: String, _ error: ManagementError) {
        let problem =
            "\(kind) '\(name)' is not there any more, but not all of it is removed: \(error.message); "
            + "'carousel \(kind) delete \(name)' tries again"
        guard problems[name] != problem else { return }
        setProblem(problem, of: name)
        logger.error("not removed", metadata: [kind: "\(name)", "reason": "\(error.message)"])
    }

    /// What is told of a deletion that has begun and left something, for the reason `error`.
    static func unremoved(_ kind: String, _ name: String, _ error: ManagementError) -> ManagementError {
        ManagementError(error.code, "\(kind) '\(name)' is deleted, but not all of it is removed: \(error.message)")
    }

    // MARK: Removal, of what is marked

    /// Removes image and row of a disk that is not complete. What has the name of protection information goes only
    /// where the disk has some, and not when it is known that none was made (`hasProtection`), nor when it is another
    /// image's; and where it is the image's own, as a format operation that was broken off may have left it.
    func removeRemains(of disk: DiskRecord, hasProtection: Bool = true) throws(ManagementError) {
        let path = folder.imagePath(disk.image)
        if disk.node != nil, try isShared(disk) {
            do throws(ManagementError) {
                try removing { () throws(ManagementError) in try assembly.removeNode(of: disk, imagePath: path) }
            } catch {
                // Of what nobody can read any more nothing can be removed; the file stays for the other disks.
                guard error.code == .damaged else { throw error }
                logger.error(
                    "what a deleted disk had stays in an image that cannot be read",
                    metadata: ["disk": "\(disk.name)", "image": "\(path)", "reason": "\(error.message)"])
            }
        } else if !disk.imageIsExternal {
            // A folder there is refused in its own words.
            if (try? FileStatus.of(path).kind) != .directory { try checkIsOwn(path, of: disk.name, "disk") }
            let isOwn = RawDiskImage.hasOwnProtection(image: path)
            try removing { () throws(ManagementError) in
                // First: whose it is the image says.
                if disk.spec.isEncrypted { try folder.removeKey(ofImage: path) }
                try folder.remove(path)
                try folder.removeJournal(ofImage: path)
                if hasProtection, isOwn ?? (disk.spec.protection != 0) { try folder.removeProtection(ofImage: path) }
            }
        }
        try forgetSecrets(at: .target(DeviceName.targetName(disk.name)))
        try query { () throws(CatalogError) in try catalog.removeDisk(named: disk.name) }
        forgetFormerPlans()
        noteForgotten(disk.name)
        for problem in [disk.name, Self.sizeProblem(disk.name)] { setProblem(nil, of: problem) }
    }

    /// Removes folder and rows of a library that is not complete. `job` hears how far it is.
    func removeRemains(of library: LibraryRecord, job: Job? = nil) throws(ManagementError) {
        let path = folder.libraryPath(library.name)
        try checkIsOwn(path, of: library.name, "library")
        try removing { () throws(ManagementError) in
            try inPieces(try cartridgeRecords(library), job) { cartridges throws(ManagementError) in
                try assembly.deleteCartridges(cartridges, of: library, in: path)
            }
            try folder.removeFolder(path)
        }
        try forgetSecrets(at: .target(DeviceName.targetName(library.name)))
        try query { () throws(CatalogError) in try catalog.removeLibrary(named: library.name) }
        forgetFormerPlans()
        noteForgotten(library.name)
        setProblem(nil, of: library.name)
    }

    /// Removes files and row of a cartridge that is not complete.
    func removeRemains(of cartridge: CartridgeRecord, in library: LibraryRecord) throws(ManagementError) {
        try removing { () throws(ManagementError) in
            try assembly.deleteCartridges([cartridge], of: library, in: folder.libraryPath(library.name))
        }
        try query { () throws(CatalogError) in
            try catalog.removeCartridge(cartridge.barcode, library: library.identity.id)
        }
    }

    // MARK: Files without a row

    /// The images, libraries and cartridges that no row claims. What a crash has left of a cartridge, under a hidden
    /// name, is removed. The files of disks and libraries that are not among `answering` are left alone.
    func unclaimedFiles(_ answering: Set<String>) throws(ManagementError) -> [String] {
        var unclaimed: [String] = []
        let disks = try query { () throws(CatalogError) in try catalog.disks() }
        let images = Set(
            disks.filter { answering.contains($0.name) }.map { folder.resolved(folder.imagePath($0.image)) })
        let protections = Set(
            disks.filter { $0.spec.protection != 0 }.map {
                folder.resolved(RawDiskImage.protectionPath(ofImage: folder.imagePath($0.image)))
            })
        let keys = Set(
            disks.filter(\.spec.isEncrypted).map {
                folder.resolved(ImageKeyFile.path(ofImage: folder.imagePath($0.image)))
            })
        let silent = Set(disks.filter { !answering.contains($0.name) }.map { folder.imagePath($0.image) })
        let imageFolder = folder.path + "/" + StateFolder.imageFolder
        for name in folder.names(in: imageFolder)
        where !silent.contains(imageFolder + "/" + name) && !images.contains(folder.resolved(imageFolder + "/" + name))
            && !protections.union(keys).contains(folder.resolved(imageFolder + "/" + name))
        {
            unclaimed.append(imageFolder + "/" + name)
        }
        let libraries = try query { () throws(CatalogError) in try catalog.libraries() }
        let names = Set(libraries.map(\.name))
        for name in folder.names(in: folder.path + "/libraries") where !names.contains(name) {
            unclaimed.append(folder.libraryPath(name))
        }
        for library in libraries where library.phase == .complete && answering.contains(library.name) {
            let barcodes = Set(try cartridgeRecords(library).map { $0.barcode + StateFolder.cartridgeSuffix })
            let path = folder.libraryPath(library.name)
            for name in folder.names(in: path)
            where name.hasSuffix(StateFolder.cartridgeSuffix) && !barcodes.contains(name) {
                guard name.hasPrefix(".") else {
                    unclaimed.append(path + "/" + name)
                    continue
                }
                do {
                    let barcode = name.dropFirst().dropLast(StateFolder.cartridgeSuffix.count)
                    try CartridgeStore(directory: path).removeRemains(of: String(barcode))
                } catch {
                    logger.error("not removed", metadata: ["path": "\(path)/\(name)", "reason": "\(error)"])
                }
            }
        }
        return unclaimed
    }
}

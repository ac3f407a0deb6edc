import Catalog
import Foundation
import Logging
import Platform
import Resources

import class Media.FamilyFile
import enum Media.ImageKeyFile
import class Media.RawDiskImage

// What is there and no row claims is taken up. Its rows are complete from the first moment on, in one transaction: a
// crash before leaves the files as they were, a crash after leaves what was asked for, and at no time does anything
// that ends an interrupted creation take these files for its own.
extension ControlPlane {
    /// The name of the disk that is to be made: the given one, or that of the file to which the path leads.
    func diskName(_ request: DiskAdoption) -> String {
        if let name = request.name { return name }
        let path = request.image.hasPrefix("/") ? folder.resolved(request.image) : request.image
        let file = (path as NSString).lastPathComponent
        return file.hasSuffix(".img") ? String(file.dropLast(4)) : file
    }

    /// Makes a disk of an image that no disk has; its serial number and its NAA designator are new.
    @discardableResult
    func adoptDisk(_ request: DiskAdoption) throws(ManagementError) -> Resource<Disk> {
        let imageFolder = folder.path + "/" + StateFolder.imageFolder
        var path = request.image.hasPrefix("/") ? folder.resolved(request.image) : imageFolder + "/" + request.image
        if !request.image.hasPrefix("/") {
            guard !request.image.contains("/") else {
                throw ManagementError(
                    .invalid, "'\(request.image)' is no name of a file in \(imageFolder); give that, or a whole path")
            }
            if !folder.exists(path), folder.exists(path + ".img") { path += ".img" }
            guard folder.exists(path) else {
                throw ManagementError(
                    .notFound, "there is no image '\(request.image)' in \(imageFolder); 'carousel status' shows which")
            }
        }
        let file = (path as NSString).lastPathComponent
        let blockSize = request.blockSize ?? 512
        guard [512, 4096].contains(blockSize) else {
            throw ManagementError(.invalid, "block size \(blockSize) is not offered; use 512 or 4096")
        }
        let name = diskName(request)
        guard
            (path as NSString).deletingLastPathComponent == folder.resolved(imageFolder)
                || path.hasPrefix(imageFolder + "/")
        else {
            guard try !request.encryption().isEncrypted else {
                throw ManagementError(
                    .invalid,
                    "image \(path) is encrypted, and stays where it is; move it and "
                        + "\(ImageKeyFile.path(ofImage: path)) "
                        + "into \(imageFolder) first", field: "image")
            }
            // It stays where it is, and the user's.
            try DeviceName.check(name, of: "disk")
            return try createDisk(name, Disk.Spec(size: nil, blockSize: blockSize, image: path))
        }
        if (try? FamilyFile.isFamily(path)) == true {
            // The name of the file is given where the user gives none.
            let isGiven = name != diskName(DiskAdoption(image: request.image))
            return try adoptNodes(ofImage: path, isGiven ? name : nil, request)
        }
        try DeviceName.check(name, of: "disk")
        try checkNameIsFree(name)
        let size = try checkExternalImage(path, size: nil, blockSize: blockSize)
        var spec = try request.encryption()
        try checkKeyIsThere(ofImage: path, spec)
        let key = try userKey(of: spec, disk: name)
        (spec.size, spec.blockSize, spec.format) = (size, blockSize, .raw)
        if !spec.isEncrypted {
            spec.protection = try foundProtection(ofImage: path, size: size, blockSize: blockSize)
        }
        let wanted = spec
        let event = event("adopt", "disk", name, new: ["image": .text(path)])
        let disk = try query { () throws(CatalogError) in
            try catalog.addDisk(
                name: name, targetName: DeviceName.targetName(name), wanted,
                image: StateFolder.imageFolder + "/" + file, imageIsExternal: false, created: Date(), phase: .complete,
                event: event)
        }
        do throws(ManagementError) {
            try offer(disk, key)
        } catch {
            giveUp("disk", name) { () throws(CatalogError) in try catalog.removeDisk(named: name) }
            throw error
        }
        let companions = [RawDiskImage.protectionPath(ofImage: path), ImageKeyFile.path(ofImage: path)]
        let files = [path] + (spec.isEncrypted ? companions : companions.dropLast())
        let claimed = files.map { folder.resolved($0) }
        changeUnclaimed { $0.removeAll { claimed.contains(folder.resolved($0)) } }
        logger.notice("disk adopted", metadata: ["disk": "\(name)", "image": "\(path)"])
        return try self.disk(name)
    }

    /// Refuses an encrypted image without where its key comes from, and a plain one with that.
    func checkKeyIsThere(ofImage path: String, _ encryption: Disk.Spec) throws(ManagementError) {
        guard encryption.isEncrypted else { return try checkIsPlain(image: path) }
        let (isMarked, hasKey): (Bool, Bool)
        do {
            isMarked = try ImageKeyFile.isEncrypted(path)
            hasKey = try ImageKeyFile.exists(besideImage: path)
        } catch {
            throw ManagementError(.system, "whether image \(path) is encrypted cannot be found out: \(error.reason)")
        }
        guard isMarked || hasKey else {
            throw ManagementError(
                .invalid, "image \(path) is not encrypted, and needs no key; leave that out",
                field: encryption.encryptionKeyFile == nil ? "encryptionKeyCommand" : "encryptionKeyFile")
        }
    }

    /// Takes a cartridge that the catalog does not know into the vault of a library.
    @discardableResult
    func adoptCartridge(
        library name: String, _ request: CartridgeAdoption
    ) throws(ManagementError) -> Resource<Cartridge> {
        let library = try servedLibrary(name)
        let home = folder.libraryPath(name)
        let suffix = StateFolder.cartridgeSuffix
        var path = request.cartridge
        if !path.hasPrefix("/") {
            guard !path.contains("/") else {
                throw ManagementError(.invalid, "'\(path)' is no barcode; give one, or the whole path of a cartridge")
            }
            path = home + "/" + path + (path.hasSuffix(suffix) ? "" : suffix)
        }
        path = folder.resolved(path)
        let (parent, folderName) = ((path as NSString).deletingLastPathComponent, (path as NSString).lastPathComponent)
        guard folderName.hasSuffix(suffix), !folderName.hasPrefix("."), folder.exists(path) else {
            throw ManagementError(.notFound, "there is no cartridge \(path); its folder is called BARCODE\(suffix)")
        }
        try checkIsUnclaimed(path)
        let driveProfile = library.drives.first?.profile ?? ""
        let found = try assembly.inspect(
            cartridge: String(folderName.dropLast(suffix.count)), in: parent, driveProfile: driveProfile)
        try check(found, for: library, driveProfile: driveProfile)
        let target = folder.cartridgePath(found.barcode, library: name)
        let isElsewhere = folder.resolved(target) != path
        if isElsewhere {
            guard !folder.exists(target) else {
                throw ManagementError(.conflict, "\(target) exists already and belongs to no cartridge; move it away")
            }
            do throws(ManagementError) {
                try folder.move(path, to: target)
            } catch {
                if folder.exists(target) { changeUnclaimed { $0.append(target) } }
                throw error
            }
        }
        let event = event("adopt", "cartridge", "\(name)/\(found.barcode)", new: ["location": "vault"])
        do throws(ManagementError) {
            try query { () throws(CatalogError) in
                try catalog.adoptCartridge(found, library: library.identity.id, created: Date(), event: event)
            }
        } catch {
            if isElsewhere { moveBack(target, to: path) }
            throw error
        }
        changeUnclaimed { $0.removeAll { $0 == request.cartridge || $0 == path || $0 == target } }
        logger.notice(
            "cartridge adopted", metadata: ["library": "\(name)", "cartridge": "\(found.barcode)", "from": "\(path)"])
        let adopted = try cartridgeRecord(found.barcode, library: library)
        return resource(adopted, in: library, assembly.examine([adopted], of: library, in: home))
    }

    /// Makes a library of a folder of cartridges that no library has. They go to the slots, by barcode, and to the
    /// vault where there are no more; those that cannot be used stay as they are.
    @discardableResult
    func adoptLibrary(_ request: LibraryAdoption) throws(ManagementError) -> LibraryAdoptionResult {
        try DeviceName.check(request.name, of: "library")
        try checkNameIsFree(request.name)
        let path = folder.libraryPath(request.name)
        guard folder.exists(path) else {
            throw ManagementError(
                .notFound, "there is no folder \(path); 'carousel status' shows what the catalog does not know")
        }
        var left: [String] = []
        var found: [AdoptedCartridge] = []
        let suffix = StateFolder.cartridgeSuffix
        for name in folder.names(in: path) where name.hasSuffix(suffix) && !name.hasPrefix(".") {
            do throws(ManagementError) {
                let barcode = String(name.dropLast(suffix.count))
                let cartridge = try assembly.inspect(
                    cartridge: barcode, in: path, driveProfile: request.driveProfile)
                guard cartridge.barcode == barcode else {
                    throw ManagementError(
                        .conflict, "\(path)/\(name) holds cartridge '\(cartridge.barcode)'; adopt it with its path")
                }
                try check(cartridge, profile: request.profile, driveProfile: request.driveProfile)
                if let other = found.first(where: { $0.serialNumber == cartridge.serialNumber }) {
                    throw ManagementError(
                        .conflict, "\(path)/\(name) has the serial number of '\(other.barcode)': it is a copy")
                }
                found.append(cartridge)
            } catch {
                left.append(error.message)
            }
        }
        guard !found.isEmpty else {
            throw left.first.map {
                ManagementError(
                    .conflict, "no cartridge in \(path) can be taken up: \($0)\(left.count > 1 ? ", and so on" : "")")
            }
                ?? ManagementError(
                    .conflict,
                    "there is no cartridge in \(path), so no library to take up: put folders BARCODE\(suffix) there, "
                        + "or remove it and make a library with 'carousel library create \(request.name)'")
        }
        let new = NewLibrary(
            name: request.name, targetName: DeviceName.targetName(request.name), profile: request.profile,
            driveProfile: request.driveProfile, driveCount: request.drives,
            slotCount: request.slots ?? max(1, min(found.count, Int(Library.maximumSlots))),
            mailSlotCount: request.mailSlots)
        try Library.Spec(
            profile: new.profile, drives: new.driveCount, driveProfile: new.driveProfile, slots: new.slotCount,
            mailSlots: new.mailSlotCount
        ).check()
        try assembly.check(new)
        let event = event("adopt", "library", request.name, new: ["cartridges": .integer(Int64(found.count))])
        let library = try query { () throws(CatalogError) in
            try catalog.addLibrary(
                new, cartridges: [], adopted: found, created: Date(), phase: .complete, event: event)
        }
        do throws(ManagementError) {
            try start(library)
        } catch {
            assembly.stopLibrary(library, targetName: DeviceName.targetName(library.name))
            giveUp("library", library.name) { () throws(CatalogError) in
                try catalog.removeLibrary(named: library.name)
            }
            throw error
        }
        changeUnclaimed { $0.removeAll { folder.resolved($0) == folder.resolved(path) } }
        logger.notice(
            "library adopted",
            metadata: ["library": "\(request.name)", "cartridges": "\(found.count)", "left": "\(left.count)"])
        return LibraryAdoptionResult(library: try self.library(request.name), left: left)
    }

    // MARK: Checks

    /// Refuses a cartridge that the library cannot use, or that is there already.
    private func check(
        _ cartridge: AdoptedCartridge, for library: LibraryRecord, driveProfile: String
    ) throws(ManagementError) {
        try check(cartridge, profile: library.profile, driveProfile: driveProfile)
        let other = try query { () throws(CatalogError) in
            try catalog.cartridge(cartridge.barcode, library: library.identity.id)
        }
        if let other {
            throw ManagementError(
                .conflict,
                "barcode '\(cartridge.barcode)' is used already in library '\(library.name)', by the cartridge in "
                    + "\(other.location)")
        }
    }

    private func check(
        _ cartridge: AdoptedCartridge, profile: String, driveProfile: String
    ) throws(ManagementError) {
        try Barcode.check(cartridge.barcode)
        try assembly.checkBarcode(cartridge.barcode, libraryProfile: profile, driveProfile: driveProfile)
        guard !cartridge.serialNumber.isEmpty, cartridge.capacity > 0 else {
            throw ManagementError(.damaged, "cartridge '\(cartridge.barcode)' has no serial number or no capacity")
        }
        let owner = try query { () throws(CatalogError) in
            try catalog.cartridge(serialNumber: cartridge.serialNumber)
        }
        if let owner {
            throw ManagementError(
                .conflict,
                "cartridge '\(cartridge.barcode)' has the serial number of '\(owner.barcode)' of library "
                    + "'\(owner.library)': it is that cartridge, or a copy of it")
        }
    }

    /// Refuses the folder of a cartridge that a row claims, or that belongs to another daemon.
    private func checkIsUnclaimed(_ path: String) throws(ManagementError) {
        let root = folder.resolved(folder.path)
        guard path.hasPrefix(root + "/") else { return try folder.checkIsNoDaemons(path) }
        let parts = path.dropFirst(root.count + 1).split(separator: "/").map(String.init)
        guard parts.count == 3, parts[0] == "libraries" else {
            throw ManagementError(.invalid, "\(path) is no cartridge of a library's folder; move it out of there first")
        }
        guard let library = try query({ () throws(CatalogError) in try catalog.library(named: parts[1]) }) else {
            return
        }
        let barcode = String(parts[2].dropLast(StateFolder.cartridgeSuffix.count))
        let owner = try query { () throws(CatalogError) in
            try catalog.cartridge(barcode, library: library.identity.id)
        }
        guard owner == nil, library.phase == .complete else {
            throw ManagementError(.conflict, "\(path) belongs to library '\(parts[1])' already")
        }
    }

    /// Refuses when cartridges that no row claims lie in the folder of the library, for they would go with it.
    func checkHasNoStrangers(_ library: LibraryRecord) throws(ManagementError) {
        guard library.phase == .complete else { return }
        let path = folder.libraryPath(library.name)
        let suffix = StateFolder.cartridgeSuffix
        let known = Set(try cartridgeRecords(library).map { $0.barcode + suffix })
        let stranger = folder.names(in: path).first {
            $0.hasSuffix(suffix) && !$0.hasPrefix(".") && !known.contains($0)
        }
        guard let stranger else { return }
        throw ManagementError(
            .conflict,
            "\(path)/\(stranger) would go with library '\(library.name)', and belongs to no cartridge of it; "
                + "move it away, or take it up with 'carousel adopt tape'")
    }

    // MARK: Steps back

    /// Removes the rows of what could not be started. The files stay; so do the rows if they cannot be removed, and the
    /// next round tries again to serve them.
    func giveUp(_ kind: String, _ name: String, _ remove: () throws(CatalogError) -> Void) {
        defer { noteForgotten(name) }
        do throws(ManagementError) {
            try query(remove)
            forgetFormerPlans()
        } catch {
            setProblem("\(kind) '\(name)' was adopted, but cannot be served", of: name)
            logger.error("not served", metadata: ["name": "\(name)", "reason": "\(error.message)"])
        }
    }

    private func moveBack(_ path: String, to origin: String) {
        do {
            try folder.move(path, to: origin)
        } catch {
            changeUnclaimed { $0.append(path) }
            logger.error("not moved back", metadata: ["path": "\(path)", "reason": "\(error.message)"])
        }
    }
}

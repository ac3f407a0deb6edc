import Catalog
import Foundation
import Logging
import Platform
import Resources

import enum Media.ImageKeyFile

extension ControlPlane {
    /// Makes disks of what an image of disks with snapshots in the state folder has: all of its disks, under the names
    /// that they have there, of an encrypted one with the key that `request` says. It gives the first one, by name.
    func adoptNodes(
        ofImage path: String, _ name: String?, _ request: DiskAdoption
    ) throws(ManagementError) -> Resource<Disk> {
        let image = StateFolder.imageFolder + "/" + (path as NSString).lastPathComponent
        guard folder.resolved(folder.imagePath(image)) == folder.resolved(path) else {
            throw ManagementError(
                .invalid,
                "image \(path) is in a folder of its own; move it into \(folder.path)/\(StateFolder.imageFolder)")
        }
        let encryption = try request.encryption()
        try checkKeyIsThere(ofImage: path, encryption)
        let users = try query { () throws(CatalogError) in try catalog.disks(image: image) }
        try Self.checkIsKey(of: users, encryption, ofImage: path)
        let key = try userKey(of: encryption, disk: name ?? diskName(request))
        let known = Set(users.compactMap(\.node))
        let heads = try assembly.nodes(inImage: path, userKey: key).filter {
            !$0.isSnapshot && !known.contains($0.name) && !Self.isHidden($0.name)
        }
        .sorted { $0.name < $1.name }
        guard let first = heads.first else {
            if let user = users.first {
                throw ManagementError(.conflict, "image \(path) is already the medium of disk '\(user.name)'")
            }
            throw ManagementError(.damaged, "there is no disk in image \(path), only snapshots")
        }
        if let name, name != first.name || heads.count > 1 {
            throw ManagementError(
                .invalid,
                "image \(path) has \(heads.map { "disk '\($0.name)'" }.joined(separator: ", ")); its disks keep their "
                    + "names, so leave out the name")
        }
        for head in heads {
            try DeviceName.check(head.name, of: "disk")
            try checkNameIsFree(head.name)
        }
        var made: [DiskRecord] = []
        do throws(ManagementError) {
            for head in heads {
                var spec = Disk.Spec(size: head.size, blockSize: head.blockSize)
                spec.format = .carousel
                spec.encryptionKeyFile = encryption.encryptionKeyFile
                spec.encryptionKeyCommand = encryption.encryptionKeyCommand
                spec.hasChecksums = head.hasChecksums
                let wanted = spec
                let event = event("adopt", "disk", head.name, new: ["image": .text(path)])
                let disk = try query { () throws(CatalogError) in
                    try catalog.addDisk(
                        name: head.name, targetName: DeviceName.targetName(head.name), wanted, image: image,
                        node: head.name, imageIsExternal: false, created: Date(), phase: .complete, event: event)
                }
                made.append(disk)
                try offer(disk, key)
            }
        } catch {
            for disk in made {
                assembly.stopDisk(disk, targetName: DeviceName.targetName(disk.name))
                giveUp("disk", disk.name) { () throws(CatalogError) in try catalog.removeDisk(named: disk.name) }
            }
            throw error
        }
        let files = [path, ImageKeyFile.path(ofImage: path)].map { folder.resolved($0) }
        changeUnclaimed { $0.removeAll { files.contains(folder.resolved($0)) } }
        logger.notice("disks adopted", metadata: ["disks": "\(heads.count)", "image": "\(path)"])
        return try disk(first.name)
    }

    /// Refuses a key from elsewhere than that of `users`, which are in the image: where it has to be opened, nobody
    /// knows for which of its disks.
    private static func checkIsKey(
        of users: [DiskRecord], _ encryption: Disk.Spec, ofImage path: String
    ) throws(ManagementError) {
        let other = users.first { user in
            let spec = user.spec
            return user.phase == .complete && user.damage == nil
                && (spec.encryptionKeyFile, spec.encryptionKeyCommand)
                    != (encryption.encryptionKeyFile, encryption.encryptionKeyCommand)
        }
        guard let other else { return }
        let source =
            other.spec.encryptionKeyFile.map { "--encryption-key-file \($0)" }
            ?? other.spec.encryptionKeyCommand.map { "--encryption-key-command '\($0)'" } ?? "no key"
        throw ManagementError(
            .conflict,
            "disk '\(other.name)' is in image \(path) too, and all disks in an image have their key from one place; "
                + "give \(source)",
            field: encryption.encryptionKeyFile == nil ? "encryptionKeyCommand" : "encryptionKeyFile")
    }
}

import Catalog
import Foundation
import Resources

extension DiskDriver: ConfiguredDriver {
    static var needs: [String] { [] }

    static func present(_ plane: ControlPlane) throws(ManagementError) -> [(name: String, spec: Disk.Spec)] {
        let complete = Set(
            try plane.query { () throws(CatalogError) in try plane.catalog.disks() }
                .filter { $0.phase == .complete }.map(\.name))
        return try plane.disks().filter { complete.contains($0.name) }.map { disk in
            var spec = disk.spec
            // A disk that is older than the choice is raw, and one that is made of its spec elsewhere has to be.
            spec.format = spec.imageFormat
            return (name: disk.name, spec: spec)
        }
    }

    /// The size in whole blocks, and the image without symbolic links.
    static func normalized(_ members: Members, of name: String, present: Disk.Spec?) -> Members {
        var members = members
        if let image = members["image"]?.text {
            members["image"] = .text(URL(fileURLWithPath: image).resolvingSymlinksInPath().path)
        }
        guard case .integer(let size)? = members["size"] else { return members }
        var block = Int64(present?.blockSize ?? Disk.Spec().blockSize)
        if case .integer(let given)? = members["blockSize"], given > 0 { block = given }
        let (sum, overflows) = size.addingReportingOverflow(block - 1)
        members["size"] = .integer(overflows ? size : sum / block * block)
        return members
    }

    static func companions(_ name: String, _ spec: Disk.Spec) -> [Companion] {
        [ISCSITargetDriver.companion(name, units: [0: name])]
    }

    static func check(
        _ name: String, _ spec: Disk.Spec, isNew: Bool, in model: ConfigurationModel, _ plane: ControlPlane
    ) throws(ManagementError) {
        guard isNew else { return }
        try plane.checkNameIsFree(name)
        try model.checkIsOnlyDevice(name)
        if let image = spec.image {
            let image = plane.folder.resolved(image)
            _ = try plane.checkExternalImage(image, size: spec.size, blockSize: spec.blockSize)
            try plane.checkHasNoProtection(externalImage: image)
        }
    }

    /// Initiators have seen the new size.
    static func isFinal(from former: Disk.Spec, to wanted: Disk.Spec) -> Bool { former.size != wanted.size }

    static func make(_ name: String, _ spec: Disk.Spec, _ plane: ControlPlane) throws(ManagementError) {
        try plane.createDisk(name, spec)
    }

    static func alter(
        _ name: String, from former: Disk.Spec, to wanted: Disk.Spec, _ plane: ControlPlane
    ) throws(ManagementError) {
        _ = try plane.changeDisk(name, to: wanted)
    }

    static func remove(_ name: String, _ spec: Disk.Spec, _ plane: ControlPlane) throws(ManagementError) {
        try plane.deleteDisk(name)
    }
}

extension ConfigurationModel {
    /// Refuses a name that a disk and a library have.
    func checkIsOnlyDevice(_ name: String) throws(ManagementError) {
        guard self[Disk.description.plural, name] != nil, self[Library.description.plural, name] != nil else { return }
        throw ManagementError(.conflict, "a disk and a library have the name '\(name)'; choose another for one of them")
    }
}

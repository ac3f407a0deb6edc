import Catalog
import Logging
import Resources

// The media of removable disks.
extension ControlPlane {
    /// Ejects the medium of the disk `name`, unless initiators prevent that and nobody insists.
    func ejectDisk(_ name: String, isForced: Bool) throws(ManagementError) -> Resource<Disk> {
        let disk = try removableDisk(name)
        try assembly.ejectDisk(disk, isForced: isForced) { () throws(ManagementError) in
            try keepMedium(of: disk, isEjected: true, "eject")
        }
        logger.info("medium ejected", metadata: ["disk": "\(name)"])
        return try self.disk(name)
    }

    /// Loads the medium of the disk `name`.
    func loadDisk(_ name: String) throws(ManagementError) -> Resource<Disk> {
        let disk = try removableDisk(name)
        try assembly.loadDisk(disk) { () throws(ManagementError) in
            try keepMedium(of: disk, isEjected: false, "load")
        }
        logger.info("medium loaded", metadata: ["disk": "\(name)"])
        return try self.disk(name)
    }

    private func removableDisk(_ name: String) throws(ManagementError) -> DiskRecord {
        let disk = try diskRecord(name)
        if let problem = problems[name] { throw Self.unrepaired(problem) }
        guard disk.spec.isRemovable else {
            throw ManagementError(
                .conflict,
                "disk '\(name)' is not removable; only disks that are made with --removable have a medium to eject or "
                    + "load")
        }
        try Effect.begin()
        return disk
    }

    private func keepMedium(of disk: DiskRecord, isEjected: Bool, _ verb: String) throws(ManagementError) {
        let event = event(verb, "disk", disk.name)
        try query { () throws(CatalogError) in
            try catalog.setEjected(isEjected, disk: disk.identity.id, event: event)
        }
    }
}

extension Disk.Spec {
    /// Whether `other` says something else of what a running disk can be told, but for its size.
    func isAdjusted(in other: Disk.Spec) -> Bool {
        isReadOnly != other.isReadOnly || cache != other.cache || threshold != other.threshold
            || spaceLimit != other.spaceLimit
    }
}

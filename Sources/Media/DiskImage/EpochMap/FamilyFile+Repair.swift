public import Encryption
internal import Platform

/// Repairs, of a file that is open or of one that nobody has open.
extension FamilyFile {
    /// Mends the file at `path`, which nobody has open, with an exclusive lock; an encrypted one with its `userKey`. It
    /// reads all maps.
    public static func repair(path: String, userKey: UserKey? = nil) throws(DiskImageError) -> FamilyRepairReport {
        let (file, encryption) = try lockedFile(path, userKey)
        // What the cache holds may be what the device has not.
        if file.notedLoss != nil { file.dropCache() }
        do throws(FamilyError) {
            guard let encryption else { return try FamilyRepair.repair(file) }
            try checkIsNotErased(encryption)
            return try FamilyRepair.repair(encryption.store)
        } catch {
            throw .family(path: path, error)
        }
    }

    /// Mends the file while its disks are in use: when something is to be mended, their commands wait until that is
    /// done. Refused after a loss of written data that nobody has acknowledged.
    public func repair() throws(FamilyError) -> FamilyRepairReport {
        guard !isClosed else { throw .closed }
        if let loss { throw .dataLost(loss) }
        let (found, stuck) = withFamily { ($0.report(), $0.stuckDeletions) }
        // Another opening tries deletions again that did not go on.
        if found.findingCount == 0, stuck.isEmpty { return FamilyRepairReport() }
        let result = structure.withLock { structure -> Result<FamilyRepairReport, FamilyError> in
            guard !structure.isClosed else { return .failure(.closed) }
            if let loss { return .failure(.dataLost(loss)) }
            return reopenFamily { () throws(FamilyError) in try FamilyRepair.repair(store) }
        }
        if withFamily({ $0.failureCode }) != 0 { noteFailure() }
        structure.withLock { $0.merger }?.start()
        return try result.get()
    }
}

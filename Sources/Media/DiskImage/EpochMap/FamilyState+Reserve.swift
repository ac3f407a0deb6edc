/// What a commit on a full host needs.
extension FamilyState {
    /// The units that the reserve should have for the disks that there are.
    var reserveUnits: UInt64 { EpochFormat.reserveUnits(capacity: largestCapacity) }

    /// How many pages a commit of now writes at most, but for bits of the free map that are far from each other.
    var commitPages: UInt64 {
        let changed = UInt64(changedRegions)
        let levels = UInt64(NodeRecord.levels(capacity: largestCapacity))
        let layers = UInt64(closedLayers + heads.count)
        let upper = min(changed * levels, layers * EpochFormat.upperPages(capacity: largestCapacity))
        let freeMap = EpochFormat.freeMapLeaves(units: units.end) + EpochFormat.upperPages(capacity: units.end << 6)
        return changed + upper + UInt64(table.dirtyLeaves.count + 2) + min(freeMap, 4 + changed) + 2
    }
}

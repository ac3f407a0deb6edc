public import Resources

// Disks and snapshots with the space that they take: for people, and who asks for the API. Nobody else counts it.
extension Controller {
    /// The disks of the page. What is not counted in the time that there is for that is left out.
    public func spaciousDisks(_ page: Page = .all) async throws(ManagementError) -> [Resource<Disk>] {
        try await query(in: page.waitsForSpace ? .long : .short) { plane throws(ManagementError) in
            try plane.spaciousDisks(page)
        }
    }

    public func spaciousDisk(_ name: String) async throws(ManagementError) -> Resource<Disk> {
        try await query { plane throws(ManagementError) in try plane.spaciousDisk(name) }
    }

    /// The snapshots of the page.
    public func spaciousSnapshots(_ page: Page = .all) async throws(ManagementError) -> [Resource<Snapshot>] {
        try await query(in: .long) { plane throws(ManagementError) in try plane.spaciousSnapshots(page) }
    }

    public func spaciousSnapshot(_ name: String) async throws(ManagementError) -> Resource<Snapshot> {
        try await query(in: .long) { plane throws(ManagementError) in try plane.spaciousSnapshot(name) }
    }
}

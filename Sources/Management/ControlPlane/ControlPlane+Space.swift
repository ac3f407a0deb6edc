import Catalog
import Platform
import Resources

/// How much space something takes, in bytes; nil where that is not known.
public struct ContentSpace: Hashable, Sendable {
    /// What has storage.
    public var used: Int64?
    /// What its deletion alone would give back.
    public var unique: Int64?

    public init(used: Int64? = nil, unique: Int64? = nil) {
        self.used = used
        self.unique = unique
    }
}

/// How long is waited for the space of things. What is not counted then, the next who asks goes on with.
enum SpacePatience {
    /// For a page of a list.
    case list
    /// For one thing.
    case one
    /// For a page of a list, where that is asked for.
    case asked

    /// How long is counted: a list of 10,000 snapshots has ten pages, and is there in about a second.
    var counting: Duration {
        switch self {
        case .list: .milliseconds(50)
        case .one: .milliseconds(500)
        case .asked: .seconds(20)
        }
    }

    /// How long an image may not answer.
    var answer: Duration { counting + .seconds(1) }
}

// How much space disks and snapshots take. It is counted in their images, on threads of `spaceLooks`.
extension ControlPlane {
    /// The disks of the page with their space.
    func spaciousDisks(_ page: Page) throws(ManagementError) -> [Resource<Disk>] {
        let records = try query { () throws(CatalogError) in try catalog.disks(after: page.after, limit: page.length) }
        let sessions = assembly.sessionCounts()
        let last = page.slice(records.map { resource($0, sessions) })
        return spacious(last, records, page.waitsForSpace ? .asked : .list)
    }

    /// The disk with its space.
    func spaciousDisk(_ name: String) throws(ManagementError) -> Resource<Disk> {
        let record = try diskRecord(name)
        return spacious([resource(record)], [record], .one)[0]
    }

    private func spacious(
        _ disks: [Resource<Disk>], _ records: [DiskRecord], _ patience: SpacePatience
    ) -> [Resource<Disk>] {
        let wanted = Set(disks.map(\.name))
        let counted = records.filter { wanted.contains($0.name) && $0.phase == .complete && problems[$0.name] == nil }
        let items = Dictionary(grouping: counted, by: \.image).map { (name: $0.key, item: $0.value) }
        let deadline = MonotonicTime.current() + patience.counting
        let found = spaceLooks.look(at: items, within: patience.answer) {
            [assembly] disks -> (spaces: [String: ContentSpace], allocated: Int64?) in
            var spaces: [String: ContentSpace] = [:]
            for disk in disks { spaces[disk.name] = assembly.space(of: disk, until: deadline) }
            return (spaces, disks.first.flatMap { assembly.allocatedBytes(ofDisk: $0) })
        }
        let images = counted.reduce(into: [String: String]()) { $0[$1.name] = $1.image }
        return disks.map { disk in
            guard let image = images[disk.name], let (spaces, allocated) = found[image] else { return disk }
            var disk = disk
            (disk.status.used, disk.status.unique) = (spaces[disk.name]?.used, spaces[disk.name]?.unique)
            disk.status.allocated = allocated
            return disk
        }
    }

    /// The snapshots of the page with their space.
    func spaciousSnapshots(_ page: Page) throws(ManagementError) -> [Resource<Snapshot>] {
        let snapshots = page.slice(try snapshots(ofDisk: page.whole))
        return try spacious(snapshots, page.waitsForSpace ? .asked : .list)
    }

    /// The snapshot with its space.
    func spaciousSnapshot(_ name: String) throws(ManagementError) -> Resource<Snapshot> {
        try spacious([try snapshot(name)], .one)[0]
    }

    private func spacious(
        _ snapshots: [Resource<Snapshot>], _ patience: SpacePatience
    ) throws(ManagementError) -> [Resource<Snapshot>] {
        var images: [String: String] = [:]
        for disk in Set(snapshots.map(\.status.disk)) { images[disk] = try diskRecord(disk).image }
        let items = Dictionary(grouping: snapshots) { images[$0.status.disk] ?? "" }
            .map { (name: $0.key, item: $0.value.map(\.name)) }
        let deadline = MonotonicTime.current() + patience.counting
        let asked = items.map { item in
            (name: item.name, item: (path: folder.imagePath(item.name), names: item.item))
        }
        let found = spaceLooks.look(at: asked, within: patience.answer) { [assembly] item in
            assembly.space(ofSnapshots: item.names, inImage: item.path, until: deadline)
        }
        return snapshots.map { snapshot in
            guard let space = found[images[snapshot.status.disk] ?? ""]?[snapshot.name] else { return snapshot }
            var snapshot = snapshot
            (snapshot.status.used, snapshot.status.reclaimable) = (space.used, space.unique)
            return snapshot
        }
    }
}

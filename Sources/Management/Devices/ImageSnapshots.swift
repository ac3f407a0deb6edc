public import Catalog
public import Foundation
import Media
import Platform
import Resources

/// A snapshot in an image.
public struct ImageSnapshot: Hashable, Sendable {
    /// `DISK@NAME`
    public let name: String
    /// In bytes.
    public let size: Int64
    public let created: Date
    public let lockedUntil: Date?
    /// The disks that were made of it, by name.
    public let clones: [String]
    /// Which content it has: 16 bytes.
    public let uuid: [UInt8]

    public init(
        name: String, size: Int64, created: Date, lockedUntil: Date? = nil, clones: [String] = [],
        uuid: [UInt8] = [UInt8](repeating: 0, count: 16)
    ) {
        self.uuid = uuid
        self.name = name
        self.size = size
        self.created = created
        self.lockedUntil = lockedUntil
        self.clones = clones
    }
}

/// A snapshot that is to be made.
public struct NewSnapshot: Sendable {
    public let disk: DiskRecord
    public let imagePath: String
    /// `DISK@NAME`
    public let name: String

    public init(disk: DiskRecord, imagePath: String, name: String) {
        self.disk = disk
        self.imagePath = imagePath
        self.name = name
    }
}

extension ImageSnapshot {
    /// Those of the nodes of an image, in the order in which they were made.
    static func all(of nodes: [FamilyNode]) -> [ImageSnapshot] {
        let children = Dictionary(grouping: nodes.filter { !$0.isBeingDeleted }, by: \.parent)
        return nodes.filter { $0.kind == .snapshot && !$0.isBeingDeleted && !$0.name.isEmpty }
            .sorted { $0.number < $1.number }.map { node in
                ImageSnapshot(
                    name: node.name, size: node.capacity, created: Date(node.time),
                    lockedUntil: node.lockedUntil.map { Date($0) },
                    clones: clones(of: node, children), uuid: node.uuid)
            }
    }

    /// The other disks that begin at `node`, or at a snapshot below it whose name is gone.
    private static func clones(of node: FamilyNode, _ children: [UInt32: [FamilyNode]]) -> [String] {
        let own = disk(of: node)
        var (found, pending) = (Set<String>(), children[node.number] ?? [])
        while let next = pending.popLast() {
            guard !next.name.isEmpty else {
                pending += children[next.number] ?? []
                continue
            }
            found.insert(disk(of: next))
        }
        return found.subtracting([own]).sorted()
    }

    private static func disk(of node: FamilyNode) -> String { SnapshotName(node.name)?.disk ?? node.name }
}

extension Date {
    init(_ time: CalendarTime) { self.init(timeIntervalSince1970: TimeInterval(time.seconds)) }
}

extension CalendarTime {
    /// The moment, in whole seconds; nil when it is outside of what can be kept.
    init?(_ date: Date) {
        guard let seconds = Int64(exactly: date.timeIntervalSince1970.rounded(.down)) else { return nil }
        self.init(seconds: seconds)
    }
}

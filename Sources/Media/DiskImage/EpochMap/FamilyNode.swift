public import Platform
internal import Synchronization

/// A version of a disk: a head, which is written, or a snapshot, which is not.
public struct FamilyNode: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        case head
        case snapshot
    }

    /// From 1 on, never given twice in a family.
    public let number: UInt32
    /// The snapshot that it was made of; 0 for none.
    public let parent: UInt32
    public let kind: Kind
    /// Empty when it is gone, and only descendants need the node.
    public let name: String
    /// Of a snapshot, the last epoch that it sees; of a head, that of its parent, 0 without one.
    public let epoch: UInt32
    /// In bytes.
    public let capacity: Int64
    /// The bytes of a logical block.
    public let blockSize: Int
    /// When it was made.
    public let time: CalendarTime
    /// 16 bytes, unlike those of any other node but of snapshots with the same content: one that was made of a delta
    /// stream has that of its origin.
    public let uuid: [UInt8]
    /// Whether what only it has is being freed.
    public let isBeingDeleted: Bool
    /// Until when `DiskFamily.delete` refuses the snapshot; nil when it was never locked.
    public let lockedUntil: CalendarTime?

    init(_ record: NodeRecord) {
        number = record.number
        parent = record.parent
        kind = record.kind == .head ? .head : .snapshot
        name = record.name
        epoch = record.epoch
        capacity = Int64(clamping: record.capacity)
        blockSize = record.blockSize
        time = record.time
        uuid = record.uuid
        isBeingDeleted = record.isBeingDeleted
        lockedUntil = record.lockedUntil
    }
}

/// What commands on a head look into without the family's lock.
final class LiveHead: Sendable {
    let number: UInt32
    let map: RegionMap
    /// In bytes; it grows.
    let capacity: Atomic<UInt64>
    /// Data born in this epoch or before are not overwritten in place; `closed` when nothing is written any more.
    let protectedEpoch: Atomic<UInt32>
    /// Whether nothing is overwritten in place, whatever it is.
    let isCopied: Bool

    /// Above all epochs.
    static let closed = UInt32.max

    init(number: UInt32, map: RegionMap, capacity: UInt64, protectedEpoch: UInt32, isCopied: Bool = false) {
        self.isCopied = isCopied
        self.number = number
        self.map = map
        self.capacity = Atomic(capacity)
        self.protectedEpoch = Atomic(protectedEpoch)
    }

    /// Whether it still is a head.
    var isOpen: Bool { protectedEpoch.load(ordering: .sequentiallyConsistent) != Self.closed }

    /// Whether `entry` may be overwritten in place.
    func mayOverwrite(_ entry: MapEntry) -> Bool {
        !isCopied && entry.isData && entry.isConfirmed
            && entry.birth > protectedEpoch.load(ordering: .sequentiallyConsistent)
    }
}

/// A node in memory, under the family's lock.
final class TreeNode {
    var record: NodeRecord
    /// Those whose parent it is.
    var children: [UInt32] = []
    /// Of a head the topmost one, which collects changes; of a snapshot the one that has its map.
    var layer: MapLayer
    /// Of a head that is written.
    var live: LiveHead?
    /// The table of its map at which leaves are given up next.
    var nextToGiveUp = 0

    init(_ record: NodeRecord, layer: MapLayer) {
        self.record = record
        self.layer = layer
    }

    var number: UInt32 { record.number }
    var isWritable: Bool { live != nil }
}

import Platform

@testable import Media

/// A finding of a test of disks with snapshots, in words.
struct ProofFailure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Which blocks of 512 bytes of a disk a test uses: those of a few windows. Places are counted through all of them.
struct DiskLayout: Sendable {
    static let blockLength = 512
    /// Blocks of a unit.
    static let unitBlocks = 8

    let windows: [Range<Int>]
    /// Blocks of the disk when it is made.
    let capacity: Int
    /// Whether the family has checksums of data.
    private(set) var hasChecksums = false

    /// The same of a family that has checksums of data, or has not.
    func withChecksums(_ hasChecksums: Bool = true) -> DiskLayout {
        var copy = self
        copy.hasChecksums = hasChecksums
        return copy
    }

    /// The whole disk, of so many units, and what it may grow to.
    init(units: Int, growsTo most: Int? = nil) {
        capacity = units * Self.unitBlocks
        windows = [0..<(most ?? units) * Self.unitBlocks]
    }

    init(windows: [Range<Int>], capacity: Int) {
        self.windows = windows
        self.capacity = capacity
    }

    var count: Int { windows.reduce(0) { $0 + $1.count } }

    /// The block at a place.
    func block(_ place: Int) -> Int {
        var rest = place
        for window in windows {
            if rest < window.count { return window.lowerBound + rest }
            rest -= window.count
        }
        return (windows.last?.upperBound ?? 0) + rest
    }

    /// How many places from `place` on lie in one window.
    func room(at place: Int) -> Int {
        var rest = place
        for window in windows {
            if rest < window.count { return window.count - rest }
            rest -= window.count
        }
        return 0
    }
}

/// What an operation does to a family. Blocks of data are told by a number, which fills the block; zero is a block of
/// zeros.
enum FamilyChange: Sendable {
    case nothing
    case write(head: UInt32, first: Int, tags: [UInt64])
    case flush
    case snapshot(heads: [UInt32], made: [UInt32], names: [String])
    case clone(of: UInt32, made: UInt32, name: String)
    case rollBack(head: UInt32, to: UInt32, made: UInt32, name: String)
    case delete(UInt32)
    case resize(head: UInt32, capacity: Int)
    /// Until then, in seconds since 1970.
    case lock(UInt32, Int64)

    var isStructural: Bool {
        switch self {
        case .nothing, .write, .flush: false
        default: true
        }
    }
}

extension FamilyChange {
    /// The change with the numbers that what it made has in a family; nil when it was not made.
    func resolved(_ model: FamilyModel, _ found: FamilyInspection) -> FamilyChange? {
        func number(_ name: String) -> UInt32? { found.nodes.first { $0.name == name }?.number }
        switch self {
        case .snapshot(let heads, _, let names):
            let made = names.compactMap { number($0) }
            return made.count == names.count ? .snapshot(heads: heads, made: made, names: names) : nil
        case .clone(let snapshot, _, let name):
            return number(name).map { .clone(of: snapshot, made: $0, name: name) }
        case .rollBack(let head, let snapshot, _, let name):
            guard let own = model.nodes[head]?.name, let made = number(own), made != head else { return nil }
            return .rollBack(head: head, to: snapshot, made: made, name: name)
        default: return self
        }
    }
}

/// A family as the simplest of programs would keep it: of each node all blocks; and of heads what a crash may leave.
struct FamilyModel {
    struct Node {
        var number: UInt32
        var parent: UInt32
        var isHead: Bool
        var name: String
        /// In blocks.
        var capacity: Int
        /// Until when it is locked, in seconds since 1970; 0: it is not.
        var lock: Int64 = 0
        /// What reads give.
        var current: [UInt64]
        /// What was there at the last flush.
        var durable: [UInt64]
        /// What was written since, by place; a crash may leave any of it.
        var later: [Int: [UInt64]] = [:]
    }

    let layout: DiskLayout
    private(set) var nodes: [UInt32: Node] = [:]
    /// Nodes that were deleted, and their parents then.
    private(set) var gone: [UInt32: UInt32] = [:]
    /// Snapshots that are equal to a head, whatever a crash has left of it.
    private var equals: [(UInt32, UInt32)] = []

    init(layout: DiskLayout, head: UInt32, name: String) {
        self.layout = layout
        let zeros = [UInt64](repeating: 0, count: layout.count)
        nodes[head] = Node(
            number: head, parent: 0, isHead: true, name: name, capacity: layout.capacity, current: zeros, durable: zeros
        )
    }

    var heads: [UInt32] { nodes.values.filter(\.isHead).map(\.number).sorted() }
    var snapshots: [UInt32] { nodes.values.filter { !$0.isHead }.map(\.number).sorted() }

    /// The snapshots above a node that were not deleted.
    func ancestors(of node: UInt32) -> [UInt32] {
        var ancestors: [UInt32] = []
        var next = living(nodes[node]?.parent ?? 0)
        while let node = nodes[next] {
            ancestors.append(next)
            next = living(node.parent)
        }
        return ancestors
    }

    /// The number of places in a node's capacity.
    func places(_ node: UInt32) -> Int {
        guard let node = nodes[node] else { return 0 }
        return layout.windows.reduce(0) { $0 + max(0, min($1.upperBound, node.capacity) - $1.lowerBound) }
    }

    /// What has begun: from now on a crash may leave it.
    mutating func start(_ change: FamilyChange) {
        guard case .write(let head, let first, let tags) = change else { return }
        for (number, tag) in tags.enumerated() { nodes[head]?.later[first + number, default: []].append(tag) }
    }

    /// What is done; `isAcknowledged` unless only a crash tells.
    mutating func finish(_ change: FamilyChange, isAcknowledged: Bool = true) {
        switch change {
        case .nothing: break
        case .write(let head, let first, let tags):
            nodes[head]?.current.replaceSubrange(first..<first + tags.count, with: tags)
        case .flush:
            for head in heads { makeDurable(head) }
        case .snapshot(let heads, let made, let names):
            for (number, head) in heads.enumerated() {
                if isAcknowledged { makeDurable(head) } else { equals.append((made[number], head)) }
                guard var node = nodes[head] else { continue }
                node.number = made[number]
                node.name = names[number]
                node.isHead = false
                nodes[made[number]] = node
                nodes[head]?.parent = made[number]
            }
        case .clone(let snapshot, let made, let name):
            addHead(made, below: snapshot, name)
        case .rollBack(let head, let snapshot, let made, let name):
            guard let old = nodes[head] else { return }
            if isAcknowledged { makeDurable(head) }
            nodes[head]?.isHead = false
            nodes[head]?.name = name
            addHead(made, below: snapshot, old.name)
        case .delete(let node):
            gone[node] = nodes[node]?.parent ?? 0
            nodes[node] = nil
        case .resize(let head, let capacity):
            nodes[head]?.capacity = capacity
        case .lock(let node, let seconds): nodes[node]?.lock = seconds
        }
    }

    private mutating func makeDurable(_ head: UInt32) {
        guard let node = nodes[head] else { return }
        nodes[head]?.durable = node.current
        nodes[head]?.later = [:]
    }

    private mutating func addHead(_ made: UInt32, below snapshot: UInt32, _ name: String) {
        guard var node = nodes[snapshot] else { return }
        node.number = made
        node.parent = snapshot
        node.name = name
        node.isHead = true
        node.lock = 0
        nodes[made] = node
    }

    // MARK: Comparing

    /// What is wrong with what was found in a family, if anything; `isLive` when no crash has been.
    func difference(from found: FamilyInspection, isLive: Bool) -> String? {
        if let failure = found.failure { return failure }
        if let difference = structureDifference(from: found) { return difference }
        for node in nodes.values {
            guard let tags = found.contents[node.number] else { return "node \(node.number) was not read" }
            if let difference = Self.difference(node, tags, isLive: isLive, layout) { return difference }
        }
        for (snapshot, head) in equals where found.contents[snapshot] != found.contents[head] {
            return "snapshot \(snapshot) is another than its head \(head)"
        }
        return nil
    }

    private func structureDifference(from found: FamilyInspection) -> String? {
        for node in found.nodes {
            guard let expected = nodes[node.number] else {
                if gone[node.number] != nil, node.isBeingDeleted || node.name.isEmpty { continue }
                return "node \(node.number) \"\(node.name)\" should not be there"
            }
            if node.isBeingDeleted { return "node \(node.number) is being deleted" }
            if (node.kind == .head) != expected.isHead { return "node \(node.number) is of another kind" }
            if node.name != expected.name { return "node \(node.number) is \"\(node.name)\", not \"\(expected.name)\"" }
            if node.capacity != Int64(expected.capacity * DiskLayout.blockLength) {
                return "node \(node.number) has \(node.capacity) bytes, not \(expected.capacity) blocks"
            }
            let lock = node.lockedUntil?.seconds ?? 0
            if lock != expected.lock { return "node \(node.number) is locked until \(lock), not \(expected.lock)" }
            let parent = found.parent(of: node.number) { nodes[$0] != nil }
            if parent != living(expected.parent) {
                return "node \(node.number) is below \(parent), not \(living(expected.parent))"
            }
        }
        let numbers = Set(found.nodes.map(\.number))
        for node in nodes.keys where !numbers.contains(node) { return "node \(node) is not there" }
        return nil
    }

    /// The first one of `node` and its ancestors that was not deleted.
    private func living(_ node: UInt32) -> UInt32 {
        var node = node
        while let parent = gone[node] { node = parent }
        return node
    }

    private static func difference(
        _ node: Node, _ tags: [UInt64], isLive: Bool, _ layout: DiskLayout
    ) -> String? {
        let expected = isLive ? node.current : node.durable
        if tags == expected { return nil }
        for place in tags.indices where tags[place] != expected[place] {
            if !isLive, node.later[place]?.contains(tags[place]) == true { continue }
            let more = isLive ? "" : (node.later[place] ?? []).map { " or \(name($0))" }.joined()
            let kind = node.isHead ? "head" : "snapshot"
            let block = layout.block(place)
            return "\(kind) \(node.number), block \(block) (place \(place), unit \(block / 8)): \(name(tags[place])), "
                + "not \(name(expected[place]))\(more)"
        }
        return nil
    }

    static func name(_ tag: UInt64) -> String {
        switch tag {
        case 0: "zeros"
        case FamilyInspection.mixed: "mixed bytes"
        default: tag >> 40 == BlockTag.mark ? "write \(tag & 0xFF_FFFF_FFFF)" : "foreign \(String(tag, radix: 16))"
        }
    }

    /// The model as a crash has left the family: what was found is durable.
    func settled(with found: FamilyInspection) -> FamilyModel {
        var model = self
        model.equals = []
        for (number, tags) in found.contents where nodes[number] != nil {
            model.nodes[number]?.current = tags
            model.nodes[number]?.durable = tags
            model.nodes[number]?.later = [:]
        }
        return model
    }
}

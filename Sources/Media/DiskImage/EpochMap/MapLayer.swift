/// What of a map no commit has yet, above what one has: the regions that changed.
///
/// The topmost layer of a head collects its changes. A snapshot and a checkpoint close it, and the head goes on in a
/// new one above: that costs nothing, however much has changed. A commit makes a closed layer a mere root. All changes
/// are made under the family's lock; a closed layer stays as it is until a commit has it, so that one reads it without.
final class MapLayer: @unchecked Sendable {
    /// The last number that was given; 0 is none.
    let number: UInt64
    /// The layer that it lies on; nil when a commit has all below.
    private(set) var below: MapLayer?
    /// Without a layer below: the map that a commit has.
    private(set) var root: MapRoot
    /// Its own regions.
    private(set) var regions: [UInt64: Leaf] = [:]
    /// The node that decides which pages below it may be given up.
    private(set) var owner: UInt32
    /// When it was closed: the epoch in which its pages are born. 0 while it collects changes.
    private(set) var birth: UInt32 = 0
    /// In bytes, of the disk when the layer was closed.
    private(set) var capacity: UInt64
    /// Whether the disk has grown since the layer below was closed.
    private(set) var isResized = false
    /// The live map that the leaves came from, until a commit has them: a snapshot does not keep that of its head.
    private var map: RegionMap?
    private let memory: MapMemory

    /// A layer without regions of its own on another one.
    init(number: UInt64, on below: MapLayer, owner: UInt32, map: RegionMap?) {
        self.number = number
        self.below = below
        self.owner = owner
        self.map = map
        memory = below.memory
        root = .nothing
        capacity = below.capacity
    }

    /// What a commit has.
    init(number: UInt64, root: MapRoot, owner: UInt32, capacity: UInt64, memory: MapMemory) {
        self.number = number
        self.root = root
        self.owner = owner
        self.capacity = capacity
        self.memory = memory
        map = nil
    }

    deinit {
        memory.countChanged(-regions.count)
        for leaf in regions.values { leaf.release(memory) }
    }

    /// Whether a commit has all of it.
    var isCommitted: Bool { below == nil }

    /// Whether it says anything else than what is below.
    var isChanged: Bool { !regions.isEmpty || isResized }

    /// What a region is: its leaf, or else the root of a map that a commit has.
    func resolve(_ region: UInt64) -> (leaf: Leaf?, root: MapRoot) {
        var layer = self
        while true {
            if let leaf = layer.regions[region] { return (leaf, .nothing) }
            guard let below = layer.below else { return (nil, layer.root) }
            layer = below
        }
    }

    /// The map that a commit has below all layers.
    var bottom: MapRoot {
        var layer = self
        while let below = layer.below { layer = below }
        return layer.root
    }

    /// The first of some regions that it or a layer below has; nil when the commit has all of them.
    func firstRegion(in range: Range<UInt64>) -> UInt64? {
        var first: UInt64?
        var layer = self
        while true {
            let own = layer.regions
            let found =
                range.upperBound - range.lowerBound <= UInt64(own.count)
                ? range.first { own[$0] != nil } : own.keys.lazy.filter { range.contains($0) }.min()
            if let found { first = min(found, first ?? found) }
            guard let below = layer.below else { return first }
            layer = below
        }
    }

    /// How many units of a region lie within the disk.
    func unitsInRegion(_ region: UInt64) -> Int {
        let units = EpochFormat.logicalUnits(capacity: capacity)
        return Int(min(UInt64(Leaf.length), units - region * UInt64(Leaf.length)))
    }

    // MARK: Changes

    /// A leaf of the live map is changed here.
    func take(_ region: UInt64, _ leaf: Leaf) {
        leaf.layer = number
        leaf.retain()
        memory.countChanged(1)
        precondition(regions.updateValue(leaf, forKey: region) == nil, "a layer has a region once")
    }

    /// The disk has that many bytes now.
    func resize(_ bytes: UInt64) {
        capacity = bytes
        isResized = true
    }

    /// Nothing is changed here any more.
    func close(epoch: UInt32) {
        birth = epoch
    }

    /// A snapshot takes over what the head `former` has had: all closed layers that no commit has.
    func give(to snapshot: UInt32, from former: UInt32) {
        var layer = self
        while let below = layer.below, layer.owner == former {
            layer.owner = snapshot
            layer = below
        }
    }

    /// A commit has all of it, with this root.
    func commit(_ root: MapRoot) {
        for (region, leaf) in regions {
            map?.settle(region, leaf, summary: leaf.summary(count: unitsInRegion(region)))
            leaf.release(memory)
        }
        memory.countChanged(-regions.count)
        regions = [:]
        map = nil
        below = nil
        isResized = false
        self.root = root
    }
}

/// The tree of pages of a map that a commit has.
struct MapRoot: Equatable, Sendable {
    var pointer: UnitPointer
    var levels: Int

    static let nothing = MapRoot(pointer: .nothing, levels: 1)
}

extension EpochFormat {
    /// The logical units of a page of level 1 of a map, as a power of two: 512 MiB.
    static let firstLevelShift: UInt64 = 17
}

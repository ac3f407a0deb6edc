internal import Platform
internal import Synchronization

/// How much a node has, and how much of it nobody else has.
extension DiskFamily {
    /// The space of a node, in physical units of data: of compressed extents what they take.
    public struct NodeSpace: Equatable, Sendable {
        /// Units that hold data.
        public internal(set) var mapped: UInt64 = 0
        /// Of these, units that are free when this node is deleted and no other.
        public internal(set) var unique: UInt64 = 0
    }

    /// What a node has, and what its deletion would free; nil when `isCancelled` said so before the end.
    ///
    /// Nodes that are being deleted count as gone. Each page of the map is read once, and with it the one that a child
    /// has in its place; a few are in memory at a time. Commands and commits go on meanwhile: of what they change it
    /// counts the state before or the one after.
    public func space(of node: UInt32, isCancelled: () -> Bool = { false }) throws(FamilyError) -> NodeSpace? {
        var walk = SpaceWalk()
        return try count(node, &walk, isCancelled) ? walk.space : nil
    }

    /// How far the counting of a node is.
    struct SpaceWalk: Sendable {
        /// The next region.
        var region: UInt64 = 0
        /// Of those before.
        var space = NodeSpace()
        /// How many were looked at one by one.
        var steps: UInt64 = 0
        /// The page of level 1 that is being counted, and the mapped units before it; nil when that is not remembered.
        fileprivate var page: (pointer: UnitPointer, mapped: UInt64)?

        init() {}
    }

    /// Goes on with a walk; false when `isCancelled` said so before its end.
    func count(
        _ node: UInt32, _ walk: inout SpaceWalk, _ isCancelled: () -> Bool
    ) throws(FamilyError) -> Bool {
        do throws(EpochFault) {
            while true {
                guard !isCancelled() else { return false }
                // Not longer inside than for one region: commits wait for whoever is.
                let pass = memory.grace.enter()
                defer { memory.grace.leave(pass) }
                let (region, number) = (walk.region, node)
                let view = shared.withLock { $0.state.spaceView(number, region) }
                guard let view else { throw .device(Errno.noSuchFile) }
                if view.units == 0 || region % UInt64(EpochFormat.fanOut) == 0, let page = walk.page {
                    spaces.remember(walk.space.mapped - page.mapped, of: page.pointer)
                    walk.page = nil
                }
                guard view.units > 0 else { return true }
                if region % UInt64(EpochFormat.fanOut) == 0, !view.isPageChanged, try countPage(view, &walk) {
                    continue
                }
                try count(view, region, &walk.space)
                walk.region += 1
                walk.steps += 1
            }
        } catch .device(Errno.noSuchFile) {
            throw .noNode(node)
        } catch {
            throw FamilyError(error)
        }
    }

    /// Counts a page of level 1 as a whole, when nothing of it is the node's alone: the pages of snapshots of a disk
    /// are the same for the most part, and how much such a page has is remembered. False when it is to be counted by
    /// region.
    private func countPage(_ view: FamilyState.SpaceView, _ walk: inout SpaceWalk) throws(EpochFault) -> Bool {
        let (first, last) = (walk.region, walk.region + UInt64(EpochFormat.fanOut))
        let index = first >> UInt64(EpochFormat.fanOutShift)
        let page = try pages.firstLevelPage(index, of: view.own.root)
        guard page.pointer.kind == .page else {
            guard page.pointer.kind == .nothing else { return false }
            walk.region = last
            return true
        }
        // What is in a page was born in its epoch or before.
        var isShared = view.hasSeveral || page.pointer.birth <= view.boundary
        if !isShared, !view.isChildPageChanged, let child = view.child {
            isShared = try pages.firstLevelPage(index, of: child.root).pointer == page.pointer
        }
        guard isShared else { return false }
        guard let units = spaces.units(of: page.pointer) else {
            // Of a head it may become another one before all of it is counted.
            if view.isSnapshot { walk.page = (page.pointer, walk.space.mapped) }
            return false
        }
        walk.space.mapped += units
        walk.region = last
        return true
    }

    private func count(
        _ view: FamilyState.SpaceView, _ region: UInt64, _ space: inout NodeSpace
    ) throws(EpochFault) {
        let own = try entries(view.own, region)
        if case .uniform(.nothing) = own { return }
        // What is in memory is compared; what is on a page is the same when the pages are.
        var child: RegionContent?
        if let below = view.child {
            var isSame = false
            if view.own.content == nil, below.content == nil {
                let pointer = try pages.regionPointer(region, of: view.own.root)
                isSame = try pages.regionPointer(region, of: below.root) == pointer
            }
            child = isSame ? own : try entries(below, region)
        }
        for index in 0..<view.units {
            let entry = own[index].confirmed
            guard entry.ownsUnit else { continue }
            space.mapped += 1
            guard !view.hasSeveral, entry.birth > view.boundary, child?[index].confirmed != entry,
                child?[index].isLost != true
            else { continue }
            space.unique += 1
        }
    }

    private func entries(
        _ source: FamilyState.RegionSource, _ region: UInt64
    ) throws(EpochFault) -> RegionContent {
        if let content = source.content { return content }
        return try pages.region(region, of: source.root)
    }
}

extension FamilyState {
    /// What a node has of a region: in memory, or else in a map that a commit has.
    struct RegionSource {
        let content: RegionContent?
        let root: MapRoot
    }

    /// Who sees what of a region of a node, at one instant.
    fileprivate struct SpaceView {
        let own: RegionSource
        /// Of the only node below.
        let child: RegionSource?
        /// Whether there are several nodes below.
        let hasSeveral: Bool
        /// What was born later, nobody above sees.
        let boundary: UInt32
        let isSnapshot: Bool
        /// The units of the region that are in the disk; 0 behind its end.
        let units: Int
        /// Whether anything of the page of level 1 that begins with the region is in memory; said of its first region.
        let isPageChanged: Bool
        /// The same of the only node below.
        let isChildPageChanged: Bool
    }

    fileprivate func spaceView(_ number: UInt32, _ region: UInt64) -> SpaceView? {
        guard let node = nodes[number], !node.record.isBeingDeleted else { return nil }
        let units = node.record.unitsInRegion(region)
        guard units > 0 else {
            let nothing = RegionSource(content: nil, root: .nothing)
            return SpaceView(
                own: nothing, child: nil, hasSeveral: false, boundary: 0, isSnapshot: false, units: 0,
                isPageChanged: false, isChildPageChanged: false)
        }
        let below = remainingChildren(node)
        return SpaceView(
            own: source(node, region), child: below.count == 1 ? source(below[0], region) : nil,
            hasSeveral: below.count > 1, boundary: remainingParentEpoch(node), isSnapshot: node.live == nil,
            units: units,
            isPageChanged: isPageChanged(node, region),
            isChildPageChanged: below.count == 1 && isPageChanged(below[0], region))
    }

    /// Whether anything of the page of level 1 of which a region is the first is in memory; false of other regions.
    private func isPageChanged(_ node: TreeNode, _ region: UInt64) -> Bool {
        guard region % UInt64(EpochFormat.fanOut) == 0 else { return false }
        let end = min(region + UInt64(EpochFormat.fanOut), node.record.regions)
        return region < end && (region..<end).contains { isInMemory(node, $0) }
    }

    /// What the space of a node depends on besides the content of maps; nil when there is none.
    func spaceBasis(_ number: UInt32) -> SpaceCache.Basis? {
        guard let node = nodes[number], !node.record.isBeingDeleted else { return nil }
        let below = remainingChildren(node)
        return SpaceCache.Basis(
            boundary: remainingParentEpoch(node), child: below.first?.number ?? 0, hasSeveral: below.count > 1,
            isFixed: node.live == nil && !(below.count == 1 && below[0].live != nil))
    }

    /// Whether memory says of a region anything else than that it is nothing.
    private func isInMemory(_ node: TreeNode, _ region: UInt64) -> Bool {
        if let live = node.live {
            let present = live.map.region(region)
            if present != .notLoaded { return present != .uniform(.nothing) }
        }
        return node.layer.resolve(region).leaf != nil
    }

    /// What a node has of a region.
    func source(_ node: TreeNode, _ region: UInt64) -> RegionSource {
        if let live = node.live, region < node.record.regions {
            switch live.map.region(region) {
            case .notLoaded: break
            case .uniform(let first): return RegionSource(content: .uniform(first), root: .nothing)
            case .leaf(let leaf): return RegionSource(content: leaf.content, root: .nothing)
            }
        }
        let (leaf, root) = node.layer.resolve(region)
        return RegionSource(content: leaf?.content, root: root)
    }

    /// Whether a node goes without another command.
    private func isGoing(_ node: TreeNode) -> Bool {
        node.record.isBeingDeleted || (node.record.isNameless && node.children.count <= 1)
    }

    /// The nodes below one that stay, two at most.
    private func remainingChildren(_ node: TreeNode) -> [TreeNode] {
        var found: [TreeNode] = []
        var rest = node.children
        while found.count < 2, let number = rest.popLast() {
            guard let child = nodes[number] else { continue }
            if isGoing(child) { rest += child.children } else { found.append(child) }
        }
        return found
    }

    /// The epoch of the nearest node above one that stays; 0 without.
    private func remainingParentEpoch(_ node: TreeNode) -> UInt32 {
        var above = nodes[node.record.parent]
        while let parent = above, isGoing(parent) { above = nodes[parent.record.parent] }
        return above?.record.epoch ?? 0
    }
}

internal import Platform
internal import Synchronization

/// How much a node has, and how much of it nobody else has.
extension DiskFamily {
    /// The space of a node, in units of data.
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
        var space = NodeSpace()
        var region: UInt64 = 0
        do throws(EpochFault) {
            while true {
                guard !isCancelled() else { return nil }
                // Not longer inside than for one region: commits wait for whoever is.
                let pass = memory.grace.enter()
                defer { memory.grace.leave(pass) }
                let view = shared.withLock { $0.state.spaceView(node, region) }
                guard let view else { throw .device(Errno.noSuchFile) }
                guard view.units > 0 else { return space }
                if region % UInt64(EpochFormat.fanOut) == 0, !view.isPageChanged {
                    let page = try pages.firstLevelPage(region >> UInt64(EpochFormat.fanOutShift), of: view.own.root)
                    if page.pointer.kind == .nothing {
                        region += UInt64(EpochFormat.fanOut)
                        continue
                    }
                }
                try count(view, region, &space)
                region += 1
            }
        } catch .device(Errno.noSuchFile) {
            throw .noNode(node)
        } catch {
            throw FamilyError(error)
        }
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
            guard entry.isData else { continue }
            space.mapped += 1
            guard !view.hasSeveral, entry.birth > view.boundary, child?[index].confirmed != entry else { continue }
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
        /// The units of the region that are in the disk; 0 behind its end.
        let units: Int
        /// Whether anything of the page of level 1 that begins with the region is in memory; said of its first region.
        let isPageChanged: Bool
    }

    fileprivate func spaceView(_ number: UInt32, _ region: UInt64) -> SpaceView? {
        guard let node = nodes[number], !node.record.isBeingDeleted else { return nil }
        let units = node.record.unitsInRegion(region)
        guard units > 0 else {
            let nothing = RegionSource(content: nil, root: .nothing)
            return SpaceView(
                own: nothing, child: nil, hasSeveral: false, boundary: 0, units: 0, isPageChanged: false)
        }
        var isPageChanged = false
        if region % UInt64(EpochFormat.fanOut) == 0 {
            let end = min(region + UInt64(EpochFormat.fanOut), node.record.regions)
            isPageChanged = (region..<end).contains { isInMemory(node, $0) }
        }
        let below = remainingChildren(node)
        return SpaceView(
            own: source(node, region), child: below.count == 1 ? source(below[0], region) : nil,
            hasSeveral: below.count > 1, boundary: remainingParentEpoch(node), units: units,
            isPageChanged: isPageChanged)
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

/// What a step of a merge has read: pages and regions of the node that goes, and of the one that it goes into.
struct MergePages: Sendable {
    /// A page of level 1 and its pointers; nil when there is none.
    struct Page: Sendable {
        var pointer = UnitPointer.nothing
        var pointers: [UnitPointer] = []

        subscript(_ index: Int) -> UnitPointer { index < pointers.count ? pointers[index] : .nothing }
    }

    /// What has to be read before a step is done.
    enum Need: Hashable, Sendable {
        case page(UInt64)
        case region(UInt64, isChild: Bool)
    }

    /// The map of the node that goes, and of its child, as the last commit has them.
    let root: MapRoot
    let childRoot: MapRoot
    private var pages: [UInt64: (own: Page, child: Page)] = [:]
    private var regions: [UInt64: RegionContent] = [:]
    private var childRegions: [UInt64: RegionContent] = [:]
    /// Whether anything was damaged and counts as lost.
    private(set) var hasLosses = false

    init(root: MapRoot, childRoot: MapRoot) {
        self.root = root
        self.childRoot = childRoot
    }

    func page(_ index: UInt64) -> (own: Page, child: Page)? { pages[index] }

    func region(_ region: UInt64, isChild: Bool) -> RegionContent? {
        isChild ? childRegions[region] : regions[region]
    }

    /// Reads what is needed. With `takesLosses` what is damaged counts as lost: nothing of it is freed.
    mutating func read(
        _ needs: Set<Need>, _ reader: PageReader, takesLosses: Bool = false
    ) throws(EpochFault) {
        for need in needs {
            switch need {
            case .page(let index):
                pages[index] = (
                    own: try page(index, of: root, reader, takesLosses),
                    child: try page(index, of: childRoot, reader, takesLosses)
                )
            case .region(let region, let isChild):
                var content = RegionContent.uniform(.lost)
                do throws(EpochFault) {
                    content = try reader.region(region, of: isChild ? childRoot : root)
                } catch {
                    guard takesLosses, error.isDamagedPage else { throw error }
                    hasLosses = true
                }
                if isChild { childRegions[region] = content } else { regions[region] = content }
            }
        }
    }

    private mutating func page(
        _ index: UInt64, of root: MapRoot, _ reader: PageReader, _ takesLosses: Bool
    ) throws(EpochFault) -> Page {
        do throws(EpochFault) {
            return try reader.firstLevelPage(index, of: root)
        } catch {
            guard takesLosses, error.isDamagedPage else { throw error }
            hasLosses = true
            return Page(pointer: .lost, pointers: [UnitPointer](repeating: .lost, count: EpochFormat.fanOut))
        }
    }
}

/// Merging a node that is being deleted into its only child.
extension FamilyState {
    /// The pages to begin a step with; nil when the node, or its child, has changes that no commit has.
    func mergePages(_ node: TreeNode) -> MergePages? {
        guard let root = committedRoot(node) else { return nil }
        guard let child = node.children.first.flatMap({ nodes[$0] }) else {
            return MergePages(root: root, childRoot: .nothing)
        }
        guard let childRoot = committedRoot(child) else { return nil }
        return MergePages(root: root, childRoot: childRoot)
    }

    /// The map of a node as the last commit has it; nil when there are closed layers that it has not.
    private func committedRoot(_ node: TreeNode) -> MapRoot? {
        guard node.isWritable else { return node.layer.isCommitted ? node.layer.root : nil }
        guard let below = node.layer.below, below.isCommitted else { return nil }
        return below.root
    }

    /// Merges pages of level 1 from the first that is not done to `end`, or says what has to be read before; then
    /// nothing is done.
    func merge(_ node: TreeNode, to end: UInt64, _ pages: MergePages, frame: UInt64) -> Set<MergePages.Need> {
        let child = node.children.first.flatMap { nodes[$0] }
        var needs: Set<MergePages.Need> = []
        var units = UnitRuns()
        var freedPages: [UInt64] = []
        for index in node.record.pagesDone..<end {
            let boundary = boundary(node, page: index)
            guard let page = pages.page(index) else {
                needs.insert(.page(index))
                continue
            }
            for place in 0..<page.own.pointers.count where page.own[place].kind != .nothing {
                let region = index << UInt64(EpochFormat.fanOutShift) + UInt64(place)
                let (own, other) = (page.own[place], page.child[place])
                let leaf = child?.layer.resolve(region).leaf
                if own == other, leaf == nil { continue }
                // What the child has lost, others below may have from it: it is not freed, but by a repair.
                if own.kind == .lost { continue }
                if other.kind == .lost, leaf == nil {
                    noteLoss()
                    continue
                }
                if own.kind == .page, own != other, other.kind != .lost, own.birth > boundary {
                    freedPages.append(own.unit)
                }
                let content = pages.region(region, isChild: false)
                let childContent = leaf?.content ?? pages.region(region, isChild: true)
                if content == nil { needs.insert(.region(region, isChild: false)) }
                if childContent == nil { needs.insert(.region(region, isChild: true)) }
                guard let content, let childContent else { continue }
                let count = node.record.unitsInRegion(region)
                for unit in 0..<count {
                    let entry = content[unit]
                    guard entry.ownsUnit, entry.birth > boundary, childContent[unit] != entry else { continue }
                    guard !childContent[unit].isLost else {
                        noteLoss()
                        continue
                    }
                    units.append(entry.unit)
                }
            }
            let (own, other) = (page.own.pointer, page.child.pointer)
            if own.kind == .page, own != other, other.kind != .lost, own.birth > boundary {
                freedPages.append(own.unit)
            }
        }
        guard needs.isEmpty else { return needs }
        free(units, frame: frame)
        for page in freedPages { _ = self.units.freePage(page) }
        setDone(node, pages: end)
        return []
    }

    /// Takes a node whose pages of level 1 are all done out of the tree; `upper` are its pages above them that its
    /// child has not.
    func finishMerge(_ node: TreeNode, upper: [UnitPointer]) {
        let boundary = boundary(node)
        for page in upper where page.birth > boundary { _ = units.freePage(page.unit) }
        remove(node)
    }
}

internal import Platform
internal import Synchronization

/// Deleted nodes: freeing what only they have.
extension DiskFamily {
    /// The most pages of level 1 that a step looks at.
    static let pagesOfStep: UInt64 = 64

    /// What a step has found to do.
    fileprivate enum Step {
        case nothing
        /// Somebody else's changes have to be in a commit first.
        case commit
        case merge(UInt32, UInt32?, done: UInt64, pages: UInt64, MergePages)
        case begin(UInt32)
    }

    /// Does one bounded step of freeing what only deleted nodes have; false when there is nothing to do. It may wait,
    /// and belongs on a thread for background work.
    public func mergeStep() throws(FamilyError) -> Bool {
        do throws(EpochFault) {
            try checkFailure()
            return try maintenance.withLock { maintenance throws(EpochFault) in
                try checkFailure()
                try makeRoomForMerging(&maintenance)
                switch shared.withLock({ $0.state.mergeStep() }) {
                case .nothing: return try reclaim(&maintenance)
                case .commit:
                    let code = commit(&maintenance)
                    guard code == 0 else { throw .device(code) }
                case .begin(let number):
                    shared.withLock { shared in
                        // Unless it has got a child meanwhile.
                        if shared.state.mayBeginDeletion(number) { _ = shared.add(.deletion(node: number)) }
                    }
                case .merge(let number, let child, let done, let pages, let found):
                    do throws(EpochFault) {
                        try merge(number, child, done, pages, found)
                    } catch {
                        // Others go on; this one when the image is opened again.
                        shared.withLock { $0.state.setStuck(number, error) }
                    }
                    if done == pages { maintenance.hasRemoved = true }
                }
                return true
            }
        } catch {
            throw FamilyError(error)
        }
    }

    /// Has the next step that finds nothing to merge make a commit, and give the host back what was freed.
    func reclaimSoon() { maintenance.withLock { $0.hasRemoved = true } }

    /// No node is left to be merged: gives the host back what they have had, by a commit and in pieces; false when
    /// nothing is left of it. Throws why a node could not be merged.
    private func reclaim(_ maintenance: inout Maintenance) throws(EpochFault) -> Bool {
        if maintenance.hasRemoved {
            let code = commit(&maintenance)
            guard code == 0 else { throw .device(code) }
            maintenance.hasRemoved = false
        }
        guard !units.hasPunchable else {
            punch()
            return true
        }
        if let fault = shared.withLock({ $0.state.firstStuck }) { throw fault }
        return false
    }

    private func makeRoomForMerging(_ maintenance: inout Maintenance) throws(EpochFault) {
        let slots = 2 * JournalRecord.maximumSlots
        if shared.withLock({ $0.records.hasRoom(slots: slots, isReserved: true) }) { return }
        let code = commit(&maintenance)
        guard code == 0 else { throw .device(code) }
    }

    private func merge(
        _ number: UInt32, _ child: UInt32?, _ done: UInt64, _ count: UInt64, _ found: MergePages
    ) throws(EpochFault) {
        // Pages that are read here stay as they are: the next commit waits for this step.
        var pages = found
        guard done < count else {
            let upper = try self.pages.upperPages(of: pages.root, not: pages.childRoot)
            shared.withLock { shared in
                guard let node = shared.state.node(number), node.children.first == child else { return }
                _ = shared.records.frame(forSlots: 1)
                shared.state.finishMerge(node, upper: upper)
                shared.records.append(.removal(node: number))
            }
            return
        }
        let end = try Self.endOfStep(from: done, count: count, &pages, self.pages)
        while true {
            let needs = shared.withLock { shared -> Set<MergePages.Need> in
                guard let node = shared.state.node(number), node.children.first == child else { return [] }
                let frame = shared.records.frame(forSlots: 1)
                let needs = shared.state.merge(node, to: end, pages, frame: frame)
                if needs.isEmpty { shared.records.append(.merging(node: number, pages: end)) }
                return needs
            }
            if needs.isEmpty { return }
            try pages.read(needs, self.pages)
        }
    }

    /// How far a step goes: pages that are nothing, or shared as they are, are many to a step.
    private static func endOfStep(
        from done: UInt64, count: UInt64, _ pages: inout MergePages, _ reader: PageReader
    ) throws(EpochFault) -> UInt64 {
        var index = done
        let end = min(count, done + pagesOfStep)
        while index < end {
            try pages.read([.page(index)], reader)
            index += 1
            guard let page = pages.page(index - 1) else { break }
            if page.own.pointer.kind != .nothing, page.own.pointer != page.child.pointer { break }
        }
        return index
    }
}

extension FamilyState {
    fileprivate func mergeStep() -> DiskFamily.Step {
        guard
            let (node, isMerged) = nextUnwanted(
                merging: { mayMerge($0) }, beginning: { mayBeginDeletion($0.number) })
        else { return .nothing }
        guard isMerged else { return .begin(node.number) }
        guard let pages = mergePages(node) else { return .commit }
        return .merge(
            node.number, node.children.first, done: node.record.pagesDone, pages: node.record.firstLevelPages, pages)
    }

    /// Whether a node is being deleted, and can be merged: a child that is being deleted goes first, because what has
    /// been merged out of it says nothing any more.
    private func mayMerge(_ node: TreeNode) -> Bool {
        guard node.record.isBeingDeleted, !isStuck(node.number) else { return false }
        return node.children.allSatisfy { nodes[$0]?.record.isBeingDeleted != true }
    }

    /// Whether a node without a name has at most one child, and not too many nodes above it are partly merged.
    fileprivate func mayBeginDeletion(_ number: UInt32) -> Bool {
        guard let node = nodes[number] else { return false }
        return node.record.isNameless && !node.record.isBeingDeleted && node.children.count <= 1
            && !hasLongRow(above: number)
    }
}

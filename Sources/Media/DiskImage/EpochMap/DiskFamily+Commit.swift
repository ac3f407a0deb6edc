internal import Bytes
internal import Platform
internal import Synchronization

/// What whoever makes a commit has.
struct Maintenance: Sendable {
    /// The last commit.
    var superblock: EpochSuperblock
    /// Where its free map is.
    var freeMap: FreeMapTree
    /// Whether a node is gone whose units no commit has given back yet.
    var hasRemoved = false
}

extension DiskFamily {
    /// The most runs whose storage a commit frees.
    static let punchedRuns = 4096
    /// The most tables of the map of a head, each for 1 GiB, that are looked through for leaves at a time: others wait.
    static let tablesOfLook = 1024
}

/// Commits: the state as of the end of a frame, written while commands go on.
extension DiskFamily {
    /// Writes the state into pages, so that the journal before it is not needed any more; 0 or an error number. After a
    /// failure the commit before stays, with its journal.
    public func checkpoint() -> Int32 { checkpoint(unless: { _ in false }) }

    /// The same, unless the state is such when it is its turn.
    func checkpoint(unless isDone: (borrowing Shared) -> Bool) -> Int32 {
        maintenance.withLock { maintenance in
            if shared.withLock({ isDone($0) }) { return 0 }
            let code = commit(&maintenance)
            if code == 0 { punch() }
            return code
        }
    }

    /// Makes everything durable, with nothing to replay; 0 or an error number. From then on everything that writes,
    /// flushes or commits fails; when it fails itself, the family goes on as before.
    public func close() -> Int32 {
        maintenance.withLock { maintenance in
            if isClosing.load(ordering: .sequentiallyConsistent) { return 0 }
            let code = commit(&maintenance, isClosed: true)
            if code == 0 { stopFrames() }
            return code
        }
    }

    /// On a full host the pages are written to units of the reserve.
    func commit(_ maintenance: inout Maintenance, isClosed: Bool = false) -> Int32 {
        if !isClosing.load(ordering: .sequentiallyConsistent) { refillReserve() }
        let code = tryCommit(&maintenance, isClosed)
        guard FamilyError(code: code) == .hostFull, failureCode == 0 else { return code }
        units.useReserve(true)
        defer { units.useReserve(false) }
        return tryCommit(&maintenance, isClosed)
    }

    /// Gives the reserve units that were freed and have storage, or new ones if the host has room.
    func refillReserve() {
        // After a loss nothing is written any more.
        guard failureCode == 0 else { return }
        let target = shared.withLock { $0.state.reserveUnits }
        var missing = units.refillReserve(to: target)
        while missing > 0, let run = units.allocateReserve(missing) {
            let length = Int64(run.count) << Int64(EpochFormat.unitShift)
            let code = store.reserve(at: EpochFormat.offset(ofUnit: run.lowerBound), length: length)
            guard code == 0 else {
                units.giveBack(reserve: run)
                return
            }
            units.addReserve(allocated: run)
            missing -= UInt64(run.count)
        }
    }

    private func tryCommit(_ maintenance: inout Maintenance, _ isClosed: Bool) -> Int32 {
        do throws(EpochFault) {
            try checkFailure()
            let (capture, cut) = try cut(isClosing: isClosed)
            let content = CheckpointWriter.Content(
                cut: cut, epoch: capture.epoch, nextNode: capture.nextNode, isClosed: isClosed,
                reserveUnits: capture.reserveUnits)
            do throws(CheckpointWriter.Failure) {
                let roots = try write(capture, content, &maintenance)
                publish(capture, cut, roots, commit: maintenance.superblock.commit)
                return 0
            } catch {
                throw giveUp(capture, error)
            }
        } catch {
            if isClosed { isClosing.store(false, ordering: .sequentiallyConsistent) }
            return error.code
        }
    }

    /// Writes all pages and the superblock; the roots of the maps.
    private func write(
        _ capture: Capture, _ content: CheckpointWriter.Content, _ maintenance: inout Maintenance
    ) throws(CheckpointWriter.Failure) -> [UInt64: MapRoot] {
        var writer = CheckpointWriter(pages, units, former: maintenance.superblock, birth: capture.epoch)
        let roots: [UInt64: MapRoot]
        let table: NodeTable
        do throws(EpochFault) {
            roots = try writer.writeMaps(capture)
            table = try capture.table(roots)
        } catch {
            writer.abandon()
            throw .notWritten(error)
        }
        maintenance.superblock = try writer.finish(table, &maintenance.freeMap, content) { inTurn($0) }
        return roots
    }

    /// A commit has failed: what it would have written is still to be written, or nothing is any more.
    private func giveUp(_ capture: Capture, _ reason: CheckpointWriter.Failure) -> EpochFault {
        shared.withLock { $0.state.setTableDirty(capture.dirtyLeaves) }
        switch reason {
        case .notWritten(let fault): return fault
        case .uncertain(let fault): return fault
        }
    }

    /// Ends the frame that is collected, sets the state aside, and writes the frame; where a replay of the commit
    /// begins.
    private func cut(isClosing: Bool) throws(EpochFault) -> (Capture, JournalRing.Cut) {
        let (code, capture, cut) = journal.withLock { writer -> (Int32, Capture, JournalRing.Cut) in
            let capture = shared.withLock { shared in
                shared.records.close()
                let capture = shared.state.capture(frame: shared.records.open.sequence - 1)
                let isFirst = units.beginCommit(cut: capture.frame)
                precondition(isFirst, "one commit goes on at a time")
                if isClosing { self.isClosing.store(true, ordering: .sequentiallyConsistent) }
                return capture
            }
            var code: Int32 = 0
            while code == 0, writer.written < capture.frame { code = writeFrame(&writer, isLast: true) }
            return (code, capture, writer.ring.end)
        }
        guard code == 0 else {
            units.endCommit(isDurable: false)
            throw giveUp(capture, .notWritten(.device(code)))
        }
        return (capture, cut)
    }

    /// The commit is durable: what it has needs neither journal nor memory.
    private func publish(
        _ capture: Capture, _ cut: JournalRing.Cut, _ roots: [UInt64: MapRoot], commit: UInt64
    ) {
        journal.withLock { writer in
            writer.commit = commit
            writer.ring.release(to: cut)
            writer.durable = max(writer.durable, capture.frame)
            writer.confirmed = max(writer.confirmed, capture.frame)
            shared.withLock { shared in
                shared.state.finish(capture, roots: roots)
                shared.records.setCommitted(usedUnits: UInt32(clamping: writer.ring.usedUnits))
            }
            settle(confirmed: capture.frame)
        }
        giveUpLeaves()
        // Somebody may still read pages that the commit does not have.
        memory.grace.wait()
        units.endCommit(isDurable: true)
        for action in memory.grace.collect() { action() }
    }

    /// Frees the storage of units that nothing refers to any more: of those that were freed last, and then of others
    /// that may have some. What the host does not do stays until it is used.
    func punch() {
        punching.add(1, ordering: .relaxed)
        defer { punching.subtract(1, ordering: .relaxed) }
        _ = units.refillReserve(to: shared.withLock { $0.state.reserveUnits })
        // After a loss it is not known which pages the next opening needs.
        var isPossible = failureCode == 0
        var runs = units.takePunchable(limit: Self.punchedRuns)
        runs += units.sweepPunchable(limit: Self.punchedRuns - runs.count)
        for run in runs {
            let first = EpochFormat.offset(ofUnit: run.lowerBound)
            let end = EpochFormat.offset(ofUnit: run.upperBound)
            if isPossible, let data = store.nextAllocated(from: first), data < end {
                let code = store.punchHole(at: first, length: end - first)
                isPossible = code != Errno.notSupported
            }
            units.giveBack(punched: run)
        }
    }

    /// Gives up leaves that a commit has while there are too many.
    func giveUpLeaves() {
        shared.withLock { shared in
            // More than there are too many, so that it is not done for each leaf that comes.
            var excess = memory.leafCount - MapMemory.leafLimit * 15 / 16
            guard memory.leafCount > MapMemory.leafLimit else { return }
            for node in shared.state.nodes.values {
                guard excess > 0, let live = node.live else { continue }
                let (next, count) = live.map.giveUp(excess, from: node.nextToGiveUp, most: Self.tablesOfLook)
                node.nextToGiveUp = next
                excess -= count
            }
        }
    }
}

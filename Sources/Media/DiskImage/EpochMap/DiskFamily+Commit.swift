internal import Bytes
internal import Platform
internal import Synchronization

/// What whoever makes a commit has.
struct Maintenance: Sendable {
    /// The last commit.
    var superblock: EpochSuperblock
    /// Where its free map is.
    var freeMap: FreeMapTree
}

extension DiskFamily {
    /// The most runs whose storage a commit frees.
    static let punchedRuns = 4096
}

/// Commits: the state as of the end of a frame, written while commands go on.
extension DiskFamily {
    /// Writes the state into pages, so that the journal before it is not needed any more; 0 or an error number. After a
    /// failure the commit before stays, with its journal.
    public func checkpoint() -> Int32 {
        maintenance.withLock { maintenance in
            let code = commit(&maintenance)
            if code == 0 { punch() }
            return code
        }
    }

    /// Makes everything durable, with nothing to replay; the family is not used after it. 0 or an error number.
    public func close() -> Int32 {
        maintenance.withLock { commit(&$0, isClosed: true) }
    }

    func commit(_ maintenance: inout Maintenance, isClosed: Bool = false) -> Int32 {
        do throws(EpochFault) {
            try checkFailure()
            let (capture, cut) = try cut()
            let content = CheckpointWriter.Content(
                cut: cut, epoch: capture.epoch, nextNode: capture.nextNode, isClosed: isClosed)
            do throws(CheckpointWriter.Failure) {
                let roots = try write(capture, content, &maintenance)
                publish(capture, cut, roots)
                return 0
            } catch {
                throw giveUp(capture, error)
            }
        } catch {
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
        maintenance.superblock = try writer.finish(table, &maintenance.freeMap, content)
        return roots
    }

    /// A commit has failed: what it would have written is still to be written, or nothing is any more.
    private func giveUp(_ capture: Capture, _ reason: CheckpointWriter.Failure) -> EpochFault {
        shared.withLock { $0.state.setTableDirty(capture.dirtyLeaves) }
        switch reason {
        case .notWritten(let fault): return fault
        case .uncertain(let fault):
            failure.store(fault.code, ordering: .sequentiallyConsistent)
            return fault
        }
    }

    /// Ends the frame that is collected, sets the state aside, and writes the frame; where a replay of the commit
    /// begins.
    private func cut() throws(EpochFault) -> (Capture, JournalRing.Cut) {
        let (code, capture, cut) = journal.withLock { writer -> (Int32, Capture, JournalRing.Cut) in
            let capture = shared.withLock { shared in
                shared.records.close()
                let capture = shared.state.capture(frame: shared.records.open.sequence - 1)
                let isFirst = units.beginCommit(cut: capture.frame)
                precondition(isFirst, "one commit goes on at a time")
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
    private func publish(_ capture: Capture, _ cut: JournalRing.Cut, _ roots: [UInt64: MapRoot]) {
        journal.withLock { writer in
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

    /// Frees the storage of units that nothing refers to any more. What the host does not do stays until it is used.
    private func punch() {
        var isPossible = true
        for run in units.takePunchable(limit: Self.punchedRuns) {
            if isPossible {
                let length = Int64(run.count) << Int64(EpochFormat.unitShift)
                let code = store.punchHole(at: EpochFormat.offset(ofUnit: run.lowerBound), length: length)
                isPossible = code != Errno.notSupported
            }
            _ = units.giveBack(run)
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
                excess -= live.map.giveUp(excess, from: 0).count
            }
        }
    }
}

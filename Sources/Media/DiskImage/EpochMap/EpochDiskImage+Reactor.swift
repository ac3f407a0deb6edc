public import Bytes
public import Platform
internal import Synchronization

/// Commands that do not wait.
extension EpochDiskImage {
    /// Reads what is in memory, map and data.
    public func readCached(into lease: inout BufferLease, first: UInt64, blocks: UInt64) -> MediaResult {
        let (offset, count) = (Int64(first << blockShift), Int(blocks << blockShift))
        return door.pass(otherwise: MediaResult.wouldBlock) { family in
            guard mayPass(offset, count) else { return .wouldBlock }
            guard !marks.contain(first, blocks) else { return .failed(.marked) }
            return family.readCached(node, into: &lease, at: offset, count) == .done(count) ? .done : .wouldBlock
        }
    }

    /// Whether a reactor may do something with bytes of the disk, inside of the door: it is not closed, and a rollback
    /// has not made it smaller.
    private func mayPass(_ offset: Int64, _ count: Int) -> Bool {
        !isClosed.load(ordering: .acquiring) && offset + Int64(count) <= capacity
    }

    /// Writes to the page cache, under the rules of `RawDiskImage`: in place, or new versions of whole units.
    public func writeCached(
        from lease: borrowing BufferLease, at leaseOffset: Int, first: UInt64, blocks: UInt64, for request: FileRequest
    ) -> MediaResult {
        let before = lossCode(since: request)
        guard before == 0 else { return .failed(MediaFailure(errorNumber: before)) }
        guard !isReadOnly else { return .wouldBlock }
        let wanted = request.epoch >> Self.generationShift
        let (offset, count) = (Int64(first << blockShift), Int(blocks << blockShift))
        var now: Int64 = 0
        if file.canStall {
            now = clock.now.nanoseconds
            guard now - lastWrite.load(ordering: .relaxed) <= RawDiskImage.inlineWriteWindow else {
                return .wouldBlock
            }
        }
        let bytes = lease.bytes.extracting(leaseOffset..<leaseOffset + count)
        let result = door.pass(otherwise: DiskFamily.ReactorWrite.wouldBlock) { family in
            // What was decided for the content before a rollback the lane refuses.
            guard mayPass(offset, count), wanted == generation, !marks.contain(first, blocks) else {
                return .wouldBlock
            }
            return family.writeCached(node, bytes, at: offset)
        }
        guard result != .wouldBlock else { return .wouldBlock }
        if file.canStall { noteWrite(at: now) }
        if result == .doneAndDue { upkeep.start() }
        return .done
    }

    /// Notes that the file system took a write. Not each time: all reactors read the word.
    func noteWrite(at now: Int64) {
        guard now - lastWrite.load(ordering: .relaxed) > RawDiskImage.inlineWriteWindow / 8 else { return }
        lastWrite.store(now, ordering: .relaxed)
    }
}

extension FamilyFile {
    /// Does what has become due by writes on reactors; on a thread that may wait.
    func upkeep() {
        let failure = withFamily { family in
            family.upkeep()
            return family.failureCode
        }
        if failure != 0 { noteFailure() }
    }
}

public import Bytes
public import Platform
internal import Synchronization

/// Data, storage and durability.
extension RawDiskImage {
    /// The special operation that finds out where blocks have storage.
    private static let provisioningOperation = 0
    /// The special operation that reads a block, marked or not.
    private static let longReadOperation = 1
    /// The special operation that writes as a whole or not at all.
    private static let atomicWriteOperation = 2

    private static let zeros = [UInt8](repeating: 0, count: 65536)

    // MARK: On a reactor

    /// Reads what is in memory.
    ///
    /// A file that has become shorter than the disk gives `.truncated`: never zeros that nobody wrote.
    public func readCached(into lease: inout BufferLease, first: UInt64, blocks: UInt64) -> MediaResult {
        // Two files are not read at once.
        guard !isProtected.load(ordering: .relaxed) else { return .wouldBlock }
        let (offset, count) = bytes(first, blocks)
        guard !marks.contain(first, blocks) else { return .failed(.marked) }
        var nothing = MutableRawSpan()
        return Self.result(
            store.read(header: &nothing, into: &lease, at: 0, count: count, offset: offset, mode: .cached),
            count: count)
    }

    /// Remembers the epoch in which a command begins to change blocks.
    public func beginWriting(_ request: FileRequest) {
        request.epoch = losses.epoch
    }

    /// Writes to the page cache, unless that could keep the reactor: while storage is being freed, and when no recent
    /// write shows that the file system takes writes.
    ///
    /// Linux has no way to ask. A system call that writes waits for a file system that is frozen, whatever its flags,
    /// and ext4 refuses RWF_NOWAIT for writes. So the first write after `inlineWriteWindow` goes to the lane, and so do
    /// all others until it has ended: a file system that has stopped keeps workers, not reactors. One that stops in the
    /// middle of writes still keeps the reactors that are in one.
    public func writeCached(
        from lease: borrowing BufferLease, at leaseOffset: Int, first: UInt64, blocks: UInt64, for request: FileRequest
    ) -> MediaResult {
        guard !isProtected.load(ordering: .relaxed) else { return .wouldBlock }
        let (offset, count) = bytes(first, blocks)
        let before = losses.refusal(since: request.epoch)
        guard before == 0 else { return .failed(MediaFailure(errorNumber: before)) }
        guard deallocations.load(ordering: .relaxed) == 0, !marks.contain(first, blocks) else { return .wouldBlock }
        var now: Int64 = 0
        if canStall {
            now = clock.now.nanoseconds
            guard now - lastWrite.load(ordering: .relaxed) <= Self.inlineWriteWindow else { return .wouldBlock }
        }
        let result = store.writeCached(lease.bytes.extracting(leaseOffset..<leaseOffset + count), offset: offset)
        if canStall { noteWrite(at: now) }
        return Self.result(result, count: count)
    }

    /// Notes that the file system took a write. Not each time: all reactors read the word.
    private func noteWrite(at now: Int64) {
        guard now - lastWrite.load(ordering: .relaxed) > Self.inlineWriteWindow / 8 else { return }
        lastWrite.store(now, ordering: .relaxed)
    }

    // MARK: Requests

    public func prepareRead(_ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64) {
        prepare(request, .read, first, blocks)
        request.leaseOffset = leaseOffset
    }

    /// Reads one block for READ LONG.
    public func prepareLongRead(_ request: FileRequest, first: UInt64) {
        prepare(request, .special(Self.longReadOperation), first, 1)
        request.leaseOffset = 0
    }

    /// Writes to the page cache, where a thread may wait.
    public func prepareWrite(_ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64) {
        prepare(request, .write, first, blocks)
        request.leaseOffset = leaseOffset
    }

    /// Writes durably, as a whole or not at all (`AtomicWriteJournal`).
    public func prepareAtomicWrite(_ request: FileRequest, first: UInt64, blocks: UInt64) {
        prepare(request, .special(Self.atomicWriteOperation), first, blocks)
        request.leaseOffset = 0
    }

    public var maximumAtomicLength: Int { journal == nil ? 0 : AtomicWriteJournal.maximumLength }

    /// Makes everything durable, whichever blocks a command names: a file has no finer way.
    public func prepareSynchronize(_ request: FileRequest) {
        prepare(request, .synchronizeData, 0, 0)
    }

    /// Frees storage (UNMAP, SBC-4 clause 5.35). Where the file system cannot punch holes the blocks are written with
    /// zeros.
    public func prepareDeallocate(_ request: FileRequest, first: UInt64, blocks: UInt64) {
        precondition(blocks <= maximumDeallocation, "storage is freed in pieces")
        prepare(request, .punchHole, first, blocks)
    }

    /// Makes blocks zero that keep or get storage (WRITE SAME without UNMAP, SBC-4 clause 5.50).
    public func prepareZeros(_ request: FileRequest, first: UInt64, blocks: UInt64) {
        precondition(blocks <= maximumDeallocation, "zeros are written in pieces")
        prepare(request, .zeroRange, first, blocks)
    }

    /// Asks the file system (GET LBA STATUS, SBC-4 clause 5.7).
    public func prepareProvisioning(_ request: FileRequest, first: UInt64, runs: Int) {
        precondition(runs > 0, "an answer has a run")
        prepare(request, .special(Self.provisioningOperation), first, 1)
        request.count = runs
    }

    func prepare(_ request: FileRequest, _ operation: FileRequest.Operation, _ first: UInt64, _ blocks: UInt64) {
        (request.fileOffset, request.count) = bytes(first, blocks)
        request.operation = operation
        request.medium = self
    }

    public func outcome(of request: FileRequest) -> MediaResult {
        switch request.operation {
        case .read, .write, .special(Self.protectedReadOperation), .special(Self.protectedWriteOperation):
            Self.result(request.result, count: request.count)
        default: Self.result(request.result, count: 0)
        }
    }

    public func provisioning(of request: FileRequest) -> [ProvisioningRun] {
        request.answer as? [ProvisioningRun] ?? []
    }

    /// 64 MiB.
    public var maximumDeallocation: UInt64 { UInt64(Self.deallocationLength) >> blockShift }

    // MARK: On a thread that may wait

    public func perform(_ request: FileRequest) -> FileResult? {
        switch request.operation {
        case .read, .special(Self.protectedReadOperation):
            guard !marks.contain(UInt64(request.fileOffset) >> blockShift, UInt64(request.count) >> blockShift) else {
                return .failed(MediaFailure.markedNumber)
            }
            return readProtected(request)
        case .call: return request.perform(on: store)
        case .write, .special(Self.protectedWriteOperation):
            let result = change(request) { writeProtected(request) }
            if canStall, case .done = result { noteWrite(at: clock.now.nanoseconds) }
            return unmarking(request, result)
        case .punchHole:
            let result = change(request) {
                withoutProtection(request) {
                    deallocate(request) { store.punchHole(at: request.fileOffset, length: Int64(request.count)) }
                }
            }
            return unmarking(request, result)
        case .zeroRange, .special(Self.unprotectedZerosOperation):
            let result = change(request) {
                withProtectionOfZeros(request) {
                    deallocate(request) { store.zeroRange(at: request.fileOffset, length: Int64(request.count)) }
                }
            }
            return unmarking(request, result)
        case .synchronizeData:
            return synchronizations.synchronize(request, in: lane) {
                synchronizeStore()
            } result: { request, code in
                let code = code != 0 ? code : losses.refusal(since: request.epoch)
                return code == 0 ? .done(0) : .failed(code)
            }
        case .special(Self.longReadOperation):
            request.operation = .read
            return read(request)
        case .special(Self.protectionCheckOperation): return checkProtection(request)
        case .special(Self.recoveryOperation): return recoverProtection(request)
        case .special(Self.atomicWriteOperation):
            return unmarking(request, change(request) { writeAtomically(request) })
        case .special:
            let runs = provisioning(from: request.fileOffset, runs: request.count)
            request.answer = runs
            return runs.isEmpty ? .failed(MediaFailure.truncatedNumber) : .done(0)
        }
    }

    func read(_ request: FileRequest) -> FileResult {
        let result = request.perform(on: store)
        if case .done(let count) = result, count < request.count { noteTruncation() }
        return result
    }

    private func writeAtomically(_ request: FileRequest) -> FileResult {
        guard let journal, let lease = request.payload.lease.take() else { return .failed(Errno.notSupported) }
        let content = lease.copyToArray()
        request.payload.lease = consume lease
        // A write would make a file longer that is too short, and then nobody would see it any more.
        guard !isTruncated else { return .failed(noteTruncation()) }
        guard let stored = stored(content, at: request.fileOffset) else { return .failed(Errno.inputOutput) }
        var isLost = false
        let code = journal.write(stored.bytes, at: request.fileOffset, to: stored.store) {
            losses.refusal(since: request.epoch)
        } synchronize: {
            synchronizeStore()
        } lose: { code in
            isLost = true
            durability.withLock { _ in countLoss(code) }
        }
        if isLost { losses.tellNoted() }
        let outcome = code != 0 ? code : losses.refusal(since: request.epoch)
        return outcome == 0 ? .done(0) : .failed(outcome)
    }

    /// Changes the file by `body`, unless written data were lost since the command began.
    private func change(_ request: FileRequest, _ body: () -> FileResult) -> FileResult {
        let refusal = losses.refusal(since: request.epoch)
        return refusal == 0 ? body() : .failed(refusal)
    }

    /// Frees storage or reserves it by `body`, or writes zeros where the file system cannot do that.
    private func deallocate(_ request: FileRequest, _ body: () -> Int32) -> FileResult {
        deallocations.add(1, ordering: .relaxed)
        defer { deallocations.subtract(1, ordering: .relaxed) }
        // Zeros would make a file longer that is too short, and then nobody would see it any more.
        guard !isTruncated else { return .failed(noteTruncation()) }
        let code = body()
        guard code == Errno.notSupported else { return code == 0 ? .done(0) : .failed(code) }
        let end = request.fileOffset + Int64(request.count)
        var offset = request.fileOffset
        while offset < end {
            let step = Int(min(end - offset, Int64(Self.zeros.count)))
            if case .failed(let code) = store.write(Self.zeros.rawSpan.extracting(0..<step), offset: offset) {
                return .failed(code)
            }
            offset += Int64(step)
        }
        return .done(0)
    }

    /// Where there is storage from `start` on; none when the file ends before. What the file no longer has is neither
    /// mapped nor free.
    private func provisioning(from start: Int64, runs limit: Int) -> [ProvisioningRun] {
        let runs = allocation(from: start, runs: limit)
        // Asked after the runs, for the file may have been cut meanwhile.
        guard let end = truncatedEnd else { return runs }
        noteTruncation()
        let blocks = UInt64(end) >> blockShift
        guard blocks > UInt64(start) >> blockShift else { return [] }
        guard let last = runs.firstIndex(where: { $0.end >= blocks }) else { return runs }
        return runs[..<last] + [ProvisioningRun(isMapped: runs[last].isMapped, end: blocks)]
    }

    private func allocation(from start: Int64, runs limit: Int) -> [ProvisioningRun] {
        let capacity = capacity
        let mask = Int64(blockSize) - 1
        var runs: [ProvisioningRun] = []
        var offset = start
        while offset < capacity, runs.count < limit {
            let allocated = min(store.nextAllocated(from: offset) ?? capacity, capacity) & ~mask
            if allocated > offset {
                runs.append(ProvisioningRun(isMapped: false, end: UInt64(allocated) >> blockShift))
                offset = allocated
                continue
            }
            let unallocated = min(store.nextUnallocated(from: offset) ?? capacity, capacity)
            // The block in which the storage ends is mapped as a whole; at least this one is.
            offset = min(max((unallocated + mask) & ~mask, offset + Int64(blockSize)), capacity)
            runs.append(ProvisioningRun(isMapped: true, end: UInt64(offset) >> blockShift))
        }
        return runs
    }

    // MARK: Bytes

    /// Where blocks are, and how many bytes they have.
    private func bytes(_ first: UInt64, _ blocks: UInt64) -> (offset: Int64, count: Int) {
        let total = UInt64(capacity) >> blockShift
        precondition(first <= total && blocks <= total - first, "a transfer lies inside the disk")
        return (Int64(first << blockShift), Int(blocks << blockShift))
    }

    private static func result(_ result: FileResult, count: Int) -> MediaResult {
        switch result {
        case .done(let done): done == count ? .done : .failed(.truncated)
        case .wouldBlock: .wouldBlock
        case .failed(let code): .failed(MediaFailure(errorNumber: code))
        }
    }
}

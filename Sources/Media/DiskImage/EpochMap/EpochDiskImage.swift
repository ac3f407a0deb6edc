public import Bytes
public import Platform
internal import Synchronization

/// A disk that is a head of a family: an image with snapshots.
public final class EpochDiskImage: DiskImage {
    /// The most requests of a disk that are performed at a time.
    public static let concurrency = 8
    /// The most bytes that one request frees.
    static let deallocationLength: UInt64 = 1 << 30

    private static let provisioningOperation = 0
    private static let longReadOperation = 1

    /// The file of its family.
    public let file: FamilyFile
    /// The number of its node.
    public let head: UInt32
    public let blockSize: Int
    public let lane: Lane
    public let keptOperation: KeptOperation
    let marks: BlockMarks
    private let synchronizations = SynchronizationGroup()
    private let length: AtomicLength
    private let blockShift: UInt64

    /// A disk over a head of `file`; nil when it has no such head. `engine` performs its requests.
    public init?(file: FamilyFile, head: UInt32, engine: any MediumEngine) {
        guard let node = file.nodes.first(where: { $0.number == head && $0.kind == .head && !$0.isBeingDeleted })
        else { return nil }
        self.file = file
        self.head = head
        blockSize = node.blockSize
        blockShift = UInt64(node.blockSize.trailingZeroBitCount)
        length = AtomicLength(node.capacity)
        lane = Lane(engine: engine, concurrency: Self.concurrency)
        (marks, keptOperation) = Self.notes(of: file.store)
    }

    /// What is kept with the bytes; what cannot be read makes the operation unreadable: nobody knows which blocks may
    /// be read.
    private static func notes(of store: any ByteStore) -> (BlockMarks, KeptOperation) {
        do throws(SystemError) {
            let operation = try store.note(.operation)
            return (BlockMarks(try store.note(.markedBlocks) ?? []), operation.map { .bytes($0) } ?? .none)
        } catch {
            return (BlockMarks([]), .unreadable)
        }
    }

    public var path: String { file.path }
    public var capacity: Int64 { length.value }
    public var allocatedBytes: Int64? { file.allocatedBytes }

    // MARK: On a reactor

    /// `.wouldBlock`: the lane reads.
    public func readCached(into lease: inout BufferLease, first: UInt64, blocks: UInt64) -> MediaResult { .wouldBlock }

    public func beginWriting(_ request: FileRequest) { request.epoch = file.losses.epoch }

    /// `.wouldBlock`: the lane writes.
    public func writeCached(
        from lease: borrowing BufferLease, at leaseOffset: Int, first: UInt64, blocks: UInt64, for request: FileRequest
    ) -> MediaResult {
        let before = file.losses.refusal(since: request.epoch)
        return before == 0 ? .wouldBlock : .failed(MediaFailure(errorNumber: before))
    }

    // MARK: Requests

    public func prepareRead(_ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64) {
        prepare(request, .read, first, blocks)
        request.leaseOffset = leaseOffset
    }

    public func prepareLongRead(_ request: FileRequest, first: UInt64) {
        prepare(request, .special(Self.longReadOperation), first, 1)
        request.leaseOffset = 0
    }

    public func prepareWrite(_ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64) {
        prepare(request, .write, first, blocks)
        request.leaseOffset = leaseOffset
    }

    /// There are none yet; see `maximumAtomicLength`.
    public func prepareAtomicWrite(_ request: FileRequest, first: UInt64, blocks: UInt64) {
        prepareCall(request) { Errno.notSupported }
    }

    public var maximumAtomicLength: Int { 0 }

    public func prepareSynchronize(_ request: FileRequest) { prepare(request, .synchronizeData, 0, 0) }

    public func prepareDeallocate(_ request: FileRequest, first: UInt64, blocks: UInt64) {
        precondition(blocks <= maximumDeallocation, "storage is freed in pieces")
        prepare(request, .punchHole, first, blocks)
    }

    /// Units of zeros need no storage, also when they are written: so this is the same as `prepareDeallocate`.
    public func prepareZeros(_ request: FileRequest, first: UInt64, blocks: UInt64) {
        precondition(blocks <= maximumDeallocation, "zeros are written in pieces")
        prepare(request, .zeroRange, first, blocks)
    }

    public func prepareProvisioning(_ request: FileRequest, first: UInt64, runs: Int) {
        precondition(runs > 0, "an answer has a run")
        prepare(request, .special(Self.provisioningOperation), first, 1)
        request.count = runs
    }

    private func prepare(
        _ request: FileRequest, _ operation: FileRequest.Operation, _ first: UInt64, _ blocks: UInt64
    ) {
        let total = UInt64(capacity) >> blockShift
        precondition(first <= total && blocks <= total - first, "a transfer lies inside the disk")
        (request.fileOffset, request.count) = (Int64(first << blockShift), Int(blocks << blockShift))
        request.operation = operation
        request.medium = self
    }

    func prepareCall(_ request: FileRequest, _ body: @escaping @Sendable () -> Int32) {
        request.operation = .call(body)
        request.medium = self
    }

    public func outcome(of request: FileRequest) -> MediaResult {
        let expected =
            switch request.operation {
            case .read, .write: request.count
            default: 0
            }
        return switch request.result {
        case .done(let done): done == expected ? .done : .failed(.truncated)
        case .wouldBlock: .wouldBlock
        case .failed(let code): .failed(MediaFailure(errorNumber: code))
        }
    }

    public func provisioning(of request: FileRequest) -> [ProvisioningRun] {
        request.answer as? [ProvisioningRun] ?? []
    }

    public var maximumDeallocation: UInt64 { Self.deallocationLength >> blockShift }

    // MARK: On a thread that may wait

    public func perform(_ request: FileRequest) -> FileResult? {
        switch request.operation {
        case .read:
            let first = UInt64(request.fileOffset) >> blockShift
            guard !marks.contain(first, UInt64(request.count) >> blockShift) else {
                return .failed(MediaFailure.markedNumber)
            }
            return read(request)
        case .special(Self.longReadOperation):
            request.operation = .read
            return read(request)
        case .write: return change(request) { write(request) }
        case .punchHole, .zeroRange:
            return change(request) {
                let (offset, length) = (request.fileOffset, Int64(request.count))
                let result = file.withFamily { $0.discard(head, at: offset, length: length) }
                return if case .done = result { .done(0) } else { result }
            }
        case .synchronizeData:
            return synchronizations.synchronize(request, in: lane) {
                file.flush()
            } result: { request, code in
                let code = code != 0 ? code : file.losses.refusal(since: request.epoch)
                return code == 0 ? .done(0) : .failed(code)
            }
        case .special: return findProvisioning(request)
        case .call(let body):
            let code = body()
            return code == 0 ? .done(0) : .failed(code)
        }
    }

    private func read(_ request: FileRequest) -> FileResult {
        guard var lease = request.payload.lease.take() else { preconditionFailure("reading needs a lease") }
        let (start, count) = (request.leaseOffset, request.count)
        if lease.count < start + count { lease.setCount(start + count) }
        var bytes = lease.mutableBytes
        var part = bytes._mutatingExtracting(start..<start + count)
        let result = file.withFamily { $0.read(head, into: &part, at: request.fileOffset) }
        request.payload.lease = consume lease
        return result
    }

    private func write(_ request: FileRequest) -> FileResult {
        guard let lease = request.payload.lease.take() else { preconditionFailure("writing needs a lease") }
        let result = write(lease, request)
        request.payload.lease = consume lease
        return result
    }

    private func write(_ lease: borrowing BufferLease, _ request: FileRequest) -> FileResult {
        let part = lease.bytes.extracting(request.leaseOffset..<request.leaseOffset + request.count)
        return file.withFamily { $0.write(head, part, at: request.fileOffset) }
    }

    /// Changes blocks by `body`, unless written data were lost since the command began.
    private func change(_ request: FileRequest, _ body: () -> FileResult) -> FileResult {
        let refusal = file.losses.refusal(since: request.epoch)
        guard refusal == 0 else { return .failed(refusal) }
        let result = body()
        if case .failed = result { file.noteFailure() }
        guard case .done = result, !marks.isEmpty else { return result }
        let code = unmark(UInt64(request.fileOffset) >> blockShift, UInt64(request.count) >> blockShift)
        return code == 0 ? result : .failed(code)
    }

    private func findProvisioning(_ request: FileRequest) -> FileResult {
        let perUnit = UInt64(EpochFormat.unitLength) >> blockShift
        let (first, limit, total) = (UInt64(request.fileOffset) >> blockShift, request.count, blockCount)
        let found = file.withFamily { family -> Result<[DiskFamily.UnitRun], FamilyError> in
            Result { () throws(FamilyError) in try family.runs(head, first: first / perUnit, limit: limit) }
        }
        switch found {
        case .success(let runs):
            request.answer = runs.map { ProvisioningRun(isMapped: $0.isMapped, end: min($0.end * perUnit, total)) }
            return .done(0)
        case .failure(let error):
            return .failed(error.failure.errorNumber)
        }
    }

    // MARK: The control plane

    public func resize(to capacity: Int64) throws(DiskImageError) {
        let before = length.value
        guard capacity > 0, capacity % Int64(blockSize) == 0 else {
            throw .lengthMismatch(path: path, length: capacity, blockSize: blockSize)
        }
        guard capacity >= before else { throw .smaller(path: path, capacity: before) }
        if let failure = loss { throw .dataLost(path: path, failure) }
        let result = file.withFamily { family in
            Result { () throws(FamilyError) in try family.resize(head, to: capacity) }
        }
        if case .failure(let error) = result {
            file.noteFailure()
            throw .family(path: path, error)
        }
        length.value = capacity
    }

    /// Only through the page cache, for now.
    public func setDirect(_ isOn: Bool) throws(DiskImageError) {
        if isOn { throw .notDirect(path: path) }
    }

    public func synchronize() -> MediaFailure? {
        let code = file.flush()
        file.recordLossAgain()
        return MediaFailure.of(code)
    }

    public func close() -> MediaFailure? { file.close() }
}

internal import Bytes
public import Platform
internal import Synchronization

/// A disk that is a version of one in a family: a head, which is written, or a snapshot, which is not.
///
/// A rollback has it go on with another head. What was decided for the former content is not done to the new one:
/// requests that are under way end first, and those that come after and change blocks fail with `.replaced`, because
/// they know the generation of the content that they were made for.
public final class EpochDiskImage: DiskImage {
    /// The most requests of a disk that are performed at a time.
    public static let concurrency = 8
    /// The most bytes that one request frees.
    static let deallocationLength: UInt64 = 1 << 30

    /// Where the generation is in `FileRequest.epoch`, above the number of losses.
    static let generationShift: UInt64 = 32

    private static let provisioningOperation = 0
    private static let longReadOperation = 1
    private static let atomicWriteOperation = 2

    /// The file of its family.
    public let file: FamilyFile
    public let blockSize: Int
    public let isReadOnly: Bool
    public let lane: Lane
    let marks: BlockMarks
    private let operation: Lock<KeptOperation>
    private let synchronizations = SynchronizationGroup()
    private let nodeWord: Atomic<UInt32>
    private let length: AtomicLength
    let blockShift: UInt64
    /// When a write ended last, to an eighth of `RawDiskImage.inlineWriteWindow`, in nanoseconds of `clock`.
    let lastWrite = Atomic<Int64>(-RawDiskImage.inlineWriteWindow - 1)
    let clock: MonotonicClock
    let upkeep: FamilyUpkeep
    /// The file's: from here a command comes to it without a reference that is counted.
    let door: FamilyDoor
    /// Counts the contents that it has had.
    private let generationWord = Atomic<UInt64>(0)
    /// What uses blocks or notes of the node; closed while another node takes its place.
    private let requests = PassGate()
    let isClosed = Atomic<Bool>(false)
    private let replacementObserver = Lock<(@Sendable () -> Void)?>(nil)

    /// A disk over a node of `file`, until `close`; nil when there is no such node, another one has the head, or the
    /// file is closed. `engine` performs its requests. Several may have a snapshot.
    public init?(
        file: FamilyFile, node number: UInt32, engine: any MediumEngine, clock: MonotonicClock = .system
    ) {
        guard let node = file.beginUse(of: number, engine: engine) else { return nil }
        self.file = file
        nodeWord = Atomic(number)
        isReadOnly = node.kind == .snapshot
        blockSize = node.blockSize
        blockShift = UInt64(node.blockSize.trailingZeroBitCount)
        length = AtomicLength(node.capacity)
        lane = Lane(engine: engine, concurrency: Self.concurrency, group: file.requests)
        self.clock = clock
        door = file.door
        upkeep = FamilyUpkeep(engine: engine, group: file.requests) { [weak file] in file?.upkeep() }
        let notes = file.notes(of: number)
        marks = BlockMarks(notes.marks)
        operation = Lock(notes.operation)
    }

    deinit {
        file.lossObservers.remove(self)
        guard !isClosed.load(ordering: .relaxed) else { return }
        _ = file.setDirect(false, for: self)
        _ = file.endUse(of: node)
    }

    /// The number of its node.
    public var node: UInt32 { nodeWord.load(ordering: .acquiring) }
    public var keptOperation: KeptOperation { operation.withLock { $0 } }
    public var path: String { file.path }
    /// The level of zstd at which it is compressed; nil when it is not.
    public var compressionLevel: Int? { file.compressionLevel }
    public var capacity: Int64 { length.value }
    public var allocatedBytes: Int64? { file.allocatedBytes }

    // MARK: On a reactor

    /// Remembers the number of losses, and the generation.
    public func beginWriting(_ request: FileRequest) {
        request.epoch = generation << Self.generationShift | file.losses.epoch
    }

    var generation: UInt64 { generationWord.load(ordering: .acquiring) }

    /// Why data of the command of `request` may be lost; 0 when all is well.
    func lossCode(since request: FileRequest) -> Int32 {
        file.losses.refusal(since: request.epoch & (1 << Self.generationShift - 1))
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

    /// As `DiskFamily.writeAtomically` does it.
    public func prepareAtomicWrite(_ request: FileRequest, first: UInt64, blocks: UInt64) {
        prepare(request, .special(Self.atomicWriteOperation), first, blocks)
        request.leaseOffset = 0
    }

    public var maximumAtomicLength: Int { DiskFamily.atomicLength }

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
        // The device has checked that; since then a rollback may have made the disk smaller.
        guard first <= total && blocks <= total - first else {
            return prepareCall(request) { MediaFailure.replacedNumber }
        }
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
            return using { node in
                guard isInside(request) else { return .failed(MediaFailure.replacedNumber) }
                let first = UInt64(request.fileOffset) >> blockShift
                guard !marks.contain(first, UInt64(request.count) >> blockShift) else {
                    return .failed(MediaFailure.markedNumber)
                }
                return read(request, node)
            }
        case .special(Self.longReadOperation):
            request.operation = .read
            return using { isInside(request) ? read(request, $0) : .failed(MediaFailure.replacedNumber) }
        case .write:
            return change(request) { family, node in
                withLease(request) { family.write(node, $0, at: request.fileOffset) }
            }
        case .special(Self.atomicWriteOperation):
            return change(request) { family, node in
                let result = withLease(request) { family.writeAtomically(node, $0, at: request.fileOffset) }
                return if case .done = result { .done(0) } else { result }
            }
        case .punchHole, .zeroRange:
            return change(request) { family, node in
                let (offset, length) = (request.fileOffset, Int64(request.count))
                let result = family.discard(node, at: offset, length: length)
                guard case .done = result else { return result }
                file.noteDiscarded(request.count)
                return .done(0)
            }
        case .synchronizeData:
            return synchronizations.synchronize(request, in: lane) {
                file.flush()
            } result: { request, code in
                let code = code != 0 ? code : lossCode(since: request)
                return code == 0 ? .done(0) : .failed(code)
            }
        case .special: return using { findProvisioning(request, $0) }
        case .call(let body):
            let code = body()
            return code == 0 ? .done(0) : .failed(code)
        }
    }

    /// What `body` does with the node, which stays until it returns; nothing after `close`. Not inside of another one.
    private func using(_ body: (_ node: UInt32) -> FileResult) -> FileResult {
        requests.pass { isClosed.load(ordering: .acquiring) ? .failed(Errno.cancelled) : body(node) }
    }

    /// Whether the bytes of a request are on the disk, which a rollback may have made smaller.
    private func isInside(_ request: FileRequest) -> Bool {
        request.fileOffset + Int64(request.count) <= capacity
    }

    private func read(_ request: FileRequest, _ node: UInt32) -> FileResult {
        guard var lease = request.payload.lease.take() else { preconditionFailure("reading needs a lease") }
        let (start, count) = (request.leaseOffset, request.count)
        if lease.count < start + count { lease.setCount(start + count) }
        var bytes = lease.mutableBytes
        var part = bytes._mutatingExtracting(start..<start + count)
        let result = file.withFamily { $0.read(node, into: &part, at: request.fileOffset) }
        request.payload.lease = consume lease
        if case .failed(MediaFailure.truncatedNumber) = result { file.noteFailure(MediaFailure.truncatedNumber) }
        return result
    }

    /// What `body` does with the bytes that a request has for the disk.
    private func withLease(_ request: FileRequest, _ body: (RawSpan) -> FileResult) -> FileResult {
        guard let lease = request.payload.lease.take() else { preconditionFailure("writing needs a lease") }
        let result = Self.withBytes(of: lease, request, body)
        request.payload.lease = consume lease
        if case .done = result, file.canStall { noteWrite(at: clock.now.nanoseconds) }
        return result
    }

    private static func withBytes(
        of lease: borrowing BufferLease, _ request: FileRequest, _ body: (RawSpan) -> FileResult
    ) -> FileResult {
        body(lease.bytes.extracting(request.leaseOffset..<request.leaseOffset + request.count))
    }

    /// Changes blocks by `body`, unless written data were lost, or the content was replaced, since the command began.
    private func change(_ request: FileRequest, _ body: (DiskFamily, UInt32) -> FileResult) -> FileResult {
        change(request.fileOffset, request.count, generation: request.epoch >> Self.generationShift) {
            let refusal = lossCode(since: request)
            return refusal == 0 ? nil : .failed(refusal)
        } _: {
            body($0, $1)
        }
    }

    /// Changes bytes of the disk by `body`, as it had them in a generation, unless `refusal` says why not.
    func change(
        _ offset: Int64, _ count: Int, generation: UInt64, refusal: () -> FileResult?,
        _ body: (DiskFamily, UInt32) -> FileResult
    ) -> FileResult {
        using { node in
            guard !isReadOnly else { return .failed(MediaFailure.writeProtectedNumber) }
            guard generation == self.generation, offset + Int64(count) <= capacity else {
                return .failed(MediaFailure.replacedNumber)
            }
            return file.writes.pass {
                if let refused = refusal() { return refused }
                let (result, failure) = file.withFamily { (body($0, node), $0.failureCode) }
                if case .failed(let code) = result {
                    let loss = file.noteFailure(code)
                    return loss == 0 ? result : .failed(loss)
                }
                // What follows by itself from a write synchronises too.
                guard failure == 0 else {
                    file.noteFailure()
                    return .failed(failure)
                }
                guard !marks.isEmpty else { return result }
                let code = unmark(UInt64(offset) >> blockShift, UInt64(count) >> blockShift, of: node)
                return code == 0 ? result : .failed(code)
            }
        }
    }

    /// Does what concerns notes of the node, in a generation; 0 or an error number.
    func changeNotes(generation: UInt64? = nil, _ body: (_ node: UInt32) -> Int32) -> Int32 {
        let result = using { node in
            guard !isReadOnly else { return .failed(MediaFailure.writeProtectedNumber) }
            guard generation == nil || generation == self.generation else {
                return .failed(MediaFailure.replacedNumber)
            }
            let code = file.writes.pass { body(node) }
            return code == 0 ? .done(0) : .failed(code)
        }
        if case .failed(let code) = result { return code }
        return 0
    }

    private func findProvisioning(_ request: FileRequest, _ node: UInt32) -> FileResult {
        let perUnit = UInt64(EpochFormat.unitLength) >> blockShift
        let (first, limit, total) = (UInt64(request.fileOffset) >> blockShift, request.count, blockCount)
        guard first < total else { return .failed(MediaFailure.replacedNumber) }
        let found = file.withFamily { family -> Result<[DiskFamily.UnitRun], FamilyError> in
            Result { () throws(FamilyError) in try family.runs(node, first: first / perUnit, limit: limit) }
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
        guard !isReadOnly else { throw .family(path: path, .notHead(node)) }
        let before = length.value
        guard capacity > 0, capacity % Int64(blockSize) == 0 else {
            throw .lengthMismatch(path: path, length: capacity, blockSize: blockSize)
        }
        guard capacity >= before else { throw .smaller(path: path, capacity: before) }
        if let failure = loss { throw .dataLost(path: path, failure) }
        do throws(FamilyError) {
            try file.resize(node, to: capacity)
        } catch {
            throw .family(path: path, error)
        }
        length.value = capacity
    }

    /// Makes what the disk has a snapshot of the name `name`, and has it go on, below `snapshot`, with what that has;
    /// the number of the new head, which has the disk's name. The disk has the capacity of the snapshot then.
    ///
    /// Requests that are under way end first; those that change what the disk was fail from then on. Before any other
    /// is performed, `observeReplacement` is told. It is refused while an operation on all blocks is kept.
    public func rollBack(
        to snapshot: UInt32, keeping name: String, time: CalendarTime
    ) throws(FamilyError) -> UInt32 {
        guard !isReadOnly else { throw .notHead(node) }
        return try file.rollBack(self, to: snapshot, keeping: name, time: time)
    }

    /// Goes on with the node that `body` gives, while nobody uses the present one. When it throws, nothing changes.
    func switching(_ body: () throws(FamilyError) -> UInt32) throws(FamilyError) {
        try pausing { () throws(FamilyError) in adopt(try body()) }
    }

    /// Calls `body` while nobody uses the node; refused after `close`.
    func pausing(_ body: () throws(FamilyError) -> Void) throws(FamilyError) {
        requests.close()
        file.door.close()
        defer {
            file.door.open()
            requests.open()
        }
        guard !isClosed.load(ordering: .acquiring) else { throw .closed }
        try body()
    }

    private func adopt(_ number: UInt32) {
        let notes = file.notes(of: number)
        marks.replace(with: notes.marks)
        operation.withLock { $0 = notes.operation }
        if let found = file.node(number) { length.value = found.capacity }
        nodeWord.store(number, ordering: .releasing)
        // First: who begins to write after the next line knows, or finds out, that the content was replaced.
        replacementObserver.withLock { $0 }?()
        generationWord.add(1, ordering: .acquiringAndReleasing)
    }

    public func observeReplacement(_ body: @escaping @Sendable () -> Void) {
        replacementObserver.withLock { $0 = body }
    }

    /// The whole file is read and written past the page cache, while one of its disks wants that.
    public func setDirect(_ isOn: Bool) throws(DiskImageError) {
        let code = file.setDirect(isOn, for: self)
        switch code {
        case 0: return
        case Errno.invalidArgument, Errno.notSupported: throw .notDirect(path: path)
        default: throw .system(SystemError(code: code, operation: "open directly", path: path))
        }
    }

    public func synchronize() -> MediaFailure? {
        let code = file.flush()
        file.recordLossAgain()
        return MediaFailure.of(code)
    }

    /// Makes everything durable. Nothing is performed any more; what is under way ends first.
    public func close() -> MediaFailure? {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return nil }
        requests.close()
        file.door.close()
        file.door.open()
        requests.open()
        upkeep.stop()
        _ = file.setDirect(false, for: self)
        return file.endUse(of: node)
    }
}

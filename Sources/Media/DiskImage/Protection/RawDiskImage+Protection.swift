public import Platform
public import SCSI
internal import Synchronization

/// Protection information (SBC-4 clause 4.21).
extension RawDiskImage {
    /// The special operations that read and write blocks with protection information in the lease, check what is in
    /// one, write zeros without any, and look through what a crash has left.
    static let protectedReadOperation = 3
    static let protectedWriteOperation = 4
    static let protectionCheckOperation = 5
    static let unprotectedZerosOperation = 6
    static let recoveryOperation = 7

    public var protection: ProtectionType? { protectionFile?.type }

    // MARK: Requests

    public func prepareRead(
        _ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64, _ transfer: ProtectionTransfer
    ) {
        prepare(request, Self.protectedReadOperation, leaseOffset, first, blocks, transfer)
    }

    public func prepareWrite(
        _ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64, _ transfer: ProtectionTransfer
    ) {
        prepare(request, Self.protectedWriteOperation, leaseOffset, first, blocks, transfer)
    }

    public func prepareProtectionCheck(
        _ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64, _ transfer: ProtectionTransfer
    ) {
        prepare(request, Self.protectionCheckOperation, leaseOffset, first, blocks, transfer)
    }

    private func prepare(
        _ request: FileRequest, _ operation: Int, _ leaseOffset: Int, _ first: UInt64, _ blocks: UInt64,
        _ transfer: ProtectionTransfer
    ) {
        prepare(request, .special(operation), first, blocks)
        request.leaseOffset = leaseOffset
        request.detail = transfer
        request.answer = nil
    }

    public func prepareUnprotectedZeros(_ request: FileRequest, first: UInt64, blocks: UInt64) {
        precondition(blocks <= maximumDeallocation, "zeros are written in pieces")
        prepare(request, .special(Self.unprotectedZerosOperation), first, blocks)
    }

    public func protectionFailure(of request: FileRequest) -> ProtectionFailure? {
        request.answer as? ProtectionFailure
    }

    // MARK: On a thread that may wait

    private func firstBlock(_ request: FileRequest) -> UInt64 { UInt64(request.fileOffset) >> blockShift }
    private func blocks(_ request: FileRequest) -> UInt64 { UInt64(request.count) >> blockShift }

    /// What a request does with protection information; the image's own way for plain reads and writes.
    private func transfer(_ request: FileRequest) -> ProtectionTransfer {
        if case .special = request.operation, let transfer = request.detail as? ProtectionTransfer { return transfer }
        let tag = protectionFile?.type == .type1 ? UInt32(truncatingIfNeeded: firstBlock(request)) : nil
        return ProtectionTransfer(.image, checks: .all, expected: ExpectedTags(referenceTag: tag))
    }

    func readProtected(_ request: FileRequest) -> FileResult {
        guard let protectionFile else { return plainly(request, .read) { read(request) } }
        let (result, failure) = protectionFile.read(
            request, firstBlock(request), blocks(request), from: store, transfer(request))
        request.answer = failure
        if case .failed(MediaFailure.truncatedNumber) = result { noteTruncation() }
        return result
    }

    func writeProtected(_ request: FileRequest) -> FileResult {
        guard let protectionFile else { return plainly(request, .write) { request.perform(on: store) } }
        return protectionFile.write(
            request, firstBlock(request), blocks(request), to: store, transfer(request),
            synchronizeOwn: synchronizeProtection)
    }

    /// Performs a request by `body`, as `operation`, for blocks without protection information. It may have been
    /// prepared when they had some: then it fails where its lease has room for that behind each block.
    private func plainly(
        _ request: FileRequest, _ operation: FileRequest.Operation, _ body: () -> FileResult
    ) -> FileResult {
        if case .special = request.operation {
            guard !transfer(request).isInterleaved else { return formerProtection(request) }
            request.operation = operation
        }
        return body()
    }

    /// What a request ends with that needs protection information which the blocks have no longer.
    private func formerProtection(_ request: FileRequest) -> FileResult {
        request.answer = nil
        return .failed(MediaFailure.protectionNumber)
    }

    func checkProtection(_ request: FileRequest) -> FileResult {
        guard let protectionFile else { return formerProtection(request) }
        let failure = protectionFile.firstWrong(
            request, firstBlock(request), blocks(request), transfer(request))
        request.answer = failure
        return failure == nil ? .done(0) : .failed(MediaFailure.protectionNumber)
    }

    /// Makes what is written of it durable; a failure is a loss as with data.
    func synchronizeProtection() -> Int32 {
        synchronizing { protectionFile?.store.synchronizeData() ?? 0 }
    }

    /// Changes blocks by `body` that have no protection information afterwards.
    func withoutProtection(_ request: FileRequest, _ body: () -> FileResult) -> FileResult {
        guard let protectionFile else { return body() }
        return change(request, protectionFile, body) { protectionFile.reset($0, $1) }
    }

    /// Makes blocks zeros by `body`, with the protection information of zeros unless the request wants none.
    func withProtectionOfZeros(_ request: FileRequest, _ body: () -> FileResult) -> FileResult {
        guard let protectionFile else { return body() }
        if case .special = request.operation { return withoutProtection(request, body) }
        return change(request, protectionFile, body) { protectionFile.generateForZeros($0, $1) }
    }

    private func change(
        _ request: FileRequest, _ protectionFile: ProtectionFile, _ body: () -> FileResult,
        tags: (UInt64, UInt64) -> Int32
    ) -> FileResult {
        // Protection information would make its file longer that is too short, and then nobody would see it any more.
        guard !isTruncated else { return .failed(noteTruncation()) }
        let (first, blocks) = (firstBlock(request), blocks(request))
        let code = protectionFile.change(first, blocks, synchronizeOwn: synchronizeProtection) {
            tags(first, blocks)
        } data: {
            switch body() {
            case .done: 0
            case .failed(let code): code
            case .wouldBlock: Errno.wouldBlock
            }
        }
        return code == 0 ? .done(0) : .failed(code)
    }

    // MARK: After a crash

    /// Begins to look through the regions that were being written when a crash or a loss came, in the lane.
    func startRecovery() {
        guard let protectionFile, protectionFile.regions.hasSuspects,
            recovery.begin(protectionFile, epoch: losses.epoch)
        else { return }
        recovery.request.operation = .special(Self.recoveryOperation)
        recovery.request.medium = self
        lane.submitDetached(recovery.request)
    }

    /// Looks through a piece; the request is the recovery's own.
    func recoverProtection(_ request: FileRequest) -> FileResult? {
        switch recovery.next(blockCount) {
        case .piece(let file, let blocks, let round):
            var block = blocks.lowerBound
            while block < blocks.upperBound {
                let group = file.group(block, blocks.upperBound - block, after: 0)
                guard file.recover(group, from: store) == 0 else {
                    // The regions stay suspect; the next opening tries again.
                    recovery.give(up: round)
                    break
                }
                block += UInt64(group.count)
            }
        case .done(let file, let regions, let epoch):
            clear(regions, of: file, since: epoch)
            recovery.tell(file.takeForgottenBlocks())
        case .stopped: return nil
        }
        lane.submitDetached(request)
        return nil
    }

    private func clear(_ regions: Set<Int>, of file: ProtectionFile, since epoch: UInt64) {
        guard synchronizeStore() == 0 else { return }
        durability.withLock { _ in
            // What was lost meanwhile is suspect although it was looked at.
            if losses.refusal(since: epoch) == 0, protectionFile === file { file.regions.clear(regions) }
        }
    }

    public func observeForgottenProtection(_ body: @escaping @Sendable (Int) -> Void) { recovery.observe(body) }
}

/// How far the look through suspect regions is.
final class ProtectionRecovery: Sendable {
    /// The bytes of data that a piece looks through, so that requests of commands come in between.
    private static let pieceLength: Int64 = 4 << 20
    /// How many regions of which none is suspect one piece passes over, at most.
    private static let passedRegions = 65536

    /// What comes next.
    enum Next {
        /// Blocks of a file, which may be none, in a round.
        case piece(ProtectionFile, Range<UInt64>, round: Int)
        /// Regions of a file were all looked through, in a round that began when there had been `epoch` losses.
        case done(ProtectionFile, Set<Int>, epoch: UInt64)
        /// Nothing; the request is free.
        case stopped
    }

    private struct State {
        /// Nil when it was stopped, or has ended.
        var file: ProtectionFile?
        var regions: Set<Int> = []
        /// How many losses there had been when it began.
        var epoch: UInt64 = 0
        /// Where the next piece begins, in bytes of the disk.
        var offset: Int64 = 0
        /// Counts the beginnings.
        var round = 0
        /// Whether the request is in the lane.
        var isSubmitted = false
        var observer: (@Sendable (Int) -> Void)?
        /// What nobody has been told.
        var untold = 0
    }

    private let state = Lock(State())
    let request = FileRequest()

    /// Begins with the suspect regions of `file`, also again; true when the request is to be submitted.
    func begin(_ file: ProtectionFile, epoch: UInt64) -> Bool {
        let regions = file.regions.suspects
        return state.withLock { state in
            (state.file, state.regions, state.epoch, state.offset) = (file, regions, epoch, 0)
            state.round += 1
            defer { state.isSubmitted = true }
            return !state.isSubmitted
        }
    }

    func next(_ blockCount: UInt64) -> Next {
        state.withLock { state in
            guard let file = state.file else {
                state.isSubmitted = false
                request.medium = nil
                return .stopped
            }
            let size = Int64(file.blockSize)
            let capacity = Int64(blockCount) * size
            var passed = 0
            while state.offset < capacity {
                let start = state.offset
                guard state.regions.contains(ProtectionRegions.index(of: start)) else {
                    state.offset = (start / ProtectionRegions.length + 1) * ProtectionRegions.length
                    passed += 1
                    guard passed < Self.passedRegions else {
                        let block = UInt64(start / size)
                        return .piece(file, block..<block, round: state.round)
                    }
                    continue
                }
                state.offset = min(start + Self.pieceLength, capacity)
                return .piece(file, UInt64(start / size)..<UInt64(state.offset / size), round: state.round)
            }
            state.file = nil
            return .done(file, state.regions, epoch: state.epoch)
        }
    }

    /// Ends a round, unless another one has begun.
    func give(up round: Int) {
        state.withLock { state in
            if state.round == round { state.file = nil }
        }
    }

    func stop() { state.withLock { $0.file = nil } }

    // MARK: What was forgotten

    /// Has `body` hear of what was forgotten until now, and will be.
    func observe(_ body: @escaping @Sendable (Int) -> Void) {
        let untold = state.withLock { state in
            state.observer = body
            defer { state.untold = 0 }
            return state.untold
        }
        if untold > 0 { body(untold) }
    }

    /// Tells how many blocks have lost their protection information.
    func tell(_ count: Int) {
        guard count > 0 else { return }
        let observer = state.withLock { state in
            if state.observer == nil { state.untold += count }
            return state.observer
        }
        observer?(count)
    }
}

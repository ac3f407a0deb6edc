internal import Bytes
public import Platform

/// What is kept with an image besides its blocks, and operations on all of them.
extension RawDiskImage {
    // MARK: Marks

    /// Marks the block in the image's note of them.
    public func prepareMarking(_ request: FileRequest, first: UInt64) {
        prepareCall(request) { [self] in marks.add(first) { keep($0, insteadOf: $1, as: .markedBlocks) } }
    }

    public var hasMarks: Bool { !marks.isEmpty }

    public func isMarked(_ block: UInt64) -> Bool { marks.contain(block, 1) }

    public func removeMarks() -> MediaFailure? { MediaFailure.of(unmark(0, .max)) }

    /// Takes the marks of blocks away that were written; 0 or an error number.
    func unmark(_ first: UInt64, _ blocks: UInt64) -> Int32 {
        guard marks.contain(first, blocks) else { return 0 }
        return marks.remove(first, blocks) { keep($0, insteadOf: $1, as: .markedBlocks) }
    }

    /// What `result` becomes when the blocks that a request has changed had marks.
    func unmarking(_ request: FileRequest, _ result: FileResult) -> FileResult {
        guard !marks.isEmpty, case .done = result else { return result }
        let code = unmark(UInt64(request.fileOffset) >> blockShift, UInt64(request.count) >> blockShift)
        return code == 0 ? result : .failed(code)
    }

    // MARK: Operations

    public func prepareKeeping(_ request: FileRequest, operation: [UInt8]?, insteadOf previous: [UInt8]?) {
        prepareCall(request) { [self] in keep(operation, insteadOf: previous, as: .operation) }
    }

    public func keep(operation: [UInt8]?, insteadOf previous: [UInt8]?) -> MediaFailure? {
        MediaFailure.of(keep(operation, insteadOf: previous, as: .operation))
    }

    public func keep(failedOperation operation: [UInt8]) -> MediaFailure? {
        MediaFailure.of(keep(afterLoss: operation, as: .operation))
    }

    func prepareCall(_ request: FileRequest, _ body: @escaping @Sendable () -> Int32) {
        request.operation = .call(body)
        request.medium = self
    }

    /// As a request of `prepareDeallocate` does it.
    public func erase(first: UInt64, blocks: UInt64) -> MediaFailure? {
        let request = FileRequest()
        beginWriting(request)
        prepareDeallocate(request, first: first, blocks: blocks)
        guard case .failed(let code)? = perform(request) else { return nil }
        return MediaFailure(errorNumber: code)
    }

    public func fill(first: UInt64, with content: [UInt8]) -> MediaFailure? {
        let offset = Int64(first << blockShift)
        precondition(offset + Int64(content.count) <= capacity, "a transfer lies inside the disk")
        if let loss { return loss }
        // A write would make a file longer that is too short, and then nobody would see it any more.
        guard !isTruncated else { return MediaFailure(errorNumber: noteTruncation()) }
        if let protectionFile {
            let blocks = UInt64(content.count) >> blockShift
            let code = protectionFile.change(first, blocks, synchronizeOwn: synchronizeProtection) {
                protectionFile.reset(first, blocks)
            } data: {
                ProtectionFile.code(store.write(content.rawSpan, offset: offset), content.count)
            }
            return MediaFailure.of(code)
        }
        switch store.write(content.rawSpan, offset: offset) {
        case .done(let count): return count == content.count ? nil : .truncated
        case .failed(let code): return MediaFailure(errorNumber: code)
        case .wouldBlock: return .device(Errno.wouldBlock)
        }
    }

    public func eraseAtomicRecord() -> MediaFailure? { MediaFailure.of(journal?.erase() ?? 0) }

    // MARK: The end

    /// Makes all completed writes durable, and removes the journal of atomic writes, which nobody needs then.
    public func close() -> MediaFailure? {
        recovery.stop()
        // Before the synchronisation: a request of a command that was aborted may still write.
        let rested = protectionFile?.regions.resting(at: .max, for: 0) ?? [:]
        if let failure = synchronize() { return failure }
        journal?.close()
        protectionFile?.close(rested)
        return nil
    }
}

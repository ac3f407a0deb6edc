internal import Bytes
public import Platform
public import SCSI

/// What is kept with a disk with snapshots besides its blocks, and operations on all of them.
extension EpochDiskImage {
    // MARK: Marks

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

    // MARK: Operations

    public func prepareKeeping(_ request: FileRequest, operation: [UInt8]?, insteadOf previous: [UInt8]?) {
        prepareCall(request) { [self] in keep(operation, insteadOf: previous, as: .operation) }
    }

    public func keep(operation: [UInt8]?, insteadOf previous: [UInt8]?) -> MediaFailure? {
        MediaFailure.of(keep(operation, insteadOf: previous, as: .operation))
    }

    public func keep(failedOperation operation: [UInt8]) -> MediaFailure? {
        let code = keep(operation, insteadOf: operation, as: .operation)
        return code == 0 ? nil : MediaFailure.of(loss == nil ? code : put(operation, as: .operation))
    }

    /// Puts a note down or removes it, durably with all that was written before; 0, or an error number, with which
    /// `previous` is what stays, as far as that can be done. After a loss nothing is touched.
    private func keep(_ note: [UInt8]?, insteadOf previous: [UInt8]?, as key: StoreNoteKey) -> Int32 {
        var refusal: Int32 = 0
        let code = file.durably { family in
            refusal = file.store.setNote(key, note)
            // That the store does not take a note is no loss.
            guard refusal == 0 else { return 0 }
            let flushed = family.flush()
            let code = flushed == 0 ? family.synchronizeNotes() : flushed
            if code != 0 { _ = put(previous, as: key) }
            return code
        }
        return code != 0 ? code : refusal
    }

    /// Puts a note down or removes it; 0 or an error number. It says nothing of what was written.
    private func put(_ note: [UInt8]?, as key: StoreNoteKey) -> Int32 {
        let code = file.store.setNote(key, note)
        return code == 0 ? file.store.synchronize() : code
    }

    public func erase(first: UInt64, blocks: UInt64) -> MediaFailure? {
        let request = FileRequest()
        beginWriting(request)
        prepareDeallocate(request, first: first, blocks: blocks)
        guard case .failed(let code)? = perform(request) else { return nil }
        return MediaFailure(errorNumber: code)
    }

    public func fill(first: UInt64, with content: [UInt8]) -> MediaFailure? {
        if let loss { return loss }
        let offset = Int64(first) * Int64(blockSize)
        precondition(offset + Int64(content.count) <= capacity, "a transfer lies inside the disk")
        switch file.withFamily({ $0.write(head, content.rawSpan, at: offset) }) {
        case .done(let count): return count == content.count ? nil : .truncated
        case .failed(let code):
            file.noteFailure()
            return MediaFailure(errorNumber: code)
        case .wouldBlock: return .device(Errno.wouldBlock)
        }
    }

    public func eraseAtomicRecord() -> MediaFailure? { nil }

    // MARK: Protection information, of which it keeps none

    public var protection: ProtectionType? { nil }

    public func prepareRead(
        _ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64, _ transfer: ProtectionTransfer
    ) { prepareCall(request) { Errno.notSupported } }

    public func prepareWrite(
        _ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64, _ transfer: ProtectionTransfer
    ) { prepareCall(request) { Errno.notSupported } }

    public func prepareProtectionCheck(
        _ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64, _ transfer: ProtectionTransfer
    ) { prepareCall(request) { Errno.notSupported } }

    public func prepareUnprotectedZeros(_ request: FileRequest, first: UInt64, blocks: UInt64) {
        prepareZeros(request, first: first, blocks: blocks)
    }

    public func protectionFailure(of request: FileRequest) -> ProtectionFailure? { nil }

    public var canChangeProtection: Bool { false }

    public func prepareKeeping(
        _ request: FileRequest, operation: [UInt8], insteadOf previous: [UInt8]?, protection type: ProtectionType?
    ) {
        guard type == nil else { return prepareCall(request) { MediaFailure.protectionNumber } }
        prepareKeeping(request, operation: operation, insteadOf: previous)
    }

    public func observeForgottenProtection(_ body: @escaping @Sendable (Int) -> Void) {}

    public func changeProtection(to type: ProtectionType?) -> MediaFailure? { type == nil ? nil : .protection }

    public var hasUnsettledProtection: Bool { false }

    public func settleProtection() -> MediaFailure? { nil }

    public var protectionIdentity: FileStatus.Identity? { nil }

    // MARK: Encryption, of which it has none

    public var isEncrypted: Bool { false }

    public var keyIdentity: FileStatus.Identity? { nil }

    public func replaceMediaKey() -> MediaFailure? { .device(Errno.notSupported) }

    public func endMediaKeyReplacement() {}

    // MARK: Losses

    public var loss: MediaFailure? { file.losses.failure }

    public var lossReport: LossReport? { file.losses.report }

    public func loss(since request: FileRequest) -> MediaFailure? {
        MediaFailure.of(file.losses.refusal(since: request.epoch))
    }

    public func observeLosses(_ body: @escaping @Sendable (MediaFailure) -> Void) { file.losses.observe(body) }

    public func observeLossNotes(_ body: @escaping @Sendable (LossReport, MediaFailure?) -> Void) {
        file.losses.observeNoted(body)
    }

    public func acknowledgeLoss() -> MediaFailure? { file.acknowledgeLoss() }

    public var truncatedFile: (path: String, length: Int64) { (path, file.neededLength) }
}

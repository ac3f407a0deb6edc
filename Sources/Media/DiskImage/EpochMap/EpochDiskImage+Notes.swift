internal import Bytes
public import Platform
public import SCSI
internal import Synchronization

/// What is kept with a disk with snapshots besides its blocks, and operations on all of them.
extension EpochDiskImage {
    // MARK: Marks

    public func prepareMarking(_ request: FileRequest, first: UInt64) {
        let generation = generation
        prepareCall(request) { [self] in
            changeNotes(generation: generation) { node in
                marks.add(first) { file.keep($0, insteadOf: $1, as: .markedBlocks.of(node)) }
            }
        }
    }

    public var hasMarks: Bool { !marks.isEmpty }

    public func isMarked(_ block: UInt64) -> Bool { marks.contain(block, 1) }

    public func removeMarks() -> MediaFailure? {
        MediaFailure.of(marks.isEmpty ? 0 : changeNotes { unmark(0, .max, of: $0) })
    }

    /// Takes the marks of blocks away that were written; 0 or an error number.
    func unmark(_ first: UInt64, _ blocks: UInt64, of node: UInt32) -> Int32 {
        guard marks.contain(first, blocks) else { return 0 }
        return marks.remove(first, blocks) { file.keep($0, insteadOf: $1, as: .markedBlocks.of(node)) }
    }

    // MARK: Operations

    public func prepareKeeping(_ request: FileRequest, operation: [UInt8]?, insteadOf previous: [UInt8]?) {
        let generation = generation
        prepareCall(request) { [self] in
            changeNotes(generation: generation) { file.keep(operation, insteadOf: previous, as: .operation.of($0)) }
        }
    }

    public func keep(operation: [UInt8]?, insteadOf previous: [UInt8]?) -> MediaFailure? {
        MediaFailure.of(changeNotes { file.keep(operation, insteadOf: previous, as: .operation.of($0)) })
    }

    public func keep(failedOperation operation: [UInt8]) -> MediaFailure? {
        MediaFailure.of(changeNotes { file.keep(afterLoss: operation, as: .operation.of($0)) })
    }

    public func erase(first: UInt64, blocks: UInt64) -> MediaFailure? {
        let request = FileRequest()
        beginWriting(request)
        prepareDeallocate(request, first: first, blocks: blocks)
        guard case .failed(let code)? = perform(request) else { return nil }
        return MediaFailure(errorNumber: code)
    }

    public func fill(first: UInt64, with content: [UInt8]) -> MediaFailure? {
        let offset = Int64(first) * Int64(blockSize)
        let result = change(offset, content.count, generation: generation) {
            loss.map { .failed($0.errorNumber) }
        } _: { family, node in
            family.write(node, content.rawSpan, at: offset)
        }
        switch result {
        case .done(let count): return count == content.count ? nil : .truncated
        case .failed(let code): return MediaFailure(errorNumber: code)
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

    // MARK: Encryption, which is that of the file

    public var isEncrypted: Bool { file.encryption != nil }

    /// The key is that of all nodes.
    public var canReplaceMediaKey: Bool {
        isEncrypted && !isReadOnly && file.nodeCount.load(ordering: .acquiring) == 1
    }

    public var keyIdentity: FileStatus.Identity? { file.encryption?.keyIdentity }

    public func replaceMediaKey() -> MediaFailure? { file.erase(self) }

    /// Nothing of the former key is left in the maps.
    public func endMediaKeyReplacement() {}

    // MARK: Losses

    public var loss: MediaFailure? { file.losses.failure }

    public var lossReport: LossReport? { file.losses.report }

    public func loss(since request: FileRequest) -> MediaFailure? {
        MediaFailure.of(lossCode(since: request))
    }

    public func observeLosses(_ body: @escaping @Sendable (MediaFailure) -> Void) {
        file.lossObservers.observe(by: self, body)
    }

    public func observeLossNotes(_ body: @escaping @Sendable (LossReport, MediaFailure?) -> Void) {
        file.lossObservers.observeNoted(by: self, body)
    }

    public func acknowledgeLoss() -> MediaFailure? { file.acknowledgeLoss() }

    public var truncatedFile: (path: String, length: Int64) { (path, file.neededLength) }
}

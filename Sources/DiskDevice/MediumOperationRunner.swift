internal import Media
internal import Platform
internal import Synchronization

/// Carries a `MediumOperation` out in the lane of its image, one bounded piece after another: requests of commands, of
/// other media too, come in between. It belongs to no reactor, and needs nobody who waits for it.
final class MediumOperationRunner: Medium {
    /// The most bytes that a piece writes. A piece that frees storage frees `DiskImage.maximumDeallocation` blocks.
    static let pieceLength = 4 << 20
    /// After so many bytes what was done is made durable and kept: what a restart repeats at most.
    static let checkpointLength = 256 << 20

    private struct State {
        /// Nil when it has been stopped.
        var image: (any DiskImage)?
        var operation: MediumOperation
        /// What is kept of it.
        var kept: [UInt8]
        /// The content of a piece of the present pass.
        var content: [UInt8] = []
        /// The first block that is not done.
        var next: UInt64
        var bytesSinceCheckpoint = 0
        /// Whether the blocks have another key; after a restart they get one more.
        var hasNewKey = false
    }

    private enum Step {
        case again
        case ended(MediaFailure?)
        case stopped
    }

    /// Held while a piece is under way, on a thread that may wait.
    private let state: Lock<State>
    private let isStopping = Atomic<Bool>(false)
    private let progressWord = Atomic<Int>(0)
    private let lane: Lane
    private let request = FileRequest()
    /// Called when all blocks are done, before the operation is kept no longer; why the operation fails, or nil.
    private let beforeEnd: @Sendable () -> MediaFailure?
    /// Called at the end, with the operation as it was kept last, on a thread that may wait.
    private let whenEnded: @Sendable (MediumOperation, MediaFailure?) -> Void

    /// Nothing is done before `start`.
    init(
        _ operation: MediumOperation, on image: any DiskImage,
        beforeEnd: @escaping @Sendable () -> MediaFailure? = { nil },
        whenEnded: @escaping @Sendable (MediumOperation, MediaFailure?) -> Void
    ) {
        state = Lock(State(image: image, operation: operation, kept: operation.encoded, next: operation.next))
        lane = image.lane
        self.beforeEnd = beforeEnd
        self.whenEnded = whenEnded
    }

    /// PROGRESS INDICATION: how much is done, in 65536ths (SPC-5 clause 4.4.2.4.4).
    var progress: UInt16 { UInt16(progressWord.load(ordering: .relaxed)) }

    /// Begins, or goes on.
    func start() {
        request.operation = .special(0)
        request.medium = self
        lane.submitDetached(request)
    }

    /// Breaks off soon, so that it goes on after the next opening of the image.
    func stopSoon() { isStopping.store(true, ordering: .relaxed) }

    /// Breaks off and lets go of the image. It waits for the piece that is under way, so never on a reactor.
    func stop() {
        stopSoon()
        state.withLock { $0.image = nil }
    }

    /// Does a piece. The request is the runner's own.
    func perform(_ request: FileRequest) -> FileResult? {
        let (step, operation) = state.withLock { state in (self.step(&state), state.operation) }
        switch step {
        case .again: lane.submitDetached(request)
        case .ended(let failure):
            request.medium = nil
            whenEnded(operation, failure)
        case .stopped: request.medium = nil
        }
        return nil
    }

    private func step(_ state: inout State) -> Step {
        guard !isStopping.load(ordering: .relaxed), let image = state.image else { return .stopped }
        let total = image.blockCount
        if state.operation.kind == .cryptographicErase, !state.hasNewKey {
            // What an atomic write has left is of the old one.
            if let failure = image.replaceMediaKey() ?? image.eraseAtomicRecord() {
                return fail(&state, image, failure)
            }
            state.hasNewKey = true
            return .again
        }
        if state.next < total {
            if let failure = performPiece(&state, image, total) { return fail(&state, image, failure) }
            noteProgress(state, total)
            return .again
        }
        if let failure = image.synchronize() { return fail(&state, image, failure) }
        state.operation.passesDone += 1
        state.operation.next = 0
        state.next = 0
        state.content = []
        if state.operation.passesDone < state.operation.passes {
            if let failure = keep(&state, image) { return fail(&state, image, failure) }
            return .again
        }
        // What is kept says that all is to be done until all is done, so it goes last.
        let failure =
            image.removeMarks() ?? image.eraseAtomicRecord() ?? beforeEnd()
            ?? image.keep(operation: nil, insteadOf: state.kept)
        if let failure {
            return fail(&state, image, failure)
        }
        if state.hasNewKey { image.endMediaKeyReplacement() }
        return .ended(nil)
    }

    private func performPiece(_ state: inout State, _ image: any DiskImage, _ total: UInt64) -> MediaFailure? {
        let left = total - state.next
        let blocks: UInt64
        if state.operation.pattern.isEmpty {
            let limit = image.maximumDeallocation
            blocks = min(left, limit - state.next % limit)
            if let failure = image.erase(first: state.next, blocks: blocks) { return failure }
        } else {
            if state.content.isEmpty {
                state.content = state.operation.content(blockSize: image.blockSize, count: Self.pieceLength)
            }
            blocks = min(left, UInt64(Self.pieceLength / image.blockSize))
            let count = Int(blocks) * image.blockSize
            let content = count == state.content.count ? state.content : Array(state.content.prefix(count))
            if let failure = image.fill(first: state.next, with: content) { return failure }
        }
        state.next += blocks
        state.bytesSinceCheckpoint += Int(blocks) * image.blockSize
        return state.operation.pattern.isEmpty || state.bytesSinceCheckpoint < Self.checkpointLength
            ? nil : keepPlace(&state, image)
    }

    /// Keeps how far it is, when that is durable. Freed storage is not worth it: doing that again costs nothing.
    private func keepPlace(_ state: inout State, _ image: any DiskImage) -> MediaFailure? {
        state.bytesSinceCheckpoint = 0
        if let failure = image.synchronize() { return failure }
        state.operation.next = state.next
        return keep(&state, image)
    }

    private func keep(_ state: inout State, _ image: any DiskImage) -> MediaFailure? {
        let operation = state.operation.encoded
        if let failure = image.keep(operation: operation, insteadOf: state.kept) { return failure }
        state.kept = operation
        return nil
    }

    private func fail(_ state: inout State, _ image: any DiskImage, _ failure: MediaFailure) -> Step {
        state.operation.hasFailed = true
        if state.operation.kind == .cryptographicErase { image.endMediaKeyReplacement() }
        // If that cannot be kept either, the next opening goes on with the operation.
        _ = image.keep(failedOperation: state.operation.encoded)
        return .ended(failure)
    }

    private func noteProgress(_ state: State, _ total: UInt64) {
        let all = Double(total) * Double(state.operation.passes)
        let done = Double(total) * Double(state.operation.passesDone) + Double(state.next)
        progressWord.store(min(65535, Int(done / all * 65536)), ordering: .relaxed)
    }
}

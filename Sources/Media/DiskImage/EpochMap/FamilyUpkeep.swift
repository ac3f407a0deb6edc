internal import Platform
internal import Synchronization

/// Does what has become due, in a lane of its own: frames that are full or have waited, and checkpoints. Asking for it
/// takes no memory.
final class FamilyUpkeep: Medium {
    private let lane: Lane
    private let request = FileRequest()
    /// Whether the request is in the lane.
    private let isSubmitted = Atomic<Bool>(false)
    /// Whether somebody has asked since it was begun last.
    private let isWanted = Atomic<Bool>(false)
    private let body: @Sendable () -> Void
    /// Whether it is stopped; held while it is done.
    private let isStopped = Lock(false)

    init(engine: any MediumEngine, group: LaneGroup? = nil, _ body: @escaping @Sendable () -> Void) {
        lane = Lane(engine: engine, concurrency: 1, group: group)
        self.body = body
    }

    /// Has it done soon. Any thread; it does not wait.
    func start() {
        isWanted.store(true, ordering: .sequentiallyConsistent)
        guard !isSubmitted.exchange(true, ordering: .sequentiallyConsistent) else { return }
        request.operation = .special(0)
        request.medium = self
        lane.submitDetached(request)
    }

    /// Has nothing done any more. It waits for what is being done, so never on a reactor.
    func stop() { isStopped.withLock { $0 = true } }

    /// Does it. The request is this object's own.
    func perform(_ request: FileRequest) -> FileResult? {
        request.medium = nil
        isWanted.store(false, ordering: .sequentiallyConsistent)
        isStopped.withLock { isStopped in
            if !isStopped { body() }
        }
        isSubmitted.store(false, ordering: .sequentiallyConsistent)
        // Who asked while it was done was not heard.
        if isWanted.load(ordering: .sequentiallyConsistent) { start() }
        return nil
    }
}

internal import CPlatform

/// Threads that do file operations which may wait, so that no reactor does.
///
/// Lanes that have something to do are served in turns, one request at a time. Threads are started when they are
/// needed: who takes work and leaves no thread idle starts another one first, up to the limit. So media that hang, each
/// with as many requests as its lane performs at a time, delay the others only when they hold all threads. Nothing is
/// allocated per request.
@safe public final class FileEngine: MediumEngine {
    /// The most threads of an engine unless its owner says otherwise: 16 media that hang with 8 requests each.
    public static let defaultThreadLimit = 128

    /// The most threads.
    public let threadLimit: Int

    private struct State {
        /// The lanes that have something to do, as a list through `Lane.nextScheduled`.
        var first: Lane?
        var last: Lane?
        /// How many threads wait for work or are about to.
        var idle = 0
        var isStopping = false
        /// All threads that have not been waited for.
        var threads: [PlatformThread] = []
        var threadCount = 0
    }

    private let name: String
    private let state = Lock(State())
    // Safe: made in init, destroyed in deinit, and a POSIX semaphore in between, which any thread may use. It counts
    // the lanes in the list, and one more at the end.
    private nonisolated(unsafe) let semaphore: OpaquePointer
    private let sharedLane = Lock<Lane?>(nil)

    /// An engine of at most `threads` threads, one of which is started at once.
    ///
    /// `queueLimit` bounds the requests that come by way of `submit(_:on:)`.
    public init(
        threads: Int = defaultThreadLimit, queueLimit: Int = 4096, name: String = "file"
    ) throws(SystemError) {
        precondition(threads > 0, "an engine needs threads")
        threadLimit = threads
        self.name = name
        guard let semaphore = unsafe cplatform_semaphore_create() else {
            throw SystemError(code: Errno.noMemory, operation: "start threads", path: name)
        }
        unsafe self.semaphore = semaphore
        let lane = Lane(engine: self, waitingLimit: queueLimit, concurrency: threads)
        sharedLane.withLock { $0 = lane }
        do throws(SystemError) {
            try startThread()
        } catch {
            sharedLane.withLock { $0 = nil }
            throw error
        }
    }

    deinit {
        unsafe cplatform_semaphore_destroy(semaphore)
    }

    /// Queues `request` in the lane that requests without a lane of their own share.
    public func submit(_ request: FileRequest, on reactor: Reactor) -> Bool {
        guard let lane = sharedLane.withLock({ $0 }) else { return false }
        return lane.submit(request, on: reactor)
    }

    /// Puts `lane` behind the other lanes that have something to do.
    public func schedule(_ lane: Lane) {
        let isStopped = state.withLock { state in
            guard !state.isStopping || state.threadCount > 0 else { return true }
            if let last = state.last { last.nextScheduled = lane } else { state.first = lane }
            state.last = lane
            return false
        }
        guard !isStopped else { return lane.cancelWaiting() }
        unsafe cplatform_semaphore_post(semaphore)
    }

    /// Finishes what is queued and ends the threads. Not on one of them. Requests that come later end with ECANCELED.
    public func stop() {
        state.withLock { $0.isStopping = true }
        sharedLane.withLock { $0 = nil }
        unsafe cplatform_semaphore_post(semaphore)
        while true {
            let threads = state.withLock { state in
                defer { state.threads = [] }
                return state.threads
            }
            if threads.isEmpty { return }
            for thread in threads { thread.join() }
        }
    }

    // MARK: Threads

    private func startThread() throws(SystemError) {
        let number = state.withLock { state in
            state.idle += 1
            state.threadCount += 1
            return state.threadCount - 1
        }
        do throws(SystemError) {
            // The threads keep the engine until `stop`.
            let thread = try PlatformThread.start(name: "\(name)-\(number)") { self.work() }
            state.withLock { $0.threads.append(thread) }
        } catch {
            state.withLock { state in
                state.idle -= 1
                state.threadCount -= 1
            }
            throw error
        }
    }

    private func work() {
        while true {
            unsafe cplatform_semaphore_wait(semaphore)
            let (lane, leavesNoneIdle) = takeNext()
            guard let lane else { return }
            // When the system refuses a thread, the engine goes on with those it has; the next that takes work asks
            // again.
            if leavesNoneIdle { try? startThread() }
            lane.performNext()
            state.withLock { $0.idle += 1 }
        }
    }

    /// The lane whose turn it is and whether no thread is left to take the next; no lane means that the thread must
    /// end.
    private func takeNext() -> (lane: Lane?, leavesNoneIdle: Bool) {
        let (lane, leavesNoneIdle) = state.withLock { state in
            state.idle -= 1
            guard let lane = state.first else {
                // The count is of the end; it goes on to the other threads.
                state.threadCount -= 1
                return (Lane?.none, false)
            }
            state.first = lane.nextScheduled.take()
            if state.first == nil { state.last = nil }
            return (lane, state.idle == 0 && state.threadCount < threadLimit && !state.isStopping)
        }
        if lane == nil { unsafe cplatform_semaphore_post(semaphore) }
        return (lane, leavesNoneIdle)
    }
}

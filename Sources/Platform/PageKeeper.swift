internal import CPlatform
internal import Synchronization

/// Keeps what is read most of some files in memory, up to a limit, so that reactors read it by copying (`FileWindow`).
///
/// A thread of its own brings parts of files into memory and locks them there (mlock); reactors only ask. When the limit is
/// reached, parts that nobody has read for `idleDuration` make room, and when there are none, nothing changes for that time.
/// Where the process may not lock memory (RLIMIT_MEMLOCK), less is kept, or nothing: files are then read through the page
/// cache as they would be without a keeper.
@safe public final class PageKeeper: Sendable {
    /// The most extents, whatever the limit: each may divide a mapping of the process, which may have 65,530.
    public static let maximumExtents = 16384
    /// The most requests that wait for the thread.
    static let queueLimit = 256
    /// How long a part stays that nobody reads.
    static let idleDuration = Duration.seconds(10)
    /// After so many refusals in a row by the system, it is not asked again.
    static let refusalLimit = 8

    /// A part of a file.
    private struct Extent {
        let window: FileWindow
        let index: Int
    }

    private struct State {
        var asked: [Extent] = []
        var kept: [Extent] = []
        var isStopping = false
    }

    /// The most bytes that are kept.
    public let limit: Int
    private let extentLimit: Int
    private let idleDuration: Duration
    private let state = Mutex(State())
    /// Requests before that time are in vain: nothing can make room.
    private let reopening = Atomic<Int64>(.min)
    private let keptCount = Atomic<Int>(0)
    // Safe: made in init, destroyed in deinit, and a POSIX semaphore in between, which any thread may use.
    private nonisolated(unsafe) let semaphore: OpaquePointer
    private let thread = Mutex<PlatformThread?>(nil)

    /// A keeper of at most `limit` bytes, and its thread.
    public convenience init(limit: Int) throws(SystemError) {
        try self.init(limit: limit, idleDuration: Self.idleDuration)
    }

    init(limit: Int, idleDuration: Duration) throws(SystemError) {
        precondition(limit >= 0, "a limit is not negative")
        self.limit = limit
        self.idleDuration = idleDuration
        extentLimit = min(limit / FileWindow.extentLength, Self.maximumExtents)
        guard let semaphore = unsafe cplatform_semaphore_create() else { preconditionFailure("no memory") }
        unsafe self.semaphore = semaphore
        // The thread keeps the keeper until `stop`.
        let thread = try PlatformThread.start(name: "page-keeper") { self.work() }
        self.thread.withLock { $0 = thread }
    }

    deinit {
        unsafe cplatform_semaphore_destroy(semaphore)
    }

    /// The bytes that are kept now.
    public var keptBytes: Int { keptCount.load(ordering: .relaxed) * FileWindow.extentLength }

    /// Ends the thread; what is kept stays so until its files are closed. Once, on another thread.
    public func stop() {
        state.withLock { $0.isStopping = true }
        unsafe cplatform_semaphore_post(semaphore)
        let ending = thread.withLock { $0.take() }
        ending?.join()
    }

    // MARK: For windows

    /// Whether asking may help.
    var hasRoom: Bool { MonotonicTime.current().nanoseconds >= reopening.load(ordering: .relaxed) }

    /// Has an extent brought into memory; false when too many wait already.
    func ask(_ window: FileWindow, _ index: Int) -> Bool {
        let isAsked = state.withLock { state in
            guard !state.isStopping, state.asked.count < Self.queueLimit else { return false }
            state.asked.append(Extent(window: window, index: index))
            return true
        }
        if isAsked { unsafe cplatform_semaphore_post(semaphore) }
        return isAsked
    }

    /// Lets go of a window and all of it that is kept or asked for.
    func forget(_ window: FileWindow) {
        state.withLock { state in
            window.markClosed()
            state.asked.removeAll { $0.window === window }
            state.kept.removeAll { $0.window === window }
            keptCount.store(state.kept.count, ordering: .relaxed)
        }
    }

    // MARK: The thread

    private func work() {
        var refusals = 0
        var lastLook = MonotonicTime(nanoseconds: 0)
        while true {
            unsafe cplatform_semaphore_wait(semaphore)
            let (next, isStopping) = state.withLock { state in
                (state.asked.isEmpty ? nil : state.asked.removeFirst(), state.isStopping)
            }
            if isStopping { return }
            guard let next else { continue }
            if refusals == Self.refusalLimit || !makeRoom(&lastLook) {
                next.window.decline(next.index)
            } else if next.window.lock(next.index) {
                refusals = 0
                keep([next])
            } else {
                refusals += 1
                if refusals == Self.refusalLimit { reopening.store(.max, ordering: .relaxed) }
            }
        }
    }

    /// Counts extents as kept, unless their file was closed meanwhile.
    private func keep(_ extents: [Extent]) {
        state.withLock { state in
            for extent in extents where !extent.window.isClosed { state.kept.append(extent) }
            keptCount.store(state.kept.count, ordering: .relaxed)
        }
    }

    /// Makes room for an extent; false when all that is kept was read since the last look, or that was just now.
    private func makeRoom(_ lastLook: inout MonotonicTime) -> Bool {
        if keptCount.load(ordering: .relaxed) < extentLimit { return true }
        let now = MonotonicTime.current()
        if lastLook + idleDuration <= now {
            lastLook = now
            // Unlocking waits for other memory work of the process, so reactors that ask must not wait for it.
            let looked = state.withLock { state in
                defer { state.kept = [] }
                return state.kept
            }
            keep(looked.filter { $0.window.keepsIfRead($0.index) })
            if keptCount.load(ordering: .relaxed) < extentLimit { return true }
        }
        reopening.store((lastLook + idleDuration).nanoseconds, ordering: .relaxed)
        return false
    }
}

internal import CPlatform
internal import Synchronization

/// Keeps the hot parts of files in memory, up to a limit, so that reactors read them by copying (`FileWindow`).
///
/// A thread of its own brings parts of files into memory and locks them there (mlock); reactors only ask. When the
/// limit is reached, or the process may not lock more (RLIMIT_MEMLOCK), parts that nobody has read for `idleDuration`
/// make room, and when there are none, nothing changes for that time. What is not kept is read through the page cache,
/// as it would be without a keeper.
@safe public final class PageKeeper: Sendable {
    /// The most extents, whatever the limit: each may divide a mapping of the process, which may have 65,530, in three.
    public static let maximumExtents = 16384
    /// The most files: each takes two mappings. Others are read as without a keeper.
    public static let maximumFiles = 8192
    /// The most requests that wait for the thread.
    static let queueLimit = 256
    /// How long a part that nobody reads stays kept.
    static let idleDuration = Duration.seconds(10)
    /// The most extents that make room at a time: after a quiet hour everything is idle.
    static let evictionLimit = 256

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
    private let fileLimit: Int
    private let idleDuration: Duration
    private let state = Lock(State())
    /// Before that time nothing can make room for a request.
    private let reopening = Atomic<Int64>(.min)
    private let keptCount = Atomic<Int>(0)
    private let fileCount = Atomic<Int>(0)
    // Safe: made in init, destroyed in deinit, and a POSIX semaphore in between, which any thread may use.
    private nonisolated(unsafe) let semaphore: OpaquePointer
    private let thread = Lock<PlatformThread?>(nil)

    /// A keeper of at most `limit` bytes, and its thread.
    public convenience init(limit: Int) throws(SystemError) {
        try self.init(limit: limit, idleDuration: Self.idleDuration)
    }

    init(
        limit: Int, idleDuration: Duration, fileLimit: Int = PageKeeper.maximumFiles
    ) throws(SystemError) {
        precondition(limit >= 0, "a limit is not negative")
        self.limit = limit
        self.fileLimit = fileLimit
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

    /// Counts one more file; false at `maximumFiles`.
    func admitFile() -> Bool {
        if fileCount.add(1, ordering: .relaxed).newValue <= fileLimit { return true }
        dismissFile()
        return false
    }

    /// A file's mappings are gone, or never came.
    func dismissFile() {
        fileCount.subtract(1, ordering: .relaxed)
    }

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
        reopening.store(.min, ordering: .relaxed)
    }

    // MARK: The thread

    private func work() {
        var lastCheck = MonotonicTime(nanoseconds: 0)
        while true {
            unsafe cplatform_semaphore_wait(semaphore)
            let (next, isStopping) = state.withLock { state in
                (state.asked.isEmpty ? nil : state.asked.removeFirst(), state.isStopping)
            }
            if isStopping { return }
            guard let next else { continue }
            if keptCount.load(ordering: .relaxed) < extentLimit || makeRoom(&lastCheck), next.window.lock(next.index) {
                keep([next])
            } else {
                next.window.decline(next.index)
                // The system's limit may be lower than ours: then idle extents make room as well.
                _ = makeRoom(&lastCheck)
                reopening.store((.current() + idleDuration).nanoseconds, ordering: .relaxed)
            }
        }
    }

    /// Counts extents as kept, unless their file was closed meanwhile. One that was discarded may be counted already.
    private func keep(_ extents: [Extent]) {
        state.withLock { state in
            for extent in extents where !extent.window.isClosed {
                let isKept = state.kept.contains { $0.index == extent.index && $0.window === extent.window }
                if !isKept { state.kept.append(extent) }
            }
            keptCount.store(state.kept.count, ordering: .relaxed)
        }
    }

    /// Gives up some of what was not read since the last check, and what was discarded; whether that made room. Checks
    /// are at least `idleDuration` apart.
    private func makeRoom(_ lastCheck: inout MonotonicTime) -> Bool {
        let now = MonotonicTime.current()
        guard lastCheck + idleDuration <= now else { return false }
        lastCheck = now
        let extents = state.withLock { $0.kept }
        var evicted: [Extent] = []
        for extent in extents
        where !extent.window.staysKept(extent.index, mayEvict: evicted.count < Self.evictionLimit) {
            evicted.append(extent)
        }
        // Unlocking waits for other memory work of the process, so it is done before reactors that ask have to wait for
        // it.
        state.withLock { state in
            var index = 0
            state.kept.removeAll { extent in
                // Both are in the same order.
                guard index < evicted.count, evicted[index].window === extent.window,
                    evicted[index].index == extent.index
                else { return false }
                index += 1
                return true
            }
            keptCount.store(state.kept.count, ordering: .relaxed)
        }
        return keptCount.load(ordering: .relaxed) < extentLimit
    }
}

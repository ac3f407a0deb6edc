internal import CPlatform
internal import Glibc

/// A named operating system thread that blocks all signals; used for reactors, I/O workers and signal waiting.
@safe public final class PlatformThread: @unchecked Sendable {
    /// The thread's name, of which the system keeps 15 bytes.
    public let name: String
    private var thread = pthread_t()
    /// Whether the system keeps the thread's end for `join` or `detach`.
    private var isJoinable = false

    private init(name: String) {
        self.name = name
    }

    /// How a thread competes for processors.
    public enum Priority: Sendable {
        case ordinary
        /// It gives way to ordinary threads of all processes, but is not kept from running (nice value 10): for work
        /// that nobody waits for from one moment to the next.
        case background
    }

    /// Starts a thread that runs `body` and ends.
    public static func start(
        name: String, priority: Priority = .ordinary, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) -> PlatformThread {
        let made = PlatformThread(name: name)
        // Ownership: the retained start block passes to the new thread, which releases it in `threadEntry`.
        let start = unsafe Unmanaged.passRetained(ThreadStart(name: name, priority: priority, body: body))
        let status = unsafe pthread_create(&made.thread, nil, threadEntry, start.toOpaque())
        if status != 0 {
            unsafe start.release()
            throw SystemError(code: status, operation: "start thread", path: name)
        }
        made.isJoinable = true
        return made
    }

    // Nobody will wait for its end: the system gives its stack back by itself.
    deinit {
        if isJoinable { pthread_detach(thread) }
    }

    /// Waits for the thread's end. Call it once, from another thread.
    public func join() {
        precondition(isJoinable, "a thread is joined once")
        isJoinable = false
        pthread_join(thread, nil)
    }

    /// A number that tells the calling thread from all others that run.
    @inline(__always)
    public static var currentIdentifier: UInt { UInt(pthread_self()) }
}

/// What a new thread needs.
private final class ThreadStart {
    let name: String
    let priority: PlatformThread.Priority
    let body: @Sendable () -> Void

    init(name: String, priority: PlatformThread.Priority, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.priority = priority
        self.body = body
    }
}

/// The entry of every thread; a C function, so that no isolation of Swift's is assumed on it.
@c private func threadEntry(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument = unsafe argument else { return nil }
    // Safe: `PlatformThread.start` passed a retained ThreadStart.
    let start = unsafe Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue()
    unsafe start.name.withCString { unsafe cplatform_thread_setup($0) }
    if start.priority == .background { cplatform_thread_give_way() }
    start.body()
    return nil
}

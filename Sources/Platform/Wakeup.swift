internal import CPlatform
internal import Glibc

/// Wakes a thread that waits for work. Each call of `wake` ends one `wait`, also one that begins later.
@safe public final class Wakeup: @unchecked Sendable {
    // Safe: made in init, destroyed in deinit, and a POSIX semaphore in between, which any thread may use.
    private nonisolated(unsafe) let semaphore: OpaquePointer

    /// Nobody was woken yet.
    public init() throws(SystemError) {
        guard let semaphore = unsafe cplatform_semaphore_create() else {
            throw SystemError(code: Errno.noMemory, operation: "start a thread")
        }
        unsafe self.semaphore = semaphore
    }

    deinit {
        unsafe cplatform_semaphore_destroy(semaphore)
    }

    /// It makes no system call while nobody waits.
    public func wake() { unsafe cplatform_semaphore_post(semaphore) }

    /// Waits for a call of `wake`.
    public func wait() { unsafe cplatform_semaphore_wait(semaphore) }

    /// Has the calling thread sleep for about that long, less than a second.
    public static func sleep(milliseconds: Int) {
        var duration = timespec(tv_sec: 0, tv_nsec: min(max(milliseconds, 0), 999) * 1_000_000)
        unsafe nanosleep(&duration, nil)
    }
}

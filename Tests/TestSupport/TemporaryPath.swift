internal import Glibc

/// A path on a real file system (not tmpfs) that no other test uses; the file there is removed at the end.
public struct TemporaryPath: ~Copyable {
    /// The path; nothing is there at first.
    public let path: String

    /// A path whose last component begins with `prefix`.
    public init(prefix: String = "carousel-test") {
        path = "/var/tmp/\(prefix)-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    }

    deinit {
        _ = unsafe unlink(path)
    }
}

/// Sleeps on the calling thread, for tests that hold a worker.
public func sleepMilliseconds(_ milliseconds: UInt32) {
    usleep(milliseconds * 1000)
}

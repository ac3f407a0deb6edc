internal import CPlatform
internal import Glibc

/// Signals that end or steer the process, given to a callback on a thread of its own instead of a signal handler.
public enum Signals {
    /// SIGINT: the user at the terminal ends the process.
    public static let interrupt: Int32 = SIGINT
    /// SIGTERM: the service manager ends the process.
    public static let terminate: Int32 = SIGTERM
    /// SIGHUP: read the configuration again.
    public static let hangUp: Int32 = SIGHUP

    /// Calls `handler` with each of `signals` that arrives, on a dedicated thread, until the process ends; ignores
    /// SIGPIPE. Whatever the process was started with, it can wait for its children (SIGCHLD).
    ///
    /// Call it once a process.
    public static func watch(
        _ signals: [Int32] = [interrupt, terminate], _ handler: @escaping @Sendable (Int32) -> Void
    ) throws(SystemError) {
        _ = cplatform_signal_ignore(SIGPIPE)
        _ = signal(SIGCHLD, SIG_DFL)
        for signal in signals { _ = try check(cplatform_signal_catch(signal), "catch signal", String(signal)) }
        _ = try PlatformThread.start(name: "signals") {
            while true {
                let signal = cplatform_signal_next()
                if signal < 0 { return }
                handler(signal)
            }
        }
    }
}

public import Platform

/// Two reactors that all tests of a process share. They live as long as the process: a test's objects may be dropped
/// on a reactor's own thread, where it could not be stopped.
public enum TestReactors {
    /// The reactor of tests that need only one.
    public static let first = make("first")
    /// Another one, for what must work between threads.
    public static let second = make("second")

    private static let engine: FileEngine = {
        guard let engine = try? FileEngine(threads: 2, queueLimit: 256) else {
            preconditionFailure("the tests need threads")
        }
        return engine
    }()

    private static func make(_ name: String) -> Reactor {
        guard let reactor = try? Reactor.start(name: name, poolLimit: 1 << 28, fileEngine: engine) else {
            preconditionFailure("the tests need a reactor")
        }
        return reactor
    }
}

internal import Glibc

/// How a thread waits for another one that will be done soon, without a lock between them: it looks again at once, then
/// lets others run, then sleeps a little each time.
///
/// For threads that may wait, never for reactors.
public struct Patience: ~Copyable {
    /// How often it looks again at once.
    static let spins = 32
    /// How often it lets others run before it sleeps.
    static let yields = 64
    /// How long it sleeps each time after that, in nanoseconds.
    static let nap = 50_000

    private var rounds = 0

    public init() {}

    /// Waits for a moment.
    public mutating func pause() {
        rounds += 1
        if rounds <= Self.spins { return }
        if rounds <= Self.spins + Self.yields {
            sched_yield()
            return
        }
        var duration = timespec(tv_sec: 0, tv_nsec: Self.nap)
        unsafe nanosleep(&duration, nil)
    }
}

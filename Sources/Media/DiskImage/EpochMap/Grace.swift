internal import Platform
internal import Synchronization

/// Who may still use what has been taken away: counters of those inside, in two parities, and what waits until they
/// have left.
///
/// A thread enters, follows addresses that others change, and leaves. What was unlinked before a turn of the parity can
/// be seen only by those who are counted in the parity before; when they have left, nobody sees it.
@safe final class Grace: @unchecked Sendable {
    /// Counters of each parity, on cache lines of their own: a thread uses the one of its number.
    static let stripes = 8
    /// Words from one counter to the next.
    private static let distance = 8

    /// Where a thread is counted.
    struct Pass {
        fileprivate let place: Int
    }

    /// What waits, in the order of its unlinking.
    private struct Waiting {
        /// Unlinked since the last turn.
        var recent: [@Sendable () -> Void] = []
        /// Unlinked before it.
        var older: [@Sendable () -> Void] = []
        /// How often the parity has turned.
        var turns = 0
    }

    /// Safe: made in init, gone in deinit.
    private let counters: UnsafeMutablePointer<Atomic<Int>>
    private let parity = Atomic<Int>(0)
    private let waiting = Lock(Waiting())

    init() {
        let count = 2 * Self.stripes * Self.distance
        let memory = UnsafeMutableRawPointer.allocate(byteCount: count * MemoryLayout<Int>.stride, alignment: 64)
        unsafe counters = memory.assumingMemoryBound(to: Atomic<Int>.self)
        for index in 0..<count { unsafe (counters + index).initialize(to: Atomic(0)) }
    }

    deinit {
        // Nobody is inside any more: whoever enters holds a reference.
        let last = waiting.withLock { waiting in
            defer { waiting = Waiting() }
            return waiting.older + waiting.recent
        }
        for action in last { action() }
        unsafe UnsafeMutableRawPointer(counters).deallocate()
    }

    /// Counts the thread until `leave`. It does not wait.
    func enter() -> Pass {
        let number = (PlatformThread.currentIdentifier &* 0x9E37_79B9_7F4A_7C15) >> 61
        let stripe = Int(truncatingIfNeeded: number) * Self.distance
        while true {
            let current = parity.load(ordering: .sequentiallyConsistent)
            let place = current * Self.stripes * Self.distance + stripe
            unsafe counters[place].add(1, ordering: .sequentiallyConsistent)
            // Unless the parity turned in between, whoever turns it from now on waits for this thread.
            if parity.load(ordering: .sequentiallyConsistent) == current { return Pass(place: place) }
            unsafe counters[place].subtract(1, ordering: .sequentiallyConsistent)
        }
    }

    /// The thread uses nothing any more that it found since `enter`.
    func leave(_ pass: Pass) {
        unsafe counters[pass.place].subtract(1, ordering: .sequentiallyConsistent)
    }

    /// Has `action` done when nobody who is inside now is there any more; by a later `collect`, or at the end.
    func whenUnseen(_ action: @escaping @Sendable () -> Void) {
        waiting.withLock { $0.recent.append(action) }
    }

    /// What may be done now; the caller does it. It does not wait.
    func collect() -> [@Sendable () -> Void] {
        waiting.withLock { waiting in
            guard !waiting.recent.isEmpty || !waiting.older.isEmpty else { return [] }
            var ready: [@Sendable () -> Void] = []
            // Twice, so that with nobody inside all is done at once.
            for _ in 0..<2 where turn(&waiting) {
                ready += waiting.older
                waiting.older = waiting.recent
                waiting.recent = []
            }
            return ready
        }
    }

    /// Waits until everybody has left who is inside now; those who enter meanwhile are not waited for. Not for anybody
    /// who is inside.
    func wait() {
        let end = waiting.withLock { $0.turns + 2 }
        var patience = Patience()
        while true {
            let isDone = waiting.withLock { waiting in
                // What was unlinked before this turn keeps its place: it waits for one turn more than it need.
                if waiting.turns < end, turn(&waiting) {
                    waiting.older += waiting.recent
                    waiting.recent = []
                }
                return waiting.turns >= end
            }
            if isDone { return }
            patience.pause()
        }
    }

    /// Turns the parity if nobody is counted in the one before; under the lock.
    private func turn(_ waiting: inout Waiting) -> Bool {
        let current = parity.load(ordering: .sequentiallyConsistent)
        let former = 1 - current
        for stripe in 0..<Self.stripes {
            let place = (former * Self.stripes + stripe) * Self.distance
            if unsafe counters[place].load(ordering: .sequentiallyConsistent) != 0 { return false }
        }
        parity.store(former, ordering: .sequentiallyConsistent)
        waiting.turns += 1
        return true
    }
}

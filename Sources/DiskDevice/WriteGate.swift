internal import Platform
internal import Synchronization
internal import TargetCore

/// Admits many commands that change the medium at a time, or one alone.
///
/// COMPARE AND WRITE and ORWRITE are "an uninterrupted series of actions" (SBC-4 clauses 5.4 and 5.23): no write may
/// fall between their read and their write. All other writers pay one atomic addition at each end; who must wait is
/// parked off the data path, and its own file request wakes it on its reactor, which costs nothing and is never
/// refused. Those that wait are woken one after another, each when the one before has entered.
final class WriteGate: Sendable {
    /// In `word`: a command is inside alone, or waits until the others have left. Below: how many others are inside.
    private static let closed = 1 << 32
    /// In `word`: who enters must say what it changes, before it does.
    private static let watched = 1 << 33

    /// What has become of a command that wants to enter.
    enum Entry {
        case entered
        /// It is inside, and there are ROD tokens that represent blocks (`RepresentedBlocks.willChange`).
        case enteredWatched
        case parked
    }

    /// A task on its way to its own reactor; only that thread uses it.
    private struct Parked: @unchecked Sendable {
        let task: SCSITask
        let request: FileRequest

        init(_ task: SCSITask) {
            self.task = task
            request = task.fileRequest
            task.step = DiskStep.atGate.rawValue
        }

        /// Goes on with the task, whose request says whether it is inside the gate now or is to try again.
        func wake(isInside: Bool) {
            request.context = isInside ? GateAnswer.entered : GateAnswer.opened
            task.reactor.postCompletion(of: request)
        }
    }

    /// What `FileRequest.context` says to a task that was parked.
    enum GateAnswer {
        /// The gate is open: try again.
        static let opened = 0
        /// The task is inside.
        static let entered = 1
    }

    private struct Waiting {
        /// Closed the gate and waits for those inside to leave.
        var next: Parked?
        /// Was woken and found the gate closed again: the first of those that wait.
        private var returned: Parked?
        /// Come back when the gate is open, in this order; at most one for each slot of each session.
        private var others: [Parked] = []
        private var firstOther = 0
        /// One of them is on its way.
        var isWaking = false

        /// Whether a newcomer that needs the medium alone must wait behind others.
        var hasQueue: Bool { isWaking || returned != nil || firstOther < others.count }

        mutating func append(_ parked: Parked, isWoken: Bool) {
            guard isWoken else { return others.append(parked) }
            returned = parked
            isWaking = false
        }

        mutating func takeFirst() -> Parked? {
            if let parked = returned.take() { return parked }
            guard firstOther < others.count else { return nil }
            let parked = others[firstOther]
            firstOther += 1
            if firstOther > others.count / 2 {
                others.removeFirst(firstOther)
                firstOther = 0
            }
            return parked
        }
    }

    private let word = Atomic<Int>(0)
    private let waiting = Lock(Waiting())

    /// Whether who enters from now on is told to say what it changes. Who was inside before is not.
    var isWatched: Bool {
        get { word.load(ordering: .acquiring) & Self.watched != 0 }
        set {
            if newValue {
                word.bitwiseOr(Self.watched, ordering: .acquiringAndReleasing)
            } else {
                word.bitwiseAnd(~Self.watched, ordering: .acquiringAndReleasing)
            }
        }
    }

    private var entry: Entry { isWatched ? .enteredWatched : .entered }

    /// Whether the gate is closed in a value of `word`.
    private static func isClosed(_ word: Int) -> Bool { word & closed != 0 }

    /// Whether nobody is inside in a value of `word`, and one waits for that, or is inside alone.
    private static func isLeftAlone(_ word: Int) -> Bool { word & ~watched == closed }

    /// Whether nobody is inside. What the caller has written before is seen by all who enter from then on: of an
    /// addition here and one in `enter` the later sees what came before the other, which a load alone would not.
    var isEmpty: Bool { word.add(0, ordering: .acquiringAndReleasing).newValue & ~Self.watched == 0 }

    /// Enters beside others, unless the task is parked. `isWoken` when it was parked before.
    func enter(_ task: SCSITask, isWoken: Bool = false) -> Entry {
        let counted = word.add(1, ordering: .acquiring).newValue
        if counted < Self.closed {
            if isWoken { wakeNext() }
            return .entered
        }
        if !Self.isClosed(counted) {
            if isWoken { wakeNext() }
            return .enteredWatched
        }
        let parked = Parked(task)
        let hasEntered = waiting.withLock { waiting in
            // The gate opens under this lock only; if it has, the addition above counts.
            if !Self.isClosed(word.load(ordering: .acquiring)) { return true }
            waiting.append(parked, isWoken: isWoken)
            if Self.isLeftAlone(word.subtract(1, ordering: .acquiringAndReleasing).newValue) {
                waiting.next.take()?.wake(isInside: true)
            }
            return false
        }
        guard hasEntered else { return .parked }
        if isWoken { wakeNext() }
        return entry
    }

    /// Leaves after `enter`.
    func leave() {
        guard Self.isLeftAlone(word.subtract(1, ordering: .releasing).newValue) else { return }
        waiting.withLock { waiting in
            // A newcomer may have counted itself meanwhile; then it finds the same when it takes that back.
            if Self.isLeftAlone(word.load(ordering: .acquiring)) { waiting.next.take()?.wake(isInside: true) }
        }
    }

    /// Enters alone, unless the task is parked. `isWoken` when it was parked before.
    func enterAlone(_ task: SCSITask, isWoken: Bool = false) -> Entry {
        let parked = Parked(task)
        let hasEntered = waiting.withLock { waiting in
            if Self.isClosed(word.load(ordering: .acquiring)) || (!isWoken && waiting.hasQueue) {
                waiting.append(parked, isWoken: isWoken)
                return false
            }
            // The others go on waiting until this one leaves.
            if isWoken { waiting.isWaking = false }
            if Self.isLeftAlone(word.add(Self.closed, ordering: .acquiringAndReleasing).newValue) { return true }
            waiting.next = parked
            return false
        }
        return hasEntered ? entry : .parked
    }

    /// Leaves after `enterAlone`, and has the first that waits try again.
    func leaveAlone() {
        waiting.withLock { waiting in
            word.subtract(Self.closed, ordering: .releasing)
            wakeFirst(&waiting)
        }
    }

    /// Has the next that waits try again: the one that was woken has entered, or has been aborted.
    func wakeNext() {
        waiting.withLock { waiting in
            waiting.isWaking = false
            // With the gate closed, who leaves it alone wakes the next.
            if !Self.isClosed(word.load(ordering: .acquiring)) { wakeFirst(&waiting) }
        }
    }

    private func wakeFirst(_ waiting: inout Waiting) {
        guard !waiting.isWaking, let first = waiting.takeFirst() else { return }
        waiting.isWaking = true
        first.wake(isInside: false)
    }
}

internal import Platform
internal import Synchronization
internal import TargetCore

/// Lets many commands change the medium at a time, or one alone.
///
/// COMPARE AND WRITE and ORWRITE are "an uninterrupted series of actions" (SBC-4 clauses 5.4 and 5.23): no write may
/// fall between their read and their write. All other writers pay one atomic addition at each end; who must wait is
/// parked off the data path and goes on in a later turn of its reactor.
final class WriteGate: Sendable {
    /// In `word`: a command is inside alone, or waits until the others have left. Below: how many others are inside.
    private static let closed = 1 << 32

    /// A task on its way to its own reactor; only that thread uses it.
    private struct Parked: @unchecked Sendable {
        let task: SCSITask
        let unit: DiskDeviceServer

        /// Goes on with the task: inside the gate, or to try again.
        func wake(isInside: Bool) {
            task.reactor.post { unit.resume(task, isInside: isInside) }
        }
    }

    private struct Waiting {
        /// Closed the gate and waits for those inside to leave.
        var next: Parked?
        /// Come back when the gate is open; at most one for each slot of each session.
        var others: [Parked] = []
    }

    private let word = Atomic<Int>(0)
    private let waiting = Lock(Waiting())

    /// Enters beside others; false when the task is parked.
    func enter(_ task: SCSITask, for unit: DiskDeviceServer) -> Bool {
        if word.add(1, ordering: .acquiring).newValue < Self.closed { return true }
        let parked = Parked(task: task, unit: unit)
        return waiting.withLock { waiting in
            // The gate opens under this lock only; if it has, the addition above counts.
            if word.load(ordering: .acquiring) < Self.closed { return true }
            waiting.others.append(parked)
            if word.subtract(1, ordering: .acquiringAndReleasing).newValue == Self.closed {
                waiting.next.take()?.wake(isInside: true)
            }
            return false
        }
    }

    /// Leaves after `enter`.
    func leave() {
        guard word.subtract(1, ordering: .releasing).newValue == Self.closed else { return }
        waiting.withLock { waiting in
            // A newcomer may have counted itself meanwhile; then it finds the same when it takes that back.
            if word.load(ordering: .acquiring) == Self.closed { waiting.next.take()?.wake(isInside: true) }
        }
    }

    /// Enters alone; false when the task is parked.
    func enterAlone(_ task: SCSITask, for unit: DiskDeviceServer) -> Bool {
        let parked = Parked(task: task, unit: unit)
        return waiting.withLock { waiting in
            if word.load(ordering: .acquiring) >= Self.closed {
                waiting.others.append(parked)
                return false
            }
            if word.add(Self.closed, ordering: .acquiringAndReleasing).newValue == Self.closed { return true }
            waiting.next = parked
            return false
        }
    }

    /// Leaves after `enterAlone`, and lets all that wait try again.
    func leaveAlone() {
        let others = waiting.withLock { waiting in
            word.subtract(Self.closed, ordering: .releasing)
            defer { waiting.others = [] }
            return waiting.others
        }
        for parked in others { parked.wake(isInside: false) }
    }
}

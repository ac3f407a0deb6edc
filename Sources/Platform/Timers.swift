internal import Bytes

/// A timer that is scheduled on a reactor.
public struct TimerName: Hashable, Sendable {
    let slot: SlotName
}

/// What a reactor calls when a timer is due, on the reactor's thread.
public protocol TimerHandler: AnyObject {
    /// The timer that was scheduled with `token` is due; it is gone now.
    func timerFired(_ token: UInt64)
}

/// The pending timers of a reactor, in a binary heap by deadline; cancelled ones stay in the heap until they are due
/// or outnumber the others.
struct Timers {
    private final class Timer {
        let handler: any TimerHandler
        let token: UInt64

        init(handler: any TimerHandler, token: UInt64) {
            self.handler = handler
            self.token = token
        }
    }

    private struct Entry {
        let deadline: MonotonicTime
        let name: SlotName
    }

    private var table: SlotTable<Timer>
    private var heap: [Entry] = []

    /// No timers yet, and at most `limit` pending at a time.
    init(limit: Int) {
        table = SlotTable(limit: limit)
    }

    /// The earliest deadline, possibly of a cancelled timer.
    var nextDeadline: MonotonicTime? { heap.first?.deadline }

    /// How many timers are pending.
    var count: Int { table.count }

    /// The name of the new timer; nil at the limit.
    mutating func schedule(at deadline: MonotonicTime, handler: any TimerHandler, token: UInt64) -> TimerName? {
        guard let name = table.insert(Timer(handler: handler, token: token)) else { return nil }
        heap.append(Entry(deadline: deadline, name: name))
        siftUp(heap.count - 1)
        return TimerName(slot: name)
    }

    mutating func cancel(_ timer: TimerName) {
        table.remove(timer.slot)
        if heap.count > 2 * table.count + 64 { dropCancelled() }
    }

    /// Takes the earliest timer that is due at `now` out.
    mutating func popDue(at now: MonotonicTime) -> (handler: any TimerHandler, token: UInt64)? {
        while let first = heap.first, first.deadline <= now {
            removeFirst()
            if let timer = table.remove(first.name) { return (timer.handler, timer.token) }
        }
        return nil
    }

    mutating func removeAll() {
        table = SlotTable(limit: table.limit)
        heap = []
    }

    private mutating func dropCancelled() {
        heap.removeAll { table[$0.name] == nil }
        heap.sort { $0.deadline < $1.deadline }
    }

    private mutating func removeFirst() {
        let last = heap.removeLast()
        guard !heap.isEmpty else { return }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].deadline < heap[least].deadline {
                least = child
            }
            if least == parent { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }

    private mutating func siftUp(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            if heap[parent].deadline <= heap[child].deadline { return }
            heap.swapAt(parent, child)
            child = parent
        }
    }
}

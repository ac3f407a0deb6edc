internal import Bytes

/// What waits for events of the connection manager and is no queue pair yet: a listener, or a route.
protocol EventWaiter: AnyObject {
    func handle(_ event: ConnectionEvent)
    /// The context ends.
    func cancel()
}

/// A waiter in a table of objects, which keeps it.
final class EventWaiterPlace {
    let waiter: any EventWaiter

    init(_ waiter: any EventWaiter) {
        self.waiter = waiter
    }
}

/// The word of an endpoint: who gets its events.
struct EventOwner {
    enum Kind {
        case nobody
        case waiter
        case queuePair
    }

    private static let queuePairBit: UInt32 = 1 << 31

    let kind: Kind
    let slot: SlotName

    init(word: UInt64) {
        let name = SlotName(word: word)
        let index = UInt32(bitPattern: name.index)
        let isQueuePair = index & Self.queuePairBit != 0
        kind = word == 0 ? .nobody : isQueuePair ? .queuePair : .waiter
        slot = SlotName(index: Int32(bitPattern: index & ~Self.queuePairBit), generation: name.generation)
    }

    /// The word of a listener or route.
    static func waiter(_ slot: SlotName) -> UInt64 { slot.word }

    /// The word of a queue pair.
    static func queuePair(_ slot: SlotName) -> UInt64 {
        SlotName(index: slot.index | Int32(bitPattern: queuePairBit), generation: slot.generation).word
    }
}

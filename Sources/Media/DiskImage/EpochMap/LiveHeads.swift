internal import Platform
internal import Synchronization

/// The heads that are written; any thread looks one up.
///
/// Threads that may wait ask a dictionary under a lock. Reactors, inside the grace, follow an address to a list that
/// does not change: each change makes another one.
@safe final class LiveHeads: @unchecked Sendable {
    /// A head of the list.
    @safe private struct Place {
        let number: UInt32
        /// Safe: the dictionary holds it, and the grace after that.
        let head: Unmanaged<LiveHead>
    }

    private let heads = Lock<[UInt32: LiveHead]>([:])
    private let grace: Grace
    /// The address of the list: how many heads there are, and the heads in the order of their numbers. 0: none.
    private let list = Atomic<UInt>(0)

    var count: Int { heads.withLock { $0.count } }

    /// Heads that are looked up by those who are inside of `grace`.
    init(grace: Grace) {
        self.grace = grace
    }

    deinit {
        // Whoever is inside the grace holds the family.
        unsafe UnsafeMutableRawPointer(bitPattern: list.load(ordering: .acquiring))?.deallocate()
    }

    subscript(number: UInt32) -> LiveHead? {
        get { heads.withLock { $0[number] } }
        set {
            heads.withLock { heads in
                let former = heads[number]
                heads[number] = newValue
                let address = Self.makeList(heads)
                let old = list.exchange(address, ordering: .acquiringAndReleasing)
                grace.whenUnseen {
                    withExtendedLifetime(former) { unsafe UnsafeMutableRawPointer(bitPattern: old)?.deallocate() }
                }
            }
        }
    }

    /// What `body` makes of a head, for who is inside the grace and must not wait; nil when the node is no head. No
    /// reference is counted.
    @inline(__always)
    func withHead<Value>(_ number: UInt32, _ body: (LiveHead) -> Value) -> Value? {
        guard let memory = unsafe UnsafeRawPointer(bitPattern: list.load(ordering: .acquiring)) else { return nil }
        var low = 0
        var high = unsafe memory.load(as: Int.self)
        let places = unsafe (memory + Self.headerLength).assumingMemoryBound(to: Place.self)
        while low < high {
            let middle = (low + high) / 2
            let found = unsafe places[middle].number
            if found == number { return unsafe places[middle].head._withUnsafeGuaranteedRef(body) }
            if found < number { low = middle + 1 } else { high = middle }
        }
        return nil
    }

    /// Bytes in front of the places: their number.
    private static let headerLength = 16

    private static func makeList(_ heads: [UInt32: LiveHead]) -> UInt {
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: headerLength + heads.count * MemoryLayout<Place>.stride, alignment: 16)
        unsafe memory.storeBytes(of: heads.count, as: Int.self)
        let places = unsafe (memory + headerLength).bindMemory(to: Place.self, capacity: heads.count)
        for (index, head) in heads.values.sorted(by: { $0.number < $1.number }).enumerated() {
            unsafe (places + index).initialize(to: Place(number: head.number, head: .passUnretained(head)))
        }
        return UInt(bitPattern: memory)
    }
}

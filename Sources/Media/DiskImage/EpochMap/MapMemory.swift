internal import Synchronization

/// The memory of the live maps of a family: how much it is, and who may still look into what is given back.
@safe final class MapMemory: Sendable {
    /// Leaves in memory above which clean ones are given up: 256 MiB, the maps of 128 GiB whose units lie scattered.
    static let leafLimit = 65536
    /// Leaves that no commit has yet above which a checkpoint begins.
    static let dirtyLimit = leafLimit / 2
    /// What changes a map waits for a checkpoint when so many times the leaves of `dirtyLimit` are changed; what makes
    /// room waits later.
    static let waitingFactor = 2
    static let reservedFactor = 3

    /// Who looks into maps, and reads what they say.
    let grace: Grace
    private let leaves = Atomic<Int>(0)
    private let changed = Atomic<Int>(0)
    private let limit = Atomic<Int>(dirtyLimit)

    init(grace: Grace) {
        self.grace = grace
    }

    /// `MapMemory.dirtyLimit`, unless a test says otherwise.
    var dirtyLimit: Int {
        get { limit.load(ordering: .relaxed) }
        set { limit.store(newValue, ordering: .relaxed) }
    }

    /// Whether so many leaves are changed that nobody changes more of them before a commit.
    func isFull(isReserved: Bool) -> Bool {
        changedCount >= dirtyLimit * (isReserved ? Self.reservedFactor : Self.waitingFactor)
    }

    /// The leaves in memory, without those that wait until nobody looks into them.
    var leafCount: Int { leaves.load(ordering: .relaxed) }

    /// The regions that no commit has.
    var changedCount: Int { changed.load(ordering: .relaxed) }

    func countChanged(_ difference: Int) {
        changed.add(difference, ordering: .relaxed)
    }

    fileprivate func count(_ difference: Int) {
        leaves.add(difference, ordering: .relaxed)
    }
}

/// The entries of a region in memory: 512 words, and by whom they may be changed.
///
/// An address, not an object, so that readers follow it without counting references. Words are read at any time by
/// whoever is inside the grace; all else happens under the family's lock.
@safe struct Leaf: Equatable, @unchecked Sendable {
    private typealias Words = UnsafeMutablePointer<Atomic<UInt64>>

    static let length = EpochFormat.regionUnits
    /// The layer whose region it is, in which it may be changed; 0: what the last commit has.
    private static let layerWord = length
    /// How many hold it: a live map, a layer.
    private static let holdersWord = length + 1
    private static let words = length + 8

    private let memory: Words

    /// The word for a table of a map.
    var address: UInt64 { unsafe UInt64(UInt(bitPattern: memory)) }

    private init(_ memory: Words) {
        unsafe self.memory = memory
    }

    /// The leaf of that address, which is one.
    init(address: UInt64) {
        guard let memory = unsafe Words(bitPattern: UInt(address)) else { preconditionFailure("a leaf has an address") }
        unsafe self.memory = memory
    }

    /// A leaf with the entries that `body` gives, held by its maker.
    static func make(_ owner: MapMemory, _ body: (Int) -> MapEntry) -> Leaf {
        let memory = unsafe UnsafeMutableRawPointer.allocate(
            byteCount: words * MemoryLayout<UInt64>.stride, alignment: 64
        ).assumingMemoryBound(to: Atomic<UInt64>.self)
        for index in 0..<length { unsafe (memory + index).initialize(to: Atomic(body(index).rawValue)) }
        for index in length..<words { unsafe (memory + index).initialize(to: Atomic(0)) }
        unsafe memory[holdersWord].store(1, ordering: .relaxed)
        owner.count(1)
        return unsafe Leaf(memory)
    }

    static func == (left: Leaf, right: Leaf) -> Bool { left.address == right.address }

    /// An entry; whoever is inside the grace.
    subscript(_ index: Int) -> MapEntry {
        get {
            precondition(index >= 0 && index < Self.length, "a leaf has 512 entries")
            return unsafe MapEntry(rawValue: memory[index].load(ordering: .acquiring))
        }
        nonmutating set {
            precondition(index >= 0 && index < Self.length, "a leaf has 512 entries")
            unsafe memory[index].store(newValue.rawValue, ordering: .releasing)
        }
    }

    // MARK: Under the family's lock

    /// In which layer it may be changed; 0 in none.
    var layer: UInt64 {
        get { unsafe memory[Self.layerWord].load(ordering: .relaxed) }
        nonmutating set { unsafe memory[Self.layerWord].store(newValue, ordering: .relaxed) }
    }

    /// Whether nobody but the caller holds it.
    var isHeldOnce: Bool { unsafe memory[Self.holdersWord].load(ordering: .relaxed) == 1 }

    /// One more holds it.
    func retain() {
        unsafe memory[Self.holdersWord].add(1, ordering: .relaxed)
    }

    /// One less holds it, and can no longer be asked for it; after the last one its memory goes when nobody looks.
    func release(_ owner: MapMemory) {
        guard unsafe memory[Self.holdersWord].subtract(1, ordering: .relaxed).newValue == 0 else { return }
        owner.count(-1)
        owner.grace.whenUnseen { [self] in unsafe memory.deallocate() }
    }

    /// What a pointer says instead of the leaf, if it can: all entries are nothing, lost, or a run. Entries from
    /// `count` on are behind the end of the disk, and only a whole region is lost or a run.
    func summary(count: Int = length) -> MapEntry? {
        let first = self[0].confirmed
        if first == .nothing {
            for index in 1..<count where self[index] != .nothing { return nil }
            return .nothing
        }
        guard count == Self.length, first.isData else { return nil }
        for index in 1..<count where self[index].confirmed != first.following(index) { return nil }
        return first
    }
}

extension MapEntry {
    /// The entry of a run that begins with this one, `index` units on.
    func following(_ index: Int) -> MapEntry {
        isData ? MapEntry(rawValue: rawValue + UInt64(index) << 24) : self
    }
}

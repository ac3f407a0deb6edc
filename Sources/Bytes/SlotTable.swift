/// A name for one use of a slot: the slot's number and the generation that this use began.
///
/// A stale name never reaches a later use of the same slot.
public struct SlotName: Hashable, Sendable {
    /// The slot's number, from 0.
    public let index: Int32
    /// Which use of the slot the name is for.
    public let generation: UInt32

    /// The name of use `generation` of slot `index`.
    @inlinable
    public init(index: Int32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }

    /// Both parts in one word, as epoll and user data fields carry it.
    @inlinable
    public var word: UInt64 { UInt64(generation) << 32 | UInt64(UInt32(bitPattern: index)) }

    /// The name that `word` carries.
    @inlinable
    public init(word: UInt64) {
        index = Int32(bitPattern: UInt32(truncatingIfNeeded: word))
        generation = UInt32(truncatingIfNeeded: word >> 32)
    }
}

/// A table of at most `limit` objects that names each by slot and generation. Not thread-safe: it has one owner.
public struct SlotTable<Element: AnyObject> {
    private var elements: [Element?] = []
    private var generations: [UInt32] = []
    private var free: [Int32] = []
    /// The most objects at a time.
    public let limit: Int
    /// How many objects are in the table.
    public private(set) var count = 0

    /// An empty table for at most `limit` objects.
    public init(limit: Int) {
        self.limit = limit
    }

    /// Puts `element` in a free slot, or gives nil when the table is full.
    public mutating func insert(_ element: Element) -> SlotName? {
        guard count < limit else { return nil }
        count += 1
        if let index = free.popLast() {
            elements[Int(index)] = element
            return SlotName(index: index, generation: generations[Int(index)])
        }
        elements.append(element)
        generations.append(1)
        return SlotName(index: Int32(elements.count - 1), generation: 1)
    }

    /// Puts what `make` makes for its name in a free slot; nil when the table is full, and nothing is made.
    public mutating func insert(making make: (SlotName) -> Element) -> SlotName? {
        guard count < limit else { return nil }
        let index = free.last ?? Int32(elements.count)
        let generation = Int(index) < generations.count ? generations[Int(index)] : 1
        return insert(make(SlotName(index: index, generation: generation)))
    }

    /// The object of that name, or nil when it is gone.
    public subscript(name: SlotName) -> Element? {
        let index = Int(name.index)
        guard index >= 0, index < elements.count, generations[index] == name.generation else { return nil }
        return elements[index]
    }

    /// The object in slot `index` and the generation of its name, for those who keep a part of the name; nil when the
    /// slot is free.
    public func element(at index: Int) -> (element: Element, generation: UInt32)? {
        guard index >= 0, index < elements.count, let element = elements[index] else { return nil }
        return (element, generations[index])
    }

    /// Takes the object of that name out and returns it; nil when it is gone already.
    @discardableResult
    public mutating func remove(_ name: SlotName) -> Element? {
        guard let element = self[name] else { return nil }
        let index = Int(name.index)
        elements[index] = nil
        generations[index] &+= 1
        free.append(name.index)
        count -= 1
        return element
    }

    /// Calls `body` with every object of the table and its name.
    public func forEachNamed(_ body: (SlotName, Element) -> Void) {
        for (index, element) in elements.enumerated() {
            if let element { body(SlotName(index: Int32(index), generation: generations[index]), element) }
        }
    }

    /// The name of the first object for which `isWanted` holds.
    public func firstName(where isWanted: (Element) -> Bool) -> SlotName? {
        for (index, element) in elements.enumerated() {
            if let element, isWanted(element) {
                return SlotName(index: Int32(index), generation: generations[index])
            }
        }
        return nil
    }

    /// Calls `body` with every object of the table.
    public func forEach(_ body: (Element) -> Void) {
        for case .some(let element) in elements { body(element) }
    }
}

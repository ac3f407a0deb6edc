internal import Synchronization

/// The live map of a head: of each logical unit what it is, as far as it is in memory.
///
/// A directory of tables of 512 words, one word a region: nothing, a run, a leaf's address, or not in memory. Lookups
/// take three loads on any thread inside the grace, and never wait. Changes happen under the family's lock.
@safe final class RegionMap: @unchecked Sendable {
    /// What a word of a table says.
    enum Region: Equatable, Sendable {
        case notLoaded
        /// All 512 entries: nothing, lost, or a run from this entry on.
        case uniform(MapEntry)
        case leaf(Leaf)
    }

    private typealias Words = UnsafeMutablePointer<Atomic<UInt64>>

    private static let tableLength: UInt64 = 512
    private static let notLoadedWord: UInt64 = 3 << 62
    /// All 512 entries are lost.
    private static let lostWord = notLoadedWord | 1
    private static let leafBits: UInt64 = 2 << 62

    private let memory: MapMemory
    /// What regions are whose table does not exist: not in memory, or nothing.
    private let absent: Region
    /// The address of the directory: its length in words, then the addresses of tables, 0 where there is none.
    private let directory: Atomic<UInt>

    /// The map of a new disk of that many regions, which are all nothing; or of one whose regions are to be loaded.
    init(regions: UInt64, isNew: Bool, memory: MapMemory) {
        self.memory = memory
        absent = isNew ? .uniform(.nothing) : .notLoaded
        directory = Atomic(Self.makeDirectory(Self.tables(regions)))
    }

    deinit {
        // Whoever is inside the grace holds the map as well.
        let (words, count) = unsafe self.tables
        for table in 0..<count {
            guard let table = unsafe Self.table(words, table) else { continue }
            for index in 0..<Int(Self.tableLength) {
                if case .leaf(let leaf) = unsafe Self.region(table[index].load(ordering: .acquiring)) {
                    leaf.release(memory)
                }
            }
            unsafe table.deallocate()
        }
        unsafe UnsafeMutableRawPointer(bitPattern: directory.load(ordering: .acquiring))?.deallocate()
    }

    // MARK: Any thread, inside the grace

    /// The entry of a logical unit; nil when its region is not in memory.
    func entry(_ unit: UInt64) -> MapEntry? {
        let index = Int(truncatingIfNeeded: unit & UInt64(EpochFormat.regionUnits - 1))
        return switch region(unit / UInt64(EpochFormat.regionUnits)) {
        case .notLoaded: nil
        case .uniform(let first): first.following(index)
        case .leaf(let leaf): leaf[index]
        }
    }

    /// What a region is.
    func region(_ region: UInt64) -> Region {
        let (words, count) = unsafe tables
        precondition(region / Self.tableLength < UInt64(count), "a region lies within the disk")
        guard let table = unsafe Self.table(words, Int(region / Self.tableLength)) else { return absent }
        return unsafe Self.region(table[Int(region % Self.tableLength)].load(ordering: .acquiring))
    }

    // MARK: Under the family's lock

    /// The regions become so many; never fewer.
    func grow(toRegions regions: UInt64) {
        let (words, count) = unsafe tables
        let grown = Self.tables(regions)
        guard grown > count else { return }
        let address = Self.makeDirectory(grown)
        let target = unsafe Words(bitPattern: address)
        for index in 1...count {
            unsafe target?[index].store(words[index].load(ordering: .relaxed), ordering: .relaxed)
        }
        let former = directory.exchange(address, ordering: .acquiringAndReleasing)
        memory.grace.whenUnseen { unsafe UnsafeMutableRawPointer(bitPattern: former)?.deallocate() }
    }

    /// Makes a region that is not in memory what a commit has. The map takes over the caller's hold on a leaf.
    func load(_ region: UInt64, _ content: Region) {
        precondition(self.region(region) == .notLoaded, "a region is loaded once")
        store(region, content)
    }

    /// The leaf of a region that is in memory, to change it in the layer `top`, which gets it if it has not.
    func change(_ region: UInt64, in top: MapLayer) -> Leaf {
        switch self.region(region) {
        case .notLoaded: preconditionFailure("a region is loaded before it changes")
        case .uniform(let first):
            let leaf = Leaf.make(memory) { first.following($0) }
            top.take(region, leaf)
            store(region, .leaf(leaf))
            return leaf
        case .leaf(let leaf) where leaf.layer == top.number: return leaf
        case .leaf(let leaf) where leaf.layer == 0:
            top.take(region, leaf)
            return leaf
        case .leaf(let former):
            let leaf = Leaf.make(memory) { former[$0] }
            top.take(region, leaf)
            store(region, .leaf(leaf))
            former.release(memory)
            return leaf
        }
    }

    /// A region whose leaf is `leaf` is what the last commit has now, which `summary` says in one entry, if it can.
    func settle(_ region: UInt64, _ leaf: Leaf, summary: MapEntry?) {
        guard self.region(region) == .leaf(leaf) else { return }
        leaf.layer = 0
        guard let summary else { return }
        store(region, .uniform(summary))
        leaf.release(memory)
    }

    /// Gives up regions that a commit has, from the table of `hint` on, until `count` leaves are given up or all of at
    /// most `most` tables were looked at; where to begin the next time, and how many it were.
    func giveUp(_ count: Int, from hint: Int, most: Int = .max) -> (next: Int, count: Int) {
        let (words, tableCount) = unsafe tables
        var given = 0
        for step in 0..<min(tableCount, most) {
            let number = (hint + step) % tableCount
            if given >= count { return (number, given) }
            guard let table = unsafe Self.table(words, number) else { continue }
            for index in 0..<Int(Self.tableLength) {
                guard case .leaf(let leaf) = unsafe Self.region(table[index].load(ordering: .relaxed)),
                    leaf.layer == 0
                else { continue }
                unsafe table[index].store(Self.notLoadedWord, ordering: .releasing)
                leaf.release(memory)
                given += 1
            }
        }
        return ((hint + min(tableCount, most)) % tableCount, given)
    }

    // MARK: Words

    private static func tables(_ regions: UInt64) -> Int {
        Int(max(1, (regions + tableLength - 1) / tableLength))
    }

    private static func region(_ word: UInt64) -> Region {
        switch word >> 62 {
        case 2: .leaf(Leaf(address: word & ~leafBits))
        case 3: word == lostWord ? .uniform(.lost) : .notLoaded
        default: .uniform(MapEntry(rawValue: word))
        }
    }

    private static func word(_ region: Region) -> UInt64 {
        switch region {
        case .notLoaded: notLoadedWord
        case .uniform(let entry): entry.isLost ? lostWord : entry.rawValue
        case .leaf(let leaf): leafBits | leaf.address
        }
    }

    private func store(_ region: UInt64, _ content: Region) {
        let (words, count) = unsafe tables
        let number = Int(region / Self.tableLength)
        precondition(number < count, "a region lies within the disk")
        let index = Int(region % Self.tableLength)
        if let table = unsafe Self.table(words, number) {
            unsafe table[index].store(Self.word(content), ordering: .releasing)
            return
        }
        let table = unsafe Self.makeWords(Int(Self.tableLength), Self.word(absent))
        unsafe table[index].store(Self.word(content), ordering: .relaxed)
        unsafe words[number + 1].store(UInt64(UInt(bitPattern: table)), ordering: .releasing)
    }

    private static func makeWords(_ count: Int, _ word: UInt64) -> Words {
        let words = Words.allocate(capacity: count)
        for index in 0..<count { unsafe (words + index).initialize(to: Atomic(word)) }
        return unsafe words
    }

    private static func makeDirectory(_ tables: Int) -> UInt {
        let words = unsafe makeWords(tables + 1, 0)
        unsafe words[0].store(UInt64(tables), ordering: .relaxed)
        return UInt(bitPattern: words)
    }

    /// The directory and the number of its tables.
    private var tables: (Words, Int) {
        guard let words = unsafe Words(bitPattern: directory.load(ordering: .acquiring)) else {
            preconditionFailure("a map has a directory")
        }
        return unsafe (words, Int(words[0].load(ordering: .relaxed)))
    }

    private static func table(_ directory: Words, _ number: Int) -> Words? {
        unsafe Words(bitPattern: UInt(directory[number + 1].load(ordering: .acquiring)))
    }
}

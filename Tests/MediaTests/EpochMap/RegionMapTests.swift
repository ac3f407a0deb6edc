import Platform
import Synchronization
import Testing

@testable import Media

@Suite("The live map of a head")
struct RegionMapTests {
    private let memory = MapMemory(grace: Grace())
    private let units = UInt64(EpochFormat.regionUnits)

    private func layer(_ number: UInt64, on below: MapLayer? = nil, map: RegionMap? = nil) -> MapLayer {
        guard let below else {
            return MapLayer(number: number, root: .nothing, owner: 1, capacity: 1 << 40, memory: memory)
        }
        return MapLayer(number: number, on: below, owner: 1, map: map)
    }

    @Test("A new map is nothing everywhere, one to be loaded is not in memory")
    func absent() {
        #expect(RegionMap(regions: 3000, isNew: true, memory: memory).entry(2999 * units) == .nothing)
        #expect(RegionMap(regions: 3000, isNew: false, memory: memory).entry(0) == nil)
    }

    @Test("A change of a run makes a leaf of it, in the topmost layer")
    func change() {
        let map = RegionMap(regions: 1000, isNew: false, memory: memory)
        let top = layer(1)
        map.load(700, .uniform(.data(5000, birth: 3)))
        #expect(map.entry(700 * units + 9) == .data(5009, birth: 3))
        let leaf = map.change(700, in: top)
        leaf[9] = .nothing
        #expect(map.entry(700 * units + 8) == .data(5008, birth: 3))
        #expect(map.entry(700 * units + 9) == .nothing)
        #expect(map.entry(700 * units + 10) == .data(5010, birth: 3))
        #expect(top.regions[700] == leaf)
        #expect(map.change(700, in: top) == leaf)
    }

    @Test("What a closed layer has stays as it is when the head goes on")
    func layers() {
        let map = RegionMap(regions: 10, isNew: true, memory: memory)
        let base = layer(1)
        let first = layer(2, on: base, map: map)
        map.change(4, in: first)[0] = .data(100, birth: 1)
        let second = layer(3, on: first, map: map)
        map.change(4, in: second)[0] = .data(200, birth: 2)
        #expect(map.entry(4 * units) == .data(200, birth: 2))
        #expect(first.resolve(4).leaf?[0] == .data(100, birth: 1))
        #expect(second.resolve(4).leaf?[0] == .data(200, birth: 2))
        #expect(base.resolve(4).leaf == nil)
        #expect(memory.leafCount == 2)
    }

    @Test("A commit leaves the newest leaf, runs and what is empty give their memory back")
    func commit() {
        let map = RegionMap(regions: 10, isNew: true, memory: memory)
        let first = layer(2, on: layer(1), map: map)
        for index in 0..<Leaf.length {
            map.change(1, in: first)[index] = MapEntry.data(UInt64(1000 + index), birth: 1).unconfirmed
        }
        _ = map.change(2, in: first)
        map.change(3, in: first)[5] = .data(70, birth: 1)
        map.change(4, in: first)[5] = .data(71, birth: 1)
        let second = layer(3, on: first, map: map)
        map.change(4, in: second)[5] = .data(72, birth: 2)
        #expect(memory.leafCount == 5)
        let root = MapRoot(pointer: .page(77, birth: 1, checksum: 0), levels: 1)
        first.commit(root)
        #expect(first.isCommitted)
        #expect(second.resolve(3).root == root)
        #expect(memory.leafCount == 2)
        #expect(map.region(1) == .uniform(.data(1000, birth: 1)))
        #expect(map.region(2) == .uniform(.nothing))
        #expect(map.entry(3 * units + 5) == .data(70, birth: 1))
        #expect(map.entry(4 * units + 5) == .data(72, birth: 2))
        // What a commit has changes in the new layer, in the same memory.
        map.change(3, in: second)[6] = .data(73, birth: 2)
        #expect(memory.leafCount == 2)
        #expect(second.regions.count == 2)
    }

    @Test("Only what a commit has is given up")
    func givingUp() {
        let map = RegionMap(regions: 2000, isNew: false, memory: memory)
        let top = layer(1)
        for region: UInt64 in [1, 600, 1999] {
            map.load(region, .leaf(Leaf.make(memory) { _ in .data(9, birth: 1) }))
        }
        _ = map.change(600, in: top)
        #expect(map.giveUp(100, from: 1).count == 2)
        #expect(map.entry(1999 * units) == nil)
        #expect(map.entry(600 * units) == .data(9, birth: 1))
        #expect(memory.leafCount == 1)
    }

    @Test("A map grows while it is read")
    func growth() throws {
        let map = RegionMap(regions: 512, isNew: true, memory: memory)
        let top = layer(1)
        map.change(511, in: top)[0] = .data(1, birth: 1)
        let isDone = Atomic<Bool>(false)
        let wrong = Atomic<Int>(0)
        let (memory, units) = (memory, units)
        try withThreads { start in
            try start {
                while !isDone.load(ordering: .relaxed) {
                    let pass = memory.grace.enter()
                    if map.entry(511 * units) != .data(1, birth: 1) { wrong.add(1, ordering: .relaxed) }
                    memory.grace.leave(pass)
                }
            }
            for tables: UInt64 in 2...200 {
                map.grow(toRegions: tables * 512)
                for action in memory.grace.collect() { action() }
            }
            isDone.store(true, ordering: .relaxed)
        }
        #expect(wrong.load(ordering: .relaxed) == 0)
        #expect(map.entry(200 * 512 * units - 1) == .nothing)
    }
}

/// Runs `body`, which starts threads, and joins them all.
func withThreads(
    _ body: ((@escaping @Sendable () -> Void) throws -> Void) throws -> Void
) throws {
    var threads: [PlatformThread] = []
    defer { for thread in threads { thread.join() } }
    try body { threads.append(try PlatformThread.start(name: "test", $0)) }
}

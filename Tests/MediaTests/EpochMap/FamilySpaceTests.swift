import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("The space of disks with snapshots")
struct FamilySpaceTests {
    /// Of each node the version that each unit has; 0 is nothing.
    struct Model {
        struct Node {
            var parent: UInt32
            var units: [Int]
            /// Whether it only stays for its children.
            var isNameless = false
        }

        var nodes: [UInt32: Node]
        var heads: Set<UInt32> = [1]
        private var last = 0

        init(units: Int) { nodes = [1: Node(parent: 0, units: [Int](repeating: 0, count: units))] }

        mutating func write(_ head: UInt32, _ range: Range<Int>, isData: Bool) {
            for unit in range {
                last += 1
                nodes[head]?.units[unit] = isData ? last : 0
            }
        }

        mutating func snapshot(_ head: UInt32, _ number: UInt32) {
            nodes[number] = nodes[head]
            nodes[head]?.parent = number
        }

        mutating func clone(_ snapshot: UInt32, _ number: UInt32) {
            nodes[number] = Node(parent: snapshot, units: nodes[snapshot]?.units ?? [])
            heads.insert(number)
        }

        func children(_ number: UInt32) -> [UInt32] { nodes.filter { $0.value.parent == number }.map(\.key) }

        mutating func delete(_ number: UInt32) {
            guard let parent = nodes[number]?.parent else { return }
            let children = children(number)
            guard children.count <= 1 else {
                nodes[number]?.isNameless = true
                return
            }
            heads.remove(number)
            for child in children { nodes[child]?.parent = parent }
            nodes[number] = nil
            if nodes[parent]?.isNameless == true { delete(parent) }
        }

        func space(_ number: UInt32) -> DiskFamily.NodeSpace {
            let own = Set(nodes[number]?.units ?? []).subtracting([0])
            let others = nodes.filter { $0.key != number }.reduce(into: Set<Int>()) { $0.formUnion($1.value.units) }
            // What several are below stays for them.
            let unique = children(number).count > 1 ? 0 : own.subtracting(others).count
            return DiskFamily.NodeSpace(mapped: UInt64(own.count), unique: UInt64(unique))
        }
    }

    static let units = 1200

    @Test("Units of a node, and those of nobody else, are what a model counts", arguments: Effort.seeds(100, few: 6))
    func sequences(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let store = SimulatedStore()
        var family = try FamilyFixture.create(on: store, capacity: Int64(Self.units) * 4096)
        var model = Model(units: Self.units)
        for step in 0..<160 {
            try Self.step(&family, &model, store, &random)
            guard step % 8 == 7 else { continue }
            // Which nodes without a name go is known at the end.
            while try model.nodes.values.contains(where: \.isNameless) && family.mergeStep() {}
            for (number, node) in model.nodes where !node.isNameless {
                let space = try family.space(of: number)
                #expect(space == model.space(number), "seed \(seed), step \(step), node \(number)")
                let kept = try family.space(of: number, until: .distantFuture, mayBeOld: false)
                #expect(kept == model.space(number), "seed \(seed), step \(step), node \(number), kept")
            }
        }
        while try family.mergeStep() {}
        #expect(family.check() == [])
    }

    static func step(
        _ family: inout DiskFamily, _ model: inout Model, _ store: SimulatedStore, _ random: inout SeededRandom
    ) throws {
        let named = model.nodes.filter { !$0.value.isNameless }.keys.sorted()
        guard let head = model.heads.sorted().randomElement(using: &random) else { return }
        let snapshot = named.filter { !model.heads.contains($0) }.randomElement(using: &random)
        let first = Int.random(in: 0..<units, using: &random)
        let count = min(units - first, Int.random(in: 1...(Bool.random(using: &random) ? 4 : 600), using: &random))
        let (offset, length) = (Int64(first) * 4096, count * 4096)
        switch Int.random(in: 0..<30, using: &random) {
        case 0..<10:
            #expect(family.fill(head, 7, at: offset, count: length) == .done(length))
            model.write(head, first..<first + count, isData: true)
        case 10..<13:
            #expect(family.discard(head, at: offset, length: Int64(length)) == .done(0))
            model.write(head, first..<first + count, isData: false)
        case 13..<18:
            guard named.count < 10 else { return }
            model.snapshot(head, try family.snapshot([head], names: ["s"], time: FamilyFixture.time())[0])
        case 18..<20:
            guard let snapshot, named.count < 10 else { return }
            model.clone(snapshot, try family.clone(snapshot, name: "c", time: FamilyFixture.time()))
        case 20..<24:
            guard let node = named.randomElement(using: &random), named.count > 1,
                !model.heads.contains(node) || model.heads.count > 1
            else { return }
            // How many are below it is known when those that go are gone.
            while try family.mergeStep() {}
            try family.delete(node)
            model.delete(node)
        case 24..<26: _ = try family.mergeStep()
        case 26..<28: #expect(family.checkpoint() == 0)
        default:
            #expect((Bool.random(using: &random) ? family.flush() : family.close()) == 0)
            family = try DiskFamily.open(store)
        }
    }

    @Test("Each page is read once, and counting ends when that is wanted")
    func pages() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store, capacity: 2 << 30)
        for region in 0..<600 {
            #expect(family.fill(1, 1, at: Int64(region) << 21, count: 8192) == .done(8192))
        }
        let node = try family.snapshot([1], names: ["a"], time: FamilyFixture.time())[0]
        for region in 0..<100 { #expect(family.fill(1, 2, at: Int64(region) << 21, count: 4096) == .done(4096)) }
        #expect(family.close() == 0)
        let opened = try DiskFamily.open(store)
        store.fail(at: nil, 0, counting: .all)
        #expect(try opened.space(of: node) == DiskFamily.NodeSpace(mapped: 1200, unique: 100))
        // A leaf of each region, the others of the head, and the pages above them.
        #expect(store.callCount <= 600 + 100 + 8, "\(store.callCount) pages")
        #expect(try opened.space(of: 1) == DiskFamily.NodeSpace(mapped: 1200, unique: 100))
        for limit in [0, 1, 7, 200] {
            var calls = 0
            let space = try opened.space(of: node) {
                calls += 1
                return calls > limit
            }
            #expect(space == nil)
            #expect(calls == limit + 1)
        }
        #expect(throws: FamilyError.noNode(9)) { try opened.space(of: 9) }
    }

    @Test("A large disk that holds little is counted soon")
    func sparse() throws {
        let family = try FamilyFixture.create(on: SimulatedStore())
        try family.resize(1, to: 1 << 42)
        #expect(family.fill(1, 1, at: (1 << 42) - 8192, count: 8192) == .done(8192))
        #expect(try family.space(of: 1) == DiskFamily.NodeSpace(mapped: 2, unique: 2))
    }

    @Test("What was counted of snapshots is not counted again, and what was begun goes on")
    func kept() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store, capacity: 2 << 30)
        for region in 0..<600 {
            #expect(family.fill(1, 1, at: Int64(region) << 21, count: 8192) == .done(8192))
        }
        for name in ["a", "b", "c"] {
            #expect(family.fill(1, 2, at: 0, count: 4096) == .done(4096))
            _ = try family.snapshot([1], names: [name], time: FamilyFixture.time())
        }
        #expect(family.close() == 0)
        let opened = try DiskFamily.open(store)
        #expect(try opened.space(of: 2, until: MonotonicTime(nanoseconds: 0)) == nil)
        var walk = DiskFamily.SpaceWalk()
        var calls = 0
        while try !opened.count(
            2, &walk,
            {
                calls += 1; return calls % 8 == 0
            })
        {}
        #expect(walk.space == DiskFamily.NodeSpace(mapped: 1200, unique: 1))
        store.fail(at: nil, 0, counting: .all)
        #expect(try opened.space(of: 2, until: .distantFuture) == walk.space)
        let first = store.callCount
        #expect(try opened.space(of: 3, until: .distantFuture) == DiskFamily.NodeSpace(mapped: 1200, unique: 1))
        // The page of level 1 in which they differ, and those above: the others are the same, and remembered.
        #expect(store.callCount - first < 300, "\(store.callCount - first) pages")
        let second = store.callCount
        #expect(try opened.space(of: 3, until: MonotonicTime(nanoseconds: 0))?.mapped == 1200)
        #expect(store.callCount == second, "a snapshot between two has it for ever")
        #expect(try opened.space(of: 4, until: .distantFuture)?.unique == 0)
        #expect(opened.fill(1, 3, at: 0, count: 4096) == .done(4096))
        #expect(try opened.space(of: 4, until: .distantFuture, mayBeOld: false)?.unique == 1)
        #expect(try opened.space(of: 1, until: .distantFuture, mayBeOld: false)?.unique == 1)
        #expect(throws: FamilyError.noNode(9)) { try opened.space(of: 9, until: .distantFuture) }
    }
}

import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("A disk with snapshots against a model")
struct FamilyModelTests {
    /// What nodes hold: a value for each unit.
    struct Model {
        var nodes: [UInt32: [UInt8]] = [:]
        var heads: Set<UInt32> = []
        var children: [UInt32: Int] = [:]
    }

    static let units = 1200
    static let seeds = Effort.seeds(200, few: 6)

    @Test(
        "Any sequence of operations, with commits and openings in between, gives what the model has", arguments: seeds)
    func sequences(seed: UInt64) throws { try Self.run(seed: seed, compression: nil) }

    @Test("The same with compressed extents", arguments: Effort.seeds(50, few: 3))
    func compressedSequences(seed: UInt64) throws { try Self.run(seed: seed, compression: 3) }

    private static func run(seed: UInt64, compression: Int?) throws {
        var random = SeededRandom(seed: seed)
        let store = SimulatedStore()
        var family = try FamilyFixture.create(
            on: store, capacity: Int64(Self.units) * 4096, compression: compression)
        var model = Model()
        model.nodes[1] = [UInt8](repeating: 0, count: Self.units)
        model.heads = [1]
        for step in 0..<250 {
            try Self.step(&family, &model, store, &random)
            guard step % 10 == 9 else { continue }
            Self.compare(family, model, "seed \(seed), step \(step)")
        }
        #expect(family.checkpoint() == 0)
        Self.compare(family, model, "seed \(seed)")
        while try family.mergeStep() {}
        #expect(family.check() == [])
        for node in model.nodes.keys.shuffled(using: &random) {
            do { try family.delete(node) } catch FamilyError.lastNode {}
            while try family.mergeStep() {}
        }
        #expect(family.check() == [])
        #expect(family.nodes.count == 1)
    }

    static func step(
        _ family: inout DiskFamily, _ model: inout Model, _ store: SimulatedStore, _ random: inout SeededRandom
    ) throws {
        let head = model.heads.sorted().randomElement(using: &random)
        let snapshot = model.nodes.keys.filter { !model.heads.contains($0) }.sorted().randomElement(using: &random)
        let first = Int.random(in: 0..<units, using: &random)
        let count = min(units - first, Int.random(in: 1...(Bool.random(using: &random) ? 4 : 400), using: &random))
        switch Int.random(in: 0..<40, using: &random) {
        case 0..<16:
            guard let head else { return }
            let value = UInt8.random(in: 0...9, using: &random)
            let result = family.fill(head, value, at: Int64(first) * 4096, count: count * 4096)
            #expect(result == .done(count * 4096))
            for unit in first..<first + count { model.nodes[head]?[unit] = value }
        case 16..<19:
            guard let head else { return }
            #expect(family.discard(head, at: Int64(first) * 4096, length: Int64(count) * 4096) == .done(0))
            for unit in first..<first + count { model.nodes[head]?[unit] = 0 }
        case 19..<24: #expect(family.flush() == 0)
        case 24..<28:
            guard let head, model.nodes.count < 12 else { return }
            let number = try family.snapshot([head], names: ["s"], time: FamilyFixture.time())[0]
            model.nodes[number] = model.nodes[head]
        case 28..<30:
            guard let snapshot, model.nodes.count < 12 else { return }
            let number = try family.clone(snapshot, name: "c", time: FamilyFixture.time())
            model.nodes[number] = model.nodes[snapshot]
            model.heads.insert(number)
        case 30:
            guard let snapshot, let head, model.nodes.count < 12 else { return }
            let number = try family.rollBack(head, to: snapshot, keeping: "k", time: FamilyFixture.time())
            model.nodes[number] = model.nodes[snapshot]
            model.heads.insert(number)
            model.heads.remove(head)
        case 31..<34:
            guard model.nodes.count > 6, let node = model.nodes.keys.sorted().randomElement(using: &random) else {
                return
            }
            try family.delete(node)
            model.nodes[node] = nil
            model.heads.remove(node)
        case 34..<37: for _ in 0..<Int.random(in: 1...4, using: &random) { _ = try family.mergeStep() }
        case 37..<39: #expect(family.checkpoint() == 0)
        default:
            #expect((Bool.random(using: &random) ? family.flush() : family.close()) == 0)
            family = try DiskFamily.open(store)
        }
    }

    static func compare(_ family: DiskFamily, _ model: Model, _ comment: Comment) {
        for (node, values) in model.nodes {
            let bytes = family.content(node, at: 0, count: units * 4096)
            guard !bytes.isEmpty else {
                Issue.record("node \(node) is not read: \(comment)")
                continue
            }
            let found = (0..<units).map { bytes[$0 * 4096] }
            #expect(found == values, "node \(node): \(comment)")
        }
    }
}

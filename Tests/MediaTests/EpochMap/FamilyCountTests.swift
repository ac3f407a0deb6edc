import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Disks with many snapshots and clones")
struct FamilyCountTests {
    static let units = 64

    /// Writes a unit that says which round it was.
    private static func mark(_ family: DiskFamily, _ head: UInt32, _ round: Int) {
        let offset = Int64(round % units) * 4096
        #expect(family.fill(head, UInt8(1 + round % 200), at: offset, count: 4096) == .done(4096))
    }

    /// What a unit holds after `round` rounds.
    private static func expected(_ unit: Int, after round: Int) -> UInt8 {
        guard unit <= round else { return 0 }
        let last = round - (round - unit) % units
        return UInt8(1 + last % 200)
    }

    @Test("Thousands of snapshots of a disk are made, read and deleted, and every unit is free again")
    func snapshots() throws {
        let count = Effort.isFull ? 10_000 : 600
        let store = SimulatedStore()
        var family = try FamilyFixture.create(on: store, capacity: Int64(Self.units) * 4096)
        #expect(family.checkpoint() == 0)
        let empty = family.usedUnits
        var nodes: [UInt32] = []
        for round in 0..<count {
            Self.mark(family, 1, round)
            nodes += try family.snapshot([1], names: ["\(round)"], time: FamilyFixture.time())
        }
        #expect(family.flush() == 0)
        family = try DiskFamily.open(store)
        #expect(family.nodes.count == count + 1)
        for round in stride(from: 0, to: count, by: max(1, count / 50)) {
            let bytes = family.content(nodes[round], at: 0, count: Self.units * 4096)
            let found = (0..<Self.units).map { bytes[$0 * 4096] }
            #expect(found == (0..<Self.units).map { Self.expected($0, after: round) }, "snapshot \(round)")
        }
        #expect(family.check() == [])
        // Some from the middle first, so that some are merged into others.
        for node in nodes[(count / 3)..<(count / 2)] { try family.delete(node) }
        while try family.mergeStep() {}
        for node in nodes[..<(count / 3)].reversed() + nodes[(count / 2)...] { try family.delete(node) }
        while try family.mergeStep() {}
        #expect(family.nodes.map(\.number) == [1])
        #expect(family.content(1, at: 0, count: 4096)[0] == Self.expected(0, after: count - 1))
        #expect(family.discard(1, at: 0, length: Int64(Self.units) * 4096) == .done(0))
        #expect(family.check() == [])
        // The node table keeps the levels that it once had.
        #expect(family.usedUnits <= empty + 2, "\(family.usedUnits) units, \(empty) when it was empty")
    }

    @Test("Hundreds of clones of a snapshot are made, written, read and deleted, and every unit is free again")
    func clones() throws {
        let count = Effort.isFull ? 1000 : 100
        let store = SimulatedStore()
        var family = try FamilyFixture.create(on: store, capacity: Int64(Self.units) * 4096)
        #expect(family.checkpoint() == 0)
        let empty = family.usedUnits
        #expect(family.fill(1, 255, at: 0, count: Self.units * 4096) == .done(Self.units * 4096))
        let snapshot = try family.snapshot([1], names: ["s"], time: FamilyFixture.time())[0]
        var clones: [UInt32] = []
        for round in 0..<count {
            clones.append(try family.clone(snapshot, name: "\(round)", time: FamilyFixture.time()))
            Self.mark(family, clones[round], round)
        }
        #expect(family.flush() == 0)
        family = try DiskFamily.open(store)
        for (round, clone) in clones.enumerated() {
            let bytes = family.content(clone, at: 0, count: Self.units * 4096)
            for unit in 0..<Self.units {
                let value = unit == round % Self.units ? UInt8(1 + round % 200) : 255
                #expect(bytes[unit * 4096] == value, "clone \(round), unit \(unit)")
            }
        }
        #expect(family.check() == [])
        // It loses its name, and goes with the last clone but one.
        try family.delete(snapshot)
        for clone in clones { try family.delete(clone) }
        while try family.mergeStep() {}
        #expect(family.nodes.map(\.number) == [1])
        #expect(family.discard(1, at: 0, length: Int64(Self.units) * 4096) == .done(0))
        #expect(family.check() == [])
        #expect(family.usedUnits <= empty + 2, "\(family.usedUnits) units, \(empty) when it was empty")
    }
}

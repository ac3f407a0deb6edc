import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

/// What tests of families need.
enum FamilyFixture {
    static let uuid = [UInt8](1...16)

    static func time(_ seconds: Int64 = 1_700_000_000) -> CalendarTime {
        CalendarTime(seconds: seconds) ?? .current()
    }

    static func create(
        on store: any ByteStore, capacity: Int64 = 8 << 20, blockSize: Int = 512, compression: Int? = nil
    ) throws -> DiskFamily {
        try DiskFamily.create(
            on: store, capacity: capacity, blockSize: blockSize, name: "disk", time: time(), uuid: uuid,
            compression: compression)
    }
}

extension DiskFamily {
    /// The bytes of a node; none when reading fails.
    func content(_ node: UInt32, at offset: Int64, count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        let result = bytes.modifyBytes { read(node, into: &$0, at: offset) }
        return result == .done(count) ? bytes : []
    }

    /// Deletes a node that is not locked at the fixture's time.
    func delete(_ node: UInt32) throws(FamilyError) { try delete(node, time: FamilyFixture.time()) }

    /// Writes `count` bytes `value`.
    func fill(_ head: UInt32, _ value: UInt8, at offset: Int64, count: Int) -> FileResult {
        write(head, [UInt8](repeating: value, count: count).rawSpan, at: offset)
    }
}

extension FamilyFile {
    /// Deletes a node that is not locked at the fixture's time.
    func delete(_ node: UInt32) throws(FamilyError) { try delete(node, time: FamilyFixture.time()) }
}

@Suite("A disk with snapshots")
struct DiskFamilyTests {
    @Test("A new disk reads as zeros, and what is written is read, before and after an opening")
    func writing() throws {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store)
        #expect(family.content(1, at: 0, count: 8192) == [UInt8](repeating: 0, count: 8192))
        #expect(family.fill(1, 7, at: 512, count: 512) == .done(512))
        #expect(family.fill(1, 8, at: 1 << 20, count: 3 << 20) == .done(3 << 20))
        #expect(family.fill(1, 9, at: (8 << 20) - 1024, count: 1024) == .done(1024))
        #expect(family.flush() == 0)
        for opened in [family, try DiskFamily.open(SimulatedStore(store.durable))] {
            #expect(
                opened.content(1, at: 0, count: 1536)
                    == [UInt8](repeating: 0, count: 512) + [UInt8](repeating: 7, count: 512)
                    + [UInt8](repeating: 0, count: 512))
            #expect(opened.content(1, at: 1 << 20, count: 3 << 20) == [UInt8](repeating: 8, count: 3 << 20))
            #expect(opened.content(1, at: 4 << 20, count: 512) == [UInt8](repeating: 0, count: 512))
            #expect(opened.content(1, at: (8 << 20) - 512, count: 512) == [UInt8](repeating: 9, count: 512))
        }
    }

    @Test("What lies outside of the disk, or is no whole sector, is refused")
    func ranges() throws {
        let family = try FamilyFixture.create(on: SimulatedStore())
        #expect(family.fill(1, 1, at: 8 << 20, count: 512) == .failed(Errno.invalidArgument))
        #expect(family.fill(1, 1, at: -512, count: 512) == .failed(Errno.invalidArgument))
        #expect(family.fill(1, 1, at: 0, count: 100) == .failed(Errno.invalidArgument))
        #expect(family.fill(2, 1, at: 0, count: 512) == .failed(Errno.noSuchFile))
        #expect(family.discard(1, at: 0, length: (8 << 20) + 512) == .failed(Errno.invalidArgument))
    }

    @Test("A unit is overwritten in place as soon as a frame confirms it, and never what a snapshot sees")
    func inPlace() throws {
        let family = try FamilyFixture.create(on: SimulatedStore())
        let empty = family.usedUnits
        #expect(family.fill(1, 1, at: 0, count: 4096) == .done(4096))
        #expect(family.usedUnits == empty + 1)
        let first = try #require(family.liveHead(1)?.map.entry(0))
        #expect(family.fill(1, 2, at: 0, count: 4096) == .done(4096))
        let second = try #require(family.liveHead(1)?.map.entry(0))
        #expect(second.unit != first.unit)
        for _ in 0..<3 { #expect(family.flush() == 0) }
        #expect(family.fill(1, 3, at: 0, count: 4096) == .done(4096))
        #expect(family.liveHead(1)?.map.entry(0)?.unit == second.unit)
        let snapshots = try family.snapshot([1], names: ["one"], time: FamilyFixture.time())
        #expect(snapshots == [2])
        #expect(family.fill(1, 4, at: 512, count: 512) == .done(512))
        #expect(family.liveHead(1)?.map.entry(0)?.unit != second.unit)
        #expect(family.content(2, at: 0, count: 4096) == [UInt8](repeating: 3, count: 4096))
        #expect(
            family.content(1, at: 0, count: 4096)
                == [UInt8](repeating: 3, count: 512) + [UInt8](repeating: 4, count: 512)
                + [UInt8](repeating: 3, count: 3072))
    }

    @Test("Zeros and discards give units back")
    func nothing() throws {
        let family = try FamilyFixture.create(on: SimulatedStore())
        let empty = family.usedUnits
        #expect(family.fill(1, 1, at: 0, count: 1 << 20) == .done(1 << 20))
        #expect(family.usedUnits == empty + 256)
        #expect(family.fill(1, 0, at: 0, count: 64 << 10) == .done(64 << 10))
        #expect(family.usedUnits == empty + 240)
        #expect(family.discard(1, at: 512, length: (1 << 20) - 512) == .done(0))
        #expect(family.usedUnits == empty)
        #expect(family.content(1, at: 0, count: 1 << 20) == [UInt8](repeating: 0, count: 1 << 20))
        #expect(family.fill(1, 5, at: 0, count: 8192) == .done(8192))
        #expect(family.discard(1, at: 512, length: 4096) == .done(0))
        #expect(family.content(1, at: 0, count: 512) == [UInt8](repeating: 5, count: 512))
        #expect(family.content(1, at: 512, count: 4096) == [UInt8](repeating: 0, count: 4096))
        #expect(family.content(1, at: 4608, count: 3584) == [UInt8](repeating: 5, count: 3584))
    }

    @Test("Snapshots, clones and rollbacks see what they should, before and after commits and openings")
    func tree() throws {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store)
        #expect(family.fill(1, 1, at: 0, count: 16384) == .done(16384))
        let first = try family.snapshot([1], names: ["one"], time: FamilyFixture.time())[0]
        #expect(family.fill(1, 2, at: 4096, count: 8192) == .done(8192))
        let second = try family.snapshot([1], names: ["two"], time: FamilyFixture.time())[0]
        #expect(family.fill(1, 3, at: 8192, count: 4096) == .done(4096))
        let clone = try family.clone(first, name: "clone", time: FamilyFixture.time())
        #expect(family.fill(clone, 4, at: 0, count: 4096) == .done(4096))
        let back = try family.rollBack(1, to: second, keeping: "kept", time: FamilyFixture.time())
        #expect(family.fill(1, 9, at: 0, count: 4096) == .failed(Errno.noSuchFile))
        #expect(family.fill(back, 5, at: 12288, count: 4096) == .done(4096))
        let expected: [(UInt32, [UInt8])] = [
            (first, [1, 1, 1, 1]), (second, [1, 2, 2, 1]), (1, [1, 2, 3, 1]), (clone, [4, 1, 1, 1]),
            (back, [1, 2, 2, 5]),
        ]
        func check(_ family: DiskFamily, _ comment: Comment) {
            for (node, values) in expected {
                let bytes = values.flatMap { [UInt8](repeating: $0, count: 4096) }
                #expect(family.content(node, at: 0, count: 16384) == bytes, "\(comment), node \(node)")
            }
        }
        check(family, "at once")
        #expect(family.flush() == 0)
        check(try DiskFamily.open(SimulatedStore(store.durable)), "replayed")
        #expect(family.checkpoint() == 0)
        check(family, "after a commit")
        let opened = try DiskFamily.open(SimulatedStore(store.durable))
        check(opened, "opened")
        #expect(opened.nodes == family.nodes)
        #expect(opened.usedUnits == family.usedUnits)
        #expect(opened.nodes.map(\.name) == ["kept", "one", "two", "clone", "disk"])
    }

    @Test("Deleting everything gives every unit back")
    func deletion() throws {
        let store = SimulatedStore()
        let family = try FamilyFixture.create(on: store)
        #expect(family.checkpoint() == 0)
        let empty = family.usedUnits
        var nodes: [UInt32] = []
        for round in 1...6 {
            for block in 0..<8 where (block * round) % 3 != 0 {
                #expect(family.fill(1, UInt8(round), at: Int64(block) << 18, count: 12288) == .done(12288))
            }
            nodes += try family.snapshot([1], names: ["\(round)"], time: FamilyFixture.time())
        }
        let clone = try family.clone(nodes[2], name: "clone", time: FamilyFixture.time())
        #expect(family.fill(clone, 77, at: 0, count: 1 << 20) == .done(1 << 20))
        let expected = family.content(clone, at: 0, count: 8 << 20)
        for node in [nodes[4], nodes[0], nodes[2], nodes[5]] {
            try family.delete(node)
            while try family.mergeStep() {}
        }
        #expect(family.content(clone, at: 0, count: 8 << 20) == expected)
        #expect(family.flush() == 0)
        let opened = try DiskFamily.open(SimulatedStore(store.durable))
        #expect(opened.content(clone, at: 0, count: 8 << 20) == expected)
        #expect(opened.nodes == family.nodes)
        for node in [clone, nodes[1], nodes[3]] {
            try family.delete(node)
            while try family.mergeStep() {}
        }
        #expect(family.discard(1, at: 0, length: 8 << 20) == .done(0))
        #expect(family.checkpoint() == 0)
        #expect(family.nodes.map(\.number) == [1])
        #expect(family.usedUnits == empty)
        let last = try DiskFamily.open(SimulatedStore(store.durable))
        #expect(last.usedUnits == empty)
    }
}

import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("What is kept of each node of a family")
struct EpochNoteTests {
    private let store = SimulatedStore()
    private let time = FamilyFixture.time()

    @Test("A marked block of a disk stays marked in its snapshots and clones, whatever becomes of the disk")
    func marks() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        #expect(try disk.write(0, 64, 1) == .done)
        #expect(try disk.mark(5) == .done)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        #expect(try disk.write(0, 8, 2) == .done)
        #expect(try disk.mark(9) == .done)
        let clone = try file.clone(snapshot, name: "clone", time: time)
        let (old, copy) = try (#require(FamilyDisk(file, snapshot)), #require(FamilyDisk(file, clone)))
        func check(_ disk: FamilyDisk, _ marked: [UInt64]) throws {
            for block in 0..<16 as Range<UInt64> {
                #expect(disk.image.isMarked(block) == marked.contains(block))
                #expect((try disk.read(block) == nil) == marked.contains(block))
            }
        }
        try check(disk, [9])
        try check(old, [5])
        try check(copy, [5])
        #expect(try copy.write(5, 1, 3) == .done)
        try check(copy, [])
        try check(old, [5])
        for disk in [disk, old, copy] { #expect(disk.image.close() == nil) }
        let opened = try FamilyFile.open(SimulatedStore(store.durable, notes: store.notes), path: "test")
        let again = try [1, snapshot, clone].map { try #require(FamilyDisk(opened, $0)) }
        try check(again[0], [9])
        try check(again[1], [5])
        try check(again[2], [])
    }

    @Test("An operation is kept of its head alone, and its notes go with a node")
    func operations() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        #expect(disk.image.keep(operation: [1, 2], insteadOf: nil) == nil)
        #expect(try disk.mark(3) == .done)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        let clone = try file.clone(snapshot, name: "clone", time: time)
        let copy = try #require(FamilyDisk(file, clone))
        #expect(copy.image.keptOperation == .none)
        #expect(copy.image.keep(operation: [7], insteadOf: nil) == nil)
        for disk in [copy, disk] { #expect(disk.image.close() == nil) }
        let second = SimulatedStore(store.durable, notes: store.notes)
        let opened = try FamilyFile.open(second, path: "test")
        let again = try #require(FamilyDisk(opened))
        #expect(again.image.keptOperation == .bytes([1, 2]))
        #expect(try #require(FamilyDisk(opened, clone)).image.keptOperation == .bytes([7]))
        try opened.delete(clone)
        #expect(Set(second.notes.keys) == [.operation.of(1), .markedBlocks.of(1), .markedBlocks.of(snapshot)])
        try opened.delete(snapshot)
        #expect(again.image.keep(operation: nil, insteadOf: [1, 2]) == nil)
        #expect(again.image.removeMarks() == nil)
        #expect(second.notes.isEmpty)
    }

    @Test("A note that an attempt has left before a crash is not of the node that gets its number")
    func leftOvers() throws {
        let first = try FamilyDisk.file(store)
        #expect(first.close() == nil)
        let notes: [StoreNoteKey: [UInt8]] = [
            .markedBlocks.of(2): [0, 0, 0, 0, 0, 0, 0, 1], .operation.of(2): [1], .operation.of(3): [1],
        ]
        let second = SimulatedStore(store.durable, notes: notes)
        let file = try FamilyFile.open(second, path: "test")
        let disk = try #require(FamilyDisk(file))
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        #expect(try #require(FamilyDisk(file, snapshot)).image.hasMarks == false)
        let clone = try file.clone(snapshot, name: "clone", time: time)
        #expect(try #require(FamilyDisk(file, clone)).image.keptOperation == .none)
        #expect(second.notes.isEmpty)
        #expect(disk.image.close() == nil)
    }

    @Test("Without room for the marks of one more node there is no node")
    func noRoom() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        #expect(try disk.mark(3) == .done)
        store.failNotes(Errno.noSpace)
        #expect(throws: FamilyError.self) { try file.snapshot([1], names: ["one"], time: time) }
        store.stopFailing()
        #expect(file.nodes.count == 1)
        #expect(file.loss == nil)
        #expect(try file.snapshot([1], names: ["one"], time: time) == [2])
    }
}

import TestSupport
import Testing

@testable import Media

@Suite("Disks with snapshots against a model")
struct FamilySimulationTests {
    @Test(
        "Random operations, closed, killed and crashed, do to a family what they do to a dictionary",
        arguments: Effort.seeds(1000, few: 10))
    func operations(seed: UInt64) {
        let layout = seed % 4 == 3 ? CrashWorkloads.sparse : DiskLayout(units: seed % 2 == 0 ? 96 : 500, growsTo: 640)
        let simulation = FamilySimulation(layout, seed: seed, count: 100_000)
        #expect(simulation.shortestFailure() == nil)
    }

    @Test("The same of a family with checksums", arguments: Effort.seeds(12, few: 4))
    func operationsWithChecksums(seed: UInt64) {
        let layout = seed % 4 == 3 ? CrashWorkloads.sparse : DiskLayout(units: seed % 2 == 0 ? 96 : 500, growsTo: 640)
        let count = Effort.isFull ? 20_000 : 400
        let simulation = FamilySimulation(layout.withChecksums(), seed: seed &+ 100, count: count)
        #expect(simulation.shortestFailure() == nil)
    }

    @Test(
        "The same with compressed extents",
        arguments: Effort.seeds(40, few: 6))
    func compressedOperations(seed: UInt64) {
        let layout = DiskLayout(units: seed % 2 == 0 ? 96 : 500, growsTo: 640)
        let simulation = FamilySimulation(
            layout, seed: seed, count: Effort.isFull ? 20_000 : 400, compression: seed % 3 == 0 ? 1 : 3)
        #expect(simulation.shortestFailure() == nil)
    }

    @Test("The same with compressed extents and checksums", arguments: Effort.seeds(12, few: 4))
    func compressedOperationsWithChecksums(seed: UInt64) {
        let layout = DiskLayout(units: seed % 2 == 0 ? 96 : 500, growsTo: 640).withChecksums()
        let simulation = FamilySimulation(
            layout, seed: seed &+ 200, count: Effort.isFull ? 20_000 : 400, compression: 3)
        #expect(simulation.shortestFailure() == nil)
    }

    @Test("When all but one head is deleted, its blocks are what takes space")
    func space() throws {
        let run = try FamilyRun(DiskLayout(units: 600), keepsHistory: false)
        try run.write(run.head, 0, 4800)
        try run.drain()
        try run.checkpoint()
        try run.reopen()
        let alone = run.family.usedUnits
        var moves = FamilyMoves(heads: 4, nodes: 12)
        for _ in 0..<400 { try moves.step(run, allowsRestarts: false) }
        run.store.limit(to: nil)
        for snapshot in run.model.snapshots { try run.delete(snapshot) }
        for head in run.model.heads.dropFirst() { try run.delete(head) }
        let head = run.model.heads[0]
        try run.write(head, 0, 4800)
        try run.drain()
        try run.reopen()
        try run.checkpoint()
        try run.checkpoint()
        try run.check("at the end")
        #expect(run.family.nodes.map(\.number) == [head])
        // The map may be other pages than a run by now: a leaf for each of two regions.
        #expect(run.family.usedUnits <= alone + 2, "\(run.family.usedUnits) units, \(alone) before")
    }
}

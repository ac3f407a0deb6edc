import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Full hosts under disks with snapshots")
struct FamilyFullHostTests {
    @Test("A disk of 1 MiB that is full takes less than 2 MiB, its reserve included")
    func small() throws {
        let store = RecordingStore(keepsHistory: false)
        let family = try FamilyFixture.create(on: store, capacity: 1 << 20)
        #expect(family.fill(1, 1, at: 0, count: 1 << 20) == .done(1 << 20))
        #expect(family.checkpoint() == 0)
        #expect(UInt64(family.units.reserveCount) == EpochFormat.reserveUnits(capacity: 1 << 20))
        #expect(store.content.allocatedPages * 4096 < 2 << 20)
        #expect(EpochFormat.reserveUnits(capacity: 1 << 40) < (1 << 40) >> 12 / 1000, "a thousandth of a large disk")
    }

    /// Fills a disk in several ways, until the host is full in the middle of one.
    static func fill(_ run: FamilyRun) throws {
        for round in 0..<8 {
            try run.writeWithin(run.head, 24 * round, run.newTags(40))
            if round % 3 == 1 { try run.snapshot(run.head) }
            if round % 4 == 2 { try run.checkpoint() }
            try run.flush()
        }
    }

    @Test("From any allocation on the host is full: what needs no room goes on, and all recovers", arguments: 0..<3)
    func walk(part: Int) throws {
        var limit = part
        var isFull = true
        while isFull {
            let run = try FamilyRun(DiskLayout(units: 96, growsTo: 120), seed: 1, keepsHistory: false)
            try run.write(run.head, 0, 200)
            try run.snapshot(run.head)
            try run.write(run.head, 400, 160)
            for _ in 0..<3 { try run.flush() }
            run.store.limit(to: limit)
            do {
                try Self.fill(run)
                isFull = run.refusedWrites > 0
                try Self.goOn(run)
            } catch {
                throw ProofFailure("room for \(limit) pages: \(error)")
            }
            limit += Effort.isFull ? 3 : 12
        }
        #expect(limit > 40)
    }

    /// What works on a full host, and afterwards.
    static func goOn(_ run: FamilyRun) throws {
        try run.verify()
        // In place: what was durable and no snapshot sees.
        try run.flush()
        let head = run.head
        let own = (50..<68).filter { unit in
            guard let entry = run.family.liveHead(head)?.map.entry(UInt64(unit)) else { return false }
            return run.family.liveHead(head)?.mayOverwrite(entry) ?? false
        }
        for unit in own { try run.write(head, 8 * unit, 8) }
        for round in 0..<6 {
            try run.discard(head, 64 * round, 16)
            try run.flush()
            if round % 2 == 0 { try run.checkpoint() }
        }
        let snapshot = try run.snapshot(head)
        try run.lock(snapshot, for: 10)
        for node in run.model.snapshots {
            try run.delete(node)
            try run.drain()
            try run.checkpoint()
        }
        try run.verify()
        // A hundred commits more, and crashes, on the same host.
        for round in 0..<12 {
            try run.discard(head, 8 * round, 8)
            try run.checkpoint()
        }
        try run.crash(.all)
        run.store.limit(to: 0)
        try run.verify()
        try run.discard(head, 0, 64)
        try run.flush()
        try run.checkpoint()
        run.store.limit(to: nil)
        try run.write(head, 0, 96 * 8)
        try run.checkpoint()
        try run.check("when there is room again")
        let target = EpochFormat.reserveUnits(capacity: 96 << 12)
        guard run.family.units.reserveCount >= Int(target) else {
            throw ProofFailure("the reserve has \(run.family.units.reserveCount) units")
        }
        try run.reopen()
        try run.verify()
    }
}

import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Commits of disks with snapshots in the middle of which something else happens")
struct InterleavingTests {
    /// A step in the middle of a commit.
    struct Step: Sendable, CustomStringConvertible {
        let description: String
        let body: @Sendable (FamilyRun) throws -> Void

        init(_ description: String, _ body: @escaping @Sendable (FamilyRun) throws -> Void) {
            (self.description, self.body) = (description, body)
        }

        static let all = [
            Step("writes") { run in
                try run.write(run.head, 3, 60)
                try run.write(run.head, 400, 9)
            },
            Step("flushes") { run in
                try run.write(run.head, 3, 60)
                try run.flush()
                try run.write(run.head, 8, 16)
                try run.flush()
                try run.write(run.head, 8, 24)
            },
            Step("a discard") { run in
                try run.discard(run.head, 0, 200)
                try run.write(run.head, 16, 32)
                try run.flush()
            },
            Step("a snapshot") { run in
                try run.write(run.head, 40, 30)
                try run.snapshot(run.head)
                try run.write(run.head, 44, 30)
            },
            Step("a rollback") { run in
                guard let snapshot = run.model.snapshots.first else { return }
                let head = try run.rollBack(run.head, to: snapshot)
                try run.write(head, 10, 20)
            },
            Step("a clone and a deletion") { run in
                guard let snapshot = run.model.snapshots.first else { return }
                let clone = try run.clone(snapshot)
                try run.write(clone, 10, 20)
                if let other = run.model.snapshots.last { try run.delete(other) }
            },
            Step("a resize") { run in
                try run.resize(run.head, 120 * 8)
                try run.write(run.head, 110 * 8, 20)
            },
        ]
    }

    /// A family with two snapshots, and changes that no commit has.
    static func prepare(_ run: FamilyRun) throws {
        try run.write(run.head, 0, 200)
        try run.snapshot(run.head)
        try run.checkpoint()
        try run.write(run.head, 100, 50)
        try run.snapshot(run.head)
        try run.write(run.head, 300, 30)
    }

    static let layout = DiskLayout(units: 96, growsTo: 120)

    @Test("Whatever a crash leaves, what was acknowledged is there", arguments: Step.all)
    func steps(step: Step) throws {
        for number in 1...3 {
            let workload = CrashWorkload(name: "\(step) before page \(number)", layout: Self.layout) { run in
                try Self.prepare(run)
                var failure: (any Error)?
                let isDone = try run.checkpoint(number) {
                    do { try step.body(run) } catch { failure = error }
                }
                if let failure { throw failure }
                #expect(isDone)
                for head in run.model.heads { try run.write(head, 60, 8) }
                try run.flush()
            }
            var sweep = CrashSweep(workload, seed: 1)
            try sweep.run(Effort.isFull ? 600 : 15)
        }
    }

    @Test("A commit in which a synchronisation loses pages does not count, and what was flushed is there")
    func loss() throws {
        var number = 1
        while true {
            let run = try FamilyRun(Self.layout)
            try Self.prepare(run)
            let isDone = try run.checkpoint(number) {
                run.writeOrPin(run.head, 40, 16)
                run.store.loseNextSynchronization()
                #expect(run.tryFlush() == Errno.inputOutput)
            }
            guard isDone else { break }
            #expect(run.family.checkpoint() == Errno.inputOutput)
            for choice in [CrashChoice.all, .none, .random(1), .random(2)] {
                let family = try DiskFamily.open(RecordingStore(run.store.afterCrash(choice)))
                try run.verifyDoubtful(family, isLive: false)
            }
            number += 1
        }
        #expect(number > 3)
    }

    @Test("No two synchronisations of a file go on at a time")
    func oneByOne() throws {
        let store = RecordingStore(keepsHistory: false, pause: 1)
        let family = try FamilyFixture.create(on: store)
        try withThreads { start in
            for thread in 0..<3 {
                try start {
                    for round in 0..<20 {
                        let offset = Int64(thread * 20 + round) * 4096
                        #expect(family.fill(1, 1, at: offset, count: 4096) == .done(4096))
                        #expect(thread == 0 ? family.checkpoint() == 0 : family.flush() == 0)
                        #expect(family.synchronizeNotes() == 0)
                    }
                }
            }
        }
        #expect(store.mostSynchronizations == 1)
    }
}

import TestSupport
import Testing

@testable import Media

@Suite("Crashes of disks with snapshots")
struct FamilyCrashTests {
    /// About the crash points of each workload, of which there are 30.
    private static let points = Effort.isFull ? 1500 : 60

    @Test("Whatever a crash leaves, what was flushed is there", arguments: CrashWorkloads.all)
    func crash(workload: CrashWorkload) throws {
        var sweep = CrashSweep(workload, seed: 1)
        try sweep.run(Self.points)
    }

    @Test("The same with compressed extents", arguments: CrashWorkloads.compressed)
    func crashCompressed(workload: CrashWorkload) throws {
        var sweep = CrashSweep(workload, seed: 2)
        try sweep.run(Effort.isFull ? 1500 : 25)
    }

    @Test("Whatever a crash leaves of a disk with checksums, what was flushed is proved", arguments: CrashWorkloads.all)
    func crashWithChecksums(workload: CrashWorkload) throws {
        var workload = workload
        workload.layout = workload.layout.withChecksums()
        var sweep = CrashSweep(workload, seed: 2)
        try sweep.run(Effort.isFull ? 300 : 15)
    }

    @Test(
        "Any subset of the writes of short histories", arguments: 1...(Effort.isFull ? 12 : 3) as ClosedRange<UInt64>,
        [false, true])
    func everySubset(seed: UInt64, checksums: Bool) throws {
        let layout = DiskLayout(units: 32).withChecksums(checksums)
        let workload = CrashWorkload(name: "a short history", layout: layout) { run in
            try run.write(run.head, 0, 20)
            try run.flush()
            try run.write(run.head, 4, 4)
            try run.write(run.head, Int(seed), 13)
            if seed % 3 == 0 { try run.snapshot(run.head) }
            if seed % 4 == 1 { try run.discard(run.head, 8, 8) }
            try run.write(run.head, 8, 8)
            try run.flush()
            if seed % 5 == 2 { try run.checkpoint() }
            try run.write(run.head, 2, 9)
            try run.flush()
        }
        var sweep = CrashSweep(workload, seed: seed)
        try sweep.run(Effort.isFull ? 1500 : 200)
    }
}

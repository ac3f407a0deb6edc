internal import Foundation
internal import Initiator
internal import Media
internal import Platform

/// The jobs, and what they measure.
struct ImageJobs {
    /// What the ratios should be.
    enum Bound {
        /// Reads of a disk with many snapshots, over those of one with none.
        static let depth = 0.97
        /// Reads and overwrites, over a plain image's.
        static let plain = 0.95
        /// The first writes after a snapshot, over overwrites of a plain image.
        static let firstWrite = 0.85
        /// The same over those of a qcow2 image, each over its plain image.
        static let overQcow2 = 5.0
        /// A write and a flush at a time, over a plain image's.
        static let flushed = 0.9
        /// How long a write takes while snapshots are made, 99 % of them, in milliseconds.
        static let stall = 1.0
        /// An encrypted disk, over one that is not.
        static let encrypted = 0.8
        /// Bytes written for a byte of the first 4 KiB writes after a snapshot.
        static let bytes = 1.15
    }

    static let names =
        [
            "read-4KiB", "read-4KiB-x4", "read-128KiB", "overwrite-4KiB", "overwrite-4KiB-x4", "first-write-4KiB",
            "first-write-4KiB-x4", "write-flush-4KiB", "snapshot-stall", "bytes", "compressed", "qemu", "restart",
        ] + filterNames
    /// Threads of the jobs that have several.
    static let threads = 4

    let disks: ImageDisks
    let qemu: QemuImages?
    let depths: [Int]
    let seconds: Double
    let rounds: Int
    let firstWrites: Int
    /// The bytes of the disk that is opened again.
    let restartCapacity: Int64
    let show: (String) -> Void
    var results = ImageComparison()

    init(
        disks: ImageDisks, qemu: QemuImages?, depths: [Int], seconds: Double, rounds: Int, firstWrites: Int,
        restartCapacity: Int64, show: @escaping (String) -> Void
    ) {
        self.disks = disks
        self.qemu = qemu
        self.depths = depths
        self.seconds = seconds
        self.rounds = rounds
        self.firstWrites = firstWrites
        self.restartCapacity = restartCapacity
        self.show = show
    }

    /// Runs the jobs whose name contains one of the words, or all.
    mutating func run(_ words: [String]) async throws {
        func isWanted(_ name: String) -> Bool { words.isEmpty || words.contains { name.contains($0) } }
        show(ImageComparison.heading)
        if Self.names.contains(where: { $0.hasPrefix("read") && isWanted($0) }) { try await reads(isWanted) }
        if Self.names.contains(where: { $0.hasPrefix("overwrite") && isWanted($0) }) { try await overwrites(isWanted) }
        if isWanted("first-write-4KiB") { try await firstWrites(threads: 1, "first-write-4KiB") }
        if isWanted("first-write-4KiB-x4") { try await firstWrites(threads: Self.threads, "first-write-4KiB-x4") }
        if isWanted("write-flush-4KiB") { try await flushedWrites() }
        if isWanted("snapshot-stall") { try await stalls() }
        if isWanted("bytes") { try await bytes() }
        try await filters(isWanted)
        if isWanted("compressed") { try await compressed() }
        if isWanted("qemu") { try qemuRatios() }
        if isWanted("restart") { try restart(capacity: restartCapacity) }
    }

    func finish(_ job: String) {
        for line in results.lines(of: job) { show(line) }
    }

    func plan(_ operation: ImagePlan.Operation, threads: Int = 1) -> ImagePlan {
        ImagePlan(
            operation: operation, blockLength: 4096, pattern: .random, span: disks.span, limit: .seconds(seconds),
            threads: threads)
    }

    mutating func measure(
        _ plan: ImagePlan, _ disk: any DiskImage, _ job: String, _ name: String, over base: String? = nil,
        goal: ImageComparison.Goal = .none
    ) async throws {
        let report = try await disks.reactors.run(plan, on: disk)
        results.add(
            report.commandsPerSecond, "IOPS", of: job, on: name, over: base, goal: goal,
            processor: plan.flushesEach ? nil : report.commandsPerProcessorSecond,
            laneShare: Double(report.laneCommands) / Double(max(report.commands, 1)))
    }

    // MARK: Reads

    private mutating func reads(_ isWanted: (String) -> Bool) async throws {
        let plain = try await disks.plain("reads")
        var families: [(Int, EpochDiskImage)] = []
        for depth in depths {
            let disk = try await disks.family("depth-\(depth)")
            try await disks.deepen(disk, by: depth)
            families.append((depth, disk))
        }
        var long = plan(.read)
        long.blockLength = 128 << 10
        long.pattern = .sequential
        let jobs = [
            ("read-4KiB", plan(.read)), ("read-4KiB-x4", plan(.read, threads: Self.threads)), ("read-128KiB", long),
        ]
        for (job, plan) in jobs where isWanted(job) {
            for _ in 0..<rounds {
                try await measure(plan, plain, job, "plain")
                for (depth, disk) in families {
                    try await measure(
                        plan, disk, job, "depth \(depth)", over: depth == 0 ? "plain" : "depth 0",
                        goal: .atLeast(depth == 0 ? Bound.plain : Bound.depth))
                }
            }
            finish(job)
        }
        try close([plain] + families.map { $0.1 })
    }

    // MARK: Writes

    private mutating func overwrites(_ isWanted: (String) -> Bool) async throws {
        let plain = try await disks.plain("overwrites")
        let disk = try await disks.family("overwrites")
        try settle(disk)
        for (job, threads) in [("overwrite-4KiB", 1), ("overwrite-4KiB-x4", Self.threads)] where isWanted(job) {
            for _ in 0..<rounds {
                try await measure(plan(.write, threads: threads), plain, job, "plain")
                try await measure(
                    plan(.write, threads: threads), disk, job, "carousel", over: "plain", goal: .atLeast(Bound.plain))
            }
            finish(job)
        }
        try close([plain, disk])
    }

    /// Each block of a part of the disk once, after a snapshot that all of it was in; with the flush at the end, and
    /// how much of it the writes alone took.
    private mutating func firstWrites(threads: Int, _ job: String) async throws {
        let plain = try await disks.plain("first")
        let disk = try await disks.family("first")
        try settle(disk)
        var plan = plan(.write, threads: threads)
        plan.pattern = .stepping
        plan.limit = .commands(firstWrites)
        plan.flushesAtEnd = true
        var unflushed = plan
        unflushed.flushesAtEnd = false
        for round in 0..<rounds {
            try await measure(plan, plain, job, "plain")
            try snapshot(disk, "a\(round)")
            try await measure(plan, disk, job, "carousel", over: "plain", goal: .atLeast(Bound.firstWrite))
            try await measure(unflushed, plain, job, "plain, no flush")
            try synchronize(plain)
            try snapshot(disk, "b\(round)")
            try await measure(unflushed, disk, job, "carousel, no flush", over: "plain, no flush")
            try synchronize(disk)
        }
        finish(job)
        try close([plain, disk])
    }

    private mutating func flushedWrites() async throws {
        let job = "write-flush-4KiB"
        let plain = try await disks.plain("flushed")
        let disk = try await disks.family("flushed")
        // Another one: what was in a snapshot is not overwritten in place.
        let divided = try await disks.family("flushed first")
        for disk in [disk, divided] { try settle(disk) }
        var plan = plan(.write)
        plan.flushesEach = true
        var first = plan
        first.pattern = .stepping
        for round in 0..<rounds {
            try await measure(plan, plain, job, "plain")
            try await measure(plan, disk, job, "carousel", over: "plain", goal: .atLeast(Bound.flushed))
            try snapshot(divided, "\(round)")
            try await measure(first, divided, job, "carousel, first", over: "plain", goal: .atLeast(Bound.flushed))
        }
        finish(job)
        try close([plain, disk, divided])
    }

    // MARK: Snapshots under load

    /// Random writes for some time, with a snapshot every few milliseconds: how long a write takes.
    private mutating func stalls() async throws {
        let job = "snapshot-stall"
        let disk = try await disks.family("stalls")
        try settle(disk)
        var plan = plan(.write)
        plan.isTimed = true
        plan.limit = .seconds(max(seconds, 0.2))
        for round in 0..<rounds {
            let calm = try await disks.reactors.run(plan, on: disk)
            results.add(
                Double(calm.latencies.percentile(0.9999)) / 1e6, "ms p99.99", of: job, on: "no snapshots, rare")
            let maker = SnapshotMaker(disk, "\(round)")
            let thread = try PlatformThread.start(name: "snapshots") { maker.run() }
            let report: ImageReport
            do {
                report = try await disks.reactors.run(plan, on: disk)
            } catch {
                maker.stop()
                thread.join()
                throw error
            }
            maker.stop()
            thread.join()
            if let failure = maker.failure { throw Complaint(failure) }
            results.add(
                Double(report.latencies.percentile(0.99)) / 1e6, "ms p99", of: job, on: "carousel",
                goal: .atMost(Bound.stall))
            results.add(Double(report.latencies.percentile(0.9999)) / 1e6, "ms p99.99", of: job, on: "carousel, rare")
            results.add(Double(report.latencies.maximumNanoseconds) / 1e6, "ms", of: job, on: "carousel, most")
            results.add(Double(maker.count), "snapshots", of: job, on: "carousel, made")
        }
        finish(job)
        try close([disk])
    }

    // MARK: Bytes

    /// Bytes written for a byte of first writes, with all that a checkpoint of them writes; also with a disk of which
    /// all is in use, whose journal is small.
    private mutating func bytes() async throws {
        let job = "bytes"
        for (name, capacity) in [("part of a disk", ImageDisks.capacity), ("whole disk", Int64(disks.span))] {
            let disk = try await disks.family("bytes \(name)", capacity: capacity)
            try settle(disk)
            var plan = plan(.write)
            plan.pattern = .stepping
            plan.limit = .commands(disks.span / 4096)
            for round in 0..<rounds {
                try snapshot(disk, "\(round)")
                guard let before = writtenBytes() else {
                    results.skip(job, name, "the system does not say")
                    continue
                }
                let report = try await disks.reactors.run(plan, on: disk)
                try synchronize(disk)
                let written = (writtenBytes() ?? before) - before
                results.add(
                    Double(written) / Double(report.bytes), "B per B", of: job, on: name, goal: .atMost(Bound.bytes))
            }
            try close([disk])
        }
        finish(job)
    }

    // MARK: QEMU

    /// Ratios of qcow2 to raw, both by qemu-img, to be compared with those of our disk to a plain one.
    private mutating func qemuRatios() throws {
        let job = "qemu"
        guard let qemu else {
            for kind in QemuImages.Kind.all { results.skip(job, kind.name, "there is no \(QemuImages.tool)") }
            return finish(job)
        }
        let plain = try qemu.plain()
        for round in 0..<rounds {
            results.add(
                try qemu.commandsPerSecond(plain, "raw", isWrite: true, count: firstWrites), "IOPS", of: job,
                on: "raw, write")
            for kind in QemuImages.Kind.all {
                let path = try qemu.overlaid(kind, round: round)
                results.add(
                    try qemu.commandsPerSecond(path, "qcow2", isWrite: true, count: firstWrites), "IOPS", of: job,
                    on: "\(kind.name), write", over: "raw, write")
            }
            results.add(
                try qemu.commandsPerSecond(plain, "raw", isWrite: false, count: firstWrites), "IOPS", of: job,
                on: "raw, read")
            for kind in QemuImages.Kind.all {
                let path = try qemu.overlaid(kind, round: round)
                results.add(
                    try qemu.commandsPerSecond(path, "qcow2", isWrite: false, count: firstWrites), "IOPS", of: job,
                    on: "\(kind.name), read", over: "raw, read")
            }
        }
        finish(job)
        compareWithQemu()
    }

    /// Our ratio over QEMU's, of first writes.
    private mutating func compareWithQemu() {
        func ratio(_ job: String, _ disk: String) -> Double? {
            results.rows.first { $0.job == job && $0.disk == disk }.flatMap { results.found($0) }
        }
        let job = "first writes / qcow2's"
        guard let ours = ratio("first-write-4KiB", "carousel") else { return }
        for kind in QemuImages.Kind.all {
            guard let theirs = ratio("qemu", "\(kind.name), write"), theirs > 0 else { continue }
            let goal = kind.name == QemuImages.Kind.all[0].name ? ImageComparison.Goal.atLeast(Bound.overQcow2) : .none
            results.add(ours / theirs, "times", of: job, on: kind.name, goal: goal)
        }
        // Commands a second, with what the other program's loop costs in them.
        guard let ours = results.rows.first(where: { $0.job == "first-write-4KiB" && $0.disk == "carousel" })?.median
        else { return finish(job) }
        for kind in QemuImages.Kind.all {
            let row = results.rows.first { $0.job == "qemu" && $0.disk == "\(kind.name), write" }
            guard let theirs = row?.median, theirs > 0 else { continue }
            results.add(ours / theirs, "times", of: job, on: "\(kind.name), IOPS")
        }
        finish(job)
    }

    // MARK: Disks

    func snapshot(_ disk: EpochDiskImage, _ name: String) throws {
        _ = try disk.file.snapshot([disk.node], names: [name], time: CalendarTime.current())
    }

    private func synchronize(_ disk: any DiskImage) throws {
        if let failure = disk.synchronize() { throw Complaint("\(failure)") }
    }

    /// Has all that was written confirmed, so that it is overwritten in place: by the flush after the next.
    func settle(_ disk: any DiskImage) throws {
        for _ in 0..<2 { try synchronize(disk) }
    }

    func close(_ disks: [any DiskImage]) throws {
        for disk in disks {
            if let failure = disk.close() { throw Complaint("\(failure)") }
            // The next job needs the room, in memory as well.
            _ = try? FileManager.default.removeItem(atPath: disk.path)
        }
    }
}

/// Makes snapshots of a disk, one after another.
final class SnapshotMaker: @unchecked Sendable {
    /// Between two of them.
    private static let pause = 0.005

    private struct State {
        var isStopping = false
        var count = 0
        var failure: String?
    }

    private let disk: EpochDiskImage
    private let name: String
    private let state = Lock(State())

    init(_ disk: EpochDiskImage, _ name: String) {
        self.disk = disk
        self.name = name
    }

    var count: Int { state.withLock { $0.count } }
    var failure: String? { state.withLock { $0.failure } }

    func stop() { state.withLock { $0.isStopping = true } }

    func run() {
        while !state.withLock({ $0.isStopping }) {
            do {
                _ = try disk.file.snapshot([disk.node], names: ["\(name)-\(count)"], time: CalendarTime.current())
            } catch {
                return state.withLock { $0.failure = "\(error)" }
            }
            state.withLock { $0.count += 1 }
            Thread.sleep(forTimeInterval: Self.pause)
        }
    }
}

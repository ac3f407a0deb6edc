internal import Bytes
internal import CBench
internal import Foundation
internal import Media
internal import Platform

/// How long it takes until a disk is there again when its process has ended at a bad time: much is mapped, and the
/// journal is as full as it becomes. The data are a pattern that takes no storage.
struct RestartJob {
    /// How long an opening may take, in seconds.
    static let openingLimit = 2.0
    /// And a snapshot of a disk so large, in milliseconds.
    static let snapshotLimit = 10.0
    /// And how much memory the map of a disk that was written in order, in MiB for each TiB.
    static let memoryLimit = 10.0
    /// The bytes of the writes that map the disk.
    private static let fillLength = 1 << 20
    /// How many small writes there are between two looks at the number of the commit.
    private static let lookInterval = 1000
    /// The most small writes that are tried to meet a checkpoint.
    private static let writeLimit = 8 << 20

    let path: String
    let capacity: Int64

    struct Result {
        var fillSeconds = 0.0
        /// Of allocated memory, for the map and all else that there is of the disk.
        var mapMiB = 0.0
        var snapshotMilliseconds = 0.0
        var synchronizationMilliseconds = 0.0
        /// Records in the journal.
        var records = 0
        var warmSeconds = 0.0
        var coldSeconds = 0.0
    }

    func run() throws -> Result {
        var result = Result()
        let file = try File.open(path: path, [.readWrite, .create, .exclusive])
        // The journal is a 4096th of the disk, from 64 KiB on; nothing of it is data.
        let journal = max(256 << 10, min(capacity / 4096, 1 << 30))
        let store = try SparseStore(file, poolStart: 64 << 10 + journal)
        let disk = try DiskFamily.create(
            on: store, capacity: capacity, blockSize: 512, name: "restart", time: CalendarTime.current(),
            uuid: (0..<16).map { _ in .random(in: 1...255) })
        let before = cbench_heap_bytes()
        let start = MonotonicTime.current()
        try fill(disk)
        try Self.check(disk.flush())
        try Self.check(disk.checkpoint())
        result.fillSeconds = Self.seconds(since: start)
        result.mapMiB = Double(max(0, cbench_heap_bytes() - before)) / 1048576

        let synchronizing = MonotonicTime.current()
        try Self.check(store.synchronizeData())
        result.synchronizationMilliseconds = Self.seconds(since: synchronizing) * 1000
        let snapshot = MonotonicTime.current()
        _ = try disk.snapshot([1], names: ["all"], time: CalendarTime.current())
        try Self.check(disk.flush())
        result.snapshotMilliseconds = Self.seconds(since: snapshot) * 1000
        result.records = try fillJournal(disk, store)

        let warm = MonotonicTime.current()
        _ = try DiskFamily.open(store)
        result.warmSeconds = Self.seconds(since: warm)
        store.dropCache()
        let cold = MonotonicTime.current()
        _ = try DiskFamily.open(store)
        result.coldSeconds = Self.seconds(since: cold)
        return result
    }

    /// Writes all of the disk, in order.
    private func fill(_ disk: DiskFamily) throws {
        let bytes = [UInt8](repeating: SparseStore.pattern, count: Self.fillLength)
        for offset in stride(from: Int64(0), to: capacity, by: Self.fillLength) {
            try write(disk, bytes, at: offset)
        }
    }

    private func write(_ disk: DiskFamily, _ bytes: [UInt8], at offset: Int64) throws {
        let result = disk.write(1, bytes.rawSpan, at: offset)
        guard case .done = result else { throw Complaint("a write at \(offset) failed: \(result)") }
    }

    /// Writes units far apart until a commit, and then nearly as many again; how many the journal has.
    private func fillJournal(_ disk: DiskFamily, _ store: SparseStore) throws -> Int {
        let bytes = [UInt8](repeating: SparseStore.pattern, count: 4096)
        let units = Int(capacity >> 12)
        let step = ImagePlan.step(blocks: units)
        var count = 0
        func write(_ more: Int) throws {
            for _ in 0..<more {
                let unit = count % units * step % units
                try self.write(disk, bytes, at: Int64(unit) << 12)
                count += 1
            }
        }
        try Self.check(disk.checkpoint())
        let commit = try Self.commit(store)
        while try Self.commit(store) == commit {
            guard count < min(units / 2, Self.writeLimit) else { break }
            try write(Self.lookInterval)
            try Self.check(disk.flush())
        }
        let full = count * 9 / 10
        try write(full)
        try Self.check(disk.flush())
        return full
    }

    /// The number of the newest commit: what the superblock has at byte 32.
    private static func commit(_ store: SparseStore) throws -> UInt64 {
        var bytes = [UInt8](repeating: 0, count: 4096)
        var newest: UInt64 = 0
        for copy in 0..<4 {
            let result = bytes.modifyBytes { store.read(into: &$0, offset: Int64(copy) << 14, mode: .blocking) }
            guard case .done(4096) = result else { throw Complaint("the superblock cannot be read") }
            newest = max(newest, bytes.rawSpan.loadBE64(at: 32))
        }
        return newest
    }

    private static func check(_ code: Int32) throws {
        if code != 0 { throw Complaint("error \(code)") }
    }

    private static func seconds(since start: MonotonicTime) -> Double {
        Double((MonotonicTime.current().nanoseconds - start.nanoseconds)) / 1e9
    }
}

extension ImageJobs {
    /// A disk of that many bytes, all of it mapped.
    mutating func restart(capacity: Int64) throws {
        let job = "restart"
        let gibibytes = Int(capacity >> 30)
        let name = gibibytes >= 1024 ? "\(gibibytes >> 10) TiB mapped" : "\(gibibytes) GiB mapped"
        let path = "\(disks.folder)/restart.carousel"
        let result = try RestartJob(path: path, capacity: capacity).run()
        _ = try? FileManager.default.removeItem(atPath: path)
        results.add(
            result.warmSeconds, "s", of: job, on: "\(name), cached", goal: .atMost(RestartJob.openingLimit))
        results.add(result.coldSeconds, "s", of: job, on: "\(name), not cached", goal: .atMost(RestartJob.openingLimit))
        results.add(Double(result.records), "records", of: job, on: "\(name), journal")
        results.add(
            result.snapshotMilliseconds, "ms", of: job, on: "\(name), snapshot", goal: .atMost(RestartJob.snapshotLimit)
        )
        results.add(result.synchronizationMilliseconds, "ms", of: job, on: "\(name), fdatasync alone")
        results.add(
            result.mapMiB, "MiB", of: job, on: "\(name), memory",
            goal: gibibytes >= 1024 ? .atMost(RestartJob.memoryLimit * Double(gibibytes >> 10)) : .none)
        finish(job)
    }
}

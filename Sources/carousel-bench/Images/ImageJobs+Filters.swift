internal import Media

/// Disks with snapshots that have something more, beside one that has not.
extension ImageJobs {
    /// What a job does with both disks; its name is a prefix for the disk, and this.
    private enum FilterJob: String, CaseIterable {
        case read4 = "read-4KiB"
        case read4x4 = "read-4KiB-x4"
        case read128 = "read-128KiB"
        case write4 = "write-4KiB"
        case writeFlush = "write-flush"
        // The last one: nothing of what it leaves in snapshots is overwritten in place.
        case firstWrite = "first-write"
    }

    private static let base = "carousel"
    private static let (checksums, encryption) = ("crc-", "aes-")
    static let filterNames = [checksums, encryption].flatMap { prefix in
        FilterJob.allCases.map { prefix + $0.rawValue }
    }

    mutating func filters(_ isWanted: (String) -> Bool) async throws {
        try await compare(Self.checksums, isWanted, .none) { try await $0.family("checksums", checksums: true) }
        try await compare(Self.encryption, isWanted, .atLeast(Bound.encrypted)) {
            try await $0.family("encrypted", isEncrypted: true)
        }
    }

    private mutating func compare(
        _ prefix: String, _ isWanted: (String) -> Bool, _ goal: ImageComparison.Goal,
        _ make: (ImageDisks) async throws -> EpochDiskImage
    ) async throws {
        let wanted = FilterJob.allCases.filter { isWanted(prefix + $0.rawValue) }
        guard !wanted.isEmpty else { return }
        let without = try await disks.family("without")
        let with = try await make(disks)
        for disk in [without, with] { try settle(disk) }
        let name = prefix == Self.checksums ? "with checksums" : "encrypted"
        for job in wanted {
            let plan = plan(of: job)
            for round in 0..<rounds {
                for (disk, isBase) in [(without, true), (with, false)] {
                    if job == .firstWrite { try snapshot(disk, "\(round)") }
                    try await measure(
                        plan, disk, prefix + job.rawValue, isBase ? Self.base : name, over: isBase ? nil : Self.base,
                        goal: isBase ? .none : goal)
                }
            }
            finish(prefix + job.rawValue)
        }
        try close([without, with])
    }

    private func plan(of job: FilterJob) -> ImagePlan {
        switch job {
        case .read4: return plan(.read)
        case .read4x4: return plan(.read, threads: Self.threads)
        case .read128:
            var plan = plan(.read)
            plan.blockLength = 128 << 10
            plan.pattern = .sequential
            return plan
        case .write4: return plan(.write)
        case .writeFlush:
            var plan = plan(.write)
            plan.flushesEach = true
            return plan
        case .firstWrite:
            var plan = plan(.write)
            plan.pattern = .stepping
            plan.limit = .commands(firstWrites)
            plan.flushesAtEnd = true
            return plan
        }
    }
}

internal import Media

/// A disk with checksums of data beside one without, both with snapshots.
extension ImageJobs {
    static let checksumNames = [
        "crc-read-4KiB", "crc-read-4KiB-x4", "crc-read-128KiB", "crc-write-4KiB",
        "crc-write-flush", "crc-first-write",
    ]

    private static let (without, with) = ("carousel", "with checksums")

    mutating func checksums(_ isWanted: (String) -> Bool) async throws {
        let wanted = Self.checksumNames.filter(isWanted)
        guard !wanted.isEmpty else { return }
        let sides = [
            (Self.without, try await disks.family("plain family")),
            (Self.with, try await disks.family("checksums", checksums: true)),
        ]
        for (_, disk) in sides { try settle(disk) }
        for job in wanted {
            let plan = checksumPlan(job)
            for round in 0..<rounds {
                for (name, disk) in sides {
                    // Which nothing is overwritten in place after.
                    if job == "crc-first-write" { try snapshot(disk, "\(round)") }
                    try await measure(plan, disk, job, name, over: name == Self.without ? nil : Self.without)
                }
            }
            finish(job)
        }
        try close(sides.map { $0.1 })
    }

    private func checksumPlan(_ job: String) -> ImagePlan {
        var plan = plan(job.contains("read") ? .read : .write, threads: job.hasSuffix("-x4") ? Self.threads : 1)
        switch job {
        case "crc-read-128KiB":
            plan.blockLength = 128 << 10
            plan.pattern = .sequential
        case "crc-first-write":
            plan.pattern = .stepping
            plan.limit = .commands(firstWrites)
            plan.flushesAtEnd = true
        case "crc-write-flush": plan.flushesEach = true
        default: break
        }
        return plan
    }
}

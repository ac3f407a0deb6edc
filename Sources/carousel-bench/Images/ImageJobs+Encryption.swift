internal import Media

/// An encrypted disk with snapshots beside one that is not.
extension ImageJobs {
    static let encryptionNames = [
        "aes-read-4KiB", "aes-read-4KiB-x4", "aes-read-128KiB", "aes-write-4KiB", "aes-write-flush", "aes-first-write",
    ]

    private static let (clear, encrypted) = ("carousel", "encrypted")

    mutating func encryption(_ isWanted: (String) -> Bool) async throws {
        let wanted = Self.encryptionNames.filter(isWanted)
        guard !wanted.isEmpty else { return }
        let sides = [
            (Self.clear, try await disks.family("clear")),
            (Self.encrypted, try await disks.family("encrypted", isEncrypted: true)),
        ]
        for (_, disk) in sides { try settle(disk) }
        for job in wanted {
            let plan = encryptionPlan(job)
            for round in 0..<rounds {
                for (name, disk) in sides {
                    if job == "aes-first-write" { try snapshot(disk, "\(round)") }
                    try await measure(
                        plan, disk, job, name, over: name == Self.clear ? nil : Self.clear,
                        goal: name == Self.clear ? .none : .atLeast(Bound.encrypted))
                }
            }
            finish(job)
        }
        try close(sides.map { $0.1 })
    }

    private func encryptionPlan(_ job: String) -> ImagePlan {
        var plan = plan(job.contains("read") ? .read : .write, threads: job.hasSuffix("-x4") ? Self.threads : 1)
        switch job {
        case "aes-read-128KiB":
            plan.blockLength = 128 << 10
            plan.pattern = .sequential
        case "aes-first-write":
            plan.pattern = .stepping
            plan.limit = .commands(firstWrites)
            plan.flushesAtEnd = true
        case "aes-write-flush": plan.flushesEach = true
        default: break
        }
        return plan
    }
}

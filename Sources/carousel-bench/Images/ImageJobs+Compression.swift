internal import Media
internal import Platform

extension ImageJobs {
    /// Disks with compression against one without, of data that are compressed to less than half and of random ones:
    /// reads and writes, and what they take.
    mutating func compressed() async throws {
        let disks = [
            ("plain", try await self.disks.family("uncompressed", isCompressible: true), true),
            ("zstd", try await self.disks.family("compressed", compression: 3, isCompressible: true), true),
            ("zstd, random", try await self.disks.family("random", compression: 3), false),
        ]
        for (_, disk, _) in disks { try settle(disk) }
        for (operation, pattern, length) in [
            (ImagePlan.Operation.read, ImagePlan.Pattern.random, 4), (.read, .sequential, 128),
            (.write, .sequential, 128), (.write, .random, 4),
        ] {
            let job = "compressed, \(operation) \(length) KiB"
            var plan = plan(operation)
            plan.blockLength = length << 10
            plan.pattern = pattern
            for _ in 0..<rounds {
                for (name, disk, isCompressible) in disks {
                    plan.isCompressible = isCompressible
                    try await measure(plan, disk, job, name, over: name == "plain" ? nil : "plain")
                }
            }
            finish(job)
            guard operation == .read, length == 4 else { continue }
            for (name, disk, _) in disks {
                let bytes = Double(disk.file.allocatedBytes ?? 0) / Double(self.disks.span)
                results.add(bytes, "B per B", of: "compressed, storage", on: name)
            }
            finish("compressed, storage")
        }
        try close(disks.map { $0.1 })
    }
}

import Logging
import Platform
public import Resources

// Content of disks that is copied, written to files of the host or read from there.
extension Controller {
    /// Begins to make a disk with the content of another one or of a snapshot, and gives the job that does it. When it
    /// fails or is cancelled, nothing of it is left.
    public func startCopy(_ arguments: Disk.Copy.Arguments) async throws(ManagementError) -> JobSummary {
        let isRaw = try await query(in: .long) { plane throws(ManagementError) in
            try plane.checkCopy(arguments)
            return try plane.checkSource(arguments.source)
        }
        return try startReading(
            arguments.source, isRaw: isRaw, "copy", "\(arguments.source) to \(arguments.name)",
            ChangeKey.device(arguments.name)
        ) { plane, source, job throws(ManagementError) in try plane.copyDisk(source, arguments, job: job) }
    }

    /// The same for a file of the host.
    public func startExport(_ arguments: Disk.Export.Arguments) async throws(ManagementError) -> JobSummary {
        if arguments.isDelta { return try await startDeltaExport(arguments) }
        let isRaw = try await query(in: .long) { plane throws(ManagementError) in
            try plane.checkExport(arguments)
            return try plane.checkSource(arguments.source)
        }
        return try startReading(
            arguments.source, isRaw: isRaw, "export", "\(arguments.source) to \(arguments.file)", []
        ) { plane, source, job throws(ManagementError) in try plane.exportDisk(source, arguments, job: job) }
    }

    /// Begins to make a disk with what is in a file of the host, and gives the job that does it. When it fails or is
    /// cancelled, nothing of it is left; of a delta stream, what has come stays with its disk, and the next one that is
    /// begun so goes on there.
    public func startImport(_ arguments: Disk.Import.Arguments) async throws(ManagementError) -> JobSummary {
        try await query(in: .long) { plane throws(ManagementError) in try plane.checkImport(arguments) }
        if arguments.isDelta { return try startReceiving(arguments) }
        let subject = Job.Subject(verb: "import", kind: "disk", name: arguments.name, unit: JobSummary.bytes)
        return try jobs.start(subject, total: 0) { [self] job async throws(ManagementError) in
            try await change(ChangeKey.device(arguments.name), in: .long) { plane throws(ManagementError) in
                job.begin()
                try plane.importDisk(arguments, job: job)
            }
        }.summary
    }

    /// Starts a job that does `body` with what is on `source`. A raw disk is nobody else's meanwhile; others can be
    /// used and changed.
    private func startReading(
        _ source: String, isRaw: Bool, _ verb: String, _ name: String, _ keys: Set<ChangeKey>,
        _ body: @escaping @Sendable (ControlPlane, CopySource, Job) throws(ManagementError) -> Void
    ) throws(ManagementError) -> JobSummary {
        let subject = Job.Subject(verb: verb, kind: "disk", name: name, unit: JobSummary.bytes)
        return try jobs.start(subject, total: 0) { [self] job async throws(ManagementError) in
            guard isRaw else {
                return try await readNodes([source], keys, job) { plane, sources, job throws(ManagementError) in
                    try body(plane, sources[0], job)
                }
            }
            let media = ChangeKey.media(of: source)
            // Before it waits: who asks later would wait behind it.
            copies.withLock { $0[job.id] = [media] }
            defer { copies.withLock { $0[job.id] = nil } }
            try await change(
                keys.union([media]), in: .long, waitsForCopies: true
            ) { plane throws(ManagementError) in
                job.begin()
                try body(plane, try plane.beginCopy(of: source, by: job.id), job)
            }
        }.summary
    }

    /// Begins to write a delta stream: that is a job as well.
    private func startDeltaExport(_ arguments: Disk.Export.Arguments) async throws(ManagementError) -> JobSummary {
        let (target, origin) = try await query(in: .long) { plane throws(ManagementError) in
            try plane.checkExport(arguments)
            return try plane.checkDelta(arguments)
        }
        let name = "\(target)\(origin.map { " since \($0)" } ?? "") to \(arguments.file)"
        let subject = Job.Subject(verb: "export", kind: "disk", name: name, unit: JobSummary.bytes)
        return try jobs.start(subject, total: 0) { [self] job async throws(ManagementError) in
            let sources = [target.description] + (origin.map { [$0.description] } ?? [])
            try await readNodes(sources, [], job) { plane, sources, job throws(ManagementError) in
                try plane.exportDelta(sources[0], since: sources.count > 1 ? sources[1] : nil, arguments, job: job)
            }
        }.summary
    }

    /// Begins to apply a delta stream to a disk.
    private func startReceiving(_ arguments: Disk.Import.Arguments) throws(ManagementError) -> JobSummary {
        let subject = Job.Subject(
            verb: "import", kind: "disk", name: "\(arguments.file) to \(arguments.name)", unit: JobSummary.bytes)
        let keys = ChangeKey.device(arguments.name)
        return try jobs.start(subject, total: 0) { [self] job async throws(ManagementError) in
            let begun = try await change(keys) { plane throws(ManagementError) in
                try job.check()
                return try plane.beginReceiving(arguments, job: job)
            }
            var failure: ManagementError?
            do throws(ManagementError) {
                try await change([], in: .long) { plane throws(ManagementError) in
                    job.begin()
                    try plane.receive(begun, job: job)
                }
                try await change(keys) { plane throws(ManagementError) in
                    plane.endReceiving(begun)
                    try plane.finishReceiving(begun, job: job)
                }
            } catch {
                failure = error
            }
            plane.endReceiving(begun)
            if let failure { throw failure }
        }.summary
    }

    private func readNodes(
        _ sources: [String], _ keys: Set<ChangeKey>, _ job: Job,
        _ body: @escaping @Sendable (ControlPlane, [CopySource], Job) throws(ManagementError) -> Void
    ) async throws(ManagementError) {
        let held = sources.reduce(into: Set<ChangeKey>()) {
            $0.formUnion(ChangeKey.device(SnapshotName($1)?.disk ?? $1))
        }
        let begun = try await change(held) { plane throws(ManagementError) in
            try job.check()
            var begun: [CopySource] = []
            do throws(ManagementError) {
                for source in sources { begun.append(try plane.beginCopy(of: source, by: job.id)) }
            } catch {
                for source in begun { plane.endCopy(source) }
                throw error
            }
            return begun
        }
        var failure: ManagementError?
        do throws(ManagementError) {
            try await change(keys, in: .long) { plane throws(ManagementError) in
                job.begin()
                try body(plane, begun, job)
            }
        } catch {
            failure = error
        }
        // In a task of its own: this one may be cancelled already. When the daemon stops, the next start does it.
        await Task {
            do throws(ManagementError) {
                try await change(held) { plane throws(ManagementError) in
                    for source in begun { plane.endCopy(source) }
                }
            } catch {
                plane.logger.notice(
                    "what was made for a copy stays until the next start", metadata: ["job": "\(job.id)"])
            }
        }.value
        if let failure { throw failure }
    }
}

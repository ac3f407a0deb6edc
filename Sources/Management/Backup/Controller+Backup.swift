import Platform
public import Resources

/// A backup that is to be made.
public struct BackupRequest: Codable, Sendable {
    /// The absolute path of a folder that is new or empty.
    public var folder: String
    /// Whether images and cartridges are copied too.
    public var hasMedia: Bool

    public init(folder: String, hasMedia: Bool) {
        self.folder = folder
        self.hasMedia = hasMedia
    }
}

/// A backup that was made.
public struct BackupResult: Codable, Sendable {
    /// How many files are in it.
    public var files: Int
}

extension Controller {
    /// Copies all that the daemon keeps, while it serves; a job meanwhile.
    @discardableResult
    public func backUp(_ request: BackupRequest) async throws(ManagementError) -> BackupResult {
        var keys: Set<ChangeKey> = [.access, .portals, .nameServer, .profiles]
        if request.hasMedia {
            // Nobody changes what is copied, but initiators may come and go.
            for disk in try await disks() { keys.insert(.thing(disk.name)) }
            for library in try await libraries() { keys.insert(.thing(library.name)) }
        }
        let files = Lock(0)
        let subject = Job.Subject(verb: "back up to", kind: "folder", name: request.folder, unit: "files")
        let held = keys
        let job = try jobs.start(subject, total: 0) { [self] job async throws(ManagementError) in
            try await change(held, in: .long) { plane throws(ManagementError) in
                job.begin()
                let count = try plane.backUp(to: request.folder, hasMedia: request.hasMedia, job: job)
                files.withLock { $0 = count }
            }
        }
        try await finish(job.id)
        return BackupResult(files: files.withLock { $0 })
    }
}

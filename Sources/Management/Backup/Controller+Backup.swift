import Platform
public import Resources

/// A backup that is to be made.
public struct BackupRequest: Record {
    /// The absolute path of a folder that is new or empty.
    public var folder = ""
    /// Whether images and cartridges are copied too.
    public var hasMedia = false

    public init() {}

    public init(folder: String, hasMedia: Bool) {
        self.folder = folder
        self.hasMedia = hasMedia
    }

    public static let fields: [Field<BackupRequest>] = [
        Field("folder", \.folder, .text(.path), .required, help: "The absolute path of a folder, new or empty."),
        Field(
            "hasMedia", \.hasMedia, .flag, .withDefault(false), help: "Whether images and cartridges are copied too."),
    ]
}

extension Controller {
    /// Copies all that the daemon keeps, while it serves, and returns when that is done; a job meanwhile.
    public func backUp(_ request: BackupRequest) async throws(ManagementError) {
        try await finish(try await startBackup(request).id)
    }

    /// The same, for those who wait no longer than `patience` says.
    public func backUp(
        _ request: BackupRequest, _ patience: Patience
    ) async throws(ManagementError) -> RequestOutcome {
        let job = try await startBackup(request).id
        return try await finish(job, patience)
            ? .done(["folder": .text(request.folder)]) : .started(try self.job(job).resource.json)
    }

    /// Begins with it, and gives the job that does it. `observer` hears how far it is, on the thread that copies.
    func startBackup(
        _ request: BackupRequest, observer: @escaping @Sendable (ControlPlane.BackupStep) -> Void = { _ in }
    ) async throws(ManagementError) -> JobSummary {
        // Together, these say who may do what; while media are copied, which may take hours, that can be changed.
        let settings: Set<ChangeKey> = [.access, .portals, .nameServer, .profiles, .tokens]
        var keys = settings
        if request.hasMedia {
            // Nobody changes what is copied, but initiators may come and go.
            for name in try await query({ plane throws(ManagementError) in try plane.namesOfOwnMedia() }) {
                keys.insert(.media(of: name))
            }
        }
        let subject = Job.Subject(verb: "back up to", kind: "folder", name: request.folder, unit: "files")
        let held = keys
        return try jobs.start(subject, total: 0) { [self] job async throws(ManagementError) in
            // Before it waits: who asks later would wait behind it.
            copies.withLock { $0[job.id] = held.filter(\.isHeldForLong) }
            defer { copies.withLock { $0[job.id] = nil } }
            try await change(
                held, in: .long, waitsForCopies: true,
                releasing: { plane, release throws(ManagementError) in
                    job.begin()
                    try plane.backUp(to: request.folder, hasMedia: request.hasMedia, job: job) { step in
                        if step == .media { release(settings) }
                        observer(step)
                    }
                })
        }.summary
    }
}

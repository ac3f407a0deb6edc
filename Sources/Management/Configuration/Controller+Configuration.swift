public import Resources

/// A configuration that is to be compared, or put into force.
public struct ConfigurationRequest: Sendable {
    /// The content of a file as `exportConfiguration` gives it; secrets stand in it as in other requests.
    public var configuration: JSONValue
    /// Whether what it does not mention is deleted.
    public var prunes: Bool
    /// Whether somebody may see more than before; that is refused otherwise.
    public var mayWiden: Bool
    /// The media that may be deleted with their content, as `ConfigurationChanges.deletedMedia` names them. Others are
    /// not: nobody has agreed to losing what was made since.
    public var deletableMedia: [String]

    public init(
        configuration: JSONValue, prunes: Bool = false, mayWiden: Bool = false, deletableMedia: [String] = []
    ) {
        self.configuration = configuration
        self.prunes = prunes
        self.mayWiden = mayWiden
        self.deletableMedia = deletableMedia
    }
}

extension ConfigurationRequest {
    /// How the configuration itself is called, which no field describes: it has a form of its own.
    public static let contentName = "configuration"

    /// The request that `members` describe; what is left out is not wished.
    public init(_ members: [String: JSONValue]) throws(ManagementError) {
        var options = members
        guard let content = options.removeValue(forKey: Self.contentName) else {
            throw ManagementError(.invalid, "a request needs its configuration", field: Self.contentName)
        }
        let given = try Options(options, of: "a request with a configuration", besides: [Self.contentName])
        self.init(
            configuration: content, prunes: given.prunes, mayWiden: given.mayWiden,
            deletableMedia: given.deletableMedia)
    }

    /// As it stands in requests.
    public var json: JSONValue {
        var options = Options()
        (options.prunes, options.mayWiden, options.deletableMedia) = (prunes, mayWiden, deletableMedia)
        guard case .object(var members) = options.json else { return [:] }
        members[Self.contentName] = configuration
        return .object(members)
    }

    /// All but the configuration.
    public struct Options: Record {
        fileprivate var prunes = false
        fileprivate var mayWiden = false
        fileprivate var deletableMedia: [String] = []

        /// The most media that one request names.
        private static let maximumMedia = 1_000_000

        public init() {}

        public static let fields: [Field<Options>] = [
            Field("prunes", \.prunes, .flag, .withDefault(false), help: "Whether what it does not mention is deleted."),
            Field("mayWiden", \.mayWiden, .flag, .withDefault(false), help: FieldDescription.openHelp),
            Field(
                "deletableMedia", \.deletableMedia, .list(.text(.any("medium")), maximumCount: maximumMedia),
                help: "The media that may be deleted with their content, as a comparison names them; no others are."),
        ]
    }
}

/// What a configuration changes.
public struct ConfigurationChanges: Codable, Hashable, Sendable {
    /// A line for each thing that is made or deleted and for each field that changes.
    public var lines: [String]
    /// The media that are deleted with their content, in words.
    public var deletedMedia: [String]
    /// Who would see more than before, in a sentence; nil when nobody does.
    public var widening: String?

    init(_ plan: ConfigurationPlan) {
        lines = plan.lines
        deletedMedia = plan.deletedMedia
        widening = plan.widening
    }

    /// As it stands in answers.
    var json: JSONValue {
        var members: [String: JSONValue] = ["lines": lines.json, "deletedMedia": deletedMedia.json]
        if let widening { members["widening"] = .text(widening) }
        return .object(members)
    }
}

// The whole configuration at once.
extension Controller {
    /// How often an `apply` begins again because something was made meanwhile that it has to hold.
    private static let attempts = 3

    /// Everything that can be described, without secrets.
    public func exportConfiguration() async throws(ManagementError) -> JSONValue {
        try await query { plane throws(ManagementError) in try plane.exportConfiguration() }
    }

    /// What `apply` would change; it is checked as that does.
    public func compareConfiguration(_ request: ConfigurationRequest) async throws(ManagementError)
        -> ConfigurationChanges
    {
        ConfigurationChanges(try await plan(request))
    }

    /// Makes of everything what the configuration says, or changes nothing, and returns when that is done; a job
    /// meanwhile. What is described already is no change.
    @discardableResult
    public func applyConfiguration(
        _ request: ConfigurationRequest
    ) async throws(ManagementError) -> ConfigurationChanges {
        let (changes, job) = try await startApplication(of: request)
        if let job { try await finish(job.id) }
        return changes
    }

    /// The same, for those who wait no longer than `patience` says: the changes, or the job that goes on with them.
    public func applyConfiguration(
        _ request: ConfigurationRequest, _ patience: Patience
    ) async throws(ManagementError) -> RequestOutcome {
        let (changes, job) = try await startApplication(of: request)
        if let job, try await !finish(job.id, patience) { return .started(try self.job(job.id).resource.json) }
        return .done(changes.json)
    }

    /// Begins with it; without a job when there is nothing to do.
    private func startApplication(
        of request: ConfigurationRequest
    ) async throws(ManagementError) -> (changes: ConfigurationChanges, job: JobSummary?) {
        let plan = try await plan(request)
        try Self.check(plan, request)
        let changes = ConfigurationChanges(plan)
        guard !plan.steps.isEmpty else { return (changes, nil) }
        let subject = Job.Subject(verb: "apply", kind: "configuration", name: "file", unit: "steps")
        let job = try jobs.start(subject, total: plan.steps.count) { [self] job async throws(ManagementError) in
            var keys = plan.keys
            for _ in 0..<Self.attempts {
                // What others have changed until it is its turn counts.
                let held = keys
                let missing = try await change(held, in: .long) { plane throws(ManagementError) -> Set<ChangeKey> in
                    job.begin()
                    let document = try ConfigurationDocument(request.configuration)
                    let present = try plane.configurationPlan(document, prunes: request.prunes)
                    guard held.isSuperset(of: present.keys) else { return present.keys }
                    try Self.check(present, request)
                    try plane.apply(present, job: job)
                    return []
                }
                guard !missing.isEmpty else { return }
                keys.formUnion(missing)
            }
            throw ManagementError(.conflict, "things are made and deleted all the time; try again")
        }
        return (changes, job.summary)
    }

    private func plan(_ request: ConfigurationRequest) async throws(ManagementError) -> ConfigurationPlan {
        let document = try ConfigurationDocument(request.configuration)
        return try await query(in: .long) { plane throws(ManagementError) in
            try plane.configurationPlan(document, prunes: request.prunes)
        }
    }

    /// Refuses what has to be said to be meant.
    private static func check(_ plan: ConfigurationPlan, _ request: ConfigurationRequest) throws(ManagementError) {
        if let widening = plan.widening, !request.mayWiden {
            throw ManagementError(.conflict, "\(widening); say --open if that is meant")
        }
        let agreed = Set(request.deletableMedia)
        let others = plan.deletedMedia.filter { !agreed.contains($0) }
        guard let medium = others.first else { return }
        let more = others.count > 1 ? " and \(others.count - 1) more" : ""
        throw ManagementError(
            .conflict,
            "\(medium)\(more) would be deleted with all content, to which nobody has agreed; "
                + (agreed.isEmpty
                    ? "say --yes, or name them in deletableMedia, if that is meant"
                    : "see 'carousel diff' and ask again"))
    }
}

extension ConfigurationPlan {
    /// What it touches, and the names of what it was compared with. Media that it leaves as they are may be copied
    /// meanwhile.
    fileprivate var keys: Set<ChangeKey> {
        var keys: Set<ChangeKey> = [.access, .portals, .nameServer, .externalImages]
        for kind in [Disk.description, Library.description, ISCSITarget.description] {
            for model in [present, wanted] {
                for name in (model.things[kind.plural] ?? [:]).keys { keys.insert(.thing(name)) }
            }
        }
        let media = [Disk.description.plural, Library.description.plural, Cartridge.description.plural]
        for step in steps where media.contains(step.kind) { keys.formUnion(ChangeKey.device(step.name)) }
        return keys
    }
}

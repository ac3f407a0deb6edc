public import Resources

/// A part of a list: what is asked for at a time.
public struct Page: Sendable, Hashable {
    /// The most things in an answer, unless fewer are asked for.
    public static let maximumLength = 1000

    /// Only parts of this thing, for kinds whose things are parts of others.
    public var whole: String?
    /// Only things behind this name.
    public var after: String?
    /// How many at most.
    public var limit: Int
    /// Only so many of the last ones; all when nil.
    public var last: Int?
    /// Only those where these fields of the status have these values; fields that the kind's `filters` name.
    public var filters: [String: String]
    /// Whether to wait for what takes time to find out, how much space things take, for kinds with `hasSpace`.
    public var waitsForSpace = false

    public init(
        whole: String? = nil, after: String? = nil, limit: Int = maximumLength, last: Int? = nil,
        filters: [String: String] = [:]
    ) {
        self.whole = whole
        self.after = after
        self.limit = limit
        self.last = last
        self.filters = filters
    }

    /// All of a list, at once.
    public static let all = Page(limit: .max)

    /// How many things of a list that begins behind `after` are needed: all where the last ones are asked for.
    var length: Int { last == nil ? limit : .max }

    /// Those of `things`, which are in the order of their names, that belong to the page.
    public func slice<Kind: ResourceKind>(_ things: [Resource<Kind>]) -> [Resource<Kind>] {
        let naming = Kind.description.naming
        let rest = after.map { after in things.drop { !naming.precedes(after, $0.name) } } ?? things[...]
        return Array(last.map { rest.suffix($0) } ?? rest.prefix(limit))
    }
}

/// What serves one kind of thing.
public protocol Driver: Sendable {
    associatedtype Kind: ResourceKind
    init(_ controller: Controller)
    /// The things of the page in the order of their names.
    func list(_ page: Page) async throws(ManagementError) -> [Resource<Kind>]
    func show(_ name: String) async throws(ManagementError) -> Resource<Kind>
    func create(_ name: String, _ spec: Kind.Spec) async throws(ManagementError) -> Resource<Kind>
    /// Makes the spec of the thing `spec`, which differs from `present` in what may be changed only.
    func change(
        _ present: Resource<Kind>, to spec: Kind.Spec
    ) async throws(ManagementError) -> Resource<Kind>
    func delete(_ name: String) async throws(ManagementError)
    /// The same for kinds whose changes may let somebody see more than before; that is refused unless `mayWiden`.
    func change(
        _ present: Resource<Kind>, to spec: Kind.Spec, mayWiden: Bool
    ) async throws(ManagementError) -> Resource<Kind>
    /// The same for kinds whose deletion may.
    func delete(_ name: String, mayWiden: Bool) async throws(ManagementError)
    /// Begins to make a thing, for kinds whose `jobVerbs` have `create`; these need no `create`.
    func startCreation(_ name: String, _ spec: Kind.Spec) async throws(ManagementError) -> JobSummary
    /// Begins to delete a thing, for kinds whose `jobVerbs` have `delete`; these need no `delete`.
    func startDeletion(_ name: String) async throws(ManagementError) -> JobSummary
    /// What comes into the list after the page's `after`, or from now on, for kinds that are followed.
    func follow(_ page: Page) async throws(ManagementError) -> FollowedThings
    /// Does what the action `action` says, to the thing `name` or to the kind; gives what is to be told.
    func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue
    /// The generation of the thing `name` as it is; nil for kinds that have none. May wait for the catalog, so only
    /// threads of the control plane ask.
    func generation(of name: String) throws(ManagementError) -> Int64?
}

// Nobody asks for what the kind's description does not list.
extension Driver {
    public func create(_ name: String, _ spec: Kind.Spec) async throws(ManagementError) -> Resource<Kind> {
        throw Self.notOffered("made")
    }
    public func change(
        _ present: Resource<Kind>, to spec: Kind.Spec
    ) async throws(ManagementError) -> Resource<Kind> {
        throw Self.notOffered("changed")
    }
    public func delete(_ name: String) async throws(ManagementError) { throw Self.notOffered("deleted") }
    public func change(
        _ present: Resource<Kind>, to spec: Kind.Spec, mayWiden: Bool
    ) async throws(ManagementError) -> Resource<Kind> {
        try await change(present, to: spec)
    }
    public func delete(_ name: String, mayWiden: Bool) async throws(ManagementError) { try await delete(name) }
    public func startCreation(_ name: String, _ spec: Kind.Spec) async throws(ManagementError) -> JobSummary {
        throw Self.notOffered("made by a job")
    }
    public func startDeletion(_ name: String) async throws(ManagementError) -> JobSummary {
        throw Self.notOffered("deleted by a job")
    }
    public func follow(_ page: Page) async throws(ManagementError) -> FollowedThings {
        throw Self.notOffered("followed")
    }
    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        throw Self.notOffered("asked for '\(action)'")
    }

    public func generation(of name: String) throws(ManagementError) -> Int64? { nil }

    private static func notOffered(_ what: String) -> ManagementError {
        ManagementError(.internal, "\(Kind.description.aSingular) cannot be \(what)")
    }
}

/// A kind with its driver, for those who do not know its types: all that they exchange is JSON.
public struct Endpoint: Sendable {
    public let kind: KindDescription
    /// The things of a page, and the name to ask for the next page with; nil when there is none.
    public let list: @Sendable (Page) async throws(ManagementError) -> (items: [JSONValue], next: String?)
    public let show: @Sendable (String) async throws(ManagementError) -> JSONValue
    /// Makes a thing with these fields of its spec.
    public let creating:
        @Sendable (String, [String: JSONValue], RequestOptions) async throws(ManagementError) -> RequestOutcome
    /// Changes these fields of the spec of a thing.
    public let changing:
        @Sendable (String, [String: JSONValue], RequestOptions) async throws(ManagementError) -> RequestOutcome
    /// Deletes a thing.
    public let deleting: @Sendable (String, RequestOptions) async throws(ManagementError) -> RequestOutcome
    /// What comes into the list, as it comes.
    public let follow: @Sendable (Page) async throws(ManagementError) -> FollowedThings
    private let performing:
        @Sendable (String, String?, [String: JSONValue], Set<Int64>?) async throws(ManagementError) -> JSONValue

    init<D: Driver>(_ driver: D, _ controller: Controller) {
        let kind = D.Kind.description
        self.kind = kind
        list = { page async throws(ManagementError) in
            let things = try await driver.list(page)
            let isFull = page.last == nil && things.count == page.limit
            return (things.map(\.json), isFull ? things.last?.name : nil)
        }
        show = { name async throws(ManagementError) in
            try await driver.show(try kind.naming.checked(name)).json
        }
        creating = { name, members, options async throws(ManagementError) in
            let name = try kind.naming.checked(name)
            let spec = try D.Kind.Spec(members, of: kind.aSingular)
            try D.Kind.validate(spec, changing: nil)
            let preview: JSONValue? = options.isDryRun ? ["name": .text(name), "spec": spec.json] : nil
            return try await Self.outcome(preview) { () async throws(ManagementError) in
                guard kind.jobVerbs.contains(.create) else { return .done(try await driver.create(name, spec).json) }
                let job = try await driver.startCreation(name, spec).id
                return try await controller.finish(job, options.patience)
                    ? .done(try await driver.show(name).json) : .started(try controller.job(job).resource.json)
            }
        }
        changing = { name, members, options async throws(ManagementError) in
            let name = try kind.naming.checked(name)
            var attempt = 1
            while true {
                let present = try await driver.show(name)
                let spec = try present.spec.changed(members, of: "\(kind.singular) '\(name)'")
                try D.Kind.validate(spec, changing: present.spec)
                let changed = Resource<D.Kind>(name: present.name, spec: spec, status: present.status)
                // The other fields stay as they are when the change is made, not as they were a moment ago.
                let generations = options.generations ?? present.generation.map { [$0] }
                do throws(ManagementError) {
                    return try await Self.outcome(options.isDryRun ? changed.json : nil) {
                        () async throws(ManagementError) in
                        try await Precondition.keep(generations, of: driver, name) { () async throws(ManagementError) in
                            .done(try await driver.change(present, to: spec, mayWiden: options.mayWiden).json)
                        }
                    }
                } catch {
                    guard error.code == .outdated, options.generations == nil, attempt < Self.maximumAttempts else {
                        throw error
                    }
                    attempt += 1
                }
            }
        }
        deleting = { name, options async throws(ManagementError) in
            let name = try kind.naming.checked(name)
            let preview = options.isDryRun ? try await driver.show(name).json : nil
            return try await Self.outcome(preview) { () async throws(ManagementError) in
                try await Precondition.keep(options.generations, of: driver, name) {
                    () async throws(ManagementError) in
                    guard kind.jobVerbs.contains(.delete) else {
                        try await driver.delete(name, mayWiden: options.mayWiden)
                        return .done(nil)
                    }
                    let job = try await driver.startDeletion(name).id
                    return try await controller.finish(job, options.patience)
                        ? .done(nil) : .started(try controller.job(job).resource.json)
                }
            }
        }
        follow = { page async throws(ManagementError) in try await driver.follow(page) }
        performing = { action, name, arguments, generations async throws(ManagementError) in
            guard let name else {
                guard generations == nil else {
                    throw ManagementError(.invalid, "'\(action)' is asked of no single thing, which had a generation")
                }
                return try await driver.perform(action, on: nil, arguments)
            }
            let checked = try kind.naming.checked(name)
            return try await Precondition.keep(generations, of: driver, checked) { () async throws(ManagementError) in
                try await driver.perform(action, on: checked, arguments)
            }
        }
    }

    /// How often a change of some fields is tried while others change the thing.
    private static var maximumAttempts: Int { 8 }

    /// What becomes of `body`; where there is a preview, it is only tried.
    private static func outcome(
        _ preview: JSONValue?, _ body: () async throws(ManagementError) -> RequestOutcome
    ) async throws(ManagementError) -> RequestOutcome {
        guard let preview else { return try await body() }
        try await DryRun.of { () async throws(ManagementError) in _ = try await body() }
        return .possible(preview)
    }
}

// What changes something may say of which generation the thing has to be. Any other is refused as `outdated`.
extension Endpoint {
    /// Makes a thing, and gives it as it is then; a job is waited for.
    public func create(_ name: String, _ members: [String: JSONValue]) async throws(ManagementError) -> JSONValue {
        Self.thing(try await creating(name, members, RequestOptions()))
    }

    /// Changes fields of the spec of a thing, and gives it as it is then. Refused when somebody might see more than
    /// before, unless `mayWiden`.
    public func change(
        _ name: String, _ members: [String: JSONValue], mayWiden: Bool = false, expecting generations: Set<Int64>? = nil
    ) async throws(ManagementError) -> JSONValue {
        Self.thing(
            try await changing(name, members, RequestOptions(mayWiden: mayWiden, generations: generations)))
    }

    /// Deletes a thing; a job is waited for. Refused when somebody might see more than before, unless `mayWiden`.
    public func delete(
        _ name: String, mayWiden: Bool = false, expecting generations: Set<Int64>? = nil
    ) async throws(ManagementError) {
        _ = try await deleting(name, RequestOptions(mayWiden: mayWiden, generations: generations))
    }

    /// Does what the action `action` says, to the thing `name` or to the kind; gives what is to be told.
    public func perform(
        _ action: String, _ name: String?, _ arguments: [String: JSONValue],
        expecting generations: Set<Int64>? = nil
    ) async throws(ManagementError) -> JSONValue {
        try await performing(action, name, arguments, generations)
    }

    private static func thing(_ outcome: RequestOutcome) -> JSONValue {
        switch outcome {
        case .done(let thing): thing ?? .null
        case .started(let thing), .possible(let thing): thing
        }
    }
}

/// What the daemon knows of: one line a kind.
public enum Registry {
    public static let drivers: [any Driver.Type] = [
        DiskDriver.self, SnapshotDriver.self, DiskPoolDriver.self, LibraryDriver.self, CartridgeDriver.self,
        DriveDriver.self,
        MoveDriver.self, ISCSITargetDriver.self, InitiatorGroupDriver.self, CredentialDriver.self, PortalDriver.self,
        NameServerDriver.self, TokenDriver.self, SessionDriver.self, ReservationDriver.self, AccessStateDriver.self,
        JobDriver.self, EventDriver.self,
    ]

    /// The kinds, for the command line.
    public static var kinds: [any ResourceKind.Type] { drivers.map { kind(of: $0) } }

    private static func kind<D: Driver>(of driver: D.Type) -> any ResourceKind.Type { D.Kind.self }

    /// The kinds as `controller` serves them.
    public static func endpoints(_ controller: Controller) -> [Endpoint] {
        drivers.map { endpoint($0, controller) }
    }

    private static func endpoint<D: Driver>(_ driver: D.Type, _ controller: Controller) -> Endpoint {
        Endpoint(D(controller), controller)
    }
}

public import Catalog
import Foundation
public import Logging
import Platform
public import Resources

/// The door of the control plane: who may ask for what, when, and on which threads it is done.
///
/// What is asked for is done by a `ControlPlane`, whose functions wait for files, SQLite and reactors, so none of them
/// runs on a thread of Swift's pool. A change names what it touches (`ChangeKey`): changes with nothing in common run
/// at the same time, others one after another in the order in which they came. A query runs beside all of them on
/// threads for queries, and sees what the last change has left; only when it looks at the files of cartridges it may
/// wait, for the storage device.
public final class Controller: Sendable {
    /// The version of Carousel.
    public static let version = "0.1.0"

    /// What a device assembly is made from.
    public struct Resources: Sendable {
        /// The catalog, for moves that initiators make.
        public let catalog: Catalog
        /// For state changes.
        public let logger: Logger
        let profiles: ProfileStore
        let imageKeys: ImageKeys
    }

    /// The bounds of what runs at the same time.
    enum Limit {
        /// Changes, each of which may wait for a drive for two minutes.
        static let changes = 32
        /// Jobs that make or remove thousands of files.
        static let jobs = 4
        /// Changes that wait for others, jobs among them.
        static let waitingChanges = 256
        /// Queries that look at memory and catalog only.
        static let queries = 8
        /// Queries that look at the files of cartridges.
        static let examinations = 4
        /// Queries that wait for a thread.
        static let waitingQueries = 1024
        /// How long somebody waits for a change or a query: as long as the longest bounded wait of a device, and then
        /// some. Jobs are followed, and have no such bound.
        static let patience = Duration.seconds(150)
        /// How long the end waits for changes that are under way; what is not done then, the next start ends.
        static let stopWait = DispatchTimeInterval.seconds(60)
        /// How long a round waits for one thing at which others are at work.
        static let roundPatience = Duration.seconds(2)
        /// How long between two rounds of looking at what is there.
        static let roundSeconds = 10
        /// How long the end waits for queries.
        static let queryWait = DispatchTimeInterval.seconds(5)
    }

    public let folder: StateFolder
    let plane: ControlPlane
    let jobs = JobRegistry()
    let survey = SpaceSurvey()
    private let changes: KeyedQueue<ChangeKey>
    private let queries: KeyedQueue<ChangeKey>
    /// The media that are copied now, by the job that does it.
    let copies = Lock<[Int: Set<ChangeKey>]>([:])
    private let isShutDown = Lock(false)
    /// What looks again and again at what is there.
    private let rounds = Lock<Task<Void, Never>?>(nil)

    /// A control plane over the catalog of `folder`; nothing runs yet. Profiles in the folder `profileFolder` count
    /// more than those of the state folder, and these more than those inside the program.
    public init(
        folder: StateFolder, logger: Logger, profileFolder: String? = nil,
        makeAssembly: (Resources) throws(ManagementError) -> any DeviceAssembly
    ) throws(ManagementError) {
        self.folder = folder
        do {
            changes = try KeyedQueue(
                name: "change",
                limits: KeyedQueue.Limits(
                    shortThreads: Limit.changes, longThreads: Limit.jobs, waiting: Limit.waitingChanges),
                isHeldForLong: \.isHeldForLong)
            queries = try KeyedQueue(
                name: "query",
                limits: KeyedQueue.Limits(
                    shortThreads: Limit.queries, longThreads: Limit.examinations, waiting: Limit.waitingQueries))
        } catch {
            throw ManagementError(.system, "the threads of the control plane cannot be started: \(error)")
        }
        plane = try ControlPlane(
            folder: folder, logger: logger, profileFolder: profileFolder, makeAssembly: makeAssembly)
    }

    // MARK: Start and stop

    /// Ends what was interrupted, starts what the catalog holds, then listens. Before any change.
    ///
    /// - Parameters:
    ///   - portals: Where to listen, beside the portals of the last time.
    ///   - demo: Whether to fill an empty catalog with a library and a disk.
    ///   - isStrict: Whether to refuse when a disk or a library cannot be served, instead of serving the rest.
    public func start(
        portals: [PortalAddress] = [], demo: Bool = false, isStrict: Bool = false
    ) async throws(ManagementError) {
        try await change([], in: .long) { plane throws(ManagementError) in
            try plane.start(portals: portals, demo: demo, isStrict: isStrict)
        }
        let task = Task { [weak self] in
            while (try? await Task.sleep(for: .seconds(Limit.roundSeconds))) != nil {
                await self?.reconcile()
                await self?.takeDueSnapshots()
            }
        }
        rounds.withLock { $0 = task }
    }

    /// Stops listening, ends the sessions, closes everything. Does nothing when called again. False when something that
    /// initiators have written could not be written out; the log says what.
    @discardableResult
    public func shutDown() async -> Bool {
        let isFirst = isShutDown.withLock { isShutDown in
            defer { isShutDown = true }
            return !isShutDown
        }
        guard isFirst else { return true }
        rounds.withLock { $0 }?.cancel()
        let refusal = ManagementError(.conflict, "the daemon is stopping; ask again when it has been started")
        // No new logins, whatever else takes its time.
        plane.assembly.closePortals()
        jobs.stopAll(refusal)
        if await !changes.close(refusal, waitingAtMost: Limit.stopWait) {
            plane.logger.error("changes are under way that do not end; the next start ends them")
        }
        let isWritten = await plane.stopDevices()
        _ = await queries.close(refusal, waitingAtMost: Limit.queryWait)
        plane.closeCatalog()
        return isWritten
    }

    // MARK: For the extensions by topic

    /// Does `body` when no other change has one of `keys`, on a thread for changes. The caller waits for `patience`, or
    /// if none is given in the short lane as long as for anything, and else for its end.
    ///
    /// With `beginning`, it is `KeyedQueue.isLate` when it has not begun in that time. Media that are being copied are
    /// waited for only with `waitsForCopies`.
    func change<Value: Sendable>(
        _ keys: Set<ChangeKey>, in lane: KeyedQueue<ChangeKey>.Lane = .short, patience: Duration? = nil,
        beginning: Duration? = nil, waitsForCopies: Bool = false,
        _ body: @escaping @Sendable (ControlPlane) throws(ManagementError) -> Value
    ) async throws(ManagementError) -> Value {
        try await change(
            keys, in: lane, patience: patience, beginning: beginning, waitsForCopies: waitsForCopies,
            releasing: { plane, _ throws(ManagementError) in try body(plane) })
    }

    /// The same for a `body` that lets others have some of the keys before it ends, by the function that it gets.
    func change<Value: Sendable>(
        _ keys: Set<ChangeKey>, in lane: KeyedQueue<ChangeKey>.Lane = .short, patience: Duration? = nil,
        beginning: Duration? = nil, waitsForCopies: Bool = false,
        releasing body:
            @escaping @Sendable (
                _ plane: ControlPlane, _ release: (Set<ChangeKey>) -> Void
            ) throws(ManagementError) -> Value
    ) async throws(ManagementError) -> Value {
        if !waitsForCopies { try checkAreNotCopied(keys) }
        let (requester, dryRun, precondition) = (Requester.current, DryRun.current, Precondition.current)
        let patience = patience ?? (lane == .short ? Limit.patience : nil)
        return try await changes.run(
            keys, in: lane, patience: patience, beginning: beginning,
            releasing: { [plane] release throws(ManagementError) in
                try precondition?.check()
                let outcome = Requester.$current.withValue(requester) {
                    DryRun.$current.withValue(dryRun) {
                        Precondition.$current.withValue(precondition) {
                            Result { () throws(ManagementError) in try body(plane, release) }
                        }
                    }
                }
                plane.configureStaleFrontEnd()
                plane.folder.reserve.restore()
                if let refusal = precondition?.refusal { throw refusal }
                return try outcome.get()
            })
    }

    /// Refuses a change of media that are being copied, for that may take hours.
    private func checkAreNotCopied(_ keys: Set<ChangeKey>) throws(ManagementError) {
        let found = copies.withLock { copies in
            copies.lazy.compactMap { job, copied in keys.first { copied.contains($0) }.map { (job, $0) } }.first
        }
        guard case (let job, .media(let name))? = found else { return }
        throw ManagementError(
            .inUse,
            "the media of '\(name)' are being copied by job \(job), \((try? jobs.job(job).summary.work) ?? "a copy"), "
                + "or wait for that; wait for its end with 'carousel job wait \(job)', or cancel it")
    }

    /// Does `body`, which changes nothing, on a thread for queries; `.long` when it looks at files of cartridges.
    func query<Value: Sendable>(
        in lane: KeyedQueue<ChangeKey>.Lane = .short,
        _ body: @escaping @Sendable (ControlPlane) throws(ManagementError) -> Value
    ) async throws(ManagementError) -> Value {
        try await queries.run([], in: lane, patience: Limit.patience) { [plane] () throws(ManagementError) in
            try body(plane)
        }
    }
}

/// What a change touches.
enum ChangeKey: Hashable, Sendable {
    /// The disk, library or target of that name; they share one space of names.
    case name(String)
    /// The media of the disk or library of that name. Held with its name, but by those who copy them: they keep nobody
    /// from changing who may use it.
    case media(String)
    /// Who may use what: groups, maps, levels, secrets, redirection.
    case access
    case portals
    case nameServer
    case profiles
    case tokens
    /// The beginning of a check; there may be one under way.
    case check
    /// The files outside the state folder that are media of disks: two disks never have one.
    case externalImages
    /// The cartridges that no row claims: none is taken up by two libraries.
    case strayCartridges
    /// The thing of that kind and name, which is no more than a spec in the catalog.
    case stored(kind: String, name: String)

    /// Whether somebody may have it for hours: who copies media. Those who wait for that are in nobody's way.
    var isHeldForLong: Bool {
        if case .media = self { true } else { false }
    }

    /// The key of the device or target that a request names: by its name, the iSCSI name of its target, or for a drive
    /// `LIBRARY/drive:1`.
    static func thing(_ text: String) -> ChangeKey {
        let name = DeviceName.end(ofTarget: text.lowercased())
        return .name(name.prefix { $0 != "/" }.description)
    }

    /// The keys of a change of the disk or library that a request names, with what is on its media.
    static func device(_ text: String) -> Set<ChangeKey> { [.thing(text), .media(of: text)] }

    /// The key of the media of the disk or library that a request names.
    static func media(of text: String) -> ChangeKey {
        guard case .name(let name) = thing(text) else { return .media(text) }
        return .media(name)
    }
}

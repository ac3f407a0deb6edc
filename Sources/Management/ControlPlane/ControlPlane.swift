import Catalog
import Encryption
import Foundation
import Logging
import Platform
import Resources

/// What is done when the daemon is asked for something: requests become catalog rows, files and running devices.
///
/// Every change checks everything first, then changes, and undoes what it did when a later step fails; what a crash
/// leaves half done the next start ends. The functions wait for files, SQLite and reactors, so they are for threads
/// that may. The `Controller` sees to it that no two changes of the same things run at the same time; queries may run
/// at any.
final class ControlPlane: Sendable {
    /// What is known beside the catalog.
    private struct Memory {
        var portals: [ServedPortal] = []
        var unopenedPortals: [ServedPortal] = []
        var nameService: NameService?
        var check: Check?
        var problems: [String: String] = [:]
        var unclaimed: [String] = []
        var notedWarnings: Set<String> = []
        var notedStorageProblems: [String] = []
        var isFrontEndStale = false
        var hasFrontEnd = false
        var freeze: FrontEndFreeze?
    }

    let folder: StateFolder
    let catalog: Catalog
    let assembly: any DeviceAssembly
    let profiles: ProfileStore
    let logger: Logger
    /// The secrets of CHAP.
    let secrets: SecretStore
    /// The tokens with which others ask.
    let tokens: TokenStore
    /// Requests that did not show who asks.
    let refusedRequests: RefusalLog
    /// What looks at files that may not answer.
    let looks: FileLooks
    /// What counts the space of disks and snapshots, in images that may not answer.
    let spaceLooks: FileLooks
    /// Those who follow the events.
    let feed: EventFeed
    let started = Date()
    let startTime = MonotonicTime.current()
    /// Held while the front end is told what catalog and secrets say, so that it hears the newest last.
    let configuring = Lock(())
    /// Held from the choice of barcodes that nobody else has until the catalog has them.
    let labelling = Lock(())
    /// The disks that have reached their thresholds, as seen last.
    let reached = Lock<[ThresholdFinding]>([])
    /// The snapshots that are made by themselves.
    let schedules = Lock(SnapshotSchedules())
    private let memory = Lock(Memory())
    /// What is being copied in images with snapshots, by name, and the numbers of the jobs that do it.
    let copied = Lock<[String: Set<Int>]>([:])
    /// From which files what runs is served.
    let served = Lock(ServedFiles())

    /// The portals that are open. Set by changes of portals only, one after another.
    var portals: [ServedPortal] {
        get { memory.withLock { $0.portals } }
        set { memory.withLock { $0.portals = newValue } }
    }

    /// The portals of the last time that could not be opened. Set by changes of portals only.
    var unopenedPortals: [ServedPortal] {
        get { memory.withLock { $0.unopenedPortals } }
        set { memory.withLock { $0.unopenedPortals = newValue } }
    }

    /// The iSNS server that is registered with. Set by changes of that only.
    var nameService: NameService? {
        get { memory.withLock { $0.nameService } }
        set { memory.withLock { $0.nameService = newValue } }
    }

    /// The last check. Set by those who begin one only.
    var check: Check? {
        get { memory.withLock { $0.check } }
        set { memory.withLock { $0.check = newValue } }
    }

    /// The files below the state folder that the catalog did not know at the start, less those that were adopted.
    var unclaimed: [String] { memory.withLock { $0.unclaimed } }

    /// Whether the front end has not been told of the last change, because that failed.
    var isFrontEndStale: Bool {
        get { memory.withLock { $0.isFrontEndStale } }
        set { memory.withLock { $0.isFrontEndStale = newValue } }
    }

    /// Whether the front end was told anything since the start.
    var hasFrontEnd: Bool {
        get { memory.withLock { $0.hasFrontEnd } }
        set { memory.withLock { $0.hasFrontEnd = newValue } }
    }

    /// What initiators are to see until a configuration is in force as a whole; nil when none is being applied.
    var freeze: FrontEndFreeze? {
        get { memory.withLock { $0.freeze } }
        set { memory.withLock { $0.freeze = newValue } }
    }

    /// Changes the list of files that the catalog does not know.
    func changeUnclaimed(_ change: (inout [String]) -> Void) { memory.withLock { change(&$0.unclaimed) } }

    /// Why devices are not served, by name.
    var problems: [String: String] { memory.withLock { $0.problems } }

    /// Says why the device or portal `name` is not served; nil when it is, or is no more.
    func setProblem(_ problem: String?, of name: String) { memory.withLock { $0.problems[name] = problem } }

    /// Those of `warnings` that were not there last time.
    func newWarnings(_ warnings: [String]) -> [String] {
        memory.withLock { memory in
            defer { memory.notedWarnings = Set(warnings) }
            return warnings.filter { !memory.notedWarnings.contains($0) }
        }
    }

    /// Whether `problems` of the storage are others than those of the last time.
    func areNew(storageProblems problems: [String]) -> Bool {
        memory.withLock { memory in
            defer { memory.notedStorageProblems = problems }
            return memory.notedStorageProblems != problems
        }
    }

    /// A control plane over the catalog of `folder`; nothing runs yet. Profiles in the folder `profileFolder` count
    /// more than those of the state folder, and these more than those inside the program.
    init(
        folder: StateFolder, logger: Logger, profileFolder: String? = nil,
        makeAssembly: (Controller.Resources) throws(ManagementError) -> any DeviceAssembly
    ) throws(ManagementError) {
        if let refusal = StateFolder.unfinishedRestore(in: folder.path) { throw ManagementError(.damaged, refusal) }
        self.folder = folder
        let feed = EventFeed()
        self.feed = feed
        self.logger = logger
        tokens = TokenStore(folder)
        do {
            looks = try FileLooks()
            spaceLooks = try FileLooks()
        } catch {
            throw ManagementError(.system, "the threads of the control plane cannot be started: \(error)")
        }
        refusedRequests = RefusalLog(logger, .requests)
        profiles = try ProfileStore(folders: [folder.profilesPath] + (profileFolder.map { [$0] } ?? []))
        let gate = folder.gate
        let isProofRequired: Bool
        let path = folder.catalogPath
        do throws(CatalogError) {
            catalog = try Catalog(
                path: path,
                hooks: Catalog.Hooks(
                    willCommit: { () throws(CatalogError) in
                        do throws(ManagementError) {
                            try Precondition.current?.checkBeforeEffect()
                            try DryRun.endBeforeEffect()
                        } catch {
                            throw .failed(error.message)
                        }
                        do throws(ManagementError) { try gate?(path) } catch { throw .full(error.message) }
                    }, didCommit: { Precondition.current?.settle() },
                    willCreate: { () throws(CatalogError) in
                        if let loss = folder.lossOfCatalog() { throw .unwanted(loss) }
                    }, makeRoom: { [reserve = folder.reserve] attempt in reserve.lend(attempt) },
                    didRecord: { feed.publish($0) }))
            let required = try catalog.authenticationPlaces()
            isProofRequired = !required.isEmpty
        } catch {
            throw Self.translated(error, path: folder.catalogPath)
        }
        folder.reserve.restore()
        let catalog = catalog
        secrets = try SecretStore(in: folder, isRemembered: isProofRequired) { () throws(ManagementError) in
            do throws(CatalogError) {
                return try catalog.newGeneration()
            } catch {
                throw Self.translated(error, path: path)
            }
        }
        assembly = try makeAssembly(
            Controller.Resources(
                catalog: catalog, logger: logger, profiles: profiles,
                imageKeys: ImageKeys(catalog: catalog, folder: folder, looks: looks)))
    }

    // MARK: Start and stop

    /// Ends what was interrupted, starts what the catalog holds, then listens.
    ///
    /// - Parameters:
    ///   - portals: Where to listen, beside the portals of the last time.
    ///   - demo: Whether to fill an empty catalog with a library and a disk.
    ///   - isStrict: Whether to refuse when a disk or a library cannot be served, instead of serving the rest.
    func start(
        portals requested: [PortalAddress] = [], demo: Bool = false, isStrict: Bool = false
    ) throws(ManagementError) {
        let counts = try query { () throws(CatalogError) in try catalog.deviceCounts() }
        if let problem = tokens.problem { logger.error("no token is good", metadata: ["reason": "\(problem)"]) }
        for problem in profiles.problems { logger.error("profile not used", metadata: ["reason": "\(problem)"]) }
        try endInterruptedSecrets()
        // The start is what a loss of power is for a device.
        do throws(CatalogError) {
            try catalog.forgetUnkeptReservations()
        } catch {
            // They keep others away, and let nobody in.
            logger.error("reservations without APTPL are still in force", metadata: ["reason": "\(error)"])
        }
        try reconcileAll(isStrict: isStrict)
        try applyDiskSpaceLimit()
        try rememberAuthentication(of: secrets)
        try configureFrontEnd()
        try startNameService()
        try endInterruptedConfiguration()
        // Last among the devices, so that no initiator comes before its target; but before the demonstration, of which
        // nothing is to stay behind when a port is taken.
        try openPortals(requested)
        if demo, counts.disks == 0, counts.libraries == 0 { try createDemo() }
        noteWarnings()
    }

    /// Stops listening, ends the sessions, closes the media. False when something that initiators have written could
    /// not be written out; the log says what.
    func stopDevices() async -> Bool {
        feed.end()
        await nameService?.stop()
        let isWritten = await assembly.shutDown()
        // Its job was told to stop already. What hangs keeps nobody, least of all what has to be written out.
        if await check?.finished(within: Self.checkWait) == false {
            logger.error("the check does not end: a file does not answer", metadata: ["waited": "\(Self.checkWait)"])
        }
        return isWritten
    }

    /// How long the end waits for a check that was told to stop.
    static let checkWait = Duration.seconds(5)

    /// The end: nothing may be asked for afterwards.
    func closeCatalog() {
        do {
            try catalog.close()
        } catch {
            logger.error("the catalog did not close", metadata: ["reason": "\(error)"])
        }
    }

    /// Serves a disk that the catalog holds, with the user's key if that was asked for already.
    func start(
        _ disk: DiskRecord, key: Result<UserKey, ManagementError>? = nil, _ ownFiles: () -> OwnFiles
    ) throws(ManagementError) {
        let disk = try adoptingLength(of: disk, ownFiles)
        guard let key else { return try offer(disk) }
        try offer(disk, try key.get())
    }

    /// Hands a disk, which is as its image is, to the devices, and lets those in who may use it.
    func offer(_ disk: DiskRecord) throws(ManagementError) {
        try offer(disk, try userKey(of: disk.spec, disk: disk.name))
    }

    /// The same with the user's key, of an encrypted one.
    func offer(_ disk: DiskRecord, _ key: UserKey?) throws(ManagementError) {
        let path = folder.imagePath(disk.image)
        let size = try assembly.startDisk(
            disk, imagePath: path, userKey: key, targetName: DeviceName.targetName(disk.name))
        if disk.spec.imageFormat == .carousel, size > disk.size {
            do throws(ManagementError) {
                try adopt(size, of: disk)
            } catch {
                // Else it would run, and be taken for one that does not.
                assembly.stopDisk(disk, targetName: DeviceName.targetName(disk.name))
                throw error
            }
        }
        if disk.node != nil { removeForgottenCopies(inImage: path) }
        noteServed(disk.name, from: disk.spec.isInMemory ? folder.path : path)
        noteClaimed(protectionOf: disk, ofImage: path)
        admit(disk.name, units: [disk.identity.id])
    }

    private func createDemo() throws(ManagementError) {
        try createLibrary(
            "vtl",
            Library.Spec(
                profile: "ibm-03584l32", drives: 2, driveProfile: "ibm-ult3580-td8", slots: 20, mailSlots: 4,
                cartridges: 8, cartridgeSize: 2 << 30))
        try createDisk("disk0", Disk.Spec(size: 1 << 30))
    }

    // MARK: Queries

    /// The state of the daemon.
    func status() throws(ManagementError) -> DaemonStatus {
        let libraries = try query { () throws(CatalogError) in try catalog.libraries() }
        let counts = try query { () throws(CatalogError) in try catalog.deviceCounts() }
        forgetMendedInterruption()
        // Not by the rows of the disks: there may be many thousands, with which nothing is wrong.
        var problems = assembly.failedOperationsOfDisks().reduce(into: [:]) { problems, failed in
            problems[failed.key] = Self.sentence(failed: failed.value, ofDisk: failed.key)
        }
        for (name, loss) in assembly.lossesOfDisks() { problems[name] = Self.sentence(loss, ofDisk: name) }
        problems.merge(detachments) { $1 }
        problems.merge(self.problems) { $1 }
        for library in libraries {
            problems[library.name] = problem(of: library)
        }
        let storage = storageProblems()
        return DaemonStatus(
            version: Controller.version, processID: Int(ProcessInfo.processInfo.processIdentifier),
            stateFolder: folder.path, started: started, portals: portals.map(\.actual.description),
            disks: counts.disks, libraries: counts.libraries,
            cartridges: counts.cartridges, sessions: assembly.sessionCounts().values.reduce(0, +),
            problems: storage + problems.values.sorted() + profiles.problems
                + (tokens.problem.map { [$0.message] } ?? []),
            warnings: try warnings(), refusedLogins: assembly.refusedLogins, refusedRequests: refusedRequests.count,
            unclaimed: unclaimed)
    }

    /// Why nothing can be changed, whatever is asked for: what has become of the state folder or of the catalog.
    func storageProblems() -> [String] {
        [
            folder.writeRefusal(),
            catalog.isInPlace ? nil : Self.displacement(ofCatalogAt: folder.catalogPath),
        ].compactMap(\.self)
    }

    // MARK: For the extensions by topic

    /// Refuses when an initiator is logged in to the target of `name`, or to another that shows one of its logical
    /// units.
    func checkUnused(_ name: String, units: [Int64], kind: String, verb: String) throws(ManagementError) {
        var names: Set<String> = [DeviceName.targetName(name)]
        if let device = units.first,
            try query({ () throws(CatalogError) in try catalog.hasAccessSettings(device: device, units: units) })
        {
            let targets = try query { () throws(CatalogError) in try catalog.targets() }
            for target in targets where !target.shownUnits.isDisjoint(with: units) { names.insert(target.name) }
        }
        guard let session = assembly.sessions().first(where: { names.contains($0.status.target) }) else { return }
        throw ManagementError(
            .inUse,
            "\(kind) '\(name)' is in use by \(session.status.initiator); log it out before you \(verb) the \(kind)")
    }

    /// Refuses when a disk or a library has the name, for their targets would too.
    func checkNameIsFree(_ name: String) throws(ManagementError) {
        if try query({ () throws(CatalogError) in try catalog.disk(named: name) }) != nil {
            throw ManagementError(
                .conflict,
                "disk '\(name)' exists already; choose another name or delete it with 'carousel disk delete \(name)'")
        }
        if try query({ () throws(CatalogError) in try catalog.library(named: name) }) != nil {
            throw ManagementError(
                .conflict,
                "library '\(name)' exists already; "
                    + "choose another name or delete it with 'carousel library delete \(name)'")
        }
        try checkTargetIsFree(name)
    }

    /// Refuses when a target that was made for itself has the name.
    func checkTargetIsFree(_ name: String) throws(ManagementError) {
        let target = DeviceName.targetName(name)
        guard try query({ () throws(CatalogError) in try catalog.hasTarget(named: target) }) else { return }
        throw ManagementError(
            .conflict,
            "target '\(target)' exists already; choose another name or delete it with 'carousel target delete \(name)'")
    }

    /// Runs a catalog function and words its error.
    func query<Value>(_ body: () throws(CatalogError) -> Value) throws(ManagementError) -> Value {
        do { return try body() } catch { throw Self.translated(error, path: folder.catalogPath) }
    }

    /// What an operator is told of a catalog that is not in its place any more.
    static func displacement(ofCatalogAt path: String) -> String {
        "the catalog \(path) or its log was removed or replaced while the daemon runs, so nothing can be changed: what "
            + "would be is lost with the end of the daemon; put the files back, or save what it knows with 'carousel "
            + "backup' before you end it, and put that back with 'carousel restore'"
    }

    private static func translated(_ error: CatalogError, path: String) -> ManagementError {
        switch error {
        case .newerVersion:
            ManagementError(.damaged, "\(path) is of a newer Carousel: \(error); use that version or another --state")
        case .notACatalog:
            ManagementError(.damaged, "\(path) is damaged: \(error); put it out of the way or use another --state")
        case .unwanted(let reason): ManagementError(.damaged, reason)
        case .damaged(let reason):
            ManagementError(
                .damaged,
                "\(path) is damaged: \(reason); put it back from a backup with 'carousel restore' (before you put a "
                    + "plain copy there, remove \(path)-wal and \(path)-shm, which belong to another), or use another "
                    + "--state")
        case .displaced: ManagementError(.damaged, displacement(ofCatalogAt: path))
        case .conflict(let reason): ManagementError(.conflict, reason)
        case .full(let reason):
            ManagementError(.system, "the catalog \(path) has no room: \(reason); make room on its file system")
        case .failed(let reason): ManagementError(.system, "the catalog \(path) failed: \(reason)")
        }
    }
}

extension LogicalUnitIdentity {
    /// The NAA identifier as 16 hexadecimal digits.
    var naaText: String {
        let digits = String(naaIdentifier, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

public import Bytes
public import Catalog
import DiskDevice
import Dispatch
public import Encryption
import Foundation
import ISCSIPort
import Logging
import Media
public import Platform
public import Resources
import SCSI
import TargetCore

/// The devices and ports of this process: disks, libraries and the iSCSI server on their reactors.
public final class LocalDevices: DeviceAssembly {
    /// Limits of the process.
    enum Limit {
        /// The most reactors, whatever the number of processors.
        static let reactors = 16
        /// Payload memory of a reactor in bytes.
        static let reactorPool = 512 << 20
        /// The divisor of the machine's memory that gives the limit of what page keepers hold, unless the user sets it.
        static let keptMemoryShare: UInt64 = 8
        /// How many cartridges are made or removed at a time, by all jobs together.
        static let cartridgeWorkers = 16
        /// How many cartridges are examined at a time by one who asks.
        static let cartridgeExaminers = 16
        /// How long initiators get to log out when the daemon stops.
        static let logoutGrace = Duration.seconds(2)
        /// How long a move may take: a cartridge is written out and closed, another opened.
        static let moveWait = DispatchTimeInterval.seconds(120)
        /// How long it may take until a change of reservations is durable.
        static let reservationWait = DispatchTimeInterval.seconds(30)
        /// How long it may take until a change of access states is durable.
        static let accessStateWait = DispatchTimeInterval.seconds(30)
        /// How long a medium may take to be flushed and closed when the daemon stops.
        static let closeWait = DispatchTimeInterval.seconds(30)
    }

    /// A disk that runs.
    struct RunningDisk {
        let name: String
        let server: DiskDeviceServer
        /// The file that it shares with other disks; nil where an image is one disk.
        var familyPath: String?
        /// Whether its image is in the state folder: not one of the user's, nor in memory.
        var isOwn = true
        /// The bytes that may be in use in its image, as its spec says.
        var spaceLimit: Int64?
        /// Why it is not cached as it was asked for; nil when it is.
        var cacheProblem: String?
        let figures = UnitFigures()
    }

    let catalog: Catalog
    let logger: Logger
    let profiles: ProfileStore
    let reactors: [Reactor]
    let targets = TargetDirectory()
    let disks = Lock<[Int64: RunningDisk]>([:])
    let diskLosses = DiskLosses()
    /// What copies between disks find.
    let copyManager = CopyManager()
    let libraries = Lock<[Int64: RunningLibrary]>([:])
    /// All logical units that run, by the catalog's key.
    let units = Lock<[Int64: LogicalUnit]>([:])
    let frontEnd = Lock(FrontEndState())
    let access = AccessTable()
    let checks = CartridgeChecks()
    let domains = DiscoveryDomains()
    let refusals: RefusalLog
    let failures: FailureLog
    let microcodeLog: MicrocodeLog
    let server: ISCSIServer
    /// Sockets on which the service manager listens; portals with their addresses are made of them.
    let inheritedSockets: [ListenSocket]
    /// The threads on which cartridges are made and removed: thousands of them, which is no reason for those who ask
    /// for something else to wait for a processor.
    let cartridgeThreads: WorkerThreads
    let fileEngine: FileEngine
    let pageKeeper: PageKeeper
    /// The files that several disks may share.
    let families = FamilyFiles()
    /// The users' keys of such files.
    let imageKeys: ImageKeys
    /// How much all disk images may take, in bytes; nil without a limit.
    let diskSpaceLimit = Lock<Int64?>(nil)
    /// What the raw ones of these take, as seen last.
    let rawBytes = Lock<Int64>(0)

    /// Starts the reactors; nothing is served yet. `keptMemory` bounds the hot data of disks that is kept in memory, in
    /// bytes; nil means an eighth of the machine's memory. `bufferPages` is what the memory for data on its way is made
    /// of where that can be had; where it cannot, the log says so. A portal with the address of one of
    /// `inheritedSockets` listens on that.
    public init(
        _ resources: Controller.Resources, keptMemory: Int64? = nil, bufferPages: PageChoice = .standard,
        inheritedSockets: [ListenSocket] = []
    ) throws(ManagementError) {
        self.inheritedSockets = inheritedSockets
        try OpenFiles.check()
        catalog = resources.catalog
        logger = resources.logger
        let refusals = RefusalLog(logger)
        self.refusals = refusals
        failures = FailureLog(logger)
        microcodeLog = MicrocodeLog(resources.catalog, logger)
        profiles = resources.profiles
        imageKeys = resources.imageKeys
        do {
            cartridgeThreads = try WorkerThreads(
                name: "cartridges", limit: Limit.cartridgeWorkers, priority: .background)
            fileEngine = try FileEngine()
            pageKeeper = try PageKeeper(
                limit: Int(keptMemory ?? Int64(ProcessInfo.processInfo.physicalMemory / Limit.keptMemoryShare)))
            var reactors: [Reactor] = []
            let count = max(1, min(Limit.reactors, ProcessInfo.processInfo.activeProcessorCount))
            for index in 0..<count {
                reactors.append(
                    try Reactor.start(
                        name: "reactor-\(index)", index: index, poolLimit: Limit.reactorPool,
                        poolPages: bufferPages, fileEngine: fileEngine))
            }
            self.reactors = reactors
        } catch {
            throw ManagementError(.system, "the reactors cannot be started: \(error)")
        }
        server = ISCSIServer(
            reactors: reactors, targets: targets, access: DomainAccess(base: access, domains: domains),
            logger: resources.logger, loginRefused: refusals.note)
        BufferPages.watch(bufferPages, of: reactors, logger: logger)
    }

    // MARK: Disks

    /// Opens a file and reads a byte; of what is no file it only asks what it is.
    public func touch(_ path: String) {
        guard let status = try? FileStatus.of(path), status.kind == .regular,
            let file = try? File.open(path: path)
        else { return }
        var byte: [UInt8] = [0]
        _ = byte.modifyBytes { file.read(into: &$0, fileOffset: 0) }
    }

    /// Opens the image and offers the disk's target, closed; the size that the image has.
    public func startDisk(
        _ disk: DiskRecord, imagePath: String, userKey: UserKey?, targetName: String
    ) throws(ManagementError) -> Int64 {
        let opened = try openImage(of: disk, at: imagePath, userKey: userKey)
        let image = opened.image
        let protection = CatalogProtection(catalog, disk: disk.identity.id, name: disk.name, logger: logger)
        do {
            // A format operation was broken off between the files and the row.
            if image.protection != disk.spec.protectionType {
                try protection.store(image.protection, initiatorPort: nil)
            }
            // Without an operation that does so at its end. Where it fails the next start does the same.
            if image.keptOperation == .none { _ = image.settleProtection() }
        } catch {
            close(opened)
            throw ManagementError(
                .system,
                "disk '\(disk.name)': the catalog does not keep which protection information it has now: \(error)")
        }
        let identity = DeviceIdentity(
            vendor: "CAROUSEL", product: "VIRTUAL-DISK", revision: "0001",
            serialNumber: disk.identity.serialNumber, naa: disk.identity.naaIdentifier)
        let (cache, cacheProblem) = Self.apply(disk.spec.cache, to: image, ofDisk: disk.name)
        if let cacheProblem { logger.warning("\(cacheProblem)") }
        let operations = CatalogOperations(catalog, disk: disk.identity.id, name: disk.name, logger: logger)
        let server = DiskDeviceServer(
            image: image, identity: identity, attributes: DiskAttributes(disk.spec), isReadOnly: disk.spec.isReadOnly,
            isEjected: disk.isEjected, cache: cache, copyManager: copyManager, protectionKeeper: protection,
            operationWatcher: operations.note)
        if disk.spec.isRemovable {
            server.keepMedium(
                with: CatalogMedium(catalog, disk: disk.identity.id, name: disk.name, logger: logger))
        }
        Self.tellLosses(ofDisk: disk.name, server, logger: logger)
        image.observeForgottenProtection { [protection] in protection.tellForgotten($0) }
        let unit = LogicalUnit(server, whenFailed: failures.note(of: disk.name, kind: "disk"))
        let target = Target(name: targetName, alias: disk.name, homeReactor: nil)
        target.map(unit, at: 0)
        copyManager.add(unit)
        disks.withLock {
            $0[disk.identity.id] = RunningDisk(
                name: disk.name, server: server, familyPath: opened.familyPath,
                isOwn: !disk.imageIsExternal && !disk.spec.isInMemory, cacheProblem: cacheProblem)
        }
        changeSpaceLimit(ofDisk: disk.identity.id, to: disk.spec.spaceLimit)
        // It may be that of the image.
        server.setThreshold(percent: disk.spec.threshold)
        watchLosses(ofDisk: disk.identity.id, server)
        begin(target, [disk.identity.id: unit])
        return image.capacity
    }

    /// Makes the running disk larger; its unit tells initiators.
    public func growDisk(_ disk: DiskRecord, to size: Int64) throws(ManagementError) {
        guard let running = disks.withLock({ $0[disk.identity.id] }) else {
            throw Self.unserved("disk", disk.name)
        }
        do {
            try running.server.resize(to: size)
        } catch {
            throw ManagementError(.system, "disk '\(disk.name)' keeps its size: \(error)")
        }
    }

    /// Offers the disk no longer; sessions that have begun meanwhile are ended.
    public func stopDisk(_ disk: DiskRecord, targetName: String) {
        if let unit = units.withLock({ $0[disk.identity.id] }) { copyManager.remove(unit) }
        end(targetName, [disk.identity.id])
        let running = disks.withLock { $0.removeValue(forKey: disk.identity.id) }
        guard let running else { return }
        if let path = running.familyPath { applySpaceLimit(ofImage: path) }
        if let failure = close(running) {
            logger.error("disk was not written out", metadata: ["disk": "\(disk.name)", "reason": "\(failure)"])
        }
    }

    /// Closes what a disk has; nil, or why not all that was written is durable.
    private func close(_ disk: RunningDisk) -> MediaFailure? {
        let failure = disk.server.close()
        let last = disk.familyPath.flatMap { families.release($0) }
        return failure ?? last
    }

    public func revision(ofUnit key: Int64) -> String? { units.withLock { $0[key] }?.revision }

    /// Whether every reactor answers within `limit`, for which the calling thread waits.
    public func answer(within limit: Duration) -> Bool {
        let outcomes = reactors.map { reactor in
            let outcome = Outcome<Bool>()
            reactor.postCompletion { outcome.set(true) }
            return outcome
        }
        let end = MonotonicTime.current() + limit
        return outcomes.allSatisfy { outcome in
            let left = (end - MonotonicTime.current()).wholeNanoseconds
            return outcome.wait(atMost: .nanoseconds(Int(max(0, left)))) == true
        }
    }

    // MARK: End

    /// Ends sessions, then media, then threads: each step needs the next ones.
    public func shutDown() async -> Bool {
        await server.stop(gracePeriod: Limit.logoutGrace)
        let isWritten = closeMedia()
        fileEngine.stop()
        pageKeeper.stop()
        for reactor in reactors { reactor.stop() }
        return isWritten
    }

    /// False when a medium could not be written out.
    private func closeMedia() -> Bool {
        var isWritten = true
        for (_, library) in libraries.withLock({ $0 }) where !close(library) { isWritten = false }
        for (_, disk) in disks.withLock({ $0 }) {
            if let failure = close(disk) {
                logger.error(
                    "disk was not written out", metadata: ["disk": "\(disk.name)", "reason": "\(failure)"])
                isWritten = false
            }
        }
        return isWritten
    }
}

public import Catalog
public import Encryption
public import ISNSClient
public import Media
public import Platform
public import Resources

/// A disk or a snapshot in an image of several.
public struct ImageNode: Hashable, Sendable {
    /// That of the disk, or `DISK@NAME`.
    public let name: String
    public let isSnapshot: Bool
    /// In bytes.
    public let size: Int64
    /// The bytes of a logical block.
    public let blockSize: Int
    /// Whether its image has checksums of data.
    public let hasChecksums: Bool

    public init(name: String, isSnapshot: Bool, size: Int64, blockSize: Int, hasChecksums: Bool = false) {
        self.name = name
        self.isSnapshot = isSnapshot
        self.size = size
        self.blockSize = blockSize
        self.hasChecksums = hasChecksums
    }
}

/// Why a cartridge cannot be used.
public struct CartridgeProblem: Hashable, Sendable {
    /// Whether its files are missing or damaged, or the host does not let them be used.
    public let state: CartridgeState
    /// What is wrong with them, without the cartridge's name.
    public let reason: String
    /// Whether the files are those of another cartridge, of which they may be all that there is.
    public let isForeign: Bool

    public init(_ state: CartridgeState, _ reason: String, isForeign: Bool = false) {
        self.state = state
        self.reason = reason
        self.isForeign = isForeign
    }
}

/// What units know of their reservations, by their keys.
public struct ReservationFindings: Sendable {
    /// The names of the initiator ports that have reserved units by RESERVE.
    public var reservers: [Int64: String] = [:]
    /// The units that are closed to all, because what was kept could not be read.
    public var lost: Set<Int64> = []

    public init() {}
}

/// What has become of the end of a reservation.
public enum ReservationClearing: Sendable {
    case cleared
    /// It is not cleared, and will not be.
    case refused
    /// It is not cleared yet.
    case waiting
}

/// What has become of a change of an access state.
public enum AccessStateSetting: Sendable {
    /// It is durable, and in force or in transition.
    case set
    /// Another change has not ended.
    case busy
    /// The unit has states of too many portal groups.
    case tooMany
    /// It is not changed, and will not be.
    case refused
    /// It is not changed yet.
    case waiting
}

/// What is known of cartridges that are not as they should be, by barcode.
public struct CartridgeFindings: Sendable {
    /// Those that cannot be used.
    public var problems: [String: CartridgeProblem]
    /// Those that have lost written data, which nobody has acknowledged.
    public var losses: [String: LossSummary]

    public init(problems: [String: CartridgeProblem] = [:], losses: [String: LossSummary] = [:]) {
        self.problems = problems
        self.losses = losses
    }
}

/// What the files of a cartridge say of its medium.
public struct MediumSummary: Hashable, Sendable {
    /// Its format in words, and whether it is WORM: `Ultrium 8/32T, WORM`.
    public let kind: String
    /// How many bytes of it are written.
    public let used: Int64

    public init(kind: String, used: Int64) {
        self.kind = kind
        self.used = used
    }
}

/// What the running devices and ports have counted.
public struct AssemblyStatistics: Sendable {
    /// Those that run, by name.
    public var devices: [DeviceFigures] = []
    /// Those that are logged in, without discovery sessions.
    public var sessions: [SessionFigures] = []
    /// Those that are offered, by name.
    public var targets: [TargetFigures] = []
    public var reactors: [ReactorFigures] = []
    /// Commands that medium or host have let fail, by cause.
    public var failures: [String: Int] = [:]
    /// How many cartridges are known to have lost data that nobody has acknowledged.
    public var lostCartridges = 0

    public init() {}
}

/// A disk that uses more than its threshold says.
public struct ThresholdFinding: Hashable, Sendable {
    /// The name of the disk.
    public let name: String
    /// The bytes of the disk that have storage, or those in use in its image where that is about to reach its limit.
    public let usedBytes: Int64
    public let percent: Int
    /// How many may be in use in the image; nil when the size of the disk is what counts.
    public let limit: Int64?
    /// Whether that has begun since the last time.
    public let isNew: Bool

    public init(name: String, usedBytes: Int64, percent: Int, limit: Int64? = nil, isNew: Bool) {
        self.name = name
        self.usedBytes = usedBytes
        self.percent = percent
        self.limit = limit
        self.isNew = isNew
    }
}

/// What the disk images in the state folder take, in bytes.
public struct DiskPoolSpace: Hashable, Sendable {
    /// What is in use in those of the format carousel.
    public let used: Int64
    /// The storage that raw ones take, as seen last.
    public let raw: Int64

    public init(used: Int64, raw: Int64) {
        self.used = used
        self.raw = raw
    }
}

/// What the control plane needs of the running devices and ports: the one door between catalog rows and units.
///
/// Functions are called on any threads but reactors, for different devices at the same time; those that change one
/// device, one after another, and so are those that change portals, or the front end. They may wait, for a bounded
/// time, but not those that only tell of sessions, portals, losses, findings and statistics, for queries count on that.
/// None may call back into the control plane. A function that throws has changed nothing unless it says so.
public protocol DeviceAssembly: Sendable {
    /// Refuses a library that cannot be made: unknown profiles, more elements than the profile has.
    func check(_ library: NewLibrary) throws(ManagementError)
    /// Refuses a barcode that the library cannot read, of a kind of cartridge that its drives cannot use, or of one for
    /// cleaning.
    func checkBarcode(_ barcode: String, libraryProfile: String, driveProfile: String) throws(ManagementError)
    /// The native capacity in bytes of a cartridge with that label for drives of the profile.
    func nativeCapacity(barcode: String, driveProfile: String) -> Int64
    /// What the labels of new cartridges for drives of the profile end with.
    func barcodeSuffix(driveProfile: String) -> String

    /// Has the file or folder at `path` answer, if it is there: waits for ever when it does not.
    func touch(_ path: String)
    /// Opens the image, an encrypted one with `userKey`, and offers the disk's target, to nobody until `admit` or
    /// `configure` says to whom. It gives the size of the disk, which may have grown in an image of several disks.
    func startDisk(
        _ disk: DiskRecord, imagePath: String, userKey: UserKey?, targetName: String
    ) throws(ManagementError) -> Int64
    /// Takes what is the disk's alone out of an image that has more than this disk; what others need stays. Nothing is
    /// done of a disk that shows a snapshot, or that the image does not have.
    func removeNode(of disk: DiskRecord, imagePath: String) throws(ManagementError)
    /// The disks and snapshots in the image at `path`, which is opened for that with `userKey` unless it is already, or
    /// with that of the disks in it (nil).
    func nodes(inImage path: String, userKey: UserKey?) throws(ManagementError) -> [ImageNode]
    /// What is wrong in the image of several disks at `path`, which may be in use: a sentence each. It takes long.
    /// `observer` is called at each read of data, and is false when the check is to end.
    func check(image path: String, observer: (Int64) -> Bool) throws(ManagementError) -> [String]
    /// Mends what can be mended in the image of several disks at `path`, which may be in use: its disks wait meanwhile.
    /// Nothing is made up: what cannot be known is lost. It takes long.
    func repair(image path: String) throws(ManagementError) -> ImageRepair
    /// Whether the image at `path` has a disk or a snapshot of that name.
    func has(node name: String, inImage path: String) throws(ManagementError) -> Bool
    /// How much space the running disk takes, counted until `deadline` at the latest; nil when it does not run.
    func space(of disk: DiskRecord, until deadline: MonotonicTime) -> ContentSpace?
    /// The storage that the image of the running disk takes on the host, in bytes. Both wait for the storage device.
    func allocatedBytes(ofDisk disk: DiskRecord) -> Int64?
    /// The same for snapshots in the image at `path`, by name: of those that are there.
    func space(
        ofSnapshots names: [String], inImage path: String, until deadline: MonotonicTime
    ) -> [String: ContentSpace]
    /// The snapshots in the image at `path`, the oldest first.
    func snapshots(inImage path: String) throws(ManagementError) -> [ImageSnapshot]
    /// Makes snapshots of running disks, all at one instant, or none.
    func takeSnapshots(_ wanted: [NewSnapshot], time: CalendarTime) throws(ManagementError)
    /// Takes a snapshot out of the image at `path`; what only it has is freed later.
    func deleteSnapshot(_ name: String, inImage path: String, time: CalendarTime) throws(ManagementError)
    /// Keeps a snapshot from being deleted until then.
    func lockSnapshot(_ name: String, until: CalendarTime, inImage path: String) throws(ManagementError)
    /// Puts what is the disk's alone into the image of several, beginning as `snapshot` is.
    func addNode(
        of disk: DiskRecord, from snapshot: String, imagePath: String, time: CalendarTime
    ) throws(ManagementError)
    /// Makes the running disk what `snapshot` is, and what it is now a snapshot of the name `name`; initiators learn of
    /// it. Gives the size that it has then.
    func rollBack(
        _ disk: DiskRecord, to snapshot: String, keeping name: String, time: CalendarTime
    ) throws(ManagementError) -> Int64
    /// The bytes that two of the disks and snapshots in the image at `path` do not have in common, from the byte
    /// `after` on, in ascending order: at most `limit` ranges; fewer mean that there are no more.
    func differences(
        inImage path: String, from first: String, to second: String, after offset: Int64, limit: Int
    ) throws(ManagementError) -> [Range<Int64>]
    /// Has `body` write to the head `work` of the image at `path`, which nobody else has: it begins as the snapshot
    /// `base` is, is made unless it is there, and gets `size` bytes if it has fewer. It takes long; durable on return.
    func receive(
        inImage path: String, base: String, work: String, size: Int64,
        _ body: (any DeltaTarget) throws(ManagementError) -> Void
    ) throws(ManagementError)
    /// Makes what the head `work` of the image at `path` has the snapshot `name`, which has the content of one
    /// somewhere else.
    func keepReceived(
        _ work: String, inImage path: String, as name: String, _ identity: SnapshotIdentity
    ) throws(ManagementError)
    /// Calls `body` with what is on the running disk, or with what `node` of its image, a disk or a snapshot, holds. It
    /// takes long; the caller sees to it that nothing of that is deleted or changed meanwhile.
    func read(
        _ disk: DiskRecord, node: String?, imagePath: String,
        _ body: (any DiskContent) throws(ManagementError) -> Void
    ) throws(ManagementError)
    /// Has `body` write the content of a new disk, which is not offered yet; durable on return.
    func fill(
        _ disk: DiskRecord, imagePath: String, userKey: UserKey?,
        _ body: (ContentWriter) throws(ManagementError) -> Void
    ) throws(ManagementError)
    /// Makes durable what was written to the disk, if it runs.
    func synchronize(_ disk: DiskRecord) throws(ManagementError)
    /// Makes the running disk and its image `size` bytes long, which is more than before; initiators learn of the
    /// change.
    func growDisk(_ disk: DiskRecord, to size: Int64) throws(ManagementError)
    /// Makes the running disk what `spec` says of all that can change but its size; initiators learn of it. When it
    /// throws, nothing has changed.
    func adjustDisk(_ disk: DiskRecord, to spec: Disk.Spec) throws(ManagementError)
    /// Has writes be refused that need new storage when the disk images in the state folder take so many bytes; nil:
    /// never. It waits for the storage device.
    func setDiskSpaceLimit(_ bytes: Int64?)
    /// What the disk images in the state folder take, as far as it is known.
    var diskSpace: DiskPoolSpace { get }
    /// The running disks that use more than their thresholds say; initiators are told of those that have begun to since
    /// the last time. It waits for the storage device.
    func observeThresholds() -> [ThresholdFinding]
    /// Why the running disk is not cached as its spec says, in one sentence; nil when it is.
    func cacheProblem(ofDisk disk: DiskRecord) -> String?
    /// How the image of the running disk is compressed, as in `zstd:3`; nil when it is not.
    func compression(ofDisk disk: DiskRecord) -> String?
    /// The operation on all blocks of the running disk that goes on, or has failed; nil when there is none.
    func operation(ofDisk disk: DiskRecord) -> OperationSummary?
    /// Those that have failed, by the names of the disks.
    func failedOperationsOfDisks() -> [String: OperationSummary]
    /// Which file has the protection information of a running disk; nil where there is none, or it does not run.
    func protectionFile(ofDisk disk: DiskRecord) -> FileStatus.Identity?
    /// Of a running disk in memory, what changes when it is written; nil of others.
    func memoryStatus(ofDisk disk: DiskRecord) -> FileStatus?
    /// Which file has the key of a running disk; nil of a plain one, or where it does not run.
    func keyFile(ofDisk disk: DiskRecord) -> FileStatus.Identity?
    /// Makes durable what was written to the running disk and takes its medium away, when `keep` has kept that; with
    /// `isForced` also when initiators prevent it. When it throws, the medium is where it was.
    func ejectDisk(
        _ disk: DiskRecord, isForced: Bool, keep: () throws(ManagementError) -> Void
    ) throws(ManagementError)
    /// Gives the running disk its medium back, when `keep` has kept that. When it throws, it is where it was.
    func loadDisk(_ disk: DiskRecord, keep: () throws(ManagementError) -> Void) throws(ManagementError)
    /// The loss of written data on the running disk that nobody has acknowledged.
    func loss(ofDisk disk: DiskRecord) -> LossSummary?
    /// All such losses, by the names of the disks.
    func lossesOfDisks() -> [String: LossSummary]
    /// Ends the consequences of a loss of written data on the disk; false when there is none.
    func acknowledgeLoss(ofDisk disk: DiskRecord) throws(ManagementError) -> Bool
    /// Ends the consequences of a loss of written data on the cartridge, in a drive of the library or with its files in
    /// `folder`; false when there is none.
    func acknowledgeLoss(
        of cartridge: CartridgeRecord, in library: LibraryRecord, folder: String
    ) throws(ManagementError) -> Bool
    /// Offers the disk no longer and closes its image.
    func stopDisk(_ disk: DiskRecord, targetName: String)

    /// Makes the files of empty cartridges, `BARCODE.tape` in `folder`, of the kinds that their labels mean; when it
    /// throws, some may be there.
    func createCartridges(
        _ cartridges: [CartridgeRecord], in folder: String, driveProfile: String
    ) throws(ManagementError)
    /// What the files of the cartridge `barcode` in `folder` say that it is, for drives of the profile.
    ///
    /// - Throws: `ManagementError.Code.damaged` when they cannot be read, `invalid` when the drives cannot use its
    ///   format, `inUse` when somebody has it open.
    func inspect(
        cartridge barcode: String, in folder: String, driveProfile: String
    ) throws(ManagementError) -> AdoptedCartridge
    /// Removes the files of cartridges of the library from `folder`; those that are not there are no error. A cartridge
    /// that is in use keeps its files, and so does one whose files are those of another; when this throws something
    /// else, some may be gone.
    func deleteCartridges(
        _ cartridges: [CartridgeRecord], of library: LibraryRecord, in folder: String
    ) throws(ManagementError)
    /// Looks at the files of `cartridges` of the library, in `folder`, and tells which cannot be used or have lost
    /// data. What is found out is kept for `cartridgeFindings(of:)` while the library runs.
    func examine(
        _ cartridges: [CartridgeRecord], of library: LibraryRecord, in folder: String
    ) -> CartridgeFindings
    /// Which cartridges of the running library could not be used, or had lost data, when they were looked at or loaded
    /// last, or have lost data since.
    func cartridgeFindings(of library: LibraryRecord) -> CartridgeFindings
    /// Reads all of a cartridge in `folder` that no drive has and says what is wrong with it; with `repairs` it mends
    /// what can be mended without losing anything. `observer` is called at each read with the number of bytes, and is
    /// false when the check is to end. On any thread, beside everything else.
    func check(
        _ cartridge: CartridgeRecord, of library: LibraryRecord, in folder: String, repairs: Bool,
        observer: @escaping @Sendable (Int64) -> Bool
    ) -> [Finding]
    /// What the files of `cartridge` in `folder` say of its medium, for drives of the profile; nil when that cannot be
    /// found out.
    func medium(of cartridge: CartridgeRecord, in folder: String, driveProfile: String) -> MediumSummary?
    /// Offers the library's target, to nobody until `admit` or `configure` says to whom; cartridges that are in drives
    /// are loaded again.
    func startLibrary(
        _ library: LibraryRecord, cartridges: [CartridgeRecord], cartridgeFolder: String, targetName: String
    ) throws(ManagementError)
    /// PRODUCT REVISION LEVEL of the unit with that key: of its profile, or of microcode that an initiator has
    /// activated; nil when it does not run.
    func revision(ofUnit key: Int64) -> String?
    /// Offers the library no longer and closes its cartridges.
    func stopLibrary(_ library: LibraryRecord, targetName: String)
    /// Moves a cartridge in the running library, and in the catalog with it: between elements, out to the vault or in
    /// from there.
    func move(
        _ move: CartridgeMove, of cartridge: CartridgeRecord, in library: LibraryRecord
    ) throws(ManagementError)

    /// Makes targets, maps and access what `plan` says, from now on; sessions that may not stay are ended.
    func configure(_ plan: FrontEndPlan)
    /// Puts into force what `plan` says of a device's target that has begun, for which no group counts and which shows
    /// the device as it came.
    func admit(_ plan: TargetPlan)
    /// Shows the disks with those keys at free numbers of the target `name`, to everyone who sees what the target
    /// itself shows.
    func map(_ logicalUnits: [Int: Int64], atTarget name: String)

    /// Starts to listen and returns where, with the port that the system chose for port 0.
    func openPortal(_ portal: PortalAddress, group: Int) throws(ManagementError) -> PortalAddress
    /// Refuses a portal that could not be opened now.
    func checkPortal(_ portal: PortalAddress) throws(ManagementError)
    /// Listens no longer.
    func closePortal(_ portal: PortalAddress)
    /// Listens nowhere any more: the daemon stops. Sessions go on.
    func closePortals()
    /// Sends new logins elsewhere, asks the initiators that came in here to log out, and closes what is left after the
    /// time.
    func drainPortal(_ portal: PortalAddress, seconds: Int)
    /// Takes logins at a drained portal again.
    func resumePortal(_ portal: PortalAddress)
    /// The portals that are open.
    func portals() -> [Resource<Portal>]

    /// The targets and portals that are offered at this moment, for iSNS.
    func offer() -> Offer
    /// Changes what discovery domains say; sessions that may not stay are ended. On any thread.
    func changeDomains(_ change: DomainChange)

    /// What was counted so far.
    func statistics() -> AssemblyStatistics
    /// The storage that the images of the running disks take in bytes, by disk; without those that cannot be asked. It
    /// may wait for the storage device.
    func allocatedBytes() -> [String: Int]
    /// How many logins were refused so far.
    var refusedLogins: Int { get }
    /// The sessions that are logged in.
    func sessions() -> [Resource<Session>]
    /// How many sessions are logged in, by target; targets without any may be left out.
    func sessionCounts() -> [String: Int]
    /// Asks the initiator of the session with that TSIH to log out, and closes it after the time.
    func closeSession(_ name: String, seconds: Int)
    /// What the running units, or the one with that key, know of reservations that the catalog does not.
    func reservationFindings(ofUnit wanted: Int64?) -> ReservationFindings
    /// Ends reservation and registrations of the unit with that key, and waits until that is durable, for a time.
    /// `whenCleared` is called when it is, however late; nil when the unit does not run.
    func clearReservations(ofUnit key: Int64, whenCleared: @escaping @Sendable () -> Void) -> ReservationClearing?
    /// The access states of the running units, or of the one with that key, by portal group: those that are, or were,
    /// others than at first.
    func accessStates(ofUnit wanted: Int64?) -> [Int64: [AccessState.Group]]
    /// Changes state, preference and time of transition of the unit with that key in a portal group, and waits until
    /// that is durable, for a time. `whenSet` is called when it is, however late; nil when the unit does not run.
    func setAccessState(
        _ wanted: AccessState.Group, ofUnit key: Int64, whenSet: @escaping @Sendable () -> Void
    ) -> AccessStateSetting?
    /// Stops listening, asks initiators to log out, then flushes and closes everything, in bounded time. The last call.
    /// False when something that was written could not be written out.
    func shutDown() async -> Bool
}

extension DeviceAssembly {
    /// The disks and snapshots in the image at `path`, of which the catalog has disks.
    func nodes(inImage path: String) throws(ManagementError) -> [ImageNode] { try nodes(inImage: path, userKey: nil) }
}

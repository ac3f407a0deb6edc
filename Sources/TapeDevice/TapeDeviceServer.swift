internal import Bytes
internal import Media
public import Platform
public import Profiles
public import SCSI
public import TargetCore

/// The device server of a sequential-access device (SSC-5): one drive, with a cartridge in it or not.
///
/// It is serial: commands run one after another on the drive's reactor, `reactor`. Cartridges come and
/// go by `insertMedium` and `removeMedium`, which any thread may call.
public final class TapeDeviceServer: DeviceServer, @unchecked Sendable {
    /// The most bytes that one command moves: the largest lease.
    public static let maximumTransferLength = 16 << 20
    /// The longest WRITE, in bytes of records, that goes to the page cache on the reactor.
    static let inlineWriteLimit: Int64 = 1 << 18
    /// The longest READ or VERIFY, in bytes of records, that is answered from the page cache on the reactor.
    static let inlineReadLimit: Int64 = 1 << 20
    /// How much of a longer one a worker reads before another medium's turn comes, in bytes of records.
    static let readPieceLength: Int64 = 4 << 20
    /// The most records that are read or written in one of these steps: each costs a checksum, however short it is.
    static let recordLimit = 4096
    /// The most runs through which SPACE looks for sequential filemarks on the reactor.
    static let inlineRunLimit = 4096
    /// The most filemarks that are written on the reactor.
    static let inlineFilemarkLimit = 4096

    public let identity: DeviceIdentity
    public let traits = InquiryTraits(
        type: .sequentialAccess, isRemovable: true, versionDescriptors: [VersionDescriptor.ssc4])
    public let commands: CommandSet
    public let modePages: ModePages
    public let attachedNexuses = AttachedNexuses()
    public var homeReactor: Reactor? { reactor }

    /// What kind of drive it is.
    public let profile: DriveProfile
    /// What the profile makes it say of itself.
    let personality: ProfilePersonality
    /// The reactor that the drive lives on.
    public let reactor: Reactor
    /// What may wait is done here, one thing at a time: the operations of commands, the robot's, and questions of the
    /// host's free space. So a cartridge is never used by two threads.
    public let lane: Lane

    private let table: CommandTable<TapeDeviceServer>
    var state: TapeState
    let offloaded = OffloadedOutcome()
    let alerts = TapeAlerts()
    let lossHandler = Lock<(@Sendable (String, LossReport) -> Void)?>(nil)
    private(set) lazy var mechanism = LoadMechanism(unit: self)
    let hostSpace: HostSpace

    /// An empty drive of that profile. `identity` is made by `identity(serialNumber:naa:profile:)`.
    ///
    /// `engine` does what may wait; the reactor's own unless a test has another one.
    public init(
        identity: DeviceIdentity, profile: DriveProfile, reactor: Reactor, engine: (any MediumEngine)? = nil
    ) {
        self.identity = identity
        self.profile = profile
        personality = profile.personality(serialNumber: identity.serialNumber)
        self.reactor = reactor
        lane = Lane(engine: engine ?? reactor.fileEngine, concurrency: 1)
        hostSpace = HostSpace(lane: lane, reactor: reactor)
        table = TapeCommands.table(profile)
        commands = table.commands
        let pages = profile.modePages.map {
            ModePage(code: $0.code, subpage: $0.subpage, $0.values, changeable: $0.changeable)
        }
        modePages = ModePages(ControlModePage.addingPage(toSerialUnit: pages))
        state = TapeState(bufferedMode: profile.defaultBufferedMode)
        readModePages()
    }

    public static func identity(serialNumber: String, naa: UInt64, profile: DriveProfile) -> DeviceIdentity {
        DeviceIdentity(
            vendor: profile.vendor, product: profile.product, revision: profile.revision, serialNumber: serialNumber,
            naa: naa)
    }

    // MARK: Running commands

    public func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        table.begin(command, self, task, nexus)
    }

    public func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        table.execute(command, self, task, nexus)
    }

    public func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        state.outstanding -= 1
        let progress = resume(task, nexus)
        workWhenIdle()
        return progress
    }

    public func fileAbandoned(_ task: SCSITask, _ nexus: ITLNexus) {
        state.outstanding -= 1
        _ = resume(task, nexus, isAbandoned: true)
        task.dataIn.lease = nil
        task.fileRequest.payload.lease = nil
        workWhenIdle()
    }

    private func resume(_ task: SCSITask, _ nexus: ITLNexus, isAbandoned: Bool = false) -> CommandProgress {
        guard let step = TapeStep(rawValue: task.step), let cartridge = heldCartridge else {
            preconditionFailure("a file operation ended that no command had begun")
        }
        switch step {
        case .read: return isAbandoned ? .complete : readCompleted(task, nexus, cartridge)
        case .append:
            task.fileRequest.payload.lease = nil
            return appendCompleted(task, nexus, cartridge, isAbandoned: isAbandoned)
        case .appendFilemarks: return isAbandoned ? .complete : filemarksCompleted(task, nexus, cartridge)
        case .synchronize: return synchronized(task, nexus, cartridge, isAbandoned: isAbandoned)
        case .erase: return isAbandoned ? .complete : eraseCompleted(task, nexus)
        case .unload: return unloadCompleted(task, nexus, cartridge, isAbandoned: isAbandoned)
        case .cutLeftOver: return isAbandoned ? .complete : leftOverCut(task, nexus, cartridge)
        case .commitAttributes: return isAbandoned ? .complete : attributesCommitted(task, nexus)
        case .space: return isAbandoned ? .complete : spaceCompleted(task, cartridge)
        }
    }

    private func workWhenIdle() {
        guard state.outstanding == 0, let work = state.whenIdle.take() else { return }
        work()
    }

    /// Hands `task.fileRequest` to the drive's lane. The drive is serial, so there is never more than one of these.
    func submit(_ task: SCSITask, _ step: TapeStep) -> CommandProgress {
        task.step = step.rawValue
        offloaded.forget()
        state.outstanding += 1
        lane.submitContinuation(task.fileRequest, on: reactor)
        return .pending
    }

    // MARK: Readiness

    /// The cartridge when it can be used.
    var readyCartridge: Cartridge? {
        if case .ready(let cartridge) = state.medium { cartridge } else { nil }
    }

    /// The cartridge that is in the drive, usable now or after a LOAD.
    var heldCartridge: Cartridge? {
        switch state.medium {
        case .ready(let cartridge), .held(let cartridge), .ejected(let cartridge): cartridge
        case .none, .moving, .unusable: nil
        }
    }

    /// Why the medium cannot be used now.
    var mediumSense: SenseData? {
        switch state.medium {
        case .ready: nil
        case .none, .ejected: SenseData(.notReady, .mediumNotPresent)
        case .moving: SenseData(.notReady, .becomingReady)
        case .held: SenseData(.notReady, .initializingCommandRequired)
        case .unusable(let sense): sense
        }
    }

    /// Calls `body` with the cartridge, or answers why there is none.
    func withMedium(_ task: SCSITask, _ body: (Cartridge) -> CommandProgress) -> CommandProgress {
        guard let cartridge = readyCartridge else {
            return task.fail(mediumSense ?? SenseData(.notReady, .mediumNotPresent))
        }
        cartridge.withdrawLost()
        return body(cartridge)
    }

    public var notReadySense: SenseData? { mediumSense }

    public var mediumGeneration: UInt32 { state.mediumGeneration }

    /// Why commands that write cannot run: the cartridge's tab, its format, or SWP.
    public var writeProtectionSense: SenseData? {
        guard let cartridge = readyCartridge else { return nil }
        if cartridge.isWriteProtected { return SenseData(.dataProtect, .hardwareWriteProtected) }
        if state.isFormatReadOnly { return SenseData(.dataProtect, .cannotWriteIncompatibleFormat) }
        if state.isSoftwareWriteProtected { return SenseData(.dataProtect, .softwareWriteProtected) }
        return nil
    }

    /// Whether the cartridge cannot be written: WP of the mode parameter header.
    var isWriteProtected: Bool {
        guard let cartridge = readyCartridge else { return false }
        return cartridge.isWriteProtected || state.isSoftwareWriteProtected || state.isFormatReadOnly
    }

    // MARK: Nexuses and resets

    /// What the drive keeps for a nexus.
    func nexusState(_ nexus: ITLNexus) -> TapeNexusState {
        nexus.state { TapeNexusState() }
    }

    /// The block length that MODE SELECT has set for the nexus, in bytes; zero means variable.
    func blockLength(_ nexus: ITLNexus) -> Int { nexusState(nexus).blockLength }

    /// Block lengths, buffered mode and mode pages are as after power on; the position stays.
    public func logicalUnitReset() {
        state.bufferedMode = profile.defaultBufferedMode
        for nexus in attachedNexuses.all { nexusState(nexus).blockLength = 0 }
        readModePages()
    }
}

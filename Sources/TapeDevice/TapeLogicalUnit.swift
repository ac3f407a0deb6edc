internal import Media
public import Platform
public import Profiles
public import SCSI
public import TargetCore

/// A sequential-access device (SSC-5): one drive, with a cartridge in it or not.
///
/// It is serial: commands run one after another on the drive's reactor, `reactor`, on which all sessions of its target
/// are. Cartridges come and go by `insertMedium` and `removeMedium`, which any thread may call.
public final class TapeLogicalUnit: LogicalUnit, @unchecked Sendable {
    /// The most bytes that one command moves: the largest lease.
    public static let maximumTransferLength = 16 << 20
    /// The longest WRITE, in bytes, that goes to the page cache on the reactor.
    static let inlineWriteLimit = 1 << 18
    /// The most filemarks that are written on the reactor.
    static let inlineFilemarkLimit = 4096
    /// Early warning begins, whatever the cartridge's capacity, when the host has fewer free bytes than this.
    static let hostReserve: Int64 = 64 << 20
    /// After so many written bytes the host's free space is looked at again.
    static let spaceCheckInterval: Int64 = 16 << 20

    /// What kind of drive it is.
    public let profile: DriveProfile
    /// The reactor that the drive lives on.
    public let reactor: Reactor

    private let table: CommandTable<TapeLogicalUnit>
    var state: TapeState
    let offloaded = OffloadedOutcome()
    private(set) lazy var mechanism = LoadMechanism(unit: self)

    /// An empty drive of that profile. Vendor, product and revision of `identity` are the profile's, if `identity` was
    /// made by `identity(serialNumber:naa:profile:)`.
    public init(identity: DeviceIdentity, profile: DriveProfile, reactor: Reactor) {
        self.profile = profile
        self.reactor = reactor
        table = TapeCommands.table(profile)
        state = TapeState(bufferedMode: profile.defaultBufferedMode)
        super.init(
            identity: identity,
            traits: InquiryTraits(
                type: .sequentialAccess, isRemovable: true, versionDescriptors: [VersionDescriptor.ssc4]),
            commands: table.commands, isSerial: true,
            modePages: ModePages(
                profile.modePages.map {
                    ModePage(code: $0.code, subpage: $0.subpage, $0.values, changeable: $0.changeable)
                }))
        readModePages()
    }

    /// The identity of a drive with that profile.
    public static func identity(serialNumber: String, naa: UInt64, profile: DriveProfile) -> DeviceIdentity {
        DeviceIdentity(
            vendor: profile.vendor, product: profile.product, revision: profile.revision, serialNumber: serialNumber,
            naa: naa)
    }

    // MARK: Running commands

    /// Runs a row's first handler.
    public override func begin(_ command: Int, _ task: SCSITask) -> CommandProgress {
        table.begin(command, self, task)
    }

    /// Runs a row's second handler.
    public override func execute(_ command: Int, _ task: SCSITask) -> CommandProgress {
        table.execute(command, self, task)
    }

    /// Goes on with a command whose file operation is complete.
    public override func fileCompleted(_ task: SCSITask) -> CommandProgress {
        state.outstanding -= 1
        let progress = resume(task)
        workWhenIdle()
        return progress
    }

    /// Lets go of what an aborted command holds.
    public override func fileAbandoned(_ task: SCSITask) {
        state.outstanding -= 1
        _ = resume(task, isAbandoned: true)
        task.dataIn = nil
        task.fileRequest.lease = nil
        workWhenIdle()
    }

    private func resume(_ task: SCSITask, isAbandoned: Bool = false) -> CommandProgress {
        guard let step = TapeStep(rawValue: task.step), let cartridge = heldCartridge else {
            preconditionFailure("a file operation ended that no command had begun")
        }
        switch step {
        case .read: return isAbandoned ? .complete : readCompleted(task, cartridge)
        case .append:
            task.fileRequest.lease = nil
            return appendCompleted(task, cartridge, isAbandoned: isAbandoned)
        case .appendFilemarks: return isAbandoned ? .complete : filemarksCompleted(task, cartridge)
        case .synchronize: return synchronized(task, cartridge, errorNumber: errorNumber(task))
        case .erase: return eraseCompleted(task)
        case .unload: return unloadCompleted(task, cartridge)
        }
    }

    private func errorNumber(_ task: SCSITask) -> Int32 {
        if case .failed(let code) = task.fileRequest.result { code } else { 0 }
    }

    private func workWhenIdle() {
        guard state.outstanding == 0, let work = state.whenIdle.take() else { return }
        work()
    }

    /// Hands `task.fileRequest` to the file engine; false when the engine has no room: the caller then does the work
    /// itself, because a command that has written something cannot be answered with BUSY.
    func submit(_ task: SCSITask, _ step: TapeStep) -> Bool {
        task.step = step.rawValue
        guard reactor.fileEngine.submit(task.fileRequest, on: reactor) else { return false }
        state.outstanding += 1
        return true
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
        return body(cartridge)
    }

    /// Why commands that need the medium cannot run.
    public override func notReadySense(_ task: SCSITask) -> SenseData? { mediumSense }

    /// Why commands that write cannot run: the cartridge's tab, its format, or SWP.
    public override func writeProtectionSense(_ task: SCSITask) -> SenseData? {
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

    /// The block length of the task's nexus.
    func blockLength(_ task: SCSITask) -> Int {
        guard let nexus = task.nexus else { preconditionFailure("a running task has a nexus") }
        return nexusState(nexus).blockLength
    }

    /// Block lengths, buffered mode and mode pages are as after power on; the position stays.
    public override func reset() {
        state.bufferedMode = profile.defaultBufferedMode
        for nexus in attachedNexuses { nexusState(nexus).blockLength = 0 }
        readModePages()
    }

    /// Raises a TapeAlert flag.
    func raise(_ alert: TapeAlert) {
        state.tapeAlerts |= 1 << (alert.rawValue - 1)
    }

    // MARK: What TargetCore asks for; overrides have to stand in the class itself

    /// WP, BUFFERED MODE and SPEED.
    public override func deviceSpecificModeParameter(_ nexus: ITLNexus) -> UInt8 {
        deviceSpecificModeParameter
    }

    /// The kind of cartridge.
    public override func modeMediumType(_ nexus: ITLNexus) -> UInt8 { mediumType }

    /// Density and block length.
    public override func modeBlockDescriptor(_ nexus: ITLNexus, isLong: Bool) -> [UInt8] {
        blockDescriptor(nexus)
    }

    /// Takes buffered mode and block length.
    public override func selectModeHeader(
        deviceSpecificParameter: UInt8, blockDescriptor: [UInt8], blockDescriptorOffset: Int, task: SCSITask,
        isCommitting: Bool
    ) -> SenseData? {
        selectHeader(
            deviceSpecificParameter, blockDescriptor, at: blockDescriptorOffset, task, isCommitting: isCommitting)
    }

    /// Fills in what depends on the cartridge.
    public override func modePageContent(
        _ page: ModePage, control: ModePageControl, nexus: ITLNexus
    ) -> [UInt8] {
        content(of: page, control)
    }

    /// Refuses values that mean nothing.
    public override func checkModePage(
        _ page: ModePage, newContent: [UInt8], offset: Int, task: SCSITask
    ) -> SenseData? {
        check(page, newContent, at: offset)
    }

    /// Keeps what depends on a page.
    public override func modePageChanged(_ page: ModePage, nexus: ITLNexus) {
        pageChanged(page)
    }

    /// Standard INQUIRY data.
    public override func standardInquiryData() -> [UInt8] { inquiryData(super.standardInquiryData()) }

    /// The drive's own VPD pages.
    public override var vitalProductDataPages: [UInt8] { productDataPages }

    /// Their content.
    public override func vitalProductData(page: UInt8, nexus: ITLNexus) -> [UInt8]? { productData(page) }

    /// The log pages.
    public override var logPages: [UInt8] { logPageCodes }

    /// Their parameters.
    public override func logPage(_ code: UInt8, subpage: UInt8, nexus: ITLNexus) -> [UInt8]? {
        logParameters(code, subpage: subpage)
    }
}

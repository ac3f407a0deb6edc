public import Platform
public import Profiles
public import SCSI
public import TargetCore

/// The device server of a media changer (SMC-3): a robot, slots, mail slots and drives.
///
/// It is serial and lives on one reactor, its drives on any. Which cartridge is where is in its memory; every
/// move is durable in the `LibraryInventory` before it counts.
public final class ChangerDeviceServer: DeviceServer, @unchecked Sendable {
    /// The most moves that wait for the robot.
    public static let maximumWaitingMoves = 64

    public let identity: DeviceIdentity
    public let traits = InquiryTraits(
        type: .mediaChanger, isRemovable: true, versionDescriptors: [VersionDescriptor.smc3])
    public let commands: CommandSet
    public let modePages: ModePages
    public let attachedNexuses = AttachedNexuses()
    public var homeReactor: Reactor? { reactor }

    /// What kind of library it is.
    public let profile: LibraryProfile
    /// What the profile makes it say of itself.
    private let personality: ProfilePersonality
    /// The reactor that the changer lives on.
    public let reactor: Reactor
    /// The drives, drive 1 first.
    let drives: [any DriveBay]
    let inventory: any LibraryInventory
    private let table: CommandTable<ChangerDeviceServer>
    /// Elements and their contents. On the reactor only.
    var elements: ElementTable
    /// What the robot does now; nil when it rests. On the reactor only.
    var current: RobotJob?
    /// What it does next. On the reactor only.
    var waiting: [RobotJob] = []

    /// A library with those drives and so many slots and mail slots; what it says of its serial number follows from
    /// `serialNumber` by the profile. `contents` is what the inventory says; the
    /// cartridges in drives are loaded by the drives' owner, not here.
    ///
    /// - Throws: `LibraryError` when the profile does not allow so many elements, or a cartridge is in none of them.
    public init(
        serialNumber: String, naa: UInt64, profile: LibraryProfile, reactor: Reactor, drives: [any DriveBay],
        slotCount: Int, mailSlotCount: Int, contents: [LibraryElement: ElementContent],
        inventory: any LibraryInventory
    ) throws(LibraryError) {
        personality = profile.personality(serialNumber: serialNumber)
        identity = DeviceIdentity(
            vendor: profile.vendor, product: profile.product, revision: profile.revision,
            serialNumber: personality.unitSerialNumber, naa: naa)
        self.profile = profile
        self.reactor = reactor
        self.drives = drives
        self.inventory = inventory
        elements = try ElementTable(
            profile, driveCount: drives.count, slotCount: slotCount, mailSlotCount: mailSlotCount, contents: contents)
        table = ChangerCommands.table(profile)
        commands = table.commands
        modePages = ModePages(ChangerPages.modePages(profile, elements))
    }

    public func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        table.begin(command, self, task, nexus)
    }

    public func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        table.execute(command, self, task, nexus)
    }

    /// A changer has no file operations of its own.
    public func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        task.fail(.hardwareError, .internalTargetFailure)
    }

    // MARK: INQUIRY and log pages

    /// Standard INQUIRY data with the profile's vendor-specific bytes.
    public func standardInquiryData(_ standard: [UInt8]) -> [UInt8] {
        personality.inquiryData(standard)
    }

    public var acceptsMicrocode: Bool { personality.acceptsMicrocode }

    public var vitalProductDataPages: [UInt8] { personality.pages }

    public func vitalProductData(page: UInt8, nexus: ITLNexus) -> [UInt8]? {
        personality.vitalProductData(page: page)
    }

    public var logPages: [UInt8] { [ChangerPages.tapeAlert] }

    public var commonLogPages: [CommonLogPage] { [.nonMediumErrors, .applicationClient, .selfTestResults] }

    /// The TapeAlert page: all flags are inactive, since nothing in a virtual library wears out.
    public func logPage(_ code: UInt8, subpage: UInt8, nexus: ITLNexus) -> [UInt8]? {
        guard code == ChangerPages.tapeAlert, subpage == 0 else { return nil }
        return (UInt8(1)...64).flatMap { [0, $0, 0x03, 1, 0] }
    }
}

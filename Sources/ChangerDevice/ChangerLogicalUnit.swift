public import Platform
public import Profiles
public import SCSI
public import TargetCore

/// A media changer (SMC-3): a robot, slots, mail slots and drives.
///
/// It is serial and lives on the home reactor of its target, like the drives of its library. Which cartridge is where is
/// in its memory; every move is durable in the `LibraryInventory` before it counts.
public final class ChangerLogicalUnit: LogicalUnit, @unchecked Sendable {
    /// The most moves that wait for the robot.
    public static let maximumWaitingMoves = 64

    /// What kind of library it is.
    public let profile: LibraryProfile
    /// The reactor that the changer lives on.
    public let reactor: Reactor
    /// The drives, drive 1 first.
    let drives: [any DriveBay]
    let inventory: any LibraryInventory
    private let table: CommandTable<ChangerLogicalUnit>
    /// Elements and their contents. On the reactor only.
    var elements: ElementTable
    /// What the robot does now; nil when it rests. On the reactor only.
    var current: RobotJob?
    /// What it does next. On the reactor only.
    var waiting: [RobotJob] = []

    /// A library with those drives and so many slots and mail slots, no more than the profile allows. `contents` is what
    /// the inventory says; the cartridges in drives are loaded by the drives' owner, not here.
    public init(
        identity: DeviceIdentity, profile: LibraryProfile, reactor: Reactor, drives: [any DriveBay], slotCount: Int,
        mailSlotCount: Int, contents: [LibraryElement: ElementContent], inventory: any LibraryInventory
    ) {
        self.profile = profile
        self.reactor = reactor
        self.drives = drives
        self.inventory = inventory
        var elements = ElementTable(
            profile, driveCount: drives.count, slotCount: slotCount, mailSlotCount: mailSlotCount)
        for (element, content) in contents {
            precondition(elements.has(element), "a cartridge is in an element of the library")
            elements[element] = content
        }
        self.elements = elements
        table = ChangerCommands.table(profile)
        super.init(
            identity: identity,
            traits: InquiryTraits(
                type: .mediaChanger, isRemovable: true, versionDescriptors: [VersionDescriptor.smc3]),
            commands: table.commands, isSerial: true,
            modePages: ModePages(ChangerPages.modePages(profile, elements)))
    }

    /// The identity of a library with that profile.
    public static func identity(serialNumber: String, naa: UInt64, profile: LibraryProfile) -> DeviceIdentity {
        DeviceIdentity(
            vendor: profile.vendor, product: profile.product, revision: profile.revision, serialNumber: serialNumber,
            naa: naa)
    }

    /// Runs a row's first handler.
    public override func begin(_ command: Int, _ task: SCSITask) -> CommandProgress {
        table.begin(command, self, task)
    }

    /// Runs a row's second handler.
    public override func execute(_ command: Int, _ task: SCSITask) -> CommandProgress {
        table.execute(command, self, task)
    }

    // MARK: INQUIRY and log pages

    /// Standard INQUIRY data with the profile's vendor-specific bytes.
    public override func standardInquiryData() -> [UInt8] {
        var bytes = super.standardInquiryData()
        bytes.replaceSubrange(36..<36 + profile.inquiryVendorSpecific.count, with: profile.inquiryVendorSpecific)
        return bytes
    }

    /// The profile's pages.
    public override var vitalProductDataPages: [UInt8] { profile.vitalProductData.map(\.page) }

    /// The content of those pages.
    public override func vitalProductData(page: UInt8, nexus: ITLNexus) -> [UInt8]? {
        profile.vitalProductData.first { $0.page == page }?.content
    }

    /// TapeAlert alone.
    public override var logPages: [UInt8] { [ChangerPages.tapeAlert] }

    /// The TapeAlert page: all flags are inactive, since nothing in a virtual library wears out.
    public override func logPage(_ code: UInt8, subpage: UInt8, nexus: ITLNexus) -> [UInt8]? {
        guard code == ChangerPages.tapeAlert, subpage == 0 else { return nil }
        return (UInt8(1)...64).flatMap { [0, $0, 0x03, 1, 0] }
    }
}

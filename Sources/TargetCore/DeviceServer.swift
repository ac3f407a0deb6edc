internal import Bytes
public import Platform
public import SCSI

/// What a device type does behind a `LogicalUnit`: the device server of SAM-5 clause 4.6.4.
///
/// The logical unit orders tasks, keeps what each nexus must learn, and answers what SPC says of all device types; the
/// device server has the commands of its type and the medium. It does not know its logical unit: what it has to tell
/// nexuses goes through `attachedNexuses`. Functions with a task run on the task's reactor, those of a serial unit on
/// one reactor; the others on any.
public protocol DeviceServer: AnyObject, Sendable {
    // MARK: What it is

    /// Names and serial numbers.
    var identity: DeviceIdentity { get }
    /// The fields of standard INQUIRY data that depend on the device type.
    var traits: InquiryTraits { get }
    /// The attributes of its commands.
    var commands: CommandSet { get }
    /// Which variant of `commands` is in force for commands that come now.
    var commandVariant: Int { get }
    var modePages: ModePages { get }
    /// The nexuses of its logical unit, made by the device server: `AttachedNexuses()`.
    var attachedNexuses: AttachedNexuses { get }
    /// The reactor of a serial unit: one command at a time is performed there, over all nexuses (TST 000b), whatever
    /// reactors their sessions are on. Nil when every nexus has a task set of its own (TST 001b, SPC-5 clause 7.5.8),
    /// on its reactor.
    var homeReactor: Reactor? { get }

    // MARK: Commands

    /// Runs the first handler of a row: `table.begin(command, self, task, nexus)`. For a command with Data-Out it only
    /// checks, and may be called more than once.
    func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress

    /// Runs the second handler of a row, when the Data-Out is there: `table.execute(command, self, task, nexus)`.
    func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress

    /// Continues a pending task whose file operation is complete (`task.fileRequest` has its result).
    func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress

    /// Releases what an aborted task holds when its file operation is complete; `fileCompleted` is not called then.
    func fileAbandoned(_ task: SCSITask, _ nexus: ITLNexus)

    /// The outcome of a command that the table does not have.
    func unknownCommand(_ lookup: CommandLookup, _ task: SCSITask) -> CommandProgress

    // MARK: Conditions

    /// Why commands that need a ready unit cannot be performed now; nil when the unit is ready.
    var notReadySense: SenseData? { get }

    /// Why a command of a row is refused now whatever its fields say; nil when it is not. It is asked only of commands
    /// with a bit that must not be set.
    func overridingSense(_ command: Int) -> SenseData?

    /// Why commands that change the medium cannot be performed now; nil when it may be written.
    var writeProtectionSense: SenseData? { get }

    /// A number that changes with each medium that comes or goes. A command whose Data-Out was fetched for another
    /// medium than the one present at its turn ends with MEDIUM MAY HAVE CHANGED.
    var mediumGeneration: UInt32 { get }

    /// What REQUEST SENSE reports when neither a unit attention nor a deferred error is pending.
    func polledSense(_ nexus: ITLNexus) -> SenseData

    /// Why a self-test fails; nil when the device knows of nothing that is wrong. It must not wait.
    var selfTestFailure: SenseData? { get }

    /// Whether there are idle and standby power conditions, and a Power Condition mode page with their timers.
    var hasPowerConditions: Bool { get }

    /// Whether written data may be in a volatile cache: V_SUP of the Extended INQUIRY Data page.
    var hasVolatileCache: Bool { get }

    /// Whether WRITE BUFFER downloads microcode, which changes PRODUCT REVISION LEVEL and nothing else.
    var acceptsMicrocode: Bool { get }

    // MARK: INQUIRY

    /// SPT, GRD_CHK, APP_CHK and REF_CHK of the Extended INQUIRY Data page, in its fifth byte.
    var protectionChecks: UInt8 { get }

    /// Standard INQUIRY data, made from what SPC says of all types.
    func standardInquiryData(_ standard: [UInt8]) -> [UInt8]

    /// The codes of the VPD pages that `vitalProductData` makes, besides 00h, 80h, 83h and 86h to 88h, which it may
    /// replace, and 8Ah where there are power conditions.
    var vitalProductDataPages: [UInt8] { get }

    /// The bytes of a VPD page from byte 4 on; nil when the page is not supported.
    func vitalProductData(page: UInt8, nexus: ITLNexus) -> [UInt8]?

    // MARK: Mode parameters

    /// DEVICE-SPECIFIC PARAMETER of the mode parameter header.
    func deviceSpecificModeParameter(_ nexus: ITLNexus) -> UInt8

    /// MEDIUM TYPE of the mode parameter header.
    func modeMediumType(_ nexus: ITLNexus) -> UInt8

    /// The mode parameter block descriptor, 8 bytes (or 16 when `isLong`), or none.
    func modeBlockDescriptor(_ nexus: ITLNexus, isLong: Bool) -> [UInt8]

    /// A mode page as this nexus sees it, with the fields that are not stored in the page.
    func modePageContent(_ page: ModePage, control: ModePageControl, nexus: ITLNexus) -> [UInt8]

    /// Takes the header's device-specific parameter and the block descriptor (empty when there is none) of a MODE
    /// SELECT. Called with `isCommitting` false first, to check everything before anything changes; the answer is
    /// sense data when they are refused.
    func selectModeHeader(_ header: ModeSelectHeader, nexus: ITLNexus, isCommitting: Bool) -> SenseData?

    /// Checks a changed mode page, which already satisfied its changeable mask; `offset` is where its content begins
    /// in the parameter list.
    func checkModePage(_ page: ModePage, newContent: [UInt8], offset: Int, nexus: ITLNexus) -> SenseData?

    /// The changes that a MODE SELECT makes, all of them checked: those that it asks for, and those of other pages that
    /// say the same in another place.
    func completeModeChanges(_ changes: [ModePageChange]) -> [ModePageChange]

    /// A mode page has new current values. Called with the lock of the mode pages held, so that values arrive in the
    /// order of their changes; it must not use `modePages`.
    func modePageChanged(_ page: ModePage)

    /// A MODE SELECT that changed those pages is about to end with GOOD: the last steps of the command, for example
    /// making data durable that a disabled write cache may not hold back.
    func modeSelectEnding(_ task: SCSITask, _ nexus: ITLNexus, changed pages: [ModePage]) -> CommandProgress

    // MARK: Log pages

    /// The codes of the log pages that `logPage` makes, sorted, without page 00h.
    var logPages: [UInt8] { get }

    /// The log parameters of a log page, from byte 4 on; nil when there is no such page. Reading changes nothing.
    func logPage(_ code: UInt8, subpage: UInt8, nexus: ITLNexus) -> [UInt8]?

    /// The log pages that the logical unit makes of what it counts, beside those of `logPages`.
    var commonLogPages: [CommonLogPage] { get }

    /// The logical block length in bytes that General Statistics and Performance counts in.
    var logicalBlockLength: Int { get }

    /// LOG SENSE has reported the parameters of those codes, all bytes of each, and ends with GOOD: what is cleared by
    /// reading (TapeAlert) is cleared for this nexus now.
    func logParametersReported(_ codes: ClosedRange<UInt16>, page: UInt8, nexus: ITLNexus)

    // MARK: Events

    /// A nexus has been attached.
    func nexusEstablished(_ nexus: ITLNexus)

    /// A nexus has been detached.
    func nexusLost(_ nexus: ITLNexus)

    /// The effects of a logical unit reset that are the type's own (SAM-5 clause 6.3.3); the mode pages have their
    /// saved values again, or their defaults.
    func logicalUnitReset()
}

/// The mode parameter header and block descriptor of a MODE SELECT.
public struct ModeSelectHeader: Sendable {
    public let deviceSpecificParameter: UInt8
    /// Where that byte is in the parameter list, for field pointers.
    public let deviceSpecificParameterOffset: Int
    /// The block descriptor: 0, 8 or 16 bytes.
    public let blockDescriptor: [UInt8]
    /// Where it begins in the parameter list.
    public let blockDescriptorOffset: Int
}

/// New current values of a mode page.
public struct ModePageChange: Sendable {
    /// The page as it is.
    public let page: ModePage
    /// What its content becomes.
    public internal(set) var content: [UInt8]
    /// Ones where bits change that MODE SELECT may not change, for they follow others; zeros may be missing at the end.
    private(set) var following: [UInt8] = []

    public init(_ page: ModePage, content: [UInt8]) {
        self.page = page
        self.content = content
    }

    /// The change of all bits to the defaults.
    init(toDefaultsOf page: ModePage) {
        self.init(page, content: page.defaults)
        following = zip(page.current, page.defaults).map { $0 ^ $1 }
    }

    /// Has the bits of `mask` in the byte at `index` become those of `value`, whether MODE SELECT may change them or
    /// not: they follow others.
    public mutating func follow(_ index: Int, to value: UInt8, mask: UInt8) {
        content[index] = content[index] & ~mask | value
        following += [UInt8](repeating: 0, count: max(0, index + 1 - following.count))
        following[index] |= mask
    }
}

extension DeviceServer {
    public var commandVariant: Int { 0 }

    public func unknownCommand(_ lookup: CommandLookup, _ task: SCSITask) -> CommandProgress {
        refuseUnknown(lookup, task)
    }

    /// What SPC says of a command that the table does not have.
    public func refuseUnknown(_ lookup: CommandLookup, _ task: SCSITask) -> CommandProgress {
        lookup == .unknownServiceAction
            ? task.commandDescriptorBlock.isVariableLength
                ? task.failInvalidField(byte: 8) : task.failInvalidField(byte: 1, bit: 4)
            : task.fail(
                SenseData(
                    .illegalRequest, .invalidCommandOperationCode,
                    fieldPointer: FieldPointer(isInCommand: true, byte: 0)))
    }

    public func fileAbandoned(_ task: SCSITask, _ nexus: ITLNexus) { task.fileRequest.payload.lease = nil }
    public var notReadySense: SenseData? { nil }
    public func overridingSense(_ command: Int) -> SenseData? { nil }
    public var writeProtectionSense: SenseData? { nil }
    public var homeReactor: Reactor? { nil }
    public var mediumGeneration: UInt32 { 0 }
    public func polledSense(_ nexus: ITLNexus) -> SenseData {
        notReadySense ?? SenseData(.noSense, .noAdditionalSenseInformation)
    }
    public var protectionChecks: UInt8 { 0 }
    public func standardInquiryData(_ standard: [UInt8]) -> [UInt8] { standard }
    public var vitalProductDataPages: [UInt8] { [] }
    public func vitalProductData(page: UInt8, nexus: ITLNexus) -> [UInt8]? { nil }
    public func deviceSpecificModeParameter(_ nexus: ITLNexus) -> UInt8 { 0 }
    public func modeMediumType(_ nexus: ITLNexus) -> UInt8 { 0 }
    public func modeBlockDescriptor(_ nexus: ITLNexus, isLong: Bool) -> [UInt8] { [] }
    public func modePageContent(_ page: ModePage, control: ModePageControl, nexus: ITLNexus) -> [UInt8] {
        page.content(control)
    }
    public func selectModeHeader(_ header: ModeSelectHeader, nexus: ITLNexus, isCommitting: Bool) -> SenseData? { nil }
    public func checkModePage(_ page: ModePage, newContent: [UInt8], offset: Int, nexus: ITLNexus) -> SenseData? { nil }
    public func completeModeChanges(_ changes: [ModePageChange]) -> [ModePageChange] { changes }
    public func modePageChanged(_ page: ModePage) {}
    public func modeSelectEnding(_ task: SCSITask, _ nexus: ITLNexus, changed pages: [ModePage]) -> CommandProgress {
        task.good()
    }
    public var selfTestFailure: SenseData? { nil }
    public var hasPowerConditions: Bool { false }
    public var acceptsMicrocode: Bool { false }
    public var hasVolatileCache: Bool { false }
    public var commonLogPages: [CommonLogPage] { [] }
    public var logicalBlockLength: Int { 1 }
    public var logPages: [UInt8] { [] }
    public func logPage(_ code: UInt8, subpage: UInt8, nexus: ITLNexus) -> [UInt8]? { nil }
    public func logParametersReported(_ codes: ClosedRange<UInt16>, page: UInt8, nexus: ITLNexus) {}
    public func nexusEstablished(_ nexus: ITLNexus) {}
    public func nexusLost(_ nexus: ITLNexus) {}
    public func logicalUnitReset() {}
}

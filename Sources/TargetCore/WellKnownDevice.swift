internal import SCSI

/// The device server of a well known logical unit (SPC-5 clause 8). Every target has these, whatever is in its map, and
/// they keep nothing.
final class WellKnownDevice: DeviceServer {
    let identity = DeviceIdentity(
        vendor: "CAROUSEL", product: "WELL KNOWN UNIT", revision: "0001", serialNumber: "", naa: 0)
    let traits = InquiryTraits(type: .wellKnownLogicalUnit)
    let modePages = ModePages([])
    let attachedNexuses = AttachedNexuses()
    let commands: CommandSet
    private let table: CommandTable<WellKnownDevice>

    private init(_ own: [CommandDescriptor<WellKnownDevice>]) {
        table = CommandTable(
            [CommonCommands.testUnitReady(), CommonCommands.inquiry(), CommonCommands.requestSense()] + own)
        commands = table.commands
    }

    /// REPORT LUNS, C101h (clause 8.2).
    private static let reportLUNs = LogicalUnit(WellKnownDevice([CommonCommands.reportLUNs()]))
    /// TARGET LOG PAGES, C103h (clause 8.4). The target has no log page but 00h, the list of them.
    private static let targetLogPages = LogicalUnit(WellKnownDevice(CommonCommands.logs()))

    /// Their numbers, in order. There is no ACCESS CONTROLS unit (C102h).
    static let numbers: [LogicalUnitNumber] = [.reportLUNsWellKnown, .targetLogPagesWellKnown]

    /// The well known logical unit of that number; nil when there is none.
    static func unit(_ number: LogicalUnitNumber) -> LogicalUnit? {
        switch number {
        case .reportLUNsWellKnown: reportLUNs
        case .targetLogPagesWellKnown: targetLogPages
        default: nil
        }
    }

    func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        table.begin(command, self, task, nexus)
    }

    func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        table.execute(command, self, task, nexus)
    }

    func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        task.fail(.hardwareError, .internalTargetFailure)
    }
}

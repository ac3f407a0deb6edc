import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TargetCore
import Testing

/// A small device type: commands that wait until the test lets them go, one that takes data, and mode pages.
final class ExampleDevice: DeviceServer, @unchecked Sendable {
    static let wait: UInt8 = 0xC0
    static let waitAlone: UInt8 = 0xC1
    static let take: UInt8 = 0xC2

    private static let ownCommands: [CommandDescriptor<ExampleDevice>] = [
        CommandDescriptor(wait, "WAIT", usage: [0, 0, 0, 0xFF, 0]) { device, task, _ in device.hold(task) },
        CommandDescriptor(waitAlone, "WAIT ALONE", usage: [0, 0, 0, 0xFF, 0], ordering: .exclusive) { device, task, _ in
            device.hold(task)
        },
        CommandDescriptor(
            take, "TAKE", usage: [0, 0, 0, 0xFF, 0], direction: .dataOut, conditions: .writesMedium,
            begin: { device, task, _ in
                device.refusesData
                    ? task.fail(.notReady, .becomingReady)
                    : .awaitDataOut(length: Int(task.commandDescriptorBlock[4]))
            },
            execute: { device, task, _ in
                device.taken.append(task.parameterList())
                return task.good()
            }),
    ]
    private static let commonCommands: [CommandDescriptor<ExampleDevice>] = [
        CommonCommands.testUnitReady(), CommonCommands.inquiry(), CommonCommands.requestSense(),
        CommonCommands.reportLUNs(), CommonCommands.preventAllowMediumRemoval(),
    ]
    /// Sense data as only another device makes it.
    static let foreignSense: [UInt8] = [0x70, 0, 0x09, 0, 0, 0, 0, 12] + [UInt8](repeating: 0xEE, count: 12)

    private static let wildcard = CommandDescriptor<ExampleDevice>.wildcard(
        begin: { _, task, _ in
            task.expectedDataOutLength > 0
                ? .awaitDataOut(length: task.expectedDataOutLength) : task.failVerbatim(foreignSense)
        },
        execute: { device, task, _ in
            device.taken.append(task.parameterList())
            return task.good()
        })
    private static let bridgeTable = CommandTable<ExampleDevice>(
        commonCommands + CommonCommands.reportSupported(), wildcard: wildcard)
    private static let table = CommandTable<ExampleDevice>(
        ownCommands + commonCommands + CommonCommands.modeParameters() + CommonCommands.reservations()
            + CommonCommands.persistentReservations() + CommonCommands.targetPortGroups()
            + CommonCommands.reportSupported() + CommonCommands.logs() + CommonCommands.diagnostics()
            + CommonCommands.unitParameters() + CommonCommands.buffers())

    /// The tasks that wait, by the byte 4 of their command; on the reactor.
    var held: [UInt8: SCSITask] = [:]
    /// In which order commands began.
    var begun: [UInt8] = []
    private let beginnings = Arrivals()
    var taken: [[UInt8]] = []
    var isReady = true
    var isProtected = false
    var resets = 0

    let identity = DeviceIdentity(
        vendor: "CAROUSEL", product: "EXAMPLE", revision: "1", serialNumber: "EX0001", naa: 0x3000_0000_0000_0001)
    let traits = InquiryTraits(type: .directAccessBlock, isRemovable: true)
    let commands: CommandSet
    let modePages = ModePages(
        ControlModePage.addingPage(toSerialUnit: [
            ModePage(code: 0x0A, [0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ModePage(code: 0x08, [UInt8](repeating: 0, count: 18)),
            ModePage(code: 0x0A, subpage: 0x01, [0, 1, 2, 3], changeable: [1]),
        ]))
    let attachedNexuses = AttachedNexuses()
    let homeReactor: Reactor?

    private let table: CommandTable<ExampleDevice>
    var mediumGeneration: UInt32 = 0
    /// Whether TAKE is refused before it asks for its data.
    var refusesData = false
    /// The pages that the unit makes.
    var commonLogPages: [CommonLogPage] = []
    var selfTestFailure: SenseData?
    var acceptsMicrocode = false
    /// What LOG SENSE has told of page 2Eh.
    var reportedParameters: [ClosedRange<UInt16>] = []

    init(homeReactor: Reactor? = nil, hasWildcard: Bool = false) {
        self.homeReactor = homeReactor
        table = hasWildcard ? Self.bridgeTable : Self.table
        commands = table.commands
    }

    private func hold(_ task: SCSITask) -> CommandProgress {
        held[task.commandDescriptorBlock[4]] = task
        begun.append(task.commandDescriptorBlock[4])
        beginnings.add()
        return .pending
    }

    /// Waits until the command of that name is the last that has begun; its reactor is that of `port`.
    func waitUntilBegun(_ name: UInt8, on port: InMemoryPort) {
        beginnings.wait {
            let last = Lock<UInt8?>(nil)
            port.onReactor { last.withLock { $0 = self.begun.last } }
            return last.withLock { $0 } == name
        }
    }

    /// Ends the command that waits under that name; on the reactor.
    func letGo(_ name: UInt8) {
        guard let task = held.removeValue(forKey: name) else { return }
        _ = task.good()
        task.finish()
    }

    func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        table.begin(command, self, task, nexus)
    }
    func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        table.execute(command, self, task, nexus)
    }
    func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress { task.good() }
    var notReadySense: SenseData? { isReady ? nil : SenseData(.notReady, .mediumNotPresent) }
    func polledSense(_ nexus: ITLNexus) -> SenseData { SenseData(.noSense, .noAdditionalSenseInformation) }
    var writeProtectionSense: SenseData? { isProtected ? SenseData(.dataProtect, .writeProtected) : nil }
    var logPages: [UInt8] { [0x2E] }
    func logPage(_ code: UInt8, subpage: UInt8, nexus: ITLNexus) -> [UInt8]? {
        code == 0x2E && subpage == 0 ? (UInt8(1)...3).flatMap { [0, $0, 0x03, 1, 1] } : nil
    }
    func logParametersReported(_ codes: ClosedRange<UInt16>, page: UInt8, nexus: ITLNexus) {
        reportedParameters.append(codes)
    }
    func logicalUnitReset() { resets += 1 }
}

/// A target with one example unit, and as many initiators as a test wants.
final class UnitFixture: @unchecked Sendable {
    let reactor = TestReactors.first
    let otherReactor = TestReactors.second
    let device: ExampleDevice
    let unit: LogicalUnit
    let target: Target

    init(isSerial: Bool = false, whenMicrocodeChanged: (@Sendable (MicrocodeChange) -> Void)? = nil) {
        device = ExampleDevice(homeReactor: isSerial ? TestReactors.first : nil)
        unit = LogicalUnit(device, whenMicrocodeChanged: whenMicrocodeChanged)
        target = Target(
            name: "iqn.2026-11.dev.carousel:example", alias: "", homeReactor: isSerial ? TestReactors.first : nil)
        target.map(unit, at: 0)
    }

    /// An initiator that has seen its unit attentions.
    func initiator(_ name: String = "iqn.2026-11.test:a", on reactor: Reactor? = nil) -> InMemoryPort {
        let port = InMemoryPort(name, target: target, reactor: reactor ?? self.reactor)
        port.clearUnitAttentions()
        return port
    }
}

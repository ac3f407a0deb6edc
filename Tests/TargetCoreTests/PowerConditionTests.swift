import Bytes
import DeviceTestSupport
import Platform
import SCSI
import Testing

@testable import TargetCore

/// A device with power conditions, and a command that needs its medium.
private final class PowerDevice: DeviceServer, @unchecked Sendable {
    private static let use = CommandDescriptor<PowerDevice>(
        OperationCode.read6, "READ(6)", usage: [0, 0, 0, 0, 0]
    ) { _, task, _ in task.good() }
    private static let table = CommandTable<PowerDevice>(
        [use, CommonCommands.testUnitReady(), CommonCommands.inquiry(), CommonCommands.requestSense()]
            + CommonCommands.modeParameters() + CommonCommands.logs())

    let identity = DeviceIdentity(vendor: "CAROUSEL", product: "POWER", revision: "1", serialNumber: "P1", naa: 3)
    let traits = InquiryTraits(type: .directAccessBlock)
    let commands = PowerDevice.table.commands
    let modePages = ModePages([
        ModePage(
            code: 0x1A, [UInt8](repeating: 0, count: 38), changeable: [0, 3] + [UInt8](repeating: 0xFF, count: 8))
    ])
    let attachedNexuses = AttachedNexuses()
    var hasPowerConditions: Bool { true }
    var commonLogPages: [CommonLogPage] { [.powerConditionTransitions, .startStopCycles] }

    func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        Self.table.begin(command, self, task, nexus)
    }
    func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        Self.table.execute(command, self, task, nexus)
    }
    func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress { task.good() }
}

@Suite("Power conditions")
final class PowerConditionTests {
    private let clock = ManualClock()
    private let threads: FileEngine
    private let reactor: Reactor
    private let unit = LogicalUnit(PowerDevice())
    private let target = Target(name: "iqn.2026-11.dev.carousel:power", alias: "", homeReactor: nil)

    init() throws {
        threads = try FileEngine(threads: 1)
        reactor = try Reactor.start(name: "power", poolLimit: 1 << 24, fileEngine: threads, clock: clock.clock)
        target.map(unit, at: 0)
    }

    deinit {
        reactor.stop()
        threads.stop()
    }

    private func initiator(_ name: String = "a") -> InMemoryPort {
        let port = InMemoryPort("iqn.2026-11.test:\(name)", target: target, reactor: reactor)
        port.clearUnitAttentions()
        return port
    }

    /// Sets the timers in units of 100 ms; nil leaves one disabled.
    private func setTimers(_ port: InMemoryPort, idle: UInt32?, standby: UInt32?, flags: UInt8 = 0) {
        var page: [UInt8] = [0x1A, 38, 0, (idle == nil ? 0 : 2) | (standby == nil ? 0 : 1)]
        page.appendBE32(idle ?? 0)
        page.appendBE32(standby ?? 0)
        #expect(port.modeSelect(page + [UInt8](repeating: 0, count: 28), flags: flags).status == .good)
    }

    /// What REQUEST SENSE reports.
    private func sense(_ port: InMemoryPort) -> AdditionalSenseCode? {
        let data = port.execute([OperationCode.requestSense, 0, 0, 0, 252, 0])
        return SenseData(parsing: data.dataIn.rawSpan)?.additionalSenseCode
    }

    /// Lets time pass in steps of 100 ms, in each of which the reactor has its timers run.
    private func pass(tenths: Int, _ port: InMemoryPort) {
        for _ in 0..<tenths {
            clock.advance(by: .milliseconds(100), on: [reactor])
            for _ in 0..<2 { port.onReactor {} }
        }
    }

    private func change(_ port: InMemoryPort, _ condition: UInt8, modifier: UInt8 = 0) -> Bool {
        let isDone = Lock(false)
        port.onReactor { [unit, reactor] in
            isDone.withLock { $0 = unit.changePowerCondition(condition, modifier: modifier, on: reactor) }
        }
        return isDone.withLock { $0 }
    }

    private func use(_ port: InMemoryPort) {
        #expect(port.execute([OperationCode.read6, 0, 0, 0, 0, 0]).status == .good)
    }

    @Test("Timers lead to idle and then standby; what only asks leaves them, what needs the medium ends them")
    func timers() {
        let (port, other) = (initiator(), initiator("b"))
        #expect(sense(port) == .noAdditionalSenseInformation)
        setTimers(port, idle: 16, standby: 40)
        other.clearUnitAttentions()
        pass(tenths: 12, port)
        #expect(sense(port) == .noAdditionalSenseInformation)
        pass(tenths: 8, port)
        #expect(sense(port) == .idleConditionActivatedByTimer && sense(other) == .idleConditionActivatedByTimer)
        #expect(port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        #expect(sense(port) == .idleConditionActivatedByTimer)
        pass(tenths: 26, port)
        #expect(sense(port) == .standbyConditionActivatedByTimer)
        // Of any nexus, one that came meanwhile too.
        use(initiator("c"))
        #expect(sense(port) == .noAdditionalSenseInformation)
        pass(tenths: 20, port)
        #expect(sense(port) == .idleConditionActivatedByTimer)
        let transitions = logParameters(port.logSense(0x1A).dataIn).mapValues(\.value)
        #expect(transitions == [1: [0, 0, 0, 1], 2: [0, 0, 0, 2], 8: [0, 0, 0, 1]])
    }

    @Test("A unit that is used stays active, and one without timers too")
    func activity() {
        let port = initiator()
        setTimers(port, idle: 16, standby: nil)
        for _ in 0..<10 {
            use(port)
            pass(tenths: 8, port)
        }
        #expect(sense(port) == .noAdditionalSenseInformation)
        setTimers(port, idle: nil, standby: nil)
        pass(tenths: 100, port)
        #expect(sense(port) == .noAdditionalSenseInformation && reactor.pendingTimersOnReactor(port) == 0)
    }

    @Test("A command sets a condition and stops the timers, until control returns to them, or a reset")
    func commanded() {
        let port = initiator()
        setTimers(port, idle: 16, standby: 40)
        #expect(change(port, 3) && sense(port) == .standbyConditionActivatedByCommand)
        #expect(change(port, 2) && sense(port) == .idleConditionActivatedByCommand)
        use(port)
        #expect(sense(port) == .noAdditionalSenseInformation)
        pass(tenths: 60, port)
        #expect(sense(port) == .noAdditionalSenseInformation)
        #expect(change(port, 7))
        pass(tenths: 22, port)
        #expect(sense(port) == .idleConditionActivatedByTimer)
        #expect(change(port, 1) && sense(port) == .noAdditionalSenseInformation)
        #expect(change(port, 2) && port.manage(.logicalUnitReset) == .complete)
        port.clearUnitAttentions()
        #expect(sense(port) == .noAdditionalSenseInformation)
    }

    @Test("A timer is forced to expire when it is enabled; other conditions there are not")
    func forced() {
        let port = initiator()
        #expect(!change(port, 0xA) && !change(port, 0xB))
        setTimers(port, idle: 600, standby: 600)
        #expect(change(port, 0xA) && sense(port) == .idleConditionActivatedByTimer)
        #expect(change(port, 0xB) && sense(port) == .standbyConditionActivatedByTimer)
        for condition in [UInt8(0), 4, 5, 6, 8, 9, 12] { #expect(!change(port, condition)) }
        #expect(!change(port, 2, modifier: 1) && !change(port, 3, modifier: 1))
    }

    @Test("Commands that start the timers again and again leave one look pending, and it finds them expired")
    func oneLook() {
        let port = initiator()
        setTimers(port, idle: 36_000, standby: nil)
        setTimers(port, idle: 16, standby: nil)
        port.onReactor { [unit, reactor] in
            for _ in 0..<10_000 { _ = unit.changePowerCondition(7, modifier: 0, on: reactor) }
        }
        #expect(reactor.pendingTimersOnReactor(port) == 1)
        // What was pending for the long timer.
        clock.advance(by: .seconds(61), on: [reactor])
        for _ in 0..<2 { port.onReactor {} }
        #expect(sense(port) == .idleConditionActivatedByTimer)
        #expect(reactor.pendingTimersOnReactor(port) == 0)
    }

    @Test("Saved timers run after a restart, from the first command of an initiator")
    func saved() {
        unit.keepParameters(
            with: ParameterStore([
                KeptParameter(.modePage, 0x1A00): [0, 2, 0, 0, 0, 16] + [UInt8](repeating: 0, count: 32)
            ]))
        let port = initiator()
        pass(tenths: 22, port)
        #expect(sense(port) == .idleConditionActivatedByTimer)
    }

    @Test("The Power Condition VPD page has what the unit has")
    func page() {
        let data = initiator().execute([OperationCode.inquiry, 1, 0x8A, 0, 255, 0]).dataIn
        #expect(data == [0, 0x8A, 0, 14, 1, 1] + [UInt8](repeating: 0, count: 12))
    }
}

extension Reactor {
    /// How many timers are pending, asked on the reactor.
    fileprivate func pendingTimersOnReactor(_ port: InMemoryPort) -> Int {
        let count = Lock(-1)
        port.onReactor { count.withLock { $0 = self.pendingTimers } }
        return count.withLock { $0 }
    }
}

import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TestSupport
import Testing

@testable import TargetCore

@Suite("Access states of target port groups")
struct AccessStateTests {
    private let fixture = UnitFixture()
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
    private let inquiry: [UInt8] = [OperationCode.inquiry, 0, 0, 0, 96, 0]

    private func polledSense(_ port: InMemoryPort) -> SenseData? {
        SenseData(parsing: port.execute([OperationCode.requestSense, 0, 0, 0, 252, 0]).dataIn.rawSpan)
    }

    @Test("every row says in which states it is performed")
    func rows() { #expect(AccessStateTable.differences(fixture.unit.commands) == []) }

    @Test(
        "what a state does not allow ends with its sense, through the ports of its group only",
        arguments: [
            (AsymmetricAccessState.standby, AdditionalSenseCode.targetPortInStandbyState),
            (.unavailable, .targetPortInUnavailableState), (.offline, .notReadyOffline),
        ])
    func states(state: AsymmetricAccessState, code: AdditionalSenseCode) {
        let (one, two) = (fixture.initiator("a", port: 1), fixture.initiator("b", port: 2, on: fixture.otherReactor))
        #expect(fixture.setAccessState(2, state) == .done)
        // Who logs in later is stopped too.
        let late = fixture.initiator("c", port: 2)
        two.clearUnitAttentions()
        one.clearUnitAttentions()
        let isStandby = state == .standby
        for port in [two, late] {
            let refusal = SenseData(.notReady, code)
            #expect(port.execute(testUnitReady).sense == refusal)
            #expect(port.execute([ExampleDevice.take, 0, 0, 0, 1, 0], dataOut: [1]).sense == refusal)
            #expect(port.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).sense == refusal)
            for command: [UInt8] in [
                [OperationCode.modeSense6, 0, 0x0A, 0, 255, 0],
                [OperationCode.logSense, 0, 0x2E, 0, 0, 0, 0, 0, 255, 0],
                [OperationCode.persistentReserveIn, 0, 0, 0, 0, 0, 0, 0, 255, 0],
                [OperationCode.sendDiagnostic, 4, 0, 0, 0, 0],
                [OperationCode.maintenanceIn, 0x0C, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            ] {
                let result = port.execute(command)
                #expect(isStandby ? result.status == .good : result.sense == refusal, "\(command)")
            }
            // PERIPHERAL QUALIFIER.
            #expect(port.execute(inquiry).dataIn.first == (isStandby ? 0x00 : 0x20))
            #expect(port.execute([OperationCode.inquiry, 1, 0x80, 0, 96, 0]).dataIn.first == (isStandby ? 0 : 0x20))
            let luns = port.execute([OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0])
            #expect(luns.status == .good && luns.dataIn.count == 16)
            #expect(polledSense(port) == (isStandby ? refusal : SenseData(.illegalRequest, .logicalUnitNotSupported)))
            #expect(port.accessStates() == [1: 0, 2: state.rawValue])
        }
        #expect(one.execute(testUnitReady).status == .good && one.execute(inquiry).dataIn.first == 0)
        #expect(fixture.device.taken.isEmpty)
        // From standby and unavailable an initiator brings it back itself.
        let result = late.setTargetPortGroups([(0, 2)])
        if state == .offline {
            #expect(result.sense == SenseData(.notReady, code))
            #expect(fixture.setAccessState(2, .activeOptimized) == .done)
            late.clearUnitAttentions()
        } else {
            #expect(result.status == .good)
        }
        #expect(late.execute(testUnitReady).status == .good)
    }

    @Test("a unit attention comes before the access state, a reservation too, and neither is taken by REQUEST SENSE")
    func order() {
        let port = fixture.initiator("a", port: 2)
        fixture.setAccessState(2, .unavailable)
        // What INQUIRY says is not there has no other sense, and loses none.
        #expect(polledSense(port) == SenseData(.illegalRequest, .logicalUnitNotSupported))
        #expect(port.execute(testUnitReady).sense == SenseData(.unitAttention, .asymmetricAccessStateChanged))
        #expect(port.execute(testUnitReady).sense == SenseData(.notReady, .targetPortInUnavailableState))
        let other = fixture.initiator("b", port: 1)
        #expect(other.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .good)
        #expect(port.execute(testUnitReady).status == .reservationConflict)
        #expect(port.accessStates()[2] == 3)
        #expect(port.setTargetPortGroups([(0, 2)]).status == .reservationConflict)
    }

    @Test("active/non-optimized allows everything")
    func nonOptimized() {
        let port = fixture.initiator("a", port: 1)
        #expect(fixture.setAccessState(1, .activeNonOptimized) == .done)
        #expect(port.clearUnitAttentions() == [.asymmetricAccessStateChanged])
        #expect(port.execute([ExampleDevice.take, 0, 0, 0, 1, 0], dataOut: [1]).status == .good)
        #expect(port.accessStates() == [1: 1, 2: 0])
    }

    @Test("each other nexus is told once, of a preference too; of what is as before nobody is")
    func attentions() {
        let (one, two) = (fixture.initiator("a", port: 1), fixture.initiator("b", port: 2, on: fixture.otherReactor))
        #expect(one.setTargetPortGroups([(1, 1)]).status == .good)
        #expect(one.clearUnitAttentions() == [] && two.clearUnitAttentions() == [.asymmetricAccessStateChanged])
        #expect(two.setTargetPortGroups([(1, 1), (0, 2)]).status == .good)
        #expect(one.clearUnitAttentions() == [] && two.clearUnitAttentions() == [])
        #expect(fixture.setAccessState(1, .activeNonOptimized, isPreferred: true) == .done)
        for port in [one, two] { #expect(port.clearUnitAttentions() == [.asymmetricAccessStateChanged]) }
        // Only the time of the next transition.
        #expect(fixture.setAccessState(1, .activeNonOptimized, isPreferred: true, time: 9) == .done)
        for port in [one, two] { #expect(port.clearUnitAttentions() == []) }
    }

    @Test("what is kept is there again; nothing is in force or told before it is durable")
    func keeping() throws {
        let keeper = AccessKeeper(isQuick: false)
        fixture.unit.attachedNexuses.keepAccessStates(with: keeper)
        let (one, two) = (fixture.initiator("a", port: 1), fixture.initiator("b", port: 2))
        let results = Results()
        let list = InMemoryPort.setTargetPortGroupsList([(2, 2)])
        one.submit(InMemoryPort.setTargetPortGroupsCommand(length: list.count), dataOut: list) { results.add($0) }
        while keeper.waiting == 0 { sleepMilliseconds(1) }
        #expect(results.statuses.isEmpty && two.accessStates()[2] == 0 && two.execute(testUnitReady).status == .good)
        // One change at a time.
        #expect(two.setTargetPortGroups([(1, 1)]).sense == SenseData(.notReady, .asymmetricAccessStateTransition))
        #expect(fixture.setAccessState(1, .standby) == .busy)
        keeper.end(true)
        while results.statuses.isEmpty { sleepMilliseconds(1) }
        #expect(results.statuses == [.good] && two.clearUnitAttentions() == [.asymmetricAccessStateChanged])
        #expect(two.accessStates()[2] == 2)
        let wanted = [AccessStateRecord(group: 2, state: .standby, cause: .explicit)]
        #expect(keeper.records == [wanted])

        let second = UnitFixture()
        second.unit.attachedNexuses.keepAccessStates(with: AccessKeeper(wanted))
        let late = second.initiator("a", port: 2)
        #expect(late.execute(testUnitReady).sense == SenseData(.notReady, .targetPortInStandbyState))
        #expect(second.unit.attachedNexuses.accessStates.map(\.record) == wanted)
        #expect(late.reportTargetPortGroups().dataIn.suffix(12) == [2, 0xCF, 0, 2, 0, 1, 0, 1, 0, 0, 0, 2])
    }

    @Test("what cannot be kept fails: the initiator's by its answer, the operator's with a unit attention for all")
    func failure() {
        let keeper = AccessKeeper(isQuick: false)
        fixture.unit.attachedNexuses.keepAccessStates(with: keeper)
        let (one, two) = (fixture.initiator("a", port: 1), fixture.initiator("b", port: 2, on: fixture.otherReactor))
        let results = Results()
        let senses = Lock<[SenseData?]>([])
        let list = InMemoryPort.setTargetPortGroupsList([(3, 2)])
        one.submit(InMemoryPort.setTargetPortGroupsCommand(length: list.count), dataOut: list) { result in
            senses.withLock { $0.append(result.sense) }
            results.add(result)
        }
        keeper.end(false)
        while results.statuses.isEmpty { sleepMilliseconds(1) }
        #expect(senses.withLock { $0 } == [SenseData(.hardwareError, .setTargetPortGroupsCommandFailed)])
        for port in [one, two] { #expect(port.clearUnitAttentions() == [] && port.accessStates() == [1: 0, 2: 0]) }

        let outcome = Lock<AccessStateOutcome?>(nil)
        fixture.unit.attachedNexuses.setAccessState(
            AccessStateRecord(group: 2, state: .offline), on: fixture.reactor
        ) { found in outcome.withLock { $0 = found } }
        keeper.end(false)
        #expect(outcome.withLock { $0 } == .unkept)
        for port in [one, two] {
            #expect(port.clearUnitAttentions() == [.implicitAsymmetricAccessStateTransitionFailed])
            #expect(port.accessStates() == [1: 0, 2: 0])
        }
    }

    @Test("a transition lasts its time, allows what it may, and ends with a unit attention for the others")
    func transition() throws {
        let clock = ManualClock()
        let reactor = try Reactor.start(
            name: "transition", poolLimit: 1 << 24, fileEngine: TestReactors.first.fileEngine, clock: clock.clock)
        func port(_ name: String, _ identifier: UInt16) -> InMemoryPort {
            let port = InMemoryPort(
                "iqn.2026-11.test:\(name)", target: fixture.target, reactor: reactor, portIdentifier: identifier,
                of: [1, 2])
            port.clearUnitAttentions()
            return port
        }
        let (one, two) = (port("a", 1), port("b", 2))
        func advance(by duration: Duration) {
            clock.advance(by: duration, on: [reactor])
            // A turn that has begun before has the old time; the next one ends with its timers.
            for _ in 0..<2 { one.onReactor {} }
        }
        let outcome = Lock<AccessStateOutcome?>(nil)
        let nexuses = fixture.unit.attachedNexuses
        nexuses.setAccessState(AccessStateRecord(group: 2, state: .standby, transitionTime: 7), on: reactor) { found in
            outcome.withLock { $0 = found }
        }
        #expect(outcome.withLock { $0 } == .done)
        let transition = SenseData(.notReady, .asymmetricAccessStateTransition)
        #expect(two.execute(testUnitReady).sense == transition && polledSense(two) == transition)
        #expect(two.execute([OperationCode.modeSense6, 0, 0x0A, 0, 255, 0]).sense == transition)
        #expect(two.execute(inquiry).dataIn.first == 0 && one.execute(testUnitReady).status == .good)
        #expect(two.accessStates() == [1: 0, 2: 0xF])
        #expect(two.reportTargetPortGroups(format: 1).dataIn[5] == 7)
        #expect(nexuses.accessStates.map(\.isTransitioning) == [true])
        #expect(nexuses.accessStates.map(\.record.state) == [.standby])
        #expect(one.setTargetPortGroups([(0, 1), (0, 2)]).sense == transition, "one change at a time")
        let late = port("c", 2)
        advance(by: .milliseconds(6999))
        for port in [two, late] { #expect(port.execute(testUnitReady).sense == transition) }
        advance(by: .milliseconds(1))
        for port in [one, two, late] { #expect(port.clearUnitAttentions() == [.asymmetricAccessStateChanged]) }
        #expect(two.execute(testUnitReady).sense == SenseData(.notReady, .targetPortInStandbyState))
        // The initiator's own changes of the group take as long; its answer comes before they end.
        #expect(two.setTargetPortGroups([(0, 2)]).status == .good)
        #expect(two.execute(testUnitReady).sense == transition && two.setTargetPortGroups([(2, 2)]).sense == transition)
        advance(by: .seconds(7))
        #expect(two.execute(testUnitReady).status == .good)
        for port in [one, late] { #expect(port.clearUnitAttentions() == [.asymmetricAccessStateChanged]) }
        // One that has gone meanwhile is missed by nobody.
        #expect(late.setTargetPortGroups([(1, 2)]).status == .good)
        late.logOut()
        advance(by: .seconds(7))
        #expect(two.clearUnitAttentions() == [.asymmetricAccessStateChanged] && two.accessStates()[2] == 1)
        for port in [one, two] { port.logOut() }
        reactor.stop()
        // Where no time passes any more, a transition ends at once.
        nexuses.setAccessState(AccessStateRecord(group: 2, state: .offline, transitionTime: 7), on: reactor) { _ in }
        #expect(nexuses.accessStates.map(\.isTransitioning) == [false])
    }

    @Test("a session on another reactor than the unit meets the same")
    func relay() {
        let relay = RelayFixture()
        func port(_ name: String, _ identifier: UInt16, _ reactor: Reactor) -> InMemoryPort {
            let port = InMemoryPort(
                "iqn.2026-11.test:\(name)", target: relay.target, reactor: reactor, portIdentifier: identifier,
                of: [1, 2])
            port.clearUnitAttentions(logicalUnit: 1)
            return port
        }
        let (far, near) = (port("a", 2, relay.away), port("b", 1, relay.home))
        #expect(far.setTargetPortGroups([(2, 2)], logicalUnit: 1).status == .good)
        #expect(far.clearUnitAttentions(logicalUnit: 1) == [])
        #expect(near.clearUnitAttentions(logicalUnit: 1) == [.asymmetricAccessStateChanged])
        let refusal = SenseData(.notReady, .targetPortInStandbyState)
        #expect(far.execute(testUnitReady, logicalUnit: 1).sense == refusal)
        #expect(near.execute(testUnitReady, logicalUnit: 1).status == .good)
        #expect(far.accessStates(logicalUnit: 1) == [1: 0, 2: 2])
        #expect(far.execute(testUnitReady, logicalUnit: 2).sense?.key == .unitAttention, "another unit has its own")
        #expect(far.execute(testUnitReady, logicalUnit: 2).status == .good)
        #expect(near.setTargetPortGroups([(0, 2)], logicalUnit: 1).status == .good)
        #expect(far.clearUnitAttentions(logicalUnit: 1) == [.asymmetricAccessStateChanged])
        #expect(far.execute(testUnitReady, logicalUnit: 1).status == .good)
    }

    @Test("a unit keeps states of so many groups, those in use before those that are as at first")
    func limit() {
        for group in 1...UInt16(AttachedNexuses.accessStateLimit) {
            #expect(fixture.setAccessState(group, .standby) == .done)
        }
        #expect(fixture.setAccessState(9999, .standby) == .tooMany)
        #expect(fixture.setAccessState(9, .activeOptimized) == .done)
        #expect(fixture.setAccessState(9999, .standby) == .done)
        let known = fixture.unit.attachedNexuses.accessStates.map(\.record.group)
        #expect(known.count == AttachedNexuses.accessStateLimit && !known.contains(9) && known.last == 9999)
        let port = fixture.initiator("a", port: 10_000, of: [10_000])
        #expect(port.setTargetPortGroups([(2, 10_000)]).sense == SenseData(.illegalRequest, .insufficientResources))
    }
}

import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import TargetCore
import Testing

@Suite("Auto contingent allegiance (SAM-5 clause 5.9)")
struct ContingentAllegianceTests {
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
    private let inquiry: [UInt8] = [OperationCode.inquiry, 0, 0, 0, 96, 0]
    private let endings = Endings()

    /// A command that ends with CHECK CONDITION, PREVENT 11b, with NACA or without.
    private func failing(isNormalACA: Bool = true) -> [UInt8] {
        [OperationCode.preventAllowMediumRemoval, 0, 0, 0, 3, isNormalACA ? 0x04 : 0]
    }

    private func start(
        _ port: InMemoryPort, _ name: UInt8, alone: Bool = false, _ attribute: TaskAttribute = .simple
    ) -> Int {
        let code = alone ? ExampleDevice.waitAlone : ExampleDevice.wait
        return port.submit([code, 0, 0, 0, name, 0], attribute: attribute, expecting: 0) { [endings] in
            endings.add(name, $0)
        }
    }

    /// Ends the command that waits under that name, on the unit's reactor.
    private func letGo(_ name: UInt8, _ fixture: UnitFixture) {
        let done = DispatchSemaphore(value: 0)
        fixture.reactor.postCompletion {
            fixture.device.letGo(name)
            done.signal()
        }
        done.wait()
    }

    @Test("it keeps commands of the nexus away until CLEAR ACA, but those with the ACA attribute and other nexuses")
    func parallel() {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        #expect(port.execute(failing(isNormalACA: false)).status == .checkCondition)
        #expect(port.execute(testUnitReady).status == .good, "without NACA there is no condition")
        #expect(port.execute(failing()).sense?.additionalSenseCode == .invalidFieldInCDB)
        for command in [testUnitReady, inquiry, [0xFF, 0, 0, 0, 0, 0], [OperationCode.requestSense, 0, 0, 0, 18, 0]] {
            #expect(port.execute(command).status == .acaActive)
        }
        #expect(port.execute(testUnitReady, attribute: .headOfQueue).status == .acaActive)
        #expect(port.execute(testUnitReady, attribute: .autoContingentAllegiance).status == .good)
        #expect(port.execute(inquiry, attribute: .autoContingentAllegiance).status == .good)
        #expect(other.execute(testUnitReady).status == .good)
        #expect(other.execute(testUnitReady, attribute: .autoContingentAllegiance).status == .checkCondition)
        #expect(other.manage(.clearACA) == .complete, "it has no condition, which is no error")
        #expect(port.execute(testUnitReady).status == .acaActive)
        #expect(port.manage(.clearACA) == .complete)
        #expect(port.manage(.clearACA) == .complete)
        #expect(port.execute(testUnitReady).status == .good)
        #expect(port.manage(.clearACA, logicalUnit: 7) == .incorrectLogicalUnitNumber)
    }

    @Test("commands that are blocked stay so, also behind one that ends, and start when the condition ends")
    func blocked() {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        _ = start(port, 1)
        _ = start(port, 2, alone: true)
        #expect(port.execute(failing(), attribute: .headOfQueue).status == .checkCondition)
        letGo(1, fixture)
        #expect(endings[1]?.status == .good)
        #expect(fixture.device.begun == [1])
        #expect(port.execute(testUnitReady).status == .acaActive)
        #expect(port.manage(.clearACA) == .complete)
        #expect(fixture.device.begun == [1, 2])
        letGo(2, fixture)
        #expect(endings[2]?.status == .good)
        #expect(port.execute(testUnitReady).status == .good)
    }

    @Test("commands with the ACA attribute come one at a time, and CLEAR ACA aborts the one that is there")
    func oneAtATime() {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        _ = start(port, 1)
        #expect(port.execute(failing()).status == .checkCondition)
        // It may not run beside the first one, and stays in the set until that ends.
        _ = start(port, 2, alone: true, .autoContingentAllegiance)
        #expect(fixture.device.begun == [1])
        #expect(port.execute(testUnitReady, attribute: .autoContingentAllegiance).status == .acaActive)
        letGo(1, fixture)
        #expect(fixture.device.begun == [1, 2])
        #expect(port.execute(testUnitReady, attribute: .autoContingentAllegiance).status == .acaActive)
        #expect(port.manage(.clearACA, meanwhile: { letGo(2, fixture) }) == .complete)
        #expect(endings[2]?.isAborted == true)
        #expect(port.execute(testUnitReady).status == .good)
    }

    @Test("a command with the ACA attribute that fails ends the condition, or with NACA keeps it")
    func failingACACommand() {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        #expect(port.execute(failing()).status == .checkCondition)
        #expect(port.execute(failing(), attribute: .autoContingentAllegiance).status == .checkCondition)
        #expect(port.execute(testUnitReady).status == .acaActive)
        let last = port.execute(failing(isNormalACA: false), attribute: .autoContingentAllegiance)
        #expect(last.status == .checkCondition)
        #expect(port.execute(testUnitReady).status == .good)
    }

    @Test("on a serial unit other nexuses get BUSY, or with NACA ACA ACTIVE, whether they were there or come")
    func serial() {
        let fixture = UnitFixture(isSerial: true)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b")
        let far = fixture.initiator("iqn.2026-11.test:c", on: fixture.otherReactor)
        _ = start(other, 1)
        _ = start(other, 2)
        port.submit(failing()) { [endings] in endings.add(3, $0) }
        _ = start(far, 4)
        letGo(1, fixture)
        #expect(endings[3]?.status == .checkCondition)
        #expect(fixture.device.begun == [1])
        for one in [other, far] {
            #expect(one.execute(testUnitReady).status == .busy)
            #expect(one.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 4]).status == .acaActive)
            #expect(one.execute(inquiry).status == .busy)
        }
        let late = InMemoryPort("iqn.2026-11.test:d", target: fixture.target, reactor: fixture.reactor)
        #expect(late.execute(inquiry).status == .busy)
        #expect(port.execute(testUnitReady, attribute: .autoContingentAllegiance).status == .good)
        #expect(port.execute(testUnitReady).status == .acaActive)
        #expect(fixture.device.begun == [1])
        #expect(port.manage(.clearACA) == .complete)
        #expect(fixture.device.begun == [1, 4], "it was at the turn of its nexus before")
        letGo(4, fixture)
        letGo(2, fixture)
        endings.wait(4)
        #expect(fixture.device.begun == [1, 4, 2])
        for one in [port, other, far] { #expect(one.execute(testUnitReady).status == .good) }
        #expect(late.execute(inquiry).status == .good)
    }

    @Test(
        "it ends with the nexus, with a reset of that, of the unit or the target",
        arguments: [nil, .iTNexusReset, .logicalUnitReset, .targetWarmReset] as [TaskManagementFunction?])
    func ends(function: TaskManagementFunction?) {
        for isSerial in [false, true] {
            let fixture = UnitFixture(isSerial: isSerial)
            let port = fixture.initiator()
            let other = fixture.initiator("iqn.2026-11.test:b")
            #expect(port.execute(failing()).status == .checkCondition)
            #expect(other.execute(testUnitReady).status == (isSerial ? .busy : .good))
            if let function { #expect(port.manage(function) == .complete) } else { port.logOut() }
            other.clearUnitAttentions()
            #expect(other.execute(testUnitReady).status == .good)
            if function != nil {
                port.clearUnitAttentions()
                #expect(port.execute(testUnitReady).status == .good)
            }
        }
    }

    @Test(
        "PREEMPT AND ABORT of another nexus is performed, and ends that of whom it preempts", arguments: [false, true])
    func preempted(isSerial: Bool) {
        let fixture = UnitFixture(isSerial: isSerial)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b")
        port.reserveOut(Action.register, newKey: 0xA)
        other.reserveOut(Action.register, newKey: 0xB)
        #expect(port.execute(failing()).status == .checkCondition)
        if isSerial { #expect(other.reserveOut(Action.preempt, 1, key: 0xB, newKey: 0xA).status == .busy) }
        #expect(other.reserveOut(Action.preemptAndAbort, 1, key: 0xB, newKey: 0xA).status == .good)
        #expect(other.execute(testUnitReady).status == .good)
        #expect(port.clearUnitAttentions() == [.registrationsPreempted])
        #expect(port.execute(testUnitReady).status == .good)
    }

    @Test("NORMACA, NACA in the usage data and CLEAR ACA are reported, and other bits of CONTROL refused")
    func reported() {
        let port = UnitFixture().initiator()
        #expect(port.execute(inquiry).dataIn[3] & 0x20 != 0)
        let one = port.execute([
            OperationCode.maintenanceIn, 0x0C, 1, OperationCode.testUnitReady, 0, 0, 0, 0, 1, 0, 0, 0,
        ])
        #expect(Array(one.dataIn.suffix(6)) == [0, 0, 0, 0, 0, 0x04])
        let functions = port.execute([OperationCode.maintenanceIn, 0x0D, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0])
        #expect(functions.dataIn == [0xFC, 0x07, 0, 0])
        let wrong = port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0x02])
        #expect(wrong.sense == SenseData.invalidField(byte: 5, bit: 1))
    }
}

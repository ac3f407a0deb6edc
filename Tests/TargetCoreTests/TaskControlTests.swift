import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TargetCore
import Testing

@Suite("What the Control mode page says of tasks (SPC-5 clause 7.5.10)")
struct TaskControlTests {
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
    /// A command that ends with CHECK CONDITION.
    private let failing: [UInt8] = [OperationCode.preventAllowMediumRemoval, 0, 0, 0, 3, 0]
    private let endings = Endings()

    private func control(_ port: InMemoryPort, queueError: UInt8 = 0, interlock: UInt8 = 0, aborted: UInt8 = 0)
        -> SenseData?
    {
        let list: [UInt8] = [
            0, 0, 0, 0, 0x0A, 10, 0x02, queueError << 1, interlock << 4, aborted << 6, 0, 0, 0, 0, 0, 0,
        ]
        return port.execute([OperationCode.modeSelect6, 0x10, 0, 0, 16, 0], dataOut: list).sense
    }

    private func start(_ port: InMemoryPort, _ name: UInt8, alone: Bool = false) {
        let code = alone ? ExampleDevice.waitAlone : ExampleDevice.wait
        port.submit([code, 0, 0, 0, name, 0], expecting: 0) { [endings] result in
            endings.add(name, result)
        }
    }

    private func ending(_ name: UInt8) -> CommandResult? { endings[name] }

    @Test("reserved values are refused where they stand, and nothing changes")
    func reserved() {
        let port = UnitFixture().initiator()
        #expect(control(port, queueError: 2) == .invalidParameter(byte: 7, bit: 2))
        #expect(control(port, interlock: 1) == .invalidParameter(byte: 8, bit: 5))
        #expect(port.execute([OperationCode.modeSense6, 0x08, 0x0A, 0, 255, 0]).dataIn[7...9] == [0, 0, 0])
    }

    @Test(
        "with QERR a failure aborts the other commands of the nexus, and without it none",
        arguments: [0, 1, 3] as [UInt8])
    func queueError(value: UInt8) {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b")
        #expect(control(port, queueError: value) == nil)
        other.clearUnitAttentions()
        start(port, 1)
        start(port, 2, alone: true)
        start(other, 3)
        #expect(port.execute(failing, attribute: .headOfQueue).status == .checkCondition)
        #expect(ending(2)?.isAborted == (value == 0 ? nil : true), "it was blocked")
        for name in [1, 2, 3] as [UInt8] { port.onReactor { fixture.device.letGo(name) } }
        #expect(ending(1)?.isAborted == (value != 0))
        #expect(ending(3)?.status == .good && ending(3)?.isAborted == false)
        #expect(port.clearUnitAttentions() == [])
        #expect(other.clearUnitAttentions() == [])
    }

    @Test(
        "QERR 01b on a serial unit reaches all nexuses, who learn of it, and 11b only the one",
        arguments: [1, 3] as [UInt8])
    func queueErrorOfSerialUnit(value: UInt8) {
        let fixture = UnitFixture(isSerial: true)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b")
        #expect(control(port, queueError: value) == nil)
        other.clearUnitAttentions()
        start(port, 1)
        start(other, 2)
        start(port, 3)
        port.onReactor {
            guard let task = fixture.device.held.removeValue(forKey: 1) else { return }
            _ = task.fail(.hardwareError, .internalTargetFailure)
            task.finish()
        }
        #expect(ending(1)?.status == .checkCondition)
        #expect(ending(3)?.isAborted == true)
        port.onReactor { fixture.device.letGo(2) }
        #expect(ending(2)?.isAborted == (value == 1))
        #expect(other.clearUnitAttentions() == (value == 1 ? [.commandsClearedByAnotherInitiator] : []))
        #expect(port.clearUnitAttentions() == [])
    }

    @Test(
        "with TAS commands that another nexus aborts end with TASK ABORTED, in the place of the unit attention",
        arguments: [false, true])
    func taskAbortedStatus(isFarther: Bool) {
        let fixture = UnitFixture(isSerial: true)
        let port = fixture.initiator()
        let other = fixture.initiator(
            "iqn.2026-11.test:b", on: isFarther ? fixture.otherReactor : fixture.reactor)
        #expect(control(port, aborted: 1) == nil)
        other.clearUnitAttentions()
        start(other, 1)
        start(other, 2)
        start(port, 3)
        #expect(port.manage(.clearTaskSet, meanwhile: { port.onReactor { fixture.device.letGo(1) } }) == .complete)
        endings.wait(1, 2, 3)
        for name in [1, 2] as [UInt8] {
            #expect(ending(name)?.status == .taskAborted && ending(name)?.isAborted == false)
        }
        #expect(ending(3)?.isAborted == true, "its own initiator has aborted it")
        #expect(other.clearUnitAttentions() == [])
        start(other, 4)
        fixture.device.waitUntilBegun(4, on: port)
        #expect(port.manage(.logicalUnitReset, meanwhile: { port.onReactor { fixture.device.letGo(4) } }) == .complete)
        endings.wait(4)
        #expect(ending(4)?.status == .taskAborted)
        #expect(other.clearUnitAttentions() == [.busDeviceResetOccurred])
    }

    @Test("UA_INTLCK_CTRL 10b keeps a unit attention until REQUEST SENSE has reported it")
    func interlock() {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        #expect(control(port, interlock: 2) == nil)
        fixture.device.attachedNexuses.establishUnitAttention(.capacityDataHasChanged)
        for _ in 0..<2 {
            #expect(port.execute(testUnitReady).sense == SenseData(.unitAttention, .capacityDataHasChanged))
        }
        let sense = port.execute([OperationCode.requestSense, 0, 0, 0, 18, 0]).dataIn
        #expect(SenseData(parsing: sense.rawSpan)?.additionalSenseCode == .capacityDataHasChanged)
        #expect(port.execute(testUnitReady).status == .good)
    }

    @Test("11b also establishes one for a RESERVATION CONFLICT")
    func interlockOfStatus() {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b")
        #expect(control(port, interlock: 3) == nil)
        _ = other.execute([OperationCode.requestSense, 0, 0, 0, 18, 0])
        #expect(port.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .good)
        #expect(other.execute(testUnitReady).status == .reservationConflict)
        let sense = other.execute([OperationCode.requestSense, 0, 0, 0, 18, 0]).dataIn
        #expect(SenseData(parsing: sense.rawSpan) == SenseData(.unitAttention, .previousReservationConflictStatus))
    }
}

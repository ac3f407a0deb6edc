import DeviceTestSupport
import Dispatch
import Glibc
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("Commands that meet an ejection")
struct MediumChangeTests {
    private let eject: [UInt8] = [OperationCode.startStopUnit, 0, 0, 0, 0x02, 0]
    private let load: [UInt8] = [OperationCode.startStopUnit, 0, 0, 0, 0x03, 0]
    /// More than one piece, so that an ejection that does not wait comes between them.
    private let length = 8 << 20

    @Test("Data that were asked for with the former medium are not written to the next")
    func formerMedium() throws {
        let fixture = try DiskFixture(blocks: 64, attributes: DiskAttributes(isRemovable: true))
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let block = [UInt8](repeating: 5, count: 512)
        for command in [
            CDB.ten(OperationCode.write10, lba: 1, count: 1), CDB.sixteen(OperationCode.orWrite16, lba: 1, count: 1),
        ] {
            port.port.withholdsDataOut = true
            let (slot, outcome) = port.submit(command, dataOut: block)
            fixture.settle()
            #expect(port.port.owesDataOut(slot))
            #expect(other.execute(eject).status == .good)
            #expect(other.execute(load).status == .good)
            port.port.sendDataOut(slot)
            #expect(outcome.wait().sense == SenseData(.unitAttention, .mediumMayHaveChanged))
            port.port.withholdsDataOut = false
            port.port.clearUnitAttentions()
            #expect(port.read(1, 1) == [UInt8](repeating: 0, count: 512))
        }
        #expect(port.write(1, block).status == .good)
    }

    private func writing() throws -> (SimulatedStore, SimulatedEngine, DiskFixture, DiskInitiator, Outcome) {
        let store = SimulatedStore([UInt8](repeating: 0, count: length))
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(store: store, engine: engine, attributes: DiskAttributes(isRemovable: true))
        let port = fixture.initiator()
        engine.hold()
        let command = CDB.sixteen(OperationCode.write16, lba: 0, count: length / 512)
        let (_, outcome) = port.submit(command, dataOut: [UInt8](repeating: 7, count: length))
        fixture.settle()
        return (store, engine, fixture, port, outcome)
    }

    @Test("START STOP UNIT makes durable what a write that had begun writes")
    func initiatorWaits() throws {
        let (store, engine, fixture, port, written) = try writing()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let (_, ejected) = other.submit(eject)
        fixture.settle()
        #expect(!ejected.hasArrived)
        engine.release()
        #expect(written.wait().status == .good)
        #expect(ejected.wait().status == .good)
        #expect(store.durable == store.content)
        #expect(store.durable.last == 7)
        #expect(other.execute(load).status == .good)
        #expect(port.port.clearUnitAttentions() == [.mediumMayHaveChanged])
        // Nothing is left at the gate.
        #expect(fixture.unit.writeGate.isEmpty)
        #expect(other.write(0, [UInt8](repeating: 1, count: 512)).status == .good)
    }

    @Test("An ejection that is aborted while it waits for a write leaves the medium in")
    func abortedAtGate() throws {
        let (_, engine, fixture, port, written) = try writing()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let (slot, _) = other.submit(eject)
        fixture.settle()
        #expect(fixture.unit.isEjected)
        #expect(other.port.manage(.abortTask, slot: slot) { engine.release() } == .complete)
        #expect(written.wait().status == .good)
        fixture.settle()
        #expect(!fixture.unit.isEjected)
        #expect(fixture.unit.writeGate.isEmpty)
        other.port.clearUnitAttentions()
        #expect(port.port.clearUnitAttentions() == [.mediumMayHaveChanged])
        #expect(other.execute(eject).status == .good)
    }

    @Test("An operator's ejection waits for a write that has begun")
    func operatorWaits() throws {
        let (store, engine, fixture, port, written) = try writing()
        let done = DispatchSemaphore(value: 0)
        DispatchQueue.global().async {
            #expect(fixture.unit.ejectMedium(isForced: true) {} == nil)
            done.signal()
        }
        while !fixture.unit.isEjected { usleep(1000) }
        #expect(done.wait(timeout: .now() + .milliseconds(100)) == .timedOut)
        engine.release()
        done.wait()
        #expect(written.wait().status == .good)
        #expect(store.durable == store.content)
        #expect(store.durable.last == 7)
        let command = CDB.ten(OperationCode.read10, lba: 0, count: 1)
        #expect(port.sense(command) == SenseData(.notReady, .mediumNotPresent))
    }

    @Test("A note of an operation that cannot have been written is none of ours")
    func impossibleNotes() {
        var operation = MediumOperation(.overwrite)
        operation.pattern = [1]
        operation.passes = 31
        operation.passesDone = 30
        #expect(MediumOperation(operation.encoded) == operation)
        operation.passesDone = 31
        #expect(MediumOperation(operation.encoded) == nil)
        operation.hasFailed = true
        #expect(MediumOperation(operation.encoded) == operation)
        operation.passesDone = 32
        #expect(MediumOperation(operation.encoded) == nil)
        operation.passes = 32
        operation.passesDone = 0
        #expect(MediumOperation(operation.encoded) == nil)
    }
}

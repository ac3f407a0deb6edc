import Bytes
import DeviceTestSupport
import Platform
import SCSI
import Synchronization
import TargetCore
import Testing

@testable import DiskDevice

@Suite("Removable media")
struct MediumTests {
    private let block = [UInt8](repeating: 5, count: 512)
    private let noMedium = SenseData(.notReady, .mediumNotPresent)
    private let eject: [UInt8] = [OperationCode.startStopUnit, 0, 0, 0, 0x02, 0]
    private let load: [UInt8] = [OperationCode.startStopUnit, 0, 0, 0, 0x03, 0]

    private func prevent(_ isPrevented: Bool) -> [UInt8] {
        [OperationCode.preventAllowMediumRemoval, 0, 0, 0, isPrevented ? 1 : 0, 0]
    }

    private func fixture(engine: (any MediumEngine)? = nil, isEjected: Bool = false) throws -> DiskFixture {
        try DiskFixture(
            blocks: 64, engine: engine, attributes: DiskAttributes(isRemovable: true), isEjected: isEjected)
    }

    /// What needs a medium (SBC-4 table 13).
    private static let mediumCommands: [([UInt8], Int)] = [
        ([OperationCode.testUnitReady, 0, 0, 0, 0, 0], 0), (CDB.six(OperationCode.read6, lba: 0, count: 1), 0),
        (CDB.ten(OperationCode.read10, lba: 0, count: 1), 0), (CDB.twelve(OperationCode.read12, lba: 0, count: 1), 0),
        (CDB.sixteen(OperationCode.read16, lba: 0, count: 1), 0),
        (CDB.six(OperationCode.write6, lba: 0, count: 1), 512),
        (CDB.ten(OperationCode.write10, lba: 0, count: 1), 512),
        (CDB.ten(OperationCode.writeAndVerify10, lba: 0, count: 1), 512),
        (CDB.ten(OperationCode.verify10, lba: 0, count: 1), 0),
        (CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0), 0),
        (CDB.ten(OperationCode.prefetch10, lba: 0, count: 1), 0),
        (CDB.ten(OperationCode.writeSame10, lba: 0, count: 1), 512), (CDB.unmap(length: 24), 24),
        (CDB.compareAndWrite(lba: 0, count: 1), 1024), (CDB.sixteen(OperationCode.orWrite16, lba: 0, count: 1), 512),
        (CDB.ten(OperationCode.readCapacity10, lba: 0, count: 0), 0),
        (CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 32, flags: 0x10), 0),
        (CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 32, flags: 0x12), 0),
        (CDB.ten(OperationCode.readDefectData10, lba: 0, count: 8), 0),
        ([OperationCode.startStopUnit, 0, 0, 0, 0x01, 0], 0),
    ]

    @Test("Without a medium, what needs one says so, and the rest works")
    func noMediumCommands() throws {
        let port = try fixture(isEjected: true).initiator()
        for (command, length) in Self.mediumCommands {
            let result = port.execute(command, dataOut: [UInt8](repeating: 0, count: length))
            #expect(result.sense == noMedium, "\(command)")
        }
        let others: [[UInt8]] = [
            [OperationCode.inquiry, 0, 0, 0, 36, 0], [OperationCode.requestSense, 0, 0, 0, 18, 0],
            [OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0],
            [OperationCode.modeSense6, 0, 0x3F, 0, 255, 0], [OperationCode.logSense, 0, 0x40, 0, 0, 0, 0, 0, 255, 0],
            [OperationCode.reserve6, 0, 0, 0, 0, 0], [OperationCode.release6, 0, 0, 0, 0, 0], prevent(true),
            prevent(false), [OperationCode.sendDiagnostic, 4, 0, 0, 0, 0],
            [OperationCode.maintenanceIn, 0x0C, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0], eject,
            [OperationCode.startStopUnit, 0, 0, 0, 0, 0],
        ]
        for command in others { #expect(port.execute(command).status == .good, "\(command)") }
        // The block descriptor has no blocks.
        #expect(port.execute([OperationCode.modeSense6, 0, 8, 0, 255, 0]).dataIn[4..<8] == [0, 0, 0, 0])
        let sense = port.execute([OperationCode.requestSense, 0, 0, 0, 18, 0]).dataIn
        #expect(SenseData(parsing: sense.rawSpan) == noMedium)
    }

    @Test("An initiator ejects and loads; every nexus learns of the medium, and its content is as it was")
    func ejectAndLoad() throws {
        let fixture = try fixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        #expect(port.write(1, block).status == .good)
        #expect(port.execute(load).status == .good)
        #expect(other.port.clearUnitAttentions() == [])
        #expect(port.execute(eject).status == .good)
        #expect(fixture.unit.isEjected)
        for initiator in [port, other] {
            #expect(initiator.sense(CDB.ten(OperationCode.read10, lba: 1, count: 1)) == noMedium)
        }
        #expect(port.execute(eject).status == .good)
        // IMMED changes nothing.
        #expect(other.execute([OperationCode.startStopUnit, 1, 0, 0, 0x03, 0]).status == .good)
        for initiator in [port, other] {
            // Who has loaded it knows.
            #expect(initiator.port.clearUnitAttentions() == (initiator === port ? [.mediumMayHaveChanged] : []))
            #expect(initiator.read(1, 1) == block)
        }
        // A power condition has LOEJ ignored.
        #expect(port.execute([OperationCode.startStopUnit, 0, 0, 0, 0x12, 0]).status == .good)
        #expect(!fixture.unit.isEjected)
    }

    @Test("A stopped unit is loaded into a started one")
    func stopped() throws {
        let port = try fixture().initiator()
        #expect(port.execute([OperationCode.startStopUnit, 0, 0, 0, 0, 0]).status == .good)
        #expect(
            port.sense([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
                == SenseData(.notReady, .initializingCommandRequired))
        #expect(port.execute(eject).status == .good)
        #expect(port.sense([OperationCode.testUnitReady, 0, 0, 0, 0, 0]) == noMedium)
        // A reset starts the unit and brings no medium.
        #expect(port.port.manage(.logicalUnitReset) == .complete)
        port.port.clearUnitAttentions()
        #expect(port.sense([OperationCode.testUnitReady, 0, 0, 0, 0, 0]) == noMedium)
        #expect(port.execute(load).status == .good)
        #expect(port.port.clearUnitAttentions() == [])
        #expect(port.write(0, block).status == .good)
    }

    @Test("Whoever prevents removal keeps the medium in for all, until it allows it, is reset, or goes")
    func prevention() throws {
        let fixture = try fixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let prevented = SenseData(.illegalRequest, .mediumRemovalPrevented)
        let endings: [(DiskInitiator) -> Void] = [
            { _ = $0.execute(prevent(false)) },
            { initiator in
                #expect(initiator.port.manage(.logicalUnitReset) == .complete)
                initiator.port.clearUnitAttentions()
                port.port.clearUnitAttentions()
            },
            { $0.port.logOut() },
        ]
        for end in endings {
            other.port.clearUnitAttentions()
            #expect(other.execute(prevent(true)).status == .good)
            #expect(port.sense(eject) == prevented)
            #expect(other.sense(eject) == prevented)
            // To stop is not to remove.
            #expect(port.execute([OperationCode.startStopUnit, 0, 0, 0, 0, 0]).status == .good)
            #expect(port.execute([OperationCode.startStopUnit, 0, 0, 0, 1, 0]).status == .good)
            guard case .prevented(let ports) = fixture.unit.ejectMedium(isForced: false, keep: {}) else {
                Issue.record("an operator is not refused")
                return
            }
            #expect(ports.count == 1 && ports[0].hasPrefix("iqn.2026-11.test:b"))
            end(other)
            #expect(port.execute(eject).status == .good)
            #expect(port.execute(load).status == .good)
            port.port.clearUnitAttentions()
        }
    }

    @Test("An ejection makes durable what was written, also with NO_FLUSH; one that cannot leaves the medium in")
    func durability() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 32768))
        for command in [eject, [OperationCode.startStopUnit, 0, 0, 0, 0x06, 0]] {
            let fixture = try DiskFixture(store: store, engine: SimulatedEngine(), attributes: .removable)
            let port = fixture.initiator()
            #expect(port.write(2, block).status == .good)
            #expect(port.execute(command).status == .good)
            #expect(store.durable == store.content)
        }
        let fixture = try DiskFixture(store: store, engine: SimulatedEngine(), attributes: .removable)
        let port = fixture.initiator()
        #expect(port.write(3, [UInt8](repeating: 6, count: 512)).status == .good)
        store.failSynchronizations(Errno.inputOutput)
        #expect(port.sense(eject)?.key == .mediumError)
        #expect(!fixture.unit.isEjected)
        // Commands in between have found no medium.
        #expect(port.port.clearUnitAttentions().contains(.mediumMayHaveChanged))
        #expect(port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        guard case .image = fixture.unit.ejectMedium(isForced: true, keep: {}) else {
            Issue.record("an operator is not refused")
            return
        }
    }

    @Test("Where the medium is, is kept before anybody is told; what is not kept has not happened")
    func keeping() throws {
        let fixture = try fixture()
        let keeper = Keeper()
        fixture.unit.keepMedium(with: keeper)
        let port = fixture.initiator()
        keeper.isRefusing.store(true, ordering: .relaxed)
        let failed = SenseData(.hardwareError, .mediaLoadOrEjectFailed)
        #expect(port.sense(eject) == failed)
        port.port.clearUnitAttentions()
        #expect(port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        keeper.isRefusing.store(false, ordering: .relaxed)
        #expect(port.execute(eject).status == .good)
        keeper.isRefusing.store(true, ordering: .relaxed)
        #expect(port.sense(load) == failed)
        #expect(port.sense([OperationCode.testUnitReady, 0, 0, 0, 0, 0]) == noMedium)
        keeper.isRefusing.store(false, ordering: .relaxed)
        #expect(port.execute(load).status == .good)
        #expect(keeper.isLoaded.load(ordering: .relaxed) == true)
        #expect(keeper.count.load(ordering: .relaxed) == 4)
    }

    @Test("One move at a time; data that come for a medium that has gone are refused, and an aborted move ends")
    func concurrency() throws {
        let engine = SimulatedEngine()
        let fixture = try fixture(engine: engine)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        engine.hold()
        let (slot, _) = port.submit(eject)
        #expect(other.execute(eject).status == .busy)
        #expect(other.execute(load).status == .busy)
        #expect(fixture.unit.ejectMedium(isForced: true) {} == .moving)
        #expect(fixture.unit.loadMedium {} == .moving)
        #expect(other.write(0, block).sense == noMedium)
        #expect(port.port.manage(.abortTask, slot: slot) { engine.release() } == .complete)
        fixture.settle()
        other.port.clearUnitAttentions()
        let isEjected = fixture.unit.isEjected
        #expect(other.execute(isEjected ? load : eject).status == .good)
        #expect(fixture.unit.isEjected != isEjected)
    }

    @Test("An operator ejects and loads, by force if need be")
    func operatorMoves() throws {
        struct Refusal: Error {}
        let fixture = try fixture()
        let port = fixture.initiator()
        #expect(port.execute(prevent(true)).status == .good)
        #expect(throws: Refusal.self) { _ = try fixture.unit.ejectMedium(isForced: true) { throw Refusal() } }
        #expect(port.port.clearUnitAttentions() == [.mediumMayHaveChanged])
        #expect(fixture.unit.ejectMedium(isForced: true) {} == nil)
        #expect(port.sense(CDB.ten(OperationCode.read10, lba: 0, count: 1)) == noMedium)
        #expect(fixture.unit.ejectMedium(isForced: true) {} == .noChange)
        #expect(throws: Refusal.self) { _ = try fixture.unit.loadMedium { throw Refusal() } }
        #expect(port.sense(CDB.ten(OperationCode.read10, lba: 0, count: 1)) == noMedium)
        #expect(fixture.unit.loadMedium {} == nil)
        #expect(port.port.clearUnitAttentions() == [.mediumMayHaveChanged])
        #expect(fixture.unit.loadMedium {} == .noChange)
        let fixed = try DiskFixture(blocks: 64)
        #expect(fixed.unit.ejectMedium(isForced: true) {} == .fixed)
        #expect(fixed.unit.loadMedium {} == .fixed)
    }
}

extension DiskAttributes {
    fileprivate static let removable = DiskAttributes(isRemovable: true)
}

/// Keeps where the medium is, or refuses.
private final class Keeper: DiskMediumKeeper {
    let isRefusing = Atomic<Bool>(false)
    let isLoaded = Atomic<Bool>(true)
    let count = Atomic<Int>(0)

    func keep(isLoaded: Bool, initiatorPort: String) -> Bool {
        count.add(1, ordering: .relaxed)
        if isRefusing.load(ordering: .relaxed) { return false }
        self.isLoaded.store(isLoaded, ordering: .relaxed)
        return true
    }
}

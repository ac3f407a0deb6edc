import Bytes
import DeviceTestSupport
import Media
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice

@Suite("SANITIZE and FORMAT UNIT: failures and restarts")
struct SanitizeFailureTests {
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
    private let format: [UInt8] = [OperationCode.formatUnit, 0, 0, 0, 0, 0]

    private func store() -> SimulatedStore { SimulatedStore([UInt8](repeating: 3, count: 64 * 512)) }

    /// A disk whose operation fails at its first write.
    private func failed(_ store: SimulatedStore, ause: Bool) throws -> (DiskFixture, DiskInitiator) {
        let fixture = try DiskFixture(store: store, engine: SimulatedEngine())
        let port = fixture.initiator()
        // The note and its synchronisation are the first calls that change something, the erasure is the third.
        store.fail(at: 3, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(port.sense(OperationCDB.blockErase(ause: ause)) == sanitizeFailed)
        store.stopFailing()
        return (fixture, port)
    }

    @Test("After a failure only SANITIZE is left, also after a restart; in restricted mode only with AUSE zero")
    func restricted() throws {
        let store = store()
        var (fixture, port) = try failed(store, ause: false)
        for _ in 0..<2 {
            #expect(port.sense(testUnitReady) == sanitizeFailed)
            #expect(port.sense(CDB.ten(OperationCode.read10, lba: 0, count: 1)) == sanitizeFailed)
            #expect(port.sense(CDB.ten(OperationCode.readCapacity10, lba: 0, count: 0)) == sanitizeFailed)
            #expect(port.sense(format) == sanitizeFailed)
            #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 36, 0]).status == .good)
            #expect(port.polled == sanitizeFailed)
            #expect(port.sense(OperationCDB.exitFailureMode) == invalidField(1, bit: 4))
            #expect(port.sense(OperationCDB.blockErase(ause: true)) == invalidField(1, bit: 5))
            fixture = try DiskFixture(store: store, engine: SimulatedEngine())
            port = fixture.initiator()
        }
        #expect(port.execute(OperationCDB.blockErase()).status == .good)
        #expect(port.read(0, 1) == [UInt8](repeating: 0, count: 512))
        #expect(store.notes[.operation] == nil)
    }

    @Test("In unrestricted mode EXIT FAILURE MODE opens the disk again, durably")
    func unrestricted() throws {
        let store = store()
        let (_, port) = try failed(store, ause: true)
        #expect(port.sense(testUnitReady) == sanitizeFailed)
        // The failure stays while it cannot be removed.
        store.failNotes(Errno.inputOutput)
        #expect(port.sense(OperationCDB.exitFailureMode)?.key == .mediumError)
        store.stopFailing()
        #expect(port.sense(testUnitReady) == sanitizeFailed)
        #expect(port.execute(OperationCDB.exitFailureMode).status == .good)
        #expect(port.execute(testUnitReady).status == .good)
        #expect(store.notes[.operation] == nil)
        let restarted = try DiskFixture(store: store, engine: SimulatedEngine())
        #expect(restarted.initiator().execute(testUnitReady).status == .good)
    }

    @Test("Who watches is told of beginning, end, failure and the end of that, with who asked, and finds the state")
    func notices() throws {
        let store = store()
        let (fixture, port) = try failed(store, ause: true)
        let failed = DiskOperation(method: .blockErase, state: .failed)
        let name = "iqn.2026-11.test:a"
        func take(_ fixture: DiskFixture) -> [DiskOperationNotice.Change] {
            let notices = fixture.notices.take()
            #expect(notices.allSatisfy { $0.initiatorPort?.hasPrefix(name) == true })
            return notices.map(\.change)
        }
        #expect(take(fixture) == [.begun, .failed(.device(Errno.inputOutput))])
        #expect(fixture.unit.operation == failed)
        // A restart changes nothing, and nothing is told of it.
        let restarted = try DiskFixture(store: store, engine: SimulatedEngine())
        #expect(restarted.unit.operation == failed && take(restarted).isEmpty)
        #expect(port.execute(OperationCDB.exitFailureMode).status == .good)
        #expect(take(fixture) == [.exited] && fixture.unit.operation == nil)
        #expect(port.execute(OperationCDB.blockErase()).status == .good)
        #expect(port.execute(format).status == .good)
        let notices = fixture.notices.take()
        #expect(notices.map(\.method) == [.blockErase, .blockErase, .format, .format])
        let ended = DiskOperationNotice.Change.ended(changesProtection: false)
        #expect(notices.map(\.change) == [.begun, ended, .begun, ended])
        #expect(fixture.unit.operation == nil)
    }

    @Test("A loss of data that ends the operation does not keep its failure from being recorded")
    func loss() throws {
        let store = store()
        let fixture = try DiskFixture(store: store, engine: SimulatedEngine())
        let port = fixture.initiator()
        // The note, its synchronisation, the erasure; then it is made durable.
        store.fail(at: 4, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(port.sense(OperationCDB.blockErase(ause: true)) == sanitizeFailed)
        #expect(fixture.image.loss == .device(Errno.inputOutput))
        let note = try #require(store.notes[.operation])
        #expect(MediumOperation(note)?.hasFailed == true)
        // While there is a loss the failure stays, in force and in the note.
        #expect(port.sense(OperationCDB.exitFailureMode)?.key == .mediumError)
        #expect(store.notes[.operation] == note)
        #expect(port.sense(testUnitReady) == sanitizeFailed)
        #expect(fixture.unit.acknowledgeLoss() == nil)
        #expect(port.execute(OperationCDB.exitFailureMode).status == .good)
        #expect(store.notes[.operation] == nil)
    }

    @Test("A crash at any call: the operation is over, goes on, or has not begun; never half an open disk")
    func crashes() throws {
        var random = SeededRandom(seed: 11)
        let list = OperationCDB.overwriteList([0xA5, 0x5A], count: 3, flags: 0x80)
        for call in 1...12 {
            let store = store()
            do {
                let fixture = try DiskFixture(store: store, engine: SimulatedEngine())
                store.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: true)
                _ = fixture.initiator().overwrite(list)
            }
            let after = store.afterCrash(using: &random)
            let hasBegun = after.notes[.operation] != nil
            let restarted = try DiskFixture(store: after, engine: SimulatedEngine())
            let port = restarted.initiator()
            port.waitForOperation()
            if port.sense(testUnitReady) == sanitizeFailed {
                #expect(port.overwrite(list).status == .good)
            }
            let content = port.read(0, 64)
            let sanitized = [UInt8]((0..<64 * 512).map { $0 % 2 == 0 ? 0xA5 : 0x5A })
            if hasBegun {
                #expect(content == sanitized, "call \(call)")
            } else {
                #expect(content == sanitized || content == [UInt8](repeating: 3, count: 64 * 512), "call \(call)")
            }
            #expect(after.notes[.operation] == nil)
        }
    }

    @Test("A stop in the middle lets go of the image, and the next opening goes on")
    func closing() throws {
        let store = store()
        let engine = SimulatedEngine()
        do {
            let fixture = try DiskFixture(store: store, engine: engine)
            let port = fixture.initiator()
            engine.hold()
            let outcome = port.submit(OperationCDB.blockErase(immediate: true)).outcome
            fixture.settle()
            engine.step()
            #expect(outcome.wait().status == .good)
            #expect(fixture.unit.close() == nil)
            engine.release()
        }
        #expect(store.notes[.operation] != nil)
        #expect(store.content == [UInt8](repeating: 3, count: 64 * 512))
        let restarted = try DiskFixture(store: store, engine: SimulatedEngine())
        #expect(restarted.initiator().read(0, 64) == [UInt8](repeating: 0, count: 64 * 512))
    }

    @Test("A format that a crash has broken off leaves the medium corrupt until it is formatted or sanitized")
    func formatCorrupt() throws {
        for repair in [format, OperationCDB.blockErase()] {
            let store = SimulatedStore(
                [UInt8](repeating: 3, count: 64 * 512), notes: [.operation: MediumOperation(.format).encoded])
            let fixture = try DiskFixture(store: store, engine: SimulatedEngine())
            let port = fixture.initiator()
            let corrupt = SenseData(.mediumError, .mediumFormatCorrupted)
            #expect(port.sense(testUnitReady) == corrupt)
            #expect(port.sense(CDB.ten(OperationCode.read10, lba: 0, count: 1)) == corrupt)
            #expect(port.sense(CDB.ten(OperationCode.write10, lba: 0, count: 1), dataOut: [1]) == corrupt)
            #expect(port.execute(CDB.ten(OperationCode.readCapacity10, lba: 0, count: 0)).status == .good)
            #expect(port.execute(OperationCDB.exitFailureMode).status == .good)
            #expect(port.sense(testUnitReady) == corrupt)
            #expect(port.execute(repair).status == .good)
            #expect(port.read(0, 64) == [UInt8](repeating: 0, count: 64 * 512))
            #expect(store.notes[.operation] == nil)
        }
    }

    @Test("A note that is not ours, or cannot be read, closes the medium")
    func foreignNotes() throws {
        let corrupt = SenseData(.mediumError, .mediumFormatCorrupted)
        var good = MediumOperation(.overwrite)
        good.pattern = [1, 2, 3]
        #expect(MediumOperation(good.encoded) == good)
        for length in 0..<good.encoded.count {
            #expect(MediumOperation(Array(good.encoded.prefix(length))) == nil)
        }
        for (byte, value) in [(0, 2), (1, 9), (4, 0), (5, 2), (7, 4)] as [(Int, UInt8)] {
            var note = good.encoded
            note[byte] = value
            #expect(MediumOperation(note) == nil)
        }
        let store = SimulatedStore([UInt8](repeating: 3, count: 64 * 512), notes: [.operation: [1, 2, 3]])
        #expect(
            try DiskFixture(store: store, engine: SimulatedEngine()).initiator().sense(testUnitReady) == corrupt)
        let unreadable = self.store()
        unreadable.failNotes(Errno.inputOutput)
        let fixture = try DiskFixture(store: unreadable, engine: SimulatedEngine())
        #expect(fixture.initiator().sense(testUnitReady) == corrupt)
        unreadable.stopFailing()
        #expect(fixture.initiator().execute(format).status == .good)
    }
}

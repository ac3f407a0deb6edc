import DeviceTestSupport
import Dispatch
import Media
import Platform
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("When the host fails")
struct FaultTests {
    private let block = [UInt8](repeating: 1, count: 512)
    private let synchronizeCache = CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0)

    @Test(
        "A full host is DATA PROTECT, another write error a MEDIUM ERROR",
        arguments: [
            (Errno.noSpace, SenseKey.dataProtect, AdditionalSenseCode.spaceAllocationFailed),
            (Errno.quotaExceeded, .dataProtect, .spaceAllocationFailed),
            (Errno.inputOutput, .mediumError, .writeError),
        ])
    func writeErrors(code: Int32, key: SenseKey, additional: AdditionalSenseCode) throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 1 << 20))
        let fixture = try DiskFixture(store: store, engine: SimulatedEngine())
        let port = fixture.initiator()
        store.fail(at: 1, errorNumber: code, fromThenOn: true)
        #expect(port.write(9, block).sense == SenseData(key, additional, information: 9))
        let list = CDB.unmapList([(0, 8)])
        #expect(port.sense(CDB.unmap(length: list.count), dataOut: list) == SenseData(key, additional))
        let zeros = [UInt8](repeating: 0, count: 512)
        #expect(port.sense(CDB.ten(OperationCode.writeSame10, lba: 3, count: 8), dataOut: zeros)?.key == key)
        #expect(port.sense(CDB.compareAndWrite(lba: 3, count: 1), dataOut: zeros + block)?.key == key)
        #expect(port.execute(CDB.ten(OperationCode.read10, lba: 9, count: 1)).status == .good)
        #expect(fixture.leasedBytes(port) == 0)
        // Nothing that was acknowledged is lost.
        #expect(!fixture.unit.hasLostData)
        store.stopFailing()
        #expect(port.write(9, block).status == .good)
    }

    @Test(
        "After a loss of written data nothing is written on any nexus, new ones too, until an operator acknowledges it",
        arguments: [(Errno.inputOutput, SenseKey.mediumError), (Errno.noSpace, .dataProtect)])
    func stickyLoss(code: Int32, key: SenseKey) throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 1 << 20), forgetsAfterFailedSynchronization: true)
        let fixture = try DiskFixture(store: store, engine: SimulatedEngine())
        let writer = fixture.initiator()
        let reader = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let failed = fixture.initiator("iqn.2026-11.test:c")
        #expect(writer.write(0, block).status == .good)
        store.fail(at: 1, errorNumber: code, fromThenOn: false)
        #expect(failed.sense(synchronizeCache)?.key == key)
        #expect(fixture.unit.hasLostData)
        // Who has buffered writes hears of it at the next command, once; who has none does not.
        let deferred = writer.sense([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
        #expect(deferred?.key == key && deferred?.isDeferred == true)
        #expect(writer.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        #expect(reader.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        let later = fixture.initiator("iqn.2026-11.test:a", on: fixture.otherReactor)
        let list = CDB.unmapList([(0, 8)])
        for port in [writer, reader, failed, later] {
            #expect(port.sense(synchronizeCache)?.key == key)
            #expect(port.write(1, block).sense?.key == key)
            #expect(port.write(1, block, flags: 0x08).sense?.key == key)
            #expect(port.sense(CDB.unmap(length: list.count), dataOut: list)?.key == key)
            #expect(port.sense(CDB.ten(OperationCode.read10, lba: 0, count: 1, flags: 0x08))?.key == key)
            #expect(port.sense([OperationCode.startStopUnit, 0, 0, 0, 0, 0])?.key == key)
            #expect(port.execute(CDB.ten(OperationCode.read10, lba: 0, count: 1)).status == .good)
        }
        #expect(fixture.unit.acknowledgeLoss() == nil)
        #expect(!fixture.unit.hasLostData)
        for port in [writer, reader, failed, later] {
            #expect(port.write(1, block, flags: 0x08).status == .good)
            #expect(port.execute(synchronizeCache).status == .good)
        }
        #expect(Array(store.durable[512..<1024]) == block)
    }

    @Test("A file that is cut is a loss: what is gone is no free space, and no write makes zeros of it")
    func truncated() throws {
        for finder in [
            CDB.ten(OperationCode.read10, lba: 1000, count: 1),
            CDB.sixteen(OperationCode.serviceActionIn16, lba: 1000, count: 64, flags: 0x12),
        ] {
            let store = SimulatedStore([UInt8](repeating: 5, count: 1 << 20))
            let fixture = try DiskFixture(store: store, engine: SimulatedEngine())
            let port = fixture.initiator()
            let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
            #expect(store.truncate(to: 1 << 18) == 0)
            #expect(port.sense(finder) == SenseData(.mediumError, .unrecoveredReadError, information: 1000))
            #expect(fixture.unit.hasLostData)
            for port in [port, other] {
                #expect(port.write(1500, block).sense == SenseData(.mediumError, .writeError, information: 1500))
                #expect(port.sense(finder)?.key == .mediumError)
                #expect(port.read(500, 1) == [UInt8](repeating: 5, count: 512))
            }
            #expect(store.size() == 1 << 18)
            #expect(fixture.unit.acknowledgeLoss() == .truncated)
            #expect(store.truncate(to: 1 << 20) == 0)
            #expect(fixture.unit.acknowledgeLoss() == nil)
            #expect(port.write(1500, block).status == .good)
        }
    }

    @Test("One failed synchronisation fails every command that it was for, on each reactor")
    func sharedSynchronization() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 1 << 20), forgetsAfterFailedSynchronization: true)
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(store: store, engine: engine)
        let ports = [fixture.initiator(), fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)]
        engine.hold()
        let writes = (0..<16).map { number in
            ports[number % 2].submit(
                CDB.ten(OperationCode.write10, lba: number, count: 1, flags: 0x08), dataOut: block
            ).outcome
        }
        // The writes themselves have been done; the first synchronisation fails.
        store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: false)
        engine.release()
        for write in writes { #expect(write.wait().sense == SenseData(.mediumError, .writeError)) }
    }

    @Test("A command that has written before a loss fails after it, even when the loss has been acknowledged meanwhile")
    func lossInBetween() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 1 << 20), forgetsAfterFailedSynchronization: true)
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(store: store, engine: engine)
        let port = fixture.initiator()
        engine.hold()
        let write = port.submit(CDB.ten(OperationCode.write10, lba: 0, count: 1, flags: 0x08), dataOut: block).outcome
        fixture.settle()
        store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(fixture.image.synchronize() != nil)
        #expect(fixture.unit.acknowledgeLoss() == nil)
        engine.release()
        #expect(write.wait().sense == SenseData(.mediumError, .writeError))
    }

    @Test("An aborted SYNCHRONIZE CACHE leaves its nexus to be told of the loss")
    func abortedSynchronization() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 1 << 20), forgetsAfterFailedSynchronization: true)
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(store: store, engine: engine)
        let port = fixture.initiator()
        #expect(port.write(0, block).status == .good)
        engine.hold()
        let command = port.submit(synchronizeCache)
        store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(port.port.manage(.abortTask, slot: command.slot) { engine.release() } == .complete)
        #expect(command.outcome.wait().isAborted)
        #expect(port.sense([OperationCode.testUnitReady, 0, 0, 0, 0, 0])?.isDeferred == true)
    }

    @Test("A medium that hangs keeps its own commands waiting; nine others are served, and so is its memory")
    func hangingMedium() throws {
        let engine = SimulatedEngine()
        let stores = (0..<10).map { SimulatedStore([UInt8](repeating: UInt8($0), count: 1 << 20)) }
        let benches = try stores.map { try DiskFixture(store: $0, engine: engine) }
        let ports = benches.map { $0.initiator() }
        engine.hang(benches[0].image.lane)
        let hanging = (0..<20).map { _ in ports[0].submit(synchronizeCache).outcome }
        #expect(ports[0].execute(CDB.ten(OperationCode.read10, lba: 0, count: 8)).status == .good)
        for (number, port) in ports.enumerated().dropFirst() {
            #expect(port.write(0, block, flags: 0x08).status == .good)
            stores[number].isCached = false
            let data = port.execute(CDB.ten(OperationCode.read10, lba: 0, count: 2)).dataIn
            #expect(data == block + [UInt8](repeating: UInt8(number), count: 512))
        }
        #expect(!hanging.contains { $0.hasArrived })
        #expect(engine.hangingCount == 8)
        engine.resume(benches[0].image.lane)
        #expect(hanging.allSatisfy { $0.wait().status == .good })
    }

    @Test("A write that is parked for COMPARE AND WRITE goes on after it, or is aborted")
    func parked() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(engine: engine)
        let port = fixture.initiator()
        engine.hold()
        let alone = port.submit(
            CDB.compareAndWrite(lba: 0, count: 1), dataOut: [UInt8](repeating: 0, count: 512) + block)
        let second = port.submit(
            CDB.sixteen(OperationCode.orWrite16, lba: 0, count: 1), dataOut: [UInt8](repeating: 2, count: 512))
        let write = port.submit(CDB.ten(OperationCode.write10, lba: 1, count: 1), dataOut: block)
        let aborted = port.submit(CDB.ten(OperationCode.write10, lba: 2, count: 1), dataOut: block)
        let last = port.submit(CDB.ten(OperationCode.write10, lba: 3, count: 1), dataOut: block)
        #expect(port.execute(CDB.ten(OperationCode.readCapacity10, lba: 0, count: 0)).status == .good)
        #expect(![alone, second, write, aborted, last].contains { $0.outcome.hasArrived })
        #expect(port.port.manage(.abortTask, slot: aborted.slot) { engine.release() } == .complete)
        #expect(aborted.outcome.wait().isAborted)
        for command in [alone, second, write, last] { #expect(command.outcome.wait().status == .good) }
        let zeros = [UInt8](repeating: 0, count: 512)
        #expect(port.read(0, 4) == [UInt8](repeating: 3, count: 512) + block + zeros + block)
    }

    @Test("Parked writes go on although the mailbox of their reactor is full")
    func parkedWithFullMailbox() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(engine: engine)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        engine.hold()
        let alone = port.submit(
            CDB.compareAndWrite(lba: 0, count: 1), dataOut: [UInt8](repeating: 0, count: 512) + block
        ).outcome
        let parked = (1...8).map {
            other.submit(CDB.ten(OperationCode.write10, lba: $0, count: 1), dataOut: block).outcome
        }
        let (isBlocked, isFull) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        fixture.otherReactor.postCompletion {
            isBlocked.signal()
            isFull.wait()
        }
        isBlocked.wait()
        while fixture.otherReactor.post({}) {}
        engine.release()
        #expect(alone.wait().status == .good)
        isFull.signal()
        #expect(parked.allSatisfy { $0.wait().status == .good })
    }
}

import Bytes
import DeviceTestSupport
import Dispatch
import Media
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice

@Suite("Durability, power, resizing and several initiators")
struct StateTests {
    private let block = [UInt8](repeating: 1, count: 512)

    @Test("A write ends at once; with FUA it ends when the engine has made it durable")
    func forceUnitAccess() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(engine: engine)
        let port = fixture.initiator()
        engine.hold()
        #expect(port.write(0, block).status == .good)
        let commands: [([UInt8], [UInt8])] = [
            (CDB.ten(OperationCode.write10, lba: 1, count: 1, flags: 0x08), block),
            (CDB.sixteen(OperationCode.write16, lba: 1, count: 1, flags: 0x08), block),
            (CDB.ten(OperationCode.read10, lba: 1, count: 1, flags: 0x08), []),
            (CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0), []),
            (CDB.sixteen(OperationCode.synchronizeCache16, lba: 0, count: 8, flags: 0x02), []),
        ]
        let outcomes = commands.map { port.submit($0, dataOut: $1).outcome }
        #expect(port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        #expect(outcomes.allSatisfy { !$0.hasArrived })
        engine.release()
        #expect(outcomes.allSatisfy { $0.wait().status == .good })
    }

    @Test("Without a write cache every write is durable before it ends")
    func noWriteCache() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(engine: engine)
        let port = fixture.initiator()
        engine.hold()
        let change = port.submit(modeSelect(writeCache: false), dataOut: cachingPage(false)).outcome
        // MODE SELECT itself waits until what the cache held is durable.
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 36, 0]).status == .good)
        #expect(!change.hasArrived)
        engine.release()
        #expect(change.wait().status == .good)
        engine.hold()
        let outcome = port.submit(CDB.ten(OperationCode.write10, lba: 1, count: 1), dataOut: block).outcome
        #expect(port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        #expect(!outcome.hasArrived)
        engine.release()
        #expect(outcome.wait().status == .good)
    }

    private func modeSelect(writeCache: Bool) -> [UInt8] {
        [OperationCode.modeSelect6, 0x10, 0, 0, UInt8(cachingPage(writeCache).count), 0]
    }

    private func cachingPage(_ writeCache: Bool) -> [UInt8] {
        [0, 0, 0, 0, 0x08, 18, writeCache ? 4 : 0] + [UInt8](repeating: 0, count: 17)
    }

    @Test("When nexuses switch the write cache at the same time, the page and the data path agree in the end")
    func switchingWriteCache() throws {
        let fixture = try DiskFixture(blocks: 64)
        let ports = [fixture.initiator(), fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)]
        let (on, off) = (cachingPage(true), cachingPage(false))
        let command = modeSelect(writeCache: true)
        for _ in 0..<200 {
            concurrently(2) { index in
                let port = ports[index]
                port.port.clearUnitAttentions()
                _ = port.execute(command, dataOut: index == 0 ? on : off)
            }
            let page = fixture.unit.modePages.page(DiskModePage.caching)?.current[0]
            #expect((page == DiskModePage.writeCacheEnable) == fixture.unit.isWriteCacheEnabled)
        }
    }

    @Test("A full lane is BUSY for a command that has changed nothing, and takes the rest of one that has")
    func busy() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(engine: engine)
        let port = fixture.initiator()
        engine.hold()
        let filler = Filler(fixture.image.lane, on: fixture.reactor)
        #expect(port.execute(CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0)).status == .busy)
        #expect(port.execute(CDB.compareAndWrite(lba: 0, count: 1), dataOut: block + block).status == .busy)
        // Written already: the command waits until that is durable.
        let written = port.submit(CDB.ten(OperationCode.write10, lba: 0, count: 1, flags: 8), dataOut: block).outcome
        // MODE SELECT has switched the write cache off already.
        let change = port.submit(modeSelect(writeCache: false), dataOut: cachingPage(false)).outcome
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 36, 0]).status == .good)
        #expect(!written.hasArrived && !change.hasArrived)
        engine.release()
        #expect(written.wait().status == .good)
        #expect(change.wait().status == .good)
        #expect(port.execute(CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0)).status == .good)
        #expect(port.execute(CDB.compareAndWrite(lba: 0, count: 1), dataOut: block + block).status == .good)
        withExtendedLifetime(filler) {}
    }

    @Test("SYNCHRONIZE CACHE checks its range")
    func synchronizeRange() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        #expect(port.execute(CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 64)).status == .good)
        #expect(port.execute(CDB.ten(OperationCode.synchronizeCache10, lba: 64, count: 0)).status == .good)
        #expect(port.sense(CDB.ten(OperationCode.synchronizeCache10, lba: 1, count: 64)) == outOfRange)
        #expect(port.sense(CDB.sixteen(OperationCode.synchronizeCache16, lba: 65, count: 0)) == outOfRange)
    }

    @Test("A stopped disk is not ready for its medium until it is started")
    func startStop() throws {
        let fixture = try DiskFixture(blocks: 64)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        #expect(port.execute([OperationCode.startStopUnit, 0, 0, 0, 0, 0]).status == .good)
        let notReady = SenseData(.notReady, .initializingCommandRequired)
        #expect(other.sense(CDB.ten(OperationCode.read10, lba: 0, count: 1)) == notReady)
        #expect(port.write(0, block).sense == notReady)
        #expect(port.sense([OperationCode.testUnitReady, 0, 0, 0, 0, 0]) == notReady)
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 36, 0]).status == .good)
        #expect(SenseData(parsing: port.execute([3, 0, 0, 0, 18, 0]).dataIn.rawSpan) == notReady)
        #expect(port.execute([OperationCode.startStopUnit, 0, 0, 0, 1, 0]).status == .good)
        #expect(port.write(0, block).status == .good)
        #expect(port.execute([OperationCode.startStopUnit, 0, 0, 0, 0x04, 0]).status == .good)
        #expect(port.execute([OperationCode.startStopUnit, 0, 0, 0, 0x30, 0]).status == .good)
        #expect(port.sense([OperationCode.startStopUnit, 0, 0, 0, 0x50, 0]) == invalidField(4, bit: 7))
        #expect(port.execute([OperationCode.startStopUnit, 1, 0, 0, 1, 0]).status == .good)
        #expect(other.read(0, 1) == block)
    }

    @Test("START STOP UNIT sets idle and standby, which the medium's use ends, and refuses what there is not")
    func powerConditions() throws {
        let fixture = try DiskFixture(blocks: 64)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        func startStop(_ condition: UInt8, _ modifier: UInt8 = 0) -> CommandResult {
            port.execute([OperationCode.startStopUnit, 0, 0, modifier, condition << 4, 0])
        }
        func sense(_ initiator: DiskInitiator) -> AdditionalSenseCode? {
            SenseData(parsing: initiator.execute([3, 0, 0, 0, 18, 0]).dataIn.rawSpan)?.additionalSenseCode
        }
        #expect(startStop(2).status == .good && sense(other) == .idleConditionActivatedByCommand)
        #expect(startStop(3).status == .good && sense(other) == .standbyConditionActivatedByCommand)
        #expect(other.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        #expect(sense(port) == .standbyConditionActivatedByCommand)
        #expect(other.write(0, block).status == .good && sense(port) == .noAdditionalSenseInformation)
        for condition in [UInt8(4), 5, 6, 8, 9, 0xA, 0xB, 0xC] {
            #expect(startStop(condition).sense == invalidField(4, bit: 7))
        }
        for condition in [UInt8(0), 1, 2, 3, 7] { #expect(startStop(condition, 1).sense == invalidField(3, bit: 3)) }
        #expect(startStop(1).status == .good && startStop(7).status == .good)
        // A stopped unit is started by these too.
        #expect(startStop(0).status == .good && other.write(0, block).sense?.key == .notReady)
        #expect(startStop(2).status == .good && other.write(0, block).status == .good)
        // Start-Stop Cycle Counter: one stop and no start yet.
        let cycles = { port.execute([OperationCode.logSense, 0, 0x4E, 0, 0, 0, 0, 0, 255, 0]).dataIn }
        #expect(cycles() == [0x0E, 0, 0, 8, 0, 4, 3, 4, 0, 0, 0, 0])
        #expect(port.execute([OperationCode.startStopUnit, 0, 0, 0, 1, 0]).status == .good && cycles().last == 1)
    }

    @Test("A disk that grows says so once to each nexus, and does not shrink")
    func resize() throws {
        let fixture = try DiskFixture(blocks: 64)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        #expect(throws: DiskResizeError.smaller(capacity: 32768)) { try fixture.unit.resize(to: 16384) }
        try fixture.unit.resize(to: 32768)
        #expect(port.port.clearUnitAttentions() == [])
        try fixture.unit.resize(to: 65536)
        for initiator in [port, other] {
            #expect(
                initiator.sense(CDB.ten(OperationCode.read10, lba: 0, count: 1))
                    == SenseData(.unitAttention, .capacityDataHasChanged))
            #expect(initiator.write(127, block).status == .good)
        }
        #expect(
            port.execute(CDB.ten(OperationCode.readCapacity10, lba: 0, count: 0)).dataIn.prefix(4) == [0, 0, 0, 127])
        #expect(port.sense(CDB.ten(OperationCode.read10, lba: 128, count: 1)) == outOfRange)
    }

    @Test("A reservation keeps another initiator from the medium, and ends with its session")
    func reservation() throws {
        let fixture = try DiskFixture(blocks: 64)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        #expect(port.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .good)
        #expect(other.execute(CDB.ten(OperationCode.read10, lba: 0, count: 1)).status == .reservationConflict)
        #expect(other.write(0, block).status == .reservationConflict)
        #expect(other.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .reservationConflict)
        #expect(other.execute([OperationCode.inquiry, 0, 0, 0, 36, 0]).status == .good)
        #expect(other.execute([OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]).status == .good)
        #expect(other.execute(CDB.ten(OperationCode.readCapacity10, lba: 0, count: 0)).status == .good)
        #expect(port.write(0, block).status == .good)
        port.port.logOut()
        #expect(other.read(0, 1) == block)
    }

    @Test("What one initiator writes, another on another reactor reads")
    func twoReactors() throws {
        let fixture = try DiskFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        var random = SeededRandom(seed: 9)
        for lba in 0..<32 {
            let data = random.bytes(512)
            port.write(lba, data)
            #expect(other.read(lba, 1) == data)
        }
    }
}

/// Requests that fill a lane whose engine is held.
private final class Filler: FileRequestOwner, @unchecked Sendable {
    init(_ lane: Lane, on reactor: Reactor) {
        let done = DispatchSemaphore(value: 0)
        reactor.postCompletion {
            while true {
                let request = FileRequest(owner: self)
                request.operation = .call { 0 }
                guard lane.submit(request, on: reactor) else { break }
            }
            done.signal()
        }
        done.wait()
    }

    func fileRequestCompleted(_ request: FileRequest) {}
}

import DeviceTestSupport
import Media
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice

/// Every write, synchronisation and deallocation of a disk fails in turn, once or from then on, while commands of two
/// reactors are under way and an initiator logs in anew in between: no command ends with GOOD whose data, or data that
/// it vouches for, are lost.
@Suite("A disk whose host fails at every step in turn")
struct LossWalkTests {
    @Test(
        "No GOOD for lost data, ever",
        arguments: [Errno.inputOutput, Errno.noSpace], [1, 2] as [UInt64])
    func walk(code: Int32, seed: UInt64) throws {
        let whole = try LossRun(seed: seed)
        whole.run()
        whole.check()
        let count = whole.store.callCount
        #expect(count > 30)
        for fromThenOn in [false, true] {
            var losses = 0
            for call in 1...count {
                let run = try LossRun(seed: seed)
                run.store.fail(at: call, errorNumber: code, fromThenOn: fromThenOn)
                run.run()
                run.check()
                #expect(run.store.hasFailed)
                if run.fixture.unit.hasLostData { losses += 1 }
                // The mark fails with everything else, and then the next opening cannot know.
                #expect((run.store.notedLoss != nil) == run.fixture.unit.hasLostData || fromThenOn)
                run.store.stopFailing()
                run.checkAfterwards()
            }
            // Some of the failing calls were writes, which lose nothing when nothing fails after them.
            #expect(losses > 5 && (fromThenOn || losses < count))
        }
    }
}

/// Commands in flight on a disk whose store fails, and what their GOOD vouches for.
private final class LossRun {
    private enum Kind: CaseIterable {
        case write, writeDurably, writeAndVerify, compareAndWrite, orWrite, writeSame, unmap, synchronize, readDurably
    }

    private struct Issued {
        let outcome: Outcome
        /// The block and what it holds when the command has succeeded.
        var written: (block: Int, data: [UInt8])?
        /// Whether GOOD says that the command's own data are durable, or those of all that ended before it was sent.
        var isDurable = false
        var vouchesForOthers = false
        let start: Int
        var end: Int?
    }

    private static let blocks = 64
    let store = SimulatedStore(
        [UInt8](repeating: 0xF0, count: blocks * 512), forgetsAfterFailedSynchronization: true)
    let fixture: DiskFixture
    private let engine: SimulatedEngine
    private var random: SeededRandom
    private var ports: [DiskInitiator]
    private var issued: [Issued] = []
    private var time = 0

    init(seed: UInt64) throws {
        engine = SimulatedEngine(seed: seed)
        random = SeededRandom(seed: seed)
        fixture = try DiskFixture(store: store, engine: engine)
        ports = [
            fixture.initiator("iqn.2026-11.test:a"), fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor),
        ]
        store.fail(at: .max, errorNumber: 0, fromThenOn: false)
    }

    func run() {
        engine.hold()
        for block in 0..<Self.blocks {
            while issued.count(where: { $0.end == nil }) > 10 || Int.random(in: 0..<3, using: &random) == 0 {
                guard step() else { break }
            }
            if block == Self.blocks / 2 {
                ports[0].port.logOut()
                ports[0] = fixture.initiator("iqn.2026-11.test:a")
            }
            issue(Kind.allCases.randomElement(using: &random) ?? .write, block)
            settle()
        }
        while step() {}
    }

    private func step() -> Bool {
        let hasStepped = engine.step()
        settle()
        return hasStepped
    }

    /// Notes which commands have ended.
    private func settle() {
        fixture.settle()
        time += 1
        for index in issued.indices where issued[index].end == nil && issued[index].outcome.hasArrived {
            issued[index].end = time
        }
    }

    private func issue(_ kind: Kind, _ block: Int) {
        let port = ports[Int.random(in: 0...1, using: &random)]
        let old = [UInt8](repeating: 0xF0, count: 512)
        let data = random.bytes(512)
        var (command, dataOut): ([UInt8], [UInt8])
        var written: [UInt8]? = data
        switch kind {
        case .write: (command, dataOut) = (CDB.ten(OperationCode.write10, lba: block, count: 1), data)
        case .writeDurably:
            (command, dataOut) = (CDB.ten(OperationCode.write10, lba: block, count: 1, flags: 0x08), data)
        case .writeAndVerify:
            (command, dataOut) = (CDB.ten(OperationCode.writeAndVerify10, lba: block, count: 1, flags: 0x02), data)
        case .compareAndWrite:
            (command, dataOut) = (CDB.compareAndWrite(lba: block, count: 1, flags: 0x08), old + data)
        case .orWrite:
            (command, dataOut) = (CDB.sixteen(OperationCode.orWrite16, lba: UInt64(block), count: 1, flags: 8), data)
            written = zip(old, data).map { $0 | $1 }
        case .writeSame: (command, dataOut) = (CDB.ten(OperationCode.writeSame10, lba: block, count: 1), data)
        case .unmap:
            dataOut = CDB.unmapList([(UInt64(block), 1)])
            command = CDB.unmap(length: dataOut.count)
            written = [UInt8](repeating: 0, count: 512)
        case .synchronize:
            (command, dataOut) = (CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0), [])
            written = nil
        case .readDurably:
            (command, dataOut) = (CDB.ten(OperationCode.read10, lba: block, count: 1, flags: 0x08), [])
            written = nil
        }
        let isDurable = [.writeDurably, .writeAndVerify, .compareAndWrite, .orWrite].contains(kind)
        let outcome = port.submit(command, dataOut: dataOut).outcome
        issued.append(
            Issued(
                outcome: outcome, written: written.map { (block, $0) }, isDurable: isDurable,
                vouchesForOthers: isDurable || written == nil, start: time))
    }

    /// Checks what GOOD has vouched for against what a crash cannot take.
    func check() {
        let durable = store.durable
        func isDurable(_ command: Issued) -> Bool {
            guard let (block, data) = command.written else { return true }
            return Array(durable[block * 512..<(block + 1) * 512]) == data
        }
        let good = issued.filter { $0.outcome.hasArrived && $0.outcome.wait(again: true).status == .good }
        #expect(issued.allSatisfy { $0.outcome.hasArrived })
        for command in good {
            #expect(!command.isDurable || isDurable(command))
            guard command.vouchesForOthers else { continue }
            #expect(good.allSatisfy { ($0.end ?? .max) > command.start || isDurable($0) })
        }
        if !store.hasFailed { #expect(good.count > issued.count / 2) }
    }

    /// After a loss nothing is vouched for until it is acknowledged; then everything is as before.
    func checkAfterwards() {
        engine.release()
        let block = [UInt8](repeating: 1, count: 512)
        let synchronize = CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0)
        let later = fixture.initiator("iqn.2026-11.test:c", on: fixture.otherReactor)
        if fixture.unit.hasLostData {
            for port in ports + [later] {
                #expect(port.execute(synchronize).status == .checkCondition)
                #expect(port.write(0, block).status == .checkCondition)
            }
            #expect(fixture.unit.acknowledgeLoss() == nil)
        }
        for port in ports + [later] {
            // What is pending is told once.
            _ = port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
            #expect(port.write(0, block).status == .good)
            #expect(port.execute(synchronize).status == .good)
        }
        #expect(Array(store.durable.prefix(512)) == block)
    }
}

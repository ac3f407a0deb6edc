import Bytes
import DeviceTestSupport
import GRDB
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Media

/// The host fails to make data durable, and forgets that it has.
@Suite("Cartridge after a loss")
struct CartridgeLossTests {
    private let durable: [ModelObject] = [.block(name: 1, length: 100), .filemark]
    private let buffered: [ModelObject] = [.block(name: 2, length: 300), .block(name: 3, length: 300)]

    /// Two durable objects, and two that are lost by a failed synchronisation.
    private func lossy(noteFails: Bool = false) throws -> CartridgeFixture {
        let tape = try CartridgeFixture()
        _ = try tape.append([durable[0]])
        #expect(tape.cartridge.writeFilemarks(1).outcome == .done)
        #expect(tape.cartridge.synchronize() == nil)
        _ = try tape.append(buffered)
        tape.store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: noteFails)
        #expect(tape.cartridge.synchronize() == .dataLost(.device(Errno.inputOutput)))
        tape.store.stopFailing()
        return tape
    }

    private func expectRefusals(_ tape: CartridgeFixture, _ comment: Comment) throws {
        let refusal = WriteFailure.dataLost(.device(Errno.inputOutput))
        let appended = try tape.append([.block(name: 9, length: 100)])
        #expect(appended == AppendResult(count: 0, outcome: .failed(refusal)), comment)
        #expect(tape.cartridge.writeFilemarks(1) == AppendResult(count: 0, outcome: .failed(refusal)), comment)
        #expect(tape.cartridge.synchronize() == refusal, comment)
        #expect(tape.cartridge.prepareOverwrite() == refusal, comment)
        #expect(tape.cartridge.erase() == refusal, comment)
        #expect(!tape.cartridge.isDurable, comment)
        let difference = try tape.difference(from: durable)
        #expect(difference == nil, comment)
    }

    @Test("An acknowledgement counts although the index cannot be written after it; one that fails changes nothing")
    func acknowledgementAndClosing() throws {
        let tape = try lossy()
        tape.store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: true)
        #expect(throws: CartridgeError.self) {
            try CartridgeStore.acknowledgeLoss(on: tape.cartridge, path: "test")
        }
        #expect(tape.cartridge.loss == .device(Errno.inputOutput))
        tape.store.stopFailing()
        let reopened = try CartridgeFixture(store: tape.store, index: tape.index)
        #expect(reopened.cartridge.loss == .device(Errno.inputOutput))
        let failing = FailingCommits()
        tape.index.add(transactionObserver: failing)
        reopened.cartridge.countLoad()
        let failure = try CartridgeStore.acknowledgeLoss(on: reopened.cartridge, path: "test")
        guard case .auxiliaryMemory = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        tape.index.remove(transactionObserver: failing)
        #expect(try CartridgeFixture(store: tape.store, index: tape.index).cartridge.loss == nil)
    }

    @Test("Nothing lost is presented, nothing is written and nothing called durable until the loss is acknowledged")
    func sticky() throws {
        var tape = try lossy()
        #expect(tape.cartridge.position == 2)
        try expectRefusals(tape, "at once")
        #expect(tape.cartridge.close() == .dataLost(.device(Errno.inputOutput)))
        for round in 0..<3 {
            tape = try CartridgeFixture(store: tape.store, index: tape.index)
            try expectRefusals(tape, "opened again, \(round)")
            if round == 1 { #expect(tape.cartridge.close() != nil) }
        }
        #expect(tape.cartridge.acknowledgeLoss() == nil)
        #expect(tape.cartridge.loss == nil)
        tape.cartridge.spaceToEndOfData()
        let later: [ModelObject] = [.block(name: 4, length: 500)]
        let appended = try tape.append(later)
        #expect(appended.outcome == .done)
        #expect(tape.cartridge.close() == nil)
        tape = try CartridgeFixture(store: tape.store, index: tape.index)
        #expect(tape.cartridge.loss == nil)
        let difference = try tape.difference(from: durable + later)
        #expect(difference == nil)
    }

    @Test("Without an index, and after a crash, the medium itself knows of the loss")
    func medium() throws {
        let tape = try lossy()
        var generator = SeededRandom(seed: 1)
        let reopened = try tape.crash(using: &generator, index: try DatabaseQueue())
        try expectRefusals(reopened, "no index")
    }

    @Test("The time of the loss stays with it, however often it is opened and noted again")
    func time() throws {
        let before = CalendarTime.current()
        var tape = try lossy()
        let report = try #require(tape.cartridge.lossReport)
        let time = try #require(report.time)
        #expect(time >= before && time <= .current())
        #expect(report.failure == .device(Errno.inputOutput))
        for _ in 0..<2 {
            #expect(tape.cartridge.close() != nil)
            tape = try CartridgeFixture(store: tape.store, index: tape.index)
            #expect(tape.cartridge.lossReport == report)
        }
        #expect(tape.cartridge.acknowledgeLoss() == nil)
        #expect(tape.cartridge.lossReport == nil)
    }

    @Test("Where the loss could not be noted, what only the page cache has is not taken for durable")
    func pageCacheOnly() throws {
        let tape = try lossy(noteFails: true)
        // The process was killed: nobody has closed the cartridge, and the page cache still shows everything.
        let reopened = try CartridgeFixture(store: tape.store, index: tape.index)
        let difference = try reopened.difference(from: durable)
        #expect(difference == nil)
        #expect(reopened.cartridge.isDurable)
    }

    @Test("Closing notes what could not be noted before")
    func notedAtClose() throws {
        let tape = try lossy(noteFails: true)
        #expect(tape.cartridge.close() == .dataLost(.device(Errno.inputOutput)))
        let reopened = try CartridgeFixture(store: tape.store, index: tape.index)
        try expectRefusals(reopened, "opened again")
    }

    @Test(
        "A synchronisation that fails inside an overwrite is a loss as any other",
        arguments: [Errno.inputOutput, Errno.noSpace])
    func overwrite(errorNumber: Int32) throws {
        let tape = try CartridgeFixture()
        _ = try tape.append((0..<10).map { .block(name: $0, length: 100) })
        #expect(tape.cartridge.locate(object: 5))
        // The superblock is written, then synchronised.
        tape.store.fail(at: 2, errorNumber: errorNumber, fromThenOn: false)
        let loss = MediaFailure(errorNumber: errorNumber)
        let refused = try tape.append([.block(name: 11, length: 100)])
        #expect(refused == AppendResult(count: 0, outcome: .failed(.dataLost(loss))))
        tape.cartridge.rewind()
        #expect(tape.cartridge.synchronize() == .dataLost(loss))
        #expect(tape.cartridge.endOfData == 0)
        #expect(tape.cartridge.close() == .dataLost(loss))
        let reopened = try CartridgeFixture(store: tape.store, index: tape.index)
        #expect(reopened.cartridge.loss == loss)
        #expect(reopened.cartridge.endOfData == 0)
    }

    @Test("A loss in the background is told once, where it happens, and meets the next durable end")
    func checkpoint() throws {
        let tape = try CartridgeFixture()
        tape.cartridge.checkpointInterval = 1000
        let told = Lock<[MediaFailure]>([])
        tape.cartridge.whenLost { loss in told.withLock { $0.append(loss.failure) } }
        // The gathered blocks are one write, and the checkpoint follows them.
        tape.store.fail(at: 2, errorNumber: Errno.inputOutput, fromThenOn: false)
        let result = try tape.append((0..<20).map { .block(name: $0, length: 100) })
        #expect(result.outcome == .done)
        _ = tape.cartridge.writer.drain()
        #expect(told.withLock { $0 } == [.device(Errno.inputOutput)])
        #expect(tape.cartridge.synchronize() == .dataLost(.device(Errno.inputOutput)))
        #expect(told.withLock(\.count) == 1)
        tape.cartridge.whenLost(nil)
    }

    @Test("Who synchronises beside a call that fails learns of its failure, whichever call the host told")
    func beside() throws {
        let tape = try CartridgeFixture()
        let cartridge = tape.cartridge
        _ = try tape.append(buffered)
        let point = cartridge.beginSynchronize()
        tape.store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: false)
        // Several threads synchronise at once; the host tells one of them.
        let results = Lock<[Int32]>([])
        let threads = try (0..<4).map { number in
            try PlatformThread.start(name: "synchronise-\(number)") {
                let code = cartridge.synchronizeData(point)
                results.withLock { $0.append(code) }
            }
        }
        for thread in threads { thread.join() }
        #expect(!results.withLock { $0.contains(0) })
        #expect(cartridge.completeSynchronize() == .dataLost(.device(Errno.inputOutput)))
    }

    @Test("Tab and load count survive a failed synchronisation of data")
    func settings() throws {
        let tape = try CartridgeFixture()
        tape.cartridge.checkpointInterval = 1000
        tape.store.fail(at: 2, errorNumber: Errno.inputOutput, fromThenOn: true)
        _ = try tape.append((0..<20).map { .block(name: $0, length: 100) })
        tape.cartridge.countLoad()
        tape.cartridge.isWriteProtected = true
        _ = tape.cartridge.writer.drain()
        tape.store.stopFailing()
        let contents = try CartridgeIndex.adopt(tape.index).contents(partition: 0)
        #expect(contents?.settings.loadCount == 1)
        #expect(contents?.settings.isWriteProtected == true)
    }

    @Test("An acknowledgement that the host fails changes nothing", arguments: 1...2)
    func failedAcknowledgement(call: Int) throws {
        let tape = try lossy()
        tape.store.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(tape.cartridge.acknowledgeLoss() == .device(Errno.inputOutput))
        try expectRefusals(tape, "not acknowledged")
        #expect(tape.cartridge.close() != nil)
        let reopened = try CartridgeFixture(store: tape.store, index: tape.index)
        try expectRefusals(reopened, "opened again")
        #expect(reopened.cartridge.acknowledgeLoss() == nil)
        #expect(reopened.cartridge.synchronize() == nil)
    }
}

@Suite("Cartridge that refuses by itself")
struct CartridgeRefusalTests {
    @Test("The tab and WORM are the cartridge's own rules, whoever writes")
    func refusals() throws {
        let tape = try CartridgeFixture()
        _ = try tape.append([.block(name: 1, length: 100)])
        tape.cartridge.isWriteProtected = true
        let appended = try tape.append([.block(name: 2, length: 100)])
        #expect(appended == AppendResult(count: 0, outcome: .failed(.writeProtected)))
        #expect(tape.cartridge.writeFilemarks(1).outcome == .failed(.writeProtected))
        #expect(tape.cartridge.erase() == .writeProtected)
        #expect(tape.cartridge.endOfData == 1)
        let identity = testIdentity(capacity: 1 << 20, isWORM: true)
        let worm = try CartridgeFixture(store: .empty(identity), index: try DatabaseQueue())
        _ = try worm.append([.block(name: 1, length: 100)])
        #expect(worm.cartridge.writeFilemarks(1).outcome == .done)
        worm.cartridge.rewind()
        let overwritten = try worm.append([.block(name: 2, length: 100)])
        #expect(overwritten == AppendResult(count: 0, outcome: .failed(.wormOverwrite)))
        #expect(worm.cartridge.prepareOverwrite() == .wormOverwrite)
        #expect(worm.cartridge.locate(object: 1))
        #expect(worm.cartridge.erase() == .wormOverwrite)
        #expect(worm.cartridge.writeFilemarks(1).outcome == .done)
        #expect(worm.cartridge.endOfData == 2)
    }

    @Test("Attributes change only when the host has them")
    func attributes() throws {
        let tape = try CartridgeFixture()
        let attribute = MediumAttribute(identifier: 0x0801, format: .ascii, value: [0x41])
        #expect(tape.cartridge.commit([.set(attribute)]) == nil)
        let failing = FailingCommits()
        tape.index.add(transactionObserver: failing)
        let other = MediumAttribute(identifier: 0x0801, format: .ascii, value: [0x42])
        let failure = tape.cartridge.commit([.set(other), .remove(0x0802)])
        guard case .auxiliaryMemory = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(tape.cartridge.attributes == [attribute])
        tape.cartridge.countLoad()
        #expect(tape.cartridge.close() != nil, "the load count is not written")
        tape.index.remove(transactionObserver: failing)
        #expect(tape.cartridge.close() == nil)
        let contents = try CartridgeIndex.adopt(tape.index).contents(partition: 0)
        #expect(contents?.settings.attributes.values.map(\.value) == [[0x41]])
        #expect(contents?.settings.loadCount == 1)
    }

    @Test("More runs than the limit meet the end of the medium, after early warning; runs that go on do not")
    func runs() throws {
        let tape = try CartridgeFixture()
        let cartridge = tape.cartridge
        cartridge.runLimit = Cartridge.runReserve + 4
        for length in 1...4 {
            let result = try tape.append([.block(name: 1, length: length)])
            #expect(result.outcome == .done)
            #expect(!cartridge.isBeyondEarlyWarning(zone: 0))
        }
        _ = try tape.append([.block(name: 1, length: 5)])
        #expect(cartridge.isBeyondEarlyWarning(zone: 0))
        cartridge.runLimit = 5
        #expect(cartridge.writeFilemarks(1) == AppendResult(count: 0, outcome: .endOfMedium))
        let same = try tape.append([.block(name: 2, length: 5), .block(name: 3, length: 5)])
        #expect(same.outcome == .done)
        #expect(cartridge.locate(object: 3))
        #expect(cartridge.writeFilemarks(1).outcome == .done, "overwriting makes room")
        let other = try tape.append([.block(name: 3, length: 9)])
        #expect(other.outcome == .done)
        #expect(cartridge.writeFilemarks(1).outcome == .endOfMedium)
    }
}

/// Lets no transaction commit.
final class FailingCommits: TransactionObserver {
    struct Failure: Error {}

    func observes(eventsOfKind eventKind: DatabaseEventKind) -> Bool { false }
    func databaseDidChange(with event: DatabaseEvent) {}
    func databaseWillCommit() throws { throw Failure() }
    func databaseDidCommit(_ database: Database) {}
    func databaseDidRollback(_ database: Database) {}
}

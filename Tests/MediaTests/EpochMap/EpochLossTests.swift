import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Losses of disks with snapshots")
struct EpochLossTests {
    private let store = SimulatedStore(forgetsAfterFailedSynchronization: true)
    private let time = FamilyFixture.time()
    private let failure = MediaFailure.device(Errno.inputOutput)

    /// All ways to change a disk or its file.
    private func changes(_ disk: FamilyDisk) throws -> [MediaResult] {
        let image = disk.image
        func result(_ failure: MediaFailure?) -> MediaResult { failure.map { .failed($0) } ?? .done }
        return [
            try disk.write(0, 8, 9), try disk.discard(0, 8),
            try disk.perform { image.prepareZeros($0, first: 0, blocks: 8) }, try disk.mark(0), try disk.synchronize(),
            try disk.perform { image.prepareKeeping($0, operation: [1], insteadOf: nil) },
            result(image.fill(first: 0, with: [UInt8](repeating: 9, count: 512))),
            result(image.erase(first: 0, blocks: 8)), result(image.keep(operation: [1], insteadOf: nil)),
            result(image.synchronize()),
        ]
    }

    @Test("A failed synchronisation is told once, and no disk of the file changes until it is acknowledged")
    func synchronization() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        #expect(try disk.write(0, 8, 1) == .done)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        let other = try #require(FamilyDisk(file, try file.clone(snapshot, name: "clone", time: time)))
        let losses = Lock<[MediaFailure]>([])
        let notes = Lock<[MediaFailure?]>([])
        for image in [disk.image, other.image] {
            image.observeLosses { failure in losses.withLock { $0.append(failure) } }
            image.observeLossNotes { report, failure in notes.withLock { $0.append(failure) } }
        }
        let begun = try other.preparedWrite(8, 8, 3)
        #expect(try disk.write(0, 8, 2) == .done)
        store.failSynchronizations(Errno.inputOutput)
        #expect(try disk.synchronize() == .failed(failure))
        store.stopFailing()
        for disk in [disk, other] {
            #expect(disk.image.loss == failure)
            #expect(disk.image.lossReport?.time != nil)
            let content = store.content
            #expect(try changes(disk) == [MediaResult](repeating: .failed(failure), count: 10))
            #expect(throws: DiskImageError.dataLost(path: "test", failure)) { try disk.image.resize(to: 16 << 20) }
            #expect(store.content == content)
            // What was durable is read, and nothing that may not be on the device.
            #expect(try disk.read(0) == (disk.image === other.image ? 1 : nil))
        }
        // Each disk.
        #expect(losses.withLock { $0 } == [failure, failure])
        #expect(notes.withLock { $0 } == [nil, nil])
        #expect(store.notedLoss?.errorNumber == Errno.inputOutput)
        store.failNotes(Errno.inputOutput)
        #expect(disk.image.acknowledgeLoss() == failure)
        #expect(disk.image.loss == failure)
        store.stopFailing()
        #expect(disk.image.acknowledgeLoss() == nil)
        #expect(other.image.loss == nil)
        #expect(store.notedLoss == nil)
        // A command that began before the loss ends with it.
        #expect(other.outcome(begun) == .failed(failure))
        // The old or the new data.
        #expect(try [1, 2].contains(disk.read(0)))
        for disk in [disk, other] { #expect(try changes(disk) == [MediaResult](repeating: .done, count: 10)) }
    }

    @Test("The next opening knows of a loss, also of one that could only be noted at the end")
    func openings() throws {
        for isNotedLate in [false, true] {
            let store = SimulatedStore(forgetsAfterFailedSynchronization: true)
            let disk = try #require(FamilyDisk(try FamilyDisk.file(store)))
            #expect(try disk.write(0, 8, 1) == .done)
            #expect(try disk.synchronize() == .done)
            #expect(try disk.write(0, 8, 2) == .done)
            store.failSynchronizations(Errno.inputOutput)
            if isNotedLate { store.failNotes(Errno.noSpace) }
            let told = Lock<[MediaFailure?]>([])
            disk.image.observeLossNotes { _, failure in told.withLock { $0.append(failure) } }
            #expect(disk.image.synchronize() == failure)
            store.stopFailing()
            #expect(told.withLock { $0 } == [isNotedLate ? .hostFull : nil])
            if isNotedLate { #expect(store.notedLoss == nil) }
            #expect(disk.image.close() == failure)
            #expect(disk.file.isClosed)
            let second = SimulatedStore(store.durable)
            #expect(second.noteLoss(store.notedLoss) == 0)
            let opened = try FamilyFile.open(second, path: "test")
            #expect(opened.loss == failure)
            let again = try #require(FamilyDisk(opened))
            #expect(try again.write(0, 8, 3) == .failed(failure))
            #expect(throws: FamilyError.dataLost(failure)) { try opened.snapshot([1], names: ["one"], time: time) }
            #expect(try again.read(0) == 1)
            #expect(again.image.acknowledgeLoss() == nil)
            #expect(try again.write(0, 8, 3) == .done)
            #expect(again.image.close() == nil)
        }
    }

    @Test("A loss that background work meets concerns the write that follows it, and is told before")
    func background() throws {
        let file = try FamilyDisk.file(store)
        let engine = SimulatedEngine()
        let disk = try #require(FamilyDisk(file, engine: engine))
        #expect(try disk.write(0, 64, 1) == .done)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        #expect(try disk.write(0, 64, 2) == .done)
        engine.hold()
        try file.delete(snapshot)
        // The first step of the merge has to make a commit.
        store.failSynchronizations(Errno.inputOutput)
        engine.release()
        #expect(file.loss == failure)
        store.stopFailing()
        #expect(try disk.write(0, 8, 3) == .failed(failure))
        #expect(file.nodes.count == 2)
        #expect(file.acknowledgeLoss() == nil)
        // It goes on.
        #expect(file.nodes.map(\.number) == [1])
        #expect(try disk.write(0, 8, 3) == .done)
    }

    @Test("A file that is cut is a loss, and no write makes zeros of what is gone")
    func truncated() throws {
        for isFoundByReading in [true, false] {
            let store = SimulatedStore()
            let file = try FamilyDisk.file(store)
            let disk = try #require(FamilyDisk(file))
            #expect(try disk.write(0, 4096, 1) == .done)
            #expect(try disk.synchronize() == .done)
            let (length, content) = (store.size(), store.content)
            #expect(store.truncate(to: length - (1 << 20)) == 0)
            if isFoundByReading {
                let last = (0..<4096 as Range<UInt64>).last { block in
                    (try? disk.read(block)) == .some(nil)
                }
                #expect(last != nil)
            } else {
                #expect(try disk.synchronize() == .failed(.truncated))
            }
            #expect(file.loss == .truncated)
            #expect(disk.image.truncatedFile.length == length)
            #expect(try disk.write(8000, 8, 2) == .failed(.truncated))
            #expect(store.size() == length - (1 << 20))
            #expect(disk.image.acknowledgeLoss() == .truncated)
            // Put back from a copy.
            #expect(store.truncate(to: length) == 0)
            _ = store.write(content.rawSpan, offset: 0)
            #expect(disk.image.acknowledgeLoss() == nil)
            #expect(try disk.read(4095) == 1)
            #expect(try disk.write(8000, 8, 2) == .done)
        }
    }

    @Test("A full host is no loss: a write fails, and the next one need not")
    func fullHost() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        store.fail(at: 1, errorNumber: Errno.noSpace, fromThenOn: true)
        #expect(try disk.write(0, 8, 1) == .failed(.hostFull))
        store.stopFailing()
        #expect(file.loss == nil)
        #expect(try disk.read(0) == 0)
        #expect(try disk.write(0, 8, 1) == .done)
    }

    @Test("A change of a note that fails at any step leaves what was there, and at most one loss")
    func notes() throws {
        let (before, after) = ([1, 2, 3] as [UInt8], [4, 5] as [UInt8])
        for call in 1...5 {
            let store = SimulatedStore(forgetsAfterFailedSynchronization: true)
            let file = try FamilyDisk.file(store)
            let disk = try #require(FamilyDisk(file))
            #expect(disk.image.keep(operation: before, insteadOf: nil) == nil)
            #expect(file.flush() == 0 && file.flush() == 0)
            let losses = Lock(0)
            disk.image.observeLosses { _ in losses.withLock { $0 += 1 } }
            store.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: false)
            let found = disk.image.keep(operation: after, insteadOf: before)
            let isKept = found == nil
            #expect(store.notes[.operation.of(1)] == (isKept ? after : before), "call \(call)")
            // That the store does not take a note is no loss; that it is not durable is one.
            #expect(disk.image.loss == (isKept || call == 1 ? nil : failure), "call \(call)")
            #expect(losses.withLock { $0 } == (isKept || call == 1 ? 0 : 1), "call \(call)")
            store.stopFailing()
            if !isKept, call > 1 {
                #expect(disk.image.keep(failedOperation: after) == nil)
                #expect(store.notes[.operation.of(1)] == after)
                #expect(disk.image.acknowledgeLoss() == nil)
            }
            #expect(disk.image.keep(operation: nil, insteadOf: after) == nil)
            #expect(store.notes.isEmpty)
        }
    }
}

import DeviceTestSupport
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Media

@Suite("A disk that is rolled back")
struct RollbackTests {
    private let store = SimulatedStore(forgetsAfterFailedSynchronization: true)
    private let time = FamilyFixture.time()

    @Test("It goes on with what the snapshot has, marks and capacity included, and says so before anything is done")
    func goesOn() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        #expect(try disk.write(0, 64, 1) == .done)
        #expect(try disk.mark(5) == .done)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        #expect(try disk.write(0, 64, 2) == .done)
        #expect(try disk.mark(6) == .done)
        try disk.image.resize(to: 16 << 20)
        #expect(try disk.write(20000, 1, 2) == .done)
        let told = Lock<[Int64]>([])
        disk.image.observeReplacement { [image = disk.image] in told.withLock { $0.append(image.capacity) } }
        let number = try disk.image.rollBack(to: snapshot, keeping: "kept", time: time)
        #expect(told.withLock { $0 } == [8 << 20])
        #expect(disk.image.node == number)
        #expect(disk.image.capacity == 8 << 20)
        #expect(try disk.read(0) == 1)
        #expect(try disk.read(5) == nil)
        #expect(try disk.read(6) == 1)
        // Behind the end, as the device may ask that has looked at the capacity before.
        #expect(try disk.read(20000) == nil)
        #expect(try disk.write(20000, 1, 3) == .failed(.replaced))
        #expect(try disk.write(5, 1, 3) == .done)
        let kept = try #require(FamilyDisk(file, 1))
        #expect(kept.image.isReadOnly)
        #expect(try kept.read(0) == 2)
        #expect(try kept.read(6) == nil)
        #expect(try kept.read(20000) == 2)
        #expect(throws: FamilyError.inUse(number)) { try file.delete(number) }
        #expect(disk.image.close() == nil)
        #expect(kept.image.close() == nil)
        #expect(file.isClosed)
    }

    @Test("What was prepared for the former content is not done to the new one")
    func prepared() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        #expect(try disk.write(0, 64, 1) == .done)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        let image = disk.image
        let requests = [
            try disk.preparedWrite(0, 8, 2), try disk.request { image.prepareDeallocate($0, first: 8, blocks: 8) },
            try disk.request { image.prepareZeros($0, first: 16, blocks: 8) },
            try disk.request { image.prepareMarking($0, first: 24) },
            try disk.request { image.prepareKeeping($0, operation: [1], insteadOf: nil) },
        ]
        let synchronize = try disk.request { image.prepareSynchronize($0) }
        _ = try image.rollBack(to: snapshot, keeping: "kept", time: time)
        for request in requests { #expect(disk.outcome(request) == .failed(.replaced)) }
        #expect(disk.outcome(synchronize) == .done)
        for block in [0, 8, 16, 24] as [UInt64] { #expect(try disk.read(block) == 1) }
        #expect(store.notes.isEmpty)
        #expect(try disk.write(0, 8, 3) == .done)
    }

    @Test("An operation on all blocks keeps the content")
    func operation() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        #expect(disk.image.keep(operation: [1], insteadOf: nil) == nil)
        #expect(throws: FamilyError.operation(1)) {
            try disk.image.rollBack(to: snapshot, keeping: "kept", time: time)
        }
        #expect(disk.image.node == 1)
        #expect(try disk.write(0, 8, 1) == .done)
        #expect(disk.image.keep(operation: nil, insteadOf: [1]) == nil)
        #expect(throws: FamilyError.noNode(9)) { try disk.image.rollBack(to: 9, keeping: "kept", time: time) }
        #expect(try disk.read(0) == 1)
        _ = try disk.image.rollBack(to: snapshot, keeping: "kept", time: time)
        #expect(try disk.read(0) == 0)
    }

    @Test("With writers going on, the new content has nothing of theirs but what they began after it")
    func writers() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        #expect(try disk.write(0, 64, 1) == .done)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        let image = disk.image
        let isDone = Atomic<Bool>(false)
        let wrong = Lock<[String]>([])
        try withThreads { start in
            for thread in 0..<3 {
                try start {
                    let disk = FamilyDisk(image)
                    while !isDone.load(ordering: .relaxed) {
                        // 2 is what is written in generation 0, 3 in generation 1 …
                        let first = UInt64(8 * thread)
                        let generation = disk.image.generation
                        guard let request = try? disk.preparedWrite(first, 8, UInt8(truncatingIfNeeded: generation) + 2)
                        else { continue }
                        guard disk.image.generation == generation else { continue }
                        let result = disk.outcome(request)
                        if result != .done, result != .failed(.replaced) { wrong.withLock { $0.append("\(result)") } }
                    }
                }
            }
            for round in 1...8 as ClosedRange<UInt8> {
                _ = try disk.image.rollBack(to: snapshot, keeping: "kept \(round)", time: time)
                for block in [0, 8, 16] as [UInt64] {
                    let found = try disk.read(block)
                    if found != 1, found != round + 2 {
                        wrong.withLock { $0.append("block \(block): \(found ?? 0)") }
                    }
                }
            }
            isDone.store(true, ordering: .relaxed)
        }
        #expect(wrong.withLock { $0 } == [])
    }

    @Test("One that has met a failed synchronisation is done or not, and the disk goes on with what there is")
    func failing() throws {
        for isDurable in [false, true] {
            let store = SimulatedStore(forgetsAfterFailedSynchronization: !isDurable)
            let file = try FamilyDisk.file(store)
            let disk = try #require(FamilyDisk(file))
            #expect(try disk.write(0, 64, 1) == .done)
            let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
            #expect(try disk.write(0, 64, 2) == .done)
            #expect(try disk.synchronize() == .done)
            store.failSynchronizations(Errno.inputOutput)
            #expect(throws: FamilyError.uncertain(.device(Errno.inputOutput))) {
                try disk.image.rollBack(to: snapshot, keeping: "kept", time: time)
            }
            store.stopFailing()
            #expect(disk.image.loss == .device(Errno.inputOutput))
            #expect(try disk.write(0, 8, 3) == .failed(.device(Errno.inputOutput)))
            #expect(disk.image.acknowledgeLoss() == nil)
            let heads = file.nodes.filter { $0.kind == .head }.map(\.number)
            #expect(heads == [disk.image.node])
            #expect(try disk.read(0) == (disk.image.node == 1 ? 2 : 1))
            #expect(try disk.write(0, 8, 3) == .done)
            #expect(disk.image.close() == nil)
            #expect(file.isClosed)
        }
    }
}

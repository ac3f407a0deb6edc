import Bytes
import DeviceTestSupport
import Foundation
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Media

@Suite("The file of a family")
struct FamilyFileTests {
    private let store = SimulatedStore(forgetsAfterFailedSynchronization: true)
    private let time = FamilyFixture.time()

    @Test("What was closed writes nothing any more, and the file can be opened though somebody still refers to it")
    func closed() throws {
        let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let former = try FamilyFile.create(
            path: path, capacity: 1 << 20, blockSize: 512, name: "a", time: FamilyFixture.time(),
            uuid: FamilyFixture.uuid)
        #expect(throws: DiskImageError.inUse(path: path)) { try FamilyFile.open(path: path) }
        #expect(former.close() == nil)
        let next = try FamilyFile.open(path: path)
        #expect(former.withFamily { $0.fill(1, 7, at: 0, count: 4096) } == .failed(Errno.cancelled))
        // What comes too late fails, and is no loss of what was written.
        #expect(former.synchronize() == .device(Errno.cancelled))
        #expect(throws: FamilyError.self) { try former.repair() }
        #expect(throws: FamilyError.self) { try former.snapshot([1], names: ["s"], time: FamilyFixture.time()) }
        #expect(former.acknowledgeLoss() != nil)
        #expect(former.loss == nil && former.store.notedLoss == nil)
        #expect(next.withFamily { $0.content(1, at: 0, count: 4096) }.allSatisfy { $0 == 0 })
        #expect(next.close() == nil)
    }

    @Test("What only deleted nodes have is freed in the background, over an opening too, and not after the end")
    func merging() throws {
        let engine = SimulatedEngine()
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file, engine: engine))
        let empty = file.withFamily { $0.usedUnits }
        #expect(try disk.write(0, 4096, 1) == .done)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        #expect(try disk.write(0, 4096, 2) == .done)
        engine.hold()
        try file.delete(snapshot)
        #expect(file.nodes.count == 2)
        #expect(engine.hasWork)
        // A crash: the next opening goes on, with the first disk.
        #expect(file.flush() == 0)
        let opened = try FamilyFile.open(SimulatedStore(store.durable), path: "test")
        #expect(opened.nodes.count == 2)
        let again = try #require(FamilyDisk(opened, engine: SimulatedEngine()))
        #expect(opened.nodes.map(\.number) == [1])
        #expect(try again.read(0) == 2)
        // One step, and then commands of others.
        #expect(engine.step())
        #expect(file.nodes.count == 2)
        engine.release()
        #expect(file.nodes.count == 1)
        #expect(try disk.discard(0, 4096) == .done)
        #expect(file.flush() == 0 && file.flush() == 0)
        #expect(file.withFamily { $0.checkpoint() } == 0)
        #expect(file.withFamily { $0.usedUnits } <= empty + 4)
        let second = try file.snapshot([1], names: ["two"], time: time)[0]
        engine.hold()
        try file.delete(second)
        #expect(disk.image.close() == nil)
        let calls = store.callCount
        engine.release()
        #expect(store.callCount == calls)
    }

    @Test("Names, differences and what is refused")
    func tree() throws {
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        #expect(try disk.write(16, 16, 1) == .done)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        #expect(try disk.write(17, 1, 2) == .done)
        #expect(try disk.write(64, 8, 2) == .done)
        try disk.image.resize(to: (8 << 20) + 512)
        #expect(try disk.write(16384, 1, 2) == .done)
        let all: [Range<Int64>] = [8192..<12288, 32768..<36864, 8 << 20..<(8 << 20) + 512]
        #expect(try file.differences(from: snapshot, to: 1, first: 0, limit: 10) == all)
        #expect(try file.differences(from: 1, to: snapshot, first: 0, limit: 10) == all)
        #expect(try file.differences(from: snapshot, to: 1, first: 0, limit: 2) == Array(all.prefix(2)))
        #expect(try file.differences(from: snapshot, to: 1, first: 33000, limit: 10) == [33000..<36864, all[2]])
        #expect(try file.differences(from: snapshot, to: 1, first: 1 << 40, limit: 10) == [])
        #expect(throws: FamilyError.noNode(9)) { try file.differences(from: 9, to: 1, first: 0, limit: 1) }
        try file.rename(snapshot, to: "other")
        #expect(file.nodes.map(\.name) == ["disk", "other"])
        #expect(throws: FamilyError.invalidName) { try file.rename(snapshot, to: "") }
        #expect(throws: FamilyError.notSnapshot(1)) { try file.clone(1, name: "clone", time: time) }
        #expect(throws: FamilyError.notHead(snapshot)) { try file.snapshot([snapshot], names: ["x"], time: time) }
        #expect(file.nodes.count == 2)
        #expect(file.loss == nil)
    }

    private typealias Change = (FamilyFile, FamilyDisk) throws -> Void

    @Test("A change of the tree that cannot be made durable is a loss, and after it there is none")
    func losses() throws {
        let lost = FamilyError.dataLost(.device(Errno.inputOutput))
        let changes: [Change] = [
            { file, _ in _ = try file.snapshot([1], names: ["two"], time: time) },
            { file, _ in _ = try file.clone(2, name: "clone", time: time) }, { file, _ in try file.delete(2) },
            { file, _ in try file.rename(2, to: "other") },
            { _, disk in _ = try disk.image.rollBack(to: 2, keeping: "kept", time: time) },
            { file, _ in _ = try FamilyFile.snapshot([.init(file: file, heads: [1], names: ["two"])], time: time) },
        ]
        for change in changes {
            let store = SimulatedStore(forgetsAfterFailedSynchronization: true)
            let file = try FamilyDisk.file(store)
            let disk = try #require(FamilyDisk(file))
            #expect(try file.snapshot([1], names: ["one"], time: time) == [2])
            #expect(try disk.write(0, 8, 1) == .done)
            store.failSynchronizations(Errno.inputOutput)
            let error = #expect(throws: FamilyError.self) { try change(file, disk) }
            // Of several files, what is written is made durable before anything is done.
            #expect(error == .uncertain(.device(Errno.inputOutput)) || error == lost)
            store.stopFailing()
            #expect(file.loss == .device(Errno.inputOutput))
            for change in changes { #expect(throws: lost) { try change(file, disk) } }
            #expect(throws: lost) { try file.differences(from: 2, to: 1, first: 0, limit: 1) }
            #expect(store.notedLoss?.errorNumber == Errno.inputOutput)
            #expect(file.acknowledgeLoss() == nil)
            #expect(try disk.write(0, 8, 2) == .done)
        }
    }

    @Test("Snapshots of several files are of one instant", arguments: Effort.seeds(10, few: 2))
    func consistentSnapshots(seed: UInt64) throws {
        let stores = (0..<3).map { _ in SimulatedStore() }
        let files = try stores.map { try FamilyDisk.file($0) }
        let disks = try files.map { try #require(FamilyDisk($0)) }
        let images = disks.map(\.image)
        let isDone = Atomic<Bool>(false)
        let wrong = Lock<[String]>([])
        try withThreads { start in
            // Each writer counts in a unit of one disk, and then, when that is acknowledged, in the next disk's.
            for thread in 0..<2 {
                try start {
                    let disks = images.map { FamilyDisk($0) }
                    var count: UInt8 = 0
                    while !isDone.load(ordering: .relaxed), count < 250 {
                        count += 1
                        for disk in disks {
                            guard let result = try? disk.write(UInt64(thread * 8), 8, count), result == .done else {
                                return wrong.withLock { $0.append("a write has failed") }
                            }
                        }
                    }
                }
            }
            for round in 0..<8 {
                let made = try FamilyFile.snapshot(
                    files.shuffled().map { .init(file: $0, heads: [1], names: ["round \(round)"]) }, time: time)
                #expect(made == [[UInt32(round + 2)], [UInt32(round + 2)], [UInt32(round + 2)]])
                for thread in 0..<2 {
                    let counts = try files.map { file in
                        try #require(FamilyDisk(file, UInt32(round + 2))).read(UInt64(thread * 8)) ?? 0
                    }
                    if counts != counts.sorted(by: >) || counts[0] > counts[2] + 1 {
                        wrong.withLock { $0.append("\(counts)") }
                    }
                }
            }
            isDone.store(true, ordering: .relaxed)
        }
        #expect(wrong.withLock { $0 } == [])
        for disk in disks { #expect(disk.image.close() == nil) }
    }

    @Test("When one of several files has no snapshot, none has")
    func noneOfSeveral() throws {
        let files = try (0..<2).map { _ in try FamilyDisk.file(SimulatedStore()) }
        for wrong in 0..<2 {
            let requests = files.enumerated().map { index, file in
                FamilyFile.SnapshotRequest(file: file, heads: [index == wrong ? 9 : 1], names: ["one"])
            }
            #expect(throws: FamilyError.noNode(9)) { try FamilyFile.snapshot(requests, time: time) }
            for file in files { #expect(file.nodes.filter(\.isPresent).map(\.number) == [1]) }
        }
        let twice = FamilyFile.SnapshotRequest(file: files[0], heads: [1], names: ["one"])
        #expect(throws: FamilyError.repeated(1)) { try FamilyFile.snapshot([twice, twice], time: time) }
        #expect(try FamilyFile.snapshot([], time: time) == [])
        for file in files {
            let disk = try #require(FamilyDisk(file))
            #expect(try disk.write(0, 8, 1) == .done)
        }
    }
}

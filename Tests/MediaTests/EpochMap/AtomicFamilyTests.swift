import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Atomic writes to a disk with snapshots")
struct AtomicFamilyTests {
    private let time = FamilyFixture.time()

    @Test("All blocks of a command are new, and what is around them in their units is as it was")
    func blocks() throws {
        let store = SimulatedStore()
        let file = try FamilyDisk.file(store, capacity: (8 << 20) + 512)
        let disk = try #require(FamilyDisk(file))
        #expect(disk.image.maximumAtomicLength == 1 << 20)
        func write(_ first: UInt64, _ blocks: Int, _ value: UInt8) throws -> MediaResult {
            try disk.perform(lease: [UInt8](repeating: value, count: blocks * 512)) {
                disk.image.prepareAtomicWrite($0, first: first, blocks: UInt64(blocks))
            }
        }
        #expect(try disk.write(0, 64, 1) == .done)
        #expect(try disk.mark(5) == .done)
        #expect(try write(3, 30, 2) == .done)
        #expect(!disk.image.hasMarks)
        let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
        #expect(try write(16, 1, 3) == .done)
        #expect(try write(16384, 1, 4) == .done)
        #expect(try write(100, 2048, 5) == .done)
        let old = try #require(FamilyDisk(file, snapshot))
        #expect(try old.read(16) == 2)
        #expect(
            try old.perform(lease: [UInt8](repeating: 9, count: 512)) {
                old.image.prepareAtomicWrite($0, first: 0, blocks: 1)
            } == .failed(.writeProtected))
        // Durable without more.
        let opened = try #require(FamilyDisk(try FamilyFile.open(SimulatedStore(store.durable), path: "test")))
        for (block, value) in [
            (2, 1), (3, 2), (15, 2), (16, 3), (17, 2), (32, 2), (33, 1), (99, 0), (100, 5), (2147, 5), (2148, 0),
            (16384, 4),
        ] as [(UInt64, UInt8)] {
            #expect(try disk.read(block) == value, "block \(block)")
            #expect(try opened.read(block) == value, "block \(block)")
        }
    }

    @Test("A failure leaves the blocks as they were, or is a loss")
    func failures() throws {
        for call in 1...6 {
            let store = SimulatedStore(forgetsAfterFailedSynchronization: true)
            let file = try FamilyDisk.file(store)
            let disk = try #require(FamilyDisk(file))
            #expect(try disk.write(0, 16, 1) == .done)
            #expect(file.flush() == 0 && file.flush() == 0)
            store.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: false)
            let result = try disk.perform(lease: [UInt8](repeating: 2, count: 16 * 512)) {
                disk.image.prepareAtomicWrite($0, first: 0, blocks: 16)
            }
            guard result != .done else { continue }
            store.stopFailing()
            #expect(result == .failed(.device(Errno.inputOutput)))
            if file.loss != nil { #expect(file.acknowledgeLoss() == nil) }
            let found = try (0..<16 as Range<UInt64>).map { try disk.read($0) }
            #expect(Set(found).count == 1, "call \(call)")
            #expect(file.withFamily { $0.checkpoint() } == 0)
            #expect(file.withFamily { $0.check() }.isEmpty)
        }
    }

    /// What an area of the disk holds between two calls of the store.
    private struct State {
        let call: Int
        let content: [UInt8]
    }

    @Test("Whatever a crash leaves, a command is done or not", arguments: Effort.seeds(20, few: 3))
    func crashes(seed: UInt64) throws {
        let store = RecordingStore(keepsHistory: true)
        let family = try FamilyFixture.create(on: store, capacity: 1 << 20)
        var random = SeededRandom(seed: seed)
        // The first half is written atomically, the other one anyhow.
        var content = [UInt8](repeating: 0, count: 1 << 19)
        var states = [State(call: store.entryCount, content: content)]
        var begins: [Int] = []
        for round in 1...24 as ClosedRange<UInt8> {
            let first = 512 * Int.random(in: 0..<1000, using: &random)
            let count = 512 * Int.random(in: 1...min(120, 1024 - first / 512), using: &random)
            let bytes = [UInt8](repeating: round, count: count)
            begins.append(store.entryCount)
            #expect(family.writeAtomically(1, bytes.rawSpan, at: Int64(first)) == .done(count))
            content.replaceSubrange(first..<first + count, with: bytes)
            states.append(State(call: store.entryCount, content: content))
            let other = Int64(1 << 19) + 512 * Int64.random(in: 0..<900, using: &random)
            #expect(family.fill(1, round, at: other, count: 512 * 100) == .done(512 * 100))
            switch round % 6 {
            case 1: _ = try family.snapshot([1], names: ["\(round)"], time: time)
            case 3: #expect(family.checkpoint() == 0)
            case 4: #expect(family.flush() == 0)
            default: break
            }
        }
        let (base, entries) = store.record
        var cursor = CrashCursor(base: base, entries: entries)
        for place in states[0].call...entries.count {
            guard Effort.isFull || place % 2 == 0 else { continue }
            cursor.advance(to: place)
            // The last one that has ended, and the next one when that has begun.
            let last = states.lastIndex { $0.call <= place } ?? 0
            let hasBegun = last < begins.count && begins[last] < place
            let possible = [states[last]] + (hasBegun ? [states[last + 1]] : [])
            for choice in cursor.choices(6, isExhaustive: true, seed: seed) {
                let opened = try DiskFamily.open(RecordingStore(cursor.image(choice), keepsHistory: false))
                let found = opened.content(1, at: 0, count: 1 << 19)
                #expect(possible.contains { $0.content == found }, "seed \(seed), call \(place), \(choice)")
            }
        }
    }
}

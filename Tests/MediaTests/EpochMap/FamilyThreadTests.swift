import Bytes
import DeviceTestSupport
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Media

@Suite("A disk with snapshots, many threads")
struct FamilyThreadTests {
    static let units = 2048
    static let threads = 4

    /// What a unit holds: who wrote it, its number, and a count that only grows, in each of its sectors.
    static func unit(_ thread: Int, _ unit: Int, _ count: UInt64) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 4096)
        bytes.modifyBytes { target in
            for sector in 0..<8 {
                target.storeBE64(UInt64(thread) << 32 | UInt64(unit), at: sector * 512)
                target.storeBE64(count, at: sector * 512 + 8)
            }
        }
        return bytes
    }

    /// Whether a unit holds what `unit` makes, or nothing; its count.
    static func count(_ bytes: RawSpan, _ thread: Int, _ unit: Int) -> UInt64? {
        if bytes.isAllZero { return 0 }
        let count = bytes.loadBE64(at: 8)
        for sector in 0..<8 {
            guard bytes.loadBE64(at: sector * 512) == UInt64(thread) << 32 | UInt64(unit),
                bytes.loadBE64(at: sector * 512 + 8) == count
            else { return nil }
        }
        return count
    }

    @Test("Nobody reads another one's data, and snapshots stay as they are", arguments: Effort.seeds(20, few: 2))
    func stress(seed: UInt64) throws {
        let folder = try TemporaryFolder()
        let store = try File.open(path: folder.file("disk"), [.readWrite, .create])
        let family = try FamilyFixture.create(on: store, capacity: Int64(Self.units) * 4096)
        let acknowledged = Counts(Self.units)
        let isDone = Atomic<Bool>(false)
        let wrong = Lock<[String]>([])
        try withThreads { start in
            for thread in 0..<Self.threads {
                try start { Self.write(family, thread, seed, acknowledged, isDone, wrong) }
                try start { Self.read(family, thread, seed, acknowledged, isDone, wrong) }
            }
            try start { Self.snapshots(family, seed, acknowledged, wrong) }
            try start {
                while !isDone.load(ordering: .relaxed) {
                    if family.flush() != 0 { wrong.withLock { $0.append("flush") } }
                }
            }
            let steps = Effort.isFull ? 300 : 60
            for step in 0..<steps {
                if step % 8 == 0, family.checkpoint() != 0 { wrong.withLock { $0.append("checkpoint") } }
                do { _ = try family.mergeStep() } catch { wrong.withLock { $0.append("merge: \(error)") } }
            }
            isDone.store(true, ordering: .relaxed)
        }
        #expect(wrong.withLock { $0 } == [])
        while try family.mergeStep() {}
        #expect(family.check() == [])
        let opened = try DiskFamily.open(store)
        let content = opened.content(1, at: 0, count: Self.units * 4096)
        #expect(content == family.content(1, at: 0, count: Self.units * 4096))
    }

    /// Each thread writes units of its own; a unit is acknowledged up to its count.
    private static func write(
        _ family: DiskFamily, _ thread: Int, _ seed: UInt64, _ acknowledged: Counts, _ isDone: borrowing Atomic<Bool>,
        _ wrong: borrowing Lock<[String]>
    ) {
        var random = SeededRandom(seed: seed * 100 + UInt64(thread))
        var counts = [UInt64](repeating: 0, count: units)
        while !isDone.load(ordering: .relaxed) {
            let own = units / threads
            let first = thread * own + Int.random(in: 0..<own, using: &random)
            let length = min(
                Int.random(in: 1...(random.next() % 8 == 0 ? 200 : 3), using: &random), (thread + 1) * own - first)
            if random.next() % 10 == 0 {
                // Zeros are less than any count, so nothing is known until the next write.
                for unit in first..<first + length { acknowledged.set(unit, 0) }
                let result = family.discard(1, at: Int64(first) * 4096, length: Int64(length) * 4096)
                if result != .done(0) { wrong.withLock { $0.append("discard: \(result)") } }
                continue
            }
            var bytes: [UInt8] = []
            for unit in first..<first + length {
                counts[unit] += 1
                bytes += Self.unit(thread, unit, counts[unit])
            }
            let result = put(family, bytes, at: Int64(first) * 4096)
            if result != .done(bytes.count) { wrong.withLock { $0.append("write: \(result)") } }
            for unit in first..<first + length { acknowledged.set(unit, counts[unit]) }
        }
    }

    /// Writes as a reactor does, and where that is not possible as a thread that may wait.
    private static func put(_ family: DiskFamily, _ bytes: [UInt8], at offset: Int64) -> FileResult {
        let grace = family.memory.grace
        let pass = grace.enter()
        let result = family.writeCached(1, bytes.rawSpan, at: offset)
        grace.leave(pass)
        switch result {
        case .done: return .done(bytes.count)
        case .doneAndDue:
            family.upkeep()
            return .done(bytes.count)
        case .wouldBlock: return family.write(1, bytes.rawSpan, at: offset)
        }
    }

    /// Reads a unit as a reactor does, and where that is not possible as a thread that may wait.
    private static func get(_ family: DiskFamily, _ unit: Int, _ pool: BufferPool) -> [UInt8] {
        guard var lease = pool.lease(capacity: 4096) else { return [] }
        let grace = family.memory.grace
        let pass = grace.enter()
        let result = family.readCached(1, into: &lease, at: Int64(unit) * 4096, 4096)
        grace.leave(pass)
        return result == .done(4096) ? lease.copyToArray() : family.content(1, at: Int64(unit) * 4096, count: 4096)
    }

    private static func read(
        _ family: DiskFamily, _ thread: Int, _ seed: UInt64, _ acknowledged: Counts, _ isDone: borrowing Atomic<Bool>,
        _ wrong: borrowing Lock<[String]>
    ) {
        var random = SeededRandom(seed: seed * 100 + 50 + UInt64(thread))
        let pool = BufferPool(limit: 1 << 20)
        while !isDone.load(ordering: .relaxed) {
            let unit = Int.random(in: 0..<units, using: &random)
            let bytes = get(family, unit, pool)
            let sector = bytes.isEmpty ? [] : Array(bytes[0..<512])
            // A unit that is being overwritten may be a mixture, sector by sector; none of them is another's.
            for start in stride(from: 0, to: bytes.count, by: 512) {
                let word = bytes.rawSpan.loadBE64(at: start)
                let owner = UInt64(unit / (units / threads)) << 32 | UInt64(unit)
                if word != 0, word != owner { wrong.withLock { $0.append("unit \(unit) reads \(word)") } }
            }
            if sector.isEmpty { wrong.withLock { $0.append("unit \(unit) is not read") } }
        }
    }

    /// Takes snapshots, reads them twice, and deletes most of them.
    private static func snapshots(
        _ family: DiskFamily, _ seed: UInt64, _ acknowledged: Counts, _ wrong: borrowing Lock<[String]>
    ) {
        var kept: [(UInt32, [UInt8])] = []
        for round in 0..<(Effort.isFull ? 100 : 20) {
            let before = acknowledged.all
            do {
                let node = try family.snapshot([1], names: ["s\(round)"], time: FamilyFixture.time())[0]
                let content = family.content(node, at: 0, count: units * 4096)
                if content.isEmpty { wrong.withLock { $0.append("snapshot is not read") } }
                for unit in 0..<(content.isEmpty ? 0 : units) {
                    let part = content.rawSpan.extracting(unit * 4096..<(unit + 1) * 4096)
                    // Units that were being written are a mixture; what was acknowledged before is there or newer.
                    let owner = UInt64(unit / (units / threads)) << 32 | UInt64(unit)
                    for sector in 0..<8 {
                        let word = part.loadBE64(at: sector * 512)
                        let count = part.loadBE64(at: sector * 512 + 8)
                        if word != 0, word != owner || count < before[unit] {
                            wrong.withLock { $0.append("unit \(unit) of snapshot \(node): \(word) \(count)") }
                        }
                    }
                }
                kept.append((node, content))
                if kept.count > 3 {
                    let (old, content) = kept.removeFirst()
                    if family.content(old, at: 0, count: units * 4096) != content {
                        wrong.withLock { $0.append("snapshot \(old) has changed") }
                    }
                    try family.delete(old)
                }
            } catch {
                wrong.withLock { $0.append("snapshot: \(error)") }
            }
        }
        for (node, content) in kept where family.content(node, at: 0, count: units * 4096) != content {
            wrong.withLock { $0.append("snapshot \(node) has changed at the end") }
        }
    }

    /// What was acknowledged of each unit.
    final class Counts: Sendable {
        private let counts: Lock<[UInt64]>
        init(_ count: Int) { counts = Lock([UInt64](repeating: 0, count: count)) }
        func set(_ unit: Int, _ count: UInt64) { counts.withLock { $0[unit] = count } }
        var all: [UInt64] { counts.withLock { $0 } }
    }
}

import TestSupport
import Testing

@testable import Media

@Suite("Free space of disk images")
struct UnitAllocatorTests {
    private func bits(_ allocator: UnitAllocator, _ leaves: Int) -> Set<UInt64> {
        var set: Set<UInt64> = []
        for leaf in 0..<leaves {
            var words = [UInt64](repeating: 0, count: 512)
            let isUsed = allocator.copy(leaf: leaf, to: &words)
            #expect(isUsed == words.contains { $0 != 0 })
            for (index, word) in words.enumerated() where word != 0 {
                for bit in 0..<64 as Range<UInt64> where word & (1 << 63) >> bit != 0 {
                    set.insert(UInt64(leaf * 32768 + index * 64) + bit)
                }
            }
        }
        return set
    }

    /// A unit of which that is true; nil when a look at some finds none.
    private func some(_ generator: inout SeededRandom, _ isOne: (UInt64) -> Bool) -> UInt64? {
        for _ in 0..<100 {
            let unit = UInt64.random(in: 0..<100_000, using: &generator)
            if isOne(unit) { return unit }
        }
        return nil
    }

    @Test("The free map of a commit is what was in use at its cut, whatever goes on", arguments: 0..<6)
    func model(seed: UInt64) throws {
        var generator = SeededRandom(seed: seed)
        let allocator = UnitAllocator(FreeMap(limit: 100_000))
        var used: Set<UInt64> = []
        var allocated: [Range<UInt64>] = []
        var waiting: [(frame: UInt64, unit: UInt64)] = []
        var pagesNext: Set<UInt64> = []
        var pagesNow: Set<UInt64> = []
        var cut: (frame: UInt64, bits: Set<UInt64>)?
        var newPages: Set<UInt64> = []
        var droppedPages: Set<UInt64> = []
        var (frame, durable) = (1 as UInt64, 0 as UInt64)
        for _ in 0..<500 {
            switch Int.random(in: 0..<20, using: &generator) {
            case 0..<6:
                let count = UInt64([1, 1, 1, 7, 300, 2000].randomElement(using: &generator) ?? 1)
                let hint = UInt64.random(in: 0..<90000, using: &generator)
                guard let run = allocator.allocate(count, near: hint) else { continue }
                #expect(!run.isEmpty && UInt64(run.count) <= count)
                let held = waiting.filter { $0.frame > min(durable, cut?.frame ?? .max) }.map(\.unit)
                for unit in run {
                    try #require(!used.contains(unit) && !allocated.contains { $0.contains(unit) })
                    try #require(!pagesNext.contains(unit) && !pagesNow.contains(unit) && !held.contains(unit))
                    try #require(!droppedPages.contains(unit))
                }
                allocated.append(run)
            case 6..<11:
                guard let index = allocated.indices.randomElement(using: &generator) else { continue }
                let run = allocated.remove(at: index)
                if Int.random(in: 0..<4, using: &generator) == 0 {
                    #expect(allocator.giveBack(run))
                } else {
                    #expect(allocator.enter(run))
                    used.formUnion(run)
                }
            case 11..<15:
                guard let unit = some(&generator, { used.contains($0) && !newPages.contains($0) }) else { continue }
                if Int.random(in: 0..<3, using: &generator) == 0 {
                    #expect(allocator.freePage(unit))
                    pagesNext.insert(unit)
                } else {
                    var end = unit + 1
                    while used.contains(end), !newPages.contains(end), end < unit + 100 { end += 1 }
                    #expect(allocator.free(unit..<end, frame: frame))
                    for unit in unit..<end { waiting.append((frame, unit)) }
                    used.subtract(unit..<end)
                }
                used.remove(unit)
            case 15: frame += 1
            case 16:
                durable = UInt64.random(in: durable...frame - 1 + (frame == durable ? 1 : 0), using: &generator)
                allocator.release(frameDurable: durable)
                if cut == nil { waiting.removeAll { $0.frame <= durable } }
            case 17:
                guard cut == nil else { continue }
                // All frames before are durable when a commit begins.
                durable = max(durable, frame)
                allocator.release(frameDurable: durable)
                waiting = []
                #expect(allocator.beginCommit(cut: frame))
                cut = (frame, used)
                frame += 1
                (pagesNow, pagesNext) = (pagesNow.union(pagesNext), [])
            case 18:
                guard var (_, bits) = cut else { continue }
                if let unit = allocator.allocatePage(near: UInt64.random(in: 0..<90000, using: &generator)) {
                    try #require(!used.contains(unit) && !bits.contains(unit))
                    try #require(!waiting.contains { $0.unit == unit })
                    bits.insert(unit)
                    used.insert(unit)
                    newPages.insert(unit)
                }
                if let unit = some(&generator, { bits.contains($0) && used.contains($0) }) {
                    #expect(allocator.dropPage(unit))
                    bits.remove(unit)
                    used.remove(unit)
                    droppedPages.insert(unit)
                }
                cut?.bits = bits
            default:
                guard let (_, bits) = cut else { continue }
                #expect(self.bits(allocator, 4) == bits)
                #expect(allocator.committedEnd == (bits.max() ?? 0) + (bits.isEmpty ? 0 : 1))
                let isDurable = Bool.random(using: &generator)
                allocator.endCommit(isDurable: isDurable)
                if isDurable {
                    pagesNow = []
                } else {
                    used.formUnion(droppedPages.subtracting(newPages))
                    used.subtract(newPages)
                }
                (newPages, droppedPages, cut) = ([], [], nil)
                waiting.removeAll { $0.frame <= durable }
            }
            #expect(allocator.usedUnits == UInt64(used.count))
        }
        allocator.endCommit(isDurable: true)
        #expect(allocator.beginCommit(cut: .max))
        #expect(bits(allocator, 4) == used)
    }

    @Test("A leaf is written when its bits differ from those of the commit before")
    func dirtyLeaves() {
        let allocator = UnitAllocator(FreeMap(limit: 1 << 20))
        #expect(allocator.adopt(0..<100_000))
        #expect(allocator.beginCommit(cut: 1) && !allocator.beginCommit(cut: 1))
        #expect(allocator.dirtyLeaves() == [0, 1, 2, 3])
        #expect(allocator.free(40000..<40001, frame: 2))
        allocator.endCommit(isDurable: true)
        #expect(allocator.beginCommit(cut: 2))
        #expect(allocator.dirtyLeaves() == [1])
        #expect(allocator.allocatePage(near: 70000) == 100_000, "what is behind the hint is in use")
        #expect(allocator.dirtyLeaves() == [1, 3])
        #expect(allocator.dropPage(99_999))
        allocator.endCommit(isDurable: false)
        #expect(allocator.beginCommit(cut: 2))
        #expect(allocator.dirtyLeaves() == [1, 3] && allocator.isUsed(99_999) && !allocator.isUsed(100_000))
        allocator.endCommit(isDurable: true)
        #expect(allocator.beginCommit(cut: 2))
        #expect(allocator.dirtyLeaves().isEmpty)
    }

    @Test("Runs follow their hint, fill holes that are long enough, and else are at the end")
    func places() {
        let allocator = UnitAllocator(FreeMap(limit: 2000))
        #expect(allocator.adopt(0..<1000))
        #expect(allocator.allocate(8, near: 5) == 1000..<1008)
        #expect(allocator.allocate(8, near: 1008) == 1008..<1016)
        for run in [100..<101, 200..<220, 300..<340] as [Range<UInt64>] { #expect(allocator.free(run, frame: 1)) }
        #expect(allocator.allocate(1, near: 100) == 1016..<1017, "nothing is free before the frame is durable")
        allocator.release(frameDurable: 1)
        #expect(allocator.allocate(1, near: 90) == 100..<101)
        #expect(allocator.allocate(32, near: 0) == 300..<332)
        #expect(allocator.allocate(32, near: 150) == 200..<220, "a good run rather than the end")
        #expect(allocator.allocate(32, near: 0) == 1017..<1049)
        #expect(allocator.allocate(2000, near: 1049) == 1049..<2000)
        #expect(allocator.allocate(10, near: 0) == 332..<340)
        #expect(allocator.allocate(1, near: 0) == nil)
        #expect(allocator.allocate(0, near: 0) == nil)
        #expect(allocator.takenUnits == 2000)
    }

    @Test("What is not in the state that a change needs is refused, and nothing changes")
    func refusals() {
        let allocator = UnitAllocator(FreeMap(limit: 1000))
        #expect(allocator.adopt(10..<20))
        #expect(!allocator.adopt(19..<25) && !allocator.adopt(990..<1001) && allocator.adopt(20..<25))
        #expect(!allocator.free(24..<26, frame: 1) && !allocator.free(.max - 1 ..< .max, frame: 1))
        #expect(!allocator.freePage(.max) && !allocator.freePage(25) && !allocator.enter(10..<11))
        #expect(!allocator.giveBack(10..<11) && !allocator.dropPage(10) && allocator.allocatePage(near: 0) == nil)
        #expect(allocator.usedUnits == 15)
    }

    @Test("What a replay has freed may be holes, and is no reserve for a full host")
    func replayed() {
        for isReplayed in [false, true] {
            let allocator = UnitAllocator(FreeMap(limit: 1000))
            if isReplayed { allocator.beginReplay() }
            #expect(allocator.adopt(100..<110))
            #expect(allocator.free(100..<110, frame: 1))
            if isReplayed { allocator.endReplay(lastFrame: 1) }
            #expect(allocator.refillReserve(to: 4) == 4, "a replay may need it")
            allocator.release(frameDurable: 1)
            #expect(allocator.refillReserve(to: 4) == (isReplayed ? 4 : 0))
            #expect(allocator.hasPunchable)
        }
    }

    @Test("Runs that became free are punched, without what was given out again")
    func punching() {
        let allocator = UnitAllocator(FreeMap(limit: 1000))
        #expect(allocator.adopt(0..<100))
        #expect(allocator.free(10..<20, frame: 1) && allocator.free(20..<30, frame: 1))
        #expect(allocator.takePunchable(limit: 5).isEmpty)
        allocator.release(frameDurable: 1)
        #expect(allocator.allocate(2, near: 15) == 15..<17)
        let runs = allocator.takePunchable(limit: 5).sorted { $0.lowerBound < $1.lowerBound }
        #expect(runs == [10..<15, 17..<30])
        #expect(allocator.allocate(1, near: 10) == 100..<101, "while they are punched they are nobody's")
        for run in runs { #expect(allocator.giveBack(run)) }
        #expect(allocator.allocate(1, near: 10) == 10..<11)
        #expect(allocator.takePunchable(limit: 5).isEmpty)
    }
}

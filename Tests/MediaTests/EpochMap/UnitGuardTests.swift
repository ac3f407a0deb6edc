import Synchronization
import Testing

@testable import Media

@Suite("Guards of units, and the grace")
struct UnitGuardTests {
    @Test("Sharing goes together, excluding does not, and a refusal leaves nothing taken")
    func trying() {
        let guards = UnitGuards()
        let first = UnitGuards.Range(head: 1, units: 0..<32)
        let second = UnitGuards.Range(head: 1, units: 16..<64)
        #expect(guards.tryShare(first))
        #expect(guards.tryShare(second))
        #expect(!guards.tryExclude(second))
        guards.endSharing(first)
        guards.endSharing(second)
        #expect(guards.tryExclude(first))
        #expect(!guards.tryShare(second))
        #expect(guards.tryExclude(UnitGuards.Range(head: 1, units: 32..<64)))
        guards.endExcluding(first)
        #expect(!guards.tryExclude(second))
        #expect(guards.tryShare(first))
    }

    @Test("A range has at most all guards, also around the end of the ring")
    func ranges() {
        let guards = UnitGuards()
        let all = UnitGuards.Range(head: 3, units: 5..<1_000_000)
        #expect(all.count == UnitGuards.count)
        #expect(guards.tryExclude(all))
        #expect(!guards.tryShare(UnitGuards.Range(head: 9, units: 77..<78)))
        guards.endExcluding(all)
        #expect(guards.tryShare(all))
    }

    @Test("Whoever excludes is alone")
    func exclusion() throws {
        let guards = UnitGuards()
        let inside = Atomic<Int>(0)
        let wrong = Atomic<Int>(0)
        try withThreads { start in
            for thread in 0..<4 {
                try start {
                    for round in 0..<2000 {
                        let begin = UInt64(round * 7 % 50) * 16
                        let range = UnitGuards.Range(head: 1, units: begin..<begin + 512 * 16)
                        if (round + thread) % 3 == 0 {
                            guards.exclude(range)
                            if inside.add(1000, ordering: .relaxed).oldValue != 0 { wrong.add(1, ordering: .relaxed) }
                            inside.subtract(1000, ordering: .relaxed)
                            guards.endExcluding(range)
                        } else {
                            guards.share(range)
                            if inside.add(1, ordering: .relaxed).oldValue >= 1000 { wrong.add(1, ordering: .relaxed) }
                            inside.subtract(1, ordering: .relaxed)
                            guards.endSharing(range)
                        }
                    }
                }
            }
        }
        #expect(wrong.load(ordering: .relaxed) == 0)
    }

    @Test("What is unlinked waits for those inside, and for nobody else")
    func grace() {
        let grace = Grace()
        let done = Atomic<Int>(0)
        grace.whenUnseen { done.add(1, ordering: .relaxed) }
        for action in grace.collect() { action() }
        #expect(done.load(ordering: .relaxed) == 1)
        let pass = grace.enter()
        grace.whenUnseen { done.add(1, ordering: .relaxed) }
        for _ in 0..<5 { for action in grace.collect() { action() } }
        #expect(done.load(ordering: .relaxed) == 1)
        let later = grace.enter()
        grace.leave(pass)
        for _ in 0..<5 { for action in grace.collect() { action() } }
        #expect(done.load(ordering: .relaxed) == 2)
        grace.leave(later)
    }

    @Test("Waiting ends when those have left who were inside, though others enter all the time")
    func waiting() throws {
        let grace = Grace()
        let value = Atomic<Int>(0)
        let isDone = Atomic<Bool>(false)
        let wrong = Atomic<Int>(0)
        try withThreads { start in
            for _ in 0..<3 {
                try start {
                    while !isDone.load(ordering: .relaxed) {
                        let pass = grace.enter()
                        let seen = value.load(ordering: .acquiring)
                        // Two steps of the value while somebody is inside would mean that nobody waited for it.
                        for _ in 0..<20 where value.load(ordering: .acquiring) > seen + 1 {
                            wrong.add(1, ordering: .relaxed)
                        }
                        grace.leave(pass)
                    }
                }
            }
            for _ in 0..<40 {
                value.add(1, ordering: .acquiringAndReleasing)
                grace.wait()
            }
            isDone.store(true, ordering: .relaxed)
        }
        #expect(wrong.load(ordering: .relaxed) == 0)
    }
}

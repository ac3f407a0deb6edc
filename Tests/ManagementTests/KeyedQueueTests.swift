import Dispatch
import ManagementTestSupport
import Platform
import Resources
import TestSupport
import Testing

@testable import Management

@Suite("Lines of keys")
struct KeyLinesTests {
    @Test("at random: no key has two holders, nobody waits for nothing, lines keep their order", arguments: 1...40)
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var lines = KeyLines<Int>()
        let keyCount = Int.random(in: 1...8, using: &random)
        // Everyone that has entered and not left, in order of arrival.
        var present: [(ticket: UInt64, keys: Set<Int>)] = []
        var holders: Set<UInt64> = []
        var next: UInt64 = 0
        func check() {
            var seen: Set<Int> = []
            for (ticket, keys) in present {
                // Exactly those hold their keys whose keys nobody before them wants.
                #expect(holders.contains(ticket) == seen.isDisjoint(with: keys), "seed \(seed), ticket \(ticket)")
                seen.formUnion(keys)
            }
            #expect(lines.holderCount == holders.count)
            #expect(lines.waiterCount == present.count - holders.count)
        }
        for step in 0..<600 {
            let isFilling = step < 400
            if present.isEmpty || (isFilling && present.count < 30 && Bool.random(using: &random)) {
                next += 1
                let keys = Set(
                    (0..<Int.random(in: 0...3, using: &random)).map { _ in
                        Int.random(in: 0..<keyCount, using: &random)
                    })
                present.append((next, keys))
                if lines.enter(next, keys: keys) { holders.insert(next) }
            } else if Int.random(in: 0..<4, using: &random) == 0 {
                // Holders give some of their keys away, and go on.
                let index = Int.random(in: 0..<present.count, using: &random)
                let left = Set((0..<keyCount).filter { _ in Bool.random(using: &random) })
                let ready = lines.release(present[index].ticket, left)
                if holders.contains(present[index].ticket) {
                    present[index].keys.subtract(left)
                } else {
                    #expect(ready.isEmpty)
                }
                for ticket in ready {
                    let isNew = holders.insert(ticket).inserted
                    #expect(isNew)
                }
            } else {
                // Holders leave when they are done, waiters when they are cancelled.
                let index = Int.random(in: 0..<present.count, using: &random)
                let (ticket, _) = present.remove(at: index)
                holders.remove(ticket)
                for ready in lines.leave(ticket) {
                    let isNew = holders.insert(ready).inserted
                    #expect(isNew)
                }
            }
            check()
        }
        for (ticket, _) in present { _ = lines.leave(ticket) }
        #expect(lines.holderCount == 0 && lines.waiterCount == 0)
    }

    @Test(
        "at random, with keys that are held for long: who waits for these keeps nobody from others", arguments: 1...40)
    func layers(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        // The even ones are held for long.
        var lines = KeyLines<Int>(isHeldForLong: { $0.isMultiple(of: 2) })
        var present: [(ticket: UInt64, keys: Set<Int>)] = []
        var holders: Set<UInt64> = []
        func check() {
            var held: Set<Int> = []
            for (ticket, keys) in present where holders.contains(ticket) {
                #expect(held.isDisjoint(with: keys), "seed \(seed), ticket \(ticket)")
                held.formUnion(keys)
            }
            #expect(present.isEmpty || !holders.isEmpty, "seed \(seed): all wait")
            // Those who wait for nothing that is held for long are in the lines of the others.
            var longBefore: Set<Int> = []
            var inLines: [(ticket: UInt64, keys: Set<Int>)] = []
            for (ticket, keys) in present {
                let long = keys.filter { $0.isMultiple(of: 2) }
                if long.isDisjoint(with: longBefore) { inLines.append((ticket, keys)) }
                longBefore.formUnion(long)
            }
            for (ticket, keys) in present
            where !holders.contains(ticket) && keys.allSatisfy({ !$0.isMultiple(of: 2) }) {
                #expect(inLines.contains { $0.ticket != ticket && !$0.keys.isDisjoint(with: keys) }, "seed \(seed)")
            }
            #expect(lines.holderCount == holders.count && lines.waiterCount == present.count - holders.count)
        }
        for step in 0..<600 {
            if step < 400, present.isEmpty || (present.count < 30 && Bool.random(using: &random)) {
                let ticket = UInt64(step + 1)
                let keys = Set(
                    (0..<Int.random(in: 0...4, using: &random)).map { _ in Int.random(in: 0..<8, using: &random) })
                present.append((ticket, keys))
                if lines.enter(ticket, keys: keys) { holders.insert(ticket) }
            } else if !present.isEmpty {
                let (ticket, _) = present.remove(at: Int.random(in: 0..<present.count, using: &random))
                holders.remove(ticket)
                for ready in lines.leave(ticket) {
                    let isNew = holders.insert(ready).inserted
                    #expect(isNew)
                }
            }
            check()
        }
    }

    @Test("who waits for what is held for long stands in no line of what is soon free, and gets both then")
    func longWait() {
        var lines = KeyLines<String>(isHeldForLong: { $0 == "media" })
        let copies = lines.enter(1, keys: ["media"])
        let applies = lines.enter(2, keys: ["media", "access"])
        let changes = lines.enter(3, keys: ["access"])
        #expect(copies && !applies && changes)
        #expect(lines.leave(1).isEmpty)
        // It has the media now, so it is in the line of the rest, before those that come.
        let comes = lines.enter(4, keys: ["access"])
        #expect(!comes)
        #expect(lines.leave(3) == [2])
        #expect(lines.leave(2) == [4])
        // Who leaves while it waits is in no line.
        _ = lines.enter(5, keys: ["media"])
        _ = lines.enter(6, keys: ["media", "access"])
        #expect(lines.leave(6).isEmpty && lines.leave(5).isEmpty && lines.leave(4).isEmpty)
        #expect(lines.holderCount == 0 && lines.waiterCount == 0)
    }

    @Test("whoever is in no line leaves nothing behind")
    func stranger() {
        var lines = KeyLines<String>()
        let isFirst = lines.enter(1, keys: ["a"])
        let none = lines.leave(7)
        let isSecond = lines.enter(2, keys: ["a", "b"])
        let isThird = lines.enter(3, keys: ["b"])
        #expect(isFirst && none.isEmpty && !isSecond && !isThird)
        let ready = lines.leave(2)
        let rest = lines.leave(1)
        #expect(ready == [3] && rest.isEmpty)
    }
}

@Suite("The queue of changes")
struct KeyedQueueTests {
    typealias Queue = KeyedQueue<String>

    private func makeQueue(short: Int = 4, long: Int = 1, waiting: Int = 100) throws -> Queue {
        try Queue(name: "test", limits: Queue.Limits(shortThreads: short, longThreads: long, waiting: waiting))
    }

    /// A change that has begun, and ends when the barrier opens.
    private func hold(_ queue: Queue, _ keys: Set<String>) async -> (task: Task<Void, any Error>, barrier: Barrier) {
        let barrier = Barrier()
        let task = Task { try await queue.run(keys) { barrier.pass() } }
        await barrier.waitForArrival()
        return (task, barrier)
    }

    /// Lets others run until `condition` holds.
    private func wait(until condition: @Sendable () -> Bool) async {
        while !condition() { await Task.yield() }
    }

    @Test("who waits for the beginning only so long is told that it has not begun")
    func beginning() async throws {
        let queue = try makeQueue()
        let (first, barrier) = await hold(queue, ["a"])
        let late = await #expect(throws: ManagementError.self) {
            try await queue.run(["a"], beginning: .milliseconds(1), releasing: { _ in })
        }
        #expect(late == Queue.isLate)
        barrier.open()
        try await first.value
    }

    @Test("who has no patience any more is told whether it has begun; what has begun goes on, what has not never does")
    func patience() async throws {
        let queue = try makeQueue()
        let barrier = Barrier()
        let hasEnded = Shared(false)
        // Whether it begins in time is the machine's affair; what has not begun never does, so it is tried again.
        var patience = Duration.milliseconds(1)
        var begun: ManagementError?
        repeat {
            begun = await #expect(throws: ManagementError.self) {
                try await queue.run(["a"], patience: patience) {
                    barrier.pass()
                    hasEnded.withLock { $0 = true }
                }
            }
            patience = patience * 2
        } while begun?.message == Queue.isLate.message
        #expect(begun?.message == Queue.isUnderWay.message)
        let waiting = await #expect(throws: ManagementError.self) {
            try await queue.run(["a"], patience: .milliseconds(1)) { Issue.record("it has begun") }
        }
        #expect(waiting?.message == Queue.isLate.message)
        #expect(queue.waitingCount == 0)
        // Others are not concerned, and a quick one is answered.
        #expect(try await queue.run(["b"], patience: .seconds(600)) { 7 } == 7)
        barrier.open()
        await wait { hasEnded.withLock { $0 } }
        #expect(try await queue.run(["a"]) { 8 } == 8)
    }

    @Test("changes with a key in common never run together, and all of them run", arguments: [1, 2, 3] as [UInt64])
    func exclusion(seed: UInt64) async throws {
        let queue = try makeQueue(waiting: 1000)
        let held = Shared<[String: Int]>([:])
        let done = Shared(0)
        let clashes = Shared(0)
        var random = SeededRandom(seed: seed)
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<600 {
                let keys = Set(
                    (0..<Int.random(in: 1...3, using: &random)).map { _ in
                        "key\(Int.random(in: 0..<6, using: &random))"
                    })
                let isCancelled = Int.random(in: 0..<10, using: &random) == 0
                group.addTask {
                    let task = Task {
                        try? await queue.run(keys, in: index % 7 == 0 ? .long : .short) {
                            let isAlone = held.withLock { held in
                                for key in keys { held[key, default: 0] += 1 }
                                return keys.allSatisfy { held[$0] == 1 }
                            }
                            if !isAlone { clashes.withLock { $0 += 1 } }
                            held.withLock { held in for key in keys { held[key, default: 0] -= 1 } }
                        }
                    }
                    if isCancelled { task.cancel() }
                    await task.value
                    done.withLock { $0 += 1 }
                }
            }
        }
        #expect(clashes.withLock { $0 } == 0)
        #expect(done.withLock { $0 } == 600)
        #expect(queue.waitingCount == 0)
    }

    @Test("changes with the same key run in the order in which they came, others meanwhile")
    func order() async throws {
        let queue = try makeQueue()
        let (first, barrier) = await hold(queue, ["a"])
        let order = Shared<[Int]>([])
        for number in 0..<5 {
            Task { try await queue.run(["a"]) { order.withLock { $0.append(number) } } }
            await wait { queue.waitingCount >= number + 1 }
        }
        // Another key has no part in it.
        #expect(try await queue.run(["b"]) { 7 } == 7)
        #expect(order.withLock { $0 }.isEmpty)
        barrier.open()
        try await first.value
        try await queue.run(["a"]) {}
        #expect(order.withLock { $0 } == [0, 1, 2, 3, 4])
    }

    @Test("one with two keys waits for both, and holds neither meanwhile from those before it")
    func twoKeys() async throws {
        let queue = try makeQueue()
        let (first, one) = await hold(queue, ["a"])
        let (second, two) = await hold(queue, ["b"])
        let hasRun = Shared(false)
        let both = Task { try await queue.run(["a", "b"]) { hasRun.withLock { $0 = true } } }
        await wait { queue.waitingCount == 1 }
        one.open()
        try await first.value
        #expect(!hasRun.withLock { $0 })
        two.open()
        try await second.value
        try await both.value
        #expect(hasRun.withLock { $0 })
    }

    @Test("a full queue refuses, and has room again later")
    func full() async throws {
        let queue = try makeQueue(waiting: 2)
        let (first, barrier) = await hold(queue, ["a"])
        let others = (0..<2).map { _ in Task { try await queue.run(["a"]) {} } }
        await wait { queue.waitingCount == 2 }
        await #expect(throws: Queue.isFull) { try await queue.run(["b"]) {} }
        barrier.open()
        try await first.value
        for other in others { try await other.value }
        try await queue.run(["b"]) {}
    }

    @Test("what is cancelled while it waits never runs, and those behind it do")
    func cancellation() async throws {
        let queue = try makeQueue()
        let (first, barrier) = await hold(queue, ["a"])
        let ran = Shared<[String]>([])
        let second = Task { try await queue.run(["a", "b"]) { ran.withLock { $0.append("second") } } }
        await wait { queue.waitingCount == 1 }
        let third = Task { try await queue.run(["b"]) { ran.withLock { $0.append("third") } } }
        await wait { queue.waitingCount == 2 }
        second.cancel()
        await #expect(throws: Queue.isCancelled) { try await second.value }
        try await third.value
        #expect(ran.withLock { $0 } == ["third"])
        // One that runs goes on to its end.
        first.cancel()
        barrier.open()
        try await first.value
        let early = Task {
            while !Task.isCancelled { await Task.yield() }
            return try await queue.run(["a"]) { 1 }
        }
        early.cancel()
        await #expect(throws: Queue.isCancelled) { try await early.value }
    }

    @Test("long changes take no thread from short ones")
    func lanes() async throws {
        let queue = try makeQueue(short: 1, long: 2)
        let barrier = Barrier()
        let long = (0..<5).map { number in
            Task { try await queue.run(["long\(number)"], in: .long) { barrier.pass() } }
        }
        await wait { queue.waitingCount == 3 }
        #expect(try await queue.run(["a"]) { 1 } == 1)
        barrier.open(5)
        for task in long { try await task.value }
    }

    @Test("an error comes back, and the keys are free after it")
    func errors() async throws {
        let queue = try makeQueue()
        let error = ManagementError(.conflict, "no")
        await #expect(throws: error) {
            try await queue.run(["a"]) { () throws(ManagementError) in throw error }
        }
        try await queue.run(["a"]) {}
    }

    @Test("closing refuses what waits and what comes, and waits for what runs")
    func closing() async throws {
        let queue = try makeQueue()
        let (first, barrier) = await hold(queue, ["a"])
        let refusal = ManagementError(.conflict, "the daemon stops")
        let second = Task { try await queue.run(["a"]) {} }
        await wait { queue.waitingCount == 1 }
        #expect(await !queue.close(refusal, waitingAtMost: .milliseconds(1)))
        await #expect(throws: refusal) { try await second.value }
        await #expect(throws: refusal) { try await queue.run(["b"]) {} }
        barrier.open()
        #expect(await queue.close(refusal, waitingAtMost: .seconds(60)))
        try await first.value
    }
}

/// A value under a lock that several tasks may capture.
private final class Shared<Value: Sendable>: Sendable {
    private let lock: Lock<Value>

    init(_ value: Value) { lock = Lock(value) }

    func withLock<Result>(_ body: (inout Value) -> Result) -> Result { lock.withLock { body(&$0) } }
}

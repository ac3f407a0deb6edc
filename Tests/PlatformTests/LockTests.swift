import Platform
import Testing

@Suite("Lock")
struct LockTests {
    private final class Shared: Sendable {
        let count = Lock(0)
    }

    private struct Refusal: Error, Equatable {}

    @Test("What several threads do to the value happens one after another")
    func exclusion() throws {
        let shared = Shared()
        let threads = try (0..<4).map { number in
            try PlatformThread.start(name: "lock-\(number)") {
                for _ in 0..<10_000 { shared.count.withLock { $0 += 1 } }
            }
        }
        for thread in threads { thread.join() }
        #expect(shared.count.withLock { $0 } == 40_000)
    }

    @Test("A body that throws gives the lock back, with what it has done to the value")
    func errors() {
        let shared = Shared()
        #expect(throws: Refusal()) {
            try shared.count.withLock { (value) throws(Refusal) in
                value = 7
                throw Refusal()
            }
        }
        #expect(shared.count.withLock { $0 } == 7)
    }
}

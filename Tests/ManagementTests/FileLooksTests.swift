import ManagementTestSupport
import Platform
import Testing

@testable import Management

@Suite("Looks at files that may not answer")
struct FileLooksTests {
    let looks: FileLooks

    init() throws {
        looks = try FileLooks()
        looks.limit = .seconds(2)
    }

    @Test("what hangs is left out, is not asked again until it answers, and keeps nobody else")
    func hanging() async throws {
        let (barrier, asked) = (Barrier(), Counter())
        let items = (0..<500).map { (name: "f\($0)", item: $0) }
        // As many as look at a time, and some more.
        let hanging = FileLooks.Limit.workers + 3
        let body: @Sendable (Int) -> Int = { number in
            guard number < hanging else { return number }
            asked.increment()
            barrier.pass()
            return number
        }
        for _ in 0..<3 {
            let found = looks.look(at: items, body)
            #expect(found.count == 500 - hanging)
            #expect(found["f499"] == 499 && found["f0"] == nil)
            #expect(looks.hangs("f0") && !looks.hangs("f499"))
        }
        #expect(asked.value == hanging)
        barrier.open(2 * hanging)
        while (0..<hanging).contains(where: { looks.hangs("f\($0)") }) { await Task.yield() }
        #expect(looks.look(at: items, body).count == 500)
    }

    @Test("where every thread is taken nobody is asked, and nobody waits")
    func exhausted() async throws {
        let (barrier, limit) = (Barrier(), FileLooks.Limit.threads)
        let items = (0..<limit + 5).map { (name: "f\($0)", item: $0) }
        // A thread that comes late finds nobody who waits.
        while items.count(where: { looks.hangs($0.name) }) < limit {
            #expect(looks.look(at: items) { _ in barrier.pass() }.isEmpty)
        }
        #expect(looks.look(at: "other") { 1 } == nil)
        barrier.open(limit)
        while items.contains(where: { looks.hangs($0.name) }) { await Task.yield() }
        #expect(looks.look(at: "other") { 1 } == 1)
    }

    private final class Counter: Sendable {
        private let count = Lock(0)
        var value: Int { count.withLock { $0 } }
        func increment() { count.withLock { $0 += 1 } }
    }
}

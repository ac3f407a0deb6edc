import Platform
import TestSupport
import Testing

@Suite("A table of counters")
struct CounterTableTests {
    @Test("It counts what a model counts, with rows and pages that come one after another")
    func model() {
        var random = SeededRandom(seed: 7)
        let table = CounterTable(rowLimit: 5, words: 3, pages: 4)
        var words = Array(repeating: Array(repeating: UInt(0), count: 3), count: 5)
        var sparse = Array(repeating: Array(repeating: UInt(0), count: 64), count: 5)
        for row in 0..<5 { #expect(!table.hasRow(row) && table.value(row: row, word: 2) == 0) }
        for _ in 0..<5000 {
            let row = Int.random(in: 0..<4, using: &random)
            let word = Int.random(in: 0..<3, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                table.store(7, row: row, word: word)
                words[row][word] = 7
            case 1:
                let index = Int.random(in: 0..<(16 * (row + 1)), using: &random)
                table.count(row: row, sparse: index)
                sparse[row][index] += 1
            default:
                table.add(3, row: row, word: word)
                words[row][word] += 3
            }
        }
        for row in 0..<5 {
            for word in 0..<3 { #expect(table.value(row: row, word: word) == words[row][word]) }
            var found = Array(repeating: UInt(0), count: 64)
            table.forEachSparse(row: row) { found[$0] += $1 }
            #expect(found == sparse[row])
        }
        #expect(table.hasRow(3) && !table.hasRow(4))
    }

    @Test("A reader sees counts grow and never anything that was not counted")
    func reader() async throws {
        let table = CounterTable(rowLimit: 64, words: 1, pages: 2)
        let isDone = Lock(false)
        let thread = try PlatformThread.start(name: "counting") {
            for row in 0..<64 {
                for index in 0..<32 {
                    table.add(1, row: row, word: 0)
                    table.count(row: row, sparse: index)
                }
            }
            isDone.withLock { $0 = true }
        }
        var last = Array(repeating: UInt(0), count: 64)
        var isLast = false
        while !isLast {
            isLast = isDone.withLock { $0 }
            for row in 0..<64 {
                var (sum, greatest) = (UInt(0), UInt(0))
                table.forEachSparse(row: row) { _, count in (sum, greatest) = (sum + count, max(greatest, count)) }
                let words = table.value(row: row, word: 0)
                #expect(sum <= 32 && greatest <= 1 && words <= 32 && words >= last[row])
                last[row] = words
            }
        }
        thread.join()
        #expect(last == Array(repeating: 32, count: 64))
    }
}

import TestSupport
import Testing

@testable import TargetCore

private final class Item {
    let number: Int
    init(_ number: Int) { self.number = number }
}

@Suite("Tables by logical unit number")
struct LogicalUnitTableTests {
    @Test("It behaves as a sorted dictionary does", arguments: [1, 2, 3] as [UInt64])
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var table = LogicalUnitTable<Item>()
        var model: [Int: Item] = [:]
        for _ in 0..<2000 {
            let number = Int.random(in: 0..<700, using: &random)
            if Bool.random(using: &random) {
                let item = Item(number)
                table[number] = item
                model[number] = item
            } else {
                table[number] = nil
                model[number] = nil
            }
            let probe = Int.random(in: 0..<16384, using: &random)
            #expect(table[probe] === model[probe])
        }
        #expect(table.count == model.count)
        var numbers: [Int] = []
        table.forEach { numbers.append($0.number) }
        #expect(numbers == model.keys.sorted())
        var first: [Int] = []
        table.forEach { number, _ in
            first.append(number)
            return first.count < 5
        }
        #expect(first == Array(model.keys.sorted().prefix(5)))
    }

    @Test("Room is taken for the ranges in use, not for all numbers below the highest")
    func capacity() {
        var table = LogicalUnitTable<Item>()
        table[16383] = nil
        #expect(table.capacity == 0)
        table[16383] = Item(16383)
        table[0] = Item(0)
        table[1] = Item(1)
        #expect(table.capacity == 128)
    }
}

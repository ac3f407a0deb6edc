import Bytes
import Testing

@Suite("Slot table")
struct SlotTableTests {
    final class Thing {}

    @Test("A stale name does not reach the slot's next use")
    func generations() throws {
        var table = SlotTable<Thing>(limit: 1)
        let inserted = table.insert(Thing())
        let first = try #require(inserted)
        let tooMany = table.insert(Thing())
        #expect(tooMany == nil)
        let removed = table.remove(first)
        #expect(removed != nil)
        let insertedAgain = table.insert(Thing())
        let second = try #require(insertedAgain)
        #expect(second.index == first.index)
        #expect(table[first] == nil)
        let removedStale = table.remove(first)
        #expect(removedStale == nil)
        #expect(table[second] != nil)
        #expect(SlotName(word: second.word) == second)
    }
}

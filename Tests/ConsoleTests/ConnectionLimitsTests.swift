import Testing

@testable import Console

@Suite("How many connections there may be")
struct ConnectionLimitsTests {
    @Test("one address cannot take all, and all together no more than there may be")
    func limits() {
        let limits = ConnectionLimits(maximum: 5, maximumPerAddress: 2)
        #expect((0..<4).map { _ in limits.admit("a") } == [true, true, false, false])
        #expect(limits.admit("b"))
        limits.leave("a")
        #expect(limits.admit("a") && !limits.admit("a"))
        #expect(limits.admit("b") && limits.admit("c"))
        #expect(!limits.admit("d"), "there are five")
        for address in ["a", "a", "b", "b", "c", "c", "nobody"] { limits.leave(address) }
        #expect((0..<3).map { limits.admit("d\($0)") } == [true, true, true])
        #expect(limits.admit("d0") && limits.admit("d1") && !limits.admit("d2"))
    }
}

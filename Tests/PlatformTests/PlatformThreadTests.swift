import Glibc
import Platform
import Testing

@Suite struct PlatformThreadTests {
    /// That of the calling thread.
    private static func ownNiceValue() -> Int32 { getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0) }

    /// The nice value of a new thread.
    private func niceValue(_ priority: PlatformThread.Priority) throws -> Int32 {
        let value = Lock<Int32?>(nil)
        let thread = try PlatformThread.start(name: "nice", priority: priority) {
            let own = Self.ownNiceValue()
            value.withLock { $0 = own }
        }
        thread.join()
        return try #require(value.withLock { $0 })
    }

    @Test("A background thread gives way to the others of its process, which keep their priority")
    func background() throws {
        let own = Self.ownNiceValue()
        #expect(try niceValue(.background) == max(own, 10))
        #expect(try niceValue(.ordinary) == own)
        #expect(Self.ownNiceValue() == own)
    }
}

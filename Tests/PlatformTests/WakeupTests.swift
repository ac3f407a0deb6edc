import Testing

@testable import Platform

@Suite("Waking threads")
struct WakeupTests {
    @Test("Each call ends one wait, also one that comes later")
    func wake() throws {
        let wakeup = try Wakeup()
        wakeup.wake()
        wakeup.wake()
        wakeup.wait()
        wakeup.wait()
        let thread = try PlatformThread.start(name: "waits") { wakeup.wait() }
        wakeup.wake()
        thread.join()
    }
}

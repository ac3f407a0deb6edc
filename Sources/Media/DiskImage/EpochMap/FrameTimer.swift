internal import Platform

/// Has what families collect written to their journals soon after the first record of a frame, whether a flush comes or
/// not: when the process ends and the host goes on, the page cache has it.
///
/// One thread for all families of the process, which sleeps while nothing is collected. It only asks: what it calls
/// must not wait, or one file that hangs would be in the way of all others.
final class FrameTimer: Sendable {
    /// How long the first record of a frame waits, in milliseconds. A frame that is written for that reason takes a
    /// unit of the journal: ten in a second at most.
    static let delay = 100

    /// That of the process; nil where its thread could not be started.
    static let shared: FrameTimer? = try? FrameTimer()

    private let wakeup: Wakeup
    private let due = Lock<[@Sendable () -> Void]>([])

    private init() throws(SystemError) {
        wakeup = try Wakeup()
        _ = try PlatformThread.start(name: "frame-timer") { [wakeup, self] in
            while true {
                wakeup.wait()
                Wakeup.sleep(milliseconds: Self.delay)
                for body in due.withLock({ due in
                    defer { due = [] }
                    return due
                }) { body() }
            }
        }
    }

    /// Has `body` called after the delay. A family does that once a frame, so it may take a lock and memory.
    func begin(_ body: @escaping @Sendable () -> Void) {
        let isFirst = due.withLock { due in
            due.append(body)
            return due.count == 1
        }
        if isFirst { wakeup.wake() }
    }
}

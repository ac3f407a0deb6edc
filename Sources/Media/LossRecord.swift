internal import Platform
internal import Synchronization

/// What a medium remembers of its host's failures to make written data durable.
///
/// Linux reports such a failure once for each open file, calls the pages clean, and lets the next synchronisation
/// succeed without them. So the one failure is a loss of everything that was not durable, whoever wrote it: it is
/// counted where it occurs, before any command is answered, and the medium refuses writes from then on until an
/// operator has acknowledged the loss. A command that has written before a loss and ends after it sees that the count,
/// the epoch, has changed.
final class LossRecord: Sendable {
    private let epochWord = Atomic<UInt64>(0)
    /// The error number of the latest loss; 0 before the first.
    private let code = Atomic<Int32>(0)
    /// When the loss was, in seconds since 1970; -1 when that is not known.
    private let seconds = Atomic<Int64>(-1)
    private let isSticky = Atomic<Bool>(false)
    /// Why the next opening does not know of the loss; 0 when it does, or without one.
    private let noteCode = Atomic<Int32>(0)
    private let observer = Lock<(@Sendable (MediaFailure) -> Void)?>(nil)
    private let noteObserver = Lock<(@Sendable (LossReport, MediaFailure?) -> Void)?>(nil)

    /// A record that begins with a loss of an earlier time when there is a note of one.
    init(noted note: LossNote? = nil) {
        guard let note else { return }
        code.store(note.errorNumber, ordering: .relaxed)
        seconds.store(note.time?.seconds ?? -1, ordering: .relaxed)
        isSticky.store(true, ordering: .releasing)
    }

    /// How many losses there have been.
    var epoch: UInt64 { epochWord.load(ordering: .sequentiallyConsistent) }

    /// Why writes are refused; nil when they are not.
    var failure: MediaFailure? {
        isSticky.load(ordering: .acquiring) ? MediaFailure(errorNumber: code.load(ordering: .relaxed)) : nil
    }

    /// The same with the time, for people; nil when writes are not refused.
    var report: LossReport? {
        failure.map { LossReport(failure: $0, time: CalendarTime(seconds: seconds.load(ordering: .relaxed))) }
    }

    /// What is to be recorded of the loss for the next opening; nil when writes are not refused.
    var note: LossNote? {
        guard isSticky.load(ordering: .acquiring) else { return nil }
        return LossNote(
            errorNumber: code.load(ordering: .relaxed),
            time: CalendarTime(seconds: seconds.load(ordering: .relaxed)))
    }

    /// Whether the next opening knows of the loss.
    var isNoted: Bool { noteCode.load(ordering: .relaxed) == 0 }

    /// The error number with which a command fails that has begun to write in `epoch`; 0 when nothing was lost since
    /// and nothing is unacknowledged.
    func refusal(since epoch: UInt64) -> Int32 {
        guard isSticky.load(ordering: .acquiring) || self.epoch != epoch else { return 0 }
        return code.load(ordering: .relaxed)
    }

    /// Counts a loss, on the thread that has met it, and tells the observer.
    func count(_ errorNumber: Int32, at time: CalendarTime) {
        code.store(errorNumber, ordering: .relaxed)
        seconds.store(time.seconds, ordering: .relaxed)
        isSticky.store(true, ordering: .sequentiallyConsistent)
        // After this, who has written sees it, or is seen by the observer.
        epochWord.add(1, ordering: .sequentiallyConsistent)
        observer.withLock { $0 }?(MediaFailure(errorNumber: errorNumber))
    }

    /// Remembers how recording the loss has ended, 0 or an error number.
    func setNoted(_ errorNumber: Int32) {
        noteCode.store(errorNumber, ordering: .relaxed)
    }

    /// Tells the other observer of the loss and of how recording it has ended.
    func tellNoted() {
        guard let report else { return }
        noteObserver.withLock { $0 }?(report, MediaFailure.of(noteCode.load(ordering: .relaxed)))
    }

    /// Permits writes again.
    func acknowledge() {
        isSticky.store(false, ordering: .releasing)
    }

    /// Calls `body` at each loss, on the thread that has met it; it must not wait.
    func observe(_ body: @escaping @Sendable (MediaFailure) -> Void) {
        observer.withLock { $0 = body }
    }

    /// Calls `body` after each loss, once it was tried to record it; it may be told why that did not succeed.
    func observeNoted(_ body: @escaping @Sendable (LossReport, MediaFailure?) -> Void) {
        noteObserver.withLock { $0 = body }
    }
}

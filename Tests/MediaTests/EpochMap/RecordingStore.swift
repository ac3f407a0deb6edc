import Bytes
import Platform
import TestSupport

@testable import Media

/// What a store was called for, in order.
enum StoreEntry: Sendable {
    case change(StoreChange)
    /// What the entries before number `upTo` changed is durable.
    case synchronized(upTo: Int)
    /// What the entries before number `upTo` changed and was not durable then is on no device, and never will be.
    case lost(upTo: Int)
}

/// What is done in the middle of something else.
private final class Interleaving: @unchecked Sendable {
    let firstOffset: Int
    let body: () -> Void
    var number: Int

    init(_ number: Int, _ firstOffset: Int, _ body: @escaping () -> Void) {
        (self.number, self.firstOffset, self.body) = (number, firstOffset, body)
    }
}

/// A byte store in memory that writes down everything that changes it, so that the file after a crash at any instant
/// can be made, and that can fail at a chosen call or be full.
final class RecordingStore: ByteStore {
    /// The calls that are counted, and fail.
    enum Counting: Sendable {
        case changes
        /// Reads too.
        case all
    }

    private struct State {
        /// What was durable when the record begins.
        var base: SparseImage
        /// What reads see.
        var content: SparseImage
        var entries: [StoreEntry] = []
        var calls = 0
        var failingCall: Int?
        var failsFromThenOn = false
        var counting = Counting.changes
        var errorNumber = Errno.inputOutput
        var hasFailed = false
        var isPaused = false
        var synchronizationError: Int32 = 0
        /// Whether a synchronisation that fails has lost what it was for, as that of a host has.
        var losesWhatFails = false
        /// Units that the device cannot read.
        var unreadable: Set<UInt64> = []
        /// The most pages with storage.
        var pageLimit: Int?
        var interleaving: Interleaving?
        /// How many synchronisations go on, and the most that ever went on at a time.
        var synchronizing = 0
        var mostSynchronizing = 0
    }

    private let state: Lock<State>
    /// Whether what a synchronisation made durable stays in the record.
    private let keepsHistory: Bool

    /// How long a synchronisation takes, in milliseconds.
    private let pause: UInt32

    init(_ image: SparseImage = SparseImage(), keepsHistory: Bool = true, pause: UInt32 = 0) {
        self.pause = pause
        state = Lock(State(base: image, content: image))
        self.keepsHistory = keepsHistory
    }

    /// What reads see.
    var content: SparseImage { state.withLock { $0.content } }
    /// How many calls are in the record.
    var entryCount: Int { state.withLock { $0.entries.count } }
    /// The record, and what was durable before it.
    var record: (base: SparseImage, entries: [StoreEntry]) { state.withLock { ($0.base, $0.entries) } }
    /// Whether a call has failed.
    var hasFailed: Bool { state.withLock { $0.hasFailed } }
    /// How many calls that count there were since the last `fail`.
    var callCount: Int { state.withLock { $0.calls } }

    /// Makes the `call`-th call from now on fail, counted from 1; and with `fromThenOn` all later ones.
    func fail(at call: Int?, _ errorNumber: Int32, fromThenOn: Bool = false, counting: Counting = .changes) {
        state.withLock { state in
            state.calls = 0
            state.failingCall = call
            state.errorNumber = errorNumber
            state.failsFromThenOn = fromThenOn
            state.counting = counting
            state.hasFailed = false
        }
    }

    /// Calls `body` with no call failing or counting.
    func withoutFailures(_ body: () throws -> Void) rethrows {
        state.withLock { $0.isPaused = true }
        defer { state.withLock { $0.isPaused = false } }
        try body()
    }

    /// Makes every synchronisation fail; 0 ends that.
    func failSynchronizations(_ errorNumber: Int32) {
        state.withLock { $0.synchronizationError = errorNumber }
    }

    /// Makes the next synchronisation fail and lose what it was for; later ones succeed.
    func loseNextSynchronization() {
        state.withLock { state in
            state.losesWhatFails = true
            state.synchronizationError = Errno.inputOutput
        }
    }

    /// Calls `body` once, on the thread that writes: before the `number`-th write from now on, counted from 1, of those
    /// that lie behind the journal. The writer has no lock of the journal or the family then.
    func interleave(_ number: Int, _ superblock: EpochSuperblock, _ body: @escaping () -> Void) {
        let first = Int(EpochFormat.offset(ofUnit: superblock.firstPoolUnit))
        let interleaving = Interleaving(number, first, body)
        state.withLock { $0.interleaving = interleaving }
    }

    /// Nothing is interleaved any more; whether something waited.
    func endInterleaving() -> Bool {
        state.withLock { state in
            defer { state.interleaving = nil }
            return state.interleaving != nil
        }
    }

    /// The device cannot read a unit any more.
    func makeUnreadable(_ unit: UInt64) { state.withLock { _ = $0.unreadable.insert(unit) } }

    /// The most synchronisations that went on at a time.
    var mostSynchronizations: Int { state.withLock { $0.mostSynchronizing } }

    /// Makes the file system have room for `pages` more pages than now; nil for as many as there are.
    func limit(to pages: Int?) {
        state.withLock { state in state.pageLimit = pages.map { state.content.allocatedPages + $0 } }
    }

    /// Whether there is a limit.
    var isLimited: Bool { state.withLock { $0.pageLimit != nil } }

    /// The file after a crash now.
    func afterCrash(_ choice: CrashChoice) -> SparseImage {
        let (base, entries) = record
        var cursor = CrashCursor(base: base, entries: entries)
        cursor.advance(to: entries.count)
        return cursor.image(choice)
    }

    private static func failure(_ state: inout State, isRead: Bool = false) -> Int32? {
        if state.isPaused || (isRead && state.counting == .changes) { return nil }
        state.calls += 1
        guard let failing = state.failingCall else { return nil }
        guard state.calls == failing || (state.failsFromThenOn && state.calls > failing) else { return nil }
        state.hasFailed = true
        return state.errorNumber
    }

    private static func append(_ state: inout State, _ change: StoreChange) {
        state.entries.append(.change(change))
        change.apply(to: &state.content)
    }

    // MARK: ByteStore

    @_lifetime(header: copy header)
    func read(
        header: inout MutableRawSpan, into lease: inout BufferLease, at leaseOffset: Int, count: Int,
        offset: Int64, mode: ReadMode
    ) -> FileResult {
        let headerLength = header.byteCount
        var total = 0
        if headerLength > 0 {
            let result = read(into: &header, offset: offset, mode: mode)
            guard case .done(headerLength) = result else { return result }
            total = headerLength
        }
        var bytes = [UInt8](repeating: 0, count: count)
        var result = FileResult.done(0)
        bytes.modifyBytes { span in result = read(into: &span, offset: offset + Int64(headerLength), mode: mode) }
        guard case .done(let done) = result else { return result }
        var target = lease.mutableBytes
        target.store(bytes.rawSpan.extracting(0..<done), at: leaseOffset)
        lease.setCount(max(lease.count, leaseOffset + done))
        return .done(total + done)
    }

    @_lifetime(bytes: copy bytes)
    func read(into bytes: inout MutableRawSpan, offset: Int64, mode: ReadMode) -> FileResult {
        let (content, code) = state.withLock { state in
            var code = Self.failure(&state, isRead: true)
            let end = offset + Int64(bytes.byteCount)
            if state.unreadable.contains(where: {
                EpochFormat.offset(ofUnit: $0) < end && EpochFormat.offset(ofUnit: $0 + 1) > offset
            }) {
                code = Errno.inputOutput
            }
            return (state.content, code)
        }
        if let code { return .failed(code) }
        return .done(content.read(into: &bytes, at: Int(offset)))
    }

    var cacheProbeInterval: Int64 { 1 << 20 }

    func write(
        header: RawSpan, from lease: borrowing BufferLease, at leaseOffset: Int, count: Int, offset: Int64
    ) -> FileResult {
        let payload = lease.bytes.extracting(leaseOffset..<leaseOffset + count)
        return write(header.copyToArray() + payload.copyToArray(), Int(offset))
    }

    func write(_ bytes: RawSpan, offset: Int64) -> FileResult { write(bytes.copyToArray(), Int(offset)) }

    private func write(_ bytes: [UInt8], _ offset: Int) -> FileResult {
        let interleaving = state.withLock { state -> Interleaving? in
            guard let next = state.interleaving, offset >= next.firstOffset else { return nil }
            next.number -= 1
            guard next.number == 0 else { return nil }
            state.interleaving = nil
            return next
        }
        interleaving?.body()
        return state.withLock { state in
            var code = Self.failure(&state)
            if code == nil, let limit = state.pageLimit,
                state.content.allocatedPages + state.content.newPages(at: offset, count: bytes.count) > limit
            {
                code = Errno.noSpace
            }
            guard let code else {
                Self.append(&state, .write(offset: offset, bytes: bytes))
                return .done(bytes.count)
            }
            // A failed write may have done a part of its work; a full file system does what it has room for.
            let part = bytes.count / 2 / SparseImage.sectorLength * SparseImage.sectorLength
            if part > 0, state.pageLimit == nil || state.content.newPages(at: offset, count: part) == 0 {
                Self.append(&state, .write(offset: offset, bytes: Array(bytes.prefix(part))))
            }
            return .failed(code)
        }
    }

    func synchronizeData() -> Int32 {
        // Before the waiting: what is written in the meantime need not be durable.
        let upTo = state.withLock { state in
            state.synchronizing += 1
            state.mostSynchronizing = max(state.mostSynchronizing, state.synchronizing)
            return state.entries.count
        }
        defer { state.withLock { $0.synchronizing -= 1 } }
        if pause > 0 { sleepMilliseconds(pause) }
        return state.withLock { state in
            if let code = Self.failure(&state) { return code }
            guard state.synchronizationError == 0 else {
                state.hasFailed = true
                let code = state.synchronizationError
                guard state.losesWhatFails else { return code }
                state.losesWhatFails = false
                state.synchronizationError = 0
                settle(&state, .lost(upTo: upTo))
                return code
            }
            settle(&state, .synchronized(upTo: upTo))
            return 0
        }
    }

    /// What the entries before a number changed is durable, or lost.
    private func settle(_ state: inout State, _ entry: StoreEntry) {
        guard !keepsHistory else { return state.entries.append(entry) }
        switch entry {
        case .change: break
        case .synchronized(let upTo):
            let done = min(upTo, state.entries.count)
            for entry in state.entries[..<done] {
                if case .change(let change) = entry { change.apply(to: &state.base) }
            }
            state.entries.removeFirst(done)
        case .lost(let upTo): state.entries.removeFirst(min(upTo, state.entries.count))
        }
    }

    func dropCached(from offset: Int64) {}

    func truncate(to length: Int64) -> Int32 { change(.truncate(Int(length))) }

    func punchHole(at offset: Int64, length: Int64) -> Int32 {
        change(.punch(offset: Int(offset), length: Int(length)))
    }

    func zeroRange(at offset: Int64, length: Int64) -> Int32 {
        if case .failed(let code) = write([UInt8](repeating: 0, count: Int(length)), Int(offset)) { return code }
        return 0
    }

    private func change(_ change: StoreChange) -> Int32 {
        state.withLock { state in
            if let code = Self.failure(&state) { return code }
            Self.append(&state, change)
            return 0
        }
    }

    func size() -> Int64 { Int64(content.length) }
    func nextAllocated(from offset: Int64) -> Int64? {
        content.next(isAllocated: true, from: Int(offset)).map(Int64.init)
    }
    func nextUnallocated(from offset: Int64) -> Int64? {
        content.next(isAllocated: false, from: Int(offset)).map(Int64.init)
    }
    var allocatedBytes: Int64? { Int64(content.allocatedPages * SparseImage.pageLength) }
    func setDirect(_ isOn: Bool) -> Int32 { 0 }
}

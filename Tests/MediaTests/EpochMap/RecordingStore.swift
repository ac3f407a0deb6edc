import Bytes
import Platform
import TestSupport

/// What a store was called for, in order.
enum StoreEntry: Sendable {
    case change(StoreChange)
    /// What the entries before number `upTo` changed is durable.
    case synchronized(upTo: Int)
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
        /// The most pages with storage.
        var pageLimit: Int?
    }

    private let state: Lock<State>
    /// Whether what a synchronisation made durable stays in the record.
    private let keepsHistory: Bool

    init(_ image: SparseImage = SparseImage(), keepsHistory: Bool = true) {
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

    /// Makes the file system have room for `pages` more pages than now; nil for as many as there are.
    func limit(to pages: Int?) {
        state.withLock { state in state.pageLimit = pages.map { state.content.allocatedPages + $0 } }
    }

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
            let code = Self.failure(&state, isRead: true)
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
        state.withLock { state in
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
        // Before the waiting, of which there is none here: what is written in the meantime need not be durable.
        let upTo = state.withLock { $0.entries.count }
        return state.withLock { state in
            if let code = Self.failure(&state) { return code }
            guard state.synchronizationError == 0 else {
                state.hasFailed = true
                return state.synchronizationError
            }
            if keepsHistory {
                state.entries.append(.synchronized(upTo: upTo))
            } else {
                let done = min(upTo, state.entries.count)
                for entry in state.entries[..<done] {
                    if case .change(let change) = entry { change.apply(to: &state.base) }
                }
                state.entries.removeFirst(done)
            }
            return 0
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

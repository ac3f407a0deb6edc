public import Bytes
internal import Dispatch
public import Platform
public import TestSupport

/// A byte store in memory that forgets at a crash what was not synchronised, in any combination, and that can fail at a
/// chosen call. It stands under all input and output of a medium.
public final class SimulatedStore: ByteStore {
    private enum Change {
        case write(offset: Int, bytes: [UInt8])
        case truncate(Int)
    }

    private struct State {
        /// What reads see.
        var content: [UInt8] = []
        /// What a crash cannot take.
        var durable: [UInt8] = []
        /// What changed since the last synchronisation, in order: what is still to be written back.
        var changes: [Change] = []
        var calls = 0
        var failingCall: Int?
        var failsFromThenOn = false
        var errorNumber = Errno.inputOutput
        var hasFailed = false
        var isCached = true
        /// What each synchronisation fails with; 0 for none.
        var synchronizationError: Int32 = 0
        var notedLoss: LossNote?
        /// What recording a loss, or removing the record, fails with; 0 for none.
        var noteError: Int32 = 0
        var keepsNotes = true
        var notes: [StoreNoteKey: [UInt8]] = [:]
        var isHolding = false
    }

    private let state: Lock<State>
    private let forgetsAfterFailedSynchronization: Bool
    public let canStall: Bool

    /// A store with `content`, which is durable.
    ///
    /// As Linux does, it can forget at a failed synchronisation that the changes were to be written: they are still
    /// read, and the next synchronisation succeeds without them.
    public init(
        _ content: [UInt8] = [], forgetsAfterFailedSynchronization: Bool = false, canStall: Bool = false,
        notes: [StoreNoteKey: [UInt8]] = [:]
    ) {
        self.canStall = canStall
        state = Lock(State(content: content, durable: content, notes: notes))
        self.forgetsAfterFailedSynchronization = forgetsAfterFailedSynchronization
    }

    /// What a crash cannot take.
    public var durable: [UInt8] { state.withLock { $0.durable } }

    /// How many changing calls there have been since the last `fail(at:errorNumber:fromThenOn:)`.
    public var callCount: Int { state.withLock { $0.calls } }

    /// Whether reads that may not wait are answered.
    public var isCached: Bool {
        get { state.withLock { $0.isCached } }
        set { state.withLock { $0.isCached = newValue } }
    }

    /// What reads see.
    public var content: [UInt8] { state.withLock { $0.content } }
    /// Whether a call has failed.
    public var hasFailed: Bool { state.withLock { $0.hasFailed } }

    /// Makes the `call`-th changing call from now on fail, counted from 1; and with `fromThenOn` all later ones.
    public func fail(at call: Int, errorNumber: Int32, fromThenOn: Bool) {
        state.withLock { state in
            state.calls = 0
            state.failingCall = call
            state.errorNumber = errorNumber
            state.failsFromThenOn = fromThenOn
            state.hasFailed = false
        }
    }

    private let observer = Lock<(@Sendable () -> Void)?>(nil)

    /// Has `body` called before each changing call; it may ask for what a crash would leave.
    public func whenChanging(_ body: (@Sendable () -> Void)?) { observer.withLock { $0 = body } }

    private func tellChange() { observer.withLock { $0 }?() }

    /// Makes every synchronisation fail.
    public func failSynchronizations(_ errorNumber: Int32) {
        state.withLock { $0.synchronizationError = errorNumber }
    }

    /// Makes every attempt to record a loss, or to remove a record that is there, fail.
    public func failNotes(_ errorNumber: Int32) {
        state.withLock { $0.noteError = errorNumber }
    }

    /// Whether losses can be recorded at all, as file systems without attributes cannot.
    public var keepsNotes: Bool {
        get { state.withLock { $0.keepsNotes } }
        set { state.withLock { $0.keepsNotes = newValue } }
    }

    /// Lets all calls succeed.
    public func stopFailing() {
        state.withLock { state in
            state.failingCall = nil
            state.noteError = 0
            state.synchronizationError = 0
        }
    }

    // MARK: Held synchronisations

    private let held = DispatchSemaphore(value: 0)
    private let released = DispatchSemaphore(value: 0)

    /// Has the next synchronisation wait for `releaseSynchronizations`.
    public func holdSynchronizations() {
        state.withLock { $0.isHolding = true }
    }

    /// Waits until a synchronisation waits.
    public func waitUntilHeld() {
        held.wait()
    }

    /// Lets synchronisations go on.
    public func releaseSynchronizations() {
        released.signal()
    }

    /// What could be on the medium after a crash now.
    public func afterCrash(using generator: inout SeededRandom) -> SimulatedStore {
        let (durable, changes, notes) = state.withLock { ($0.durable, $0.changes, $0.notes) }
        var content = durable
        let lossRate = [0, 10, 50, 100].randomElement(using: &generator) ?? 0
        for change in changes where Int.random(in: 0..<100, using: &generator) >= lossRate {
            switch change {
            case .truncate(let length): Self.resize(&content, to: length)
            case .write(let offset, let bytes):
                if Int.random(in: 0..<4, using: &generator) > 0 {
                    Self.apply(&content, offset, bytes)
                } else {
                    Self.applyTorn(&content, offset, bytes, &generator)
                }
            }
        }
        return SimulatedStore(content, notes: notes)
    }

    /// The notes that are there.
    public var notes: [StoreNoteKey: [UInt8]] { state.withLock { $0.notes } }

    private static func apply(_ content: inout [UInt8], _ change: Change) {
        switch change {
        case .truncate(let length): resize(&content, to: length)
        case .write(let offset, let bytes): apply(&content, offset, bytes)
        }
    }

    private static func resize(_ content: inout [UInt8], to length: Int) {
        if content.count > length {
            content.removeLast(content.count - length)
        } else {
            content += [UInt8](repeating: 0, count: length - content.count)
        }
    }

    private static func apply(_ content: inout [UInt8], _ offset: Int, _ bytes: [UInt8]) {
        if content.count < offset + bytes.count { resize(&content, to: offset + bytes.count) }
        content.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }

    /// Writes some sectors of a write; the file may have become longer all the same, with zeros.
    private static func applyTorn(
        _ content: inout [UInt8], _ offset: Int, _ bytes: [UInt8], _ generator: inout SeededRandom
    ) {
        if Bool.random(using: &generator), content.count < offset + bytes.count {
            resize(&content, to: offset + bytes.count)
        }
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, ((offset + start) / 512 + 1) * 512 - offset)
            if Bool.random(using: &generator) { apply(&content, offset + start, Array(bytes[start..<end])) }
            start = end
        }
    }

    // MARK: ByteStore

    /// Fills `header` and the lease.
    @_lifetime(header: copy header)
    public func read(
        header: inout MutableRawSpan, into lease: inout BufferLease, at leaseOffset: Int, count: Int,
        offset: Int64, mode: ReadMode
    ) -> FileResult {
        if mode == .cached, !isCached { return .wouldBlock }
        let content = content
        let available = max(0, content.count - Int(offset))
        let inHeader = min(header.byteCount, available)
        let inLease = min(count, available - inHeader)
        let start = Int(offset)
        if inHeader > 0 { header.store(content.rawSpan.extracting(start..<start + inHeader), at: 0) }
        if inLease > 0 {
            var target = lease.mutableBytes
            target.store(
                content.rawSpan.extracting(start + inHeader..<start + inHeader + inLease), at: leaseOffset)
            lease.setCount(max(lease.count, leaseOffset + inLease))
        }
        return .done(inHeader + inLease)
    }

    /// Fills `bytes`.
    @_lifetime(bytes: copy bytes)
    public func read(into bytes: inout MutableRawSpan, offset: Int64, mode: ReadMode) -> FileResult {
        if mode == .cached, !isCached { return .wouldBlock }
        let content = content
        let count = min(bytes.byteCount, max(0, content.count - Int(offset)))
        if count > 0 { bytes.store(content.rawSpan.extracting(Int(offset)..<Int(offset) + count), at: 0) }
        return .done(count)
    }

    /// Short, so that old tails stay behind overwrites in these small files too.
    public var cacheProbeInterval: Int64 { 100 }

    /// Writes header and payload.
    public func write(
        header: RawSpan, from lease: borrowing BufferLease, at leaseOffset: Int, count: Int, offset: Int64
    ) -> FileResult {
        let payload = lease.bytes.extracting(leaseOffset..<leaseOffset + count)
        return write(header.copyToArray() + payload.copyToArray(), offset)
    }

    public func write(_ bytes: RawSpan, offset: Int64) -> FileResult { write(bytes.copyToArray(), offset) }

    private func write(_ bytes: [UInt8], _ offset: Int64) -> FileResult {
        tellChange()
        return state.withLock { state in
            if let code = Self.failure(&state) {
                // A failed write may have done a part of its work.
                let part = Array(bytes.prefix(bytes.count / 2))
                state.changes.append(.write(offset: Int(offset), bytes: part))
                Self.apply(&state.content, Int(offset), part)
                return .failed(code)
            }
            state.changes.append(.write(offset: Int(offset), bytes: bytes))
            Self.apply(&state.content, Int(offset), bytes)
            return .done(bytes.count)
        }
    }

    /// Makes all changes durable, or none.
    public func synchronizeData() -> Int32 {
        tellChange()
        let isHeld = state.withLock { state in
            defer { state.isHolding = false }
            return state.isHolding
        }
        if isHeld {
            held.signal()
            released.wait()
        }
        return state.withLock { state in
            if let code = Self.failure(&state) ?? (state.synchronizationError == 0 ? nil : state.synchronizationError) {
                if forgetsAfterFailedSynchronization { state.changes = [] }
                return code
            }
            for change in state.changes { Self.apply(&state.durable, change) }
            state.changes = []
            return 0
        }
    }

    /// Reads what is not to be written back from the device again. The length is that of the file system, not the
    /// device's.
    public func dropCached(from offset: Int64) {
        state.withLock { state in
            var device = state.durable
            for change in state.changes { Self.apply(&device, change) }
            Self.resize(&device, to: state.content.count)
            let start = min(Int(offset), state.content.count)
            state.content = Array(state.content[..<start] + device[start...])
        }
    }

    /// Sets the length.
    public func truncate(to length: Int64) -> Int32 {
        tellChange()
        return state.withLock { state in
            if let code = Self.failure(&state) { return code }
            state.changes.append(.truncate(Int(length)))
            Self.resize(&state.content, to: Int(length))
            return 0
        }
    }

    /// Writes zeros.
    public func punchHole(at offset: Int64, length: Int64) -> Int32 { zeroRange(at: offset, length: length) }

    /// Writes zeros.
    public func zeroRange(at offset: Int64, length: Int64) -> Int32 {
        if case .failed(let code) = write([UInt8](repeating: 0, count: Int(length)), offset) { return code }
        return 0
    }

    /// The length.
    public func size() -> Int64 { Int64(content.count) }
    /// All of it has storage.
    public func nextAllocated(from offset: Int64) -> Int64? { offset < size() ? offset : nil }
    /// The end.
    public func nextUnallocated(from offset: Int64) -> Int64? { offset < size() ? size() : nil }

    /// Nothing changes: what was not synchronised is lost in a crash, whichever way it has gone.
    public func setDirect(_ isOn: Bool) -> Int32 { 0 }

    /// What was recorded.
    public var notedLoss: LossNote? { state.withLock { $0.notedLoss } }

    /// Records a loss, or removes the record; that is a changing call too. What fails to be made durable has changed
    /// what is read all the same.
    public func noteLoss(_ note: LossNote?) -> Int32 {
        tellChange()
        return state.withLock { state in
            guard state.keepsNotes else { return note == nil ? 0 : Errno.notSupported }
            if note == nil, state.notedLoss == nil { return 0 }
            if state.noteError != 0 { return state.noteError }
            state.notedLoss = note
            return Self.failure(&state) ?? 0
        }
    }

    /// What was recorded.
    public func note(_ key: StoreNoteKey) throws(SystemError) -> [UInt8]? {
        let (note, code) = state.withLock { state in (state.notes[key], state.noteError) }
        guard code == 0 else { throw SystemError(code: code, operation: "read note of", path: "store") }
        return note
    }

    /// Puts a note down or removes it; that is a changing call too.
    public func setNote(_ key: StoreNoteKey, _ bytes: [UInt8]?) -> Int32 {
        tellChange()
        return state.withLock { state in
            guard state.keepsNotes else { return bytes == nil ? 0 : Errno.notSupported }
            if bytes == nil, state.notes[key] == nil { return 0 }
            if state.noteError != 0 { return state.noteError }
            if let code = Self.failure(&state) { return code }
            state.notes[key] = bytes
            return 0
        }
    }

    private static func failure(_ state: inout State) -> Int32? {
        state.calls += 1
        guard let failing = state.failingCall else { return nil }
        guard state.calls == failing || (state.failsFromThenOn && state.calls > failing) else { return nil }
        state.hasFailed = true
        return state.errorNumber
    }
}

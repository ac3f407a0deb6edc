import Bytes
import Platform
import Synchronization
import TestSupport

@testable import Media

/// A byte store in memory that forgets at a crash what was not synchronised, in any combination, and that can fail at a
/// chosen call.
final class SimulatedStore: ByteStore {
    private enum Change {
        case write(offset: Int, bytes: [UInt8])
        case truncate(Int)
    }

    private struct State {
        /// What reads see.
        var content: [UInt8] = []
        /// What a crash cannot take.
        var durable: [UInt8] = []
        /// What changed since the last synchronisation, in order.
        var changes: [Change] = []
        var calls = 0
        var failingCall: Int?
        var failsFromThenOn = false
        var errorNumber = Errno.inputOutput
        var hasFailed = false
    }

    private let state: Mutex<State>

    init(_ content: [UInt8] = []) {
        state = Mutex(State(content: content, durable: content))
    }

    /// A store with the first superblocks of an empty cartridge.
    static func empty(capacity: Int64 = 1 << 30) -> SimulatedStore {
        let superblock = Superblock(identity: testIdentity(capacity: capacity), partition: 0)
        return SimulatedStore(superblock.encoded() + superblock.encoded())
    }

    var content: [UInt8] { state.withLock { $0.content } }
    var hasFailed: Bool { state.withLock { $0.hasFailed } }

    /// Makes the `call`-th changing call from now on fail, counted from 1; and with `fromThenOn` all later ones.
    func fail(at call: Int, errorNumber: Int32, fromThenOn: Bool) {
        state.withLock { state in
            state.calls = 0
            state.failingCall = call
            state.errorNumber = errorNumber
            state.failsFromThenOn = fromThenOn
            state.hasFailed = false
        }
    }

    func stopFailing() {
        state.withLock { $0.failingCall = nil }
    }

    /// What could be on the medium after a crash now.
    func afterCrash(using generator: inout SeededRandom) -> SimulatedStore {
        let (durable, changes) = state.withLock { ($0.durable, $0.changes) }
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
        return SimulatedStore(content)
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

    @_lifetime(header: copy header)
    func read(
        header: inout MutableRawSpan, into lease: inout BufferLease, at leaseOffset: Int, count: Int,
        offset: Int64, mode: ReadMode
    ) -> FileResult {
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

    @_lifetime(bytes: copy bytes)
    func read(into bytes: inout MutableRawSpan, offset: Int64, mode: ReadMode) -> FileResult {
        let content = content
        let count = min(bytes.byteCount, max(0, content.count - Int(offset)))
        if count > 0 { bytes.store(content.rawSpan.extracting(Int(offset)..<Int(offset) + count), at: 0) }
        return .done(count)
    }

    /// Short, so that old tails stay behind overwrites in these small files too.
    var cacheProbeInterval: Int64 { 100 }

    func write(
        header: RawSpan, from lease: borrowing BufferLease, at leaseOffset: Int, count: Int, offset: Int64
    ) -> FileResult {
        let payload = lease.bytes.extracting(leaseOffset..<leaseOffset + count)
        return write(header.copyToArray() + payload.copyToArray(), offset)
    }

    func write(_ bytes: RawSpan, offset: Int64) -> FileResult { write(bytes.copyToArray(), offset) }

    private func write(_ bytes: [UInt8], _ offset: Int64) -> FileResult {
        state.withLock { state in
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

    func synchronizeData() -> Int32 {
        state.withLock { state in
            if let code = Self.failure(&state) { return code }
            state.durable = state.content
            state.changes = []
            return 0
        }
    }

    func truncate(to length: Int64) -> Int32 {
        state.withLock { state in
            if let code = Self.failure(&state) { return code }
            state.changes.append(.truncate(Int(length)))
            Self.resize(&state.content, to: Int(length))
            return 0
        }
    }

    func punchHole(at offset: Int64, length: Int64) -> Int32 { zeroRange(at: offset, length: length) }

    func zeroRange(at offset: Int64, length: Int64) -> Int32 {
        if case .failed(let code) = write([UInt8](repeating: 0, count: Int(length)), offset) { return code }
        return 0
    }

    func size() -> Int64 { Int64(content.count) }
    func nextData(from offset: Int64) -> Int64? { offset < size() ? offset : nil }
    func nextHole(from offset: Int64) -> Int64? { offset < size() ? size() : nil }

    private static func failure(_ state: inout State) -> Int32? {
        state.calls += 1
        guard let failing = state.failingCall else { return nil }
        guard state.calls == failing || (state.failsFromThenOn && state.calls > failing) else { return nil }
        state.hasFailed = true
        return state.errorNumber
    }
}

/// The identity of cartridges under test.
func testIdentity(capacity: Int64 = 1 << 30) -> CartridgeIdentity {
    CartridgeIdentity(
        uuid: (0..<16).map { UInt8($0) }, barcode: "V00001L8", mediumSerialNumber: "0123456789", capacity: capacity,
        densityCode: 0x5E, isWORM: false)
}

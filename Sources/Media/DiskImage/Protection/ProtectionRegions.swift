internal import Bytes
internal import Platform
internal import Synchronization

/// The parts of a protected disk that are being written: what a crash can leave there does not belong together, data
/// and protection information being in two files.
///
/// A bit for each region is set, durably, before the first write to it, and goes when the region has rested and both
/// files have been synchronised since. Regions whose bits an opening finds are suspect: a guard that does not match
/// there is a write that a crash has interrupted, and the block has no protection information any more. Everywhere else
/// it is an error. (`dm-integrity` has the same in its bitmap mode.)
final class ProtectionRegions: Sendable {
    /// The bytes of data of a region.
    static let length: Int64 = 16 << 20
    /// The bits that there are; beyond so many regions several have the same one.
    static let count = 32768
    /// Where the bits are in the file.
    static let offset: Int64 = 4096
    /// The bits of a file of which no region is being written.
    static var none: [UInt8] { [UInt8](repeating: 0, count: count / 8) }
    /// How long no write has come to a region that has rested, in nanoseconds: so long its bit costs nothing.
    static let rest: Int64 = 10_000_000_000

    private struct Region {
        var writers = 0
        var lastWrite: Int64 = 0
    }

    private struct State {
        /// The bits as the file has them, or is about to.
        var bits: [UInt8]
        /// The regions with a bit that have been written since the opening.
        var active: [Int: Region] = [:]
        var suspect: Set<Int> = []
        /// The regions whose bits are becoming durable, for a writer that comes then.
        var beginning: Set<Int> = []

        /// Whether it has changed.
        mutating func setBit(_ region: Int, _ isSet: Bool) -> Bool {
            let mask: UInt8 = 1 << UInt8(region % 8)
            guard (bits[region / 8] & mask != 0) != isSet else { return false }
            bits[region / 8] ^= mask
            return true
        }
    }

    private let state: Lock<State>
    /// Held while a bit becomes durable.
    private let marking = Lock(())
    private let suspectCount: Atomic<Int>
    private let store: any ByteStore

    /// The regions of `store`, which has those `bits`.
    init(_ store: any ByteStore, bits: [UInt8]) {
        var state = State(bits: bits)
        for region in 0..<Self.count where bits[region / 8] & 1 << UInt8(region % 8) != 0 {
            state.suspect.insert(region)
        }
        suspectCount = Atomic(state.suspect.count)
        self.state = Lock(state)
        self.store = store
    }

    /// The region of a byte of the disk.
    static func index(of offset: Int64) -> Int { Int(offset / length % Int64(count)) }

    /// Whether there is any suspect region.
    var hasSuspects: Bool { suspectCount.load(ordering: .acquiring) != 0 }

    /// The suspect regions.
    var suspects: Set<Int> { state.withLock { $0.suspect } }

    func isSuspect(_ region: Int) -> Bool {
        hasSuspects && state.withLock { $0.suspect.contains(region) }
    }

    // MARK: Writing

    /// Says that a write to a region begins; 0, or the error number with which it may not. `synchronize` makes the file
    /// durable.
    func begin(_ region: Int, synchronize: () -> Int32) -> Int32 {
        if enter(region) { return 0 }
        return marking.withLock { _ in
            if enter(region) { return 0 }
            // Not with the state locked: whoever synchronises asks for it.
            let code = state.withLock { state in
                state.beginning.insert(region)
                return state.setBit(region, true) ? write(region, state) : 0
            }
            // A bit that an opening has found may be in memory alone, too.
            let synchronized = code == 0 ? synchronize() : code
            state.withLock { state in
                state.beginning.remove(region)
                if synchronized == 0 {
                    state.active[region, default: Region()].writers += 1
                } else if !state.suspect.contains(region), state.setBit(region, false) {
                    _ = write(region, state)
                }
            }
            return synchronized
        }
    }

    /// Counts a writer of a region that has its bit; false when it has not.
    private func enter(_ region: Int) -> Bool {
        state.withLock { state in
            guard state.active[region] != nil else { return false }
            state.active[region]?.writers += 1
            return true
        }
    }

    /// Says that a write has ended.
    func end(_ region: Int, at now: Int64) {
        state.withLock { state in
            state.active[region]?.writers -= 1
            state.active[region]?.lastWrite = now
        }
    }

    private func write(_ region: Int, _ state: borrowing State) -> Int32 {
        let byte = [state.bits[region / 8]]
        switch store.write(byte.rawSpan, offset: Self.offset + Int64(region / 8)) {
        case .done: return 0
        case .failed(let code): return code
        case .wouldBlock: return Errno.wouldBlock
        }
    }

    /// Puts the bits down again where the file has others; 0 or an error number.
    func restore() -> Int32 {
        state.withLock { state in
            var found = Self.none
            let read = found.modifyBytes { store.read(into: &$0, offset: Self.offset, mode: .blocking) }
            if read == .done(found.count), found == state.bits { return 0 }
            return switch store.write(state.bits.rawSpan, offset: Self.offset) {
            case .done(let count): count == state.bits.count ? 0 : MediaFailure.truncatedNumber
            case .failed(let code): code
            case .wouldBlock: Errno.wouldBlock
            }
        }
    }

    // MARK: Resting

    /// The regions that have rested, and when they were written last, before a synchronisation begins.
    func resting(at now: Int64, for rest: Int64 = rest) -> [Int: Int64] {
        state.withLock { state in
            state.active.filter { $0.value.writers == 0 && now - $0.value.lastWrite >= rest }
                .mapValues { $0.lastWrite }
        }
    }

    /// What was written to `regions` is durable now: those that have not been written since need no bit.
    func settle(_ regions: [Int: Int64]) {
        guard !regions.isEmpty else { return }
        state.withLock { state in
            for (region, time) in regions {
                guard let found = state.active[region], found.writers == 0, found.lastWrite == time else { continue }
                state.active[region] = nil
                // A bit that stays on the file costs a look after a crash, no more.
                if !state.suspect.contains(region), state.setBit(region, false) { _ = write(region, state) }
            }
        }
    }

    // MARK: Suspicion

    /// Written data were lost: what has a bit is suspect from now on.
    func suspectAll() {
        state.withLock { state in
            state.suspect.formUnion(state.active.keys)
            suspectCount.store(state.suspect.count, ordering: .releasing)
        }
    }

    /// `regions` were looked through and are durable: they are suspect no longer.
    func clear(_ regions: Set<Int>) {
        state.withLock { state in
            for region in regions {
                state.suspect.remove(region)
                guard state.active[region] == nil, !state.beginning.contains(region) else { continue }
                if state.setBit(region, false) { _ = write(region, state) }
            }
            suspectCount.store(state.suspect.count, ordering: .releasing)
        }
    }
}

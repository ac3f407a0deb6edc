internal import Bytes
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// A ROD token of type point in time copy - change vulnerable: it represents the data that blocks of a disk had when it
/// was created (SPC-5 clause 5.17.6.2.3.3), and becomes invalid before one of them is changed.
final class RODToken: Sendable {
    /// Whether it may be used, or why not.
    enum State: UInt8 {
        case valid
        /// Its inactivity timeout has passed.
        case expired
        /// A block that it represents was about to change, or its disk is gone.
        case cancelled
        /// DEL_TKN.
        case deleted
    }

    /// ROD TYPE: point in time copy - change vulnerable.
    static let type: UInt32 = 0x0080_0001
    /// ROD TYPE in POPULATE TOKEN: point in time copy - any, of which this is one.
    static let anyPointInTime: UInt32 = 0x0080_FFFF
    /// ROD TYPE of the block device zero ROD token, which represents zeros (SBC-4 clause 4.28.4).
    static let zeroType: UInt32 = 0xFFFF_0001
    /// The bytes of a ROD token.
    static let length = 512
    /// ROD TOKEN LENGTH.
    static let lengthField: UInt16 = 0x01F8
    /// The bytes of random numbers at its end, which nobody can guess.
    private static let randomLength = 256

    /// The token as the initiator gets it.
    let bytes: [UInt8]
    /// COPY MANAGER ROD TOKEN IDENTIFIER.
    let identifier: UInt64
    /// The NAA identifier of the disk.
    let naa: UInt64
    /// The blocks, one extent after the other.
    let extents: [BlockExtent]
    /// How many bytes they are.
    let byteCount: Int
    /// The inactivity timeout in seconds.
    let inactivity: UInt32
    private let word = Atomic<UInt8>(State.valid.rawValue)
    /// When it expires unless it is used, in nanoseconds of the clock; `Int64.max` while it is used.
    private let deadline: Atomic<Int64>

    /// A token for blocks of `disk`, which its initiator calls by the target device `targetName`.
    init(
        _ extents: [BlockExtent], of disk: DiskDeviceServer, targetName: String, identifier: UInt64, inactivity: UInt32,
        now: MonotonicTime
    ) {
        self.extents = extents
        self.identifier = identifier
        self.inactivity = inactivity
        naa = disk.identity.naa
        byteCount = extents.reduce(0) { $0 + disk.byteCount($1.count) }
        deadline = Atomic((now + .seconds(Int64(inactivity))).nanoseconds)
        // SPC-5 table 112.
        var bytes: [UInt8] = []
        bytes.appendBE32(Self.type)
        bytes.appendBE16(0)
        bytes.appendBE16(Self.lengthField)
        bytes.appendBE64(identifier)
        // CREATOR LOGICAL UNIT DESCRIPTOR.
        bytes += [CSCDDescriptor.identification, 0, 0, 0] + DesignationDescriptor.naa(naa)
        bytes += [UInt8](repeating: 0, count: 12)
        bytes.appendBE32(UInt32(disk.blockSize))
        // NUMBER OF BYTES REPRESENTED.
        bytes.appendBE64(0)
        bytes.appendBE64(UInt64(byteCount))
        bytes += [UInt8](repeating: 0, count: 32)
        // Device type specific data (SBC-4 clause 4.28): as READ CAPACITY(16) has it from byte 8 on.
        bytes += disk.blockDescription
        bytes += [UInt8](repeating: 0, count: 24)
        // TARGET DEVICE DESCRIPTOR; a name that is too long for it is left out.
        let target = DesignationDescriptor.nameString(targetName, association: 2, ProtocolIdentifier.iSCSI.rawValue)
        bytes += target.count <= 128 ? target : []
        bytes += [UInt8](repeating: 0, count: Self.length - Self.randomLength - bytes.count)
        // EXTENDED ROD TOKEN DATA: random numbers of the kernel.
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<Self.randomLength / 8 { bytes.appendBE64(generator.next()) }
        self.bytes = bytes
    }

    /// Whether the data are still those of the creation.
    var isValid: Bool { word.load(ordering: .acquiring) == State.valid.rawValue }

    /// Whether it may be used, at that moment.
    func state(at now: MonotonicTime) -> State {
        if deadline.load(ordering: .relaxed) <= now.nanoseconds { invalidate(.expired) }
        return State(rawValue: word.load(ordering: .acquiring)) ?? .cancelled
    }

    /// Makes it invalid for good; what it was invalid for before, it stays.
    func invalidate(_ state: State) {
        _ = word.compareExchange(
            expected: State.valid.rawValue, desired: state.rawValue, ordering: .acquiringAndReleasing)
    }

    /// Keeps it from expiring while a command uses it; nil ends that, and begins the timeout again.
    func setUse(endingAt now: MonotonicTime?) {
        let time = now.map { ($0 + .seconds(Int64(inactivity))).nanoseconds } ?? Int64.max
        deadline.store(time, ordering: .relaxed)
    }

    /// Whether they are the bytes of the token, which takes the same time for every wrong one.
    func isEqual(to other: [UInt8]) -> Bool {
        guard other.count == bytes.count else { return false }
        var difference: UInt8 = 0
        for index in bytes.indices { difference |= bytes[index] ^ other[index] }
        return difference == 0
    }
}

/// All ROD tokens, valid ones and some that are not valid any more.
final class RODTokens: Sendable {
    private struct State {
        var tokens: [UInt64: RODToken] = [:]
        /// The identifiers, the oldest first.
        var order: [UInt64] = []
        /// How many commands use a token, by identifier.
        var users: [UInt64: Int] = [:]
        var nextIdentifier = UInt64.random(in: 0...UInt64.max)
    }
    private let state = Lock(State())
    private let clock: MonotonicClock

    init(clock: MonotonicClock) { self.clock = clock }

    var now: MonotonicTime { clock.now }

    /// Creates a token for blocks of `disk`, whose write gate the caller has alone. Nil when there are as many as there
    /// may be.
    func create(
        _ extents: [BlockExtent], of disk: DiskDeviceServer, targetName: String, inactivity: UInt32
    ) -> RODToken? {
        let now = clock.now
        let token: RODToken? = state.withLock { state in
            guard Self.makeRoom(&state, now) else { return nil }
            let token = RODToken(
                extents, of: disk, targetName: targetName, identifier: state.nextIdentifier, inactivity: inactivity,
                now: now)
            state.nextIdentifier &+= 1
            state.tokens[token.identifier] = token
            state.order.append(token.identifier)
            return token
        }
        guard let token, disk.representedBlocks.add(token, now) else {
            token.map { remove($0) }
            return nil
        }
        return token
    }

    /// Removes the oldest of those that are not valid any more when there are too many; false when all are valid.
    private static func makeRoom(_ state: inout State, _ now: MonotonicTime) -> Bool {
        guard state.order.count >= CopyLimit.tokens else { return true }
        guard
            let index = state.order.firstIndex(where: { state.tokens[$0]?.state(at: now) != .valid })
        else { return false }
        state.tokens[state.order.remove(at: index)] = nil
        return true
    }

    private func remove(_ token: RODToken) {
        state.withLock { state in
            state.tokens[token.identifier] = nil
            state.order.removeAll { $0 == token.identifier }
        }
    }

    /// Begins to use the token with those bytes; `endUse` follows. Why not, otherwise (SPC-5 clause 5.17.6.5.2.3).
    func use(_ bytes: [UInt8]) -> Result<RODToken, RODTokenError> {
        let now = clock.now
        let identifier = bytes.rawSpan.loadBE64(at: 8)
        return state.withLock { state in
            guard let token = state.tokens[identifier], token.isEqual(to: bytes) else { return .failure(.unknown) }
            switch token.state(at: now) {
            case .valid:
                state.users[identifier, default: 0] += 1
                token.setUse(endingAt: nil)
                return .success(token)
            case .expired: return .failure(.expired)
            case .cancelled: return .failure(.cancelled)
            case .deleted: return .failure(.deleted)
            }
        }
    }

    /// Ends a use: the inactivity timeout begins again, or the token is deleted.
    func endUse(_ token: RODToken, deletes: Bool) {
        let now = clock.now
        if deletes { token.invalidate(.deleted) }
        state.withLock { state in
            let users = state.users[token.identifier, default: 1] - 1
            state.users[token.identifier] = users > 0 ? users : nil
            if users <= 0 { token.setUse(endingAt: now) }
        }
    }
}

/// Why a ROD token cannot be used.
enum RODTokenError: Error {
    case unknown, expired, cancelled, deleted

    /// ILLEGAL REQUEST with INVALID TOKEN OPERATION.
    var sense: SenseData {
        switch self {
        case .unknown: SenseData(.illegalRequest, .tokenUnknown)
        case .expired: SenseData(.illegalRequest, .tokenExpired)
        case .cancelled: SenseData(.illegalRequest, .tokenCancelled)
        case .deleted: SenseData(.illegalRequest, .tokenDeleted)
        }
    }
}

/// The valid ROD tokens that represent blocks of one disk: whoever is about to change blocks makes them invalid first.
///
/// Commands that change the medium pass the disk's write gate, which tells them in the same atomic word whether there
/// are such tokens. So they cost writes nothing while there are none.
final class RepresentedBlocks: Sendable {
    private let tokens = Lock<[RODToken]>([])
    private let gate: WriteGate

    init(_ gate: WriteGate) { self.gate = gate }

    /// Takes a new token in; the caller has the gate alone, so that nothing changes meanwhile. False when there are as
    /// many as there may be.
    func add(_ token: RODToken, _ now: MonotonicTime) -> Bool {
        tokens.withLock { tokens in
            tokens.removeAll { $0.state(at: now) != .valid }
            guard tokens.count < CopyLimit.tokensOfUnit else { return false }
            tokens.append(token)
            gate.isWatched = true
            return true
        }
    }

    /// Makes the tokens invalid that represent one of those blocks, or all when nil, and forgets those that are invalid
    /// anyhow. The caller is in the gate, and changes the blocks next.
    func willChange(_ extents: [BlockExtent]?, _ now: MonotonicTime) {
        tokens.withLock { tokens in
            for token in tokens {
                let isConcerned = extents?.contains { changed in token.extents.contains { $0.overlaps(changed) } }
                if isConcerned ?? true { token.invalidate(.cancelled) }
            }
            tokens.removeAll { $0.state(at: now) != .valid }
            if tokens.isEmpty { gate.isWatched = false }
        }
    }

    /// Makes all tokens invalid: the disk is gone, or has lost data.
    func cancelAll() {
        tokens.withLock { tokens in
            for token in tokens { token.invalidate(.cancelled) }
            tokens = []
            gate.isWatched = false
        }
    }
}

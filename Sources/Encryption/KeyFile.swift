internal import Bytes
public import Platform

/// The file that has the media key of an image, encrypted under the user's key: two copies of a slot, each in a block
/// of its own, of which the one with the higher generation counts. So whatever interrupts a change leaves the old key
/// or the new one.
public final class KeyFile: Sendable {
    /// The bytes of the identity of an image.
    public static let identityLength = 16
    /// The bytes of a copy: a block of the file system, so that a write never touches both.
    static let copyLength = 4096
    /// The bytes of the file.
    public static let length = 2 * copyLength

    static let firstGeneration: UInt64 = 1

    /// What has become of a change of the media key.
    public enum Replacement: Sendable {
        /// Nothing of the old one is in the file any more, durably.
        case replaced(MediaKey)
        /// The new one counts, durably, and the old one may still be in the file: the error number says why.
        case incomplete(MediaKey, Int32)
        /// The old one counts, durably.
        case kept(Int32)
        /// Nobody knows which counts at the next opening.
        case unknown(Int32)
    }

    /// Which image it is for.
    public let identity: [UInt8]
    private let store: any ByteStore
    private let wrappingKey: SecretBytes
    private let state: Lock<State>

    private struct State {
        /// The slot that counts.
        var slot: KeySlot
        /// Whether the second copy is known to be that one; else the first one may be all that there is.
        var isSettled: Bool
    }

    private init(_ store: any ByteStore, _ slot: KeySlot, _ wrappingKey: SecretBytes, isSettled: Bool) {
        self.store = store
        identity = slot.identity
        state = Lock(State(slot: slot, isSettled: isSettled))
        self.wrappingKey = wrappingKey
    }

    /// Writes a new media key, for an image with that identity, content and sectors of that size, into an empty store,
    /// durably.
    public static func create(
        in store: any ByteStore, identity: [UInt8], sectorSize: Int, content: KeyedContent = .blocks, userKey: UserKey,
        derivation: KeyDerivation? = nil
    ) throws(EncryptionError) -> (file: KeyFile, key: MediaKey) {
        precondition(identity.count == identityLength, "an identity has its length")
        guard let salt = LibCrypto.random(KeyDerivation.saltLength) else { throw .library }
        let derivation = derivation ?? .suitable(for: userKey)
        let wrappingKey = try derivation.key(from: userKey, salt: salt)
        let key = try MediaKey.random()
        let slot = try KeySlot(
            key, under: wrappingKey, sectorSize: sectorSize, content: content, derivation: derivation,
            generation: firstGeneration, identity: identity, salt: salt)
        let file = KeyFile(store, slot, wrappingKey, isSettled: true)
        var code = file.write(slot, copy: 0)
        if code == 0 { code = file.write(slot, copy: 1) }
        if code == 0 { code = store.synchronize() }
        guard code == 0 else { throw .system(code) }
        return (file, key)
    }

    /// A new identity; nil when libcrypto fails.
    public static func newIdentity() -> [UInt8]? { LibCrypto.random(identityLength) }

    /// What the file says of itself without any key: nil when it is none.
    public static func found(in store: any ByteStore) throws(EncryptionError) -> KeySlot? {
        try slots(of: store).compactMap { $0 }.max { $0.generation < $1.generation }
    }

    /// How many copies are whole and of the key that counts.
    public static func wholeCopies(in store: any ByteStore) throws(EncryptionError) -> Int {
        let copies = try slots(of: store).compactMap { $0 }
        let generation = copies.map(\.generation).max()
        return copies.count { $0.generation == generation }
    }

    /// The key of the image with that mark, which has that content, and sectors of that size; nil for that which the
    /// file says. A copy that is damaged, or of an older key, is made anew where that can be done.
    public static func open(
        _ store: any ByteStore, mark: KeyMark, sectorSize: Int?, content: KeyedContent = .blocks, userKey: UserKey
    ) throws(EncryptionError) -> (file: KeyFile, key: MediaKey) {
        let copies = try slots(of: store)
        guard let slot = copies.compactMap({ $0 }).max(by: { $0.generation < $1.generation }) else { throw .damaged }
        guard slot.identity == mark.identity else { throw .foreign }
        guard slot.generation >= mark.generation else { throw .older }
        guard slot.content == content, slot.sectorSize == sectorSize ?? slot.sectorSize else { throw .unsupported }
        let wrappingKey = try slot.derivation.key(from: userKey, salt: slot.salt)
        let key = try slot.mediaKey(under: wrappingKey)
        let file = KeyFile(store, slot, wrappingKey, isSettled: true)
        for (copy, present) in copies.enumerated() where present?.encoded != slot.encoded {
            // The other one is good: nothing is lost where this fails.
            if file.writeDurably(slot, copy: copy) != 0 { file.state.withLock { $0.isSettled = false } }
        }
        return (file, key)
    }

    /// The bytes of the sectors.
    public var sectorSize: Int { state.withLock { $0.slot.sectorSize } }

    /// What the note of the image is to say, after `settle`.
    public var mark: KeyMark { state.withLock { KeyMark(identity: identity, generation: $0.slot.generation) } }

    /// Makes the key that counts durable in both copies; 0 or an error number. It waits for the device.
    public func settle() -> Int32 { state.withLock { settle(&$0) } }

    private func settle(_ state: inout State) -> Int32 {
        // A change writes the first copy first, so it is the second one that has to be good by then.
        let code = state.isSettled ? store.synchronizeData() : writeDurably(state.slot, copy: 1)
        if code == 0 { state.isSettled = true }
        return code
    }

    /// Puts a new random media key in the place of the present one. It waits for the device.
    public func replaceMediaKey() -> Replacement {
        state.withLock { state in
            // No crash must find the one copy of the present key half written.
            let settlement = state.isSettled ? 0 : settle(&state)
            guard settlement == 0 else { return .kept(settlement) }
            let present = state.slot
            let key: MediaKey
            let next: KeySlot
            do throws(EncryptionError) {
                key = try MediaKey.random()
                next = try KeySlot(
                    key, under: wrappingKey, sectorSize: present.sectorSize, content: present.content,
                    derivation: present.derivation, generation: present.generation &+ 1, identity: identity,
                    salt: present.salt)
            } catch {
                return .kept(Errno.inputOutput)
            }
            // First the one: until it is durable the other is what counts after a crash.
            let first = writeDurably(next, copy: 0)
            if first != 0 {
                let restored = writeDurably(present, copy: 0)
                return restored == 0 ? .kept(first) : .unknown(first)
            }
            state.slot = next
            let second = writeDurably(next, copy: 1)
            state.isSettled = second == 0
            return second == 0 ? .replaced(key) : .incomplete(key, second)
        }
    }

    private func writeDurably(_ slot: KeySlot, copy: Int) -> Int32 {
        let code = write(slot, copy: copy)
        return code == 0 ? store.synchronizeData() : code
    }

    private func write(_ slot: KeySlot, copy: Int) -> Int32 {
        let content = slot.encoded + [UInt8](repeating: 0, count: Self.copyLength - KeySlot.length)
        return switch store.write(content.rawSpan, offset: Int64(copy * Self.copyLength)) {
        case .done(content.count): 0
        case .failed(let code): code
        case .done, .wouldBlock: Errno.inputOutput
        }
    }

    /// Both copies; nil for one that is none.
    private static func slots(of store: any ByteStore) throws(EncryptionError) -> [KeySlot?] {
        var copies: [KeySlot?] = []
        for copy in 0..<2 {
            var bytes = [UInt8](repeating: 0, count: KeySlot.length)
            let read = bytes.modifyBytes {
                store.read(into: &$0, offset: Int64(copy * copyLength), mode: .blocking)
            }
            if case .failed(let code) = read { throw .system(code) }
            copies.append(read == .done(bytes.count) ? KeySlot(bytes) : nil)
        }
        return copies
    }
}

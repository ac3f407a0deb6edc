internal import CCrypto
internal import Glibc
internal import Platform
internal import Synchronization

/// AES-256 in XTS mode (IEEE 1619-2007) over sectors of 512 or 4096 bytes. The tweak of a sector is its number, a
/// little-endian number of 128 bits; so equal sectors at different places have different ciphertexts, and the same
/// sector written twice at a place has the same.
///
/// Any number of threads use it. Each call has, for its length, one of at most `contextLimit` contexts of the library,
/// which are made when they are first needed and kept: in a steady state nothing is allocated. While all are in use,
/// who may wait does, and who may not is told so.
@safe public final class SectorCipher: @unchecked Sendable {
    /// The most calls at a time: more than a machine's reactors and the requests of an image that are performed at a
    /// time, which are its callers.
    public static let contextLimit = 32
    /// The bytes of memory that come with a context, for what is encrypted on its way from a lease to the file.
    public static let scratchLength = 128 << 10
    /// How long who waits for a context sleeps before it looks again, in microseconds: rare, and soon over.
    private static let pause: UInt32 = 100

    /// The bytes of a sector.
    public let sectorSize: Int
    private let shift: UInt64

    /// What belongs to a bit of `taken`. Safe: whoever holds the bit is the only one to touch it.
    @unsafe private struct Slot {
        var encryption: OpaquePointer?
        var decryption: OpaquePointer?
        var scratch: UnsafeMutableRawPointer?
    }

    /// The slots that somebody holds.
    private let taken = Atomic<UInt32>(0)
    /// Safe: allocated in init for `contextLimit`, freed in deinit.
    private let slots: UnsafeMutablePointer<Slot>
    /// The key; read by who holds a slot, written by who holds all of them.
    private var key: MediaKey

    /// A cipher with that key.
    public init(_ key: MediaKey, sectorSize: Int) throws(EncryptionError) {
        guard LibCrypto.isReady else { throw .library }
        guard sectorSize == 512 || sectorSize == 4096 else { throw .unsupported }
        self.key = key
        self.sectorSize = sectorSize
        shift = UInt64(sectorSize.trailingZeroBitCount)
        unsafe slots = .allocate(capacity: Self.contextLimit)
        unsafe slots.initialize(repeating: Slot(), count: Self.contextLimit)
        // Here and not at the first block: the library may refuse.
        guard let index = take(waits: false) else { throw .library }
        give(index)
    }

    deinit {
        for index in 0..<Self.contextLimit {
            forgetKey(index)
            if let scratch = unsafe slots[index].scratch { unsafe scratch.deallocate() }
        }
        unsafe slots.deallocate()
    }

    // MARK: Contexts

    /// A free slot, which the caller has until it gives it back, and with it the key as it is; nil when none is free
    /// and `waits` is false, or the library has failed.
    func take(waits: Bool) -> Int? {
        while true {
            let present = taken.load(ordering: .relaxed)
            if present == .max {
                guard waits else { return nil }
                _ = usleep(Self.pause)
                continue
            }
            let index = (~present).trailingZeroBitCount
            guard
                taken.compareExchange(
                    expected: present, desired: present | 1 << UInt32(index), successOrdering: .acquiring,
                    failureOrdering: .relaxed
                ).exchanged
            else { continue }
            if unsafe slots[index].decryption == nil, !prepare(index) {
                give(index)
                return nil
            }
            return index
        }
    }

    /// Gives a slot back.
    func give(_ index: Int) { taken.bitwiseAnd(~(1 << UInt32(index)), ordering: .releasing) }

    /// Gives a slot back, and then `result`.
    func giving<Value>(_ index: Int, _ result: Value) -> Value {
        give(index)
        return result
    }

    /// Makes what the slot needs; false when the library fails.
    private func prepare(_ index: Int) -> Bool {
        func context(_ encrypts: Bool) -> OpaquePointer? {
            guard let context = unsafe EVP_CIPHER_CTX_new() else { return nil }
            let memory = unsafe key.bytes.memory
            if unsafe EVP_CipherInit_ex(context, EVP_aes_256_xts(), nil, memory, nil, encrypts ? 1 : 0) == 1 {
                return unsafe context
            }
            unsafe EVP_CIPHER_CTX_free(context)
            return nil
        }
        guard let encryption = unsafe context(true) else {
            ERR_clear_error()
            return false
        }
        guard let decryption = unsafe context(false) else {
            unsafe EVP_CIPHER_CTX_free(encryption)
            ERR_clear_error()
            return false
        }
        unsafe slots[index].encryption = encryption
        unsafe slots[index].decryption = decryption
        return true
    }

    /// Frees the contexts of a slot, which the library overwrites.
    private func forgetKey(_ index: Int) {
        unsafe EVP_CIPHER_CTX_free(slots[index].encryption)
        unsafe EVP_CIPHER_CTX_free(slots[index].decryption)
        unsafe slots[index].encryption = nil
        unsafe slots[index].decryption = nil
    }

    /// Exchanges the key while nobody uses it, for which it waits, and calls `body` meanwhile. Not on a reactor.
    public func replaceKey(by key: MediaKey, _ body: () -> Void = {}) {
        var held: UInt32 = 0
        while held != .max {
            held |= ~taken.bitwiseOr(.max, ordering: .acquiring).oldValue
            if held != .max { _ = usleep(Self.pause) }
        }
        for index in 0..<Self.contextLimit { forgetKey(index) }
        self.key = key
        body()
        taken.store(0, ordering: .releasing)
    }

    // MARK: Sectors

    /// Encrypts all of `source`, whole sectors from number `first` on, into `target`, which is as long; false when the
    /// library fails. It may wait for a context.
    @_lifetime(target: copy target)
    public func encrypt(_ source: RawSpan, into target: inout MutableRawSpan, first: UInt64) -> Bool {
        precondition(source.byteCount == target.byteCount, "what is encrypted is as long as before")
        guard let index = take(waits: true) else { return false }
        return giving(
            index,
            unsafe source.withUnsafeBytes { source in
                unsafe target.withUnsafeMutableBytes { target in
                    guard let from = source.baseAddress, let to = target.baseAddress else { return true }
                    return unsafe encrypt(from, to, source.count, first, index)
                }
            })
    }

    /// Decrypts `bytes`, whole sectors from number `first` on, in place; false when the library fails. A sector of
    /// zeros stays one. It may wait for a context.
    @_lifetime(bytes: copy bytes)
    public func decrypt(_ bytes: inout MutableRawSpan, first: UInt64) -> Bool {
        guard let index = take(waits: true) else { return false }
        return giving(index, decrypt(&bytes, first: first, index))
    }

    /// Encrypts `source` into the scratch memory of the slot `index`, of which it gives the beginning to `body`; nil
    /// when the library fails.
    func withEncrypted<Value>(
        _ source: RawSpan, first: UInt64, _ index: Int, _ body: (RawSpan) -> Value
    ) -> Value? {
        precondition(source.byteCount <= Self.scratchLength, "what is encrypted has room")
        let scratch: UnsafeMutableRawPointer
        if let present = unsafe slots[index].scratch {
            unsafe scratch = present
        } else {
            // Whole pages, so that it can go past the page cache.
            unsafe scratch = .allocate(byteCount: Self.scratchLength, alignment: 4096)
            unsafe slots[index].scratch = scratch
        }
        let count = source.byteCount
        let isEncrypted = unsafe source.withUnsafeBytes { source in
            guard let from = source.baseAddress else { return true }
            return unsafe encrypt(from, scratch, count, first, index)
        }
        guard isEncrypted else { return nil }
        return unsafe body(RawSpan(_unsafeStart: scratch, byteCount: count))
    }

    /// The same with a slot that the caller has.
    @_lifetime(bytes: copy bytes)
    func decrypt(_ bytes: inout MutableRawSpan, first: UInt64, _ index: Int) -> Bool {
        unsafe bytes.withUnsafeMutableBytes { bytes in
            guard let memory = bytes.baseAddress else { return true }
            return unsafe decrypt(memory, bytes.count, first, index)
        }
    }

    private func encrypt(
        _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int, _ first: UInt64, _ index: Int
    ) -> Bool {
        let context = unsafe slots[index].encryption
        for offset in stride(from: 0, to: count, by: sectorSize) {
            guard
                unsafe convert(
                    source + offset, target + offset, first + UInt64(offset) >> shift, context)
            else { return false }
        }
        return true
    }

    private func decrypt(_ memory: UnsafeMutableRawPointer, _ count: Int, _ first: UInt64, _ index: Int) -> Bool {
        let context = unsafe slots[index].decryption
        for offset in stride(from: 0, to: count, by: sectorSize) {
            let sector = unsafe memory + offset
            // Nothing was ever written there: no ciphertext is all zeros, but one of 2⁴⁰⁹⁶.
            if unsafe isZero(sector) { continue }
            guard unsafe convert(sector, sector, first + UInt64(offset) >> shift, context) else { return false }
        }
        return true
    }

    /// One sector: the tweak, then the data, in one call each, neither of which allocates.
    private func convert(
        _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ number: UInt64, _ context: OpaquePointer?
    ) -> Bool {
        var tweak = (number.littleEndian, UInt64(0))
        let isConverted = unsafe withUnsafeBytes(of: &tweak) { tweak in
            var count: Int32 = 0
            return unsafe EVP_CipherInit_ex(
                context, nil, nil, nil, tweak.baseAddress?.assumingMemoryBound(to: UInt8.self), -1) == 1
                && EVP_CipherUpdate(
                    context, target.assumingMemoryBound(to: UInt8.self), &count,
                    source.assumingMemoryBound(to: UInt8.self), Int32(sectorSize)) == 1
                && count == Int32(sectorSize)
        }
        if !isConverted { ERR_clear_error() }
        return isConverted
    }

    private func isZero(_ sector: UnsafeMutableRawPointer) -> Bool {
        // The first word says it of all but holes.
        var offset = 0
        while offset < sectorSize {
            if unsafe sector.loadUnaligned(fromByteOffset: offset, as: UInt64.self) != 0 { return false }
            offset += 8
        }
        return true
    }
}

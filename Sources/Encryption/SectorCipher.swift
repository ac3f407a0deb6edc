internal import CCrypto
internal import Glibc
internal import Platform
internal import Synchronization

/// AES-256 in XTS mode (IEEE 1619-2007) over sectors of 512 or 4096 bytes. The tweak of a sector is its number, a
/// little-endian number of 128 bits; so equal sectors at different places have different ciphertexts, and the same
/// sector written twice at a place has the same.
///
/// In a sector each 16 bytes are encrypted by themselves, with the tweak times a power of α that says how many come
/// before. So a part of a sector is encrypted and decrypted without the rest, whatever that has: what stands before the
/// part goes through the cipher with it, and is thrown away.
///
/// Any number of threads use it. Each call has, for its length, one of at most `contextLimit` contexts of the library,
/// which are made when they are first needed and kept: in a steady state nothing is allocated. While all are in use,
/// who may wait does, and who may not is told so.
@safe public final class SectorCipher: @unchecked Sendable {
    /// The most calls at a time: more than a machine's reactors and the requests of an image that are performed at a
    /// time, which are its callers.
    public static let contextLimit = 32
    /// The bytes of memory that come with a context, for what is encrypted on its way from a lease to the file, and for
    /// parts of sectors.
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

    // MARK: Sectors and parts of them

    /// How many bytes of a sector are before `offset`.
    func lead(of offset: UInt64) -> Int { Int(offset & (UInt64(sectorSize) - 1)) }

    /// Encrypts `source`, which is to be stored from `offset` on, into the scratch memory of the slot `index`, and
    /// gives that to `body`; nil when the library fails. It may begin and end inside of sectors, at multiples of 16
    /// bytes.
    func withEncrypted<Value>(
        _ source: RawSpan, at offset: UInt64, _ index: Int, _ body: (RawSpan) -> Value
    ) -> Value? {
        let lead = lead(of: offset)
        let first = offset >> shift
        precondition(lead + source.byteCount <= Self.scratchLength, "what is encrypted has room")
        // So whole sectors are at whole pages, and can go past the page cache.
        let scratch = unsafe scratch(of: index)
        let target = unsafe scratch + lead
        let isEncrypted = unsafe source.withUnsafeBytes { source in
            guard let from = source.baseAddress else { return true }
            guard lead > 0 else { return unsafe encrypt(from, target, source.count, first, index) }
            let part = min(source.count, sectorSize - lead)
            // Safe: the precondition, and `part` is no more than there is.
            unsafe target.copyMemory(from: from, byteCount: part)
            return unsafe convert(scratch, scratch, lead + part, first, slots[index].encryption)
                && encrypt(from + part, target + part, source.count - part, first + 1, index)
        }
        guard isEncrypted else { return nil }
        return unsafe body(RawSpan(_unsafeStart: target, byteCount: source.byteCount))
    }

    /// Decrypts `bytes`, which are stored from `offset` on, in place by means of the slot `index`; false when the
    /// library fails. They may begin and end inside of sectors, between granules; a granule of zeros stays one.
    @_lifetime(bytes: copy bytes)
    func decrypt(_ bytes: inout MutableRawSpan, at offset: UInt64, granule: Int, _ index: Int) -> Bool {
        let lead = lead(of: offset)
        let first = offset >> shift
        return unsafe bytes.withUnsafeMutableBytes { bytes in
            guard let memory = bytes.baseAddress else { return true }
            guard lead > 0 else { return unsafe decrypt(memory, bytes.count, first, granule, index) }
            let part = min(bytes.count, sectorSize - lead)
            return unsafe decrypt(memory, part, lead: lead, first, granule, index)
                && decrypt(memory + part, bytes.count - part, first + 1, granule, index)
        }
    }

    /// The scratch memory of a slot, which is made when it is first needed.
    private func scratch(of index: Int) -> UnsafeMutableRawPointer {
        if let present = unsafe slots[index].scratch { return unsafe present }
        let scratch = UnsafeMutableRawPointer.allocate(byteCount: Self.scratchLength, alignment: 4096)
        // What is before a part of a sector goes through the cipher with it.
        unsafe scratch.initializeMemory(as: UInt8.self, repeating: 0, count: sectorSize)
        unsafe slots[index].scratch = scratch
        return unsafe scratch
    }

    /// Encrypts from the beginning of the sector `first` on; the last one may be a part.
    private func encrypt(
        _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int, _ first: UInt64, _ index: Int
    ) -> Bool {
        let context = unsafe slots[index].encryption
        for offset in stride(from: 0, to: count, by: sectorSize) {
            guard
                unsafe convert(
                    source + offset, target + offset, min(sectorSize, count - offset), first + UInt64(offset) >> shift,
                    context)
            else { return false }
        }
        return true
    }

    /// Decrypts from the beginning of the sector `first` on; the last one may be a part.
    private func decrypt(
        _ memory: UnsafeMutableRawPointer, _ count: Int, _ first: UInt64, _ granule: Int, _ index: Int
    ) -> Bool {
        for offset in stride(from: 0, to: count, by: sectorSize) {
            guard
                unsafe decrypt(
                    memory + offset, min(sectorSize, count - offset), lead: 0, first + UInt64(offset) >> shift, granule,
                    index)
            else { return false }
        }
        return true
    }

    /// Decrypts the `count` bytes that are `lead` bytes behind the beginning of the sector `number`. All of them in one
    /// call, and then the granules that were zeros are made that again: they are few, in most sectors none.
    private func decrypt(
        _ memory: UnsafeMutableRawPointer, _ count: Int, lead: Int, _ number: UInt64, _ granule: Int, _ index: Int
    ) -> Bool {
        // A bit for each granule, of which a sector has 8 at most.
        var zeros: UInt64 = 0
        var bit: UInt64 = 1
        var place = 0
        while place < count {
            // Nothing was ever written there: no ciphertext is all zeros, but one of 2⁴⁰⁹⁶.
            if unsafe isZero(memory + place, min(granule, count - place)) { zeros |= bit }
            bit <<= 1
            place += granule
        }
        if zeros == bit - 1 { return true }
        let context = unsafe slots[index].decryption
        if lead == 0 {
            guard unsafe convert(memory, memory, count, number, context) else { return false }
        } else {
            let scratch = unsafe scratch(of: index)
            // Safe: both are in the sector, which has room in the scratch memory, and `memory` has `count` bytes.
            unsafe (scratch + lead).copyMemory(from: memory, byteCount: count)
            guard unsafe convert(scratch, scratch, lead + count, number, context) else { return false }
            unsafe memory.copyMemory(from: scratch + lead, byteCount: count)
        }
        while zeros != 0 {
            let place = zeros.trailingZeroBitCount * granule
            // Safe: the bit was set for a granule inside of `count`.
            unsafe memset(memory + place, 0, min(granule, count - place))
            zeros &= zeros - 1
        }
        return true
    }

    /// One sector, or `count` bytes from its beginning: the tweak, then the data, in one call each, neither of which
    /// allocates.
    private func convert(
        _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int, _ number: UInt64,
        _ context: OpaquePointer?
    ) -> Bool {
        var tweak = (number.littleEndian, UInt64(0))
        let isConverted = unsafe withUnsafeBytes(of: &tweak) { tweak in
            var converted: Int32 = 0
            return unsafe EVP_CipherInit_ex(
                context, nil, nil, nil, tweak.baseAddress?.assumingMemoryBound(to: UInt8.self), -1) == 1
                && EVP_CipherUpdate(
                    context, target.assumingMemoryBound(to: UInt8.self), &converted,
                    source.assumingMemoryBound(to: UInt8.self), Int32(count)) == 1
                && converted == Int32(count)
        }
        if !isConverted { ERR_clear_error() }
        return isConverted
    }

    private func isZero(_ memory: UnsafeMutableRawPointer, _ count: Int) -> Bool {
        // The first word says it of all but holes.
        var offset = 0
        while offset < count {
            if unsafe memory.loadUnaligned(fromByteOffset: offset, as: UInt64.self) != 0 { return false }
            offset += 8
        }
        return true
    }
}

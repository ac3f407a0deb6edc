public import Bytes
public import Platform
internal import Synchronization

/// A filter between a disk image and its file: what is written is encrypted on its way, and what was read is decrypted
/// in place. All else passes.
///
/// Transfers are of whole granules, of which a sector of the cipher has one or more; others fail with EINVAL. Where a
/// part of a sector is written nothing is read, and its other stored bytes stay as they are.
///
/// A granule whose stored bytes are all zero reads as zeros: it was never written, or was unmapped, or made zero by the
/// file system. So storage is freed as ever, and whoever sees the file sees which granules are in use. A granule of
/// zeros that is written is encrypted like any other.
///
/// A transfer holds a context of the cipher from before the file is read until the bytes are decrypted, so that the key
/// is exchanged between transfers.
public final class EncryptedStore: ByteStore {
    /// The file below, which has ciphertext.
    public let store: any ByteStore
    /// The bytes of a granule.
    public let granule: Int
    private let cipher: SectorCipher
    private let mask: Int64
    /// Whether everything reads as zeros, while what the old key has encrypted is freed.
    private let hidesContent = Atomic<Bool>(false)
    /// Whether nobody knows which key counts at the next opening.
    private let isRefused = Atomic<Bool>(false)
    private static let zeros = [UInt8](repeating: 0, count: 65536)

    /// A filter over `store`, which transfers multiples of `granule` bytes: of 512, or of what a sector has, which nil
    /// stands for.
    public init(_ store: any ByteStore, _ cipher: SectorCipher, granule: Int? = nil) {
        let granule = granule ?? cipher.sectorSize
        precondition(granule == 512 || granule == cipher.sectorSize, "a sector has whole granules")
        self.store = store
        self.cipher = cipher
        self.granule = granule
        mask = Int64(granule) - 1
    }

    /// Exchanges the key, when no transfer is under way; from then on everything reads as zeros until `showContent`.
    /// With `isSettled`, that it is the only key that the next opening can find, transfers are refused no longer.
    public func replaceKey(by key: MediaKey, isSettled: Bool = false) {
        cipher.replaceKey(by: key) {
            hidesContent.store(true, ordering: .relaxed)
            if isSettled { isRefused.store(false, ordering: .relaxed) }
        }
    }

    /// Ends what `replaceKey` has begun: what the old key has encrypted is freed, or reads as noise.
    public func showContent() { hidesContent.store(false, ordering: .relaxed) }

    /// Has all transfers fail with EIO from now on, until a settled key: what was written might never be read again.
    public func refuseTransfers() { isRefused.store(true, ordering: .relaxed) }

    /// `bytes`, whole granules, as they are stored at `offset`; nil when the library fails.
    public func encrypted(_ bytes: [UInt8], at offset: Int64) -> [UInt8]? {
        var stored: [UInt8] = []
        stored.reserveCapacity(bytes.count)
        let result = write(bytes.rawSpan, offset, .blocking) { piece, _ in
            stored += piece.copyToArray()
            return .done(piece.byteCount)
        }
        return result == .done(bytes.count) ? stored : nil
    }

    /// Why there is no transfer of `count` bytes at `offset`.
    private func refusal(_ offset: Int64, _ count: Int) -> FileResult? {
        if isRefused.load(ordering: .relaxed) { return .failed(Errno.inputOutput) }
        return (offset | Int64(count)) & mask == 0 && offset >= 0 ? nil : .failed(Errno.invalidArgument)
    }

    /// What a transfer ends with that has got no context.
    private static func withoutContext(_ mode: ReadMode) -> FileResult {
        mode == .cached ? .wouldBlock : .failed(Errno.inputOutput)
    }

    // MARK: Reading

    /// Fills `bytes` and decrypts them.
    @_lifetime(bytes: copy bytes)
    public func read(into bytes: inout MutableRawSpan, offset: Int64, mode: ReadMode) -> FileResult {
        if let refusal = refusal(offset, bytes.byteCount) { return refusal }
        guard let use = cipher.take(waits: mode == .blocking) else { return Self.withoutContext(mode) }
        let result = store.read(into: &bytes, offset: offset, mode: mode)
        guard case .done(let count) = result else { return cipher.giving(use, result) }
        var part = bytes._mutatingExtracting(0..<count & ~Int(mask))
        return cipher.giving(use, decrypt(&part, offset, use) ? result : .failed(Errno.inputOutput))
    }

    /// Fills `count` bytes of the lease and decrypts them there. There is no header.
    @_lifetime(header: copy header)
    public func read(
        header: inout MutableRawSpan, into lease: inout BufferLease, at leaseOffset: Int, count: Int,
        offset: Int64, mode: ReadMode
    ) -> FileResult {
        guard header.byteCount == 0 else { return .failed(Errno.invalidArgument) }
        if let refusal = refusal(offset, count) { return refusal }
        guard let use = cipher.take(waits: mode == .blocking) else { return Self.withoutContext(mode) }
        let result = store.read(
            header: &header, into: &lease, at: leaseOffset, count: count, offset: offset, mode: mode)
        guard case .done(let count) = result else { return cipher.giving(use, result) }
        var bytes = lease.mutableBytes
        var part = bytes._mutatingExtracting(leaseOffset..<leaseOffset + count & ~Int(mask))
        return cipher.giving(use, decrypt(&part, offset, use) ? result : .failed(Errno.inputOutput))
    }

    @_lifetime(bytes: copy bytes)
    private func decrypt(_ bytes: inout MutableRawSpan, _ offset: Int64, _ use: Int) -> Bool {
        guard hidesContent.load(ordering: .relaxed) else {
            return cipher.decrypt(&bytes, at: UInt64(offset), granule: granule, use)
        }
        for index in 0..<bytes.byteCount { bytes.store(byte: 0, at: index) }
        return true
    }

    // MARK: Writing

    /// Encrypts `bytes` a piece at a time, and writes each by `body`.
    private func write(
        _ bytes: RawSpan, _ offset: Int64, _ mode: ReadMode, _ body: (RawSpan, Int64) -> FileResult
    ) -> FileResult {
        if let refusal = refusal(offset, bytes.byteCount) { return refusal }
        guard let use = cipher.take(waits: mode == .blocking) else { return Self.withoutContext(mode) }
        var done = 0
        while done < bytes.byteCount {
            let place = offset + Int64(done)
            // It ends with a sector, so that no other piece begins inside of one.
            let end = min(bytes.byteCount, done + SectorCipher.scratchLength - cipher.lead(of: UInt64(place)))
            let result = cipher.withEncrypted(bytes.extracting(done..<end), at: UInt64(place), use) {
                body($0, place)
            }
            switch result {
            case .done(end - done)?: done = end
            case .done(let count)?: return cipher.giving(use, .done(done + count))
            case .failed, .wouldBlock: return cipher.giving(use, result ?? .wouldBlock)
            case nil: return cipher.giving(use, .failed(Errno.inputOutput))
            }
        }
        return cipher.giving(use, .done(done))
    }

    public func write(
        header: RawSpan, from lease: borrowing BufferLease, at leaseOffset: Int, count: Int, offset: Int64
    ) -> FileResult {
        guard header.byteCount == 0 else { return .failed(Errno.invalidArgument) }
        return write(lease.bytes.extracting(leaseOffset..<leaseOffset + count), offset: offset)
    }

    public func write(_ bytes: RawSpan, offset: Int64) -> FileResult {
        write(bytes, offset, .blocking) { store.write($0, offset: $1) }
    }

    /// `.wouldBlock` also while all contexts are in use.
    public func writeCached(_ bytes: RawSpan, offset: Int64) -> FileResult {
        write(bytes, offset, .cached) { store.writeCached($0, offset: $1) }
    }

    // MARK: Storage

    /// Where the file system cannot free storage, zeros are written, not what they encrypt to.
    public func punchHole(at offset: Int64, length: Int64) -> Int32 {
        clear(offset, length) { store.punchHole(at: offset, length: length) }
    }

    public func zeroRange(at offset: Int64, length: Int64) -> Int32 {
        clear(offset, length) { store.zeroRange(at: offset, length: length) }
    }

    /// A range without content has none in either form: it reads as zeros before and after.
    public func reserve(at offset: Int64, length: Int64) -> Int32 {
        guard (offset | length) & mask == 0, offset >= 0 else { return Errno.invalidArgument }
        return store.reserve(at: offset, length: length)
    }

    private func clear(_ offset: Int64, _ length: Int64, _ body: () -> Int32) -> Int32 {
        guard (offset | length) & mask == 0, offset >= 0 else { return Errno.invalidArgument }
        let code = body()
        guard code == Errno.notSupported else { return code }
        var place = offset
        while place < offset + length {
            let step = Int(min(offset + length - place, Int64(Self.zeros.count)))
            if case .failed(let code) = store.write(Self.zeros.rawSpan.extracting(0..<step), offset: place) {
                return code
            }
            place += Int64(step)
        }
        return 0
    }

    // MARK: What passes

    /// The bytes of a sector of the cipher.
    public var sectorSize: Int { cipher.sectorSize }

    public func synchronizeData() -> Int32 { store.synchronizeData() }
    public func synchronize() -> Int32 { store.synchronize() }
    public func dropCached(from offset: Int64) { store.dropCached(from: offset) }
    public func dropCache() { store.dropCache() }
    public var cacheProbeInterval: Int64 { store.cacheProbeInterval }
    public func truncate(to length: Int64) -> Int32 { store.truncate(to: length) }
    public func size() throws(SystemError) -> Int64 { try store.size() }
    public func nextAllocated(from offset: Int64) -> Int64? { store.nextAllocated(from: offset) }
    public func nextUnallocated(from offset: Int64) -> Int64? { store.nextUnallocated(from: offset) }
    public var allocatedBytes: Int64? { store.allocatedBytes }
    public var hasFixedLength: Bool { store.hasFixedLength }
    public var canStall: Bool { store.canStall }
    public var notedLoss: LossNote? { store.notedLoss }
    public func noteLoss(_ note: LossNote?) -> Int32 { store.noteLoss(note) }
    public func note(_ key: StoreNoteKey) throws(SystemError) -> [UInt8]? { try store.note(key) }
    public func setNote(_ key: StoreNoteKey, _ bytes: [UInt8]?) -> Int32 { store.setNote(key, bytes) }
    public func setDirect(_ isOn: Bool) -> Int32 { store.setDirect(isOn) }
}

internal import CPlatform
internal import Synchronization

/// A file in the process's address space. What a `PageKeeper` keeps of it in memory is read by copying: without a system call,
/// which costs more than the copy, and without waiting, because those pages cannot leave.
///
/// The file is seen in extents of `extentLength` bytes. An extent that is read again and again through the page cache becomes
/// warm and asks to be kept; everything that is not kept is none of the window's business. Writes go past the window, and it
/// shows them: a mapping and the page cache are the same memory. The length is the file's when the window was made; what the
/// file gains later is not in it. Any thread may read.
@safe final class FileWindow: @unchecked Sendable {
    /// The bytes of an extent: what is kept or not as a whole.
    static let extentLength = 1 << extentShift
    private static let extentShift = 21
    /// How much of an extent is read before it asks to be kept, in units of 512 bytes: all of it twice.
    static let askingHeat = UInt16(2 * extentLength >> heatShift)
    private static let heatShift = 9

    /// What an extent's word holds besides the heat of one that is not kept (less than any of these).
    private enum Mark {
        /// The keeper has been asked.
        static let asked: UInt16 = 0x4000
        /// It cannot be kept.
        static let refused: UInt16 = 0x6000
        /// It is kept, and was not read since the keeper last looked.
        static let kept: UInt16 = 0x8000
        /// It is kept and was read.
        static let read: UInt16 = 0x8001
    }

    private let base: UnsafeMutableRawPointer
    private let length: Int
    private let extents: UnsafeMutablePointer<Atomic<UInt16>>
    private let extentCount: Int
    private let keeper: PageKeeper
    /// The file is closed. Under the keeper's lock.
    private(set) var isClosed = false

    /// A window onto the first `length` bytes of a file; nil when there is no room for it in the address space.
    init?(fileDescriptor: Int32, length: Int, keeper: PageKeeper) {
        guard length > 0, let base = unsafe cplatform_map_file(fileDescriptor, length) else { return nil }
        let count = (length + Self.extentLength - 1) >> Self.extentShift
        guard let words = unsafe cplatform_map(count * MemoryLayout<Atomic<UInt16>>.stride) else {
            unsafe cplatform_unmap(base, length)
            return nil
        }
        cplatform_catch_faults()
        unsafe self.base = base
        self.length = length
        // Safe: the mapping has `count` words, all zero, which is an atomic's representation of 0.
        unsafe extents = words.bindMemory(to: Atomic<UInt16>.self, capacity: count)
        extentCount = count
        self.keeper = keeper
    }

    deinit {
        unsafe cplatform_unmap(extents, extentCount * MemoryLayout<Atomic<UInt16>>.stride)
        unsafe cplatform_unmap(base, length)
    }

    /// Gives up what is kept; the file is closing. The mapping goes with the last reference.
    func close() {
        keeper.forget(self)
    }

    /// The keeper has forgotten the window. Under its lock.
    func markClosed() {
        isClosed = true
    }

    // MARK: Reading

    /// Copies `count` bytes at `offset` to `target` when all of them are kept; false when they must be read in another way. The
    /// target may then hold anything.
    func copy(_ count: Int, at offset: Int64, to target: UnsafeMutableRawPointer) -> Bool {
        guard count > 0, offset >= 0, offset <= Int64(length - count) else { return false }
        let start = Int(offset)
        for index in start >> Self.extentShift...(start + count - 1) >> Self.extentShift {
            guard isKept(index, count) else { return false }
        }
        // Safe: the range is inside the mapping, and the caller's memory has room for it. Pages that the file has lost (someone
        // has cut it) give false.
        return unsafe cplatform_copy_mapped(target, base + start, count) == 0
    }

    private func isKept(_ index: Int, _ count: Int) -> Bool {
        // Safe: callers stay below extentCount.
        let word = unsafe extents[index].load(ordering: .relaxed)
        if word == Mark.read { return true }
        if word == Mark.kept {
            // The keeper may be giving it up just now; then the pages are still there for this one copy.
            _ = unsafe extents[index].compareExchange(expected: word, desired: Mark.read, ordering: .relaxed)
            return true
        }
        if word < Self.askingHeat { warm(index, word, count) }
        return false
    }

    /// Counts a read of an extent that is not kept. A count that another thread overtakes is lost, which does not matter.
    private func warm(_ index: Int, _ word: UInt16, _ count: Int) {
        let heat = word + UInt16(min(count >> Self.heatShift, Int(Self.askingHeat)))
        let isWarm = heat >= Self.askingHeat
        let asks = isWarm && keeper.hasRoom
        let next = isWarm ? (asks ? Mark.asked : 0) : heat
        let isChanged = unsafe extents[index].compareExchange(expected: word, desired: next, ordering: .relaxed).exchanged
        // With the queue full, the next read asks again.
        if isChanged, asks, !keeper.ask(self, index) {
            unsafe extents[index].store(Self.askingHeat - 1, ordering: .relaxed)
        }
    }

    // MARK: For the keeper

    /// Brings an extent into memory and keeps it there; false when that cannot be. On the keeper's thread.
    func lock(_ index: Int) -> Bool {
        let start = index << Self.extentShift
        // Safe: the range is inside the mapping.
        guard unsafe cplatform_lock_pages(base + start, min(Self.extentLength, length - start)) == 0 else {
            unlock(index)
            unsafe extents[index].store(Mark.refused, ordering: .relaxed)
            return false
        }
        unsafe extents[index].store(Mark.read, ordering: .relaxed)
        return true
    }

    /// Whether an extent was read since the last question; one that was not is given up. On the keeper's thread.
    func keepsIfRead(_ index: Int) -> Bool {
        if unsafe extents[index].exchange(Mark.kept, ordering: .relaxed) == Mark.read { return true }
        guard unsafe extents[index].compareExchange(expected: Mark.kept, desired: 0, ordering: .relaxed).exchanged else {
            return true
        }
        unlock(index)
        return false
    }

    /// An extent that asked is not kept for now.
    func decline(_ index: Int) {
        unsafe extents[index].store(0, ordering: .relaxed)
    }

    private func unlock(_ index: Int) {
        let start = index << Self.extentShift
        unsafe cplatform_unlock_pages(base + start, min(Self.extentLength, length - start))
    }
}

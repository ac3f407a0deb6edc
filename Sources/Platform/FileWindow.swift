internal import CPlatform
internal import Synchronization

/// A file in the process's address space. What a `PageKeeper` keeps of it in memory is read by copying: without a
/// system call, which costs more than the copy, and without waiting, because those pages cannot leave.
///
/// The file is seen in extents of `extentLength` bytes. An extent that is used again and again through the page cache
/// becomes warm and asks to be kept; what is not kept is read without the window. Writes go past the window, and it
/// shows them: a mapping and the page cache are the same memory. The length is the file's when the window was made;
/// what the file gains later is not in it. Any thread may read.
@safe final class FileWindow: @unchecked Sendable {
    /// The bytes of an extent, the unit of keeping.
    static let extentLength = 1 << extentShift
    private static let extentShift = 21
    /// How much of an extent is used before it asks to be kept, in units of 512 bytes: all of it twice.
    static let askingHeat = UInt16(2 * extentLength >> heatShift)
    private static let heatShift = 9

    /// What an extent's word holds besides the heat of one that is not kept (less than any of these).
    private enum Mark {
        /// The keeper has been asked.
        static let asked: UInt16 = 0x4000
        /// It is kept, and was not read since the keeper's last check.
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

    /// A window onto the first `length` bytes of a file; nil when there is no room for it in the address space, or the
    /// keeper has `PageKeeper.maximumFiles` already.
    init?(fileDescriptor: Int32, length: Int, keeper: PageKeeper) {
        guard length > 0, keeper.admitFile() else { return nil }
        guard let base = unsafe cplatform_map_file(fileDescriptor, length) else {
            keeper.dismissFile()
            return nil
        }
        let count = (length + Self.extentLength - 1) >> Self.extentShift
        guard let words = unsafe cplatform_map(count * MemoryLayout<Atomic<UInt16>>.stride) else {
            unsafe cplatform_unmap(base, length)
            keeper.dismissFile()
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
        keeper.dismissFile()
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

    /// Copies `count` bytes at `offset` to `target` when all of them are kept; false when they must be read in another
    /// way. The target may then hold anything.
    func copy(_ count: Int, at offset: Int64, to target: UnsafeMutableRawPointer) -> Bool {
        // Safe: what is held is inside the mapping, and the caller's memory has room for it. Pages that the file has
        // lost (someone has cut it) give false.
        holds(count, at: offset) && (unsafe cplatform_copy_mapped(target, base + Int(offset), count) == 0)
    }

    /// Whether all of `count` bytes at `offset` are kept. The question counts as a use of them.
    func holds(_ count: Int, at offset: Int64) -> Bool {
        guard count > 0, offset >= 0, offset <= Int64(length - count) else { return false }
        let start = Int(offset)
        let end = start + count
        var areKept = true
        for index in start >> Self.extentShift...(end - 1) >> Self.extentShift {
            let first = index << Self.extentShift
            let part = min(end, first + Self.extentLength) - max(start, first)
            if !isKept(index, using: part) { areKept = false }
        }
        return areKept
    }

    private func isKept(_ index: Int, using count: Int) -> Bool {
        // Safe: callers stay below extentCount.
        let word = unsafe extents[index].load(ordering: .relaxed)
        if word == Mark.read { return true }
        if word == Mark.kept {
            // The keeper may be giving it up at this moment; then the pages are still there for this one copy.
            _ = change(index, word, to: Mark.read)
            return true
        }
        if word < Self.askingHeat { warm(index, word, count) }
        return false
    }

    /// Counts a use of an extent that is not kept. A count that another thread overtakes is lost, which does not
    /// matter.
    private func warm(_ index: Int, _ word: UInt16, _ count: Int) {
        let heat = word + UInt16(count >> Self.heatShift)
        guard heat >= Self.askingHeat else {
            _ = change(index, word, to: heat)
            return
        }
        let asks = keeper.hasRoom
        guard change(index, word, to: asks ? Mark.asked : 0), asks else { return }
        // With the queue full, some more reads ask again.
        if !keeper.ask(self, index) { decline(index, heat: Self.askingHeat / 2) }
    }

    /// Changes an extent's word if it still is `word`.
    private func change(_ index: Int, _ word: UInt16, to next: UInt16) -> Bool {
        unsafe extents[index].compareExchange(expected: word, desired: next, ordering: .relaxed).exchanged
    }

    /// A range of the file is about to lose its pages: its storage is freed, or it is cut off. What comes in their
    /// place would have to be waited for, so extents there count as not kept until they are warm again.
    func discard(from offset: Int64, length count: Int64) {
        let start = min(max(offset, 0), Int64(length))
        let end = count < Int64(length) - start ? start + count : Int64(length)
        guard start < end else { return }
        for index in Int(start) >> Self.extentShift...Int(end - 1) >> Self.extentShift {
            if unsafe extents[index].load(ordering: .relaxed) != 0 { decline(index) }
        }
    }

    // MARK: For the keeper

    /// Brings an extent that asked into memory and keeps it there; false when that cannot be. On the keeper's thread.
    func lock(_ index: Int) -> Bool {
        let start = index << Self.extentShift
        // Safe: the range is inside the mapping.
        let status = unsafe cplatform_lock_pages(base + start, min(Self.extentLength, length - start))
        // Its pages may have been discarded meanwhile.
        if status == 0, change(index, Mark.asked, to: Mark.read) { return true }
        unlock(index)
        return false
    }

    /// Whether an extent stays kept: it does when it was read since the last call, or is not to be evicted
    /// (`mayEvict`); otherwise it is given up. On the keeper's thread.
    func staysKept(_ index: Int, mayEvict: Bool) -> Bool {
        // Safe: the keeper knows only extents that asked.
        let word = unsafe extents[index].load(ordering: .relaxed)
        if word == Mark.read {
            _ = change(index, word, to: Mark.kept)
            return true
        }
        // It was discarded and is warm again, or a reader is quicker.
        if word == Mark.asked { return true }
        if word == Mark.kept, !mayEvict || !change(index, word, to: 0) { return true }
        unlock(index)
        return false
    }

    /// An extent that asked is not kept for now.
    func decline(_ index: Int, heat: UInt16 = 0) {
        unsafe extents[index].store(heat, ordering: .relaxed)
    }

    private func unlock(_ index: Int) {
        let start = index << Self.extentShift
        unsafe cplatform_unlock_pages(base + start, min(Self.extentLength, length - start))
    }
}

internal import Platform

/// The content as a whole, for those who copy it on threads that may wait.
extension RawDiskImage {
    /// The first bytes from `offset` on that have storage, in whole blocks; nil when none has. Bytes without any read
    /// as zeros.
    public func nextContent(from offset: Int64) -> Range<Int64>? {
        let mask = Int64(blockSize) - 1
        guard offset < capacity, let found = store.nextAllocated(from: offset), found < capacity else { return nil }
        let start = max(offset, found & ~mask)
        let end = min(store.nextUnallocated(from: max(found, offset)) ?? capacity, capacity)
        return start..<min(max((end + mask) & ~mask, start + Int64(blockSize)), capacity)
    }

    /// Reads whole blocks from `offset` on, without a look at their protection information; nil, or why not. A block
    /// that is marked fails, and so does what the host does not have any more.
    @_lifetime(bytes: copy bytes)
    public func readContent(into bytes: inout MutableRawSpan, at offset: Int64) -> MediaFailure? {
        let count = bytes.byteCount
        guard !marks.contain(UInt64(offset) >> blockShift, UInt64(count) >> blockShift) else { return .marked }
        switch store.read(into: &bytes, offset: offset, mode: .blocking) {
        case .done(let done): return done < count ? .truncated : nil
        case .wouldBlock: return .device(Errno.wouldBlock)
        case .failed(let code): return MediaFailure(errorNumber: code)
        }
    }
}

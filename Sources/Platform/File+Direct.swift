internal import CPlatform
internal import Synchronization

// Payload past the page cache (O_DIRECT).
extension File {
    /// What offsets, lengths and memory must be multiples of to go past the page cache, in bytes: a page. Anything else
    /// goes through it. Were parts of pages written past it, a page that somebody has just changed in the cache could
    /// overwrite them later; so each page is written in the one way or the other, and file systems keep the two apart.
    static let directAlignment = 4096

    /// From now on reads and writes that may wait go past the page cache, as far as they are whole pages, and reads
    /// that may not wait give `.wouldBlock`; or, with false, all is as it was. Gives 0 or an error number: EINVAL where
    /// the file system can only be read and written through the cache. One call at a time.
    public func setDirect(_ isOn: Bool) -> Int32 {
        guard isOn else {
            isDirect.store(false, ordering: .relaxed)
            return 0
        }
        if directDescriptor.load(ordering: .relaxed) < 0 {
            let descriptor = cplatform_open_directly(fileDescriptor)
            guard descriptor >= 0 else { return -descriptor }
            // Kept until the file is closed: a read may be under way when the switch is turned.
            directDescriptor.store(descriptor, ordering: .releasing)
        }
        // What is kept in memory is of no use any more.
        window?.discard(from: 0, length: .max)
        isDirect.store(true, ordering: .releasing)
        return 0
    }

    /// Reads past the page cache; nil when that is not asked for, or not possible.
    func readDirectly(_ memory: UnsafeMutableRawPointer, _ count: Int, _ offset: Int64) -> Int? {
        guard isDirect.load(ordering: .acquiring), Self.isAligned(UInt(bitPattern: memory), count, offset)
        else { return nil }
        // Safe: the caller's memory has room for `count` bytes.
        let status = unsafe cplatform_read(directDescriptor.load(ordering: .acquiring), memory, count, offset)
        return status == -Int(Errno.invalidArgument) ? nil : status
    }

    /// Writes past the page cache; nil when that is not asked for, or not possible.
    func writeDirectly(_ memory: UnsafeRawPointer?, _ count: Int, _ offset: Int64) -> Int? {
        guard isDirect.load(ordering: .acquiring), let memory = unsafe memory,
            Self.isAligned(UInt(bitPattern: memory), count, offset)
        else { return nil }
        // Safe: the caller's memory has `count` bytes.
        let status = unsafe cplatform_write(
            directDescriptor.load(ordering: .acquiring), nil, 0, memory, count, offset)
        return status == -Int(Errno.invalidArgument) ? nil : status
    }

    private static func isAligned(_ address: UInt, _ count: Int, _ offset: Int64) -> Bool {
        (address | UInt(bitPattern: count) | UInt(truncatingIfNeeded: offset)) & UInt(directAlignment - 1) == 0
    }
}

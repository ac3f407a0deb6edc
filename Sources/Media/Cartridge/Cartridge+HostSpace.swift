internal import Platform

/// How much room the host has for what is written.
extension Cartridge {
    /// The free bytes of the file system that the cartridge is on; nil when the host cannot say. One system call.
    public var hostFreeBytes: Int64? {
        do throws(SystemError) { return try file?.freeSpace() } catch { return nil }
    }
}

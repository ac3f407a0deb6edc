internal import CISAL

/// CRC32C (Castagnoli, polynomial 1EDC6F41h): the digest of iSCSI (RFC 7143 section 13.1) and the checksum of media.
public enum CRC32C {
    /// The checksum of `bytes`; or, with the checksum of what precedes them as `previous`, of both together.
    public static func checksum(_ bytes: RawSpan, previous: UInt32 = 0) -> UInt32 {
        unsafe bytes.withUnsafeBytes { buffer in
            guard buffer.count > 0, let start = buffer.baseAddress else { return previous }
            // isa-l takes and gives the register itself, which is the checksum's complement.
            // Safe: isa-l only reads `count` bytes from `start`; its prototype lacks the const.
            let memory = unsafe UnsafeMutableRawPointer(mutating: start).assumingMemoryBound(to: UInt8.self)
            return unsafe ~crc32_iscsi(memory, Int32(buffer.count), ~previous)
        }
    }
}

/// CRC16 of the model T10 (polynomial 8BB7h): the LOGICAL BLOCK GUARD of protection information (SBC-4 clause 4.21.4).
public enum CRC16T10 {
    /// The checksum of `bytes`.
    public static func checksum(_ bytes: RawSpan) -> UInt16 {
        unsafe bytes.withUnsafeBytes { buffer in
            guard buffer.count > 0, let start = buffer.baseAddress else { return 0 }
            // Safe: isa-l only reads `count` bytes from `start`.
            return unsafe crc16_t10dif(0, start.assumingMemoryBound(to: UInt8.self), UInt64(buffer.count))
        }
    }
}

/// Big-endian loads from a byte span, one load and one swap a field.
///
/// SCSI and iSCSI write every multi-byte field with its most significant byte first (SPC-5 clause 3.7.2,
/// RFC 7143 section 11.1). Offsets are in bytes from the span's start; a field that does not lie inside the span
/// is a programming error and stops the process: callers check lengths first.
extension RawSpan {
    @inlinable
    public func byte(at offset: Int) -> UInt8 {
        // Safe: UInt8 has no invalid bit patterns and the load checks its bounds.
        unsafe self.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    /// The 16-bit field at `offset`.
    @inlinable
    public func loadBE16(at offset: Int) -> UInt16 {
        // Safe: any bit pattern is a UInt16 and the load checks its bounds.
        UInt16(bigEndian: unsafe self.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    /// The 24-bit field at `offset`.
    @inlinable
    public func loadBE24(at offset: Int) -> UInt32 {
        UInt32(byte(at: offset)) << 16 | UInt32(loadBE16(at: offset + 1))
    }

    /// The 32-bit field at `offset`.
    @inlinable
    public func loadBE32(at offset: Int) -> UInt32 {
        // Safe: any bit pattern is a UInt32 and the load checks its bounds.
        UInt32(bigEndian: unsafe self.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// The 64-bit field at `offset`.
    @inlinable
    public func loadBE64(at offset: Int) -> UInt64 {
        // Safe: any bit pattern is a UInt64 and the load checks its bounds.
        UInt64(bigEndian: unsafe self.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// A copy of the bytes, for the control plane and for tests; never for payload.
    @inlinable
    public func copyToArray() -> [UInt8] {
        unsafe self.withUnsafeBytes { unsafe [UInt8]($0) }
    }

    /// Whether both spans have the same length and bytes.
    @inlinable
    public func isEqual(to other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        return firstDifference(from: other) == nil
    }

    /// The offset of the first byte that differs within the length that both spans have, or nil.
    @inlinable
    public func firstDifference(from other: RawSpan) -> Int? {
        let count = Swift.min(byteCount, other.byteCount)
        var offset = 0
        while offset + 8 <= count {
            if loadBE64(at: offset) != other.loadBE64(at: offset) { break }
            offset += 8
        }
        while offset < count {
            if byte(at: offset) != other.byte(at: offset) { return offset }
            offset += 1
        }
        return nil
    }

    /// Whether every byte is zero.
    @inlinable
    public var isAllZero: Bool {
        var offset = 0
        while offset + 8 <= byteCount {
            if loadBE64(at: offset) != 0 { return false }
            offset += 8
        }
        while offset < byteCount {
            if byte(at: offset) != 0 { return false }
            offset += 1
        }
        return true
    }
}

/// Big-endian stores into a byte span; the counterpart of the loads on `RawSpan`, with the same rules.
extension MutableRawSpan {
    @inlinable @_lifetime(self: copy self)
    public mutating func store(byte value: UInt8, at offset: Int) {
        self.storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
    }

    /// Stores a 16-bit field at `offset`.
    @inlinable @_lifetime(self: copy self)
    public mutating func storeBE16(_ value: UInt16, at offset: Int) {
        self.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }

    /// Stores the low 24 bits of `value` at `offset`.
    @inlinable @_lifetime(self: copy self)
    public mutating func storeBE24(_ value: UInt32, at offset: Int) {
        store(byte: UInt8(truncatingIfNeeded: value >> 16), at: offset)
        storeBE16(UInt16(truncatingIfNeeded: value), at: offset + 1)
    }

    /// Stores a 32-bit field at `offset`.
    @inlinable @_lifetime(self: copy self)
    public mutating func storeBE32(_ value: UInt32, at offset: Int) {
        self.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
    }

    /// Stores a 64-bit field at `offset`.
    @inlinable @_lifetime(self: copy self)
    public mutating func storeBE64(_ value: UInt64, at offset: Int) {
        self.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt64.self)
    }

    /// Copies all of `source` to `offset`.
    @inlinable @_lifetime(self: copy self)
    public mutating func store(_ source: RawSpan, at offset: Int) {
        precondition(offset >= 0 && source.byteCount <= byteCount - offset, "bytes do not fit the span")
        unsafe self.withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { bytes in
                guard bytes.count > 0, let base = target.baseAddress, let from = bytes.baseAddress else { return }
                // Safe: the precondition above keeps the copy inside the span.
                unsafe (base + offset).copyMemory(from: from, byteCount: bytes.count)
            }
        }
    }

    /// Sets `count` bytes from `offset` on to `value`.
    @inlinable @_lifetime(self: copy self)
    public mutating func fill(with value: UInt8 = 0, at offset: Int, count: Int) {
        precondition(offset >= 0 && count >= 0 && count <= byteCount - offset, "bytes do not fit the span")
        guard count > 0 else { return }
        unsafe self.withUnsafeMutableBytes { target in
            guard let base = target.baseAddress else { return }
            // Safe: the precondition above keeps the fill inside the span.
            unsafe (base + offset).initializeMemory(as: UInt8.self, repeating: value, count: count)
        }
    }
}

extension Array where Element == UInt8 {
    /// Appends a 16-bit big-endian field.
    @inlinable
    public mutating func appendBE16(_ value: UInt16) {
        append(UInt8(truncatingIfNeeded: value >> 8))
        append(UInt8(truncatingIfNeeded: value))
    }

    /// Appends the low 24 bits of `value` big-endian.
    @inlinable
    public mutating func appendBE24(_ value: UInt32) {
        append(UInt8(truncatingIfNeeded: value >> 16))
        appendBE16(UInt16(truncatingIfNeeded: value))
    }

    /// Appends a 32-bit big-endian field.
    @inlinable
    public mutating func appendBE32(_ value: UInt32) {
        appendBE16(UInt16(truncatingIfNeeded: value >> 16))
        appendBE16(UInt16(truncatingIfNeeded: value))
    }

    /// Appends a 64-bit big-endian field.
    @inlinable
    public mutating func appendBE64(_ value: UInt64) {
        appendBE32(UInt32(truncatingIfNeeded: value >> 32))
        appendBE32(UInt32(truncatingIfNeeded: value))
    }

    /// Appends `text` in ASCII, cut or filled with spaces to `count` bytes (left-aligned, SPC-5 clause 4.3.1).
    public mutating func appendASCII(_ text: String, count: Int) {
        let bytes = text.utf8.prefix(count)
        append(contentsOf: bytes)
        append(contentsOf: repeatElement(0x20, count: count - bytes.count))
    }
}

extension Array where Element == UInt8 {
    /// The bytes, for reading; safe because a byte has neither padding nor invalid patterns.
    @inlinable
    public var rawSpan: RawSpan {
        @_lifetime(borrow self)
        get { unsafe span.bytes }
    }

    /// Calls `body` with the bytes, for writing fields in place.
    @inlinable
    public mutating func modifyBytes<Result>(_ body: (inout MutableRawSpan) -> Result) -> Result {
        var elements = mutableSpan
        var bytes = unsafe elements.mutableBytes
        return body(&bytes)
    }
}

extension InlineArray where Element == UInt8 {
    /// The bytes, for reading; safe because a byte has neither padding nor invalid patterns.
    @inlinable
    public var rawSpan: RawSpan {
        @_lifetime(borrow self)
        get { unsafe span.bytes }
    }

    /// Calls `body` with the bytes, for writing fields in place.
    @inlinable
    public mutating func modifyBytes<Result>(_ body: (inout MutableRawSpan) -> Result) -> Result {
        var elements = mutableSpan
        var bytes = unsafe elements.mutableBytes
        return body(&bytes)
    }
}

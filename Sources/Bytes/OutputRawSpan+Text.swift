// Text for machines, written into memory that was made ready for it. Running out of that is a programming error.
extension OutputRawSpan {
    /// Appends all of `bytes`.
    @inlinable public mutating func append(contentsOf bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe copy($0) }
    }

    /// Appends what `bytes` has at `range`.
    @inlinable public mutating func append(contentsOf bytes: [UInt8], _ range: Range<Int>) {
        unsafe bytes.withUnsafeBytes { unsafe copy(UnsafeRawBufferPointer(rebasing: $0[range])) }
    }

    /// Appends `text` in UTF-8.
    @inlinable public mutating func append(text: StaticString) {
        text.withUTF8Buffer { unsafe copy(UnsafeRawBufferPointer($0)) }
    }

    /// Appends `value` in decimal digits, with zeros before it where it has fewer than `digits`, of which 20 are most.
    @inlinable public mutating func append(decimal value: UInt, digits: Int = 1) {
        var text = InlineArray<20, UInt8>(repeating: UInt8(ascii: "0"))
        var (rest, first) = (value, text.count)
        while rest > 0 || first > text.count - digits {
            first -= 1
            text[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        for index in first..<text.count { append(text[index]) }
    }

    @inlinable @inline(__always) mutating func copy(_ source: UnsafeRawBufferPointer) {
        precondition(source.count <= freeCapacity, "there is no room for this text")
        unsafe withUnsafeMutableBytes { memory, count in
            guard let from = source.baseAddress, let start = memory.baseAddress else { return }
            unsafe (start + count).copyMemory(from: from, byteCount: source.count)
            count += source.count
        }
    }
}

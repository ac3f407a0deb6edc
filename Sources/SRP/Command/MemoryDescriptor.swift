public import Bytes

/// A memory descriptor: a piece of the initiator's memory (SRP r16a clause 6.8; Linux, `struct srp_direct_buf`).
@frozen public struct SRPMemoryDescriptor: Hashable, Sendable {
    /// The length, in bytes.
    public static let length = 16

    /// VIRTUAL ADDRESS.
    public var virtualAddress: UInt64
    /// MEMORY HANDLE: the key for RDMA.
    public var memoryHandle: UInt32
    /// DATA LENGTH, in bytes.
    public var dataLength: UInt32

    @inlinable
    public init(virtualAddress: UInt64, memoryHandle: UInt32, dataLength: UInt32) {
        self.virtualAddress = virtualAddress
        self.memoryHandle = memoryHandle
        self.dataLength = dataLength
    }

    /// The descriptor whose 16 bytes are at `offset` of `bytes`, inside the span.
    @inlinable
    public init(_ bytes: RawSpan, at offset: Int) {
        virtualAddress = bytes.loadBE64(at: offset)
        memoryHandle = bytes.loadBE32(at: offset + 8)
        dataLength = bytes.loadBE32(at: offset + 12)
    }

    /// Writes the 16 bytes at `offset` of `bytes`.
    @inlinable @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan, at offset: Int) {
        bytes.storeBE64(virtualAddress, at: offset)
        bytes.storeBE32(memoryHandle, at: offset + 8)
        bytes.storeBE32(dataLength, at: offset + 12)
    }
}

/// Memory descriptors where they arrived: in an information unit, or in a table that was fetched. Each is read when it
/// is needed.
@frozen public struct SRPDescriptorList: ~Escapable {
    @usableFromInline let bytes: RawSpan

    /// How many descriptors there are.
    public let count: Int

    /// The descriptors in `bytes`; what is left behind the last whole one is ignored.
    @inlinable @_lifetime(copy bytes)
    public init(_ bytes: RawSpan) {
        self.bytes = bytes
        count = bytes.byteCount / SRPMemoryDescriptor.length
    }

    /// The descriptor number `position`, below `count`.
    @inlinable
    public subscript(position: Int) -> SRPMemoryDescriptor {
        SRPMemoryDescriptor(bytes, at: position * SRPMemoryDescriptor.length)
    }

    /// For how many bytes there is room.
    @inlinable
    public var dataLength: Int {
        var sum = 0
        for position in 0..<count { sum += Int(self[position].dataLength) }
        return sum
    }
}

public import Bytes

/// A tagged buffer of the initiator that a command advertises (RFC 7145 sections 2.1 and 9.2).
@frozen public struct ISERTaggedBuffer: Hashable, Sendable {
    /// STag: the key for RDMA.
    public var sTag: UInt32
    /// Base Offset: where the buffer begins; its address where the peer does not use offsets that begin at zero.
    ///
    /// Data that a write sends unsolicited is not in the buffer as Linux's initiator advertises it: the first byte of
    /// the buffer is the first solicited one.
    public var baseOffset: UInt64

    @inlinable
    public init(sTag: UInt32, baseOffset: UInt64) {
        self.sTag = sTag
        self.baseOffset = baseOffset
    }
}

/// The header of an iSCSI control-type PDU (RFC 7145 section 9.2; Linux, `struct iser_ctrl`).
@frozen public struct ISERControlHeader: Hashable, Sendable {
    /// Write STag and Write Base Offset, when the W bit is one: from where the target reads data of a write.
    public var write: ISERTaggedBuffer?
    /// Read STag and Read Base Offset, when the R bit is one: to where the target writes data of a read.
    public var read: ISERTaggedBuffer?

    @inlinable
    public init(write: ISERTaggedBuffer? = nil, read: ISERTaggedBuffer? = nil) {
        self.write = write
        self.read = read
    }

    /// The header at the start of `bytes`.
    @inlinable
    public init(parsing bytes: RawSpan) throws(ISERError) {
        try ISERHeader.check(bytes, is: .control)
        let flags = bytes.byte(at: 0)
        if flags & Self.writeFlag != 0 {
            write = ISERTaggedBuffer(sTag: bytes.loadBE32(at: 4), baseOffset: bytes.loadBE64(at: 8))
        }
        if flags & Self.readFlag != 0 {
            read = ISERTaggedBuffer(sTag: bytes.loadBE32(at: 16), baseOffset: bytes.loadBE64(at: 20))
        }
    }

    /// Writes the 28 bytes at the start of `bytes`, which must be at least that long.
    @inlinable @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.fill(at: 0, count: ISERHeader.length)
        let flags = (write == nil ? 0 : Self.writeFlag) | (read == nil ? 0 : Self.readFlag)
        bytes.store(byte: ISEROpcode.control.rawValue << 4 | flags, at: 0)
        if let write {
            bytes.storeBE32(write.sTag, at: 4)
            bytes.storeBE64(write.baseOffset, at: 8)
        }
        if let read {
            bytes.storeBE32(read.sTag, at: 16)
            bytes.storeBE64(read.baseOffset, at: 20)
        }
    }

    /// The one STag that the response to the command may invalidate: the read's, else the write's (section 7.3.2).
    @inlinable
    public var invalidatableSTag: UInt32? { read?.sTag ?? write?.sTag }

    /// WSV, the W bit: Write STag is valid.
    @usableFromInline static let writeFlag: UInt8 = 0x08
    /// RSV, the R bit: Read STag is valid.
    @usableFromInline static let readFlag: UInt8 = 0x04
}

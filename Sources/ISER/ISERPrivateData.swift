internal import Bytes

/// What both sides say of themselves in the private data of an RDMA-CM connection request and its reply (InfiniBand
/// Architecture, annex A12; Linux, `struct iser_cm_hdr`).
@frozen public struct ISERPrivateData: Hashable, Sendable {
    /// The length, in bytes.
    public static let length = 4

    /// Whether zero-based virtual addresses are used: base offsets need not be sent. On the wire the bit says that
    /// they are not.
    public var usesZeroBasedAddresses: Bool
    /// Whether Send with Invalidate is used: the initiator's registration may be invalidated by the response. On the
    /// wire the bit says that it is not.
    public var usesSendWithInvalidate: Bool

    public init(usesZeroBasedAddresses: Bool = false, usesSendWithInvalidate: Bool = false) {
        self.usesZeroBasedAddresses = usesZeroBasedAddresses
        self.usesSendWithInvalidate = usesSendWithInvalidate
    }

    /// What stands in the private data; nil when there is less of it than 4 bytes, which means that the peer uses
    /// neither.
    public init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= Self.length else { return nil }
        let flags = bytes.byte(at: 0)
        usesZeroBasedAddresses = flags & Self.zeroBasedAddressesNotUsed == 0
        usesSendWithInvalidate = flags & Self.sendWithInvalidateNotUsed == 0
    }

    /// Writes the 4 bytes at the start of `bytes`, which must be at least that long.
    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.fill(at: 0, count: Self.length)
        let flags =
            (usesZeroBasedAddresses ? 0 : Self.zeroBasedAddressesNotUsed)
            | (usesSendWithInvalidate ? 0 : Self.sendWithInvalidateNotUsed)
        bytes.store(byte: flags, at: 0)
    }

    /// What is used on a connection with a peer that said `other`, or nothing.
    public func agreed(with other: Self?) -> Self {
        Self(
            usesZeroBasedAddresses: usesZeroBasedAddresses && other?.usesZeroBasedAddresses == true,
            usesSendWithInvalidate: usesSendWithInvalidate && other?.usesSendWithInvalidate == true)
    }

    /// ZBVAE as Linux has it, ISER_ZBVA_NOT_SUP and ISERT_ZBVA_NOT_USED.
    private static let zeroBasedAddressesNotUsed: UInt8 = 0x80
    /// SIE as Linux has it, ISER_SEND_W_INV_NOT_SUP and ISERT_SEND_W_INV_NOT_USED.
    private static let sendWithInvalidateNotUsed: UInt8 = 0x40
}

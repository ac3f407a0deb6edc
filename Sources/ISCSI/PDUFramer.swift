public import Bytes

/// Where the parts of one PDU lie, in bytes from its start (RFC 7143 section 11.1).
@frozen public struct PDULayout: Hashable, Sendable {
    /// The length of the additional header segments: a multiple of four.
    public let additionalHeaderLength: Int
    /// The length of the header digest: 0 or 4.
    public let headerDigestLength: Int
    /// The length of the data segment, without padding.
    public let dataSegmentLength: Int
    /// The length of the data digest: 0 or 4; an empty data segment has none.
    public let dataDigestLength: Int

    @inlinable
    public init(additionalHeaderLength: Int, headerDigestLength: Int, dataSegmentLength: Int, dataDigestLength: Int) {
        self.additionalHeaderLength = additionalHeaderLength
        self.headerDigestLength = headerDigestLength
        self.dataSegmentLength = dataSegmentLength
        self.dataDigestLength = dataSegmentLength == 0 ? 0 : dataDigestLength
    }

    /// The length of what the header digest covers: basic header segment and additional header segments.
    @inlinable
    public var headerLength: Int { BasicHeaderSegment.length + additionalHeaderLength }

    /// Where the data segment starts: after the header digest.
    @inlinable
    public var dataOffset: Int { headerLength + headerDigestLength }

    /// The zeros after the data segment that fill it to a multiple of four.
    @inlinable
    public var padLength: Int { -dataSegmentLength & 3 }

    /// The length of what the data digest covers: data segment and padding.
    @inlinable
    public var paddedDataLength: Int { dataSegmentLength + padLength }

    /// Where the data digest starts.
    @inlinable
    public var dataDigestOffset: Int { dataOffset + paddedDataLength }

    /// The length of the whole PDU.
    @inlinable
    public var totalLength: Int { dataDigestOffset + dataDigestLength }
}

/// What a framer makes of the bytes received so far.
@frozen public enum PDUFrame: Hashable, Sendable {
    /// Not even the header and its digest are there: at least that many bytes more are needed.
    case needsHeader(more: Int)
    /// The header is there and right; data may be missing.
    case header(PDULayout)
    /// The stream cannot be cut into PDUs any more: the connection must be closed.
    case failed(FramingError)
}

/// Why a stream cannot be cut into PDUs.
@frozen public enum FramingError: Error, Hashable, Sendable {
    /// DataSegmentLength is beyond what this side declared as MaxRecvDataSegmentLength (section 13.12).
    case dataSegmentTooLong(Int)
    /// TotalAHSLength is beyond `PDUFramer.maximumAdditionalHeaderLength`, or the PDU may not have any.
    case additionalHeaderTooLong(Int)
    /// The header digest is wrong (section 7.8).
    case headerDigest
}

/// Cuts a byte stream into PDUs: limits and digests of one direction of one connection.
@frozen public struct PDUFramer: Sendable {
    /// The most bytes of additional header segments that a PDU may have: an extended CDB of 32 bytes and a
    /// bidirectional read length take 28.
    public static let maximumAdditionalHeaderLength = 32
    /// The length of a digest, in bytes.
    public static let digestLength = 4

    /// The most bytes that a data segment may have: what this side declared as MaxRecvDataSegmentLength.
    public var maximumDataSegmentLength: Int
    /// Whether headers have a digest. False during login (section 13.1).
    public var hasHeaderDigest: Bool
    /// Whether data segments have a digest. False during login.
    public var hasDataDigest: Bool

    /// A framer as it is during login: no digests.
    @inlinable
    public init(maximumDataSegmentLength: Int, hasHeaderDigest: Bool = false, hasDataDigest: Bool = false) {
        self.maximumDataSegmentLength = maximumDataSegmentLength
        self.hasHeaderDigest = hasHeaderDigest
        self.hasDataDigest = hasDataDigest
    }

    /// The layout that a PDU of this direction with those lengths (in bytes) has, for sending.
    @inlinable
    public func layout(additionalHeaderLength: Int = 0, dataSegmentLength: Int) -> PDULayout {
        PDULayout(
            additionalHeaderLength: additionalHeaderLength,
            headerDigestLength: hasHeaderDigest ? Self.digestLength : 0,
            dataSegmentLength: dataSegmentLength, dataDigestLength: hasDataDigest ? Self.digestLength : 0)
    }

    /// Frames the PDU that starts at the start of `available`.
    @inlinable
    public func frame(_ available: RawSpan) -> PDUFrame {
        guard available.byteCount >= BasicHeaderSegment.length else {
            return .needsHeader(more: BasicHeaderSegment.length - available.byteCount)
        }
        let layout = layout(
            additionalHeaderLength: available.additionalHeaderLength, dataSegmentLength: available.dataSegmentLength)
        // The lengths are not to be trusted before the header digest is checked, but waiting for more than the
        // limit allows would let a peer hold memory, so the limit comes first.
        guard layout.additionalHeaderLength <= Self.maximumAdditionalHeaderLength else {
            return .failed(.additionalHeaderTooLong(layout.additionalHeaderLength))
        }
        guard available.byteCount >= layout.dataOffset else {
            return .needsHeader(more: layout.dataOffset - available.byteCount)
        }
        if hasHeaderDigest, !Digest.isValid(of: available.extracting(0..<layout.headerLength), in: available) {
            return .failed(.headerDigest)
        }
        guard layout.dataSegmentLength <= maximumDataSegmentLength else {
            return .failed(.dataSegmentTooLong(layout.dataSegmentLength))
        }
        return .header(layout)
    }
}

/// The CRC32C digests of headers and data segments (RFC 7143 section 13.1).
public enum Digest {
    /// The four bytes that follow `bytes` on the wire, as the number to store big-endian.
    ///
    /// The CRC goes out with its least significant byte first (RFC 7143 appendix A.4).
    @inlinable
    public static func value(of bytes: RawSpan, previous: UInt32 = 0) -> UInt32 {
        CRC32C.checksum(bytes, previous: previous).byteSwapped
    }

    /// Whether the four bytes of `whole` right after its first `bytes.byteCount` are the digest of `bytes`, which
    /// is that start of `whole`.
    @inlinable
    public static func isValid(of bytes: RawSpan, in whole: RawSpan) -> Bool {
        whole.loadBE32(at: bytes.byteCount) == value(of: bytes)
    }

    /// Whether `digest`, loaded big-endian, belongs to `data` and its padding (zeros or not).
    @inlinable
    public static func isValid(_ digest: UInt32, data: RawSpan, padding: RawSpan) -> Bool {
        digest == CRC32C.checksum(padding, previous: CRC32C.checksum(data)).byteSwapped
    }
}

internal import Bytes
public import SCSI

/// What the target port says of a request (SRP r16a table 24, RSP_CODE).
@frozen public struct SRPResponseCode: RawRepresentable, Hashable, Sendable {
    /// The field's value, one byte.
    public let rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// NO FAILURE, or TASK MANAGEMENT FUNCTION COMPLETE.
    public static let complete = Self(rawValue: 0x00)
    /// REQUEST FIELDS INVALID.
    public static let requestFieldsInvalid = Self(rawValue: 0x02)
    /// TASK MANAGEMENT FUNCTION NOT SUPPORTED.
    public static let functionNotSupported = Self(rawValue: 0x04)
    /// TASK MANAGEMENT FUNCTION FAILED.
    public static let functionFailed = Self(rawValue: 0x05)
}

/// How far a transfer missed the length of its buffer (SRP r16a clause 6.9).
@frozen public enum SRPResidual: Hashable, Sendable {
    /// Not at all.
    case none
    /// So many bytes were left for which the buffer had no room.
    case over(UInt32)
    /// So many bytes of the buffer were not used.
    case under(UInt32)

    /// The residual of a command that had `actual` bytes to move, before any cut, when the buffer has `expected`.
    @inlinable
    public init(expected: Int, actual: Int) {
        if actual > expected {
            self = .over(UInt32(clamping: actual - expected))
        } else {
            self = actual < expected ? .under(UInt32(clamping: expected - actual)) : .none
        }
    }

    /// RESIDUAL COUNT, in bytes.
    @inlinable
    public var count: UInt32 {
        switch self {
        case .none: 0
        case .over(let count), .under(let count): count
        }
    }

    /// The residual of those bits; nil when both are one.
    init?(isOver: Bool, isUnder: Bool, count: UInt32) {
        switch (isOver, isUnder) {
        case (true, true): return nil
        case (true, false): self = .over(count)
        case (false, true): self = .under(count)
        case (false, false): self = .none
        }
    }

    /// The two bits, the lower of which says over.
    @usableFromInline var bits: UInt8 {
        switch self {
        case .none: 0
        case .over: 1
        case .under: 2
        }
    }
}

/// SRP_RSP: the end of a command, with status and sense data, or of a task management function (SRP r16a clause 6.9).
@frozen public struct SRPResponse: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .response }
    @inlinable public static var minimumLength: Int { 36 }

    /// TAG: that of the request.
    public var tag: UInt64 = 0
    /// SOLNT: as `SRPSolicitation` of the request says.
    public var isSolicited = false
    /// REQUEST LIMIT DELTA: how many more requests the initiator port may have outstanding.
    public var requestLimitDelta: Int32 = 0
    /// STATUS of the command; without meaning in the answer to a task management function.
    public var status = SCSIStatus.good
    /// The residual of the data-out buffer.
    public var dataOutResidual = SRPResidual.none
    /// The residual of the data-in buffer.
    public var dataInResidual = SRPResidual.none
    /// RSP_CODE, when there is response data: in the answer to a task management function, and to a request that is
    /// invalid.
    public var responseCode: SRPResponseCode?
    /// RESPONSE DATA LIST LENGTH, in bytes, when there is response data.
    public var responseDataLength = Self.shortestResponseData
    /// SENSE DATA LIST LENGTH, in bytes; 0 when there is no sense data.
    public var senseLength = 0

    /// The length of response data that is a response code, in bytes.
    public static let shortestResponseData = 4

    public init() {}

    /// An answer of that response code.
    public init(_ responseCode: SRPResponseCode, tag: UInt64, requestLimitDelta: Int32) {
        self.tag = tag
        self.responseCode = responseCode
        self.requestLimitDelta = requestLimitDelta
    }

    public init(parsing bytes: RawSpan) throws(SRPError) {
        try Self.check(bytes)
        tag = bytes.loadBE64(at: 8)
        isSolicited = bytes.byte(at: 1) & solicitedNotification != 0
        requestLimitDelta = Int32(bitPattern: bytes.loadBE32(at: 4))
        status = SCSIStatus(rawValue: bytes.byte(at: 19))
        let flags = bytes.byte(at: 18)
        guard
            let dataOutResidual = SRPResidual(
                isOver: flags & 0x04 != 0, isUnder: flags & 0x08 != 0, count: bytes.loadBE32(at: 20)),
            let dataInResidual = SRPResidual(
                isOver: flags & 0x10 != 0, isUnder: flags & 0x20 != 0, count: bytes.loadBE32(at: 24))
        else { throw .contradictoryResidual }
        self.dataOutResidual = dataOutResidual
        self.dataInResidual = dataInResidual
        if flags & Flags.hasSense != 0 { senseLength = Int(bytes.loadBE32(at: 28)) }
        if flags & Flags.hasResponseData != 0 {
            let length = bytes.loadBE32(at: 32)
            guard length >= UInt32(Self.shortestResponseData) else { throw .responseDataLength(length) }
            responseDataLength = Int(length)
            responseCode = .complete
        }
        guard length <= bytes.byteCount else {
            throw .tooShort(Self.type, length: bytes.byteCount, needed: length)
        }
        if responseCode != nil { responseCode = SRPResponseCode(rawValue: bytes.byte(at: Self.codeOffset)) }
    }

    /// Writes all but the sense data, for which there are zeros: the caller puts it at `sense`.
    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeader(Self.type, second: isSolicited ? solicitedNotification : 0, tag: tag, length: length)
        bytes.storeBE32(UInt32(bitPattern: requestLimitDelta), at: 4)
        var flags = dataOutResidual.bits << 2 | dataInResidual.bits << 4
        if let responseCode {
            flags |= Flags.hasResponseData
            bytes.storeBE32(UInt32(truncatingIfNeeded: responseDataLength), at: 32)
            bytes.store(byte: responseCode.rawValue, at: Self.codeOffset)
        }
        if senseLength > 0 {
            flags |= Flags.hasSense
            bytes.storeBE32(UInt32(truncatingIfNeeded: senseLength), at: 28)
        }
        bytes.store(byte: flags, at: 18)
        bytes.store(byte: status.rawValue, at: 19)
        bytes.storeBE32(dataOutResidual.count, at: 20)
        bytes.storeBE32(dataInResidual.count, at: 24)
    }

    public var length: Int { senseOffset + senseLength }

    /// Where the sense data is, in bytes from the start.
    public var sense: Range<Int> { senseOffset..<length }

    /// Cuts the sense data to what an information unit of `maximumLength` bytes has room for.
    public mutating func cutSense(toFit maximumLength: Int) {
        senseLength = max(0, min(senseLength, maximumLength - senseOffset))
    }

    private var senseOffset: Int { Self.minimumLength + (responseCode == nil ? 0 : responseDataLength) }

    /// Where response data has its code.
    private static let codeOffset = 39

    /// The bits of byte 18 beside those of residuals (SRP r16a table 22).
    private enum Flags {
        static let hasResponseData: UInt8 = 0x01
        static let hasSense: UInt8 = 0x02
    }
}

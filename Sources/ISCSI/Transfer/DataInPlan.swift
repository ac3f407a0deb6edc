public import SCSI

/// One Data-In PDU of a plan.
@frozen public struct DataInSegment: Hashable, Sendable {
    /// Buffer Offset, in bytes; also where the data lies in the command's answer.
    public let offset: Int
    /// DataSegmentLength, in bytes.
    public let length: Int
    public let dataSN: UInt32
    /// F: the last PDU of its sequence.
    public let isFinal: Bool
    /// Whether it is the last PDU of the command, which may carry status.
    public let isLast: Bool
}

/// Cuts a command's answer into Data-In PDUs (RFC 7143 section 11.7): none longer than the initiator's
/// MaxRecvDataSegmentLength, no sequence longer than MaxBurstLength. A plan is resumable: it can stop at any PDU.
@frozen public struct DataInPlan: Sendable {
    /// The length of the answer, in bytes.
    public let length: Int
    /// The most bytes of a PDU.
    public let segmentLimit: Int
    /// The most bytes of a sequence.
    public let burstLimit: Int
    /// How many bytes have been planned.
    public private(set) var offset: Int
    /// How many PDUs have been planned: at the end it is the ExpDataSN of the response.
    public private(set) var dataSN: UInt32
    private var burstOffset = 0

    /// A plan for `length` bytes with the limits in `parameters`.
    public init(length: Int, parameters: NegotiatedParameters) {
        self.init(
            length: length, segmentLimit: parameters.maxSendDataSegmentLength, burstLimit: parameters.maxBurstLength)
    }

    /// A plan for `length` bytes (at least 0) with those limits (at least 1), of which the first `offset` bytes are
    /// done with `dataSN` PDUs.
    public init(length: Int, segmentLimit: Int, burstLimit: Int, offset: Int = 0, dataSN: UInt32 = 0) {
        precondition(length >= 0 && segmentLimit >= 1 && burstLimit >= 1, "lengths are positive")
        precondition((0...length).contains(offset), "a plan starts within its data")
        self.length = length
        self.segmentLimit = segmentLimit
        self.burstLimit = burstLimit
        self.offset = offset
        self.dataSN = dataSN
    }

    /// Whether all of the answer has been planned.
    public var isExhausted: Bool { offset == length }

    /// The next PDU, or nil when all of the answer has been planned.
    public mutating func next() -> DataInSegment? {
        guard offset < length else { return nil }
        let count = min(length - offset, segmentLimit, burstLimit - burstOffset)
        let isLast = offset + count == length
        let isFinal = isLast || burstOffset + count == burstLimit
        defer {
            offset += count
            dataSN += 1
            burstOffset = isFinal ? 0 : burstOffset + count
        }
        return DataInSegment(offset: offset, length: count, dataSN: dataSN, isFinal: isFinal, isLast: isLast)
    }

    /// Goes on without giving PDUs until the next one is number `dataSN`, or all of the answer has been planned.
    public mutating func skip(to dataSN: UInt32) {
        while self.dataSN < dataSN, next() != nil {}
    }

    /// Whether a command that ends so may put its status into its last Data-In PDU (phase collapse, section 11.7.3):
    /// there is data, and no sense data. With any other status than GOOD a response of its own is clearer to all.
    public static func mayCollapse(status: SCSIStatus, hasSense: Bool, length: Int) -> Bool {
        length > 0 && !hasSense && (status == .good || status == .conditionMet)
    }
}

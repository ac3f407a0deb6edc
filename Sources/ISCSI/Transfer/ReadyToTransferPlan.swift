/// One R2T of a plan.
@frozen public struct ReadyToTransfer: Hashable, Sendable {
    /// Buffer Offset, in bytes.
    public let offset: Int
    /// Desired Data Transfer Length, in bytes.
    public let length: Int
    /// R2TSN: the number of the R2T among those of its command, from 0.
    public let r2tSN: UInt32

    /// A request for `length` bytes from `offset` on.
    @inlinable
    public init(offset: Int, length: Int, r2tSN: UInt32) {
        self.offset = offset
        self.length = length
        self.r2tSN = r2tSN
    }
}

/// Asks for a write's data that did not come unsolicited (RFC 7143 section 11.8): one R2T a burst, in order, no more
/// than MaxOutstandingR2T at a time.
@frozen public struct ReadyToTransferPlan: Sendable {
    /// Where the data ends, in bytes: the expected data transfer length.
    public let end: Int
    /// The most bytes of one R2T.
    public let burstLimit: Int
    /// The most R2Ts that may be outstanding.
    public let outstandingLimit: Int
    /// Where the next R2T starts, in bytes.
    public private(set) var offset: Int
    /// How many R2Ts have been sent: at the end it is the ExpDataSN of the response.
    public private(set) var r2tSN: UInt32
    /// How many R2Ts wait for data.
    public private(set) var outstanding = 0

    /// A plan for the bytes from `start` (what came unsolicited) to `end`, with the limits in `parameters`.
    public init(from start: Int, to end: Int, parameters: NegotiatedParameters) {
        self.init(
            from: start, to: end, burstLimit: parameters.maxBurstLength,
            outstandingLimit: parameters.maxOutstandingR2T)
    }

    /// A plan for the bytes from `start` to `end`, with those limits (at least 1), whose first R2T is number `r2tSN`.
    public init(from start: Int, to end: Int, burstLimit: Int, outstandingLimit: Int, r2tSN: UInt32 = 0) {
        precondition(start >= 0 && start <= end && burstLimit >= 1 && outstandingLimit >= 1, "a plan goes forward")
        offset = start
        self.end = end
        self.burstLimit = burstLimit
        self.outstandingLimit = outstandingLimit
        self.r2tSN = r2tSN
    }

    /// Whether all data has been asked for and has come.
    public var isComplete: Bool { offset == end && outstanding == 0 }

    /// The next R2T to send now, or nil when none may or need be sent.
    public mutating func next() -> ReadyToTransfer? {
        guard offset < end, outstanding < outstandingLimit else { return nil }
        let request = ReadyToTransfer(offset: offset, length: min(end - offset, burstLimit), r2tSN: r2tSN)
        offset += request.length
        r2tSN += 1
        outstanding += 1
        return request
    }

    /// An R2T in place of an outstanding one whose data was damaged: a recovery R2T (section 7.8) for `length` bytes
    /// from `offset` on.
    public mutating func recover(offset: Int, length: Int) -> ReadyToTransfer {
        precondition(outstanding > 0, "no R2T waits for data")
        defer { r2tSN += 1 }
        return ReadyToTransfer(offset: offset, length: length, r2tSN: r2tSN)
    }

    /// Notes that the data of one R2T is complete.
    public mutating func completed() {
        precondition(outstanding > 0, "no R2T waits for data")
        outstanding -= 1
    }
}

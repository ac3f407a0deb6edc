/// What is wrong with a Data-Out PDU; the task ends with CHECK CONDITION, ABORTED COMMAND and the code that
/// RFC 7143 section 11.4.7.2 gives, or the PDU is rejected.
@frozen public enum DataOutError: Error, Hashable, Sendable {
    /// DataSN is not the next one: a PDU is missing or came twice (section 11.7.5).
    case dataSN(expected: UInt32)
    /// Buffer Offset is not where the last PDU ended (DataPDUInOrder is Yes).
    case bufferOffset(expected: Int)
    /// The PDU reaches beyond the end of its sequence: incorrect amount of data.
    case tooMuchData
    /// The F bit came before all data of a solicited sequence did: incorrect amount of data.
    case tooLittleData
    /// The sequence is complete, but the F bit is zero.
    case notFinal
    /// A PDU without data and without the F bit, which could be repeated for ever.
    case empty
}

/// What a Data-Out PDU brought.
@frozen public enum DataOutProgress: Hashable, Sendable {
    /// More PDUs of the sequence follow.
    case more
    /// The sequence is complete.
    case complete
}

/// Checks the Data-Out PDUs of one sequence: all unsolicited ones of a command, or those of one R2T
/// (RFC 7143 sections 11.7 and 11.8). Task tag and target transfer tag have led to the sequence already.
@frozen public struct DataOutSequence: Sendable {
    /// Where the sequence ends at most, in bytes: an unsolicited one may end earlier.
    public let end: Int
    /// Whether an R2T asked for it, and so for all of it.
    public let isSolicited: Bool
    /// Where the next PDU's data belongs, in bytes.
    public private(set) var offset: Int
    /// The DataSN of the next PDU.
    public private(set) var dataSN: UInt32 = 0
    /// Whether data of the sequence was damaged or lost: what follows up to the F bit is discarded, and asked for again
    /// from `offset` on (RFC 7143 section 7.8).
    public private(set) var isBroken = false

    public init(answering request: ReadyToTransfer) {
        offset = request.offset
        end = request.offset + request.length
        isSolicited = true
    }

    /// The unsolicited sequence of a command that carried `immediateLength` bytes: up to FirstBurstLength in all, and
    /// not more than the expected data transfer length (section 13.14).
    public init(
        unsolicitedAfter immediateLength: Int, expectedLength: Int, parameters: NegotiatedParameters
    ) {
        offset = immediateLength
        end = Swift.max(Swift.min(parameters.firstBurstLength, expectedLength), immediateLength)
        isSolicited = false
    }

    /// Takes one PDU's numbers. An error leaves the sequence unchanged.
    public mutating func receive(
        dataSN: UInt32, bufferOffset: UInt32, length: Int, isFinal: Bool
    ) throws(DataOutError) -> DataOutProgress {
        guard dataSN == self.dataSN else { throw .dataSN(expected: self.dataSN) }
        guard Int(bufferOffset) == offset else { throw .bufferOffset(expected: offset) }
        guard length <= end - offset else { throw .tooMuchData }
        guard length > 0 || isFinal else { throw .empty }
        let reached = offset + length
        if isFinal {
            guard !isSolicited || reached == end else { throw .tooLittleData }
        } else if reached == end {
            throw .notFinal
        }
        offset = reached
        self.dataSN += 1
        return isFinal ? .complete : .more
    }

    /// Notes that data from `offset` on was damaged or lost.
    public mutating func breakOff(at offset: Int) {
        precondition(offset <= self.offset, "what was not received cannot be damaged")
        self.offset = offset
        isBroken = true
    }

    /// Takes one PDU.
    public mutating func receive(_ header: DataOutPDU) throws(DataOutError) -> DataOutProgress {
        try receive(
            dataSN: header.dataSN, bufferOffset: header.bufferOffset, length: header.dataSegmentLength,
            isFinal: header.isFinal)
    }
}

/// The unsolicited data of a SCSI Command against what was negotiated (RFC 7143 sections 4.2.5.2, 11.3.1, 13.10,
/// 13.11).
@frozen public enum UnsolicitedData: Hashable, Sendable {
    /// Right; Data-Out PDUs follow when `dataOutFollows`.
    case allowed(dataOutFollows: Bool)
    /// ImmediateData is No, the command is no write, or unsolicited Data-Out is announced under InitialR2T=Yes:
    /// unexpected unsolicited data.
    case unexpected
    /// More immediate data than FirstBurstLength or the expected data transfer length allow: incorrect amount of data.
    case tooMuch

    /// Judges `command`.
    public init(_ command: SCSICommandPDU, parameters: borrowing NegotiatedParameters) {
        let expected = Int(command.expectedDataTransferLength)
        let immediate = command.dataSegmentLength
        if immediate > 0, !parameters.immediateData || !command.isWrite {
            self = .unexpected
        } else if !command.isFinal, parameters.initialR2T || !command.isWrite {
            self = .unexpected
        } else if immediate > Swift.min(parameters.firstBurstLength, expected) {
            self = .tooMuch
        } else {
            self = .allowed(dataOutFollows: !command.isFinal)
        }
    }
}

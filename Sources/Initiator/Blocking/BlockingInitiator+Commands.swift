internal import Bytes
internal import ISCSI
public import SCSI

/// A command on its way.
struct CommandExchange {
    let logicalUnitNumber: LogicalUnitNumber
    let dataOut: [UInt8]
    let expectedDataInLength: Int
    var outcome = CommandOutcome()
    var isFinished = false
    /// How many bytes of `outcome.dataIn` are there: one more than the last offset.
    var dataInEnd = 0
}

extension BlockingInitiator {
    public struct CommandOptions: Sendable {
        /// ATTR.
        public var attribute = TaskAttribute.simple
        /// I: delivered at once, outside of the order of CmdSN (section 4.2.2.1).
        public var isImmediate = false
        /// Expected Data Transfer Length when it shall differ from the data; in bytes.
        public var expectedDataTransferLength: UInt32?
        /// Whether unsolicited and immediate data are used as far as negotiated.
        public var usesUnsolicitedData = true

        /// SIMPLE, not immediate, with the data's own length and all unsolicited data that was negotiated.
        public init() {}
    }

    /// Sends a command and waits for its end.
    ///
    /// - Parameters:
    ///   - cdb: The command.
    ///   - logicalUnitNumber: Where it goes.
    ///   - dataOut: What it sends.
    ///   - expectedDataInLength: How many bytes it expects.
    ///   - options: Task attribute and deviations from the usual.
    public func execute(
        _ cdb: CommandDescriptorBlock, on logicalUnitNumber: LogicalUnitNumber, dataOut: [UInt8] = [],
        expectedDataInLength: Int = 0, options: CommandOptions = CommandOptions()
    ) throws(InitiatorError) -> CommandOutcome {
        let tag = try start(
            cdb, on: logicalUnitNumber, dataOut: dataOut, expectedDataInLength: expectedDataInLength,
            options: options)
        return try outcome(of: tag)
    }

    /// Sends a command and its unsolicited data, and gives its tag; `outcome(of:)` waits for its end.
    public func start(
        _ cdb: CommandDescriptorBlock, on logicalUnitNumber: LogicalUnitNumber, dataOut: [UInt8] = [],
        expectedDataInLength: Int = 0, options: CommandOptions = CommandOptions()
    ) throws(InitiatorError) -> UInt32 {
        if !options.isImmediate {
            while maxCmdSN.precedes(nextCmdSN) {
                guard exchanges.contains(where: { !$0.value.isFinished }) else { throw .commandWindowClosed }
                try pump()
            }
        }
        let tag = takeTag()
        var command = SCSICommandPDU()
        command.isImmediate = options.isImmediate
        command.isRead = expectedDataInLength > 0
        command.isWrite = !dataOut.isEmpty
        command.attributes = options.attribute.rawValue
        command.logicalUnitNumber = logicalUnitNumber
        command.initiatorTaskTag = tag
        let length = dataOut.isEmpty ? expectedDataInLength : dataOut.count
        command.expectedDataTransferLength = options.expectedDataTransferLength ?? UInt32(length)
        command.cmdSN = takeCmdSN(isImmediate: options.isImmediate)
        command.expStatSN = expStatSN
        command.cdb = cdb
        var additional = AdditionalHeaderSegments.encodeExtendedCDB(cdb)
        if command.isRead && command.isWrite {
            additional += AdditionalHeaderSegments.encodeBidirectionalReadLength(UInt32(expectedDataInLength))
        }
        command.additionalHeaderLength = additional.count

        var immediateLength = 0
        var unsolicitedEnd = 0
        if options.usesUnsolicitedData && !dataOut.isEmpty {
            let first = min(dataOut.count, parameters.firstBurstLength)
            if parameters.immediateData { immediateLength = min(first, parameters.maxSendDataSegmentLength) }
            unsolicitedEnd = parameters.initialR2T ? immediateLength : first
        }
        command.dataSegmentLength = immediateLength
        command.isFinal = unsolicitedEnd <= immediateLength
        exchanges[tag] = CommandExchange(
            logicalUnitNumber: logicalUnitNumber, dataOut: dataOut,
            expectedDataInLength: max(expectedDataInLength, Int(command.expectedDataTransferLength)))
        try connection.send(
            BasicHeaderSegment(command), additionalHeader: additional, data: Array(dataOut[0..<immediateLength]))
        if !command.isFinal {
            try sendDataOut(tag, targetTransferTag: reservedTag, range: immediateLength..<unsolicitedEnd)
        }
        return tag
    }

    /// Waits for the end of the command with that tag.
    public func outcome(of tag: UInt32) throws(InitiatorError) -> CommandOutcome {
        while true {
            guard let exchange = exchanges[tag] else { throw .protocolViolation("no command has that tag") }
            if exchange.isFinished {
                exchanges[tag] = nil
                return exchange.outcome
            }
            try pump()
        }
    }

    /// Forgets the command with that tag, after it was aborted.
    public func forget(_ tag: UInt32) {
        exchanges[tag] = nil
    }

    /// Ends pending unit attentions and waits until the logical unit is ready, at most `settings.timeout`; gives the
    /// last outcome of TEST UNIT READY.
    public func waitUntilReady(_ logicalUnitNumber: LogicalUnitNumber) throws(InitiatorError) -> CommandOutcome {
        // A logical unit has few unit attentions to report; more than this means that something else is wrong.
        let attemptLimit = 64
        var outcome = CommandOutcome()
        for _ in 0..<attemptLimit {
            outcome = try execute(CommandDescriptorBlock(), on: logicalUnitNumber)
            guard outcome.sense?.key == .unitAttention else { break }
        }
        return outcome
    }

    // MARK: PDUs of commands

    func receiveForCommand(_ pdu: ReceivedPDU) throws(InitiatorError) {
        let tag = pdu.header.initiatorTaskTag
        guard var exchange = exchanges[tag], !exchange.isFinished else {
            throw .protocolViolation("a PDU of opcode \(pdu.opcode.rawValue) came for a task that is not there")
        }
        // The one reference moves into the copy, so that data is appended in place.
        exchanges[tag] = nil
        defer { exchanges[tag] = exchange }
        if let dataIn: DataInPDU = pdu.parsed() {
            try receive(dataIn, pdu.data, &exchange)
        } else if let response: SCSIResponsePDU = pdu.parsed() {
            try receive(response, pdu.data, &exchange)
        } else if let request: ReadyToTransferPDU = pdu.parsed() {
            exchange.outcome.readyToTransferCount += 1
            let end = Int(request.bufferOffset) + Int(request.desiredDataTransferLength)
            guard request.desiredDataTransferLength > 0, end <= exchange.dataOut.count else {
                throw .protocolViolation("an R2T asks for data beyond the command's")
            }
            exchanges[tag] = exchange
            try sendDataOut(
                tag, targetTransferTag: request.targetTransferTag, range: Int(request.bufferOffset)..<end)
        }
    }

    private func receive(
        _ dataIn: DataInPDU, _ data: [UInt8], _ exchange: inout CommandExchange
    ) throws(InitiatorError) {
        exchange.outcome.dataInCount += 1
        let offset = Int(dataIn.bufferOffset)
        let end = offset + data.count
        guard end <= exchange.expectedDataInLength else {
            throw .protocolViolation("Data-In goes beyond what the command expects")
        }
        if offset == exchange.outcome.dataIn.count {
            exchange.outcome.dataIn += data
        } else {
            // Out of order is allowed when DataPDUInOrder or DataSequenceInOrder is No.
            let missing = end - exchange.outcome.dataIn.count
            if missing > 0 { exchange.outcome.dataIn += [UInt8](repeating: 0, count: missing) }
            exchange.outcome.dataIn.replaceSubrange(offset..<end, with: data)
        }
        if dataIn.hasStatus {
            exchange.outcome.status = dataIn.status
            exchange.outcome.residual = dataIn.residual
            exchange.outcome.hasCollapsedPhase = true
            exchange.isFinished = true
        }
    }

    private func receive(
        _ response: SCSIResponsePDU, _ data: [UInt8], _ exchange: inout CommandExchange
    ) throws(InitiatorError) {
        exchange.outcome.response = response.response
        exchange.outcome.status = response.status
        exchange.outcome.residual = response.residual
        exchange.outcome.bidirectionalReadResidual = response.bidirectionalReadResidual
        if data.count >= 2 {
            let length = Int(data[0]) << 8 | Int(data[1])
            guard length <= data.count - 2 else { throw .protocolViolation("the sense length exceeds the data") }
            exchange.outcome.senseBytes = Array(data[2..<(2 + length)])
        }
        exchange.isFinished = true
    }

    /// Sends one sequence of Data-Out PDUs with the command's data in `range`.
    private func sendDataOut(_ tag: UInt32, targetTransferTag: UInt32, range: Range<Int>) throws(InitiatorError) {
        guard let exchange = exchanges[tag] else { return }
        var dataSN: UInt32 = 0
        var offset = range.lowerBound
        while offset < range.upperBound {
            let end = min(offset + parameters.maxSendDataSegmentLength, range.upperBound)
            var pdu = DataOutPDU()
            pdu.isFinal = end == range.upperBound
            pdu.dataSegmentLength = end - offset
            if targetTransferTag != reservedTag { pdu.logicalUnitNumber = exchange.logicalUnitNumber }
            pdu.initiatorTaskTag = tag
            pdu.targetTransferTag = targetTransferTag
            pdu.expStatSN = expStatSN
            pdu.dataSN = dataSN
            pdu.bufferOffset = UInt32(offset)
            try send(pdu, data: Array(exchange.dataOut[offset..<end]))
            dataSN += 1
            offset = end
        }
    }
}

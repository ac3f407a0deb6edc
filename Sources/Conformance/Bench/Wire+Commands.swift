internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// SCSI commands, pings, task management and logout in full feature phase.
extension Wire {
    // MARK: Commands

    /// The header of `command`; its tag and CmdSN are taken when it has none.
    func header(_ command: Command) -> SCSICommandPDU {
        var header = SCSICommandPDU()
        header.isImmediate = command.isImmediate
        header.isFinal = command.isFinal
        header.isRead = command.isRead
        header.isWrite = command.isWrite
        header.attributes = command.attributes
        header.additionalHeaderLength = command.additionalHeader.count
        header.dataSegmentLength = command.immediateData.count
        header.logicalUnitNumber = command.logicalUnitNumber ?? bench.target.logicalUnitNumber
        header.initiatorTaskTag = command.tag ?? session.takeTag()
        header.expectedDataTransferLength = UInt32(command.expectedDataTransferLength)
        header.cmdSN = command.cmdSN ?? session.takeCmdSN(isImmediate: command.isImmediate)
        header.expStatSN = expStatSN
        header.cdb = CommandDescriptorBlock(command.cdb)
        return header
    }

    /// Sends `command`, which will be answered; gives its tag.
    @discardableResult
    func start(
        _ command: Command, answersRequests: Bool = true, change: (inout [UInt8]) -> Void = { _ in }
    ) throws -> UInt32 {
        let header = header(command)
        tasks[header.initiatorTaskTag] = CommandProgress(command: command, answersRequests: answersRequests)
        try send(
            header, additionalHeader: command.additionalHeader, data: command.immediateData, change: change)
        return header.initiatorTaskTag
    }

    /// Sends `command`, which must not be answered.
    @discardableResult
    func startIgnored(_ command: Command, change: (inout [UInt8]) -> Void = { _ in }) throws -> UInt32 {
        let header = header(command)
        try send(header, additionalHeader: command.additionalHeader, data: command.immediateData, change: change)
        return header.initiatorTaskTag
    }

    /// Sends `command` and waits for its end.
    func run(_ command: Command) throws -> CommandResult {
        try finish(try start(command))
    }

    /// Sends `command`, which must end with GOOD.
    @discardableResult
    func runGood(_ command: Command, _ what: String = "the command to end with GOOD") throws -> CommandResult {
        let result = try run(command)
        try require(result.isGood, what, got: result.summary)
        return result
    }

    /// Waits for the end of the command with that tag. Other commands under way may end meanwhile; anything else is a
    /// failure.
    func finish(_ tag: UInt32, _ expected: String = "the command's answer") throws -> CommandResult {
        while true {
            guard let progress = tasks[tag] else { throw TestEnd.inconclusive("no command has that tag") }
            if progress.isFinished {
                tasks[tag] = nil
                return progress.result
            }
            let pdu = try next(expected)
            guard try take(pdu) else { throw TestEnd.failed(expected: expected, got: Self.describe(pdu)) }
        }
    }

    /// The order in which the commands with those tags end.
    func finishAll(_ tags: [UInt32]) throws -> [UInt32] {
        var order: [UInt32] = []
        while order.count < tags.count {
            let pdu = try next("answers of \(tags.count - order.count) more commands")
            guard try take(pdu) else {
                throw TestEnd.failed(expected: "answers of commands", got: Self.describe(pdu))
            }
            for tag in tags where tasks[tag]?.isFinished == true && !order.contains(tag) { order.append(tag) }
        }
        return order
    }

    /// Takes the next PDU, which must be of a command under way.
    func takeNext(of tag: UInt32) throws {
        let pdu = try next("an R2T or the end of the write")
        guard try take(pdu) else {
            throw TestEnd.failed(expected: "an R2T or the end of the write", got: Self.describe(pdu))
        }
    }

    /// Takes the next PDU when one comes within `limit` before the end of the command; false when none does.
    func takeNext(of tag: UInt32, within limit: Duration) throws -> Bool {
        guard tasks[tag]?.isFinished == false, let pdu = try nextWithin(limit) else { return false }
        guard try take(pdu) else {
            throw TestEnd.failed(expected: "an R2T or the end of the write", got: Self.describe(pdu))
        }
        return true
    }

    /// Takes a PDU of a command under way; false when it is none.
    func take(_ pdu: ReceivedPDU) throws -> Bool {
        let tag = pdu.header.initiatorTaskTag
        guard var progress = tasks[tag], !progress.isFinished else { return false }
        if let dataIn: DataInPDU = pdu.parsed() {
            let end = Int(dataIn.bufferOffset) + pdu.data.count
            try require(
                end <= progress.command.expectedDataTransferLength, "Data-In within the expected data transfer length",
                got: Self.describe(pdu))
            if progress.result.dataIn.count < end {
                progress.result.dataIn += [UInt8](repeating: 0, count: end - progress.result.dataIn.count)
            }
            progress.result.dataIn.replaceSubrange(Int(dataIn.bufferOffset)..<end, with: pdu.data)
            progress.result.dataInHeaders.append(dataIn)
            if dataIn.isAcknowledgeRequested { try acknowledge(dataIn) }
            if dataIn.hasStatus {
                progress.result.status = dataIn.status
                progress.result.residual = dataIn.residual
                progress.result.statSN = dataIn.statSN
                progress.isFinished = true
            }
        } else if let response: SCSIResponsePDU = pdu.parsed() {
            let end = CommandResult(response, pdu.data)
            progress.result.response = end.response
            progress.result.status = end.status
            progress.result.residual = end.residual
            progress.result.sense = end.sense
            progress.result.senseBytes = end.senseBytes
            progress.result.responseHeader = response
            progress.result.statSN = response.statSN
            progress.isFinished = true
        } else if let request: ReadyToTransferPDU = pdu.parsed() {
            progress.result.requests.append(request)
            tasks[tag] = progress
            if progress.answersRequests { try answer(request, progress.command) }
        } else {
            return false
        }
        tasks[tag] = progress
        return true
    }

    /// Says by a DataACK SNACK that all data up to `dataIn` has come (section 11.16.2).
    private func acknowledge(_ dataIn: DataInPDU) throws {
        var request = SNACKRequestPDU()
        request.type = .dataACK
        request.logicalUnitNumber = dataIn.logicalUnitNumber
        request.targetTransferTag = dataIn.targetTransferTag
        request.expStatSN = expStatSN
        request.begRun = dataIn.dataSN + 1
        try send(request)
    }

    /// Sends the data that `request` asks for.
    func answer(_ request: ReadyToTransferPDU, _ command: Command) throws {
        let start = Int(request.bufferOffset)
        let end = start + Int(request.desiredDataTransferLength)
        try require(
            request.desiredDataTransferLength > 0 && end <= command.dataOut.count,
            "R2Ts for parts of \(command.dataOut.count) bytes", got: "one for \(start)..<\(end)")
        try sendData(command.dataOut, start..<end, request)
    }

    /// One sequence of Data-Out: the bytes of `data` in `range`, for `request` or unsolicited for the command of `tag`.
    func sendData(
        _ data: [UInt8], _ range: Range<Int>, _ request: ReadyToTransferPDU? = nil, tag: UInt32 = 0,
        change: (inout DataOutPDU) -> Void = { _ in }
    ) throws {
        let limit = min(negotiated.targetMaxRecvDataSegmentLength, 65_536)
        var dataSN: UInt32 = 0
        var offset = range.lowerBound
        repeat {
            let end = min(offset + limit, range.upperBound)
            var pdu = DataOutPDU()
            pdu.isFinal = end == range.upperBound
            pdu.initiatorTaskTag = request?.initiatorTaskTag ?? tag
            if let request {
                pdu.logicalUnitNumber = request.logicalUnitNumber
                pdu.targetTransferTag = request.targetTransferTag
            }
            pdu.expStatSN = expStatSN
            pdu.dataSN = dataSN
            pdu.bufferOffset = UInt32(offset)
            pdu.dataSegmentLength = end - offset
            change(&pdu)
            try send(pdu, data: Array(data[offset..<end]))
            dataSN += 1
            offset = end
        } while offset < range.upperBound
    }

    /// Takes unit attentions until the unit has none.
    func clearUnitAttentions(_ unit: LogicalUnitNumber) throws {
        let limit = 32
        for _ in 0..<limit {
            var command = Command.testUnitReady
            command.logicalUnitNumber = unit
            let result = try run(command)
            if result.sense?.key != .unitAttention { return }
        }
        throw TestEnd.inconclusive("the logical unit reports unit attentions without end")
    }

    /// A WRITE(10) under way that waits for its data.
    struct PendingWrite {
        let tag: UInt32
        let cmdSN: SequenceNumber
        let request: ReadyToTransferPDU
        /// What the blocks hold already, so that it does no harm to send it.
        let data: [UInt8]
    }

    /// Sends a WRITE(10) of `blocks` blocks without data and waits for its R2T: a task that stays until its data comes.
    /// Its data is what the blocks hold already. Needs InitialR2T=Yes and ImmediateData=No.
    func startPendingWrite(_ blocks: Int = 1, on unit: LogicalUnitNumber? = nil) throws -> PendingWrite {
        if unit == nil, bench.survey.isWriteProtected { throw TestEnd.skipped("the medium is write-protected") }
        let length = bench.survey.blockLength
        var read = Command.read(0, blocks, blockLength: length)
        read.logicalUnitNumber = unit
        let data = try runGood(read, "a read to end with GOOD").dataIn
        var command = Command.write(0, data, blockLength: length)
        command.logicalUnitNumber = unit
        let header = header(command)
        tasks[header.initiatorTaskTag] = CommandProgress(command: command, answersRequests: false)
        try send(header)
        let (request, _) = try expect(ReadyToTransferPDU.self, "an R2T for the write")
        return PendingWrite(tag: header.initiatorTaskTag, cmdSN: header.cmdSN, request: request, data: data)
    }

    /// Sends the data that `pending` waits for.
    func sendData(_ pending: PendingWrite) throws {
        let start = Int(pending.request.bufferOffset)
        let end = start + Int(pending.request.desiredDataTransferLength)
        try require(end <= pending.data.count, "an R2T within the write", got: "one up to \(end)")
        try sendData(pending.data, start..<end, pending.request)
    }

    // MARK: Other requests

    /// A ping that must come back.
    func ping(_ data: [UInt8] = [], isImmediate: Bool = true, _ expected: String = "the ping's echo") throws {
        let echo = try next(try sendPing(data, isImmediate: isImmediate), expected)
        try require(echo == data, "the ping's data", got: "\(echo.count) bytes that differ")
    }

    /// Sends a ping and gives its tag.
    func sendPing(
        _ data: [UInt8] = [], isImmediate: Bool = true, change: (inout [UInt8]) -> Void = { _ in }
    ) throws -> UInt32 {
        var request = NOPOutPDU()
        request.isImmediate = isImmediate
        request.dataSegmentLength = data.count
        request.initiatorTaskTag = session.takeTag()
        request.cmdSN = session.takeCmdSN(isImmediate: isImmediate)
        request.expStatSN = expStatSN
        try send(request, data: data, change: change)
        return request.initiatorTaskTag
    }

    /// The data of the next PDU, which must be the answer to the ping of that tag.
    func next(_ tag: UInt32, _ expected: String) throws -> [UInt8] {
        let (header, data) = try expect(NOPInPDU.self, expected)
        try require(header.initiatorTaskTag == tag, expected, got: "the echo of another ping")
        return data
    }

    func taskManagementRequest(
        _ function: UInt8, on unit: LogicalUnitNumber? = nil, task: (tag: UInt32, cmdSN: SequenceNumber)? = nil
    ) -> TaskManagementRequestPDU {
        var request = TaskManagementRequestPDU()
        request.functionCode = function
        request.logicalUnitNumber = unit ?? bench.target.logicalUnitNumber
        request.initiatorTaskTag = session.takeTag()
        if let task {
            request.referencedTaskTag = task.tag
            request.refCmdSN = task.cmdSN
        }
        request.cmdSN = session.takeCmdSN(isImmediate: true)
        request.expStatSN = expStatSN
        return request
    }

    /// Asks for a task management function and gives the response, which must be the next PDU.
    func manageTasks(
        _ function: TaskManagementFunction, on unit: LogicalUnitNumber? = nil,
        task: (tag: UInt32, cmdSN: SequenceNumber)? = nil
    ) throws -> TaskManagementOutcome {
        let request = taskManagementRequest(function.rawValue, on: unit, task: task)
        try send(request)
        let (response, _) = try expect(TaskManagementResponsePDU.self, "a Task Management Response")
        try require(
            response.initiatorTaskTag == request.initiatorTaskTag, "the request's Initiator Task Tag",
            got: "\(response.initiatorTaskTag)")
        return response.response
    }

    func logoutRequest(_ reason: UInt8, connectionID: UInt16 = 0, isImmediate: Bool = true) -> LogoutRequestPDU {
        var request = LogoutRequestPDU()
        request.reason = LogoutReason(rawValue: reason)
        request.connectionID = connectionID
        request.isImmediate = isImmediate
        request.initiatorTaskTag = session.takeTag()
        request.cmdSN = session.takeCmdSN(isImmediate: isImmediate)
        request.expStatSN = expStatSN
        return request
    }

    /// Asks for a logout and gives the answer, which must be the next PDU.
    @discardableResult
    func logOut(_ reason: LogoutReason = .closeSession, connectionID: UInt16 = 0) throws -> LogoutResponsePDU {
        let request = logoutRequest(reason.rawValue, connectionID: connectionID)
        try send(request)
        let (response, _) = try expect(LogoutResponsePDU.self, "a Logout Response")
        try require(
            response.initiatorTaskTag == request.initiatorTaskTag, "the request's Initiator Task Tag",
            got: "\(response.initiatorTaskTag)")
        return response
    }

    /// A Text Request with `text`; `transferTag` continues a negotiation.
    func textRequest(
        _ text: [TextParameter], isFinal: Bool = true, isContinued: Bool = false, tag: UInt32? = nil,
        transferTag: UInt32 = reservedTag
    ) -> (header: TextRequestPDU, data: [UInt8]) {
        let data = TextCodec.format(text)
        var request = TextRequestPDU()
        request.isFinal = isFinal
        request.isContinued = isContinued
        request.dataSegmentLength = data.count
        request.initiatorTaskTag = tag ?? session.takeTag()
        request.targetTransferTag = transferTag
        request.cmdSN = session.takeCmdSN()
        request.expStatSN = expStatSN
        return (request, data)
    }

    /// Exchanges texts until the target has no more to say, and gives what it said.
    func exchangeText(_ text: [TextParameter]) throws -> [TextParameter] {
        let limit = 64
        let first = textRequest(text)
        try send(first.header, data: first.data)
        var bytes: [UInt8] = []
        for _ in 0..<limit {
            let (response, data) = try expect(TextResponsePDU.self, "a Text Response")
            bytes += data
            if response.isFinal {
                guard let parameters = try? TextCodec.parse(bytes.rawSpan) else {
                    throw TestEnd.failed(expected: "a text of key=value pairs", got: "\"\(Self.text(bytes))\"")
                }
                return parameters
            }
            var more = textRequest(
                [], tag: first.header.initiatorTaskTag, transferTag: response.targetTransferTag)
            more.header.logicalUnitNumber = response.logicalUnitNumber
            try send(more.header)
        }
        throw TestEnd.failed(expected: "a text that ends", got: "\(limit) parts")
    }
}

internal import Bytes
public import ISCSI
public import SCSI

/// Requests other than SCSI commands.
extension BlockingInitiator {
    /// Sends a ping with `data` and gives what comes back.
    public func ping(_ data: [UInt8] = []) throws(InitiatorError) -> [UInt8] {
        var request = NOPOutPDU()
        request.dataSegmentLength = data.count
        request.initiatorTaskTag = takeTag()
        request.cmdSN = takeCmdSN()
        request.expStatSN = expStatSN
        try send(request, data: data)
        return try answer(to: request.initiatorTaskTag).data
    }

    /// Exchanges texts in full feature phase: sends `parameters`, asks for more as long as the target says so, and
    /// gives all that it said.
    public func exchangeText(_ parameters: [TextParameter]) throws(InitiatorError) -> [TextParameter] {
        var assembler = TextAssembler(
            limit: SendTargets.maximumAnswerLength, parameterLimit: SendTargets.maximumAnswerLength)
        var outgoing = OutgoingText(parameters)
        let tag = takeTag()
        var lastResponse = TextResponsePDU()
        while true {
            let data = outgoing.next(limit: self.parameters.maxSendDataSegmentLength)
            var request = TextRequestPDU()
            request.isContinued = !outgoing.isExhausted
            request.isFinal = outgoing.isExhausted
            request.dataSegmentLength = data.count
            request.logicalUnitNumber = lastResponse.logicalUnitNumber
            request.initiatorTaskTag = tag
            request.targetTransferTag = lastResponse.targetTransferTag
            request.cmdSN = takeCmdSN()
            request.expStatSN = expStatSN
            try send(request, data: data)
            let pdu = try answer(to: tag)
            guard let response: TextResponsePDU = pdu.parsed() else {
                throw .protocolViolation("it answered a text with opcode \(pdu.opcode.rawValue)")
            }
            guard assembler.append(pdu.data.rawSpan) else { throw .protocolViolation("its text does not end") }
            if response.isFinal && outgoing.isExhausted { break }
            lastResponse = response
        }
        do throws(TextCodec.ParsingError) {
            return try assembler.finish()
        } catch {
            throw .protocolViolation("its text is malformed: \(error)")
        }
    }

    /// The targets that `SendTargets` with that value shows.
    public func sendTargets(_ value: String = "All") throws(InitiatorError) -> [DiscoveredTarget] {
        SendTargets.parse(try exchangeText([TextParameter("SendTargets", value)]))
    }

    /// Asks for a task management function and waits for its end. `task` is the tag that ABORT TASK, QUERY TASK and
    /// TASK REASSIGN mean, with its CmdSN.
    public func manageTasks(
        _ function: TaskManagementFunction, on logicalUnitNumber: LogicalUnitNumber,
        task: (tag: UInt32, cmdSN: SequenceNumber)? = nil
    ) throws(InitiatorError) -> TaskManagementOutcome {
        var request = TaskManagementRequestPDU()
        request.functionCode = function.rawValue
        request.logicalUnitNumber = logicalUnitNumber
        request.initiatorTaskTag = takeTag()
        if let task {
            request.referencedTaskTag = task.tag
            request.refCmdSN = task.cmdSN
        }
        request.cmdSN = takeCmdSN(isImmediate: true)
        request.expStatSN = expStatSN
        try send(request)
        let pdu = try answer(to: request.initiatorTaskTag)
        guard let response: TaskManagementResponsePDU = pdu.parsed() else {
            throw .protocolViolation("it answered a task management request with opcode \(pdu.opcode.rawValue)")
        }
        return response.response
    }

    /// Logs out and waits for the answer; the target closes the connection then.
    @discardableResult
    public func logOut(_ reason: LogoutReason = .closeSession) throws(InitiatorError) -> LogoutOutcome {
        var request = LogoutRequestPDU()
        request.reason = reason
        request.initiatorTaskTag = takeTag()
        if reason != .closeSession { request.connectionID = settings.connectionID }
        request.cmdSN = takeCmdSN(isImmediate: true)
        request.expStatSN = expStatSN
        try send(request)
        let pdu = try answer(to: request.initiatorTaskTag)
        guard let response: LogoutResponsePDU = pdu.parsed() else {
            throw .protocolViolation("it answered a logout with opcode \(pdu.opcode.rawValue)")
        }
        return response.response
    }
}

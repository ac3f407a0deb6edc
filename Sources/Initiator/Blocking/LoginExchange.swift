internal import Bytes
public import ISCSI

/// What a login gave the initiator.
public struct LoginReport: Sendable {
    /// The parameters in force.
    public let parameters: NegotiatedParameters
    /// All that the target said, in order.
    public let targetParameters: [TextParameter]
    /// The TSIH.
    public let targetSessionHandle: UInt16
    /// The last Login Response.
    public let lastResponse: LoginResponsePDU
}

/// The initiator's side of a login without authentication, on a connection that waits (RFC 7143 section 6.3).
struct LoginExchange {
    /// The most Login Requests of one login.
    private static let requestLimit = 32

    let connection: PDUConnection
    let settings: InitiatorSettings
    private var negotiation: ParameterNegotiation
    private var stage: LoginStage
    private var expStatSN = SequenceNumber(0)
    private var requestCount = 0
    private var targetParameters: [TextParameter] = []

    init(connection: PDUConnection, settings: InitiatorSettings) {
        self.connection = connection
        self.settings = settings
        negotiation = ParameterNegotiation(
            role: .initiator, settings: settings.operational,
            phase: settings.targetSessionHandle == 0 ? .leadingLogin : .furtherLogin,
            sessionType: settings.sessionType)
        stage = settings.startsWithSecurityStage ? .securityNegotiation : .operationalNegotiation
    }

    /// Logs in; on return the connection is in full feature phase.
    mutating func run() throws(InitiatorError) -> LoginReport {
        var text = identity
        if stage == .securityNegotiation {
            text.append(TextParameter("AuthMethod", "None"))
            _ = try exchange(text, next: .operationalNegotiation)
            text = []
        }
        text += negotiation.offers() + settings.additionalParameters
        while true {
            let (response, answers) = try exchange(text, next: .fullFeaturePhase)
            if stage == .fullFeaturePhase { return finish(response) }
            text = answers
        }
    }

    private var identity: [TextParameter] {
        var text = [TextParameter("InitiatorName", settings.initiatorName)]
        text.append(TextParameter("SessionType", settings.sessionType.rawValue))
        if let name = settings.targetName { text.append(TextParameter("TargetName", name)) }
        return text
    }

    /// Sends `text` with the wish to go to `next`, and takes the answer; gives what has to be answered in turn.
    private mutating func exchange(
        _ text: [TextParameter], next: LoginStage
    ) throws(InitiatorError) -> (LoginResponsePDU, [TextParameter]) {
        var outgoing = OutgoingText(text)
        var assembler = TextAssembler(limit: LoginLimits.textLength)
        while true {
            let part = outgoing.next(limit: LoginLimits.dataSegmentLength)
            try send(part, isContinued: !outgoing.isExhausted, next: next)
            let (response, data) = try receive()
            guard assembler.append(data.rawSpan) else { throw .protocolViolation("its login text is too long") }
            if response.isContinued || !outgoing.isExhausted { continue }
            let answers = try take(&assembler)
            if response.isTransit, let reached = response.nextStage { stage = reached }
            return (response, answers)
        }
    }

    private mutating func take(_ assembler: inout TextAssembler) throws(InitiatorError) -> [TextParameter] {
        let parameters: [TextParameter]
        do throws(TextCodec.ParsingError) {
            parameters = try assembler.finish()
        } catch {
            throw .protocolViolation("its login text is malformed: \(error)")
        }
        targetParameters += parameters
        do throws(NegotiationFailure) {
            // The method is this exchange's own matter, not one of the operational keys.
            return try negotiation.receive(parameters.filter { $0.key != "AuthMethod" })
        } catch {
            throw .negotiation(error)
        }
    }

    private mutating func send(_ data: [UInt8], isContinued: Bool, next: LoginStage) throws(InitiatorError) {
        requestCount += 1
        guard requestCount <= Self.requestLimit else { throw .protocolViolation("its login does not end") }
        var request = LoginRequestPDU()
        request.isTransit = !isContinued
        request.isContinued = isContinued
        request.currentStageCode = stage.rawValue
        request.nextStageCode = isContinued ? 0 : next.rawValue
        request.dataSegmentLength = data.count
        request.initiatorSessionID = settings.initiatorSessionID
        request.targetSessionHandle = settings.targetSessionHandle
        request.connectionID = settings.connectionID
        request.cmdSN = settings.firstCmdSN
        request.expStatSN = expStatSN
        try connection.send(BasicHeaderSegment(request), data: data)
    }

    private mutating func receive() throws(InitiatorError) -> (LoginResponsePDU, [UInt8]) {
        let pdu = try connection.receive()
        guard let response = pdu.parsed(as: LoginResponsePDU.self) else {
            throw .protocolViolation("it answered a login with opcode \(pdu.opcode.rawValue)")
        }
        guard response.status == .success else {
            let parameters = try? TextCodec.parse(pdu.data.rawSpan)
            let address = parameters?.first { $0.key == "TargetAddress" }?.value
            throw .loginRefused(response.status, address: address)
        }
        expStatSN = response.statSN.advanced(by: 1)
        return (response, pdu.data)
    }

    private func finish(_ response: LoginResponsePDU) -> LoginReport {
        let parameters = negotiation.result
        connection.incoming = PDUFramer(
            maximumDataSegmentLength: parameters.maxRecvDataSegmentLength,
            hasHeaderDigest: parameters.headerDigest == .crc32c, hasDataDigest: parameters.dataDigest == .crc32c)
        connection.outgoing = PDUFramer(
            maximumDataSegmentLength: parameters.maxSendDataSegmentLength,
            hasHeaderDigest: connection.incoming.hasHeaderDigest, hasDataDigest: connection.incoming.hasDataDigest)
        return LoginReport(
            parameters: parameters, targetParameters: targetParameters,
            targetSessionHandle: response.targetSessionHandle, lastResponse: response)
    }
}

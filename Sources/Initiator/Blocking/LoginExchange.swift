internal import Bytes
public import ISCSI

/// What a login gave the initiator.
public struct LoginReport: Sendable {
    /// The parameters in force.
    public let parameters: NegotiatedParameters
    /// All that the target said, in order.
    public let targetParameters: [TextParameter]
    /// TSIH: the target's number of the session (section 4.2.4); never 0.
    public let targetSessionHandle: UInt16
    /// The portal group tag that the target told, if it did.
    public let targetPortalGroupTag: UInt16?
    public let lastResponse: LoginResponsePDU
}

/// The initiator's side of a login on a connection that waits: it carries the PDUs of a `LoginInitiatorMachine`.
struct LoginExchange {
    let connection: PDUConnection
    let settings: InitiatorSettings

    /// Logs in; on return the connection is in full feature phase.
    func run() throws(InitiatorError) -> LoginReport {
        var machine = LoginInitiatorMachine(settings.loginConfiguration)
        var submission = machine.start()
        while true {
            try connection.send(BasicHeaderSegment(submission.header), data: submission.text)
            let pdu = try connection.receive()
            guard let response = pdu.parsed(as: LoginResponsePDU.self) else {
                throw .protocolViolation("it answered a login with opcode \(pdu.opcode.rawValue)")
            }
            switch machine.receive(response, data: pdu.data.rawSpan) {
            case .send(let next): submission = next
            case .finished(let result): return finish(result, response)
            case .failed(let failure): throw InitiatorError(failure, response.status)
            }
        }
    }

    private func finish(_ result: InitiatorLoginResult, _ response: LoginResponsePDU) -> LoginReport {
        let parameters = result.parameters
        connection.incoming = PDUFramer(
            maximumDataSegmentLength: parameters.maxRecvDataSegmentLength,
            hasHeaderDigest: parameters.headerDigest == .crc32c, hasDataDigest: parameters.dataDigest == .crc32c)
        connection.outgoing = PDUFramer(
            maximumDataSegmentLength: parameters.maxSendDataSegmentLength,
            hasHeaderDigest: connection.incoming.hasHeaderDigest, hasDataDigest: connection.incoming.hasDataDigest)
        return LoginReport(
            parameters: parameters, targetParameters: result.targetParameters,
            targetSessionHandle: result.targetSessionHandle, targetPortalGroupTag: result.targetPortalGroupTag,
            lastResponse: response)
    }
}

extension InitiatorSettings {
    /// The settings as the login takes them.
    var loginConfiguration: InitiatorLoginConfiguration {
        var configuration = InitiatorLoginConfiguration(
            initiatorName: initiatorName, sessionType: sessionType, targetName: targetName,
            initiatorSessionID: initiatorSessionID)
        configuration.targetSessionHandle = targetSessionHandle
        configuration.connectionID = connectionID
        configuration.firstCmdSN = firstCmdSN
        configuration.settings = operational
        configuration.sessionParameters = sessionParameters
        configuration.credential = credential
        configuration.targetCredential = targetCredential
        configuration.provider = authenticationProvider
        configuration.startsWithSecurityStage = startsWithSecurityStage
        configuration.additionalParameters = additionalParameters
        return configuration
    }
}

extension InitiatorError {
    /// What a failed login is to the caller; `status` is that of the last response.
    init(_ failure: InitiatorLoginFailure, _ status: LoginStatus) {
        self =
            switch failure {
            case .refused(let status): .loginRefused(status, address: nil)
            case .moved(let address, _): .loginRefused(status, address: address)
            case .protocolError: .protocolViolation("its login response is not what the login asked for")
            case .negotiation(let failure): .negotiation(failure)
            case .authentication: .authentication
            }
    }
}

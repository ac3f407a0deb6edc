internal import Bytes

/// What an initiator brings to a login.
public struct InitiatorLoginConfiguration: Sendable {
    /// InitiatorName.
    public var initiatorName: String
    /// InitiatorAlias.
    public var initiatorAlias: String?
    /// TargetName; nil in discovery sessions.
    public var targetName: String?
    /// SessionType.
    public var sessionType: SessionType
    /// The ISID.
    public var initiatorSessionID: InitiatorSessionID
    /// The TSIH: 0 for a new session.
    public var targetSessionHandle: UInt16 = 0
    /// The CID.
    public var connectionID: UInt16 = 0
    /// The tag of the login.
    public var initiatorTaskTag: UInt32 = 1
    /// The session's first CmdSN.
    public var firstCmdSN = SequenceNumber(1)
    /// What the initiator wants in the negotiation.
    public var settings = OperationalSettings()
    /// Its CHAP credential; nil logs in without authentication.
    public var credential: CHAPCredential?
    /// Digests and random numbers, needed with `credential`.
    public var provider: CHAPProvider?

    /// A configuration for a session of `sessionType`; a normal one names its target.
    public init(
        initiatorName: String, sessionType: SessionType = .normal, targetName: String? = nil,
        initiatorSessionID: InitiatorSessionID = InitiatorSessionID(rawValue: 0x8000_0000_0001)
    ) {
        self.initiatorName = initiatorName
        self.sessionType = sessionType
        self.targetName = targetName
        self.initiatorSessionID = initiatorSessionID
    }
}

/// A Login Request to send.
public struct LoginSubmission: Sendable {
    /// The header; its DataSegmentLength is that of `text`.
    public var header: LoginRequestPDU
    /// The data segment, without padding.
    public var text: [UInt8]
}

/// What an initiator's login led to.
public struct InitiatorLoginResult: Sendable {
    /// The TSIH.
    public let targetSessionHandle: UInt16
    /// The portal group tag that the target told, if it did.
    public let targetPortalGroupTag: UInt16?
    /// The parameters in force from the next PDU on.
    public let parameters: NegotiatedParameters
    /// The first CmdSN of full feature phase.
    public let cmdSN: SequenceNumber
    /// MaxCmdSN of the last response.
    public let maxCmdSN: SequenceNumber
    /// ExpStatSN for the next request.
    public let expStatSN: SequenceNumber
}

/// Why an initiator's login failed.
public enum InitiatorLoginFailure: Error, Hashable, Sendable {
    /// The target refused.
    case refused(LoginStatus)
    /// The target is elsewhere: its `TargetAddress`.
    case moved(address: String, permanently: Bool)
    /// The target broke the protocol.
    case protocolError
    /// The target wants an authentication that the configuration has not, or did not prove itself.
    case authentication
}

/// What an initiator does after a Login Response.
public enum InitiatorLoginStep: Sendable {
    /// Send the request.
    case send(LoginSubmission)
    /// Full feature phase begins, and digests with it.
    case finished(InitiatorLoginResult)
    /// Close the connection.
    case failed(InitiatorLoginFailure)
}

/// The initiator's side of the login phase of one connection.
public struct LoginInitiatorMachine: Sendable {
    private let configuration: InitiatorLoginConfiguration
    private var negotiation: ParameterNegotiation
    private var stage: LoginStage
    private var expStatSN = SequenceNumber(0)
    private var assembler = TextAssembler(limit: LoginLimits.textLength)
    private var responseCount = 0
    private var targetPortalGroupTag: UInt16?
    private var hasOfferedAlgorithms = false
    private var isAuthenticated = false

    /// A machine for that configuration.
    public init(_ configuration: InitiatorLoginConfiguration) {
        self.configuration = configuration
        stage = configuration.credential == nil ? .operationalNegotiation : .securityNegotiation
        negotiation = ParameterNegotiation(
            role: .initiator, settings: configuration.settings,
            phase: configuration.targetSessionHandle == 0 ? .leadingLogin : .furtherLogin,
            sessionType: configuration.sessionType)
    }

    /// The first request.
    public mutating func start() -> LoginSubmission {
        var parameters = [TextParameter("InitiatorName", configuration.initiatorName)]
        if let alias = configuration.initiatorAlias { parameters.append(TextParameter("InitiatorAlias", alias)) }
        if let name = configuration.targetName { parameters.append(TextParameter("TargetName", name)) }
        parameters.append(TextParameter("SessionType", configuration.sessionType.rawValue))
        if stage == .securityNegotiation {
            parameters.append(TextParameter("AuthMethod", "\(SecurityNegotiation.chapMethod)"))
            return request(parameters, isTransit: false)
        }
        return request(parameters + negotiation.offers(), isTransit: true)
    }

    /// Takes a response: its header and its data segment without padding.
    public mutating func receive(_ response: LoginResponsePDU, data: RawSpan) -> InitiatorLoginStep {
        do throws(InitiatorLoginFailure) {
            return try step(response, data)
        } catch {
            return .failed(error)
        }
    }

    private mutating func step(
        _ response: LoginResponsePDU, _ data: RawSpan
    ) throws(InitiatorLoginFailure) -> InitiatorLoginStep {
        responseCount += 1
        guard responseCount <= LoginLimits.requestCount, response.initiatorTaskTag == configuration.initiatorTaskTag,
            assembler.append(data)
        else { throw .protocolError }
        expStatSN = response.statSN.advanced(by: 1)
        if response.isContinued, response.status == .success { return .send(request([], isTransit: false)) }
        let parameters: [TextParameter]
        do throws(TextCodec.ParsingError) {
            parameters = try assembler.finish()
        } catch {
            throw .protocolError
        }
        guard response.status == .success else {
            let address = parameters.first { $0.key == "TargetAddress" }?.value
            if response.status.statusClass == 1, let address {
                throw .moved(address: address, permanently: response.status == .targetMovedPermanently)
            }
            throw .refused(response.status)
        }
        guard response.currentStage == stage else { throw .protocolError }
        if let tag = parameters.first(where: { $0.key == "TargetPortalGroupTag" })?.value {
            targetPortalGroupTag = UInt16(tag)
        }
        var answers = stage == .securityNegotiation ? try secure(parameters) : try negotiate(parameters)
        guard response.isTransit else {
            return .send(
                request(answers, isTransit: stage == .operationalNegotiation ? answers.isEmpty : isAuthenticated))
        }
        guard let next = response.nextStage, next.rawValue > stage.rawValue else { throw .protocolError }
        stage = next
        guard next == .fullFeaturePhase else {
            answers += negotiation.offers()
            return .send(request(answers, isTransit: true))
        }
        guard negotiation.isSettled else { throw .protocolError }
        return .finished(
            InitiatorLoginResult(
                targetSessionHandle: response.targetSessionHandle, targetPortalGroupTag: targetPortalGroupTag,
                parameters: negotiation.result, cmdSN: configuration.firstCmdSN, maxCmdSN: response.maxCmdSN,
                expStatSN: expStatSN))
    }

    private mutating func negotiate(
        _ parameters: [TextParameter]
    ) throws(InitiatorLoginFailure) -> [TextParameter] {
        do throws(NegotiationFailure) {
            return try negotiation.receive(parameters)
        } catch {
            throw .protocolError
        }
    }

    /// The initiator's side of one-way CHAP.
    private mutating func secure(_ parameters: [TextParameter]) throws(InitiatorLoginFailure) -> [TextParameter] {
        let (own, others) = SecurityNegotiation.split(parameters)
        let answers = try negotiate(others)
        let keys = Dictionary(own.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        guard let credential = configuration.credential, let provider = configuration.provider else {
            throw .authentication
        }
        if let method = keys["AuthMethod"] {
            guard method == SecurityNegotiation.chapMethod, !hasOfferedAlgorithms else { throw .authentication }
            hasOfferedAlgorithms = true
            let algorithms = provider.algorithms.map { String($0.rawValue) }.joined(separator: ",")
            return answers + [TextParameter("CHAP_A", algorithms)]
        }
        guard let number = keys["CHAP_A"] else { return answers }
        guard hasOfferedAlgorithms, let algorithm = UInt8(number).flatMap(CHAPAlgorithm.init(rawValue:)),
            provider.algorithms.contains(algorithm), let identifierText = keys["CHAP_I"],
            let identifier = TextCodec.number(identifierText).flatMap({ UInt8(exactly: $0) }),
            let challenge = keys["CHAP_C"].flatMap({ TextCodec.binary($0) })
        else { throw .protocolError }
        isAuthenticated = true
        let response = provider.response(
            algorithm, identifier: identifier, secret: credential.secret, challenge: challenge)
        return answers + [
            TextParameter("CHAP_N", credential.name), TextParameter("CHAP_R", TextCodec.formatBinary(response)),
        ]
    }

    private func request(_ parameters: [TextParameter], isTransit: Bool) -> LoginSubmission {
        let text = TextCodec.format(parameters)
        var header = LoginRequestPDU()
        header.isTransit = isTransit
        header.currentStageCode = stage.rawValue
        if isTransit {
            let next: LoginStage = stage == .securityNegotiation ? .operationalNegotiation : .fullFeaturePhase
            header.nextStageCode = next.rawValue
        }
        header.dataSegmentLength = text.count
        header.initiatorSessionID = configuration.initiatorSessionID
        header.targetSessionHandle = configuration.targetSessionHandle
        header.initiatorTaskTag = configuration.initiatorTaskTag
        header.connectionID = configuration.connectionID
        header.cmdSN = configuration.firstCmdSN
        header.expStatSN = expStatSN
        return LoginSubmission(header: header, text: text)
    }
}

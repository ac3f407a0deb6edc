internal import Bytes

/// What an initiator brings to a login.
public struct InitiatorLoginConfiguration: Sendable {
    /// InitiatorName: the iSCSI name of the initiator node (section 13.4).
    public var initiatorName: String
    /// InitiatorAlias: a name for people to read; nil when none was sent.
    public var initiatorAlias: String?
    /// TargetName; nil in discovery sessions.
    public var targetName: String?
    /// SessionType: normal or discovery (section 13.21).
    public var sessionType: SessionType
    /// ISID: with the initiator's name it is the initiator port (section 4.2.4).
    public var initiatorSessionID: InitiatorSessionID
    /// The TSIH: 0 for a new session.
    public var targetSessionHandle: UInt16 = 0
    /// CID: the initiator's number of the connection in its session (section 4.2.4).
    public var connectionID: UInt16 = 0
    public var initiatorTaskTag: UInt32 = 1
    /// The session's first CmdSN.
    public var firstCmdSN = SequenceNumber(1)
    /// What the initiator wants in the negotiation.
    public var settings = OperationalSettings()
    /// The parameters of the session that the connection joins; nil for a new session.
    public var sessionParameters: NegotiatedParameters?
    /// Its CHAP credential; nil logs in without authentication.
    public var credential: CHAPCredential?
    /// What the target has to prove to know (mutual CHAP); nil does not ask. It needs `credential`, with another
    /// secret.
    public var targetCredential: CHAPCredential?
    /// Digests and random numbers, needed with `credential`; its `algorithms` are offered in their order.
    public var provider: CHAPProvider?
    /// Whether a login without credential begins with SecurityNegotiation, where it offers `AuthMethod=None`.
    public var startsWithSecurityStage = false
    /// Parameters to send beyond those of `settings`, right or wrong, in the operational stage.
    public var additionalParameters: [TextParameter] = []

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
    /// TSIH: the target's number of the session (section 4.2.4); never 0.
    public let targetSessionHandle: UInt16
    /// The portal group tag that the target told, if it did.
    public let targetPortalGroupTag: UInt16?
    /// The parameters in force from the next PDU on: those of the connection, and those of the session.
    public let parameters: NegotiatedParameters
    /// All that the target said, in order.
    public let targetParameters: [TextParameter]
    /// The first CmdSN of full feature phase.
    public let cmdSN: SequenceNumber
    /// MaxCmdSN of the last response.
    public let maxCmdSN: SequenceNumber
    /// ExpStatSN for the next request.
    public let expStatSN: SequenceNumber
}

/// Why an initiator gives its login up.
public enum InitiatorLoginFailure: Error, Hashable, Sendable {
    /// The target refused the login with that status.
    case refused(LoginStatus)
    /// The target is elsewhere: its `TargetAddress`.
    case moved(address: String, permanently: Bool)
    /// The target broke the protocol.
    case protocolError
    /// The target answered an offer wrongly.
    case negotiation(NegotiationFailure)
    /// The target wants an authentication that the configuration has not or the provider cannot compute, or did not
    /// prove itself.
    case authentication
}

/// What an initiator does after a Login Response.
public enum InitiatorLoginStep: Sendable {
    /// The next request of the login.
    case send(LoginSubmission)
    /// Full feature phase begins, and digests with it.
    case finished(InitiatorLoginResult)
    /// The login has failed: the connection must be closed.
    case failed(InitiatorLoginFailure)
}

/// The initiator's side of the login phase of one connection.
public struct LoginInitiatorMachine: Sendable {
    private let configuration: InitiatorLoginConfiguration
    private var negotiation: ParameterNegotiation
    private var chap: CHAPInitiator?
    private var stage: LoginStage
    private var expStatSN = SequenceNumber(0)
    private var assembler = TextAssembler(limit: LoginLimits.textLength)
    /// The rest of a text that needs more than one request.
    private var outgoing: OutgoingText?
    private var wantsTransit = false
    private var hasChosenMethod = false
    private var responseCount = 0
    private var targetPortalGroupTag: UInt16?
    private var targetParameters: [TextParameter] = []

    public init(_ configuration: InitiatorLoginConfiguration) {
        self.configuration = configuration
        if let credential = configuration.credential, let provider = configuration.provider {
            chap = CHAPInitiator(credential: credential, target: configuration.targetCredential, provider: provider)
        }
        stage =
            configuration.credential == nil && !configuration.startsWithSecurityStage
            ? .operationalNegotiation : .securityNegotiation
        negotiation = ParameterNegotiation(
            role: .initiator, settings: configuration.settings,
            phase: configuration.targetSessionHandle == 0 ? .leadingLogin : .furtherLogin,
            sessionType: configuration.sessionType,
            parameters: configuration.sessionParameters?.ofSession ?? NegotiatedParameters())
    }

    /// The request that begins the login.
    public mutating func start() -> LoginSubmission {
        var parameters = [TextParameter("InitiatorName", configuration.initiatorName)]
        if let alias = configuration.initiatorAlias { parameters.append(TextParameter("InitiatorAlias", alias)) }
        if let name = configuration.targetName { parameters.append(TextParameter("TargetName", name)) }
        parameters.append(TextParameter("SessionType", configuration.sessionType.rawValue))
        guard stage == .securityNegotiation else {
            return send(parameters + operationalParameters(), isTransit: true)
        }
        let needsProof = configuration.credential != nil
        parameters.append(
            TextParameter("AuthMethod", needsProof ? SecurityNegotiation.chapMethod : SecurityNegotiation.noMethod))
        return send(parameters, isTransit: !needsProof)
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
        guard response.status == .success else { throw refusal(response) }
        guard response.initiatorSessionID == configuration.initiatorSessionID,
            !(response.isTransit && response.isContinued), response.currentStage == stage
        else { throw .protocolError }
        expStatSN = response.statSN.advanced(by: 1)
        if outgoing != nil {
            // The target waits for the rest of the text.
            guard data.byteCount == 0, !response.isTransit, !response.isContinued else { throw .protocolError }
            return .send(nextPart())
        }
        if response.isContinued { return .send(request([], isTransit: wantsTransit)) }
        let answers = try take()
        guard response.isTransit else {
            let isReady = stage == .operationalNegotiation || chap?.hasAnswered ?? true
            return .send(send(answers, isTransit: isReady))
        }
        return try transit(response, answers)
    }

    /// Takes a complete text and gives what it has to be answered with.
    private mutating func take() throws(InitiatorLoginFailure) -> [TextParameter] {
        let parameters: [TextParameter]
        do throws(TextCodec.ParsingError) {
            parameters = try assembler.finish()
        } catch {
            throw .protocolError
        }
        targetParameters += parameters
        if let tag = parameters.first(where: { $0.key == "TargetPortalGroupTag" })?.value {
            guard let number = TextCodec.number(tag).flatMap({ UInt16(exactly: $0) }) else { throw .protocolError }
            targetPortalGroupTag = number
        }
        let (own, others) = stage == .securityNegotiation ? SecurityNegotiation.split(parameters) : ([], parameters)
        let proofs = stage == .securityNegotiation ? try secure(own) : []
        do throws(NegotiationFailure) {
            let answers =
                stage == .securityNegotiation
                ? try negotiation.receiveInSecurityStage(others) : try negotiation.receive(others)
            return answers + proofs
        } catch {
            throw .negotiation(error)
        }
    }

    /// Takes the target's security keys and gives the answers.
    private mutating func secure(_ list: [TextParameter]) throws(InitiatorLoginFailure) -> [TextParameter] {
        let keys = Dictionary(list.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        guard keys.count == list.count else { throw .protocolError }
        if let method = keys["AuthMethod"] {
            guard !hasChosenMethod, keys.count == 1 else { throw .protocolError }
            hasChosenMethod = true
            switch method {
            case SecurityNegotiation.chapMethod:
                guard var chap else { throw .authentication }
                defer { self.chap = chap }
                return chap.begin()
            case SecurityNegotiation.noMethod where configuration.credential == nil: return []
            default: throw .authentication
            }
        }
        guard var chap, hasChosenMethod else {
            guard keys.isEmpty else { throw .protocolError }
            return []
        }
        defer { self.chap = chap }
        return try chap.receive(keys)
    }

    /// Follows the target to the next stage.
    private mutating func transit(
        _ response: LoginResponsePDU, _ answers: [TextParameter]
    ) throws(InitiatorLoginFailure) -> InitiatorLoginStep {
        guard wantsTransit, response.nextStage == wantedStage else { throw .protocolError }
        if stage == .securityNegotiation {
            guard configuration.credential == nil || chap?.isDone == true else { throw .authentication }
            stage = .operationalNegotiation
            return .send(send(answers + operationalParameters(), isTransit: true))
        }
        // A target that shall prove itself has to, in whatever stage the login began.
        guard configuration.targetCredential == nil || chap?.isDone == true else { throw .authentication }
        guard answers.isEmpty, negotiation.isSettled, response.targetSessionHandle != 0 else { throw .protocolError }
        stage = .fullFeaturePhase
        return .finished(
            InitiatorLoginResult(
                targetSessionHandle: response.targetSessionHandle, targetPortalGroupTag: targetPortalGroupTag,
                parameters: negotiation.result, targetParameters: targetParameters, cmdSN: configuration.firstCmdSN,
                maxCmdSN: response.maxCmdSN, expStatSN: expStatSN))
    }

    private mutating func refusal(_ response: LoginResponsePDU) -> InitiatorLoginFailure {
        let parameters = (try? assembler.finish()) ?? []
        let address = parameters.first { $0.key == "TargetAddress" }?.value
        if response.status.statusClass == 1, let address {
            return .moved(address: address, permanently: response.status == .targetMovedPermanently)
        }
        return .refused(response.status)
    }

    // MARK: Requests

    private var wantedStage: LoginStage {
        stage == .securityNegotiation ? .operationalNegotiation : .fullFeaturePhase
    }

    private mutating func operationalParameters() -> [TextParameter] {
        negotiation.expectAnyAnswers(to: configuration.additionalParameters)
        return negotiation.offers() + configuration.additionalParameters
    }

    /// Begins to send a text, and with its last part the wish to leave the stage.
    private mutating func send(_ parameters: [TextParameter], isTransit: Bool) -> LoginSubmission {
        outgoing = OutgoingText(parameters)
        wantsTransit = isTransit
        return nextPart()
    }

    private mutating func nextPart() -> LoginSubmission {
        var text = outgoing ?? OutgoingText([])
        let part = text.next(limit: LoginLimits.dataSegmentLength)
        outgoing = text.isExhausted ? nil : text
        return request(part, isTransit: wantsTransit && text.isExhausted, isContinued: !text.isExhausted)
    }

    private func request(_ text: [UInt8], isTransit: Bool, isContinued: Bool = false) -> LoginSubmission {
        var header = LoginRequestPDU()
        header.isTransit = isTransit
        header.isContinued = isContinued
        header.currentStageCode = stage.rawValue
        if isTransit { header.nextStageCode = wantedStage.rawValue }
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

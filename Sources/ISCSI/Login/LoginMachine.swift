internal import Bytes

/// A Login Response to send.
public struct LoginReply: Sendable {
    /// The header; its DataSegmentLength is that of `text`.
    public var header: LoginResponsePDU
    /// The data segment, without padding.
    public var text: [UInt8]
}

/// A session, or a connection for one: what a login ends with.
public struct LoginResult: Sendable {
    /// Who logged in, and to what.
    public let identity: LoginIdentity
    /// TSIH: the target's number of the session (section 4.2.4); never 0.
    public let targetSessionHandle: UInt16
    /// The portal group tag that the initiator was told.
    public let targetPortalGroupTag: UInt16
    /// The name that the initiator proved to have by CHAP; nil when it had to prove nothing.
    public let authenticatedName: String?
    /// The parameters in force from the next PDU on: those of the connection, and those of the session, which for a
    /// joined session are the ones that the grant told.
    public let parameters: NegotiatedParameters
    /// The connection's StatSN counter.
    public let statusSequence: StatusSequence
    /// The command numbering of a new session; for a joined one the session has its own.
    public let commandWindow: CommandWindow
}

/// What to do after a PDU of the login phase.
public enum LoginStep: Sendable {
    /// Send the reply and go on.
    case reply(LoginReply)
    /// Send the reply; full feature phase begins, and digests with it.
    case finished(LoginReply, LoginResult)
    /// Send the reply and close the connection.
    case refused(LoginReply, reason: LoginStatus)
    /// Close the connection without a reply: the first PDU is no Login Request (RFC 7143 section 6.3.1).
    case drop
}

/// Limits of a login before anything is known about the other side.
public enum LoginLimits {
    /// The most bytes of a data segment in either direction: the default of MaxRecvDataSegmentLength.
    public static let dataSegmentLength = 8192
    /// The most bytes of one text, spread over PDUs with the C bit.
    public static let textLength = 16_384
    /// The most Login Requests of one login.
    public static let requestCount = 32
    /// How long a login may take; the owner of the connection closes it then.
    public static let duration = Duration.seconds(15)
}

/// The target's side of the login phase of one connection (RFC 7143 sections 6.3, 11.12 and 11.13).
///
/// Every PDU that arrives before full feature phase goes to `receive`.
public struct LoginMachine<Authority: LoginAuthority> {
    /// Who the initiator says that it is.
    public private(set) var claims = LoginClaims()
    private let authority: Authority
    private let windowLimit: Int
    private var statusSequence: StatusSequence
    private var stage: LoginStage?
    private var first: LoginRequestPDU?
    private var requestCount = 0
    private var assembler = TextAssembler(limit: LoginLimits.textLength)
    private var identity: LoginIdentity?
    private var grant: LoginGrant?
    private var security = SecurityNegotiation.notStarted
    private var negotiation: ParameterNegotiation?
    private var outgoing: OutgoingText?
    private var isTransitGranted = false

    /// A machine for a connection that was just accepted.
    ///
    /// - Parameters:
    ///   - authority: Knows targets and initiators.
    ///   - windowLimit: The size of a new session's command window.
    ///   - firstStatSN: The connection's first StatSN.
    public init(authority: Authority, windowLimit: Int, firstStatSN: SequenceNumber = SequenceNumber(1)) {
        self.authority = authority
        self.windowLimit = windowLimit
        statusSequence = StatusSequence(first: firstStatSN)
    }

    /// Takes a PDU: its 48 bytes of header (and whatever follows them in `header`) and its data segment without
    /// padding.
    public mutating func receive(header: RawSpan, data: RawSpan) -> LoginStep {
        guard let request = LoginRequestPDU(parsing: header) else {
            guard let first else { return .drop }
            return refuse(first, .invalidDuringLogin)
        }
        do throws(LoginFailure) {
            try check(request)
            return try receive(request, data)
        } catch {
            return refuse(request, error.status, text: error.text)
        }
    }

    // MARK: Checks

    /// A login's end, with the text that goes with it.
    private struct LoginFailure: Error {
        var status: LoginStatus
        var text: [TextParameter] = []

        init(_ status: LoginStatus, text: [TextParameter] = []) {
            self.status = status
            self.text = text
        }
    }

    private mutating func check(_ request: LoginRequestPDU) throws(LoginFailure) {
        requestCount += 1
        guard requestCount <= LoginLimits.requestCount else { throw LoginFailure(.initiatorError) }
        guard request.versionMin == 0 else { throw LoginFailure(.unsupportedVersion) }
        guard let current = request.currentStage, current != .fullFeaturePhase, request.additionalHeaderLength == 0
        else { throw LoginFailure(.initiatorError) }
        if let first {
            guard
                request.initiatorTaskTag == first.initiatorTaskTag,
                request.initiatorSessionID == first.initiatorSessionID,
                request.targetSessionHandle == first.targetSessionHandle,
                request.connectionID == first.connectionID, request.cmdSN == first.cmdSN, current == stage
            else { throw LoginFailure(.initiatorError) }
        } else {
            guard request.initiatorTaskTag != reservedTag, request.initiatorSessionID.hasDefinedFormat else {
                throw LoginFailure(.initiatorError)
            }
            first = request
            stage = current
        }
        guard request.isTransit else { return }
        // The T bit says that the text is complete, and the next stage comes after the current one (section 11.12.1-3).
        guard !request.isContinued, let next = request.nextStage, next.rawValue > current.rawValue else {
            throw LoginFailure(.initiatorError)
        }
    }

    // MARK: Texts

    private mutating func receive(_ request: LoginRequestPDU, _ data: RawSpan) throws(LoginFailure) -> LoginStep {
        // While the answer goes out the initiator only asks for its rest.
        guard outgoing == nil || !request.isContinued, assembler.append(data) else {
            throw LoginFailure(.initiatorError)
        }
        if request.isContinued { return .reply(reply(to: request, text: [])) }
        let parameters: [TextParameter]
        do throws(TextCodec.ParsingError) {
            parameters = try assembler.finish()
        } catch {
            throw LoginFailure(.initiatorError)
        }
        if outgoing != nil {
            guard parameters.isEmpty else { throw LoginFailure(.initiatorError) }
            return try send(request)
        }
        var answers: [TextParameter] = []
        if let identity {
            guard identity.isConsistent(with: parameters) else { throw LoginFailure(.initiatorError) }
        } else {
            answers += try begin(request, parameters)
        }
        do throws(NegotiationFailure) {
            answers += try negotiate(parameters, request)
        } catch {
            throw LoginFailure(.initiatorError)
        }
        outgoing = OutgoingText(answers)
        return try send(request)
    }

    /// Reads who logs in from the first text, and asks the authority.
    private mutating func begin(
        _ request: LoginRequestPDU, _ parameters: [TextParameter]
    ) throws(LoginFailure) -> [TextParameter] {
        func value(_ key: String) -> String? { parameters.first { $0.key == key }?.value }
        guard let name = value("InitiatorName") else { throw LoginFailure(.missingParameter) }
        guard let initiatorName = ISCSIName.normalized(name) else { throw LoginFailure(.initiatorError) }
        claims.initiatorName = initiatorName
        guard let sessionType = SessionType(rawValue: value("SessionType") ?? SessionType.normal.rawValue) else {
            throw LoginFailure(.sessionTypeNotSupported)
        }
        guard sessionType == .normal || request.targetSessionHandle == 0 else {
            throw LoginFailure(.cannotIncludeInSession)
        }
        var targetName: String?
        if let name = value("TargetName") {
            guard let normalized = ISCSIName.normalized(name) else { throw LoginFailure(.targetNotFound) }
            targetName = normalized
            claims.targetName = normalized
        } else if sessionType == .normal {
            throw LoginFailure(.missingParameter)
        }
        let identity = LoginIdentity(
            initiatorName: initiatorName, initiatorAlias: value("InitiatorAlias"),
            initiatorSessionID: request.initiatorSessionID, sessionType: sessionType, targetName: targetName,
            targetSessionHandle: request.targetSessionHandle, connectionID: request.connectionID)
        let grant: LoginGrant
        switch authority.admit(identity) {
        case .granted(let granted): grant = granted
        case .refused(let status): throw LoginFailure(status)
        case .moved(let address, let permanently):
            throw LoginFailure(
                permanently ? .targetMovedPermanently : .targetMovedTemporarily,
                text: [TextParameter("TargetAddress", address)])
        }
        self.identity = identity
        self.grant = grant
        var settings = grant.settings
        if sessionType == .discovery {
            // A discovery session has one connection and no recovery beyond its end.
            settings.preferred.errorRecoveryLevel = 0
            settings.preferred.maxConnections = 1
        }
        negotiation = ParameterNegotiation(
            role: .target, settings: settings,
            phase: request.targetSessionHandle == 0 ? .leadingLogin : .furtherLogin, sessionType: sessionType,
            parameters: grant.joinedParameters?.ofSession ?? NegotiatedParameters())
        // The first response of a normal session names the portal group (section 13.9).
        guard sessionType == .normal else { return [] }
        var answers = [TextParameter("TargetPortalGroupTag", String(grant.targetPortalGroupTag))]
        if let alias = grant.targetAlias { answers.append(TextParameter("TargetAlias", alias)) }
        return answers
    }

    /// Answers a complete text in the current stage, and decides whether the wish to leave the stage is granted.
    private mutating func negotiate(
        _ parameters: [TextParameter], _ request: LoginRequestPDU
    ) throws(NegotiationFailure) -> [TextParameter] {
        isTransitGranted = request.isTransit
        guard var negotiation, let grant else { return [] }
        defer { self.negotiation = negotiation }
        if stage == .securityNegotiation {
            let (own, others) = SecurityNegotiation.split(parameters)
            if let name = own.first(where: { $0.key == "CHAP_N" }) { claims.chapName = name.value }
            var answers = try negotiation.receiveInSecurityStage(others)
            answers += security.receive(own, policy: grant.authentication, isTransit: &isTransitGranted)
            // Where the defaults will not do, the operational stage cannot be left out.
            if request.nextStage == .fullFeaturePhase, !negotiation.acceptsAllValues { isTransitGranted = false }
            return answers
        }
        security.skip(policy: grant.authentication)
        var answers = try negotiation.receive(parameters)
        answers += negotiation.offers()
        if !negotiation.isSettled { isTransitGranted = false }
        return answers
    }

    // MARK: Replies

    /// Sends the next part of the answer, and with the last part the transit that was granted.
    private mutating func send(_ request: LoginRequestPDU) throws(LoginFailure) -> LoginStep {
        if case .failed(let status) = security { throw LoginFailure(status) }
        guard var text = outgoing, let current = stage else { throw LoginFailure(.targetError) }
        let part = text.next(limit: LoginLimits.dataSegmentLength)
        guard text.isExhausted else {
            outgoing = text
            return .reply(reply(to: request, text: part, isContinued: true))
        }
        outgoing = nil
        guard isTransitGranted, request.isTransit, let next = request.nextStage else {
            return .reply(reply(to: request, text: part))
        }
        guard next == .fullFeaturePhase else {
            stage = next
            return .reply(reply(to: request, text: part, leaving: current, for: next))
        }
        return try finish(request, text: part, leaving: current)
    }

    private mutating func finish(
        _ request: LoginRequestPDU, text: [UInt8], leaving current: LoginStage
    ) throws(LoginFailure) -> LoginStep {
        guard let identity, let grant, let negotiation else { throw LoginFailure(.targetError) }
        let handle: UInt16
        switch authority.establish(identity, negotiation.result) {
        case .established(let targetSessionHandle): handle = targetSessionHandle
        case .refused(let status): throw LoginFailure(status)
        }
        stage = .fullFeaturePhase
        var last = reply(to: request, text: text, leaving: current, for: .fullFeaturePhase)
        last.header.targetSessionHandle = handle
        return .finished(
            last,
            LoginResult(
                identity: identity, targetSessionHandle: handle, targetPortalGroupTag: grant.targetPortalGroupTag,
                authenticatedName: security.authenticatedName, parameters: negotiation.result,
                statusSequence: statusSequence, commandWindow: window(request)))
    }

    private mutating func refuse(
        _ request: LoginRequestPDU, _ status: LoginStatus, text: [TextParameter] = []
    ) -> LoginStep {
        var refusal = reply(to: request, text: TextCodec.format(text))
        refusal.header.status = status
        return .refused(refusal, reason: status)
    }

    private mutating func reply(
        to request: LoginRequestPDU, text: [UInt8], isContinued: Bool = false, leaving current: LoginStage? = nil,
        for next: LoginStage? = nil
    ) -> LoginReply {
        var header = LoginResponsePDU()
        header.isContinued = isContinued
        header.currentStageCode = (current ?? stage)?.rawValue ?? request.currentStageCode
        if let next {
            header.isTransit = true
            header.nextStageCode = next.rawValue
        }
        header.dataSegmentLength = text.count
        header.initiatorSessionID = request.initiatorSessionID
        header.targetSessionHandle = request.targetSessionHandle
        header.initiatorTaskTag = request.initiatorTaskTag
        header.statSN = statusSequence.take()
        let window = window(request)
        header.expCmdSN = window.expCmdSN
        header.maxCmdSN = window.maxCmdSN
        return LoginReply(header: header, text: text)
    }

    /// The command numbering that responses show: a Login Request carries the session's first CmdSN and, being
    /// immediate, does not use it up (section 11.12.8).
    private func window(_ request: LoginRequestPDU) -> CommandWindow {
        grant?.joinedWindow ?? CommandWindow(first: request.cmdSN, limit: windowLimit)
    }
}

extension InitiatorSessionID {
    /// Whether the T field has a value that is defined: 11b is reserved (section 11.12.5).
    var hasDefinedFormat: Bool { rawValue >> 46 != 3 }
}

extension LoginIdentity {
    /// Whether a later text of the login says nothing else about who logs in and to what.
    func isConsistent(with parameters: [TextParameter]) -> Bool {
        parameters.allSatisfy { parameter in
            switch parameter.key {
            case "InitiatorName": ISCSIName.normalized(parameter.value) == initiatorName
            case "TargetName": targetName != nil && ISCSIName.normalized(parameter.value) == targetName
            case "SessionType": parameter.value == sessionType.rawValue
            default: true
            }
        }
    }
}

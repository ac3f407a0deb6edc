internal import Bytes

/// What to do after a Text Request.
public enum TextStep: Sendable {
    /// Send the response with this data segment. The caller fills in StatSN, ExpCmdSN and MaxCmdSN.
    case respond(TextResponsePDU, text: [UInt8])
    /// Reject the request.
    case reject(RejectReason)
}

/// The target's side of text negotiations in full feature phase of one connection (RFC 7143 sections 6.4, 11.10,
/// 11.11): discovery, and the keys that may change after the login.
///
/// There is one negotiation at a time: a request without target transfer tag ends the one under way. An answer to
/// SendTargets is a snapshot of the targets at its first request. A negotiation that fails leaves all parameters as
/// they were.
public struct TextMachine: Sendable {
    /// The most bytes of a request's text, spread over PDUs with the C bit.
    public static let textLimit = 16_384
    private let sessionType: SessionType
    private let settings: OperationalSettings
    private var assembler = TextAssembler(limit: TextMachine.textLimit)
    private var outgoing: OutgoingText?
    private var initiatorTaskTag: UInt32?
    private var targetTransferTag: UInt32 = 0
    private var negotiation: ParameterNegotiation?
    private var isIdle = false

    public init(sessionType: SessionType, settings: OperationalSettings) {
        self.sessionType = sessionType
        self.settings = settings
    }

    /// Whether a negotiation is under way: the initiator has to send another request.
    public var isActive: Bool { initiatorTaskTag != nil }

    /// Tells that time has passed: a negotiation that saw no request between two calls ends, and keeps nothing. A
    /// request that continues it is rejected. The owner of the connection calls this every half minute or so.
    public mutating func elapse() {
        if isIdle { abandon() }
        isIdle = true
    }

    private mutating func abandon() {
        assembler = TextAssembler(limit: Self.textLimit)
        outgoing = nil
        initiatorTaskTag = nil
        negotiation = nil
    }

    /// Takes a request and its data segment without padding.
    ///
    /// - Parameters:
    ///   - parameters: The parameters in force; those that the negotiation changed are in force after its last
    ///     response.
    ///   - partLimit: The most bytes of the response's data segment, below what the initiator takes. Many initiators
    ///     cannot collect an answer from several PDUs, so it should be reached only for want of memory.
    ///   - targets: The targets that the initiator may see in a discovery session; the own one in a normal session.
    public mutating func receive(
        _ request: TextRequestPDU, data: RawSpan, parameters: inout NegotiatedParameters,
        partLimit: Int = OutgoingText.maximumPartLength, targets: (SendTargets.Scope) -> [DiscoveredTarget]
    ) -> TextStep {
        isIdle = false
        // F says the initiator is done, C that it is not: both at once is an error (section 11.10.1-2).
        guard !(request.isFinal && request.isContinued) else { return fail(.protocolError) }
        guard request.initiatorTaskTag != reservedTag else { return fail(.invalidPDUField) }
        if request.targetTransferTag == reservedTag {
            // A negotiation that starts anew ends an old one (section 11.10.4).
            abandon()
            initiatorTaskTag = request.initiatorTaskTag
        } else {
            guard request.initiatorTaskTag == initiatorTaskTag,
                request.targetTransferTag == targetTransferTag
            else {
                return fail(.invalidPDUField)
            }
        }
        // While the answer goes out the initiator only asks for its rest.
        guard outgoing == nil || !request.isContinued, assembler.append(data) else { return fail(.protocolError) }
        if request.isContinued { return respond(to: request, [], isFinal: false) }
        let list: [TextParameter]
        do throws(TextCodec.ParsingError) {
            list = try assembler.finish()
        } catch {
            return fail(.protocolError)
        }
        if outgoing == nil {
            do throws(NegotiationFailure) {
                outgoing = try answer(list, parameters, targets)
            } catch {
                return fail(.protocolError)
            }
        } else if !list.isEmpty {
            return fail(.protocolError)
        }
        return continueAnswer(to: request, &parameters, partLimit)
    }

    private mutating func answer(
        _ list: [TextParameter], _ parameters: NegotiatedParameters,
        _ targets: (SendTargets.Scope) -> [DiscoveredTarget]
    ) throws(NegotiationFailure) -> OutgoingText {
        var negotiation =
            negotiation
            ?? ParameterNegotiation(
                role: .target, settings: settings, phase: .fullFeature, sessionType: sessionType,
                parameters: parameters)
        var answers = try negotiation.receive(list)
        self.negotiation = negotiation
        var discovered: [DiscoveredTarget] = []
        for parameter in list where parameter.key == "SendTargets" {
            // Without a target of its own, a discovery session cannot be asked for it (appendix C).
            if let scope = SendTargets.scope(parameter.value), scope != .session || sessionType == .normal {
                discovered += targets(scope).prefix(SendTargets.maximumTargetCount)
            } else {
                answers.append(TextParameter(parameter.key, ParameterNegotiation.Answer.reject))
            }
        }
        return OutgoingText(answers, targets: discovered)
    }

    private mutating func continueAnswer(
        to request: TextRequestPDU, _ parameters: inout NegotiatedParameters, _ partLimit: Int
    ) -> TextStep {
        guard let part = outgoing?.next(limit: min(parameters.maxSendDataSegmentLength, partLimit)) else {
            return fail(.protocolError)
        }
        let isExhausted = outgoing?.isExhausted ?? true
        if isExhausted { outgoing = nil }
        // The target has nothing to add to the last part; it is the initiator's F bit that ends the negotiation.
        let isFinal = isExhausted && request.isFinal
        if isFinal, let negotiation { parameters = negotiation.result }
        return respond(to: request, part, isFinal: isFinal, isContinued: !isExhausted)
    }

    private mutating func respond(
        to request: TextRequestPDU, _ text: [UInt8], isFinal: Bool, isContinued: Bool = false
    ) -> TextStep {
        var response = TextResponsePDU()
        response.isFinal = isFinal
        response.isContinued = isContinued
        response.dataSegmentLength = text.count
        response.initiatorTaskTag = request.initiatorTaskTag
        if isFinal {
            abandon()
        } else {
            // Each continuation has a tag of its own; the reserved one is skipped.
            targetTransferTag = targetTransferTag &+ 1
            if targetTransferTag == reservedTag { targetTransferTag = 1 }
            response.targetTransferTag = targetTransferTag
            response.logicalUnitNumber = request.logicalUnitNumber
        }
        return .respond(response, text: text)
    }

    private mutating func fail(_ reason: RejectReason) -> TextStep {
        abandon()
        return .reject(reason)
    }
}

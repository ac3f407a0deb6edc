internal import Bytes

/// What to do after a Text Request.
public enum TextStep: Sendable {
    /// Send the response with this data segment. The caller fills in StatSN, ExpCmdSN and MaxCmdSN.
    case respond(TextResponsePDU, text: [UInt8])
    /// Reject the request.
    case reject(RejectReason)
}

/// The target's side of text negotiations in full feature phase of one connection (RFC 7143 sections 6.4, 11.10, 11.11):
/// discovery, and the keys that may change after the login. One negotiation at a time.
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

    /// A machine for a connection of such a session.
    public init(sessionType: SessionType, settings: OperationalSettings) {
        self.sessionType = sessionType
        self.settings = settings
    }

    /// Whether a negotiation is under way.
    public var isActive: Bool { initiatorTaskTag != nil }

    /// Takes a request and its data segment without padding.
    ///
    /// - Parameters:
    ///   - parameters: The parameters in force; changed ones are in force after the response.
    ///   - targets: The targets that the initiator may see in a discovery session; the own one in a normal session.
    public mutating func receive(
        _ request: TextRequestPDU, data: RawSpan, parameters: inout NegotiatedParameters,
        targets: (SendTargets.Scope) -> [DiscoveredTarget]
    ) -> TextStep {
        // F says the initiator is done, C that it is not: both at once is an error (section 11.10.1-2).
        guard !(request.isFinal && request.isContinued) else { return fail(.protocolError) }
        if request.targetTransferTag == reservedTag {
            // A negotiation that starts anew ends an old one (section 11.10.4).
            reset()
            initiatorTaskTag = request.initiatorTaskTag
        } else {
            guard request.initiatorTaskTag == initiatorTaskTag, request.targetTransferTag == targetTransferTag else {
                return fail(.invalidPDUField)
            }
        }
        guard assembler.append(data) else { return fail(.protocolError) }
        if request.isContinued { return respond(to: request, [], isFinal: false) }
        let list: [TextParameter]
        do throws(TextCodec.ParsingError) {
            list = try assembler.finish()
        } catch {
            return fail(.protocolError)
        }
        if outgoing == nil {
            do throws(NegotiationFailure) {
                outgoing = try answer(list, &parameters, targets)
            } catch {
                return fail(.protocolError)
            }
        } else if !list.isEmpty {
            return fail(.protocolError)
        }
        return continueAnswer(to: request, limit: parameters.maxSendDataSegmentLength)
    }

    private mutating func answer(
        _ list: [TextParameter], _ parameters: inout NegotiatedParameters,
        _ targets: (SendTargets.Scope) -> [DiscoveredTarget]
    ) throws(NegotiationFailure) -> OutgoingText {
        var negotiation =
            negotiation
            ?? ParameterNegotiation(
                role: .target, settings: settings, phase: .fullFeature, sessionType: sessionType,
                parameters: parameters)
        var answers = try negotiation.receive(list)
        parameters = negotiation.parameters
        self.negotiation = negotiation
        for parameter in list where parameter.key == "SendTargets" {
            let scope = SendTargets.scope(parameter.value)
            // Without a target of its own, a discovery session cannot be asked for it (appendix C).
            guard scope != .session || sessionType == .normal else {
                answers.append(TextParameter(parameter.key, ParameterNegotiation.Answer.reject))
                continue
            }
            answers += SendTargets.response(targets(scope))
        }
        return OutgoingText(answers)
    }

    private mutating func continueAnswer(to request: TextRequestPDU, limit: Int) -> TextStep {
        guard var text = outgoing else { return fail(.protocolError) }
        let part = text.next(limit: limit)
        outgoing = text.isExhausted ? nil : text
        // The target has nothing to add to the last part; it is the initiator's F bit that ends the negotiation.
        return respond(to: request, part, isFinal: text.isExhausted && request.isFinal, isContinued: !text.isExhausted)
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
            reset()
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
        reset()
        return .reject(reason)
    }

    private mutating func reset() {
        assembler = TextAssembler(limit: Self.textLimit)
        outgoing = nil
        initiatorTaskTag = nil
        negotiation = nil
    }
}

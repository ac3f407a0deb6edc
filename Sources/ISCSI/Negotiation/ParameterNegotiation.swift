/// Why a negotiation cannot go on: Login Response "initiator error", or Reject "protocol error" in full feature phase.
public enum NegotiationFailure: Error, Hashable, Sendable {
    /// The key appeared twice (RFC 7143 section 6.2).
    case repeatedKey(String)
    /// The key may not come from the other side.
    case wrongSender(String)
    /// The answer to an offer is none that the offer allows.
    case invalidAnswer(String)
    /// The key may not appear in the SecurityNegotiation stage (section 12).
    case notASecurityKey(String)
    /// The key may only appear in the SecurityNegotiation stage (section 12).
    case securityKey(String)
}

/// The negotiation of operational parameters of one connection, at either side (RFC 7143 section 6.2).
///
/// It follows `OperationalKey.table`. A text that came in goes to `receive`, which gives the answers; `offers` gives
/// what this side says of its own accord.
public struct ParameterNegotiation: Sendable {
    /// The side this is.
    public enum Role: Sendable {
        case initiator
        case target
    }

    /// Where in the connection's life the negotiation happens.
    public enum Phase: Sendable {
        /// In the login of a session's first connection.
        case leadingLogin
        /// In the login of a further connection.
        case furtherLogin
        /// In full feature phase, by Text PDUs.
        case fullFeature
    }

    /// Reserved answers (section 6.2).
    public enum Answer {
        /// The value is not acceptable.
        public static let reject = "Reject"
        /// The key has no meaning here.
        public static let irrelevant = "Irrelevant"
        /// The key is unknown.
        public static let notUnderstood = "NotUnderstood"

        static func isReserved(_ value: String) -> Bool {
            value == reject || value == irrelevant || value == notUnderstood
        }
    }

    /// The side this is.
    public let role: Role
    /// The session's kind; the login sets it when it has read SessionType.
    public var sessionType: SessionType
    /// What this side wants.
    public let settings: OperationalSettings
    /// Where in the connection's life the negotiation happens.
    public let phase: Phase
    /// The values so far.
    public private(set) var parameters: NegotiatedParameters

    private var received: [String: String] = [:]
    private var offered: [String: String] = [:]
    private var unchecked: Set<String> = []
    private var hasOffered = false

    /// A negotiation that starts from `parameters`: the defaults in a leading login.
    public init(
        role: Role, settings: OperationalSettings, phase: Phase = .leadingLogin, sessionType: SessionType = .normal,
        parameters: NegotiatedParameters = NegotiatedParameters()
    ) {
        self.role = role
        self.settings = settings
        self.phase = phase
        self.sessionType = sessionType
        self.parameters = parameters
    }

    /// Whether no offer of this side waits for its answer.
    public var isSettled: Bool { offered.isEmpty }

    /// The values in force now that the negotiation is over: FirstBurstLength never exceeds MaxBurstLength.
    public var result: NegotiatedParameters {
        var result = parameters
        result.firstBurstLength = min(result.firstBurstLength, result.maxBurstLength)
        return result
    }

    // MARK: Offers

    /// What this side says of its own accord, once: an initiator all its keys; a target its declarations and those keys
    /// that the initiator did not offer and whose default it cannot accept.
    public mutating func offers() -> [TextParameter] {
        guard !hasOffered else { return [] }
        hasOffered = true
        var offers: [TextParameter] = []
        for key in OperationalKey.table where isUsable(key) && !isIrrelevant(key) {
            if let value = offer(of: key) { offers.append(TextParameter(key.name, value)) }
        }
        return offers
    }

    private mutating func offer(of key: OperationalKey) -> String? {
        let value: String
        switch key.rule {
        case .declaredNumber(let own, peer: _, _):
            // A declaration needs no answer; it is in force once it is said.
            guard parameters[keyPath: own] != settings.preferred[keyPath: own] else { return nil }
            parameters[keyPath: own] = settings.preferred[keyPath: own]
            return String(settings.preferred[keyPath: own])
        case .list(_, let acceptable):
            value = settings[keyPath: acceptable].joined(separator: ",")
        case .booleanAnd(let path), .booleanOr(let path):
            value = Self.format(settings.preferred[keyPath: path])
        case .minimum(let path, _), .maximum(let path, _):
            value = String(settings.preferred[keyPath: path])
        case .declaredText, .ignored, .obsolete:
            return nil
        }
        if role == .target {
            guard received[key.name] == nil, !acceptsCurrentValue(of: key) else { return nil }
        } else if key.isNewerThanRFC3720, wantsCurrentValue(of: key) {
            // Old targets need not hear of keys that would change nothing.
            return nil
        }
        offered[key.name] = value
        return value
    }

    /// Says that the caller sends `list` itself, right or wrong: answers to these are taken as they are and change
    /// nothing.
    mutating func expectAnyAnswers(to list: [TextParameter]) {
        unchecked.formUnion(list.map(\.key))
    }

    /// Whether every value in force is one that a target's settings allow, so that it can do without offers of its own.
    public var acceptsAllValues: Bool {
        OperationalKey.table.allSatisfy { key in
            !isUsable(key) || isIrrelevant(key) || received[key.name] != nil || acceptsCurrentValue(of: key)
        }
    }

    /// Whether the value that holds without negotiation is the one that the settings prefer.
    private func wantsCurrentValue(of key: OperationalKey) -> Bool {
        switch key.rule {
        case .list(let path, let acceptable):
            settings[keyPath: acceptable].first == parameters[keyPath: path]
        case .booleanAnd(let path), .booleanOr(let path):
            parameters[keyPath: path] == settings.preferred[keyPath: path]
        case .minimum(let path, _), .maximum(let path, _):
            parameters[keyPath: path] == settings.preferred[keyPath: path]
        case .declaredNumber, .declaredText, .ignored, .obsolete:
            true
        }
    }

    /// Whether the value that holds without negotiation is one that the settings allow.
    private func acceptsCurrentValue(of key: OperationalKey) -> Bool {
        switch key.rule {
        case .list(let path, let acceptable):
            settings[keyPath: acceptable].contains(parameters[keyPath: path])
        case .booleanAnd(let path):
            !parameters[keyPath: path] || settings.preferred[keyPath: path]
        case .booleanOr(let path):
            parameters[keyPath: path] || !settings.preferred[keyPath: path]
        case .minimum(let path, _):
            parameters[keyPath: path] <= settings.preferred[keyPath: path]
        case .maximum(let path, _):
            parameters[keyPath: path] >= settings.preferred[keyPath: path]
        case .declaredNumber, .declaredText, .ignored, .obsolete:
            true
        }
    }

    // MARK: What the other side says

    /// Takes the other side's parameters and gives the answers to them, in the same order.
    ///
    /// Names, aliases and addresses are only checked for sender and repetition: the caller reads them itself.
    public mutating func receive(_ list: [TextParameter]) throws(NegotiationFailure) -> [TextParameter] {
        var answers = [String?](repeating: nil, count: list.count)
        // Keys whose relevance depends on others wait until those are decided.
        var postponed: [Int] = []
        for (position, parameter) in list.enumerated() {
            let dependencies = OperationalKey.byName[parameter.key]?.irrelevance ?? []
            if !dependencies.isSubset(of: .inDiscovery) {
                postponed.append(position)
            } else {
                answers[position] = try receive(parameter)
            }
        }
        for position in postponed { answers[position] = try receive(list[position]) }
        return zip(list, answers).compactMap { parameter, answer in
            answer.map { TextParameter(parameter.key, $0) }
        }
    }

    /// Checks the parameters of a SecurityNegotiation text that are not the authentication method's: no operational
    /// key may be among them. Gives the answers to unknown ones.
    public mutating func receiveInSecurityStage(
        _ list: [TextParameter]
    ) throws(NegotiationFailure) -> [TextParameter] {
        for parameter in list {
            if let key = OperationalKey.byName[parameter.key], !key.isAllowedInSecurityStage {
                throw .notASecurityKey(parameter.key)
            }
        }
        return try receive(list)
    }

    private mutating func receive(_ parameter: TextParameter) throws(NegotiationFailure) -> String? {
        let (name, value) = (parameter.key, parameter.value)
        if offered[name] == nil, unchecked.remove(name) != nil { return nil }
        if SecurityNegotiation.isKey(name) {
            guard phase == .fullFeature else { throw .securityKey(name) }
            return Answer.reject
        }
        guard let key = OperationalKey.byName[name] else {
            // An unknown key's answer is never answered itself.
            return value == Answer.notUnderstood ? nil : Answer.notUnderstood
        }
        if let offer = offered.removeValue(forKey: name) {
            received[name] = value
            try accept(value, asAnswerTo: offer, of: key)
            return nil
        }
        if let earlier = received.updateValue(value, forKey: name) {
            switch key.repetition {
            case .fails: throw .repeatedKey(name)
            case .sameValue where earlier != value: throw .repeatedKey(name)
            case .sameValue: return nil
            case .allowed: break
            }
        }
        guard key.mayCome(from: role == .target ? .initiator : .target) else { throw .wrongSender(name) }
        guard isUsable(key) else { return Answer.reject }
        if isIrrelevant(key) { return key.hasAnswer ? Answer.irrelevant : nil }
        return answer(to: value, of: key)
    }

    /// The answer to an offer, and its result into `parameters`; nil for declarations.
    private mutating func answer(to value: String, of key: OperationalKey) -> String? {
        switch key.rule {
        case .list(let path, let acceptable):
            let ours = settings[keyPath: acceptable]
            let offer = value.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            guard let chosen = offer.first(where: ours.contains) else { return Answer.reject }
            parameters[keyPath: path] = chosen
            return chosen
        case .booleanAnd(let path):
            guard let wanted = Self.boolean(value) else { return Answer.reject }
            parameters[keyPath: path] = wanted && settings.preferred[keyPath: path]
            return Self.format(parameters[keyPath: path])
        case .booleanOr(let path):
            guard let wanted = Self.boolean(value) else { return Answer.reject }
            parameters[keyPath: path] = wanted || settings.preferred[keyPath: path]
            return Self.format(parameters[keyPath: path])
        case .minimum(let path, let range):
            guard let wanted = Self.number(value, in: range) else { return Answer.reject }
            var result = min(wanted, settings.preferred[keyPath: path])
            if path == \.firstBurstLength { result = min(result, parameters.maxBurstLength) }
            parameters[keyPath: path] = result
            return String(result)
        case .maximum(let path, let range):
            guard let wanted = Self.number(value, in: range) else { return Answer.reject }
            parameters[keyPath: path] = max(wanted, settings.preferred[keyPath: path])
            return String(parameters[keyPath: path])
        case .declaredNumber(own: _, let peer, let range):
            guard let declared = Self.number(value, in: range) else { return Answer.reject }
            parameters[keyPath: peer] = declared
            return nil
        case .declaredText, .ignored:
            return nil
        case .obsolete:
            return Answer.reject
        }
    }

    /// Takes the answer to an offer of this side; a reserved answer leaves the value as it was.
    private mutating func accept(
        _ value: String, asAnswerTo offer: String, of key: OperationalKey
    ) throws(NegotiationFailure) {
        if Answer.isReserved(value) { return }
        switch key.rule {
        case .list(let path, _):
            guard offer.split(separator: ",").contains(Substring(value)) else { throw .invalidAnswer(key.name) }
            parameters[keyPath: path] = value
        case .booleanAnd(let path):
            guard let answer = Self.boolean(value), offer == "Yes" || !answer else { throw .invalidAnswer(key.name) }
            parameters[keyPath: path] = answer
        case .booleanOr(let path):
            guard let answer = Self.boolean(value), offer == "No" || answer else { throw .invalidAnswer(key.name) }
            parameters[keyPath: path] = answer
        case .minimum(let path, let range):
            guard let answer = Self.number(value, in: range), let offer = Int(offer), answer <= offer else {
                throw .invalidAnswer(key.name)
            }
            parameters[keyPath: path] = answer
        case .maximum(let path, let range):
            guard let answer = Self.number(value, in: range), let offer = Int(offer), answer >= offer else {
                throw .invalidAnswer(key.name)
            }
            parameters[keyPath: path] = answer
        case .declaredNumber, .declaredText, .ignored, .obsolete:
            break
        }
    }

    // MARK: Rules of the table

    private func isUsable(_ key: OperationalKey) -> Bool {
        switch key.use {
        case .leadingLogin: phase == .leadingLogin
        case .login: phase != .fullFeature
        case .fullFeature: phase == .fullFeature
        case .always: true
        }
    }

    private func isIrrelevant(_ key: OperationalKey) -> Bool {
        let rules = key.irrelevance
        if rules.contains(.inDiscovery) && sessionType == .discovery { return true }
        if rules.contains(.withoutUnsolicitedData) && parameters.initialR2T && !parameters.immediateData {
            return true
        }
        // An initiator that wants iSER offers its keys together with RDMAExtensions.
        let wantsRDMA = role == .initiator ? settings.preferred.rdmaExtensions : parameters.rdmaExtensions
        return rules.contains(.withoutRDMAExtensions) && !wantsRDMA
    }

    // MARK: Values

    private static func boolean(_ value: String) -> Bool? {
        switch value {
        case "Yes": true
        case "No": false
        default: nil
        }
    }

    private static func format(_ value: Bool) -> String { value ? "Yes" : "No" }

    private static func number(_ value: String, in range: ClosedRange<Int>) -> Int? {
        guard let number = TextCodec.number(value), let result = Int(exactly: number) else { return nil }
        return range.contains(result) ? result : nil
    }
}

extension OperationalKey {
    /// Whether `side` may send the key.
    func mayCome(from side: Senders) -> Bool {
        switch senders {
        case .both: true
        case .initiator: side == .initiator
        case .target: side == .target
        }
    }

    /// Whether the receiver answers the key.
    var hasAnswer: Bool {
        switch rule {
        case .declaredNumber, .declaredText, .ignored: false
        case .list, .booleanAnd, .booleanOr, .minimum, .maximum, .obsolete: true
        }
    }

    /// Whether targets older than RFC 7143 do not know the key.
    var isNewerThanRFC3720: Bool {
        switch name {
        case "TaskReporting", "iSCSIProtocolLevel", "RDMAExtensions": true
        default: false
        }
    }
}

/// Where the target's side of the SecurityNegotiation stage is (RFC 7143 sections 6.3.2 and 12.1).
enum SecurityNegotiation: Sendable {
    /// No method was chosen yet.
    case notStarted
    /// CHAP is under way.
    case chap(CHAPTarget)
    /// The initiator may leave the stage.
    case passed
    /// The login fails.
    case failed(LoginStatus)

    /// AuthMethod's value for CHAP.
    static let chapMethod = "CHAP"
    /// AuthMethod's value for no authentication.
    static let noMethod = "None"

    /// The keys of authentication methods, and the others.
    static func split(_ parameters: [TextParameter]) -> (own: [TextParameter], others: [TextParameter]) {
        func isOwn(_ parameter: TextParameter) -> Bool {
            parameter.key == "AuthMethod" || parameter.key.hasPrefix("CHAP_")
        }
        return (parameters.filter(isOwn), parameters.filter { !isOwn($0) })
    }

    /// The initiator starts in LoginOperationalNegotiation: right only where nothing has to be proved.
    mutating func skip(policy: AuthenticationPolicy) {
        guard case .notStarted = self else { return }
        switch policy {
        case .none: self = .passed
        case .chap: self = .failed(.authenticationFailure)
        }
    }

    /// Takes the security keys of one text and gives the answers. `isTransit` is the initiator's wish to leave the
    /// stage, and on return whether it is granted.
    mutating func receive(
        _ parameters: [TextParameter], policy: AuthenticationPolicy, isTransit: inout Bool
    ) -> [TextParameter] {
        let keys = Dictionary(parameters.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        guard keys.count == parameters.count else {
            self = .failed(.initiatorError)
            return []
        }
        switch self {
        case .notStarted:
            return choose(keys, policy: policy, isTransit: &isTransit)
        case .chap(var exchange):
            guard keys["AuthMethod"] == nil else { break }
            switch exchange.receive(keys) {
            case .reply(let answers):
                self = .chap(exchange)
                isTransit = false
                return answers
            case .authenticated(let answers):
                self = .passed
                return answers
            case .failed(let status):
                self = .failed(status)
                return []
            }
        case .passed where keys.isEmpty, .failed:
            return []
        case .passed:
            break
        }
        self = .failed(.initiatorError)
        return []
    }

    private mutating func choose(
        _ keys: [String: String], policy: AuthenticationPolicy, isTransit: inout Bool
    ) -> [TextParameter] {
        guard let offer = keys["AuthMethod"] else {
            // Without the key, "None" is meant (section 6.3.2); CHAP keys before it are out of order.
            guard keys.isEmpty else {
                self = .failed(.initiatorError)
                return []
            }
            if isTransit { skip(policy: policy) }
            return []
        }
        guard keys.count == 1 else {
            self = .failed(.initiatorError)
            return []
        }
        let methods = offer.split(separator: ",")
        switch policy {
        case .none where methods.contains(Substring(Self.noMethod)):
            self = .passed
            return [TextParameter("AuthMethod", Self.noMethod)]
        case .chap(let initiator, let target, let provider) where methods.contains(Substring(Self.chapMethod)):
            self = .chap(CHAPTarget(initiator: initiator, target: target, provider: provider))
            isTransit = false
            return [TextParameter("AuthMethod", Self.chapMethod)]
        case .none, .chap:
            self = .failed(.authenticationFailure)
            return []
        }
    }
}

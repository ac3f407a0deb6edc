/// Where the target's side of the SecurityNegotiation stage is (RFC 7143 sections 6.3.2 and 12.1).
enum SecurityNegotiation: Sendable {
    /// No method was chosen yet.
    case notStarted
    /// CHAP is under way.
    case chap(CHAPTarget)
    /// The initiator may leave the stage. The name is what it proved to be, if it had to prove anything.
    case passed(name: String?)
    case failed(LoginStatus)

    /// AuthMethod's value for CHAP.
    static let chapMethod = "CHAP"
    /// AuthMethod's value for no authentication.
    static let noMethod = "None"

    /// Whether the key is one of AuthMethod and CHAP (sections 12.1 and 12.1.3), which only this stage has. The keys of
    /// other methods are unknown to this suite, as the methods are.
    static func isKey(_ name: String) -> Bool {
        switch name {
        case "AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R": true
        default: false
        }
    }

    /// The keys of authentication methods, and the others.
    static func split(_ parameters: [TextParameter]) -> (own: [TextParameter], others: [TextParameter]) {
        (parameters.filter { isKey($0.key) }, parameters.filter { !isKey($0.key) })
    }

    /// Whom the initiator proved to be.
    var authenticatedName: String? {
        if case .passed(let name) = self { name } else { nil }
    }

    /// The initiator starts in LoginOperationalNegotiation, or leaves the stage without a word about AuthMethod, which
    /// means None: right only where nothing has to be proved.
    mutating func skip(policy: AuthenticationPolicy) {
        guard case .notStarted = self else { return }
        switch policy {
        case .none: self = .passed(name: nil)
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
            // The method is negotiated once.
            guard keys["AuthMethod"] == nil else { break }
            switch exchange.receive(keys) {
            case .reply(let answers):
                self = .chap(exchange)
                isTransit = false
                return answers
            case .authenticated(let answers, let name):
                self = .passed(name: name)
                return answers
            case .failed(let status):
                self = .failed(status)
                return []
            }
        case .passed where keys.isEmpty, .failed:
            return []
        case .passed where keys["AuthMethod"] == nil:
            self = .failed(.authenticationFailure)
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
            if !keys.isEmpty {
                self = .failed(.authenticationFailure)
            } else if isTransit {
                skip(policy: policy)
            }
            return []
        }
        guard keys.count == 1 else {
            self = .failed(.authenticationFailure)
            return []
        }
        // One method is acceptable, so the offerer's order does not matter.
        let methods = offer.split(separator: ",")
        switch policy {
        case .none where methods.contains(Substring(Self.noMethod)):
            self = .passed(name: nil)
            return [TextParameter("AuthMethod", Self.noMethod)]
        case .chap(let initiators, let target, let provider) where methods.contains(Substring(Self.chapMethod)):
            self = .chap(CHAPTarget(initiators: initiators, target: target, provider: provider))
            isTransit = false
            return [TextParameter("AuthMethod", Self.chapMethod)]
        case .none, .chap:
            self = .failed(.authenticationFailure)
            return []
        }
    }
}

import Authentication
import ISCSI
import ISCSIPort
import Platform
import Resources
import TargetCore

/// Who may use what, asked by the server on its reactors: rules that do not change, replaced as a whole.
final class AccessTable: AccessControl {
    /// The rules of one target.
    struct Rule: Sendable {
        /// One group that gets in.
        struct Group: Sendable {
            let members: InitiatorMembership
            let logicalUnits: LogicalUnitMap?
            let authentication: AuthenticationPolicy
        }
        let portalGroupTags: Set<UInt16>?
        let groups: [Group]
        let redirection: TargetPlan.Redirection?
        let authentication: AuthenticationPolicy
    }

    /// All rules; a target without one is open to everyone through every portal.
    struct Rules: Sendable {
        var targets: [String: Rule] = [:]
        var discovery = AuthenticationPolicy.none
    }

    /// Held for as long as it takes to read or write one reference.
    private let rules = Lock(Rules())

    /// Puts `rules` into force.
    func replace(with rules: Rules) {
        // The former ones, which may be many, are released when nobody waits for the lock.
        let former = self.rules.withLock { present in
            defer { present = rules }
            return present
        }
        withExtendedLifetime(former) {}
    }

    private func rule(_ target: Target) -> Rule? { rules.withLock { $0.targets[target.name] } }

    func access(_ request: AccessRequest, to target: Target) -> TargetAccess {
        guard let rule = rule(target) else { return .granted(.none) }
        let granted: TargetAccess
        if rule.groups.isEmpty {
            granted = .granted(rule.authentication)
        } else {
            guard let group = rule.groups.first(where: { $0.members.contains(request) }) else {
                // Not "target not found": discovery keeps the name secret already, and who has been told the name
                // learns what to ask the administrator for (RFC 7143 section 11.13.5).
                return .refused(.authorizationFailure)
            }
            granted = .granted(group.authentication, group.logicalUnits)
        }
        if let redirection = rule.redirection {
            return .moved(address: redirection.address, permanently: redirection.isPermanent)
        }
        return granted
    }

    func discoveryAuthentication(_ request: AccessRequest) -> AuthenticationPolicy { rules.withLock { $0.discovery } }

    func isVisible(_ target: Target, to request: AccessRequest) -> Bool {
        guard let rule = rule(target) else { return true }
        return rule.groups.isEmpty || rule.groups.contains { $0.members.contains(request) }
    }

    func portalGroupTags(of target: Target) -> Set<UInt16>? { rule(target)?.portalGroupTags }
}

extension InitiatorMembership {
    fileprivate func contains(_ request: AccessRequest) -> Bool {
        contains(name: request.initiatorName, address: IPAddress(request.peerAddress.host))
    }
}

extension AuthenticationPolicy {
    /// What `credentials` ask for.
    init(_ credentials: CredentialSet?) {
        guard let credentials else {
            self = .none
            return
        }
        var provider = CHAPProvider.standard
        provider.algorithms = provider.algorithms.filter(credentials.algorithms.contains)
        self = .chap(initiators: credentials.initiators, target: credentials.target, provider: provider)
    }
}

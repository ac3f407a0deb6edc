import Authentication
import ISCSI
import ISCSIPort
import Platform
import Resources
import TargetCore

/// Who may use what, asked by the server on its reactors: rules that do not change, replaced as a whole.
final class AccessTable: AccessControl {
    /// What an initiator gets.
    struct Grant: Sendable {
        /// What it has to prove.
        let authentication: AuthenticationPolicy
        /// What it sees; the target's own logical units when nil.
        let logicalUnits: LogicalUnitMap?
    }

    /// The rules of one target.
    struct Rule: Sendable {
        /// One group that gets in.
        struct Group: Sendable {
            let members: InitiatorMembership
            let grant: Grant
        }
        let accessLevel: AccessLevel
        let portalGroupTags: Set<UInt16>?
        /// In the order in which it is decided; they count at access level `groups` only.
        let groups: [Group]
        let redirection: TargetPlan.Redirection?
        let authentication: AuthenticationPolicy

        /// What the initiator gets; nil when it does not get in. Redirection has no say in this.
        func grant(_ request: AccessRequest) -> Grant? {
            switch accessLevel {
            case .closed: nil
            case .loopback:
                IPAddress(request.localAddress.host)?.isLoopback == true
                    ? Grant(authentication: authentication, logicalUnits: nil) : nil
            case .groups: groups.first { $0.members.contains(request) }?.grant
            case .open: Grant(authentication: authentication, logicalUnits: nil)
            }
        }

        /// Whether anybody could get in.
        var isUsable: Bool { accessLevel != .closed && (accessLevel != .groups || !groups.isEmpty) }
    }

    /// All rules; a target without one is closed.
    struct Rules: Sendable {
        var targets: [String: Rule] = [:]
        var discovery = AuthenticationPolicy.none
    }

    /// Held for as long as it takes to read or write one rule or one reference.
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

    /// Replaces the rule of one target; it is closed when `rule` is nil.
    func set(_ rule: Rule?, of target: String) { rules.withLock { $0.targets[target] = rule } }

    /// A target of that name begins or ends: it is closed until its plan is put into force. What the table has for the
    /// name may be of another target, which has gone since.
    func close(_ target: String) { set(nil, of: target) }

    private func rule(_ target: Target) -> Rule? { rules.withLock { $0.targets[target.name] } }

    func access(_ request: AccessRequest, to target: Target) -> TargetAccess {
        guard let rule = rule(target), let grant = rule.grant(request) else {
            // Not "target not found": discovery keeps the name secret already, and who has been told the name learns
            // what to ask the administrator for (RFC 7143 section 11.13.5).
            return .refused(.authorizationFailure)
        }
        if let redirection = rule.redirection {
            return .moved(address: redirection.address, permanently: redirection.isPermanent)
        }
        return .granted(grant.authentication, grant.logicalUnits)
    }

    func discoveryAuthentication(_ request: AccessRequest) -> AuthenticationPolicy { rules.withLock { $0.discovery } }

    func isVisible(_ target: Target, to request: AccessRequest) -> Bool { rule(target)?.grant(request) != nil }

    func portalGroupTags(of target: Target) -> Set<UInt16>? { rule(target)?.portalGroupTags }

    /// Whether anybody could get in to the target.
    func isUsable(_ target: Target) -> Bool { rule(target)?.isUsable == true }
}

extension AccessTable.Rules {
    /// The rules that `plan` says. `map` gives the logical units of a group that has a map of its own.
    init(_ plan: FrontEndPlan, map: (TargetPlan, TargetGroupPlan) -> LogicalUnitMap) {
        discovery = AuthenticationPolicy(plan.discoveryCredentials)
        for target in plan.targets { targets[target.name] = AccessTable.Rule(target) { map(target, $0) } }
    }
}

extension AccessTable.Rule {
    /// The rule that `plan` says. `map` gives the logical units of a group that has a map of its own.
    init(_ plan: TargetPlan, map: (TargetGroupPlan) -> LogicalUnitMap) {
        accessLevel = plan.accessLevel
        portalGroupTags = plan.portalGroupTags
        groups = plan.groups.map { group in
            Group(
                members: group.members,
                grant: AccessTable.Grant(
                    authentication: AuthenticationPolicy(group.credentials),
                    logicalUnits: group.logicalUnits == nil ? nil : map(group)))
        }
        redirection = plan.redirection
        authentication = AuthenticationPolicy(plan.credentials)
    }
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

import ISCSI
import ISCSIPort
import Platform
import TargetCore

/// What discovery domains say, from now on.
public enum DomainChange: Hashable, Sendable {
    /// They decide nothing: everyone is in one domain with every target.
    case open
    /// They decide, and are not known: nobody is in one domain with any target.
    case unknown
    /// These initiators share a domain with the target.
    case initiators(target: String, Set<String>)
}

/// The discovery domains of an iSNS server, as far as they decide who gets in.
final class DiscoveryDomains: Sendable {
    /// Whether an initiator shares a domain with a target.
    enum Membership {
        case member
        case stranger
        /// The server has not told yet.
        case unknown
    }

    /// The initiators by target; nil when domains decide nothing. Held for the time of one lookup.
    private let members = Lock<[String: Set<String>]?>(nil)

    /// Makes the change; false when it is none.
    func apply(_ change: DomainChange) -> Bool {
        members.withLock { members in
            switch change {
            case .open:
                guard members != nil else { return false }
                members = nil
            case .unknown:
                guard members != [:] else { return false }
                members = [:]
            case .initiators(let target, let names):
                // A late answer does not switch the domains on.
                guard members != nil else { return false }
                let normalized = Set(names.compactMap { ISCSIName.normalized($0) })
                guard members?[target] != normalized else { return false }
                members?[target] = normalized
            }
            return true
        }
    }

    /// The target has gone: one that comes in its name has to be told of anew.
    func forget(_ target: String) { members.withLock { _ = $0?.removeValue(forKey: target) } }

    func membership(of initiator: String, in target: String) -> Membership {
        members.withLock { members in
            guard let members else { return .member }
            guard let names = members[target] else { return .unknown }
            return names.contains(initiator) ? .member : .stranger
        }
    }
}

/// Access for those who share a discovery domain with the target, and whom `base` lets in too.
struct DomainAccess<Base: AccessControl>: AccessControl {
    let base: Base
    let domains: DiscoveryDomains

    func access(_ request: AccessRequest, to target: Target) -> TargetAccess {
        switch domains.membership(of: request.initiatorName, in: target.name) {
        case .member: base.access(request, to: target)
        case .stranger: .refused(.authorizationFailure)
        // The initiator tries again by itself (RFC 7143 section 11.13.5).
        case .unknown: .refused(.serviceUnavailable)
        }
    }

    func discoveryAuthentication(_ request: AccessRequest) -> AuthenticationPolicy {
        base.discoveryAuthentication(request)
    }

    func isVisible(_ target: Target, to request: AccessRequest) -> Bool {
        domains.membership(of: request.initiatorName, in: target.name) == .member
            && base.isVisible(target, to: request)
    }

    func portalGroupTags(of target: Target) -> Set<UInt16>? { base.portalGroupTags(of: target) }
}

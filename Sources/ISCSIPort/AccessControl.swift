public import ISCSI
public import Platform
public import TargetCore

/// Who logs in and from where: what access depends on.
public struct AccessRequest: Sendable {
    /// InitiatorName, normalised.
    public let initiatorName: String
    /// The initiator's address.
    public let peerAddress: SocketAddress
    /// The portal's address as the initiator used it.
    public let localAddress: SocketAddress
    /// The tag of the portal group that the connection came in on.
    public let portalGroupTag: UInt16

    public init(
        initiatorName: String, peerAddress: SocketAddress, localAddress: SocketAddress, portalGroupTag: UInt16
    ) {
        self.initiatorName = initiatorName
        self.peerAddress = peerAddress
        self.localAddress = localAddress
        self.portalGroupTag = portalGroupTag
    }
}

/// Whether an initiator may use a target.
public enum TargetAccess: Sendable {
    /// It may, when it proves who it is: it sees the logical units of the map (the target's own when nil).
    case granted(AuthenticationPolicy, LogicalUnitMap? = nil)
    /// It may not: `.targetNotFound` where it shall not learn that there is one, `.authorizationFailure`,
    /// `.serviceUnavailable` …
    case refused(LoginStatus)
    /// The target is elsewhere: `address` is a `TargetAddress` value without portal group tag.
    case moved(address: String, permanently: Bool)
}

/// Who may use what: the control plane's decision, asked at login and discovery.
///
/// Called on reactor threads; it answers at once.
public protocol AccessControl: Sendable {
    /// Whether the initiator may use `target`.
    func access(_ request: AccessRequest, to target: Target) -> TargetAccess

    /// What an initiator has to prove before it may discover.
    func discoveryAuthentication(_ request: AccessRequest) -> AuthenticationPolicy

    /// Whether SendTargets names `target` to the initiator.
    func isVisible(_ target: Target, to request: AccessRequest) -> Bool

    /// The tags of the portal groups that offer `target`; nil when all do.
    func portalGroupTags(of target: Target) -> Set<UInt16>?
}

/// Access for everyone to everything.
public struct OpenAccess: AccessControl {
    public init() {}

    /// Granted without authentication, to the target's own logical units.
    public func access(_ request: AccessRequest, to target: Target) -> TargetAccess { .granted(.none) }
    /// None: everyone may discover.
    public func discoveryAuthentication(_ request: AccessRequest) -> AuthenticationPolicy { .none }
    /// Always: everyone sees every target.
    public func isVisible(_ target: Target, to request: AccessRequest) -> Bool { true }
    /// Nil: all portal groups offer every target.
    public func portalGroupTags(of target: Target) -> Set<UInt16>? { nil }
}

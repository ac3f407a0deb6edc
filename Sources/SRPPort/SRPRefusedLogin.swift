public import Platform
public import SRP

/// A login that was rejected: by whom, to what and why.
public struct SRPRefusedLogin: Hashable, Sendable {
    /// Why.
    public let reason: SRPLoginRejectReason
    /// Who the initiator says it is; nil when its login could not be read.
    public let initiatorPort: SRPPortIdentifier?
    /// What it asked for.
    public let targetPort: SRPPortIdentifier?
    /// The initiator's address.
    public let peerAddress: SocketAddress?

    public init(
        reason: SRPLoginRejectReason, initiatorPort: SRPPortIdentifier?, targetPort: SRPPortIdentifier?,
        peerAddress: SocketAddress?
    ) {
        self.reason = reason
        self.initiatorPort = initiatorPort
        self.targetPort = targetPort
        self.peerAddress = peerAddress
    }
}

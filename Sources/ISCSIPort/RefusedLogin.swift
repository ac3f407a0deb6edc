public import ISCSI
public import Platform

/// A login that was refused with a status of class 2 or 3 (RFC 7143 section 11.13.5): by whom, to what and why.
public struct RefusedLogin: Hashable, Sendable {
    /// Why.
    public let status: LoginStatus
    /// What the initiator has said about itself; nothing of it is proved.
    public let claims: LoginClaims
    /// The initiator's address.
    public let peerAddress: SocketAddress
    /// The portal's address as the initiator used it.
    public let localAddress: SocketAddress

    public init(
        status: LoginStatus, claims: LoginClaims, peerAddress: SocketAddress, localAddress: SocketAddress
    ) {
        self.status = status
        self.claims = claims
        self.peerAddress = peerAddress
        self.localAddress = localAddress
    }
}

extension Connection {
    /// Tells of a login that is refused with `status`; a redirection is no refusal.
    func noteRefusal(_ status: LoginStatus, _ claims: LoginClaims) {
        guard status.statusClass > 1 else { return }
        server.loginRefused(
            RefusedLogin(status: status, claims: claims, peerAddress: peerAddress, localAddress: localAddress))
    }
}

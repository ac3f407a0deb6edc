internal import Platform
internal import SRP
internal import TargetCore

extension InitiatorPort {
    /// The SRP initiator port of that identifier, with the TransportID that persistent reservations remember it by
    /// (SPC-5 clause 7.6.4.5).
    init(_ identifier: SRPPortIdentifier) {
        self.init(name: identifier.description, transportID: identifier.transportID)
    }
}

extension NexusOwner {
    /// Who logged in with that identifier from that address. Nobody has to prove anything.
    init(_ identifier: SRPPortIdentifier, from address: SocketAddress?) {
        self.init(initiatorName: identifier.description, user: nil, address: address?.host ?? "")
    }
}

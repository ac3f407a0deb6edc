public import Platform
public import SRP
public import TargetCore

/// A SCSI target port as SRP initiators know it.
public struct SRPTargetPort: Sendable {
    /// TARGET PORT IDENTIFIER: `id_ext` and `ioc_guid` of the line that `ib_srp` logs in with.
    public let identifier: SRPPortIdentifier
    /// The target device that the port belongs to.
    public let target: Target
    /// The port as SCSI has it; its name is a SCSI name string (SPC-5 clause 7.7.6.11).
    public let scsiPort: TargetPort

    /// A port of `target`; `relativeIdentifier` is different for each port of it, of whatever transport.
    public init(
        identifier: SRPPortIdentifier, target: Target, relativeIdentifier: UInt16, groupIdentifier: UInt16
    ) {
        self.identifier = identifier
        self.target = target
        // Its 16 bytes are an EUI-64-based identifier: an extension and an EUI-64.
        scsiPort = TargetPort(
            name: "eui." + identifier.description.dropFirst(2).uppercased(), relativeIdentifier: relativeIdentifier,
            groupIdentifier: groupIdentifier,
            protocolIdentifier: .srp)
    }
}

/// Who logs in and from where: what access depends on.
public struct SRPAccessRequest: Sendable {
    /// INITIATOR PORT IDENTIFIER.
    public let initiatorPort: SRPPortIdentifier
    /// The initiator's address; nil when the fabric does not know it.
    public let peerAddress: SocketAddress?
    /// The address that the initiator used.
    public let localAddress: SocketAddress?
    /// The tag of the portal that the login came by.
    public let portal: UInt16

    public init(
        initiatorPort: SRPPortIdentifier, peerAddress: SocketAddress?, localAddress: SocketAddress?, portal: UInt16
    ) {
        self.initiatorPort = initiatorPort
        self.peerAddress = peerAddress
        self.localAddress = localAddress
        self.portal = portal
    }
}

/// Whether an initiator port may use a target port.
public enum SRPAccess: Sendable {
    /// It may: it sees the logical units of the map (the target's own when nil).
    case granted(LogicalUnitMap? = nil)
    /// It may not, for this reason.
    case refused(SRPLoginRejectReason)
}

/// Which target ports there are and who may use them: the control plane's decision, asked at each login.
///
/// Called on reactor threads; it answers at once.
public protocol SRPTargets: Sendable {
    /// The port that a login names, in either order of its halves, by the portal of that tag; nil when there is none.
    func targetPort(_ identifier: SRPPortIdentifier, portal: UInt16) -> SRPTargetPort?
    /// Whether the initiator may use `port`.
    func access(_ request: SRPAccessRequest, to port: SRPTargetPort) -> SRPAccess
    /// All ports that the target has now, of whatever transport; `port` is one of them.
    func knownTargetPorts(of port: SRPTargetPort) -> [TargetPort]
}

/// Target ports by their identifiers, on all portals, for everyone.
public final class SRPTargetTable: SRPTargets {
    private let ports = Lock<[SRPPortIdentifier: SRPTargetPort]>([:])

    public init() {}

    /// Offers a port; false when there is one of that identifier.
    @discardableResult
    public func add(_ port: SRPTargetPort) -> Bool {
        ports.withLock { ports in
            guard ports[port.identifier] == nil, ports[port.identifier.swapped] == nil else { return false }
            ports[port.identifier] = port
            return true
        }
    }

    /// Offers a port no longer; channels that exist stay.
    public func remove(_ identifier: SRPPortIdentifier) {
        ports.withLock { $0[identifier] = nil }
    }

    public func targetPort(_ identifier: SRPPortIdentifier, portal: UInt16) -> SRPTargetPort? {
        ports.withLock { $0[identifier] ?? $0[identifier.swapped] }
    }

    /// Granted, to the target's own logical units.
    public func access(_ request: SRPAccessRequest, to port: SRPTargetPort) -> SRPAccess { .granted() }

    /// The ports of the table that the target has.
    public func knownTargetPorts(of port: SRPTargetPort) -> [TargetPort] {
        ports.withLock { ports in ports.values.filter { $0.target === port.target }.map(\.scsiPort) }
    }
}

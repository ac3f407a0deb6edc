/// PROTOCOL IDENTIFIER of a SCSI transport protocol (SPC-5 table 525).
public enum ProtocolIdentifier: UInt8, Sendable {
    /// SCSI RDMA Protocol.
    case srp = 4
    /// Internet SCSI, also over RDMA (iSER).
    case iSCSI = 5

    /// The version descriptor of standard INQUIRY data that claims the transport (SPC-5 table 153).
    var versionDescriptor: UInt16 {
        switch self {
        case .srp: 0x0940
        case .iSCSI: 0x0960
        }
    }
}

/// A SCSI target port: what initiators that use it are told of it (SAM-5 clause 4.7). The port that accepts a login
/// makes it.
public struct TargetPort: Hashable, Sendable {
    /// The SCSI port name, for iSCSI `TARGET,t,0xTAG` with the portal group tag (RFC 7143 section 4.2.7.1).
    public let name: String
    /// RELATIVE TARGET PORT IDENTIFIER: 1 to 65,535, different for each port of a target device (SPC-5 clause 4.3.4.1).
    public let relativeIdentifier: UInt16
    /// TARGET PORT GROUP: the ports with the same access to the logical units.
    public let groupIdentifier: UInt16
    /// Which transport it speaks.
    public let protocolIdentifier: ProtocolIdentifier

    public init(
        name: String, relativeIdentifier: UInt16, groupIdentifier: UInt16, protocolIdentifier: ProtocolIdentifier
    ) {
        self.name = name
        self.relativeIdentifier = relativeIdentifier
        self.groupIdentifier = groupIdentifier
        self.protocolIdentifier = protocolIdentifier
    }
}

/// A SCSI initiator port: who is at the other end of an I_T nexus.
public struct InitiatorPort: Hashable, Sendable {
    /// The SCSI port name, for iSCSI `INITIATOR,i,0xISID` (RFC 7143 section 4.2.7.1, SAM-5 annex A).
    public let name: String
    /// The TransportID that persistent reservations remember it by (SPC-5 clause 7.6.4): a multiple of 4 bytes.
    public let transportID: [UInt8]

    public init(name: String, transportID: [UInt8]) {
        self.name = name
        self.transportID = transportID
    }
}

public import Platform
public import SRP
public import TargetCore

/// What the control plane shows of a channel.
public struct SRPChannelSummary: Sendable {
    /// Its number: channels are counted from 1 as long as the server lives.
    public let number: UInt64
    /// Who the initiator is.
    public let initiatorPort: SRPPortIdentifier
    /// The target port that it uses.
    public let targetPort: SRPTargetPort
    /// The tag of the portal that it came by.
    public let portal: UInt16
    /// The initiator's address; nil when the fabric does not know it.
    public let peerAddress: SocketAddress?
    /// The address that the initiator used.
    public let localAddress: SocketAddress?
    /// The name of the RDMA device.
    public let deviceName: String
    /// REQUEST LIMIT: the most requests at a time.
    public let requestLimit: Int
    /// The length of the initiator's information units, in bytes.
    public let maximumLength: Int
    /// Bytes of registered memory for information units.
    public let bufferBytes: Int
    /// When it was accepted.
    public let start: MonotonicTime
    /// The number of the reactor that it lives on.
    public let reactor: Int
    /// What counts the commands of its nexus, those of other channels with them.
    public let commandCounters: CommandCounters
}

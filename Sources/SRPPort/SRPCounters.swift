public import Platform
public import SRP
internal import Synchronization

/// What an `SRPServer` has counted; any thread.
public final class SRPCounters: Sendable {
    private let accepted = Atomic<Int>(0)
    private let refused = Atomic<Int>(0)
    private let commandSum = Atomic<Int>(0)
    private let sentSum = Atomic<Int>(0)
    private let receivedSum = Atomic<Int>(0)
    private let channelBytes = Atomic<Int>(0)

    init() {}

    /// Logins that were accepted, whatever became of the connection.
    public var acceptedLogins: Int { accepted.load(ordering: .relaxed) }
    /// Logins that were rejected.
    public var refusedLogins: Int { refused.load(ordering: .relaxed) }
    /// Commands that were answered.
    public var commands: Int { commandSum.load(ordering: .relaxed) }
    /// Bytes written into the memory of initiators.
    public var sentBytes: Int { sentSum.load(ordering: .relaxed) }
    /// Bytes read from there, and immediate data.
    public var receivedBytes: Int { receivedSum.load(ordering: .relaxed) }
    /// Bytes of registered memory that channels hold for information units now.
    public var bufferBytes: Int { channelBytes.load(ordering: .relaxed) }

    func countAcceptedLogin() { accepted.add(1, ordering: .relaxed) }
    func countRefusedLogin() { refused.add(1, ordering: .relaxed) }
    func countCommand() { commandSum.add(1, ordering: .relaxed) }
    func count(sent: Int) { sentSum.add(sent, ordering: .relaxed) }
    func count(received: Int) { receivedSum.add(received, ordering: .relaxed) }
    func countBuffers(_ change: Int) { channelBytes.add(change, ordering: .relaxed) }
}

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

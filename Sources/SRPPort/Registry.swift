internal import Platform
internal import SRP
internal import TargetCore

/// What makes an I_T nexus the same as another: the initiator port and the target port.
struct NexusKey: Hashable, Sendable {
    let initiatorPort: SRPPortIdentifier
    /// The name of the target device.
    let target: String
    let targetPort: TargetPort
}

/// What the server knows of all channels; touched at login, close and by the control plane only.
struct Registry {
    /// A nexus that has channels, or whose logical units still work on commands of ended ones: all of it is on one
    /// reactor.
    private struct Entry {
        let port: ReactorPort
        /// Channels, and commands that are left of ended ones.
        var references = 0
        var channels = 0
    }

    /// One for each reactor; none when the server has stopped.
    var ports: [ReactorPort] = []
    var listeners: [SRPPortal] = []
    /// The channels by their numbers, and what is shown of them.
    private(set) var channels: [UInt64: (channel: Channel, summary: SRPChannelSummary)] = [:]
    private var lastNumber: UInt64 = 0
    private(set) var channelCount = 0
    private(set) var connectingCount = 0
    private var nexuses: [NexusKey: Entry] = [:]
    private var channelsOfInitiator: [SRPPortIdentifier: Int] = [:]
    private var channelsOfReactor: [ObjectIdentifier: Int] = [:]

    /// How many nexuses are known.
    var nexusCount: Int { nexuses.count }

    /// Counts a channel that is about to be accepted: the reactor it goes to, or why it is refused.
    mutating func admit(
        _ key: NexusKey, _ action: SRPMultiChannelAction, home: Reactor?, _ limits: SRPPortLimits
    ) -> LoginVerdict {
        guard !ports.isEmpty, channelCount < limits.channels, connectingCount < limits.connectingChannels else {
            return .refused(.insufficientResources)
        }
        let present = nexuses[key]
        // Channels that the login ends make room.
        let own = action == .endOthers ? 0 : present?.channels ?? 0
        let others = channelsOfInitiator[key.initiatorPort, default: 0] - (present?.channels ?? 0)
        guard own < limits.channelsOfNexus, own + others < limits.channelsOfInitiator else {
            return .refused(.channelLimitReached)
        }
        let port = present?.port ?? ports.first { $0.reactor === home } ?? leastLoaded
        var entry = present ?? Entry(port: port)
        entry.references += 1
        entry.channels += 1
        nexuses[key] = entry
        channelCount += 1
        connectingCount += 1
        channelsOfInitiator[key.initiatorPort, default: 0] += 1
        channelsOfReactor[ObjectIdentifier(port), default: 0] += 1
        return .admitted(port)
    }

    /// The reactor with the fewest channels.
    private var leastLoaded: ReactorPort {
        var (least, count) = (ports[0], Int.max)
        for port in ports {
            let own = channelsOfReactor[ObjectIdentifier(port)] ?? 0
            if own < count { (least, count) = (port, own) }
        }
        return least
    }

    /// A channel is established, or has ended before.
    mutating func endConnecting() { connectingCount -= 1 }

    /// Enters a channel, with what `summary` says of it for its number, which is returned.
    mutating func show(_ channel: Channel, _ summary: (UInt64) -> SRPChannelSummary) -> UInt64 {
        lastNumber += 1
        channels[lastNumber] = (channel, summary(lastNumber))
        return lastNumber
    }

    /// A channel is gone.
    mutating func removeChannel(_ channel: Channel) {
        channels[channel.number] = nil
        removeChannel(channel.key)
    }

    /// A channel that has been counted is gone, or has not come about.
    mutating func removeChannel(_ key: NexusKey) {
        guard let entry = nexuses[key] else { return }
        channelCount -= 1
        nexuses[key]?.channels -= 1
        let reactor = ObjectIdentifier(entry.port)
        channelsOfReactor[reactor] = (channelsOfReactor[reactor] ?? 1) - 1
        let rest = (channelsOfInitiator[key.initiatorPort] ?? 1) - 1
        channelsOfInitiator[key.initiatorPort] = rest > 0 ? rest : nil
        release(key)
    }

    /// Keeps the nexus where it is, for commands of an ended session.
    mutating func retain(_ key: NexusKey) { nexuses[key]?.references += 1 }

    /// Ends that.
    mutating func release(_ key: NexusKey) {
        nexuses[key]?.references -= 1
        if nexuses[key]?.references == 0 { nexuses[key] = nil }
    }
}

/// What becomes of a login.
enum LoginVerdict {
    case admitted(ReactorPort)
    case refused(SRPLoginRejectReason)
}

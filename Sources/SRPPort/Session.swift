internal import Fabric
internal import Platform
internal import SRP
internal import TargetCore

/// The channels of one I_T nexus, all of them on one reactor.
final class Session: @unchecked Sendable {
    let key: NexusKey
    let port: ReactorPort
    let record: NexusRecord
    /// Channels, with those that are closed and have commands with the devices.
    private(set) var channels: [Channel] = []
    private(set) var nexus: ITNexus?
    /// Counts the commands as the devices see them.
    let commandCounters = CommandCounters()
    private(set) var isEnded = false
    /// Functions whose answers wait for what was on its way when they were complete.
    var fences: [FunctionFence] = []

    init(_ admitted: AdmittedLogin, port: ReactorPort, record: NexusRecord) {
        key = admitted.key
        self.port = port
        self.record = record
        let (targets, targetPort) = (port.server.targets, admitted.targetPort)
        nexus = ITNexus(
            initiatorPort: InitiatorPort(key.initiatorPort), targetPort: targetPort.scsiPort,
            target: targetPort.target, logicalUnits: admitted.logicalUnits, reactor: port.reactor, port: self,
            counters: commandCounters,
            owner: NexusOwner(key.initiatorPort, from: admitted.request.addresses.peer),
            knownTargetPorts: { targets.knownTargetPorts(of: targetPort) })
    }

    func join(_ channel: Channel) { channels.append(channel) }

    /// Ends the session: its channels are logged out for `reason`, the nexus is lost and its tasks are aborted. Those
    /// that are with the medium come back later.
    func end(_ reason: SRPTargetLogoutReason) {
        guard !isEnded else { return }
        isEnded = true
        for channel in channels { channel.logOut(reason) }
        loseNexus()
    }

    private func loseNexus() {
        fences = []
        nexus?.lose()
        // What the medium has cannot be called back, and must not overtake commands of the session after this one.
        for channel in channels { channel.occupyUnits(of: record) }
        // Until they have come back the nexus stays on this reactor.
        port.server.registry.withLock { $0.retain(key) }
        port.sessionEnded(self)
    }

    /// A channel serves no more. With the last one the session ends.
    func channelClosing(_ channel: Channel) {
        guard !isEnded else { return }
        if channels.contains(where: { $0 !== channel && $0.isServing }) {
            nexus?.abortTasks { $0.port === channel }
        } else {
            isEnded = true
            loseNexus()
        }
    }

    /// A channel is closed, and the devices have let go of all its commands.
    func channelDrained(_ channel: Channel) {
        channels.removeAll { $0 === channel }
        guard isEnded, channels.isEmpty else { return }
        nexus = nil
        port.server.registry.withLock { $0.release(key) }
        port.forgetIfIdle(self)
    }

    /// The task of that tag: on `channel` first, since tags are the channel's.
    func task(withTag tag: UInt64, on channel: Channel) -> SCSITask? {
        if let task = channel.task(withTag: tag) { return task }
        for other in channels where other !== channel {
            if let task = other.task(withTag: tag) { return task }
        }
        return nil
    }
}

extension Session: TaskPort {
    // Tasks belong to their channels, which are their ports.
    func requestDataOut(_ task: SCSITask, length: Int) { task.port.requestDataOut(task, length: length) }
    func taskEnded(_ task: SCSITask) { task.port.taskEnded(task) }
    func taskAborted(_ task: SCSITask) { task.port.taskAborted(task) }

    func forEachTask(_ body: (SCSITask) -> Void) {
        for channel in channels { channel.forEachTask(body) }
    }
}

internal import Bytes
internal import Fabric
internal import Platform
internal import SRP
internal import TargetCore

/// The server's part on one reactor: its fabric, and the sessions whose channels live here.
final class ReactorPort: @unchecked Sendable {
    let reactor: Reactor
    let server: SRPServer
    let counters: PortCounters
    /// The fabric, from the first portal or login on.
    private(set) var context: FabricContext?
    private var nexuses: [NexusKey: NexusRecord] = [:]
    private var isStopped = false
    /// Called when the last channel has closed.
    private var whenStopped: (() -> Void)?
    private var stopTimer: TimerName?
    private(set) var channels = 0
    /// What they hold for information units.
    private var bufferBytes = 0

    init(reactor: Reactor, counters: PortCounters, server: SRPServer) {
        self.reactor = reactor
        self.counters = counters
        self.server = server
    }

    /// The fabric of this reactor, on its thread.
    func open() throws(FabricError) -> FabricContext {
        guard !isStopped else { throw .wrongState("the SRP server has stopped") }
        if let context { return context }
        let made = try FabricContext(provider: server.provider, reactor: server.isPolledByHand ? nil : reactor)
        context = made
        return made
    }

    // MARK: Logins

    /// Accepts a login that the registry has counted, or rejects it for want of resources.
    func accept(_ admitted: AdmittedLogin) {
        do throws(FabricError) {
            let device = try admitted.request.device(in: open())
            guard let sizes = ChannelSizes(device, admitted, server.limits) else {
                throw .limitReached("receives of a queue pair")
            }
            let domain = try open().domain(on: device)
            let arena = try domain.register(reactor.pool, access: device.readSinkAccess)
            guard bufferBytes + sizes.bufferLength <= reactor.pool.limit / SRPPortLimits.poolShare,
                let buffers = ChannelBuffers(sizes, pool: reactor.pool, arena: arena)
            else {
                throw .limitReached("buffers of a reactor")
            }
            try accept(admitted, domain, buffers)
        } catch {
            server.refuse(admitted.request, admitted.login, .insufficientResources, counters)
            server.registry.withLock { registry in
                registry.endConnecting()
                registry.removeChannel(admitted.key)
            }
        }
    }

    private func accept(
        _ admitted: AdmittedLogin, _ domain: ProtectionDomain, _ buffers: ChannelBuffers
    ) throws(FabricError) {
        let record = nexuses[admitted.key] ?? NexusRecord()
        let channel = Channel(admitted, port: self, buffers: buffers)
        let pair = try admitted.request.makeQueuePair(in: domain, buffers.sizes.capabilities, handler: channel)
        // Only now, when nothing but the peer can keep it from coming about.
        var result = SRPMultiChannelResult.noOthers
        if let former = record.session {
            result = admitted.login.multiChannelAction == .keepOthers ? .othersKept : .othersEnded
            if result == .othersEnded { former.end(.multiChannelAction) }
        }
        nexuses[admitted.key] = record
        let session = record.session ?? Session(admitted, port: self, record: record)
        record.session = session
        counters.countBuffers(buffers.length)
        bufferBytes += buffers.length
        channels += 1
        session.join(channel)
        channel.begin(pair, session, admitted, result)
    }

    /// The sessions that have not ended.
    var sessions: [Session] { nexuses.values.compactMap(\.session) }

    /// Ends the channels whose initiators may not use their target ports, or not so, any more.
    func reviewAccess() {
        for session in sessions {
            for channel in session.channels where channel.isServing && !channel.mayStay(server.targets) {
                channel.logOut(.unspecified)
            }
        }
    }

    // MARK: Ends

    /// A session has ended, and the units let go of its commands when they let go.
    func sessionEnded(_ session: Session) {
        if session.record.session === session { session.record.session = nil }
        forgetIfIdle(session)
    }

    /// Forgets a nexus without session and commands.
    func forgetIfIdle(_ session: Session) {
        guard session.record.isIdle, nexuses[session.key] === session.record else { return }
        nexuses[session.key] = nil
    }

    /// A channel is gone.
    func channelEnded(_ channel: Channel, bufferLength: Int) {
        channels -= 1
        counters.countBuffers(-bufferLength)
        bufferBytes -= bufferLength
        server.registry.withLock { $0.removeChannel(channel) }
        finishStopping()
    }

    /// Ends the sessions that `isIncluded` selects.
    func endSessions(_ reason: SRPTargetLogoutReason, where isIncluded: (Session) -> Bool) {
        for session in sessions where isIncluded(session) { session.end(reason) }
    }

    /// Ends everything; `completion` is called when all channels have closed and the fabric is gone.
    func stop(_ completion: @escaping () -> Void) {
        guard !isStopped else { return completion() }
        isStopped = true
        whenStopped = completion
        endSessions(.unspecified) { _ in true }
        stopTimer = reactor.schedule(after: server.limits.logoutDuration + .seconds(1), StopTimer(self), token: 0)
        if stopTimer == nil { closeContext() }
        finishStopping()
    }

    private func finishStopping() {
        guard isStopped, channels == 0, whenStopped != nil else { return }
        closeContext()
    }

    /// Closes the fabric, which ends what is left of it.
    fileprivate func closeContext() {
        if let stopTimer { reactor.cancel(stopTimer) }
        stopTimer = nil
        guard let completion = whenStopped else { return }
        whenStopped = nil
        let last = context
        context = nil
        last?.close()
        completion()
    }
}

/// Ends the wait for initiators that take no notice of SRP_T_LOGOUT.
private final class StopTimer: TimerHandler {
    private let port: ReactorPort

    init(_ port: ReactorPort) {
        self.port = port
    }

    func timerFired(_ token: UInt64) { port.closeContext() }
}

/// What is known of an I_T nexus: its session, and the logical units that still work on commands of ended ones.
final class NexusRecord {
    var session: Session?
    private var occupied: [LogicalUnit: Int] = [:]

    /// Whether nothing is known.
    var isIdle: Bool { session == nil && occupied.isEmpty }
    /// Whether any unit is occupied: every command asks.
    var hasOccupiedUnits: Bool { !occupied.isEmpty }

    /// Whether the unit works on commands of an ended session.
    func isOccupied(_ unit: LogicalUnit) -> Bool { occupied[unit] != nil }

    func occupy(_ unit: LogicalUnit) { occupied[unit, default: 0] += 1 }

    func letGo(of unit: LogicalUnit) {
        guard let count = occupied[unit] else { return }
        occupied[unit] = count > 1 ? count - 1 : nil
    }
}

public import Fabric
public import Platform
internal import SRP
internal import Synchronization
internal import TargetCore

/// The SRP front end: portals, channels and nexuses on a set of reactors, over one fabric.
///
/// Portals and targets can be added and removed while it runs. Methods may be called on any thread; `stop` ends it.
public final class SRPServer: Sendable {
    /// What one peer, or all of them, may make the server hold.
    public let limits: SRPPortLimits
    private let portCounters: [PortCounters]
    let provider: any FabricProvider
    let targets: any SRPTargets
    let loginRefused: @Sendable (SRPRefusedLogin) -> Void
    let portalEnded: @Sendable (UInt16) -> Void
    let registry = Lock(Registry())
    /// Fabrics are polled by whoever calls `poll`, not by their reactors.
    let isPolledByHand: Bool

    /// A server of `targets` on `reactors` (at least one), with no portal yet. `loginRefused` is told of logins that
    /// are rejected, and `portalEnded` of the tags of portals whose device has gone, both on reactors; they answer at
    /// once.
    public convenience init(
        reactors: [Reactor], provider: any FabricProvider, targets: any SRPTargets,
        limits: SRPPortLimits = SRPPortLimits(),
        loginRefused: @escaping @Sendable (SRPRefusedLogin) -> Void = { _ in },
        portalEnded: @escaping @Sendable (UInt16) -> Void = { _ in }
    ) {
        self.init(
            reactors: reactors, provider: provider, targets: targets, limits: limits, isPolledByHand: false,
            loginRefused: loginRefused, portalEnded: portalEnded)
    }

    init(
        reactors: [Reactor], provider: any FabricProvider, targets: any SRPTargets, limits: SRPPortLimits,
        isPolledByHand: Bool, loginRefused: @escaping @Sendable (SRPRefusedLogin) -> Void,
        portalEnded: @escaping @Sendable (UInt16) -> Void
    ) {
        precondition(!reactors.isEmpty, "a server needs a reactor")
        precondition((1...Channel.maximumRequestLimit).contains(limits.requestLimit), "too many requests of a channel")
        precondition(limits.maximumLength >= 64, "a login request fits into every information unit")
        self.provider = provider
        self.targets = targets
        self.limits = limits
        self.isPolledByHand = isPolledByHand
        self.loginRefused = loginRefused
        self.portalEnded = portalEnded
        let counters = reactors.map { _ in PortCounters() }
        portCounters = counters
        let ports = zip(reactors, counters).map { ReactorPort(reactor: $0, counters: $1, server: self) }
        registry.withLock { $0.ports = ports }
    }

    /// What it has counted, on all reactors.
    public var counters: SRPCounters {
        var counters = SRPCounters()
        for port in portCounters { port.add(to: &counters) }
        return counters
    }

    // MARK: Portals

    /// Listens on `address`, which may be a wildcard, on the reactor of that position, counted round and round.
    /// `completion` is called there with the address that has the port that was chosen for 0. `tag` is the portal's
    /// name for `SRPTargets`.
    public func addPortal(
        _ address: SocketAddress, tag: UInt16, reactor position: Int = 0,
        completion: @escaping @Sendable (Result<SocketAddress?, FabricError>) -> Void
    ) {
        precondition(position >= 0, "a reactor's position is counted from 0")
        guard let port = registry.withLock({ $0.ports.isEmpty ? nil : $0.ports[position % $0.ports.count] }) else {
            return completion(.failure(.wrongState("the SRP server has stopped")))
        }
        run(on: port.reactor) { [self] in
            do throws(FabricError) {
                let portal = SRPPortal(tag: tag, server: self, port: port)
                try portal.listen(on: address, in: port.open())
                registry.withLock { $0.listeners.append(portal) }
                completion(.success(portal.address))
            } catch {
                completion(.failure(error))
            }
        }
    }

    /// Listens no more on the portals of that tag; channels stay.
    public func removePortal(tag: UInt16) {
        let portals = registry.withLock { registry in
            let portals = registry.listeners.filter { $0.tag == tag }
            registry.listeners.removeAll { $0.tag == tag }
            return portals
        }
        for portal in portals { run(on: portal.port.reactor) { portal.close() } }
    }

    /// The channels that are accepted and not closed, by their numbers.
    public func channels() -> [SRPChannelSummary] {
        registry.withLock { $0.channels.values.map(\.summary).sorted { $0.number < $1.number } }
    }

    /// Ends the channel of that number with SRP_T_LOGOUT; false when there is none.
    public func closeChannel(_ number: UInt64) -> Bool {
        guard let channel = registry.withLock({ $0.channels[number]?.channel }) else { return false }
        run(on: channel.port.reactor) { channel.logOut(.unspecified) }
        return true
    }

    /// Asks `SRPTargets` again about each channel, and ends those that it would not let in as they are now.
    public func reviewAccess() {
        for port in registry.withLock({ $0.ports }) { run(on: port.reactor) { port.reviewAccess() } }
    }

    /// The number of channels that are accepted and not closed.
    public var channelCount: Int { registry.withLock { $0.channelCount } }

    /// Ends all channels with the target of that name, after it was taken out of what is offered.
    public func closeChannels(targetName: String) {
        for port in registry.withLock({ $0.ports }) {
            run(on: port.reactor) { port.endSessions(.unspecified) { $0.key.target == targetName } }
        }
    }

    // MARK: Stop

    /// Stops: no new logins, SRP_T_LOGOUT to every initiator, and then the end of the fabrics. `completion` is called
    /// on any thread when all memory is given back.
    public func stop(completion: @escaping @Sendable () -> Void = {}) {
        let (ports, portals) = registry.withLock { registry in
            defer {
                registry.ports = []
                registry.listeners = []
            }
            return (registry.ports, registry.listeners)
        }
        let left = Atomic<Int>(ports.count)
        let countdown = Stopping(left, completion)
        if ports.isEmpty { completion() }
        for port in ports {
            run(on: port.reactor) {
                for portal in portals where portal.port === port { portal.close() }
                port.stop { countdown.leave() }
            }
        }
    }

    func run(on reactor: Reactor, _ body: @escaping @Sendable () -> Void) {
        if reactor.isCurrent { body() } else { reactor.postCompletion(body) }
    }
}

/// Calls a closure when all reactors have stopped.
private final class Stopping: Sendable {
    private let left: Atomic<Int>
    private let completion: @Sendable () -> Void

    init(_ left: consuming Atomic<Int>, _ completion: @escaping @Sendable () -> Void) {
        self.left = left
        self.completion = completion
    }

    func leave() {
        if left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { completion() }
    }
}

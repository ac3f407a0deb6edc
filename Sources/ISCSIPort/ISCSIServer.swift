internal import Bytes
internal import ISCSI
public import Logging
public import Platform
public import TargetCore

/// The iSCSI front end: portals, connections and sessions on a set of reactors.
///
/// Portals and targets can be added and removed while it runs. Methods may be called on any thread but a reactor's.
public final class ISCSIServer: Sendable {
    /// What one peer, or all of them, may make the server hold.
    public let limits: PortLimits
    let reactors: [Reactor]
    let targets: TargetDirectory
    let access: any AccessControl
    let logger: Logger
    let loginRefused: @Sendable (RefusedLogin) -> Void
    let registry: Lock<Registry>

    /// A server of `targets` on `reactors` (at least one), with no portal yet, for those whom `access` lets in.
    /// `loginRefused` is told of logins that are refused, on reactors, and answers at once.
    public init(
        reactors: [Reactor], targets: TargetDirectory, access: any AccessControl = OpenAccess(),
        limits: PortLimits = PortLimits(),
        logger: Logger = Logger(label: "carousel.iscsi"),
        loginRefused: @escaping @Sendable (RefusedLogin) -> Void = { _ in }
    ) {
        precondition(!reactors.isEmpty, "a server needs a reactor")
        let slots =
            limits.sessionConnections * limits.unacknowledgedAnswers + 2
            * (limits.commandWindow + limits.immediateCommands)
        precondition(slots <= 1 << CommandSlot.indexBits, "too many slots")
        precondition((1..<Int(UInt16.max)).contains(limits.sessions), "every session needs a TSIH")
        self.reactors = reactors
        self.targets = targets
        self.access = access
        self.limits = limits
        self.logger = logger
        self.loginRefused = loginRefused
        registry = Lock(Registry())
    }

    // MARK: Stop

    /// Stops: no new connections and logins, a request to log out to every initiator, and after `gracePeriod` the end
    /// of those that are left. Returns when all connections are closed.
    public func stop(gracePeriod: Duration) async {
        let (portals, records) = registry.withLock { registry in
            registry.isStopping = true
            defer { registry.portals = [] }
            return (registry.portals, Array(registry.sessions.values))
        }
        for portal in portals { portal.reactor.postCompletion { portal.end() } }
        let seconds = max(1, Int(gracePeriod.components.seconds))
        for record in records {
            record.session.reactor.postCompletion {
                for connection in record.connections { connection.requestLogout(seconds: seconds) }
            }
        }
        await waitUntilEmpty(for: gracePeriod)
        let (inLogin, inSession) = registry.withLock { registry in
            (Array(registry.connections.values), Array(registry.sessions.values))
        }
        for connection in inLogin {
            connection.portalReactor.postCompletion {
                if !connection.hasLeftPortal { connection.close(.serverStopping) }
            }
        }
        for record in inSession {
            record.session.reactor.postCompletion {
                for connection in record.connections { connection.close(.serverStopping) }
                record.session.end(.serverStopping)
            }
        }
        await waitUntilEmpty(for: .seconds(2))
    }

    private func waitUntilEmpty(for limit: Duration) async {
        let deadline = MonotonicTime.current() + limit
        while connectionCount > 0, MonotonicTime.current() < deadline {
            try? await Task.sleep(for: .milliseconds(5))
        }
    }
}

internal import Bytes
internal import DeviceTestSupport
internal import Dispatch
internal import ISCSI
internal import ISCSIPort
internal import Logging
internal import Platform
internal import TargetCore

/// A server on one reactor with one target of two disks, which all runs of a process share, one after another.
final class FuzzFixture: @unchecked Sendable {
    static let shared = FuzzFixture()

    let address: SocketAddress
    /// A buffer for what comes in; runs are one after another.
    let receiveBuffer = ReceiveBuffer()
    /// The server's limits: small, so that inputs reach them.
    let limits: PortLimits
    private let reactor: Reactor
    private let server: ISCSIServer
    private let units = (0..<2).map { MemoryDevice(number: $0, blockCount: 2048, filledWith: 0x5A) }

    /// How long the server may take for anything.
    static let patience = Duration.seconds(10)

    private init() {
        var limits = PortLimits()
        limits.connections = 16
        limits.loginConnections = 8
        limits.commandWindow = 16
        limits.immediateCommands = 4
        limits.taskManagementFunctions = 4
        limits.taskManagementFunctionsOfUnit = 2
        limits.heldRequests = 4
        limits.outputBacklog = 1 << 20
        self.limits = limits
        guard let engine = try? FileEngine(threads: 1),
            let reactor = try? Reactor.start(name: "fuzz", poolLimit: 64 << 20, fileEngine: engine)
        else { preconditionFailure("a reactor needs a thread") }
        self.reactor = reactor
        let target = Target(name: FuzzIdentity.targetName, alias: "fuzz", homeReactor: reactor)
        for (number, unit) in units.enumerated() { target.map(LogicalUnit(unit), at: number) }
        let targets = TargetDirectory()
        targets.add(target)
        server = ISCSIServer(
            reactors: [reactor], targets: targets, limits: limits,
            logger: Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() })
        guard let any = SocketAddress("127.0.0.1:0"), let address = try? server.addPortal(any) else {
            preconditionFailure("the server listens on the loopback interface")
        }
        self.address = address
    }

    /// A new connection to the server.
    func connect() -> StreamSocket {
        guard let socket = try? StreamSocket.connect(to: address) else {
            preconditionFailure("the server takes connections")
        }
        return socket
    }

    /// Waits until the reactor has done what was on its way before the call.
    func pass() { onReactor {} }

    /// Has the disks end their waiting commands.
    func letGo() {
        onReactor { for unit in self.units { unit.letGo() } }
    }

    /// Ends what a run has left behind, all of whose sockets are closed, and checks that nothing is held any more.
    func clear() throws(FuzzFinding) {
        try wait("connections end when their peers close them") { self.server.connectionCount == 0 }
        letGo()
        server.closeSessions(targetName: FuzzIdentity.targetName)
        try wait("sessions end when they are closed") { self.server.sessions().isEmpty }
        try wait("buffers are given back") { self.leasedBytes == 0 }
    }

    private var leasedBytes: Int {
        let bytes = Lock(0)
        let reactor = reactor
        onReactor { bytes.withLock { $0 = reactor.pool.leasedBytes } }
        return bytes.withLock { $0 }
    }

    private func wait(_ promise: String, _ condition: () -> Bool) throws(FuzzFinding) {
        let deadline = MonotonicTime.current() + Self.patience
        while !condition() {
            try require(MonotonicTime.current() < deadline, promise)
            letGo()
        }
    }

    private func onReactor(_ work: @escaping @Sendable () -> Void) {
        let done = DispatchSemaphore(value: 0)
        precondition(
            reactor.post {
                work()
                done.signal()
            })
        done.wait()
    }
}

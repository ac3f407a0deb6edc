import Bytes
import DeviceTestSupport
import Fabric
import Platform
import SCSI
import SRP
import TargetCore
import TestSupport
import Testing

@testable import SRPPort

/// A test could not go on.
struct TestFailure: Error, CustomStringConvertible {
    let description: String
}

/// What a test makes its server and its fabric with.
struct PortSetup {
    var pace = LoopbackPace.immediate
    var transport = FabricTransport.roce
    var deviceLimits = DeviceLimits()
    var limits = SRPPortLimits()
    /// The capacity of the disk, in blocks of 512 bytes.
    var blockCount = 4096
    /// The disk is a serial unit of the server's first reactor.
    var isSerial = false
    /// The reactors of the server, which poll by themselves; none when the test polls.
    var reactorCount = 0
}

/// A server with a target of one disk, and initiators, all polled by hand on one reactor.
final class PortFixture {
    static let address = SocketAddress("127.0.0.1:5555")!
    static let targetPort = SRPPortIdentifier(identifierExtension: 0x1122_3344_5566_7788, guid: 0x0200_00FF_FE00_0001)

    let setup: PortSetup
    let fabric: LoopbackFabric
    let reactor: Reactor
    let server: SRPServer
    let table = SRPTargetTable()
    let device: MemoryDevice
    let unit: LogicalUnit
    let target: Target
    let initiators: FabricContext
    private let serverPort: ReactorPort
    private let leasedBefore: Int
    /// The reactors of the server when these poll by themselves.
    let serverReactors: [Reactor]
    /// What the server keeps its initiators from; by initiator port.
    private let refused = Refusals()

    init(_ setup: PortSetup = PortSetup(), targets: (any SRPTargets)? = nil) throws {
        self.setup = setup
        guard let reactor = Bench.current else { throw TestFailure(description: "not on the reactor of a bench") }
        self.reactor = reactor
        leasedBefore = reactor.pool.leasedBytes
        serverReactors = try (0..<setup.reactorCount).map { try Bench.makeReactor($0) }
        let loop = LoopbackDevice(
            name: "loop0", transport: setup.transport, limits: setup.deviceLimits, hosts: ["127.0.0.1", "127.0.0.2"])
        fabric = LoopbackFabric(devices: [loop], pace: setup.pace)
        device = MemoryDevice(
            blockCount: setup.blockCount, homeReactor: setup.isSerial ? serverReactors[0] : nil)
        unit = LogicalUnit(device)
        target = Target(name: "iqn.2026-11.dev.carousel:memory", alias: "memory", homeReactor: nil)
        target.map(unit, at: 0)
        table.add(
            SRPTargetPort(
                identifier: Self.targetPort, target: target, relativeIdentifier: 7, groupIdentifier: 1))
        let refused = refused
        server = SRPServer(
            reactors: serverReactors.isEmpty ? [reactor] : serverReactors, provider: fabric,
            targets: targets ?? table, limits: setup.limits, isPolledByHand: serverReactors.isEmpty,
            loginRefused: { refusal in refused.list.withLock { $0.append(refusal) } },
            portalEnded: { tag in refused.endedPortals.withLock { $0.append(tag) } })
        serverPort = server.registry.withLock { $0.ports[0] }
        initiators = try FabricContext(provider: fabric, reactor: nil)
        let result = Lock<Result<SocketAddress?, FabricError>?>(nil)
        // Not on the reactor that new nexuses are for.
        server.addPortal(Self.address, tag: 1, reactor: max(0, setup.reactorCount - 1)) { outcome in
            result.withLock { $0 = outcome }
        }
        while result.withLock({ $0 == nil }) { sleepMilliseconds(1) }
        _ = try result.withLock { try $0?.get() }
    }

    private final class Refusals: Sendable {
        let list = Lock<[SRPRefusedLogin]>([])
        let endedPortals = Lock<[UInt16]>([])
    }

    /// Portals whose end the server has told of.
    var endedPortals: [UInt16] { refused.endedPortals.withLock { $0 } }
    /// Logins that the server has told of.
    var refusedLogins: [SRPRefusedLogin] { refused.list.withLock { $0 } }
    /// The channels of the server.
    var channels: [Channel] { serverPort.sessions.flatMap(\.channels) }
    /// The fabric of the server.
    var context: FabricContext? { serverPort.context }

    /// Does all there is to do; with reactors that poll by themselves, until the condition holds and nothing comes for
    /// a while.
    func settle(until condition: () -> Bool = { true }) {
        if !serverReactors.isEmpty { return settleThreads(condition) }
        for _ in 0..<1_000_000 {
            let hasStepped = fabric.step()
            let hasPolled = initiators.poll()
            let hasPolledServer = serverPort.context?.poll() ?? false
            if !hasStepped, !hasPolled, !hasPolledServer { return }
        }
        Issue.record("it does not settle")
    }

    private func settleThreads(_ condition: () -> Bool) {
        let deadline = MonotonicTime.current() + .seconds(20)
        var quiet = 0
        while quiet < 20 || !condition() {
            quiet = initiators.poll() ? 0 : quiet + 1
            if quiet > 0 { sleepMilliseconds(1) }
            if MonotonicTime.current() > deadline {
                Issue.record("it does not settle")
                return
            }
        }
    }

    /// Ends the commands that wait.
    func letGo() {
        device.letGo()
        for reactor in serverReactors { reactor.postCompletion { [device] in device.letGo() } }
    }

    /// One step of what is to be done, which `choice` decides.
    func step(_ choice: Int) {
        switch choice % 3 {
        case 0: _ = fabric.step()
        case 1: _ = initiators.poll()
        default: _ = serverPort.context?.poll()
        }
    }

    /// An initiator with that number that has not logged in.
    func initiator(_ number: UInt64 = 1) throws -> TestInitiator {
        try TestInitiator(self, number: number)
    }

    /// An initiator that has logged in and knows of its unit attention.
    func loggedIn(_ number: UInt64 = 1, _ change: (inout SRPLoginRequest) -> Void = { _ in }) throws -> TestInitiator {
        let initiator = try initiator(number)
        try initiator.logIn(change)
        guard initiator.response != nil else { throw TestFailure(description: "login: \(initiator.outcome)") }
        _ = initiator.run(.testUnitReady)
        return initiator
    }

    /// Ends everything, and expects that nothing is left: no region, no queue pair, no lease, no slot.
    func finish() {
        let stopped = Lock(false)
        server.stop { stopped.withLock { $0 = true } }
        for _ in 0..<8 where !stopped.withLock({ $0 }) { settle { stopped.withLock { $0 } } }
        #expect(stopped.withLock { $0 }, "the server has not stopped")
        letGo()
        settle { target.nexuses.isEmpty && server.registry.withLock { $0.nexusCount } == 0 }
        initiators.close()
        let usage = fabric.usage
        #expect(usage.isEmpty, "\(usage)")
        #expect(reactor.pool.leasedBytes == leasedBefore, "leases are left")
        for reactor in serverReactors {
            let leased = Lock(-1)
            reactor.postCompletion { leased.withLock { $0 = reactor.pool.leasedBytes } }
            while leased.withLock({ $0 }) < 0 { sleepMilliseconds(1) }
            #expect(leased.withLock { $0 } == 0, "leases are left")
        }
        for reactor in serverReactors { reactor.stop() }
        #expect(server.channelCount == 0)
        #expect(server.registry.withLock { $0.connectingCount } == 0)
        #expect(server.registry.withLock { $0.nexusCount } == 0, "a nexus is left")
        #expect(server.counters.bufferBytes == 0)
        #expect(target.nexuses.isEmpty)
    }
}

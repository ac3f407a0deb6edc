import Bytes
import DeviceTestSupport
import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import Synchronization
import TargetCore
import Testing

/// A server on two reactors with one target, and initiators for it.
final class PortFixture: @unchecked Sendable {
    static let targetName = "iqn.2026-11.dev.carousel:memory"
    let engine: FileEngine
    let reactors: [Reactor]
    let device = MemoryDevice()
    let unit: LogicalUnit
    let target: Target
    let targets = TargetDirectory()
    let server: ISCSIServer
    let address: SocketAddress
    /// The time of the reactors where a test decides on it.
    private let clock: ManualClock?

    init(
        access: any AccessControl = OpenAccess(), limits: PortLimits = PortLimits(), poolLimit: Int = 256 << 20,
        timerLimit: Int = Reactor.timerLimit, clock: ManualClock? = nil,
        loginRefused: @escaping @Sendable (RefusedLogin) -> Void = { _ in }
    ) throws {
        self.clock = clock
        idle = try StreamSocket.pair()
        engine = try FileEngine(threads: 1)
        var reactors: [Reactor] = []
        for index in 0..<2 {
            reactors.append(
                try Reactor.start(
                    name: "port-\(index)", index: index, poolLimit: poolLimit, timerLimit: timerLimit,
                    fileEngine: engine, clock: clock?.clock ?? .system))
        }
        self.reactors = reactors
        target = Target(name: Self.targetName, alias: "memory", homeReactor: nil)
        unit = LogicalUnit(device)
        target.map(unit, at: 0)
        targets.add(target)
        server = ISCSIServer(
            reactors: reactors, targets: targets, access: access, limits: limits, loginRefused: loginRefused)
        address = try server.addPortal(#require(SocketAddress("127.0.0.1:0")))
    }

    deinit {
        let server = server
        let reactors = reactors
        let engine = engine
        // A reactor's end must not wait for the test's thread.
        Task.detached {
            await server.stop(gracePeriod: .milliseconds(1))
            engine.stop()
            for reactor in reactors { reactor.stop() }
        }
    }

    /// Logs in with settings that `change` has changed, and takes the unit attention of the new nexus.
    func initiator(_ change: (inout InitiatorSettings) -> Void = { _ in }) throws -> BlockingInitiator {
        var settings = InitiatorSettings(targetName: Self.targetName)
        change(&settings)
        let initiator = try BlockingInitiator.logIn(to: address, settings)
        _ = try initiator.waitUntilReady(LogicalUnitNumber(0))
        return initiator
    }

    /// An initiator without login.
    func rawInitiator() throws -> BlockingInitiator {
        try BlockingInitiator(connectingTo: address, InitiatorSettings(targetName: Self.targetName))
    }

    /// Waits until `condition` holds; false after five seconds.
    func eventually(_ condition: () -> Bool) -> Bool {
        let deadline = MonotonicTime.current() + .seconds(5)
        while !condition() {
            if MonotonicTime.current() > deadline { return false }
            _ = idle.0.waitUntilReady(timeout: .milliseconds(2))
        }
        return true
    }
    /// Waits, for a peer that takes its time.
    func pause(_ duration: Duration) -> Bool { idle.0.waitUntilReady(timeout: duration) }

    /// A socket on which nothing ever comes: waiting for it is a sleep.
    private let idle: (StreamSocket, StreamSocket)

    /// The bytes that leases of all reactors hold.
    var leasedBytes: Int { sum { $0.pool.leasedBytes } }

    /// The timers that are pending on all reactors.
    var pendingTimers: Int { sum(\.pendingTimers) }

    /// The sum of a number of each reactor, taken on its thread.
    private func sum(_ number: @escaping @Sendable (Reactor) -> Int) -> Int {
        let total = Lock(0)
        let count = Atomic(0)
        for reactor in reactors {
            reactor.post {
                total.withLock { $0 += number(reactor) }
                count.add(1, ordering: .releasing)
            }
        }
        while count.load(ordering: .acquiring) < reactors.count { _ = idle.0.waitUntilReady(timeout: .milliseconds(1)) }
        return total.withLock { $0 }
    }

    /// Moves the clock on, when the reactors have handled what was sent to them before.
    func advance(by duration: Duration) {
        // A turn may have begun before the last of it came; the next one has it.
        for _ in 0..<2 { _ = sum { _ in 0 } }
        clock?.advance(by: duration, on: reactors)
    }

    /// Keeps a reactor from doing anything until what is given back is called.
    func block(_ reactor: Reactor) -> () -> Void {
        let isReleased = Released()
        reactor.post { [idle] in
            while !isReleased.flag.load(ordering: .acquiring) { _ = idle.0.waitUntilReady(timeout: .milliseconds(1)) }
        }
        return { isReleased.flag.store(true, ordering: .releasing) }
    }

    private final class Released: Sendable { let flag = Atomic(false) }

    /// Ends waiting commands.
    func letGo() {
        for reactor in reactors { reactor.post { [device] in device.letGo() } }
    }
}

let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])

/// A command of a vendor that no device here knows.
let unknownCommand = CommandDescriptorBlock([0xEE, 0, 0, 0, 0, 0])

func read10(_ block: Int, _ count: Int) -> CommandDescriptorBlock {
    var bytes: [UInt8] = [OperationCode.read10, 0]
    bytes.appendBE32(UInt32(block))
    bytes.append(0)
    bytes.appendBE16(UInt16(count))
    return CommandDescriptorBlock(bytes + [0])
}

func write10(_ block: Int, _ count: Int) -> CommandDescriptorBlock {
    var bytes: [UInt8] = [OperationCode.write10, 0]
    bytes.appendBE32(UInt32(block))
    bytes.append(0)
    bytes.appendBE16(UInt16(count))
    return CommandDescriptorBlock(bytes + [0])
}

/// Bytes that tell their place.
func pattern(_ count: Int, seed: Int = 0) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 8) ^ seed) }
}

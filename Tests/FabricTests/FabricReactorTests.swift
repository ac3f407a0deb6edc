import Bytes
import Fabric
import Platform
import Synchronization
import TestSupport
import Testing

/// An end on a reactor of its own, which answers each message with another.
private final class Echo: QueuePairHandler, ListenerHandler, RouteHandler, @unchecked Sendable {
    static let length = 128
    static let depth = 32

    let reactor: Reactor
    let provider: LoopbackFabric
    let messages: Int
    let depth: Int
    let isClient: Bool
    let received = Atomic<Int>(0)
    let closings = Atomic<Int>(0)
    /// The rest is the reactor's.
    var context: FabricContext?
    var lease: BufferLeaseHolder?
    var arena: RegisteredArena?
    var sent = 0
    var pair: QueuePair?
    var listener: FabricListener?

    init(_ reactor: Reactor, _ provider: LoopbackFabric, messages: Int, depth: Int, isClient: Bool) {
        self.reactor = reactor
        self.provider = provider
        self.messages = messages
        self.depth = depth
        self.isClient = isClient
    }

    func start() throws {
        let context = try FabricContext(provider: provider, reactor: reactor)
        self.context = context
        if isClient {
            _ = try context.resolve(TestFabric.address, handler: self)
        } else {
            listener = try context.listen(on: TestFabric.address, handler: self)
        }
    }

    private func prepare(_ domain: ProtectionDomain) throws -> QueuePairCapabilities {
        arena = try domain.register(reactor.pool, access: .localWrite)
        lease = BufferLeaseHolder(try reactor.pool.required(2 * Self.depth * Self.length))
        return QueuePairCapabilities(sends: Self.depth, receives: Self.depth)
    }

    private func entry(_ slot: Int) -> ScatterEntry {
        lease!.entry(arena!, offset: slot * Self.length, length: Self.length)
    }

    private func begin(_ pair: QueuePair) {
        self.pair = pair
        for slot in 0..<Self.depth { #expect(pair.receive(entry(slot), id: UInt64(slot)) == .posted) }
    }

    func connectionRequested(_ request: ConnectionRequest) {
        do {
            let domain = try context!.domain(on: request.device(in: context!))
            let pair = try request.makeQueuePair(in: domain, prepare(domain), handler: self)
            begin(pair)
            try pair.accept(ConnectionParameters())
        } catch { Issue.record(error) }
    }

    func listenerEnded(_ listener: FabricListener) {}

    func resolved(_ route: FabricRoute) {
        do {
            let domain = try context!.domain(on: route.device())
            let pair = try route.makeQueuePair(in: domain, prepare(domain), handler: self)
            begin(pair)
            try pair.connect(ConnectionParameters())
        } catch { Issue.record(error) }
    }

    func failed(_ route: FabricRoute, _ failure: ConnectFailure) { Issue.record("\(failure)") }

    func established(_ queuePair: QueuePair, _ parameters: ConnectionParameters) {
        if isClient { for _ in 0..<depth { send(queuePair) } }
    }

    private func send(_ pair: QueuePair) {
        guard sent < messages else { return }
        sent += 1
        #expect(pair.send(entry(Self.depth + sent % Self.depth), id: 1000) == .posted)
    }

    func completed(_ completion: Completion, on queuePair: QueuePair) {
        guard completion.opcode == .receive, completion.status == .success else { return }
        #expect(queuePair.receive(entry(Int(completion.id)), id: completion.id) == .posted)
        received.store(received.load(ordering: .relaxed) + 1, ordering: .releasing)
        send(queuePair)
    }

    func closed(_ queuePair: QueuePair, _ reason: CloseReason) { closings.add(1, ordering: .releasing) }

    func stop() {
        pair = nil
        context?.close()
        lease = nil
        arena = nil
        listener = nil
        context = nil
    }
}

/// A lease, and its entries.
final class BufferLeaseHolder {
    private let lease: BufferLease

    init(_ lease: consuming BufferLease) {
        self.lease = lease
    }

    func entry(_ arena: RegisteredArena, offset: Int, length: Int) -> ScatterEntry {
        arena.entry(for: lease, offset: offset, length: length)!
    }
}

@Suite("Fabric: reactors")
struct FabricReactorTests {
    private func onReactor(_ reactor: Reactor, _ body: @escaping @Sendable () -> Void) async {
        await withCheckedContinuation { continuation in
            reactor.post {
                body()
                continuation.resume()
            }
        }
    }

    /// Client and server exchange messages; how long each took, in nanoseconds.
    private func exchange(messages: Int, depth: Int, sameReactor: Bool) async throws -> Int {
        let engine = try FileEngine(threads: 1, queueLimit: 4)
        let first = try Reactor.start(name: "first", poolLimit: 64 << 20, fileEngine: engine)
        let second = try Reactor.start(name: "second", poolLimit: 64 << 20, fileEngine: engine)
        let fabric = LoopbackFabric()
        let server = Echo(first, fabric, messages: .max, depth: depth, isClient: false)
        let client = Echo(sameReactor ? first : second, fabric, messages: messages, depth: depth, isClient: true)
        await onReactor(first) {
            do { try server.start() } catch { Issue.record(error) }
        }
        let start = MonotonicTime.current()
        await onReactor(client.reactor) {
            do { try client.start() } catch { Issue.record(error) }
        }
        while client.received.load(ordering: .acquiring) < messages {
            try await Task.sleep(for: .microseconds(200))
        }
        let time = MonotonicTime.current() - start
        await onReactor(client.reactor) { client.pair?.close() }
        while server.closings.load(ordering: .acquiring) == 0 || client.closings.load(ordering: .acquiring) == 0 {
            try await Task.sleep(for: .milliseconds(1))
        }
        await onReactor(client.reactor) { client.stop() }
        await onReactor(first) { server.stop() }
        #expect(fabric.usage.isEmpty)
        engine.stop()
        first.stop()
        second.stop()
        return Int(time.wholeNanoseconds) / messages
    }

    @Test("Messages between two reactors, which sleep and are woken", arguments: [1, 16])
    func twoReactors(depth: Int) async throws {
        let time = try await exchange(messages: Effort.isFull ? 100_000 : 10_000, depth: depth, sameReactor: false)
        print("two reactors, \(depth) messages at a time: \(time) ns for a message and its answer")
    }

    @Test("Messages within one reactor", arguments: [1, 16])
    func oneReactor(depth: Int) async throws {
        let time = try await exchange(messages: Effort.isFull ? 1_000_000 : 20_000, depth: depth, sameReactor: true)
        print("one reactor, \(depth) messages at a time: \(time) ns for a message and its answer")
    }

    @Test("The regions of an arena are registered as they come, and once for each domain; an entry is in its region")
    func arena() throws {
        let pool = BufferPool(limit: 160 << 20)
        let early = try pool.required(4096)
        let fabric = try TestFabric()
        let domain = try fabric.target.domain(on: fabric.fabric.devices()[0])
        let arena = try domain.register(pool, access: .localWrite)
        #expect(try domain.register(pool, access: .localWrite) === arena)
        #expect(pool.arena.isPinned)
        let counters = fabric.target.counters
        #expect(counters.registeredRegions == 1 && counters.registeredBytes == BufferArena.regionLength)
        let entry = arena.entry(for: early, offset: 100, length: 50)
        let address = unsafe early.withUnsafeMutableMemory { UInt64(UInt(bitPattern: $0.baseAddress)) }
        #expect(entry?.length == 50)
        #expect(entry?.address == address + 100)
        var leases: [BufferLeaseBox] = []
        for _ in 0..<8 { leases.append(BufferLeaseBox(try pool.required(16 << 20))) }
        #expect(counters.registeredBytes == 160 << 20)
        #expect(fabric.fabric.usage.registeredBytes == 160 << 20)
        fabric.finish()
        #expect(!pool.arena.isPinned)
        let after = arena.entry(for: early, length: 1)
        #expect(after == nil)
    }

    @Test("Memory that cannot be registered: the pool has none of it, and the reason is a sentence")
    func registration() throws {
        let pool = BufferPool(limit: 128 << 20)
        let fabric = try TestFabric()
        let domain = try fabric.target.domain(on: fabric.fabric.devices()[0])
        var faults = LoopbackFaults()
        faults.registration = .max
        let lease = try pool.required(4096)
        #expect(lease.capacity == 4096)
        fabric.fabric.setFaults(faults)
        #expect(throws: FabricError.self) { _ = try domain.register(pool, access: .localWrite) }
        fabric.fabric.setFaults(LoopbackFaults())
        _ = try domain.register(pool, access: .localWrite)
        fabric.fabric.setFaults(faults)
        var leases: [BufferLeaseBox] = []
        while let lease = pool.lease(capacity: 16 << 20) { leases.append(BufferLeaseBox(lease)) }
        #expect(leases.count == 3)
        fabric.finish()
    }

    @Test("A completion queue is never promised to more requests than it holds")
    func completionQueues() throws {
        var setup = TestSetup()
        setup.limits.completions = 40
        setup.capabilities = QueuePairCapabilities(sends: 10, receives: 10)
        let fabric = try TestFabric(setup)
        var connections: [TestConnection] = []
        for _ in 0..<5 { connections.append(try fabric.connect()) }
        #expect(fabric.fabric.usage.completionQueues == 10)
        setup.capabilities = QueuePairCapabilities(sends: 30, receives: 30)
        let route = try fabric.route()
        #expect(throws: FabricError.limitReached("entries of a completion queue")) {
            _ = try route.makeQueuePair(
                in: fabric.initiator.domain(on: route.device()), setup.capabilities, handler: Recorder())
        }
        for connection in connections {
            connection.initiator.close()
            connection.target.close()
        }
        fabric.settle()
        fabric.finish()
    }
}

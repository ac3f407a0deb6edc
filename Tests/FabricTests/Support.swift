import Bytes
import Fabric
import Platform
import Testing

/// A test could not go on.
struct TestFailure: Error, CustomStringConvertible {
    let description: String
}

/// Memory of a test that is registered with a domain.
@safe final class TestMemory {
    private let memory: UnsafeMutableRawBufferPointer
    let domain: ProtectionDomain
    let region: MemoryRegion

    init(_ domain: ProtectionDomain, _ length: Int, _ access: AccessRights) throws {
        unsafe memory = .allocate(byteCount: length, alignment: 4096)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
        self.domain = domain
        do {
            region = unsafe try domain.register(memory, access: access)
        } catch {
            unsafe memory.deallocate()
            throw error
        }
    }

    deinit {
        unsafe memory.deallocate()
    }

    func end() { domain.deregister(region) }

    func entry(_ offset: Int = 0, _ length: Int) -> ScatterEntry { region.entry(offset: offset, length: length) }

    func bytes(_ offset: Int, _ count: Int) -> [UInt8] { unsafe Array(memory[offset..<offset + count]) }

    func fill(_ bytes: [UInt8], at offset: Int = 0) {
        for (index, byte) in bytes.enumerated() { unsafe memory[offset + index] = byte }
    }
}

/// Writes down what it is told.
final class Recorder: QueuePairHandler {
    var completions: [Completion] = []
    var established: ConnectionParameters?
    var closed: CloseReason?
    var closings = 0
    /// Called with each completion, after it is written down.
    var whenCompleted: ((Completion, QueuePair) -> Void)?
    var whenEstablished: ((QueuePair) -> Void)?

    func established(_ queuePair: QueuePair, _ parameters: ConnectionParameters) {
        #expect(established == nil && closings == 0)
        established = parameters
        whenEstablished?(queuePair)
    }

    func completed(_ completion: Completion, on queuePair: QueuePair) {
        #expect(closings == 0, "nothing follows the end")
        completions.append(completion)
        whenCompleted?(completion, queuePair)
    }

    func closed(_ queuePair: QueuePair, _ reason: CloseReason) {
        closed = reason
        closings += 1
    }

    var statuses: [CompletionStatus] { completions.map(\.status) }
    var ids: [UInt64] { completions.map(\.id) }

    /// What has been written down since the last call.
    func take() -> [Completion] {
        defer { completions = [] }
        return completions
    }
}

/// Takes requests and answers them as the test wants.
final class TestListener: ListenerHandler {
    var requests: [ConnectionRequest] = []
    var ended = 0
    var answer: ((ConnectionRequest) -> Void)?

    func connectionRequested(_ request: ConnectionRequest) {
        if let answer { answer(request) } else { requests.append(request) }
    }

    func listenerEnded(_ listener: FabricListener) { ended += 1 }
}

final class TestRoute: RouteHandler {
    var resolved: FabricRoute?
    var failure: ConnectFailure?

    func resolved(_ route: FabricRoute) { resolved = route }
    func failed(_ route: FabricRoute, _ failure: ConnectFailure) { self.failure = failure }
}

/// What a connection of a test is made with.
struct TestSetup {
    var pace = LoopbackPace.immediate
    var transport = FabricTransport.roce
    var limits = DeviceLimits()
    var hasInvalidation = true
    /// The target is on another device than the initiator.
    var hasTwoDevices = false
    var capabilities = QueuePairCapabilities(
        sends: 16, receives: 16, sendEntries: 4, receiveEntries: 4, inlineLength: 64)
    var request = ConnectionParameters(privateData: [1, 2, 3])
    var reply = ConnectionParameters(privateData: [4, 5])
}

/// A fabric with two contexts that are polled by hand: an initiator and a target, and a connection between them.
final class TestFabric {
    static let address = SocketAddress("127.0.0.1:3260")!

    let setup: TestSetup
    let fabric: LoopbackFabric
    let initiator: FabricContext
    let target: FabricContext
    let listenerHandler = TestListener()
    private(set) var listener: FabricListener?

    init(_ setup: TestSetup = TestSetup()) throws {
        self.setup = setup
        let target = LoopbackDevice(
            name: "loop0", transport: setup.transport, limits: setup.limits, hasInvalidation: setup.hasInvalidation,
            hosts: setup.hasTwoDevices ? ["127.0.0.1"] : ["127.0.0.1", "127.0.0.2", "::1"])
        let initiator = LoopbackDevice(
            name: "loop1", transport: setup.transport, limits: setup.limits, hasInvalidation: setup.hasInvalidation,
            hosts: ["127.0.0.2"])
        fabric = LoopbackFabric(devices: setup.hasTwoDevices ? [target, initiator] : [target], pace: setup.pace)
        self.initiator = try FabricContext(provider: fabric, reactor: nil)
        self.target = try FabricContext(provider: fabric, reactor: nil)
        listener = try self.target.listen(on: Self.address, handler: listenerHandler)
    }

    /// Does all there is to do.
    func settle() {
        var rounds = 0
        while true {
            let hasStepped = fabric.step()
            let hasPolled = initiator.poll()
            let hasPolledTarget = target.poll()
            if !hasStepped && !hasPolled && !hasPolledTarget { return }
            rounds += 1
            if rounds > 1_000_000 { Issue.record("it does not settle"); return }
        }
    }

    /// The way to the target.
    func route() throws -> FabricRoute {
        let handler = TestRoute()
        let source = SocketAddress("127.0.0.2:0")
        _ = try initiator.resolve(Self.address, from: source, handler: handler)
        settle()
        guard let route = handler.resolved else { throw TestFailure(description: "no way: \(handler.failure as Any)") }
        return route
    }

    /// An end that connects, and has posted nothing yet.
    func makeActive(_ recorder: Recorder) throws -> QueuePair {
        let route = try route()
        let domain = try initiator.domain(on: route.device())
        return try route.makeQueuePair(in: domain, setup.capabilities, handler: recorder)
    }

    /// The request that has come last.
    func takeRequest() throws -> ConnectionRequest {
        guard let request = listenerHandler.requests.popLast() else {
            throw TestFailure(description: "no request has come")
        }
        return request
    }

    /// A connection, with both ends.
    func connect() throws -> TestConnection {
        let active = Recorder()
        let passive = Recorder()
        let activePair = try makeActive(active)
        try activePair.connect(setup.request)
        settle()
        let request = try takeRequest()
        let domain = try target.domain(on: request.device(in: target))
        let passivePair = try request.makeQueuePair(in: domain, setup.capabilities, handler: passive)
        try passivePair.accept(setup.reply)
        settle()
        guard active.established != nil, passive.established != nil else {
            throw TestFailure(description: "not established")
        }
        return TestConnection(
            fabric: self, initiator: activePair, target: passivePair, atInitiator: active, atTarget: passive)
    }

    /// Ends everything, and expects that nothing is left.
    func finish() {
        initiator.close()
        target.close()
        listener = nil
        let usage = fabric.usage
        #expect(usage.isEmpty, "\(usage)")
        for context in [initiator, target] {
            let counters = context.counters
            #expect(counters.registeredBytes == 0 && counters.registeredRegions == 0 && counters.windows == 0)
            #expect(counters.queuePairs == 0 && counters.postedReceives == 0 && counters.postedSends == 0)
            #expect(counters.strayCompletions == 0)
        }
    }
}

/// Both ends of a connection, each with memory.
final class TestConnection {
    let fabric: TestFabric
    let initiator: QueuePair
    let target: QueuePair
    let atInitiator: Recorder
    let atTarget: Recorder
    private var memories: [TestMemory] = []

    init(fabric: TestFabric, initiator: QueuePair, target: QueuePair, atInitiator: Recorder, atTarget: Recorder) {
        self.fabric = fabric
        self.initiator = initiator
        self.target = target
        self.atInitiator = atInitiator
        self.atTarget = atTarget
    }

    /// Memory at that end.
    func memory(
        at pair: QueuePair, _ access: AccessRights = [.localWrite], length: Int = 64 << 10
    ) throws -> TestMemory {
        let memory = try TestMemory(pair.domain, length, access)
        memories.append(memory)
        return memory
    }

    func settle() { fabric.settle() }

    /// Ends the connection and the fabric, and expects that nothing is left.
    func finish() {
        initiator.close()
        target.close()
        settle()
        #expect(atInitiator.closings == 1)
        #expect(atTarget.closings == 1)
        for memory in memories { memory.end() }
        memories = []
        fabric.finish()
    }
}

import Bytes
import Fabric
import Platform
import TestSupport
import Testing

/// What a queue pair of the simulation has posted, as a model: each request ends once, each queue in order.
private final class Model: QueuePairHandler {
    struct Request {
        let id: UInt64
        let opcode: WorkOpcode
        let isSignaled: Bool
        let slot: Int
    }

    let name: String
    var sends: [Request] = []
    var receives: [Request] = []
    var isEstablished = false
    var closed: CloseReason?
    /// Pieces of memory that no request uses.
    var freeSlots: [Int]
    let slots: Int
    var ended = 0
    var failures: [CompletionStatus: Int] = [:]
    /// The Sends that were posted, and how many messages of the peer have come.
    var sent: [UInt64] = []
    var received = 0
    weak var peer: Model?
    /// The id that stands at the start of a slot.
    var idInSlot: ((Int) -> UInt64)?

    init(_ name: String, slots: Int) {
        self.name = name
        self.slots = slots
        freeSlots = Array(0..<slots)
    }

    func established(_ queuePair: QueuePair, _ parameters: ConnectionParameters) {
        #expect(!isEstablished && closed == nil)
        isEstablished = true
    }

    func completed(_ completion: Completion, on queuePair: QueuePair) {
        #expect(closed == nil)
        if completion.status != .success {
            failures[completion.status, default: 0] += 1
        } else {
            #expect(completion.opcode == .receive || queuePair.state != .closed)
        }
        if completion.opcode == .receive {
            if completion.status == .success { check(receives.first?.slot) }
            finish(&receives, completion)
        } else {
            // Silent requests before it have succeeded.
            while let first = sends.first, first.id != completion.id, !first.isSignaled { drop(&sends) }
            finish(&sends, completion)
        }
    }

    /// Messages come in the order in which they were posted, with their content.
    private func check(_ slot: Int?) {
        guard let slot, let idInSlot, let peer, received < peer.sent.count else {
            Issue.record("\(name): a message that nobody has sent")
            return
        }
        #expect(idInSlot(slot) == peer.sent[received])
        received += 1
    }

    private func finish(_ queue: inout [Request], _ completion: Completion) {
        guard let first = queue.first else { Issue.record("\(name): \(completion) was not posted"); return }
        #expect(first.id == completion.id, "\(name): out of order")
        #expect(first.opcode == completion.opcode)
        #expect(first.isSignaled || completion.status != .success)
        drop(&queue)
    }

    private func drop(_ queue: inout [Request]) {
        freeSlots.append(queue.removeFirst().slot)
        ended += 1
    }

    func closed(_ queuePair: QueuePair, _ reason: CloseReason) {
        #expect(closed == nil)
        closed = reason
        #expect(sends.allSatisfy { !$0.isSignaled }, "\(name): not all signaled requests have ended")
        #expect(receives.isEmpty)
        while !sends.isEmpty { drop(&sends) }
        #expect(freeSlots.count == slots)
    }
}

/// Two ends that post at random; each Send's content says which it is, so that the order is seen at the receiver.
private final class Pair {
    let initiator: QueuePair
    let target: QueuePair
    let models: [Model]
    let memories: [TestMemory]
    var window: MemoryWindow?

    init(_ initiator: QueuePair, _ target: QueuePair, _ models: [Model], _ memories: [TestMemory]) {
        self.initiator = initiator
        self.target = target
        self.models = models
        self.memories = memories
    }

    var isOver: Bool { models.allSatisfy { $0.closed != nil } }
}

@Suite("Loopback: simulation")
struct SimulationTests {
    private static let slots = 32
    private static let slotLength = 256

    private struct Run {
        let fabric: TestFabric
        var random: SeededRandom
        var pairs: [Pair] = []
        var nextID: UInt64 = 1
        var posted = 0
        var ended = 0
        var connections = 0
        var failures: [CompletionStatus: Int] = [:]
    }

    /// Requests at random on connections that come and go, with faults; the model holds after each step.
    @Test(
        "Each request ends once and in order, and nothing leaks: 100,000 steps (a tenth without --all)",
        arguments: [FabricTransport.roce, .iWARP], [UInt64(1), 2, 3])
    func random(transport: FabricTransport, seed: UInt64) throws {
        var setup = TestSetup()
        setup.transport = transport
        setup.pace = .stepped(seed: seed)
        setup.request.rnrRetryCount = seed == 1 ? 7 : 3
        setup.reply.rnrRetryCount = seed == 1 ? 7 : 3
        setup.hasTwoDevices = true
        let fabric = try TestFabric(setup)
        var faults = LoopbackFaults()
        faults.lostMessage = 60
        faults.localFailure = 60
        faults.remoteFailure = 60
        faults.queuePairFailure = 60
        faults.lostConnection = 2000
        var run = Run(fabric: fabric, random: SeededRandom(seed: seed))
        for _ in 0..<(Effort.isFull ? 100_000 : 10_000) {
            fabric.fabric.setFaults(faults)
            if run.pairs.count < 3 {
                fabric.fabric.setFaults(LoopbackFaults())
                try connect(&run)
            }
            act(&run)
            try collect(&run)
        }
        for pair in run.pairs {
            pair.initiator.close()
            pair.target.close()
        }
        fabric.settle()
        try collect(&run)
        #expect(run.pairs.isEmpty)
        #expect(run.ended == run.posted)
        #expect(run.connections > 3)
        #expect(run.failures.keys.contains(.workRequestFlushedError))
        #expect(run.failures.count > 3, "\(run.failures)")
        print("\(transport), seed \(seed): \(run.posted) requests, \(run.connections) connections, \(run.failures)")
        fabric.finish()
    }

    private func connect(_ run: inout Run) throws {
        let models = [Model("initiator", slots: Self.slots), Model("target", slots: Self.slots)]
        let route = try run.fabric.route()
        let setup = run.fabric.setup
        let initiator = try route.makeQueuePair(
            in: run.fabric.initiator.domain(on: route.device()), setup.capabilities, handler: models[0])
        try initiator.connect(setup.request)
        run.fabric.settle()
        let request = try run.fabric.takeRequest()
        let target = try request.makeQueuePair(
            in: run.fabric.target.domain(on: request.device(in: run.fabric.target)), setup.capabilities,
            handler: models[1])
        var reply = request.parameters.accepting(on: target.domain.device)
        reply.rnrRetryCount = setup.reply.rnrRetryCount
        try target.accept(reply)
        // Behind the slots is what the peer writes to.
        let length = (Self.slots + 1) * Self.slotLength
        let all: AccessRights = [.localWrite, .remoteRead, .remoteWrite, .windowBind]
        let memories = [
            try TestMemory(initiator.domain, length, all),
            try TestMemory(target.domain, length, target.domain.device.readSinkAccess),
        ]
        for (index, model) in models.enumerated() {
            let memory = memories[index]
            model.peer = models[1 - index]
            model.idInSlot = { slot in
                memory.bytes(slot * Self.slotLength, 8).reduce(0) { $0 << 8 | UInt64($1) }
            }
        }
        let pair = Pair(initiator, target, models, memories)
        pair.window = try initiator.domain.makeWindow()
        run.pairs.append(pair)
        run.connections += 1
    }

    /// One thing at random.
    private func act(_ run: inout Run) {
        switch Int.random(in: 0..<100, using: &run.random) {
        case 0..<35: _ = run.fabric.fabric.step()
        case 35..<45: _ = run.fabric.initiator.poll()
        case 45..<55: _ = run.fabric.target.poll()
        case 55..<99: post(&run)
        default:
            guard Int.random(in: 0..<8, using: &run.random) == 0, let pair = run.pairs.randomElement(using: &run.random)
            else { return }
            (Bool.random(using: &run.random) ? pair.initiator : pair.target).close()
        }
    }

    private func post(_ run: inout Run) {
        guard let pair = run.pairs.randomElement(using: &run.random) else { return }
        let side = Int.random(in: 0...1, using: &run.random)
        let queuePair = side == 0 ? pair.initiator : pair.target
        let model = pair.models[side]
        guard model.closed == nil, let slot = model.freeSlots.popLast() else { return }
        let id = run.nextID
        run.nextID += 1
        let entry = pair.memories[side].entry(slot * Self.slotLength, Self.slotLength)
        var options: WorkOptions = []
        if Int.random(in: 0..<4, using: &run.random) > 0 { options.insert(.signaled) }
        if Int.random(in: 0..<8, using: &run.random) == 0 { options.insert(.fenced) }
        var opcode = WorkOpcode.receive
        let remote = pair.memories[1 - side].region
        // Now and then one that is not permitted.
        let isWrong = Int.random(in: 0..<400, using: &run.random) == 0
        let address = remote.address &+ UInt64(Self.slots * Self.slotLength) &+ (isWrong ? 1 << 20 : 0)
        var result: PostResult
        switch Int.random(in: 0..<10, using: &run.random) {
        case 0..<5: result = queuePair.receive(entry, id: id)
        case 5..<7:
            opcode = .send
            let bytes = (0..<8).map { UInt8(truncatingIfNeeded: id >> (56 - 8 * UInt64($0))) }
            pair.memories[side].fill(bytes, at: slot * Self.slotLength)
            result = queuePair.send(entry, id: id, options: options)
        case 7 where side == 0 && Int.random(in: 0..<8, using: &run.random) == 0:
            // Bound or invalidated at random: what is in the wrong order ends the connection.
            opcode = Bool.random(using: &run.random) ? .bindWindow : .localInvalidate
            result = .notConnected
            if opcode == .localInvalidate {
                result = queuePair.invalidate(pair.window!.remoteKey, id: id, options: options)
            } else {
                result = queuePair.bind(
                    &pair.window!, to: pair.memories[0].region, offset: 0, length: 512, access: .remoteRead, id: id,
                    options: options)
            }
        case 8 where side == 1 && Int.random(in: 0..<16, using: &run.random) == 0:
            opcode = .sendWithInvalidate
            let bytes = (0..<8).map { UInt8(truncatingIfNeeded: id >> (56 - 8 * UInt64($0))) }
            pair.memories[side].fill(bytes, at: slot * Self.slotLength)
            result = queuePair.send(entry, id: id, options: options, invalidating: pair.window!.remoteKey)
        case 7 where side == 1:
            opcode = .rdmaRead
            result = queuePair.read(entry, from: address, key: remote.remoteKey, id: id, options: options)
        default:
            guard side == 1 else {
                model.freeSlots.append(slot)
                return
            }
            opcode = .rdmaWrite
            result = queuePair.write(entry, to: address, key: remote.remoteKey, id: id, options: options)
        }
        guard result == .posted else {
            #expect([.queueFull, .notConnected].contains(result))
            model.freeSlots.append(slot)
            return
        }
        run.posted += 1
        let request = Model.Request(
            id: id, opcode: opcode, isSignaled: opcode == .receive || options.contains(.signaled), slot: slot)
        if opcode == .send || opcode == .sendWithInvalidate { model.sent.append(id) }
        if opcode == .receive { model.receives.append(request) } else { model.sends.append(request) }
    }

    /// Takes the connections out that are over, and gives their memory back.
    private func collect(_ run: inout Run) throws {
        // A side whose peer is gone may not notice by itself, as with InfiniBand: somebody above has a timer.
        for pair in run.pairs where pair.models.contains(where: { $0.closed != nil }) {
            pair.initiator.close()
            pair.target.close()
        }
        for pair in run.pairs where pair.isOver {
            if let window = pair.window { pair.initiator.domain.free(window) }
            for memory in pair.memories { memory.end() }
            for model in pair.models {
                run.ended += model.ended
                run.failures.merge(model.failures) { $0 + $1 }
            }
        }
        run.pairs.removeAll { $0.isOver }
        // The provider's count and that of the contexts are the same, but for what has not been rung or polled.
        let usage = run.fabric.fabric.usage
        let regions =
            run.fabric.initiator.counters.registeredRegions + run.fabric.target.counters.registeredRegions
        guard usage.regions == regions, usage.regions == 2 * run.pairs.count else {
            throw TestFailure(description: "\(usage.regions) regions are registered")
        }
    }
}

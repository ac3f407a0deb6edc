import Bytes
import Fabric
import Platform
import TestSupport
import Testing

@Suite("Loopback: connections")
struct LoopbackConnectionTests {
    @Test("Private data and depths reach the other side, both ways", arguments: [UInt64(0), 1, 2, 3])
    func establishment(seed: UInt64) throws {
        var setup = TestSetup()
        if seed > 0 { setup.pace = .stepped(seed: seed) }
        setup.request = ConnectionParameters(
            responderResources: 5, initiatorDepth: 1, retryCount: 7, rnrRetryCount: 6, privateData: [9, 8, 7])
        setup.reply = ConnectionParameters(responderResources: 1, initiatorDepth: 5, privateData: [6, 5])
        let fabric = try TestFabric(setup)
        let active = Recorder()
        let pair = try fabric.makeActive(active)
        try pair.connect(setup.request)
        fabric.settle()
        let request = try fabric.takeRequest()
        // Behind the private data there are zeros.
        #expect(request.parameters.privateData == [9, 8, 7] + [UInt8](repeating: 0, count: 53))
        // Each side's view: what the peer has outstanding, this side answers.
        #expect(request.parameters.responderResources == 1 && request.parameters.initiatorDepth == 5)
        #expect(request.addresses.local == TestFabric.address)
        #expect(request.addresses.peer?.host == "127.0.0.2")
        let device = try request.device(in: fabric.target)
        let accepted = request.parameters.accepting(on: device, privateData: [6, 5])
        #expect(accepted.responderResources == 1 && accepted.initiatorDepth == 5)
        let passive = Recorder()
        let other = try request.makeQueuePair(
            in: fabric.target.domain(on: device), setup.capabilities, handler: passive)
        try other.accept(accepted)
        fabric.settle()
        #expect(active.established?.privateData == [6, 5] + [UInt8](repeating: 0, count: 194))
        #expect(active.established?.responderResources == 5 && active.established?.initiatorDepth == 1)
        #expect(passive.established?.privateData == request.parameters.privateData)
        #expect(pair.state == .established && other.state == .established)
        pair.close()
        fabric.settle()
        #expect(active.closed == .local)
        #expect(passive.closed == .peer)
        fabric.finish()
    }

    @Test("A request that is rejected says why; one that is dropped is rejected")
    func rejection() throws {
        let fabric = try TestFabric()
        for reason in [[UInt8]([1, 2, 3, 4]), nil] {
            let recorder = Recorder()
            let pair = try fabric.makeActive(recorder)
            try pair.connect(fabric.setup.request)
            fabric.settle()
            if let reason { fabric.listenerHandler.requests.last?.reject(privateData: reason) }
            fabric.listenerHandler.requests = []
            fabric.settle()
            let expected = ConnectFailure.rejected(
                reason: RejectReason.consumerDefined,
                privateData: (reason ?? []) + [UInt8](repeating: 0, count: 148 - (reason?.count ?? 0)))
            #expect(recorder.closed == .notConnected(expected))
            #expect(recorder.established == nil)
        }
        fabric.finish()
    }

    @Test("Nobody listens, or nobody knows the address")
    func nobody() throws {
        let fabric = try TestFabric()
        fabric.listener?.close()
        let recorder = Recorder()
        let pair = try fabric.makeActive(recorder)
        try pair.connect(fabric.setup.request)
        fabric.settle()
        let refused = ConnectFailure.rejected(
            reason: RejectReason.invalidServiceID, privateData: [UInt8](repeating: 0, count: 148))
        #expect(recorder.closed == .notConnected(refused))
        let route = TestRoute()
        _ = try fabric.initiator.resolve(SocketAddress("192.0.2.1:3260")!, handler: route)
        fabric.settle()
        #expect(route.failure == .notResolved(Errno.noSuchAddress))
        fabric.finish()
    }

    @Test("A peer that does not answer, and a listener whose backlog is full")
    func unreachable() throws {
        let fabric = try TestFabric()
        var faults = LoopbackFaults()
        faults.lostConnection = .max
        fabric.fabric.setFaults(faults)
        let recorder = Recorder()
        let pair = try fabric.makeActive(recorder)
        // 65,535 of 65,536 chances: the first may succeed.
        try pair.connect(fabric.setup.request)
        fabric.settle()
        fabric.fabric.setFaults(LoopbackFaults())
        if fabric.listenerHandler.requests.isEmpty {
            #expect(recorder.closed == .notConnected(.unreachable(Errno.timedOut)))
        }
        let small = TestListener()
        let listener = try fabric.target.listen(
            on: SocketAddress("127.0.0.1:0")!, backlog: 3, handler: small)
        let address = try #require(listener.address)
        #expect(address.port ?? 0 != 0)
        var recorders: [Recorder] = []
        for _ in 0..<5 {
            let handler = TestRoute()
            _ = try fabric.initiator.resolve(address, handler: handler)
            fabric.settle()
            let route = try #require(handler.resolved)
            let recorder = Recorder()
            recorders.append(recorder)
            let pair = try route.makeQueuePair(
                in: fabric.initiator.domain(on: route.device()), fabric.setup.capabilities, handler: recorder)
            try pair.connect(fabric.setup.request)
        }
        fabric.settle()
        #expect(small.requests.count == 3)
        #expect(recorders.map { $0.closed != nil } == [false, false, false, true, true])
        // Those that were answered make room.
        small.requests = []
        fabric.settle()
        #expect(recorders.allSatisfy { $0.closings == 1 })
        listener.close()
        fabric.listenerHandler.requests = []
        fabric.finish()
    }

    @Test("10,000 requests (a tenth without --all) are rejected, and nothing is left of them")
    func flood() throws {
        let fabric = try TestFabric()
        fabric.listenerHandler.answer = { $0.reject(privateData: [7]) }
        for _ in 0..<(Effort.isFull ? 10_000 : 1_000) {
            let recorder = Recorder()
            let pair = try fabric.makeActive(recorder)
            try pair.connect(fabric.setup.request)
            fabric.settle()
            #expect(recorder.closings == 1)
        }
        #expect(fabric.fabric.usage.queuePairs == 0)
        #expect(fabric.fabric.usage.endpoints == 1)
        fabric.finish()
    }

    @Test("Private data has limits, and a state can be wrong")
    func limits() throws {
        let fabric = try TestFabric()
        let recorder = Recorder()
        let pair = try fabric.makeActive(recorder)
        #expect(throws: FabricError.privateDataTooLong(57, limit: 56)) {
            try pair.connect(ConnectionParameters(privateData: [UInt8](repeating: 0, count: 57)))
        }
        #expect(throws: FabricError.self) { try pair.accept(ConnectionParameters()) }
        #expect(throws: FabricError.self) { try pair.connect(ConnectionParameters(responderResources: 200)) }
        try pair.connect(ConnectionParameters(privateData: [UInt8](repeating: 1, count: 56)))
        #expect(throws: FabricError.self) { try pair.connect(ConnectionParameters()) }
        fabric.settle()
        let request = try fabric.takeRequest()
        let domain = try fabric.target.domain(on: request.device(in: fabric.target))
        let other = try request.makeQueuePair(in: domain, fabric.setup.capabilities, handler: Recorder())
        #expect(throws: FabricError.privateDataTooLong(197, limit: 196)) {
            try other.accept(ConnectionParameters(privateData: [UInt8](repeating: 0, count: 197)))
        }
        #expect(throws: FabricError.self) {
            _ = try request.makeQueuePair(in: domain, fabric.setup.capabilities, handler: Recorder())
        }
        try other.accept(ConnectionParameters(privateData: [UInt8](repeating: 0, count: 196)))
        fabric.settle()
        #expect(recorder.established?.privateData.count == 196)
        #expect(throws: FabricError.self) {
            _ = try fabric.target.listen(on: TestFabric.address, handler: TestListener())
        }
        #expect(throws: FabricError.self) {
            _ = try fabric.target.listen(on: SocketAddress("192.0.2.1:1")!, handler: TestListener())
        }
        fabric.finish()
    }

    @Test("A peer that gives up while its request waits: accepting fails, and nothing is left")
    func givenUp() throws {
        let fabric = try TestFabric()
        let recorder = Recorder()
        let pair = try fabric.makeActive(recorder)
        try pair.connect(fabric.setup.request)
        fabric.settle()
        pair.close()
        fabric.settle()
        #expect(recorder.closed == .local)
        let request = try fabric.takeRequest()
        let passive = Recorder()
        let other = try request.makeQueuePair(
            in: fabric.target.domain(on: request.device(in: fabric.target)), fabric.setup.capabilities,
            handler: passive)
        #expect(throws: FabricError.self) { try other.accept(fabric.setup.reply) }
        other.close()
        fabric.settle()
        #expect(passive.closed == .local)
        fabric.finish()
    }

    @Test("A device disappears: all requests end as flushed, listeners and connections end")
    func removal() throws {
        var setup = TestSetup()
        setup.hasTwoDevices = true
        let fabric = try TestFabric(setup)
        let connection = try fabric.connect()
        let memory = try TestMemory(connection.target.domain, 4096, [.localWrite])
        let other = try connection.memory(at: connection.initiator)
        for id in 0..<4 { #expect(connection.target.receive(memory.entry(0, 64), id: UInt64(id)) == .posted) }
        fabric.settle()
        fabric.fabric.removeDevice("loop0")
        fabric.settle()
        #expect(connection.atTarget.closed == .deviceRemoved)
        #expect(connection.atTarget.statuses == [CompletionStatus](repeating: .workRequestFlushedError, count: 4))
        #expect(fabric.listenerHandler.ended == 1)
        #expect(throws: FabricError.noDevice("loop0")) {
            _ = try memory.domain.makeWindow()
        }
        #expect(connection.initiator.send(other.entry(0, 8), id: 9) == .posted)
        fabric.settle()
        #expect(connection.atInitiator.statuses == [.transportRetryCounterExceeded])
        #expect(connection.atInitiator.closed == .workRequest(.transportRetryCounterExceeded))
        memory.end()
        connection.finish()
    }

    @Test("A sender that waits for a receive learns that the device of its peer is gone", arguments: [UInt64(0), 4])
    func removalUnderWaiting(seed: UInt64) throws {
        var setup = TestSetup()
        setup.hasTwoDevices = true
        if seed > 0 { setup.pace = .stepped(seed: seed) }
        let connection = try TestFabric(setup).connect()
        let memory = try connection.memory(at: connection.initiator)
        #expect(connection.initiator.send(memory.entry(0, 8), id: 9) == .posted)
        connection.settle()
        #expect(connection.atInitiator.completions.isEmpty)
        connection.fabric.fabric.removeDevice("loop0")
        connection.settle()
        #expect(connection.atInitiator.statuses == [.transportRetryCounterExceeded])
        connection.finish()
    }

    @Test("A handler closes the context it is called by: all requests end, nothing is left")
    func closedByHandler() throws {
        let connection = try TestFabric().connect()
        let other = try connection.fabric.connect()
        let memory = try TestMemory(connection.target.domain, 4096, .localWrite)
        let context = connection.fabric.target
        var isClosed = false
        connection.atTarget.whenCompleted = { _, _ in
            if isClosed { return }
            isClosed = true
            memory.end()
            context.close()
        }
        for id in 0..<4 { #expect(connection.target.receive(memory.entry(0, 64), id: UInt64(id)) == .posted) }
        connection.settle()
        let nothing: [ScatterEntry] = []
        for id in 0..<4 { #expect(connection.initiator.send(nothing.span, id: UInt64(id)) == .posted) }
        connection.settle()
        #expect(isClosed)
        #expect(connection.atTarget.completions.count == 4 && connection.atTarget.closed == .local)
        #expect(other.atTarget.closed == .local && other.atInitiator.closed == .peer)
        connection.fabric.finish()
    }

    @Test("The port of a device goes down: the observer is told")
    func port() throws {
        final class Observer: FabricContextObserver {
            var changes: [Bool] = []
            func deviceRemoved(_ device: FabricDevice) {}
            func portChanged(_ device: FabricDevice, isActive: Bool) { changes.append(isActive) }
        }
        let fabric = try TestFabric()
        let connection = try fabric.connect()
        let observer = Observer()
        fabric.target.observer = observer
        fabric.fabric.reportPort(of: "loop0", isActive: false)
        fabric.fabric.reportPort(of: "loop0", isActive: true)
        fabric.settle()
        #expect(observer.changes == [false, true])
        connection.finish()
    }
}

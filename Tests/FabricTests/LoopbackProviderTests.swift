import Bytes
import Fabric
import Glibc
import Platform
import Testing

/// Two queue pairs that are connected, by the calls of the provider itself: for what the classes above it prevent.
private final class Bare {
    let fabric = LoopbackFabric()
    let channel: WatchedHandle
    let domain: WatchedHandle
    let queues: [WatchedHandle]
    let endpoints: [FabricHandle]
    let pairs: [FabricHandle]
    let listener: FabricHandle

    init(completions: Int) throws {
        channel = try fabric.openChannel()
        domain = try fabric.openDomain(on: "loop0")
        queues = [
            try fabric.openCompletionQueue(capacity: completions, in: domain.handle),
            try fabric.openCompletionQueue(capacity: completions, in: domain.handle),
        ]
        listener = try fabric.listen(on: TestFabric.address, backlog: 1, channel: channel.handle, context: 1).endpoint
        let active = try fabric.resolve(
            TestFabric.address, from: nil, timeout: .seconds(1), channel: channel.handle, context: 2)
        let capabilities = QueuePairCapabilities(sends: 8, receives: 8)
        let first = try fabric.makeQueuePair(
            capabilities, endpoint: active, domain: domain.handle, queue: queues[0].handle, context: 2)
        try fabric.connect(active, ConnectionParameters())
        var passive = FabricHandle.none
        while let event = fabric.nextEvent(of: channel.handle) {
            if event.kind == .requested { passive = event.endpoint }
        }
        let second = try fabric.makeQueuePair(
            capabilities, endpoint: passive, domain: domain.handle, queue: queues[1].handle, context: 3)
        try fabric.accept(passive, ConnectionParameters())
        endpoints = [active, passive]
        pairs = [first, second]
    }

    func send(_ options: WorkOptions = .signaled) {
        let requests = [SendWorkRequest(id: 1, opcode: .send, options: options, entryCount: 0)]
        let nothing: [ScatterEntry] = []
        #expect(fabric.postSends(requests.span, nothing.span, to: pairs[0]) == 1)
    }

    func receive() {
        let requests = [ReceiveWorkRequest(id: 2, entryCount: 0)]
        let nothing: [ScatterEntry] = []
        #expect(fabric.postReceives(requests.span, nothing.span, to: pairs[1]) == 1)
    }

    func take(_ index: Int) -> [Completion] {
        var places = [Completion](repeating: Completion(id: 0, status: .success, opcode: .send), count: 16)
        var span = places.mutableSpan
        let count = fabric.poll(queues[index].handle, into: &span)
        return Array(places[..<count])
    }

    /// Whether the descriptor is readable.
    func isReadable(_ watched: WatchedHandle) -> Bool {
        var entry = pollfd(fd: watched.fileDescriptor, events: Int16(POLLIN), revents: 0)
        return unsafe Glibc.poll(&entry, 1, 0) == 1
    }

    func finish() {
        for pair in pairs { fabric.destroyQueuePair(pair) }
        for endpoint in endpoints + [listener] { fabric.destroyEndpoint(endpoint) }
        for queue in queues { fabric.closeCompletionQueue(queue.handle) }
        fabric.closeDomain(domain.handle)
        fabric.closeChannel(channel.handle)
        #expect(fabric.usage.isEmpty)
    }
}

@Suite("Loopback: the provider")
struct LoopbackProviderTests {
    @Test("An armed queue makes its descriptor readable once; armed for solicited ones, only by those and by failures")
    func arming() throws {
        let bare = try Bare(completions: 16)
        let queue = bare.queues[1]
        for _ in 0..<6 { bare.receive() }
        bare.send()
        #expect(!bare.isReadable(queue))
        bare.fabric.arm(queue.handle, solicitedOnly: false)
        // What has come before the arming does not count.
        #expect(!bare.isReadable(queue))
        bare.send()
        #expect(bare.isReadable(queue))
        bare.fabric.acknowledgeEvents(of: queue.handle)
        #expect(!bare.isReadable(queue))
        bare.send()
        #expect(!bare.isReadable(queue))
        bare.fabric.arm(queue.handle, solicitedOnly: true)
        bare.send()
        #expect(!bare.isReadable(queue))
        bare.send([.signaled, .solicited])
        #expect(bare.isReadable(queue))
        bare.fabric.acknowledgeEvents(of: queue.handle)
        // Armed for the next one, a wish for solicited ones takes nothing away.
        bare.fabric.arm(queue.handle, solicitedOnly: false)
        bare.fabric.arm(queue.handle, solicitedOnly: true)
        bare.send()
        #expect(bare.isReadable(queue))
        bare.fabric.acknowledgeEvents(of: queue.handle)
        #expect(bare.take(1).count == 6)
        bare.receive()
        bare.fabric.arm(queue.handle, solicitedOnly: true)
        bare.fabric.fail(bare.pairs[1])
        #expect(bare.isReadable(queue))
        #expect(bare.take(1).map(\.status) == [.workRequestFlushedError])
        bare.finish()
    }

    @Test("A completion queue that overruns reports nothing any more, and the domain is told")
    func overrun() throws {
        let bare = try Bare(completions: 2)
        for _ in 0..<3 { bare.receive() }
        for _ in 0..<2 { bare.send() }
        #expect(bare.fabric.nextAsynchronousEvent(of: bare.domain.handle) == nil)
        bare.send()
        #expect(bare.isReadable(bare.domain))
        #expect(bare.fabric.nextAsynchronousEvent(of: bare.domain.handle)?.kind == .completionQueueError)
        #expect(bare.take(1).count == 2)
        bare.receive()
        bare.fabric.fail(bare.pairs[1])
        #expect(bare.take(1).isEmpty)
        bare.finish()
    }

    @Test("What does not fit a queue is not taken, and neither is what is behind it")
    func fullQueue() throws {
        let bare = try Bare(completions: 64)
        let nothing: [ScatterEntry] = []
        let receives = [ReceiveWorkRequest](repeating: ReceiveWorkRequest(id: 1, entryCount: 0), count: 10)
        #expect(bare.fabric.postReceives(receives.span, nothing.span, to: bare.pairs[1]) == 8)
        let sends = [SendWorkRequest](
            repeating: SendWorkRequest(id: 1, opcode: .send, options: .signaled, entryCount: 2), count: 3)
        #expect(bare.fabric.postSends(sends.span, nothing.span, to: bare.pairs[0]) == 0)
        bare.finish()
    }

    @Test("Handles that are gone reach nothing")
    func stale() throws {
        let bare = try Bare(completions: 4)
        bare.finish()
        #expect(bare.take(0).isEmpty)
        #expect(bare.fabric.nextEvent(of: bare.channel.handle) == nil)
        #expect(throws: FabricError.self) { try bare.fabric.accept(bare.endpoints[1], ConnectionParameters()) }
        bare.fabric.disconnect(bare.endpoints[0])
        bare.fabric.fail(bare.pairs[0])
        bare.fabric.destroyQueuePair(bare.pairs[0])
        bare.fabric.arm(bare.queues[0].handle, solicitedOnly: false)
        #expect(bare.fabric.usage.isEmpty)
    }

    @Test("A request is accepted by another context than the listener's, and its events go there")
    func otherContext() throws {
        let fabric = try TestFabric()
        let third = try FabricContext(provider: fabric.fabric, reactor: nil)
        let active = Recorder()
        let pair = try fabric.makeActive(active)
        try pair.connect(fabric.setup.request)
        fabric.settle()
        let request = try fabric.takeRequest()
        let passive = Recorder()
        let other = try request.makeQueuePair(
            in: third.domain(on: request.device(in: third)), fabric.setup.capabilities, handler: passive)
        try other.accept(fabric.setup.reply)
        fabric.settle()
        #expect(active.established != nil && passive.established == nil)
        while third.poll() {}
        #expect(passive.established != nil)
        pair.close()
        fabric.settle()
        while third.poll() {}
        #expect(passive.closed == .peer)
        third.close()
        fabric.finish()
    }
}

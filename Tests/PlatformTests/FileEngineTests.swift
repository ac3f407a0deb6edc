import Bytes
import Platform
import Synchronization
import TestSupport
import Testing

@Suite("File engine")
struct FileEngineTests {
    /// Submits requests and notes how they end, on the reactor.
    final class Client: FileRequestOwner, @unchecked Sendable {
        let reactor: Reactor
        private(set) var requests: [FileRequest] = []
        var completed: [Int] = []
        var results: [FileResult] = []
        var wasOnReactor = true

        init(reactor: Reactor, count: Int) {
            self.reactor = reactor
            for number in 0..<count {
                let request = FileRequest(owner: self)
                request.context = number
                requests.append(request)
            }
        }

        func fileRequestCompleted(_ request: FileRequest) {
            wasOnReactor = wasOnReactor && reactor.isCurrent
            completed.append(request.context)
            results.append(request.result)
        }

        func waitForCompletions(_ count: Int) async throws {
            while await onReactor(reactor, { self.completed.count }) < count {
                try await Task.sleep(for: .milliseconds(1))
            }
        }
    }

    @Test("A read comes back with its lease on the submitting reactor; writes take a header")
    func readAndWrite() async throws {
        let fixture = try ReactorFixture()
        let reactor = fixture.reactor
        let temporary = try TemporaryFile()
        let file = temporary.file
        let client = Client(reactor: reactor, count: 1)
        await onReactor(reactor) {
            let request = client.requests[0]
            request.operation = .write
            request.store = file
            request.setHeader([0xAA, 0xBB].rawSpan)
            request.payload.lease = reactor.pool.lease(capacity: 4096)
            request.payload.lease?.assign([1, 2, 3])
            request.count = 3
            request.fileOffset = 0
            #expect(reactor.fileEngine.submit(request, on: reactor))
            #expect(request.isSubmitted)
        }
        try await client.waitForCompletions(1)
        await onReactor(reactor) {
            let request = client.requests[0]
            #expect(!request.isSubmitted)
            request.operation = .read
            request.store = file
            request.count = 100
            #expect(reactor.fileEngine.submit(request, on: reactor))
        }
        try await client.waitForCompletions(2)
        let (bytes, leased, onThread) = await onReactor(reactor) {
            let lease = client.requests[0].payload.lease.take()
            var bytes: [UInt8] = []
            if let lease { bytes = lease.bytes.copyToArray() }
            return (bytes, reactor.pool.leasedBytes, client.wasOnReactor)
        }
        #expect(bytes == [0xAA, 0xBB, 1, 2, 3])
        #expect(client.results == [.done(5), .done(5)])
        #expect(leased == 0)
        #expect(onThread)
    }

    /// Holds threads until it is opened.
    final class Gate: Sendable {
        private let isOpen = Atomic<Bool>(false)
        private let reached = Atomic<Int>(0)

        /// The operation that is held.
        var operation: FileRequest.Operation {
            .call { [self] in
                reached.add(1, ordering: .relaxed)
                while !isOpen.load(ordering: .relaxed) { sleepMilliseconds(1) }
                return 0
            }
        }

        func open() { isOpen.store(true, ordering: .relaxed) }

        func waitUntilReached(by count: Int = 1) async throws {
            while reached.load(ordering: .relaxed) < count { try await Task.sleep(for: .milliseconds(1)) }
        }
    }

    @Test("A lane's requests run in order; its queue is bounded for first steps, and takes further steps always")
    func orderAndBounds() async throws {
        let fixture = try ReactorFixture(threads: 1)
        let reactor = fixture.reactor
        let lane = Lane(engine: fixture.engine, waitingLimit: 8, concurrency: 1)
        let gate = Gate()
        let client = Client(reactor: reactor, count: 12)
        await onReactor(reactor) {
            client.requests[0].operation = gate.operation
            #expect(lane.submit(client.requests[0], on: reactor))
        }
        try await gate.waitUntilReached()
        await onReactor(reactor) {
            for number in 1...11 { client.requests[number].operation = .call { Int32(number) } }
            for number in 1...8 { #expect(lane.submit(client.requests[number], on: reactor)) }
            #expect(!lane.submit(client.requests[9], on: reactor))
            #expect(!client.requests[9].isSubmitted)
            for number in 10...11 { lane.submitContinuation(client.requests[number], on: reactor) }
            #expect(lane.waitingCount == 10)
        }
        gate.open()
        try await client.waitForCompletions(11)
        let completed = await onReactor(reactor) { client.completed }
        #expect(completed == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11])
        #expect(client.results == [.done(0)] + [1, 2, 3, 4, 5, 6, 7, 8, 10, 11].map { .failed($0) })
    }

    @Test("Lanes take turns: a backlog delays another lane by one request")
    func turns() async throws {
        let fixture = try ReactorFixture(threads: 1)
        let reactor = fixture.reactor
        let (held, long, short) = (
            Lane(engine: fixture.engine), Lane(engine: fixture.engine), Lane(engine: fixture.engine)
        )
        let gate = Gate()
        let client = Client(reactor: reactor, count: 104)
        await onReactor(reactor) {
            for request in client.requests { request.operation = .call { 0 } }
            client.requests[0].operation = gate.operation
            #expect(held.submit(client.requests[0], on: reactor))
        }
        try await gate.waitUntilReached()
        await onReactor(reactor) {
            for number in 1...100 { #expect(long.submit(client.requests[number], on: reactor)) }
            for number in 101...103 { #expect(short.submit(client.requests[number], on: reactor)) }
        }
        gate.open()
        try await client.waitForCompletions(104)
        let first = await onReactor(reactor) { Array(client.completed.prefix(7)) }
        #expect(first == [0, 1, 101, 2, 102, 3, 103])
    }

    @Test("Lanes that hang hold as many threads as they perform requests at a time; another lane is served")
    func hanging() async throws {
        let fixture = try ReactorFixture(threads: 8)
        let reactor = fixture.reactor
        let gate = Gate()
        let client = Client(reactor: reactor, count: 31)
        let hanging = (0..<3).map { _ in Lane(engine: fixture.engine, concurrency: 2) }
        let served = Lane(engine: fixture.engine, concurrency: 2)
        await onReactor(reactor) {
            for number in 0..<30 {
                client.requests[number].operation = gate.operation
                #expect(hanging[number % 3].submit(client.requests[number], on: reactor))
            }
        }
        try await gate.waitUntilReached(by: 6)
        await onReactor(reactor) {
            client.requests[30].operation = .call { 0 }
            #expect(served.submit(client.requests[30], on: reactor))
        }
        try await client.waitForCompletions(1)
        #expect(await onReactor(reactor) { client.completed } == [30])
        #expect(hanging.map(\.waitingCount) == [8, 8, 8])
        gate.open()
        try await client.waitForCompletions(31)
    }

    @Test("What an engine is given after its end comes back cancelled")
    func afterTheEnd() async throws {
        let fixture = try ReactorFixture()
        let reactor = fixture.reactor
        let engine = try FileEngine(threads: 2)
        let lane = Lane(engine: engine, concurrency: 1)
        let client = Client(reactor: reactor, count: 3)
        engine.stop()
        await onReactor(reactor) {
            for request in client.requests {
                request.operation = .call { 0 }
                #expect(lane.submit(request, on: reactor))
            }
        }
        try await client.waitForCompletions(3)
        let results = await onReactor(reactor) { client.results }
        #expect(results == Array(repeating: .failed(Errno.cancelled), count: 3))
    }

    @Test("Completions are delivered however many there are, when the mailbox refuses messages too")
    func completionsWithoutLimit() async throws {
        let fixture = try ReactorFixture()
        let reactor = fixture.reactor
        let count = Reactor.mailboxLimit + 1000
        let client = Client(reactor: reactor, count: count)
        let gate = Gate()
        final class Counter: Sendable { let value = Atomic<Int>(0) }
        let counter = Counter()
        reactor.post { if case .call(let wait) = gate.operation { _ = wait() } }
        try await gate.waitUntilReached()
        while reactor.post({}) {}
        for request in client.requests { reactor.postCompletion(of: request) }
        for _ in 0..<count { #expect(reactor.postCompletion { counter.value.add(1, ordering: .relaxed) }) }
        gate.open()
        while counter.value.load(ordering: .relaxed) < count { try await Task.sleep(for: .milliseconds(1)) }
        #expect(await onReactor(reactor) { client.completed } == Array(0..<count))
        #expect(client.results.allSatisfy { $0 == .done(0) })
    }
}

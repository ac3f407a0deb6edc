import Bytes
import Fabric
import Platform
import Testing

@Suite("Loopback: messages")
struct LoopbackMessageTests {
    /// What was expected of each side's requests.
    private func expect(
        _ recorder: Recorder, _ expected: [(UInt64, CompletionStatus)], _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(recorder.ids == expected.map(\.0), sourceLocation: location)
        #expect(recorder.statuses == expected.map(\.1), sourceLocation: location)
        recorder.completions = []
    }

    @Test("Messages arrive in order, each in a receive of its own", arguments: [UInt64(0), 5, 6])
    func order(seed: UInt64) throws {
        var setup = TestSetup()
        if seed > 0 { setup.pace = .stepped(seed: seed) }
        let connection = try TestFabric(setup).connect()
        let source = try connection.memory(at: connection.initiator)
        let sink = try connection.memory(at: connection.target)
        source.fill((0..<200).map { UInt8($0) })
        for number in 0..<8 {
            let entries = [sink.entry(number * 100, 10), sink.entry(number * 100 + 50, 40)]
            #expect(connection.target.receive(entries.span, id: UInt64(100 + number)) == .posted)
        }
        #expect(connection.target.postedReceives == 8)
        connection.settle()
        #expect(connection.fabric.fabric.usage.postedReceives == 8)
        for number in 0..<8 {
            let entries = [source.entry(number, 5), source.entry(100 + number, 0), source.entry(50 + number, 20)]
            #expect(connection.initiator.send(entries.span, id: UInt64(number)) == .posted)
        }
        connection.settle()
        expect(connection.atInitiator, (0..<8).map { ($0, .success) })
        let received = connection.atTarget.completions
        expect(connection.atTarget, (100..<108).map { ($0, .success) })
        #expect(received.allSatisfy { $0.byteCount == 25 && $0.opcode == .receive && $0.invalidatedKey == nil })
        for number in 0..<8 {
            let first = (0..<5).map { UInt8(number + $0) }
            let second = (0..<20).map { UInt8(50 + number + $0) }
            #expect(sink.bytes(number * 100, 10) == first + second[0..<5])
            #expect(sink.bytes(number * 100 + 50, 15) == Array(second[5...]))
        }
        #expect(connection.target.postedReceives == 0)
        connection.finish()
    }

    @Test("A message without bytes takes a receive, also one without entries")
    func empty() throws {
        let connection = try TestFabric().connect()
        let nothing: [ScatterEntry] = []
        #expect(connection.target.receive(nothing.span, id: 1) == .posted)
        #expect(connection.initiator.send(nothing.span, id: 2) == .posted)
        connection.settle()
        #expect(connection.atTarget.completions == [Completion(id: 1, status: .success, opcode: .receive)])
        expect(connection.atInitiator, [(2, .success)])
        connection.finish()
    }

    @Test("A sender without limit waits until there is a receive", arguments: [UInt64(0), 9])
    func notReady(seed: UInt64) throws {
        var setup = TestSetup()
        if seed > 0 { setup.pace = .stepped(seed: seed) }
        let connection = try TestFabric(setup).connect()
        let source = try connection.memory(at: connection.initiator)
        let sink = try connection.memory(at: connection.target)
        #expect(connection.initiator.send(source.entry(0, 8), id: 1) == .posted)
        #expect(connection.initiator.send(source.entry(0, 8), id: 2) == .posted)
        for _ in 0..<100 {
            connection.initiator.ring()
            _ = connection.fabric.fabric.step()
            _ = connection.fabric.initiator.poll()
        }
        #expect(connection.atInitiator.completions.isEmpty)
        #expect(connection.fabric.fabric.usage.receiverNotReady > 0)
        #expect(connection.target.receive(sink.entry(0, 8), id: 3) == .posted)
        #expect(connection.target.receive(sink.entry(0, 8), id: 4) == .posted)
        connection.settle()
        expect(connection.atInitiator, [(1, .success), (2, .success)])
        expect(connection.atTarget, [(3, .success), (4, .success)])
        connection.finish()
    }

    @Test("A sender with a limit tries that often, and then the connection is over", arguments: [UInt8(0), 1, 3])
    func retries(limit: UInt8) throws {
        var setup = TestSetup()
        setup.pace = .stepped(seed: 3)
        setup.reply.rnrRetryCount = limit
        let connection = try TestFabric(setup).connect()
        let source = try connection.memory(at: connection.initiator)
        #expect(connection.initiator.send(source.entry(0, 8), id: 1) == .posted)
        #expect(connection.initiator.send(source.entry(0, 8), id: 2) == .posted)
        connection.settle()
        #expect(connection.fabric.fabric.usage.receiverNotReady == 1 + Int(limit))
        expect(connection.atInitiator, [(1, .rnrRetryCounterExceeded), (2, .workRequestFlushedError)])
        #expect(connection.atInitiator.closed == .workRequest(.rnrRetryCounterExceeded))
        connection.finish()
    }

    @Test("iWARP: without a receive the connection is terminated")
    func terminated() throws {
        var setup = TestSetup()
        setup.transport = .iWARP
        let connection = try TestFabric(setup).connect()
        let source = try connection.memory(at: connection.initiator)
        #expect(connection.initiator.send(source.entry(0, 8), id: 1) == .posted)
        connection.settle()
        expect(connection.atInitiator, [(1, .remoteOperationError)])
        #expect(connection.atTarget.closed == .asynchronous(.queuePairFatal))
        connection.finish()
    }

    @Test("A message that is longer than its receive ends both sides")
    func tooLong() throws {
        let connection = try TestFabric().connect()
        let source = try connection.memory(at: connection.initiator)
        let sink = try connection.memory(at: connection.target)
        #expect(connection.target.receive(sink.entry(0, 8), id: 1) == .posted)
        #expect(connection.target.receive(sink.entry(0, 8), id: 2) == .posted)
        connection.settle()
        #expect(connection.initiator.send(source.entry(0, 9), id: 3) == .posted)
        #expect(connection.initiator.send(source.entry(0, 1), id: 4) == .posted)
        connection.settle()
        expect(connection.atInitiator, [(3, .remoteInvalidRequestError), (4, .workRequestFlushedError)])
        expect(connection.atTarget, [(1, .localLengthError), (2, .workRequestFlushedError)])
        #expect(connection.atInitiator.closed == .workRequest(.remoteInvalidRequestError))
        #expect(connection.atTarget.closed == .workRequest(.localLengthError))
        connection.finish()
    }

    @Test("A receive into memory that may not be written: a local protection error, a remote operation error")
    func protectedReceive() throws {
        let connection = try TestFabric().connect()
        let source = try connection.memory(at: connection.initiator)
        let sink = try connection.memory(at: connection.target, [])
        #expect(connection.target.receive(sink.entry(0, 8), id: 1) == .posted)
        connection.settle()
        #expect(connection.initiator.send(source.entry(0, 8), id: 3) == .posted)
        connection.settle()
        expect(connection.atInitiator, [(3, .remoteOperationError)])
        expect(connection.atTarget, [(1, .localProtectionError)])
        connection.finish()
    }

    @Test("Silent requests are not reported when they succeed, and are when they do not")
    func silence() throws {
        let connection = try TestFabric().connect()
        let source = try connection.memory(at: connection.initiator)
        let sink = try connection.memory(at: connection.target)
        // More than the queue holds: silent requests leave it with those that are signaled.
        for round in 0..<20 {
            for number in 0..<4 {
                #expect(connection.target.receive(sink.entry(0, 8), id: UInt64(number)) == .posted)
            }
            for number in 0..<4 {
                let id = UInt64(round * 4 + number)
                #expect(connection.initiator.send(source.entry(0, 8), id: id, options: []) == .posted)
            }
            connection.settle()
        }
        #expect(connection.atInitiator.completions.isEmpty)
        #expect(connection.atTarget.completions.count == 80)
        connection.atTarget.completions = []
        #expect(connection.target.receive(sink.entry(0, 8), id: 7) == .posted)
        connection.settle()
        #expect(connection.initiator.send(source.entry(0, 8), id: 1000, options: []) == .posted)
        #expect(connection.initiator.send(source.entry(0, 9), id: 1001, options: []) == .posted)
        connection.initiator.close()
        connection.settle()
        // The first may have gone or have been flushed; what is reported is in order, and once.
        #expect(connection.atInitiator.ids.filter { $0 == 1001 }.count == 1)
        #expect(connection.atInitiator.closings == 1)
        connection.finish()
    }

    @Test("Inline data is copied when it is posted, and needs no key; its length has a limit")
    func inline() throws {
        let connection = try TestFabric().connect()
        let source = try connection.memory(at: connection.initiator)
        let sink = try connection.memory(at: connection.target, [.localWrite, .remoteWrite])
        #expect(connection.target.receive(sink.entry(0, 64), id: 1) == .posted)
        source.fill([1, 2, 3, 4])
        var entry = source.entry(0, 4)
        entry.localKey = 0
        let options: WorkOptions = [.signaled, .inline]
        #expect(connection.initiator.send(entry, id: 2, options: options) == .posted)
        connection.initiator.ring()
        source.fill([0, 0, 0, 0])
        let region = sink.region
        let write = connection.initiator.write(
            source.entry(0, 4), to: region.address + 100, key: region.remoteKey, id: 3, options: options)
        #expect(write == .posted)
        connection.settle()
        #expect(sink.bytes(0, 4) == [1, 2, 3, 4])
        expect(connection.atInitiator, [(2, .success), (3, .success)])
        #expect(connection.initiator.send(source.entry(0, 65), id: 4, options: options) == .inlineTooLong)
        let read = connection.initiator.read(
            source.entry(0, 4), from: region.address, key: region.remoteKey, id: 5, options: options)
        #expect(read == .notSupported)
        connection.finish()
    }

    @Test("What does not fit is refused and changes nothing: entries, queues, states, lengths")
    func refusals() throws {
        var setup = TestSetup()
        setup.limits.messageLength = 10_000
        setup.limits.readEntries = 2
        setup.hasInvalidation = false
        let connection = try TestFabric(setup).connect()
        let source = try connection.memory(at: connection.initiator)
        let five = [ScatterEntry](repeating: source.entry(0, 1), count: 5)
        let three = [ScatterEntry](repeating: source.entry(0, 1), count: 3)
        #expect(connection.initiator.send(five.span, id: 1) == .tooManyEntries)
        #expect(connection.initiator.receive(five.span, id: 1) == .tooManyEntries)
        #expect(connection.initiator.read(three.span, from: 0, key: 0, id: 1) == .tooManyEntries)
        #expect(connection.initiator.send(source.entry(0, 10_001), id: 1) == .messageTooLong)
        #expect(connection.initiator.send(source.entry(0, 1), id: 1, invalidating: 5) == .notSupported)
        #expect(connection.initiator.invalidate(5, id: 1) == .notSupported)
        #expect(throws: FabricError.self) { _ = try connection.initiator.domain.makeWindow() }
        for id in 0..<16 { #expect(connection.initiator.send(source.entry(0, 1), id: UInt64(id)) == .posted) }
        #expect(connection.initiator.freeSends == 0)
        #expect(connection.initiator.send(source.entry(0, 1), id: 16) == .queueFull)
        for id in 0..<16 { #expect(connection.initiator.receive(source.entry(0, 1), id: UInt64(id)) == .posted) }
        #expect(connection.initiator.receive(source.entry(0, 1), id: 16) == .queueFull)
        connection.initiator.close()
        #expect(connection.initiator.send(source.entry(0, 1), id: 17) == .notConnected)
        #expect(connection.initiator.receive(source.entry(0, 1), id: 17) == .notConnected)
        connection.settle()
        #expect(connection.atInitiator.completions.count == 32)
        #expect(Set(connection.atInitiator.statuses) == [.workRequestFlushedError])
        #expect(connection.initiator.state == .closed)
        connection.finish()
    }

    @Test("Everything that is outstanding is flushed when the peer disconnects, each queue in order")
    func flushing() throws {
        for seed in UInt64(1)...20 {
            var setup = TestSetup()
            setup.pace = .stepped(seed: seed)
            let connection = try TestFabric(setup).connect()
            let source = try connection.memory(at: connection.initiator)
            for id in 0..<10 {
                #expect(connection.initiator.receive(source.entry(0, 8), id: UInt64(100 + id)) == .posted)
                #expect(connection.initiator.send(source.entry(0, 8), id: UInt64(id)) == .posted)
            }
            connection.initiator.ring()
            connection.target.close()
            connection.settle()
            #expect(connection.atInitiator.closings == 1)
            let ids = connection.atInitiator.ids
            #expect(ids.filter { $0 < 100 } == Array(0..<10))
            #expect(ids.filter { $0 >= 100 } == Array(100..<110))
            connection.finish()
        }
    }

    @Test("A message that is lost for good, or fails here or there, by rule")
    func rules() throws {
        let cases: [(CompletionStatus, WorkOpcode?)] = [
            (.transportRetryCounterExceeded, nil), (.localQueuePairOperationError, .send), (.fatalError, .send),
        ]
        for (status, opcode) in cases {
            let connection = try TestFabric().connect()
            let source = try connection.memory(at: connection.initiator)
            let sink = try connection.memory(at: connection.target)
            connection.fabric.fabric.addRule(LoopbackRule(opcode: opcode, device: "loop0", skip: 1, status: status))
            connection.fabric.fabric.addRule(LoopbackRule(opcode: .rdmaRead, status: .generalError))
            for id in 0..<3 { #expect(connection.target.receive(sink.entry(0, 8), id: UInt64(id)) == .posted) }
            connection.settle()
            for id in 0..<3 { #expect(connection.initiator.send(source.entry(0, 8), id: UInt64(id)) == .posted) }
            connection.settle()
            expect(connection.atInitiator, [(0, .success), (1, status), (2, .workRequestFlushedError)])
            #expect(connection.atInitiator.closed == .workRequest(status))
            expect(
                connection.atTarget,
                [(0, .success), (1, .workRequestFlushedError), (2, .workRequestFlushedError)])
            connection.finish()
        }
    }

    @Test("Statuses and errors read as the standards and as sentences say them")
    func names() {
        #expect(CompletionStatus.allCases.count == 22)
        #expect(Set(CompletionStatus.allCases.map(\.description)).count == 22)
        #expect(CompletionStatus.rnrRetryCounterExceeded.description == "RNR retry counter exceeded")
        #expect(CompletionStatus(rawValue: 12) == .transportRetryCounterExceeded)
        #expect(FabricError.noDevice("rxe0").description == "there is no RDMA device 'rxe0'")
        let failure = FabricError.failed(operation: "register memory", reason: "Cannot allocate memory", code: 12)
        #expect(failure.description == "register memory: Cannot allocate memory")
    }
}

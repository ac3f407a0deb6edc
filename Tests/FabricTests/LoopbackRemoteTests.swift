import Bytes
import Fabric
import Platform
import Testing

@Suite("Loopback: remote memory")
struct LoopbackRemoteTests {
    private func expect(
        _ recorder: Recorder, _ expected: [CompletionStatus], _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(recorder.take().map(\.status) == expected, sourceLocation: location)
    }

    /// A setup in which the target reads and writes the initiator's memory, as targets do.
    private func setup(_ transport: FabricTransport = .roce, seed: UInt64 = 0) -> TestSetup {
        var setup = TestSetup()
        setup.transport = transport
        if seed > 0 { setup.pace = .stepped(seed: seed) }
        return setup
    }

    @Test("A write and a read move what they name", arguments: [UInt64(0), 1, 2, 3, 4])
    func moves(seed: UInt64) throws {
        let connection = try TestFabric(setup(seed: seed)).connect()
        let remote = try connection.memory(at: connection.initiator, [.localWrite, .remoteRead, .remoteWrite])
        let local = try connection.memory(at: connection.target)
        local.fill([1, 2, 3, 4, 5, 6, 7, 8])
        remote.fill([11, 12, 13, 14, 15, 16], at: 1000)
        let region = remote.region
        let gathered = [local.entry(0, 3), local.entry(5, 3)]
        #expect(
            connection.target.write(gathered.span, to: region.address + 10, key: region.remoteKey, id: 1) == .posted)
        let scattered = [local.entry(100, 4), local.entry(200, 0), local.entry(300, 2)]
        #expect(
            connection.target.read(scattered.span, from: region.address + 1000, key: region.remoteKey, id: 2)
                == .posted)
        connection.settle()
        #expect(connection.atTarget.ids == [1, 2])
        expect(connection.atTarget, [.success, .success])
        #expect(remote.bytes(9, 8) == [0, 1, 2, 3, 6, 7, 8, 0])
        #expect(local.bytes(99, 6) == [0, 11, 12, 13, 14, 0])
        #expect(local.bytes(300, 3) == [15, 16, 0])
        // The other side has noticed nothing.
        #expect(connection.atInitiator.completions.isEmpty)
        connection.finish()
    }

    /// A fault of a key, an address or a right, and how it ends.
    struct Fault: Sendable, CustomTestStringConvertible {
        let name: String
        var access: AccessRights = [.localWrite, .remoteRead, .remoteWrite]
        var keyChange: UInt32 = 0
        var addressChange: Int64 = 0
        var length = 16
        var isRead = true
        let testDescription: String

        init(_ name: String, _ change: (inout Fault) -> Void) {
            self.name = name
            testDescription = name
            change(&self)
        }
    }

    static let faults = [
        Fault("a read of what may not be read") { $0.access = [.localWrite, .remoteWrite] },
        Fault("a write of what may not be written") {
            $0.access = [.localWrite, .remoteRead]
            $0.isRead = false
        },
        Fault("a key that does not exist") { $0.keyChange = 0x0100_0000 },
        Fault("a key of a former use of its slot") { $0.keyChange = 1 },
        Fault("one byte before the region") { $0.addressChange = -1 },
        Fault("one byte behind the region") { $0.addressChange = (64 << 10) - 15 },
        Fault("far beyond the region") { $0.addressChange = 1 << 40 },
        Fault("an address whose end overflows") {
            $0.addressChange = -1 << 62
            $0.isRead = false
        },
        Fault("longer than the region") { $0.length = (64 << 10) + 1 },
    ]

    @Test("What a key does not permit is a remote access error, and ends both sides", arguments: faults)
    func accessErrors(fault: Fault) throws {
        let connection = try TestFabric(setup()).connect()
        let remote = try connection.memory(at: connection.initiator, fault.access)
        let local = try connection.memory(at: connection.target, length: 128 << 10)
        let key = remote.region.remoteKey ^ fault.keyChange
        let address = remote.region.address &+ UInt64(bitPattern: fault.addressChange)
        let entry = local.entry(0, fault.length)
        let result =
            fault.isRead
            ? connection.target.read(entry, from: address, key: key, id: 1)
            : connection.target.write(entry, to: address, key: key, id: 1)
        #expect(result == .posted)
        #expect(connection.target.receive(local.entry(0, 8), id: 2) == .posted)
        connection.settle()
        expect(connection.atTarget, [.remoteAccessError, .workRequestFlushedError])
        #expect(connection.atTarget.closed == .workRequest(.remoteAccessError))
        // An asynchronous event there, or the disconnection here, whichever is noticed first.
        #expect([.asynchronous(.queuePairAccessError), .peer].contains(connection.atInitiator.closed))
        connection.finish()
    }

    @Test("A local key that does not permit it is a local protection error, and nothing reaches the peer")
    func localErrors() throws {
        for number in 0..<5 {
            let connection = try TestFabric(setup()).connect()
            let remote = try connection.memory(at: connection.initiator, [.localWrite, .remoteRead, .remoteWrite])
            let local = try connection.memory(at: connection.target, number == 0 ? [] : [.localWrite])
            remote.fill([5])
            var entry = local.entry(0, 16)
            if number == 1 { entry.localKey ^= 1 << 20 }
            if number == 2 { entry.address += 64 << 10 }
            if number == 3 { entry.length = (64 << 10) + 1 }
            // A region of another domain: the initiator's.
            if number == 4 { entry.localKey = remote.region.localKey }
            let region = remote.region
            let result = connection.target.read(entry, from: region.address, key: region.remoteKey, id: 1)
            #expect(result == .posted)
            connection.settle()
            expect(connection.atTarget, [.localProtectionError])
            #expect(local.bytes(0, 1) == [0])
            connection.finish()
        }
    }

    @Test("iWARP: the sink of a read needs remote write access, and has one entry")
    func sink() throws {
        for access in [AccessRights.localWrite, [.localWrite, .remoteWrite]] {
            let connection = try TestFabric(setup(.iWARP)).connect()
            let remote = try connection.memory(at: connection.initiator, [.localWrite, .remoteRead])
            let local = try connection.memory(at: connection.target, access)
            let device = connection.target.domain.device
            #expect(device.readSinkAccess == [.localWrite, .remoteWrite])
            remote.fill([7])
            let two = [local.entry(0, 1), local.entry(1, 1)]
            let region = remote.region
            #expect(
                connection.target.read(two.span, from: region.address, key: region.remoteKey, id: 1)
                    == .tooManyEntries)
            #expect(
                connection.target.read(local.entry(0, 4), from: region.address, key: region.remoteKey, id: 2)
                    == .posted)
            connection.settle()
            if access == .localWrite {
                expect(connection.atTarget, [.localProtectionError])
                #expect(local.bytes(0, 1) == [0])
            } else {
                expect(connection.atTarget, [.success])
                #expect(local.bytes(0, 1) == [7])
            }
            connection.finish()
        }
    }

    @Test("A window is bound, used, and invalidated by the peer, which needs a new binding for a new use")
    func windows() throws {
        let connection = try TestFabric(setup()).connect()
        let remote = try connection.memory(
            at: connection.initiator, [.localWrite, .remoteRead, .remoteWrite, .windowBind])
        let local = try connection.memory(at: connection.target)
        let domain = connection.initiator.domain
        var window = try domain.makeWindow()
        #expect(connection.fabric.initiator.counters.windows == 1)
        let first = window.nextKey
        #expect(
            connection.initiator.bind(
                &window, to: remote.region, offset: 100, length: 50, access: [.remoteRead], id: 1) == .posted)
        #expect(window.remoteKey == first)
        #expect(connection.initiator.receive(remote.entry(5000, 100), id: 2) == .posted)
        #expect(connection.initiator.receive(remote.entry(5000, 100), id: 3) == .posted)
        connection.settle()
        expect(connection.atInitiator, [.success])
        remote.fill([1, 2, 3], at: 100)
        let address = remote.region.address + 100
        #expect(connection.target.read(local.entry(0, 50), from: address, key: first, id: 4) == .posted)
        #expect(connection.target.send(local.entry(100, 8), id: 5, invalidating: first) == .posted)
        connection.settle()
        expect(connection.atTarget, [.success, .success])
        #expect(local.bytes(0, 4) == [1, 2, 3, 0])
        let received = connection.atInitiator.take()
        #expect(received.map(\.invalidatedKey) == [first])
        // Bound again, with another key; the old one reaches nothing.
        #expect(
            connection.initiator.bind(
                &window, to: remote.region, offset: 100, length: 50, access: [.remoteRead], id: 6) == .posted)
        connection.settle()
        #expect(window.remoteKey != first)
        #expect(connection.target.read(local.entry(0, 50), from: address, key: window.remoteKey, id: 7) == .posted)
        connection.settle()
        expect(connection.atTarget, [.success])
        #expect(connection.initiator.invalidate(window.remoteKey, id: 8) == .posted)
        connection.settle()
        expect(connection.atInitiator, [.success, .success])
        #expect(connection.target.read(local.entry(0, 50), from: address, key: window.remoteKey, id: 9) == .posted)
        connection.settle()
        expect(connection.atTarget, [.remoteAccessError])
        domain.free(window)
        connection.finish()
    }

    @Test("A window is for the queue pair that has bound it, within its range and rights")
    func windowBounds() throws {
        let cases: [(offset: Int, length: Int, isRead: Bool)] = [(-1, 10, true), (41, 10, true), (0, 10, false)]
        for (offset, length, isRead) in cases {
            let connection = try TestFabric(setup()).connect()
            let other = try connection.fabric.connect()
            let remote = try connection.memory(
                at: connection.initiator, [.localWrite, .remoteRead, .remoteWrite, .windowBind])
            let local = try connection.memory(at: connection.target)
            var window = try connection.initiator.domain.makeWindow()
            let bound = connection.initiator.bind(
                &window, to: remote.region, offset: 100, length: 50, access: [.remoteRead], id: 1)
            #expect(bound == .posted)
            connection.settle()
            let address = remote.region.address + 100
            #expect(other.target.read(local.entry(0, 10), from: address, key: window.remoteKey, id: 1) == .posted)
            connection.settle()
            #expect(other.atTarget.statuses == [.remoteAccessError])
            let wrong = address &+ UInt64(bitPattern: Int64(offset))
            let entry = local.entry(0, length)
            let result =
                isRead
                ? connection.target.read(entry, from: wrong, key: window.remoteKey, id: 2)
                : connection.target.write(entry, to: wrong, key: window.remoteKey, id: 2)
            #expect(result == .posted)
            connection.settle()
            expect(connection.atTarget, [.remoteAccessError])
            connection.initiator.domain.free(window)
            other.initiator.close()
            other.target.close()
            connection.finish()
        }
    }

    @Test("What cannot be bound or invalidated ends the queue pair")
    func badWindows() throws {
        for number in 0..<5 {
            let connection = try TestFabric(setup()).connect()
            let access: AccessRights = number == 0 ? [.localWrite] : [.localWrite, .windowBind]
            let memory = try connection.memory(at: connection.initiator, access)
            let readOnly = try connection.memory(at: connection.initiator, [.windowBind])
            var window = try connection.initiator.domain.makeWindow()
            var result = PostResult.posted
            switch number {
            case 1: result = connection.initiator.invalidate(window.remoteKey, id: 1)
            case 2:
                result = connection.initiator.bind(
                    &window, to: memory.region, offset: 1, length: 64 << 10, access: .remoteRead, id: 1)
            case 3:
                result = connection.initiator.bind(
                    &window, to: readOnly.region, offset: 0, length: 64, access: .remoteWrite, id: 1)
            case 4:
                // Bound twice.
                _ = connection.initiator.bind(
                    &window, to: memory.region, offset: 0, length: 64, access: .remoteRead, id: 0)
                result = connection.initiator.bind(
                    &window, to: memory.region, offset: 0, length: 64, access: .remoteRead, id: 1)
            default:
                result = connection.initiator.bind(
                    &window, to: memory.region, offset: 0, length: 64, access: .remoteRead, id: 1)
            }
            #expect(result == .posted)
            connection.settle()
            #expect(connection.atInitiator.statuses.last == .memoryWindowBindError)
            #expect(connection.atInitiator.closed == .workRequest(.memoryWindowBindError))
            connection.initiator.domain.free(window)
            connection.finish()
        }
    }

    @Test("A Send with Invalidate of a key that is no window's is fatal at the receiver")
    func badInvalidation() throws {
        let connection = try TestFabric(setup()).connect()
        let remote = try connection.memory(at: connection.initiator, [.localWrite, .remoteRead])
        let local = try connection.memory(at: connection.target)
        #expect(connection.initiator.receive(remote.entry(0, 100), id: 2) == .posted)
        connection.settle()
        // The key of a region cannot be taken by the peer.
        let key = remote.region.remoteKey
        #expect(connection.target.send(local.entry(0, 8), id: 5, invalidating: key) == .posted)
        connection.settle()
        expect(connection.atTarget, [.remoteOperationError])
        expect(connection.atInitiator, [.remoteInvalidRequestError])
        connection.finish()
    }

    @Test("A device that cannot keep its promise of Send with Invalidate fails the request")
    func brokenPromise() throws {
        let connection = try TestFabric(setup()).connect()
        let local = try connection.memory(at: connection.target)
        connection.fabric.fabric.addRule(
            LoopbackRule(opcode: .sendWithInvalidate, status: .localQueuePairOperationError))
        #expect(connection.target.send(local.entry(0, 8), id: 5, invalidating: 77) == .posted)
        connection.settle()
        expect(connection.atTarget, [.localQueuePairOperationError])
        connection.finish()
    }

    @Test("No more reads are outstanding than the initiator depth; what is behind them waits")
    func readDepth() throws {
        var setup = setup(seed: 17)
        setup.reply.initiatorDepth = 2
        let connection = try TestFabric(setup).connect()
        #expect(connection.target.initiatorDepth == 2)
        let remote = try connection.memory(at: connection.initiator, [.localWrite, .remoteRead])
        let local = try connection.memory(at: connection.target)
        let region = remote.region
        for id in 0..<12 {
            let result = connection.target.read(
                local.entry(id * 8, 8), from: region.address, key: region.remoteKey, id: UInt64(id))
            #expect(result == .posted)
        }
        connection.settle()
        #expect(connection.atTarget.ids == Array(0..<12))
        expect(connection.atTarget, [CompletionStatus](repeating: .success, count: 12))
        connection.finish()
    }

    @Test("More reads than the peer takes are a remote invalid request error")
    func tooManyReads() throws {
        // With this pace nothing completes before the next one begins, for some seeds.
        var isRefused = false
        for seed in UInt64(1)...50 {
            var setup = setup(seed: seed)
            setup.request.responderResources = 1
            setup.reply.initiatorDepth = 8
            let connection = try TestFabric(setup).connect()
            let remote = try connection.memory(at: connection.initiator, [.localWrite, .remoteRead])
            let local = try connection.memory(at: connection.target)
            let region = remote.region
            for id in 0..<8 {
                let result = connection.target.read(
                    local.entry(0, 8), from: region.address, key: region.remoteKey, id: UInt64(id))
                #expect(result == .posted)
            }
            connection.settle()
            #expect(connection.atTarget.ids == Array(0..<8))
            if connection.atTarget.statuses.contains(.remoteInvalidRequestError) {
                isRefused = true
                #expect([.asynchronous(.queuePairRequestError), .peer].contains(connection.atInitiator.closed))
            }
            connection.finish()
        }
        #expect(isRefused)
    }

    @Test("Without reads agreed on, a read fails where it is posted")
    func noReads() throws {
        var setup = setup()
        setup.reply.initiatorDepth = 0
        let connection = try TestFabric(setup).connect()
        let local = try connection.memory(at: connection.target)
        #expect(connection.target.read(local.entry(0, 8), from: 0, key: 0, id: 1) == .posted)
        connection.settle()
        expect(connection.atTarget, [.localQueuePairOperationError])
        connection.finish()
    }

    @Test("A fenced Send is not seen before the data of the read before it; another one may be")
    func fence() throws {
        var wasEarly = false
        for seed in UInt64(1)...60 {
            for isFenced in [true, false] {
                let connection = try TestFabric(setup(seed: seed)).connect()
                let remote = try connection.memory(at: connection.initiator, [.localWrite, .remoteRead])
                let local = try connection.memory(at: connection.target)
                remote.fill([9])
                let region = remote.region
                #expect(connection.initiator.receive(remote.entry(500, 8), id: 1) == .posted)
                connection.settle()
                connection.atInitiator.whenCompleted = { completion, _ in
                    guard completion.status == .success, completion.opcode == .receive else { return }
                    if local.bytes(0, 1) != [9] {
                        #expect(!isFenced)
                        wasEarly = true
                    }
                }
                #expect(
                    connection.target.read(local.entry(0, 8), from: region.address, key: region.remoteKey, id: 1)
                        == .posted)
                let options: WorkOptions = isFenced ? [.signaled, .fenced] : .signaled
                #expect(connection.target.send(local.entry(100, 8), id: 2, options: options) == .posted)
                connection.settle()
                expect(connection.atTarget, [.success, .success])
                connection.atInitiator.whenCompleted = nil
                connection.finish()
            }
        }
        #expect(wasEarly)
    }
}

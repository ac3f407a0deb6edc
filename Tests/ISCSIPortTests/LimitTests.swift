import DeviceTestSupport
import ISCSI
import Initiator
import Platform
import SCSI
import Synchronization
import Testing

@testable import ISCSIPort

@Suite("Limits of what peers can hold")
struct LimitTests {
    @Test("At the limit of sessions a login is refused with Out of resources, and works when one has ended")
    func sessions() throws {
        var limits = PortLimits()
        limits.sessions = 2
        let fixture = try PortFixture(limits: limits)
        let first = try fixture.initiator()
        let second = try fixture.initiator()
        #expect(throws: InitiatorError.loginRefused(.outOfResources, address: nil)) { _ = try fixture.initiator() }
        #expect(fixture.server.sessionCount(targetName: PortFixture.targetName) == 2)
        try first.logOut()
        let hasRoom = fixture.eventually { fixture.server.sessionCount(targetName: PortFixture.targetName) == 1 }
        #expect(hasRoom)
        let third = try fixture.initiator()
        for initiator in [second, third] {
            let echo = try initiator.ping([1])
            #expect(echo == [1])
        }
    }

    @Test("One address cannot take the places of all others before the login: its own oldest makes room")
    func connectionsFromOneAddress() throws {
        var limits = PortLimits()
        limits.loginConnectionsPerAddress = 4
        let fixture = try PortFixture(limits: limits)
        let silent = try (0..<4).map { _ in try fixture.rawInitiator() }
        let areIn = fixture.eventually { fixture.server.connectionCount == 4 }
        #expect(areIn)
        let initiator = try fixture.initiator()
        try silent[0].connection.waitUntilClosed()
        // A connection that has logged in counts no more: three are left, and one more has room.
        let another = try fixture.rawInitiator()
        let areFive = fixture.eventually { fixture.server.connectionCount == 5 }
        #expect(areFive)
        let logins = fixture.server.registry.withLock { $0.logins.count }
        #expect(logins == 4)
        let echo = try initiator.ping([2])
        #expect(echo == [2])
        withExtendedLifetime((silent, another)) {}
    }

    @Test("Counts of sessions follow their beginning and their end, and nothing is kept of what is gone")
    func counts() throws {
        let fixture = try PortFixture()
        let initiators = try (0..<6).map { _ in try fixture.initiator() }
        #expect(fixture.server.sessionCounts() == [PortFixture.targetName: 6])
        #expect(fixture.reactors.map { load(fixture, $0) } == [3, 3])
        for initiator in initiators { try initiator.logOut() }
        let areGone = fixture.eventually { fixture.server.connectionCount == 0 }
        #expect(areGone)
        #expect(fixture.server.sessionCounts().isEmpty)
        #expect(fixture.reactors.map { load(fixture, $0) } == [0, 0])
        let origins = fixture.server.registry.withLock { $0.logins.originCount }
        #expect(origins == 0)
    }

    private func load(_ fixture: PortFixture, _ reactor: Reactor) -> Int {
        fixture.server.registry.withLock { $0.sessionCount(on: reactor) }
    }

    /// Notes how many commands a session ends between two ends of turns of its reactor, at most.
    private final class TurnWatch: TurnHandler, @unchecked Sendable {
        let fixture: PortFixture
        let reactor: Reactor
        let most = Atomic<Int>(0)
        let isOver = Atomic<Bool>(false)
        var last = 0

        init(_ fixture: PortFixture) {
            self.fixture = fixture
            reactor = fixture.reactors[0]
            reactor.post { self.turnEnded() }
        }

        func turnEnded() {
            let commands = fixture.server.sessions().first?.commands ?? 0
            most.max(commands - last, ordering: .relaxed)
            last = commands
            if !isOver.load(ordering: .relaxed) { reactor.afterEvents(self) }
        }
    }

    @Test("In one turn a connection has its share of work, and has all of it in the end", arguments: [false, true])
    func turnWork(areHeld: Bool) throws {
        var limits = PortLimits()
        limits.turnWork = 64 << 10
        let fixture = try PortFixture(limits: limits)
        let session = try SharedSession(fixture)
        let watch = TurnWatch(fixture)
        // Each counts for 8 KiB and its data, 8 KiB or half of that; a turn has its share when it is reached.
        var commands = (0..<64).map { $0 % 2 == 0 ? session.read($0, 16) : session.write($0, 8, immediate: 4096) }
        let tags = commands.map(\.initiatorTaskTag)
        if areHeld { commands.append(commands.removeFirst()) }
        let bytes = commands.flatMap { command in
            session[0].connection.encoded(
                BasicHeaderSegment(command),
                data: pattern(command.dataSegmentLength, seed: Int(command.initiatorTaskTag)))
        }
        try session[0].connection.send(bytes: bytes)
        for tag in tags {
            let outcome = try session.readOutcome(on: 0)
            #expect(outcome.tag == tag && outcome.status == .good)
        }
        let isQuiet = try session.isQuiet(0)
        #expect(isQuiet)
        watch.isOver.store(true, ordering: .relaxed)
        let most = watch.most.load(ordering: .relaxed)
        #expect(most > 0 && most <= 6)
        let isReturned = fixture.eventually { fixture.leasedBytes == 0 }
        #expect(isReturned)
    }

    @Test("Data-Out that goes on for ever ends its command, however steadily it comes")
    func dataOutDuration() throws {
        let limits = PortLimits()
        let fixture = try PortFixture(limits: limits, clock: ManualClock())
        let session = try SharedSession(fixture) { $0.operational.preferred.immediateData = false }
        try session.send(session.write(0, 64), on: 0)
        let request = try session.receive(ReadyToTransferPDU.self, on: 0)
        let data = pattern(512)
        // Steadily, three blocks between two checks.
        let interval = limits.keepAliveInterval / 3
        for number in 0..<Int(limits.dataOutDuration / interval) {
            var part = session.dataOut(request, data)
            part.isFinal = false
            part.dataSN = UInt32(number)
            part.bufferOffset = UInt32(number * data.count)
            try session.send(part, data: data, on: 0)
            let isQuiet = try session.isQuiet(0)
            #expect(isQuiet)
            fixture.advance(by: interval)
        }
        let response = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(response.status == .checkCondition)
        let isReturned = fixture.eventually { fixture.leasedBytes == 0 }
        #expect(isReturned)
    }
}

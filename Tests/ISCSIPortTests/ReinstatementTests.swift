import DeviceTestSupport
import ISCSI
import Initiator
import Platform
import SCSI
import TargetCore
import Testing

@testable import ISCSIPort

/// RFC 7143 section 6.3.5.
@Suite("Session reinstatement")
struct ReinstatementTests {
    private let unit = LogicalUnitNumber(0)
    private let other = LogicalUnitNumber(1)
    private let wait = CommandDescriptorBlock([MemoryDevice.wait, 0, 0, 0, 0, 0])
    private let inquiry = CommandDescriptorBlock([OperationCode.inquiry, 0, 0, 0, 36, 0])

    /// A fixture with a second unit, and a session with `count` commands that wait with the first.
    private func fixture(holding count: Int, _ identifier: InitiatorSessionID) throws -> (
        PortFixture, BlockingInitiator
    ) {
        let fixture = try PortFixture()
        fixture.target.map(LogicalUnit(MemoryDevice(number: 2)), at: 1)
        let initiator = try fixture.initiator { $0.initiatorSessionID = identifier }
        for _ in 0..<count { _ = try initiator.start(wait, on: unit) }
        let areHeld = fixture.eventually { fixture.device.heldCount == count }
        #expect(areHeld)
        return (fixture, initiator)
    }

    /// The first unit is busy but for what discovers it, and the second works.
    private func expectBusy(_ initiator: BlockingInitiator) throws {
        let ready = try initiator.execute(testUnitReady, on: unit)
        #expect(ready.status == .busy)
        let write = try initiator.execute(write10(0, 8), on: unit, dataOut: pattern(4096))
        #expect(write.status == .busy)
        let identity = try initiator.execute(inquiry, on: unit, expectedDataInLength: 36)
        #expect(identity.isGood)
        _ = try initiator.waitUntilReady(other)
        let otherWrite = try initiator.execute(write10(0, 8), on: other, dataOut: pattern(4096))
        #expect(otherWrite.isGood)
    }

    /// The commands of former sessions end: the first unit works.
    private func expectReady(_ initiator: BlockingInitiator, _ fixture: PortFixture) throws {
        fixture.letGo()
        var outcome = try initiator.waitUntilReady(unit)
        while outcome.status == .busy { outcome = try initiator.waitUntilReady(unit) }
        let write = try initiator.execute(write10(0, 8), on: unit, dataOut: pattern(4096))
        #expect(write.isGood)
    }

    @Test("It begins at once; only a unit that works on commands of former sessions is busy, until the last of them")
    func occupiedUnit() throws {
        let identifier = InitiatorSessionID.random()
        let (fixture, first) = try fixture(holding: 5, identifier)
        let second = try fixture.initiator { $0.initiatorSessionID = identifier }
        try first.connection.waitUntilClosed()
        try expectBusy(second)
        // The one that is reinstated has no command of its own there, and the first one's are not forgotten.
        let third = try fixture.initiator { $0.initiatorSessionID = identifier }
        try second.connection.waitUntilClosed()
        try expectBusy(third)
        #expect(fixture.server.sessions().count == 1 && fixture.target.nexuses.count == 1)
        // However often it comes back, ended sessions without commands of their own are not kept.
        weak var kept: Session?
        for _ in 0..<3 {
            kept = fixture.server.registry.withLock { $0.sessions.values.first?.session }
            _ = try fixture.initiator { $0.initiatorSessionID = identifier }
            let isGone = fixture.eventually { kept == nil }
            #expect(isGone)
        }
        let last = try fixture.initiator { $0.initiatorSessionID = identifier }
        try expectBusy(last)
        #expect(fixture.server.registry.withLock { $0.nexusCount } == 1)
        try expectReady(last, fixture)
        try last.logOut()
        let isForgotten = fixture.eventually { fixture.server.registry.withLock { $0.nexusCount } == 0 }
        #expect(isForgotten)
    }

    @Test("It is the unit that is busy, not the number that it had")
    func remappedUnit() throws {
        let identifier = InitiatorSessionID.random()
        let (fixture, first) = try fixture(holding: 1, identifier)
        first.connection.socket.shutdownWriting()
        try first.connection.waitUntilClosed()
        let isOver = fixture.eventually { fixture.server.sessions().isEmpty }
        #expect(isOver)
        // The units change places.
        let units = [0, 1].compactMap { fixture.target.unmap(at: $0) }
        for (number, unit) in units.reversed().enumerated() { fixture.target.map(unit, at: number) }
        let second = try fixture.initiator { $0.initiatorSessionID = identifier }
        let write = try second.execute(write10(0, 8), on: unit, dataOut: pattern(4096))
        #expect(write.isGood)
        _ = try second.waitUntilReady(other)
        let busy = try second.execute(testUnitReady, on: other)
        #expect(busy.status == .busy)
        fixture.letGo()
        var outcome = try second.waitUntilReady(other)
        while outcome.status == .busy { outcome = try second.waitUntilReady(other) }
        #expect(outcome.isGood)
    }

    @Test("A session that broke is reinstated no less when its initiator comes back, and hinders no other")
    func brokenSession() throws {
        let identifier = InitiatorSessionID.random()
        let (fixture, first) = try fixture(holding: 1, identifier)
        first.connection.socket.shutdownWriting()
        try first.connection.waitUntilClosed()
        let isOver = fixture.eventually { fixture.server.sessions().isEmpty }
        #expect(isOver)
        let second = try fixture.initiator { $0.initiatorSessionID = identifier }
        try expectBusy(second)
        let stranger = try fixture.initiator()
        let write = try stranger.execute(write10(0, 8), on: unit, dataOut: pattern(4096))
        #expect(write.isGood)
        try expectReady(second, fixture)
        // Nothing is left of what has ended.
        try second.logOut()
        try stranger.logOut()
        let isEmpty = fixture.eventually { fixture.server.connectionCount == 0 && fixture.pendingTimers == 0 }
        #expect(isEmpty)
        let third = try fixture.initiator { $0.initiatorSessionID = identifier }
        let ready = try third.waitUntilReady(unit)
        #expect(ready.isGood)
    }

    /// A session alone on the second reactor; one that reinstates it will be on the first.
    private func sessionElsewhere(_ limits: PortLimits = PortLimits()) throws -> SharedSession {
        let fixture = try PortFixture(limits: limits)
        let neighbour = try fixture.initiator()
        let session = try SharedSession(fixture)
        #expect(fixture.server.sessions().map(\.reactor) == [0, 1])
        try neighbour.logOut()
        let isAlone = fixture.eventually { fixture.server.sessions().count == 1 }
        #expect(isAlone)
        return session
    }

    @Test("A login does not wait for ever for the end of the session that it reinstates")
    func boundedWait() throws {
        var limits = PortLimits()
        limits.reinstatementWait = .milliseconds(50)
        let session = try sessionElsewhere(limits)
        let release = session.fixture.block(session.fixture.reactors[1])
        #expect(throws: InitiatorError.loginRefused(.serviceUnavailable, address: nil)) {
            _ = try BlockingInitiator.logIn(to: session.fixture.address, session.settings)
        }
        release()
        let isOver = session.fixture.eventually { session.fixture.server.sessions().isEmpty }
        #expect(isOver)
        let later = try session.fixture.initiator { $0.initiatorSessionID = session.settings.initiatorSessionID }
        let ready = try later.waitUntilReady(session.unit)
        #expect(ready.isGood)
    }

    @Test("No connection joins a session that has not begun")
    func earlyJoin() throws {
        let session = try sessionElsewhere()
        let release = session.fixture.block(session.fixture.reactors[1])
        let successor = try BlockingInitiator(connectingTo: session.fixture.address, session.settings)
        let text = [
            "InitiatorName=\(session.settings.initiatorName)", "SessionType=Normal",
            "TargetName=\(PortFixture.targetName)",
            "MaxConnections=8",
        ]
        var login = LoginRequestPDU()
        login.isTransit = true
        login.currentStageCode = LoginStage.operationalNegotiation.rawValue
        login.nextStageCode = LoginStage.fullFeaturePhase.rawValue
        login.initiatorSessionID = session.settings.initiatorSessionID
        let bytes = Array(text.map { $0 + "\0" }.joined().utf8)
        login.dataSegmentLength = bytes.count
        try successor.send(login, data: bytes)
        let hasBoth = session.fixture.eventually { session.fixture.server.sessions().count == 2 }
        #expect(hasBoth)
        // The TSIHs are given one after the other.
        #expect(throws: InitiatorError.self) {
            try session.join(1) { $0.targetSessionHandle += 1 }
        }
        release()
        let response = try #require(try successor.receive().parsed(as: LoginResponsePDU.self))
        #expect(response.status == .success)
        #expect(response.targetSessionHandle == session.report.targetSessionHandle + 1)
    }
}

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
    private let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])

    /// A stage with a second unit, and a session with `count` commands that wait with the first.
    private func stage(holding count: Int, _ identifier: InitiatorSessionID) throws -> (Stage, BlockingInitiator) {
        let stage = try Stage()
        stage.target.map(LogicalUnit(MemoryDevice(number: 2)), at: 1)
        let initiator = try stage.initiator { $0.initiatorSessionID = identifier }
        for _ in 0..<count { _ = try initiator.start(wait, on: unit) }
        let areHeld = stage.eventually { stage.device.heldCount == count }
        #expect(areHeld)
        return (stage, initiator)
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
    private func expectReady(_ initiator: BlockingInitiator, _ stage: Stage) throws {
        stage.letGo()
        var outcome = try initiator.waitUntilReady(unit)
        while outcome.status == .busy { outcome = try initiator.waitUntilReady(unit) }
        let write = try initiator.execute(write10(0, 8), on: unit, dataOut: pattern(4096))
        #expect(write.isGood)
    }

    @Test("It begins at once; only a unit that works on commands of former sessions is busy, until the last of them")
    func occupiedUnit() throws {
        let identifier = InitiatorSessionID.random()
        let (stage, first) = try stage(holding: 5, identifier)
        let second = try stage.initiator { $0.initiatorSessionID = identifier }
        try first.connection.waitUntilClosed()
        try expectBusy(second)
        // The one that is reinstated has no command of its own there, and the first one's are not forgotten.
        let third = try stage.initiator { $0.initiatorSessionID = identifier }
        try second.connection.waitUntilClosed()
        try expectBusy(third)
        #expect(stage.server.sessions().count == 1 && stage.target.nexuses.count == 1)
        // However often it comes back, ended sessions without commands of their own are not kept.
        weak var kept: Session?
        for _ in 0..<3 {
            kept = stage.server.registry.withLock { $0.sessions.values.first?.session }
            _ = try stage.initiator { $0.initiatorSessionID = identifier }
            let isGone = stage.eventually { kept == nil }
            #expect(isGone)
        }
        let last = try stage.initiator { $0.initiatorSessionID = identifier }
        try expectBusy(last)
        #expect(stage.server.registry.withLock { $0.nexusCount } == 1)
        try expectReady(last, stage)
        try last.logOut()
        let isForgotten = stage.eventually { stage.server.registry.withLock { $0.nexusCount } == 0 }
        #expect(isForgotten)
    }

    @Test("A session that broke is reinstated no less when its initiator comes back, and hinders no other")
    func brokenSession() throws {
        let identifier = InitiatorSessionID.random()
        let (stage, first) = try stage(holding: 1, identifier)
        first.connection.socket.shutdownWriting()
        try first.connection.waitUntilClosed()
        let isOver = stage.eventually { stage.server.sessions().isEmpty }
        #expect(isOver)
        let second = try stage.initiator { $0.initiatorSessionID = identifier }
        try expectBusy(second)
        let stranger = try stage.initiator()
        let write = try stranger.execute(write10(0, 8), on: unit, dataOut: pattern(4096))
        #expect(write.isGood)
        try expectReady(second, stage)
        // Nothing is left of what has ended.
        try second.logOut()
        try stranger.logOut()
        let isEmpty = stage.eventually { stage.server.connectionCount == 0 && stage.pendingTimers == 0 }
        #expect(isEmpty)
        let third = try stage.initiator { $0.initiatorSessionID = identifier }
        let ready = try third.waitUntilReady(unit)
        #expect(ready.isGood)
    }

    /// A session alone on the second reactor; one that reinstates it will be on the first.
    private func sessionElsewhere(_ limits: PortLimits = PortLimits()) throws -> SharedSession {
        let stage = try Stage(limits: limits)
        let neighbour = try stage.initiator()
        let session = try SharedSession(stage)
        #expect(stage.server.sessions().map(\.reactor) == [0, 1])
        try neighbour.logOut()
        let isAlone = stage.eventually { stage.server.sessions().count == 1 }
        #expect(isAlone)
        return session
    }

    @Test("A login does not wait for ever for the end of the session that it reinstates")
    func boundedWait() throws {
        var limits = PortLimits()
        limits.reinstatementWait = .milliseconds(50)
        let session = try sessionElsewhere(limits)
        let release = session.stage.block(session.stage.reactors[1])
        #expect(throws: InitiatorError.loginRefused(.serviceUnavailable, address: nil)) {
            _ = try BlockingInitiator.logIn(to: session.stage.address, session.settings)
        }
        release()
        let isOver = session.stage.eventually { session.stage.server.sessions().isEmpty }
        #expect(isOver)
        let later = try session.stage.initiator { $0.initiatorSessionID = session.settings.initiatorSessionID }
        let ready = try later.waitUntilReady(session.unit)
        #expect(ready.isGood)
    }

    @Test("No connection joins a session that has not begun")
    func earlyJoin() throws {
        let session = try sessionElsewhere()
        let release = session.stage.block(session.stage.reactors[1])
        let successor = try BlockingInitiator(connectingTo: session.stage.address, session.settings)
        let text = [
            "InitiatorName=\(session.settings.initiatorName)", "SessionType=Normal", "TargetName=\(Stage.targetName)",
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
        let isThere = session.stage.eventually { session.stage.server.sessions().count == 2 }
        #expect(isThere)
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

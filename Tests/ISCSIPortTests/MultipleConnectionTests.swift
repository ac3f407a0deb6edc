import Bytes
import DeviceTestSupport
import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import TargetCore
import Testing

/// RFC 7143 sections 4.2.2.1, 4.2.5.1, 6.3.4, 6.3.5 and 11.14.
@Suite("Several connections of a session")
struct MultipleConnectionTests {
    @Test("Commands are delivered in the order of CmdSN over all connections, and answered on their own")
    func order() throws {
        let session = try SharedSession(PortFixture())
        try session.join(1)
        #expect(session.fixture.server.sessions().first?.connections.map(\.connectionID) == [0, 1])
        let first = session.write(0, 1, immediate: 512)
        let second = session.read(0, 1)
        try session.send(second, on: 1)
        let isQuiet = try session.isQuiet(1)
        #expect(isQuiet)
        try session.send(first, data: pattern(512), on: 0)
        let written = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(written.initiatorTaskTag == first.initiatorTaskTag && written.status == .good)
        let read = try session.readOutcome(on: 1)
        #expect(read.tag == second.initiatorTaskTag && read.data == pattern(512))
    }

    @Test("The end of a connection starts none of its commands; one of another that only they have blocked goes on")
    func endOfConnection() throws {
        let fixture = try PortFixture()
        let session = try SharedSession(fixture)
        try session.join(1)
        let running = session.wait()
        var ordered = session.wait()
        ordered.attributes = TaskAttribute.ordered.rawValue
        let behind = session.wait()
        let last = session.wait()
        try session.send(running, on: 0)
        try session.send(ordered, on: 1)
        try session.send(behind, on: 1)
        try session.send(last, on: 0)
        let isRunning = fixture.eventually { fixture.device.heldCount == 1 }
        let isQuiet = try [UInt16(0), 1].allSatisfy { try session.isQuiet($0) }
        #expect(isRunning && isQuiet)
        let logout = try session.logOut(.closeConnection, connectionID: 1, on: 0)
        #expect(logout.response == .closed)
        let isGoingOn = fixture.eventually { fixture.device.heldCount >= 2 }
        #expect(isGoingOn)
        fixture.letGo()
        for _ in 0..<2 {
            let response = try session.receive(SCSIResponsePDU.self, on: 0)
            #expect([running, last].map(\.initiatorTaskTag).contains(response.initiatorTaskTag))
            #expect(response.status == .good)
        }
        #expect(fixture.device.heldCount == 2)
    }

    @Test("A command is not passed while its immediate data is on its way")
    func arriving() throws {
        let session = try SharedSession(PortFixture())
        try session.join(1)
        let write = session.write(8, 64, immediate: 32768)
        let bytes = BasicHeaderSegment(write).bytes.copyToArray() + pattern(32768, seed: 3)
        try session[0].connection.send(bytes: Array(bytes[..<20000]))
        let read = session.read(8, 64)
        try session.send(read, on: 1)
        let isQuiet = try session.isQuiet(1)
        #expect(isQuiet)
        try session[0].connection.send(bytes: Array(bytes[20000...]))
        let outcome = try session.readOutcome(on: 1)
        #expect(outcome.status == .good && outcome.data == pattern(32768, seed: 3))
    }

    @Test("A connection that breaks in the middle of a command has not used its CmdSN")
    func brokenArrival() throws {
        let session = try SharedSession(PortFixture())
        try session.join(1)
        let write = session.write(8, 64, immediate: 32768)
        try session[0].connection.send(bytes: BasicHeaderSegment(write).bytes.copyToArray() + pattern(5000))
        let read = session.read(8, 1)
        try session.send(read, on: 1)
        try session.drop(0)
        let isQuiet = try session.isQuiet(1)
        #expect(isQuiet)
        try session.send(write, data: pattern(32768), on: 1)
        let written = try session.receive(SCSIResponsePDU.self, on: 1)
        #expect(written.initiatorTaskTag == write.initiatorTaskTag && written.status == .good)
        let outcome = try session.readOutcome(on: 1)
        #expect(outcome.data == Array(pattern(32768)[..<512]))
    }

    @Test("R2T and data belong to the command's connection; data on another is discarded")
    func allegiance() throws {
        let session = try SharedSession(PortFixture()) { $0.operational.preferred.immediateData = false }
        try session.join(1)
        let write = session.write(0, 2)
        try session.send(write, on: 1)
        let request = try session.receive(ReadyToTransferPDU.self, on: 1)
        try session.answer(request, from: pattern(1024, seed: 9), on: 0)
        let isQuiet = try session.isQuiet(0)
        #expect(isQuiet)
        try session.answer(request, from: pattern(1024), on: 1)
        let response = try session.receive(SCSIResponsePDU.self, on: 1)
        #expect(response.status == .good)
        try session.send(session.read(0, 2), on: 0)
        let read = try session.readOutcome(on: 0)
        #expect(read.data == pattern(1024))
    }

    @Test("A login that cannot join a session gets the status that says why")
    func refusals() throws {
        var limits = PortLimits()
        limits.sessionConnections = 2
        let fixture = try PortFixture(limits: limits)
        let otherGroup = try fixture.server.addPortal(#require(SocketAddress("127.0.0.1:0")), portalGroupTag: 2)
        let session = try SharedSession(fixture)
        #expect(session.report.parameters.maxConnections == 2)
        func status(
            _ connectionID: UInt16, at address: SocketAddress? = nil, _ change: (inout InitiatorSettings) -> Void
        ) throws -> LoginStatus? {
            do {
                try session.join(connectionID, at: address, change)
                return nil
            } catch InitiatorError.loginRefused(let status, _) {
                return status
            }
        }
        let unknown = try status(1) { $0.targetSessionHandle &+= 1000 }
        #expect(unknown == .sessionDoesNotExist)
        let otherPort = try status(1) { $0.initiatorSessionID = .random() }
        #expect(otherPort == .sessionDoesNotExist)
        let otherName = try status(1) { $0.initiatorName += "2" }
        #expect(otherName == .sessionDoesNotExist)
        let spanning = try status(1, at: otherGroup) { _ in }
        #expect(spanning == .cannotIncludeInSession)
        let joined = try status(1) { _ in }
        #expect(joined == nil)
        let tooMany = try status(2) { _ in }
        #expect(tooMany == .tooManyConnections)
        let replaced = try status(1) { _ in }
        #expect(replaced == nil, "a connection that is replaced is not one more")
        let isReplaced = fixture.eventually {
            fixture.server.sessions().count == 1 && fixture.server.connectionCount == 2
        }
        #expect(isReplaced)
    }

    @Test("A login with a CID that is there replaces that connection, whose tasks end")
    func connectionReinstatement() throws {
        let session = try SharedSession(PortFixture())
        let former = try session.join(1)
        try session.send(session.wait(), on: 1)
        let isHeld = session.fixture.eventually { session.fixture.device.heldCount == 1 }
        #expect(isHeld)
        try session.join(1)
        try former.connection.waitUntilClosed()
        session.fixture.letGo()
        for connectionID in [UInt16(0), 1] {
            try session.send(session.read(0, 1), on: connectionID)
            let read = try session.readOutcome(on: connectionID)
            #expect(read.status == .good)
        }
        #expect(session.fixture.server.connectionCount == 2)
        #expect(session.fixture.target.nexuses.count == 1)
    }

    @Test("Even the only connection can be replaced", arguments: [0, 1, 2])
    func onlyConnectionReinstatement(level: Int) throws {
        let session = try SharedSession(PortFixture(), errorRecoveryLevel: level)
        let former = session[0]
        try session.join(0)
        try former.connection.waitUntilClosed()
        try session.send(session.read(0, 1), on: 0)
        let read = try session.readOutcome(on: 0)
        #expect(read.status == .good, "no unit attention: the nexus was not lost")
        let isReplaced = session.fixture.eventually { session.fixture.server.connectionCount == 1 }
        #expect(isReplaced)
    }

    @Test("The session outlives a connection but not its last one, below ErrorRecoveryLevel 2", arguments: [0, 1])
    func lostConnections(level: Int) throws {
        let session = try SharedSession(PortFixture(), errorRecoveryLevel: level)
        try session.join(1)
        try session.send(session.wait(), on: 0)
        let isHeld = session.fixture.eventually { session.fixture.device.heldCount == 1 }
        #expect(isHeld)
        try session.drop(0)
        session.fixture.letGo()
        try session.send(session.read(0, 1), on: 1)
        let read = try session.readOutcome(on: 1)
        #expect(read.status == .good)
        try session.drop(1)
        let isOver = session.fixture.eventually {
            session.fixture.server.sessions().isEmpty && session.fixture.target.nexuses.isEmpty
        }
        #expect(isOver)
        let isReturned = session.fixture.eventually { session.fixture.leasedBytes == 0 }
        #expect(isReturned)
    }

    @Test("Logout closes the connection that it names, or says that there is none; with the last one the session ends")
    func logoutOfConnections() throws {
        let session = try SharedSession(PortFixture())
        try session.join(1)
        try session.join(2)
        let unknown = try session.logOut(.closeConnection, connectionID: 9, on: 0)
        #expect(unknown.response == .connectionNotFound)
        let recovery = try session.logOut(.removeConnectionForRecovery, connectionID: 1, on: 0)
        #expect(recovery.response == .recoveryNotSupported)
        let other = try session.logOut(.closeConnection, connectionID: 2, on: 0)
        #expect(other.response == .closed)
        try session[2].connection.waitUntilClosed()
        let own = try session.logOut(.closeConnection, connectionID: 0, on: 0)
        #expect(own.response == .closed)
        try session[0].connection.waitUntilClosed()
        try session.send(session.read(0, 1), on: 1)
        let read = try session.readOutcome(on: 1)
        #expect(read.status == .good)
        let last = try session.logOut(.closeConnection, connectionID: 1, on: 1)
        #expect(last.response == .closed)
        let isOver = session.fixture.eventually { session.fixture.server.sessions().isEmpty }
        #expect(isOver)
    }

    @Test("Logout of the session closes all connections")
    func logoutOfSession() throws {
        let session = try SharedSession(PortFixture())
        try session.join(1)
        try session.send(session.wait(), on: 1)
        let response = try session.logOut(.closeSession, on: 0)
        #expect(response.response == .closed)
        try session[0].connection.waitUntilClosed()
        try session[1].connection.waitUntilClosed()
        let isOver = session.fixture.eventually { session.fixture.server.connectionCount == 0 }
        #expect(isOver)
        session.fixture.letGo()
    }

    @Test("A session that is reinstated loses all its connections")
    func sessionReinstatement() throws {
        let session = try SharedSession(PortFixture())
        try session.join(1)
        let successor = try BlockingInitiator.logIn(to: session.fixture.address, session.settings)
        try session[0].connection.waitUntilClosed()
        try session[1].connection.waitUntilClosed()
        let read = try successor.waitUntilReady(session.unit)
        #expect(read.isGood)
        // The peer sees a socket's end before the server has let go of the connection.
        let isAlone = session.fixture.eventually {
            session.fixture.server.sessions().count == 1 && session.fixture.server.connectionCount == 1
        }
        #expect(isAlone)
    }

    @Test("Functions on many tasks reach the tasks of all connections")
    func abortEverywhere() throws {
        let session = try SharedSession(PortFixture()) { $0.operational.preferred.immediateData = false }
        try session.join(1)
        try session.send(session.write(0, 2), on: 1)
        let request = try session.receive(ReadyToTransferPDU.self, on: 1)
        let outcome = try session.manage(.abortTaskSet, on: 0)
        #expect(outcome == .functionComplete)
        try session.answer(request, from: pattern(1024), on: 1)
        let isQuiet = try session.isQuiet(1)
        #expect(isQuiet)
        let isReturned = session.fixture.eventually { session.fixture.leasedBytes == 0 }
        #expect(isReturned)
    }

    @Test(
        "A session that withholds its data has TASK SET FULL beyond its share of buffers, and loses what does not go on"
    )
    func owedData() throws {
        var limits = PortLimits()
        limits.owedDataOut = 65536
        let fixture = try PortFixture(limits: limits, clock: ManualClock())
        let session = try SharedSession(fixture) { $0.operational.preferred.immediateData = false }
        let owed = session.write(0, 128)
        try session.send(owed, on: 0)
        _ = try session.receive(ReadyToTransferPDU.self, on: 0)
        try session.send(session.write(0, 1), on: 0)
        let refused = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(refused.status == .taskSetFull)
        // The first check notes how much has come, the second one that no more has.
        for _ in 0..<2 {
            fixture.advance(by: limits.keepAliveInterval)
            let ping = try session.receive(NOPInPDU.self, on: 0)
            var answer = NOPOutPDU()
            answer.isImmediate = true
            answer.targetTransferTag = ping.targetTransferTag
            answer.cmdSN = session.cmdSN
            try session.send(answer, on: 0)
        }
        let failed = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(failed.initiatorTaskTag == owed.initiatorTaskTag && failed.status == .checkCondition)
        let isReturned = fixture.eventually { fixture.leasedBytes == 0 }
        #expect(isReturned)
    }
}

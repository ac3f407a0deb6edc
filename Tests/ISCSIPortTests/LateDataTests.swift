import DeviceTestSupport
import ISCSI
import Initiator
import Platform
import SCSI
import Synchronization
import TargetCore
import Testing

@testable import ISCSIPort

@Suite("Data-Out for commands that have ended or failed")
struct LateDataTests {
    private let other = LogicalUnitNumber(1)

    /// A fixture with a second unit.
    private func fixture() throws -> PortFixture {
        let fixture = try PortFixture()
        fixture.target.map(LogicalUnit(MemoryDevice(number: 2)), at: 1)
        return fixture
    }

    /// Sends a write to the second unit, which wants its data, and gives the R2T.
    private func startWrite(_ session: SharedSession, on connectionID: UInt16) throws -> ReadyToTransferPDU {
        // The unit attention of a new nexus.
        _ = try session[connectionID].waitUntilReady(other)
        session.cmdSN = session[connectionID].nextCmdSN
        var write = session.write(0, 16)
        write.logicalUnitNumber = other
        try session.send(write, on: connectionID)
        return try session.receive(ReadyToTransferPDU.self, on: connectionID)
    }

    /// Runs `body` on the reactor of the fixture's only session, with that.
    private func onSession<Value: Sendable>(
        of fixture: PortFixture, _ body: @escaping @Sendable (SessionRecord) -> Value
    ) throws -> Value {
        let record = try #require(fixture.server.registry.withLock { $0.sessions.values.first })
        let value = Lock<Value?>(nil)
        record.session.reactor.post { value.withLock { $0 = body(record) } }
        let isDone = fixture.eventually { value.withLock { $0 != nil } }
        #expect(isDone)
        return try #require(value.withLock { $0 })
    }

    @Test("Data for a task that has ended behind a response fence is discarded", arguments: [false, true])
    func endedBehindFence(isUnderWay: Bool) throws {
        let fixture = try fixture()
        let session = try SharedSession(fixture) {
            $0.operational.taskReporting = [.responseFence]
            $0.operational.preferred.immediateData = false
        }
        let request = try startWrite(session, on: 0)
        try session.join(1)
        // Something on each connection that is not acknowledged, so that the fence stays.
        let start = session[1].expStatSN
        try session.send(session.command(testUnitReady), on: 1, acknowledging: start)
        _ = try session.receive(SCSIResponsePDU.self, on: 1)
        var function = TaskManagementRequestPDU()
        function.functionCode = TaskManagementFunction.abortTaskSet.rawValue
        function.initiatorTaskTag = session.takeTag()
        function.cmdSN = session.cmdSN
        try session.send(function, on: 0)
        let ping = try session.receive(NOPInPDU.self, on: 1)
        let data = pattern(Int(request.desiredDataTransferLength))
        let pdu = session.dataOut(request, data)
        let bytes = session[0].connection.encoded(BasicHeaderSegment(pdu), data: data)
        let early = isUnderWay ? bytes.count / 2 : 0
        let counters = try onSession(of: fixture) { $0.session.reactor.counters }
        let received = counters.receivedBytes
        try session[0].connection.send(bytes: Array(bytes[..<early]))
        let isReceived = fixture.eventually { counters.receivedBytes == received + early }
        #expect(isReceived)
        let isUnmapped = Lock(false)
        fixture.target.unmap(at: 1) { isUnmapped.withLock { $0 = true } }
        let hasEnded = fixture.eventually { isUnmapped.withLock { $0 } }
        #expect(hasEnded)
        try session[0].connection.send(bytes: Array(bytes[early...]))
        var answer = NOPOutPDU()
        answer.isImmediate = true
        answer.targetTransferTag = ping.targetTransferTag
        answer.cmdSN = session.cmdSN
        try session.send(answer, on: 1)
        let functionResponse = try session.receive(TaskManagementResponsePDU.self, on: 0)
        #expect(functionResponse.response == .functionComplete)
        let fence = try session.receive(NOPInPDU.self, on: 0)
        answer.targetTransferTag = fence.targetTransferTag
        try session.send(answer, on: 0)
        let response = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(response.initiatorTaskTag == request.initiatorTaskTag && response.status == .checkCondition)
        let isReturned = fixture.eventually { fixture.leasedBytes == 0 }
        #expect(isReturned)
        let owed = try onSession(of: fixture) { $0.session.owedDataOut }
        #expect(owed == 0)
    }

    @Test("Data that comes after the answer of its command changes nothing of an answer that is kept")
    func answered() throws {
        let fixture = try fixture()
        let session = try SharedSession(fixture, errorRecoveryLevel: 1) {
            $0.operational.preferred.immediateData = false
        }
        let request = try startWrite(session, on: 0)
        let start = session[0].expStatSN
        fixture.target.unmap(at: 1)
        let answer = try session[0].receive()
        #expect(answer.parsed(as: SCSIResponsePDU.self)?.initiatorTaskTag == request.initiatorTaskTag)
        let data = pattern(Int(request.desiredDataTransferLength))
        try session.send(session.dataOut(request, data), data: data, on: 0, acknowledging: start)
        try session.snack(.status, from: start.rawValue, count: 1, on: 0, acknowledging: start)
        let again = try session[0].receive()
        #expect(again.data == answer.data && again.data.count > 2)
    }

    @Test("A command whose data took too long before it reached its unit is answered, and not performed")
    func tooLate() throws {
        let fixture = try fixture()
        let session = try SharedSession(fixture) { $0.operational.preferred.initialR2T = false }
        var command = session.write(0, 16, immediate: 4096)
        command.isFinal = false
        let data = pattern(4096)
        let bytes = session[0].connection.encoded(BasicHeaderSegment(command), data: data)
        try session[0].connection.send(bytes: Array(bytes[..<1024]))
        let tag = command.initiatorTaskTag
        let hasBegun = fixture.eventually {
            (try? onSession(of: fixture) { $0.session.slot(withTag: tag) != nil }) == true
        }
        #expect(hasBegun)
        // Two looks between which nothing has come.
        let owed = try onSession(of: fixture) { record in
            for _ in 0..<2 { record.session.watchDataOut(of: record.connections[0]) }
            return record.session.owedDataOut
        }
        #expect(owed == 0)
        try session[0].connection.send(bytes: Array(bytes[1024...]))
        let response = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(response.initiatorTaskTag == tag && response.status == .checkCondition)
        try session.send(session.read(0, 16), on: 0)
        let read = try session.readOutcome(on: 0)
        #expect(read.data == [UInt8](repeating: 0, count: 8192))
    }

    @Test("A connection that breaks when a command of it fails takes no other connection's commands along")
    func brokenByFailure() throws {
        let fixture = try fixture()
        let isDone = Lock(false)
        fixture.reactors[0].post {
            self.breakByFailure(fixture)
            isDone.withLock { $0 = true }
        }
        let hasEnded = fixture.eventually { isDone.withLock { $0 } }
        #expect(hasEnded)
    }

    /// On the reactor of portal and session.
    private func breakByFailure(_ fixture: PortFixture) {
        let keys = ["ErrorRecoveryLevel=2", "MaxConnections=2", "DefaultTime2Wait=0", "DefaultTime2Retain=20"]
        let isid = InitiatorSessionID.random()
        guard let first = MessageDatamover(fixture), let second = MessageDatamover(fixture) else { return }
        first.logIn(keys) { $0.initiatorSessionID = isid }
        guard let session = first.connection.session else { return }
        second.logIn(keys) {
            $0.initiatorSessionID = isid
            $0.targetSessionHandle = session.targetSessionHandle
            $0.connectionID = 1
        }
        #expect(session.connectionCount == 2)
        first.receive(MessageDatamover.command(testUnitReady, 1))
        for datamover in [first, second] { datamover.withholdsData = true }
        second.receive(MessageDatamover.command(write10(0, 8), 2, writes: 4096))
        first.receive(MessageDatamover.command(write10(8, 8), 3, writes: 4096))
        // Both have been looked at once when the first connection breaks; its command waits for another.
        session.watchDataOut(of: first.connection)
        session.watchDataOut(of: second.connection)
        first.connection.close(.answersNotTaken)
        second.breaksAtResponse = true
        session.watchDataOut(of: second.connection)
        #expect(second.connection.isClosed)
        let waiting = session.orphan(withTag: 3)
        #expect(waiting?.task.state == .awaitingDataOut && waiting?.transportFailure == nil)
        session.end(.loggedOut)
    }
}

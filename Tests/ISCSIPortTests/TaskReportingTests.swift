import Bytes
import ISCSI
import ISCSIPort
import Initiator
import SCSI
import TargetCore
import Testing

/// RFC 7143 sections 4.2.2.3, 4.2.3.4 and 13.23, RFC 7144.
@Suite("Task reporting")
struct TaskReportingTests {
    private func session(_ fixture: PortFixture, _ reporting: TaskReporting) throws -> SharedSession {
        let session = try SharedSession(fixture) {
            $0.operational.taskReporting = [reporting]
            $0.operational.preferred.immediateData = false
        }
        #expect(session.report.parameters.taskReporting == reporting)
        return session
    }

    /// Sends a function without waiting for its answer.
    private func request(
        _ function: TaskManagementFunction, _ session: SharedSession, on connectionID: UInt16
    ) throws -> UInt32 {
        var request = TaskManagementRequestPDU()
        request.functionCode = function.rawValue
        request.initiatorTaskTag = session.takeTag()
        request.cmdSN = session.cmdSN
        try session.send(request, on: connectionID)
        return request.initiatorTaskTag
    }

    /// Takes the ping that asks for an acknowledgement, and answers it.
    private func acknowledge(_ session: SharedSession, on connectionID: UInt16) throws {
        let ping = try session.receive(NOPInPDU.self, on: connectionID)
        #expect(ping.targetTransferTag != reservedTag && ping.initiatorTaskTag == reservedTag)
        var answer = NOPOutPDU()
        answer.isImmediate = true
        answer.targetTransferTag = ping.targetTransferTag
        answer.cmdSN = session.cmdSN
        try session.send(answer, on: connectionID)
    }

    @Test("ResponseFence: the answer waits for the acknowledgement of all before it, and all after it for its own")
    func fence() throws {
        let session = try session(PortFixture(), .responseFence)
        try session.join(1)
        let start = session[1].expStatSN
        try session.send(session.command(testUnitReady), on: 1, acknowledging: start)
        _ = try session.receive(SCSIResponsePDU.self, on: 1)
        let tag = try request(.abortTaskSet, session, on: 0)
        let isQuiet = try session.isQuiet(0)
        #expect(isQuiet)
        try acknowledge(session, on: 1)
        let response = try session.receive(TaskManagementResponsePDU.self, on: 0)
        #expect(response.initiatorTaskTag == tag && response.response == .functionComplete)
        let read = session.read(0, 1)
        try session.send(read, on: 1)
        let isHeld = try session.isQuiet(1)
        #expect(isHeld)
        try acknowledge(session, on: 0)
        let outcome = try session.readOutcome(on: 1)
        #expect(outcome.tag == read.initiatorTaskTag && outcome.status == .good)
    }

    @Test("A fence gives up on an initiator that acknowledges nothing, and on connections that are gone")
    func fenceLimit() throws {
        var limits = PortLimits()
        limits.taskManagementWait = .milliseconds(50)
        let session = try session(PortFixture(limits: limits), .responseFence)
        try session.join(1)
        let start = session[1].expStatSN
        try session.send(session.command(testUnitReady), on: 1, acknowledging: start)
        _ = try session.receive(SCSIResponsePDU.self, on: 1)
        let tag = try request(.abortTaskSet, session, on: 0)
        let response = try session.receive(TaskManagementResponsePDU.self, on: 0)
        #expect(response.initiatorTaskTag == tag)
        _ = try session.receive(NOPInPDU.self, on: 1)
        try session.send(session.command(testUnitReady), on: 1, acknowledging: start)
        _ = try session.receive(SCSIResponsePDU.self, on: 1)
        let second = try request(.abortTaskSet, session, on: 0)
        try session.drop(1)
        let answer = try session.receive(TaskManagementResponsePDU.self, on: 0)
        #expect(answer.initiatorTaskTag == second)
    }

    @Test("FastAbort: other connections with affected tasks learn of their end by an Asynchronous Message")
    func fastAbort() throws {
        let fixture = try PortFixture()
        let session = try session(fixture, .fastAbort)
        try session.join(1)
        try session.send(session.write(0, 2), on: 1)
        let request = try session.receive(ReadyToTransferPDU.self, on: 1)
        let tag = try self.request(.abortTaskSet, session, on: 0)
        let message = try session.receive(AsyncMessagePDU.self, on: 1)
        #expect(message.event == .tasksTerminated && message.logicalUnitNumber == session.unit)
        try acknowledge(session, on: 1)
        let response = try session.receive(TaskManagementResponsePDU.self, on: 0)
        #expect(response.initiatorTaskTag == tag && response.response == .functionComplete)
        // Its transfer tag stays valid: the data is taken and dropped.
        try session.answer(request, from: pattern(1024), on: 1)
        let isQuiet = try session.isQuiet(1)
        #expect(isQuiet)
    }

    @Test("FastAbort: sessions whose tasks another one clears learn of it too")
    func fastAbortElsewhere() throws {
        let fixture = try PortFixture()
        let session = try session(fixture, .fastAbort)
        try session.send(session.write(0, 2), on: 0)
        _ = try session.receive(ReadyToTransferPDU.self, on: 0)
        let outcome = try fixture.initiator().manageTasks(.logicalUnitReset, on: LogicalUnitNumber(0))
        #expect(outcome == .functionComplete)
        let message = try session.receive(AsyncMessagePDU.self, on: 0)
        #expect(message.event == .tasksTerminated && message.logicalUnitNumber == session.unit)
    }

    @Test(
        "The functions of RFC 7144 need iSCSIProtocolLevel 2",
        arguments: [TaskManagementFunction.queryTask, .queryTaskSet, .iTNexusReset, .queryAsynchronousEvent])
    func protocolLevel(function: TaskManagementFunction) throws {
        let fixture = try PortFixture()
        let old = try fixture.initiator()
        let refused = try old.manageTasks(function, on: LogicalUnitNumber(0))
        #expect(refused == .functionNotSupported)
        let new = try fixture.initiator { $0.operational.preferred.iSCSIProtocolLevel = 2 }
        let outcome = try new.manageTasks(function, on: LogicalUnitNumber(0))
        #expect(outcome == .functionComplete)
    }

    @Test("A cold reset closes every connection of the target")
    func coldReset() throws {
        let fixture = try PortFixture()
        let session = try SharedSession(fixture)
        try session.join(1)
        let other = try fixture.initiator()
        let outcome = try session.manage(.targetColdReset, on: 0)
        #expect(outcome == .functionComplete)
        try session[0].connection.waitUntilClosed()
        try session[1].connection.waitUntilClosed()
        try other.connection.waitUntilClosed()
        let isOver = fixture.eventually { fixture.server.sessions().isEmpty && fixture.server.connectionCount == 0 }
        #expect(isOver)
    }
}

import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import TargetCore
import Testing

@Suite("Deadlines of sessions")
struct DeadlineTests {

    /// Sends ABORT TASK SET, immediate, as the function that follows after `gap` commands.
    private func abortTaskSet(_ session: SharedSession, after gap: Int, on connectionID: UInt16 = 0) throws {
        var request = TaskManagementRequestPDU()
        request.functionCode = TaskManagementFunction.abortTaskSet.rawValue
        request.initiatorTaskTag = session.takeTag()
        request.cmdSN = session.cmdSN.advanced(by: gap)
        try session.send(request, on: connectionID)
    }

    @Test("However many functions a session has held, it has one timer")
    func heldFunctions() throws {
        let fixture = try PortFixture()
        let session = try SharedSession(fixture)
        for _ in 0..<200 {
            try abortTaskSet(session, after: 1)
            try session.send(session.command(testUnitReady), on: 0)
            // The command is one of the function's tasks, and has ended before it begins.
            _ = try session.receive(SCSIResponsePDU.self, on: 0)
            let response = try session.receive(TaskManagementResponsePDU.self, on: 0)
            #expect(response.response == .functionComplete)
        }
        // The connection has the other one.
        let timers = fixture.pendingTimers
        #expect(timers == 2)
        try session[0].logOut()
        let areGone = fixture.eventually { fixture.pendingTimers == 0 }
        #expect(areGone)
    }

    @Test("Functions whose answers wait behind a fence count for the limit of functions")
    func fencedFunctions() throws {
        var limits = PortLimits()
        limits.taskManagementFunctions = 4
        limits.taskManagementWait = .seconds(60)
        let session = try SharedSession(PortFixture(limits: limits)) { $0.operational.taskReporting = [.responseFence] }
        try session.join(1)
        let start = session[1].expStatSN
        try session.send(session.command(testUnitReady), on: 1, acknowledging: start)
        _ = try session.receive(SCSIResponsePDU.self, on: 1)
        for _ in 0..<10 { try abortTaskSet(session, after: 0) }
        for _ in 0..<6 {
            let reject = try session.receive(RejectPDU.self, on: 0)
            #expect(reject.reason == .tooManyImmediateCommands)
        }
        let isQuiet = try session.isQuiet(0)
        #expect(isQuiet)
    }

    @Test("Without a timer left a connection is closed, a function waits for nothing, and others are served")
    func noTimerLeft() throws {
        var limits = PortLimits()
        limits.taskManagementWait = .seconds(60)
        let fixture = try PortFixture(limits: limits, timerLimit: 2)
        // The portal and the first and third session are on the same reactor.
        let session = try SharedSession(fixture)
        let others = try (0..<2).map { _ in try fixture.initiator() }
        let refused = try fixture.rawInitiator()
        try refused.connection.waitUntilClosed()
        try abortTaskSet(session, after: 3)
        let response = try session.receive(TaskManagementResponsePDU.self, on: 0)
        #expect(response.response == .functionComplete)
        for initiator in others + [session[0]] {
            let echo = try initiator.ping([1])
            #expect(echo == [1])
        }
    }
}

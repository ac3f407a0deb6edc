import DeviceTestSupport
import ISCSI
import Initiator
import Platform
import SCSI
import TargetCore
import Testing

@testable import ISCSIPort

/// RFC 7143 sections 4.2.2.1 and 11.17.1.
@Suite("Task management functions that wait")
struct FunctionLimitTests {
    private let other = LogicalUnitNumber(1)

    @Test("Each logical unit has its share, and so have functions on all; ABORT TASK does not take all of it")
    func shares() {
        let units = (0..<3).map { LogicalUnit(MemoryDevice(number: $0, blockCount: 1)) }
        var counts = FunctionCounts(limit: 20, share: 8)
        func begin(_ scope: FunctionCounts.Scope, isAbortTask: Bool = true, others: Int = 0) -> Bool {
            counts.begin(on: scope, isAbortTask: isAbortTask, others: others)
        }
        for _ in 0..<6 { #expect(begin(.unit(units[0]))) }
        #expect(!begin(.unit(units[0])))
        for _ in 0..<2 { #expect(begin(.unit(units[0]), isAbortTask: false)) }
        #expect(!begin(.unit(units[0]), isAbortTask: false))
        for _ in 0..<8 { #expect(begin(.all, isAbortTask: false)) }
        #expect(!begin(.all, isAbortTask: false))
        for _ in 0..<3 { #expect(begin(.unit(units[1]))) }
        #expect(!begin(.unit(units[1]), others: 1), "functions behind fences count for the session")
        #expect(begin(.unit(units[1])))
        #expect(!begin(.unit(units[1])) && counts.count == 20)
        // What has none under way has one in any case.
        #expect(!begin(.unit(units[2]), others: 20), "but not without end")
        #expect(begin(.unit(units[2]), others: 19))
        #expect(!begin(.unit(units[2])))
        #expect(begin(.absent) && !begin(.absent) && counts.count == 22)
        for _ in 0..<3 { counts.end(on: .unit(units[0])) }
        #expect(begin(.unit(units[2])))
        counts.end(on: .all)
        #expect(begin(.all, isAbortTask: false))
    }

    @Test("There is one function in any case for as many scopes as there can be")
    func assured() {
        var counts = FunctionCounts(limit: 2, share: 2)
        let more = (0..<FunctionCounts.assured + 2).map { _ in LogicalUnit(MemoryDevice(blockCount: 0)) }
        let taken = more.count { counts.begin(on: .unit($0), isAbortTask: false, others: 0) }
        #expect(taken == more.count)
        let isTaken = counts.begin(on: .all, isAbortTask: false, others: 0)
        #expect(!isTaken)
    }

    private func send(
        _ function: TaskManagementFunction, on unit: LogicalUnitNumber, task: UInt32 = reservedTag,
        isImmediate: Bool = true, _ session: SharedSession
    ) throws -> UInt32 {
        var request = TaskManagementRequestPDU()
        request.isImmediate = isImmediate
        request.functionCode = function.rawValue
        request.logicalUnitNumber = unit
        request.initiatorTaskTag = session.takeTag()
        request.referencedTaskTag = task
        request.cmdSN = isImmediate ? session.cmdSN : session.takeCmdSN()
        request.refCmdSN = session.cmdSN
        try session.send(request, on: 0)
        return request.initiatorTaskTag
    }

    private func outcome(_ session: SharedSession) throws -> (tag: UInt32, response: TaskManagementOutcome) {
        let response = try session.receive(TaskManagementResponsePDU.self, on: 0)
        return (response.initiatorTaskTag, response.response)
    }

    @Test("A hung unit takes no functions from others, whatever its number, and a reset of it is taken after aborts")
    func hungUnit() throws {
        var limits = PortLimits()
        limits.taskManagementFunctions = 16
        limits.taskManagementFunctionsOfUnit = 8
        let fixture = try PortFixture(limits: limits)
        let second = LogicalUnit(MemoryDevice(number: 2))
        fixture.target.map(second, at: 1)
        let session = try SharedSession(fixture)
        let hung = session.wait()
        try session.send(hung, on: 0)
        var waiting: Set<UInt32> = []
        for _ in 0..<6 {
            waiting.insert(try send(.abortTask, on: session.unit, task: hung.initiatorTaskTag, session))
        }
        _ = try send(.abortTask, on: session.unit, task: hung.initiatorTaskTag, session)
        let reject = try session.receive(RejectPDU.self, on: 0)
        #expect(reject.reason == .tooManyImmediateCommands)
        for _ in 0..<2 { waiting.insert(try send(.logicalUnitReset, on: session.unit, session)) }
        _ = try send(.logicalUnitReset, on: session.unit, session)
        let again = try session.receive(RejectPDU.self, on: 0)
        #expect(again.reason == .tooManyImmediateCommands)
        let refused = try send(.logicalUnitReset, on: session.unit, isImmediate: false, session)
        let refusal = try outcome(session)
        #expect(refusal == (refused, .functionRejected))
        // The other unit is not concerned, also where the hung one was.
        for _ in 0..<20 {
            let tag = try send(.abortTaskSet, on: other, session)
            let answer = try outcome(session)
            #expect(answer == (tag, .functionComplete))
        }
        fixture.target.unmap(at: 0)
        fixture.target.map(second, at: 0)
        // The reactors have done what came before.
        #expect(fixture.pendingTimers > 0)
        for function in [TaskManagementFunction.abortTaskSet, .logicalUnitReset] {
            let tag = try send(function, on: session.unit, session)
            let answer = try outcome(session)
            #expect(answer == (tag, .functionComplete))
        }
        fixture.letGo()
        while !waiting.isEmpty {
            let answer = try outcome(session)
            #expect(answer.response == .functionComplete)
            #expect(waiting.remove(answer.tag) != nil)
        }
        let isQuiet = try session.isQuiet(0)
        #expect(isQuiet)
    }

    @Test("However many units hang, one that does not is reset")
    func hungUnits() throws {
        var limits = PortLimits()
        limits.taskManagementFunctions = 16
        limits.taskManagementFunctionsOfUnit = 8
        let fixture = try PortFixture(limits: limits)
        let devices = [2, 3].map { MemoryDevice(number: $0) }
        for (index, device) in devices.enumerated() { fixture.target.map(LogicalUnit(device), at: 1 + index) }
        let session = try SharedSession(fixture)
        for number in [1, 2] { _ = try session[0].waitUntilReady(LogicalUnitNumber(number)) }
        session.cmdSN = session[0].nextCmdSN
        for number in [0, 1] {
            var hung = session.wait()
            hung.logicalUnitNumber = LogicalUnitNumber(number)
            try session.send(hung, on: 0)
            for _ in 0..<8 { _ = try send(.logicalUnitReset, on: LogicalUnitNumber(number), session) }
        }
        for number in [2, 7, 2, 7] {
            let tag = try send(.logicalUnitReset, on: LogicalUnitNumber(number), session)
            let answer = try outcome(session)
            #expect(answer == (tag, number == 2 ? .functionComplete : .logicalUnitDoesNotExist))
        }
        _ = try send(.logicalUnitReset, on: LogicalUnitNumber(1), session)
        let reject = try session.receive(RejectPDU.self, on: 0)
        #expect(reject.reason == .tooManyImmediateCommands)
        for device in devices { for reactor in fixture.reactors { reactor.post { device.letGo() } } }
        fixture.letGo()
        for _ in 0..<16 {
            let answer = try outcome(session)
            #expect(answer.response == .functionComplete)
        }
    }

    @Test("Functions that wait for a hung unit keep no session that has ended")
    func endedSessions() throws {
        let fixture = try PortFixture()
        // The tasks of a session that is there, and of one that has ended.
        let sessions = [try SharedSession(fixture), try SharedSession(fixture)]
        for session in sessions { try session.send(session.wait(), on: 0) }
        let areHeld = fixture.eventually { fixture.device.heldCount == 2 }
        #expect(areHeld)
        try sessions[1].drop(0)
        for _ in 0..<8 {
            let session = try SharedSession(fixture)
            weak var kept: Session?
            weak var connection: Connection?
            fixture.server.registry.withLock { registry in
                let record = registry.sessions.values.max { $0.handle < $1.handle }
                kept = record?.session
                connection = record?.connections.first
            }
            #expect(kept != nil && connection != nil)
            _ = try send(.logicalUnitReset, on: session.unit, session)
            // It has begun when the next one is answered.
            let tag = try send(.abortTaskSet, on: LogicalUnitNumber(7), session)
            let answer = try outcome(session)
            #expect(answer == (tag, .logicalUnitDoesNotExist))
            try session.drop(0)
            let isGone = fixture.eventually { kept == nil && connection == nil }
            #expect(isGone)
        }
        fixture.letGo()
    }

    @Test("FastAbort tells of a target reset unit by unit, on the connections that have tasks there")
    func announcements() throws {
        let fixture = try PortFixture()
        fixture.target.map(LogicalUnit(MemoryDevice(number: 2)), at: 1)
        let session = try SharedSession(fixture) {
            $0.operational.taskReporting = [.fastAbort]
            $0.operational.preferred.immediateData = false
        }
        _ = try session[0].waitUntilReady(other)
        session.cmdSN = session[0].nextCmdSN
        try session.join(1)
        for unit in [other, session.unit, other] {
            var write = session.write(0, 2)
            write.logicalUnitNumber = unit
            try session.send(write, on: 1)
            _ = try session.receive(ReadyToTransferPDU.self, on: 1)
        }
        _ = try send(.targetWarmReset, on: session.unit, session)
        for unit in [session.unit, other] {
            let message = try session.receive(AsyncMessagePDU.self, on: 1)
            #expect(message.event == .tasksTerminated && message.logicalUnitNumber == unit)
        }
        // What comes next asks for an acknowledgement.
        _ = try session.receive(NOPInPDU.self, on: 1)
    }
}

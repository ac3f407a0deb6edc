import DeviceTestSupport
import ISCSI
import Initiator
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
        func begin(_ unit: LogicalUnit?, isAbortTask: Bool = true, others: Int = 0) -> Bool {
            counts.begin(on: unit, isAbortTask: isAbortTask, others: others)
        }
        for _ in 0..<6 { #expect(begin(units[0])) }
        #expect(!begin(units[0]))
        for _ in 0..<2 { #expect(begin(units[0], isAbortTask: false)) }
        #expect(!begin(units[0], isAbortTask: false))
        for _ in 0..<8 { #expect(begin(nil, isAbortTask: false)) }
        #expect(!begin(nil, isAbortTask: false))
        #expect(!begin(units[1], others: 4), "functions behind fences count for the session")
        for _ in 0..<4 { #expect(begin(units[1])) }
        #expect(!begin(units[2]) && counts.count == 20)
        counts.end(on: units[0])
        #expect(begin(units[2]))
        counts.end(on: nil)
        #expect(begin(nil, isAbortTask: false))
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

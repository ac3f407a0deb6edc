import Bytes
import DeviceTestSupport
import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import TargetCore
import Testing

/// Commands whose numbers the test chooses.
private struct Numbered {
    let initiator: BlockingInitiator
    let first: SequenceNumber

    init(_ initiator: BlockingInitiator) {
        self.initiator = initiator
        first = initiator.nextCmdSN
    }

    /// The CmdSN `ahead` numbers after the first.
    func cmdSN(_ ahead: Int) -> SequenceNumber { first.advanced(by: ahead) }

    /// Sends TEST UNIT READY, or what `change` makes of it, and gives its tag.
    @discardableResult
    func send(_ ahead: Int, data: [UInt8] = [], _ change: (inout SCSICommandPDU) -> Void = { _ in }) throws -> UInt32 {
        var command = SCSICommandPDU()
        command.initiatorTaskTag = initiator.takeTag()
        command.cmdSN = cmdSN(ahead)
        change(&command)
        try initiator.send(command, data: data)
        return command.initiatorTaskTag
    }

    /// The tag and status of the SCSI Response that comes next.
    func response() throws -> (UInt32, SCSIStatus) {
        let response = try #require(try initiator.receive().parsed(as: SCSIResponsePDU.self))
        return (response.initiatorTaskTag, response.status)
    }

    /// The Reject that comes next.
    func reject() throws -> RejectPDU {
        try #require(try initiator.receive().parsed(as: RejectPDU.self))
    }

    /// ABORT TASK for a task that nobody knows, with a CmdSN that is `ahead` of the first; its own number is `own`.
    func abortUnknown(_ ahead: Int, own: Int) throws -> TaskManagementOutcome {
        initiator.nextCmdSN = cmdSN(own)
        return try initiator.manageTasks(
            .abortTask, on: LogicalUnitNumber(0), task: (tag: 0x7654_3210, cmdSN: cmdSN(ahead)))
    }
}

extension BlockingInitiator {
    /// Sends an immediate ping and gives whether its echo is the next thing that comes.
    func receiveEcho() throws -> Bool {
        var ping = NOPOutPDU()
        ping.isImmediate = true
        ping.initiatorTaskTag = takeTag()
        ping.cmdSN = nextCmdSN
        ping.expStatSN = expStatSN
        try send(ping)
        return try receive().parsed(as: NOPInPDU.self)?.initiatorTaskTag == ping.initiatorTaskTag
    }
}

@Suite("Command numbering")
struct NumberingTests {
    @Test("A command that is answered with an error ahead of its turn uses its CmdSN up in its turn")
    func failedAhead() throws {
        let fixture = try PortFixture()
        let numbered = Numbered(try fixture.initiator { $0.operational.preferred.immediateData = false })
        let second = try numbered.send(1, data: pattern(512)) { command in
            command.isWrite = true
            command.expectedDataTransferLength = 512
            command.dataSegmentLength = 512
            command.cdb = write10(0, 1)
        }
        let third = try numbered.send(2)
        let first = try numbered.send(0)
        for expected in [(first, SCSIStatus.good), (second, .checkCondition), (third, .good)] {
            let response = try numbered.response()
            #expect(response == expected)
        }
    }

    @Test("The CmdSN of a rejected command is still expected, in its turn and ahead of it")
    func rejected() throws {
        let fixture = try PortFixture()
        let numbered = Numbered(try fixture.initiator())
        try numbered.send(0) { $0.attributes = 5 }
        let inTurn = try numbered.reject()
        #expect(inTurn.reason == .invalidPDUField && inTurn.expCmdSN == numbered.cmdSN(0))
        try numbered.send(1) { $0.attributes = 5 }
        let ahead = try numbered.reject()
        #expect(ahead.reason == .invalidPDUField && ahead.expCmdSN == numbered.cmdSN(0))
        let third = try numbered.send(2)
        let first = try numbered.send(0)
        var response = try numbered.response()
        #expect(response == (first, .good))
        let second = try numbered.send(1)
        response = try numbered.response()
        #expect(response == (second, .good))
        response = try numbered.response()
        #expect(response == (third, .good))
    }

    @Test("A command with a tag that is in use is rejected, and the command of that tag goes on")
    func tagInUse() throws {
        let fixture = try PortFixture()
        let numbered = Numbered(try fixture.initiator())
        let tag = try numbered.send(0) { $0.cdb = CommandDescriptorBlock([MemoryDevice.wait, 0, 0, 0, 0, 0]) }
        try numbered.send(1) { $0.initiatorTaskTag = tag }
        let reject = try numbered.reject()
        #expect(reject.reason == .taskInProgress && reject.expCmdSN == numbered.cmdSN(1))
        fixture.letGo()
        let response = try numbered.response()
        #expect(response == (tag, .good))
    }

    @Test("ABORT TASK closes the gap of a command that never came")
    func abortClosesGap() throws {
        let fixture = try PortFixture()
        let numbered = Numbered(try fixture.initiator())
        let second = try numbered.send(1)
        let outcome = try numbered.abortUnknown(0, own: 2)
        #expect(outcome == .functionComplete)
        let response = try numbered.response()
        #expect(response == (second, .good))
        let late = try numbered.abortUnknown(0, own: 2)
        #expect(late == .taskDoesNotExist, "it is before the window")
        let own = try numbered.abortUnknown(2, own: 2)
        #expect(own == .taskDoesNotExist, "it is not before the function")
    }

    @Test(
        "A CmdSN that ABORT TASK has made count as received is skipped in its turn; its command is ignored later"
    )
    func abortAhead() throws {
        let fixture = try PortFixture()
        let numbered = Numbered(try fixture.initiator())
        for _ in 0..<2 {
            let outcome = try numbered.abortUnknown(1, own: 3)
            #expect(outcome == .functionComplete)
        }
        try numbered.send(1)
        let third = try numbered.send(2)
        let first = try numbered.send(0)
        for tag in [first, third] {
            let response = try numbered.response()
            #expect(response == (tag, .good))
        }
        try numbered.send(1)
        let fourth = try numbered.send(3)
        let response = try numbered.response()
        #expect(response == (fourth, .good))
    }

    @Test("Functions on many tasks end those that wait for their turn, without an answer")
    func abortHeld() throws {
        let fixture = try PortFixture()
        let numbered = Numbered(try fixture.initiator())
        try numbered.send(1)
        let third = try numbered.send(2) { $0.logicalUnitNumber = LogicalUnitNumber(3) }
        numbered.initiator.nextCmdSN = numbered.cmdSN(3)
        let outcome = try numbered.initiator.manageTasks(.abortTaskSet, on: LogicalUnitNumber(0))
        #expect(outcome == .functionComplete, "after a time, although a command before it has not come")
        let first = try numbered.send(0)
        var response = try numbered.response()
        #expect(response == (first, .good))
        response = try numbered.response()
        #expect(response == (third, .checkCondition), "there is no such unit")
    }

    @Test("An immediate function on many tasks waits for the commands before it, which are among its tasks")
    func functionWaits() throws {
        var limits = PortLimits()
        limits.taskManagementWait = .seconds(60)
        let fixture = try PortFixture(limits: limits)
        let numbered = Numbered(try fixture.initiator())
        var request = TaskManagementRequestPDU()
        request.functionCode = TaskManagementFunction.abortTaskSet.rawValue
        request.initiatorTaskTag = numbered.initiator.takeTag()
        request.cmdSN = numbered.cmdSN(1)
        try numbered.initiator.send(request)
        let echo = try numbered.initiator.receiveEcho()
        #expect(echo)
        try numbered.send(0) { $0.cdb = CommandDescriptorBlock([MemoryDevice.wait, 0, 0, 0, 0, 0]) }
        // The task is with the medium: the function is answered when it comes back, and the task is not.
        let isHeld = fixture.eventually { fixture.device.heldCount == 1 }
        #expect(isHeld)
        fixture.letGo()
        let response = try #require(try numbered.initiator.receive().parsed(as: TaskManagementResponsePDU.self))
        #expect(response.response == .functionComplete && response.initiatorTaskTag == request.initiatorTaskTag)
    }

    @Test("A reset of the target closes the numbering up to its own CmdSN")
    func resetPlugs() throws {
        let fixture = try PortFixture()
        let numbered = Numbered(try fixture.initiator())
        numbered.initiator.nextCmdSN = numbered.cmdSN(3)
        let outcome = try numbered.initiator.manageTasks(.targetWarmReset, on: LogicalUnitNumber(0))
        #expect(outcome == .functionComplete)
        try numbered.send(0)
        let fourth = try numbered.send(3)
        let response = try numbered.response()
        #expect(response == (fourth, .checkCondition), "the unit attention; what came late was ignored")
    }

    @Test("More pings than the window ahead of their turn neither close the connection nor get lost")
    func pingsAhead() throws {
        let fixture = try PortFixture()
        let numbered = Numbered(try fixture.initiator())
        var ping = NOPOutPDU()
        for ahead in (1..<200).reversed() {
            ping.initiatorTaskTag = UInt32(ahead)
            ping.cmdSN = numbered.cmdSN(ahead)
            ping.dataSegmentLength = 4
            try numbered.initiator.send(ping, data: [1, 2, 3, 4])
        }
        try numbered.send(0)
        let response = try numbered.response()
        #expect(response.1 == .good)
        for ahead in 1..<128 {
            let echo = try #require(try numbered.initiator.receive().parsed(as: NOPInPDU.self))
            #expect(echo.initiatorTaskTag == UInt32(ahead))
        }
    }
}

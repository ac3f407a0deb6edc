import DeviceTestSupport
import Fabric
import Platform
import SCSI
import SRP
import TestSupport
import Testing

@testable import SRPPort

@Suite("SRP port: task management")
struct TaskManagementTests {
    private func code(_ initiator: TestInitiator, _ tag: UInt64) -> SRPResponseCode? {
        initiator.answers[tag]?.response.responseCode
    }

    @Test(
        "Functions on commands that wait: the answer comes with their credits when the device has let go",
        arguments: [TaskManagementFunction.abortTask, .abortTaskSet, .clearTaskSet, .logicalUnitReset])
    func waiting(function: TaskManagementFunction) throws {
        try withBench { bench in
            let (fixture, initiator, waits, tag) = try bench.run {
                let fixture = try PortFixture()
                let initiator = try fixture.loggedIn()
                let waits = (0..<3).map { _ in initiator.submit(.wait) }
                fixture.settle()
                return (fixture, initiator, waits, initiator.manage(function, task: waits[1]))
            }
            try bench.settle(fixture)
            try bench.run {
                #expect(self.code(initiator, tag) == nil)
                fixture.device.letGo()
            }
            try bench.settle(fixture)
            try bench.run {
                #expect(self.code(initiator, tag) == .complete)
                let answered = waits.filter { initiator.answers[$0] != nil }
                #expect(answered == (function == .abortTask ? [waits[0], waits[2]] : []))
                #expect(initiator.credits == initiator.limit && initiator.creditRequests == 0)
                let sense = initiator.run(.testUnitReady)?.senseData
                #expect((sense?.key == .unitAttention) == (function == .logicalUnitReset))
                fixture.finish()
            }
        }
    }

    @Test("Functions without anything to do, for units that are not there, and none that the standard has")
    func others() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.loggedIn()
            for function in [TaskManagementFunction.abortTask, .abortTaskSet, .clearTaskSet, .clearACA] {
                let tag = initiator.manage(function, task: 99)
                fixture.settle()
                #expect(code(initiator, tag) == .complete)
                let absent = initiator.manage(function, lun: 5)
                fixture.settle()
                #expect(code(initiator, absent) == .functionFailed)
            }
            var unknown = SRPTaskManagement()
            unknown.functionCode = 0x10
            unknown.tag = 77
            unknown.solicitation = .failure
            initiator.spend()
            initiator.send(unknown.bytes)
            fixture.settle()
            #expect(code(initiator, 77) == .functionNotSupported)
            #expect(initiator.solicited == 1)
            #expect(initiator.credits == initiator.limit)
            fixture.finish()
        }
    }

    @Test("ABORT TASK reaches a command of another channel of the nexus")
    func otherChannel() throws {
        try withBench { bench in
            let (fixture, first, second, tag) = try bench.run {
                let fixture = try PortFixture()
                let first = try fixture.loggedIn()
                let second = try fixture.initiator()
                try second.logIn { $0.multiChannelAction = .keepOthers }
                first.submit(.wait, tag: 500)
                fixture.settle()
                let tag = second.manage(.abortTask, task: 500)
                fixture.settle()
                fixture.device.letGo()
                return (fixture, first, second, tag)
            }
            try bench.settle(fixture)
            try bench.run {
                #expect(self.code(second, tag) == .complete && first.answers[500] == nil)
                // No response brings the credit back.
                #expect(first.creditRequests == 1)
                #expect(first.credits == first.limit && second.credits == second.limit)
                fixture.finish()
            }
        }
    }

    @Test("A reset by another initiator: no response, the credits by SRP_CRED_REQ, and a unit attention")
    func resetByAnother() throws {
        try withBench { bench in
            let (fixture, first, other, tag) = try bench.run {
                let fixture = try PortFixture()
                let first = try fixture.loggedIn()
                let other = try fixture.loggedIn(2)
                for _ in 0..<5 { first.submit(.wait) }
                fixture.settle()
                return (fixture, first, other, other.manage(.logicalUnitReset))
            }
            try bench.settle(fixture)
            try bench.run { fixture.device.letGo() }
            try bench.settle(fixture)
            try bench.run {
                #expect(self.code(other, tag) == .complete)
                // Only TEST UNIT READY was answered.
                #expect(first.answers.count == 1)
                #expect(first.credits == first.limit && first.creditRequests > 0)
                #expect(first.run(.testUnitReady)?.senseData?.key == .unitAttention)
                fixture.finish()
            }
        }
    }

    @Test(
        "ABORT TASK while data is on its way is answered when it has come to an end",
        arguments: [BufferForm.direct, .complete(8), .partial(8, 2)], [true, false])
    func underway(form: BufferForm, isWrite: Bool) throws {
        try onReactor {
            var aborted = 0
            for steps in stride(from: 0, to: 80, by: Effort.isFull ? 1 : 3) {
                var setup = PortSetup()
                setup.pace = .stepped(seed: UInt64(steps))
                let fixture = try PortFixture(setup)
                let initiator = try fixture.loggedIn()
                let data = [UInt8](repeating: 9, count: 16 << 10)
                let command = isWrite ? TestCommand.write(0, data, form) : .read(0, 32, form)
                let tag = initiator.submit(command)
                for _ in 0..<steps {
                    _ = fixture.fabric.step()
                    _ = fixture.initiators.poll()
                    _ = fixture.context?.poll()
                }
                let function = initiator.manage(.abortTask, task: tag)
                for _ in 0..<10_000 where initiator.answers[function] == nil {
                    _ = fixture.fabric.step()
                    _ = fixture.initiators.poll()
                    _ = fixture.context?.poll()
                }
                // From here on the initiator may use the memory for something else.
                #expect(fixture.channels.allSatisfy { $0.outstandingReads == 0 && $0.busySlots == 0 })
                fixture.settle()
                #expect(code(initiator, function) == .complete)
                if initiator.answers[tag] == nil {
                    aborted += 1
                } else {
                    #expect(initiator.order.firstIndex(of: tag)! < initiator.order.firstIndex(of: function)!)
                }
                #expect(initiator.credits == initiator.limit)
                #expect(initiator.closed == nil)
                fixture.finish()
            }
            if isWrite { #expect(aborted > 0) }
        }
    }

    @Test(
        "ABORT TASK by another channel waits for what is on its way on the first", arguments: [true, false],
        [BufferForm.direct, .partial(8, 2)])
    func underwayElsewhere(isWrite: Bool, form: BufferForm) throws {
        try onReactor {
            for steps in stride(from: 0, to: 80, by: Effort.isFull ? 1 : 3) {
                var setup = PortSetup()
                setup.pace = .stepped(seed: UInt64(steps))
                let fixture = try PortFixture(setup)
                let first = try fixture.loggedIn()
                let second = try fixture.initiator()
                try second.logIn { $0.multiChannelAction = .keepOthers }
                let data = [UInt8](repeating: 9, count: 16 << 10)
                let tag = first.submit(isWrite ? .write(0, data, form) : .read(0, 32, form), tag: 900)
                for _ in 0..<steps { Self.work(fixture) }
                let hasArrived = fixture.channels.contains { $0.busySlots > 0 }
                let function = second.manage(.abortTask, task: tag)
                for _ in 0..<10_000 where second.answers[function] == nil { Self.work(fixture) }
                if hasArrived {
                    #expect(
                        fixture.channels.allSatisfy {
                            $0.outstandingReads == 0 && $0.busySlots == 0
                                && ($0.endedAnswers == $0.postedAnswers || $0.number == 2)
                        })
                }
                fixture.settle()
                #expect(first.credits == first.limit && second.credits == second.limit)
                #expect(first.closed == nil && second.closed == nil)
                fixture.finish()
            }
        }
    }

    private static func work(_ fixture: PortFixture) {
        _ = fixture.fabric.step()
        _ = fixture.initiators.poll()
        _ = fixture.context?.poll()
    }
}

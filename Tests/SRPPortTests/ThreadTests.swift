import DeviceTestSupport
import Fabric
import Platform
import SCSI
import SRP
import TargetCore
import TestSupport
import Testing

@testable import SRPPort

@Suite("SRP port: reactors of its own")
struct ThreadTests {
    private func setup(_ change: (inout PortSetup) -> Void = { _ in }) -> PortSetup {
        var setup = PortSetup()
        setup.reactorCount = 2
        change(&setup)
        return setup
    }

    @Test("Nexuses are spread over the reactors, and further channels go where their nexus is")
    func placement() throws {
        try onReactor {
            let fixture = try PortFixture(setup())
            let initiators = try (UInt64(1)...4).map { try fixture.loggedIn($0) }
            let seconds = try (UInt64(1)...4).map { number in
                let initiator = try fixture.initiator(number)
                try initiator.logIn { $0.multiChannelAction = .keepOthers }
                #expect(initiator.response?.multiChannelResult == .othersKept)
                return initiator
            }
            let reactors = fixture.target.nexuses.map { $0.reactor.index }
            #expect(reactors.filter { $0 == 0 }.count == 2 && reactors.filter { $0 == 1 }.count == 2)
            var random = SeededRandom(seed: 3)
            for (number, initiator) in (initiators + seconds).enumerated() {
                let data = random.bytes(16 * 512)
                #expect(initiator.run(.write(number * 32, data, .partial(4, 1)))?.status == .good)
                let read = TestCommand.read(number * 32, 16, .complete(3))
                #expect(initiator.run(read)?.status == .good)
                let isSame = initiator.data(read, count: data.count) == data
                #expect(isSame)
            }
            fixture.finish()
        }
    }

    @Test("A reset reaches commands on another reactor")
    func reset() throws {
        try onReactor {
            let fixture = try PortFixture(setup())
            let first = try fixture.loggedIn(1)
            let second = try fixture.loggedIn(2)
            for _ in 0..<4 { first.submit(.wait) }
            fixture.settle { fixture.device.heldCount == 4 }
            let tag = second.manage(.logicalUnitReset)
            fixture.settle()
            fixture.letGo()
            fixture.settle { second.answers[tag] != nil && first.credits == first.limit }
            #expect(second.answers[tag]?.response.responseCode == .complete)
            // Commands that were there have no answer, unless the device has let go of them before the reset came.
            #expect(first.creditRequests > 0 || first.answers.count > 1)
            #expect(first.run(.testUnitReady)?.senseData?.key == .unitAttention)
            fixture.finish()
        }
    }

    @Test("A serial unit of another reactor: data by the relay, functions, and an end with commands there")
    func relayed() throws {
        try onReactor {
            let fixture = try PortFixture(setup { $0.isSerial = true })
            let initiators = try (UInt64(1)...2).map { try fixture.loggedIn($0) }
            #expect(Set(fixture.target.nexuses.map { $0.reactor.index }).count == 2)
            var random = SeededRandom(seed: 3)
            for (number, initiator) in initiators.enumerated() {
                for form in [BufferForm.direct, .partial(4, 1), .immediate] {
                    let data = random.bytes(16 * 512)
                    #expect(initiator.run(.write(number * 32, data, form))?.status == .good)
                    let read = TestCommand.read(number * 32, 16, .complete(3))
                    #expect(initiator.run(read)?.status == .good)
                    let isSame = initiator.data(read, count: data.count) == data
                    #expect(isSame)
                }
            }
            for initiator in initiators {
                let waits = [initiator.submit(.wait), initiator.submit(.wait)]
                fixture.settle()
                let tags = waits.map { initiator.manage(.abortTask, task: $0) }
                // One after the other comes to the device.
                fixture.settle {
                    fixture.letGo()
                    return tags.allSatisfy { initiator.answers[$0] != nil } && initiator.credits == initiator.limit
                }
                #expect(tags.allSatisfy { initiator.answers[$0]?.response.responseCode == .complete })
                #expect(initiator.credits == initiator.limit)
                initiator.submit(.wait)
                initiator.submit(.write(0, [UInt8](repeating: 0, count: 4096), .partial(4, 1)))
            }
            fixture.settle()
            fixture.finish()
        }
    }

    @Test("A silent initiator is asked, and logged out when it does not answer")
    func silence() throws {
        try onReactor {
            let fixture = try PortFixture(setup { $0.limits.keepAliveInterval = .milliseconds(200) })
            let polite = try fixture.loggedIn(1)
            let silent = try fixture.loggedIn(2)
            silent.ignoresCreditRequests = true
            fixture.settle { silent.closed != nil && polite.creditRequests > 0 }
            #expect(silent.logout == .inactive && silent.closed == .peer)
            #expect(polite.creditRequests > 0 && polite.closed == nil)
            #expect(polite.run(.testUnitReady)?.status == .good && polite.credits == polite.limit)
            fixture.finish()
        }
    }

    @Test("A flood of logins and commands from many initiators at once")
    func many() throws {
        try onReactor {
            let fixture = try PortFixture(setup())
            let initiators = try (UInt64(1)...12).map { try fixture.initiator($0) }
            for initiator in initiators { try initiator.begin() }
            fixture.settle { initiators.allSatisfy { $0.outcome == .accepted } }
            for round in 1...10 {
                for initiator in initiators {
                    for area in 0..<4 {
                        var command = TestCommand.read(area * 64, 32, .partial(5, 2))
                        command.area = area
                        initiator.submit(command)
                    }
                }
                fixture.settle { initiators.allSatisfy { $0.order.count == round * 4 } }
            }
            for initiator in initiators {
                #expect(initiator.order.count == 40 && initiator.credits == initiator.limit)
            }
            fixture.finish()
        }
    }
}

import DeviceTestSupport
import Fabric
import Platform
import SCSI
import SRP
import TestSupport
import Testing

@testable import SRPPort

@Suite("SRP port: credits")
struct CreditTests {
    @Test("All credits can be used, and one request more ends the channel")
    func exceeded() throws {
        try onReactor {
            var setup = PortSetup()
            setup.limits.requestLimit = 8
            let fixture = try PortFixture(setup)
            let initiator = try fixture.loggedIn()
            #expect(initiator.limit == 8)
            for _ in 0..<8 { initiator.submit(.wait) }
            fixture.settle()
            #expect(initiator.logout == nil && fixture.device.heldCount == 8)
            initiator.submit(.wait)
            fixture.settle()
            #expect(initiator.logout == .unspecified)
            #expect(initiator.closed != nil && fixture.server.channelCount == 0)
            fixture.device.letGo()
            fixture.finish()
        }
    }

    @Test("The device's receives bound the request limit")
    func small() throws {
        try onReactor {
            var setup = PortSetup()
            setup.deviceLimits.workRequests = 97
            setup.limits.requestLimit = 200
            let fixture = try PortFixture(setup)
            let initiator = try fixture.loggedIn()
            #expect(initiator.limit == 94)
            fixture.finish()
        }
        try onReactor {
            var setup = PortSetup()
            setup.limits.requestLimit = 1
            let fixture = try PortFixture(setup)
            let initiator = try fixture.loggedIn()
            for _ in 0..<100 { #expect(initiator.run(.read(0, 8))?.status == .good) }
            #expect(initiator.credits == 1)
            fixture.finish()
        }
    }

    @Test("One SRP_CRED_REQ at a time; credits that come meanwhile go with responses")
    func unanswered() throws {
        try withBench { bench in
            let (fixture, first, second) = try bench.run {
                let fixture = try PortFixture()
                let first = try fixture.loggedIn()
                let second = try fixture.initiator()
                try second.logIn { $0.multiChannelAction = .keepOthers }
                first.ignoresCreditRequests = true
                return (fixture, first, second)
            }
            for round in 0..<3 {
                try bench.run {
                    let wait = first.submit(.wait, tag: UInt64(600 + round))
                    fixture.settle()
                    _ = second.manage(.abortTask, task: wait)
                    fixture.settle()
                    fixture.device.letGo()
                }
                try bench.settle(fixture)
            }
            try bench.run {
                #expect(first.creditRequests == 1 && first.credits == first.limit - 2)
                #expect(first.run(.testUnitReady)?.response.requestLimitDelta == 3)
                #expect(first.credits == first.limit)
                first.send(SRPCreditResponse().bytes)
                fixture.settle()
                #expect(first.logout == nil)
                first.send(SRPCreditResponse().bytes)
                fixture.settle()
                #expect(first.logout == .unexpectedResponse)
                #expect(second.run(.testUnitReady)?.status == .good)
                fixture.finish()
            }
        }
    }

    @Test(
        "A random load never takes more credits than there are, and all come back",
        arguments: Effort.seeds(20, few: 4), [FabricTransport.roce, .iWARP])
    func random(seed: UInt64, transport: FabricTransport) throws {
        try withBench { bench in
            let (fixture, initiators) = try bench.run {
                var setup = PortSetup()
                setup.pace = .stepped(seed: seed)
                setup.transport = transport
                setup.limits.requestLimit = Int(seed % 7) * 3 + 1
                setup.limits.sendQueue = 12
                let fixture = try PortFixture(setup)
                return (fixture, try (1...3).map { try fixture.loggedIn($0) })
            }
            var random = SeededRandom(seed: seed)
            for _ in 0..<100 {
                try bench.run { for _ in 0..<60 { Self.act(fixture, initiators, &random) } }
            }
            for _ in 0..<6 {
                try bench.settle(fixture)
                try bench.run { fixture.device.letGo() }
            }
            try bench.settle(fixture)
            try bench.run {
                for initiator in initiators {
                    #expect(
                        initiator.closed == nil && initiator.credits == initiator.limit,
                        "\(String(describing: initiator.closed)), \(initiator.credits) of \(initiator.limit)")
                }
                fixture.finish()
            }
        }
    }

    private static func act(_ fixture: PortFixture, _ initiators: [TestInitiator], _ random: inout SeededRandom) {
        let forms: [BufferForm] = [.direct, .complete(3), .partial(5, 1)]
        let initiator = initiators[Int.random(in: 0..<3, using: &random)]
        let mayBegin = initiator.credits > 0 && (initiator.pair?.freeSends ?? 0) > 4
        let form = forms[Int.random(in: 0..<3, using: &random)]
        switch Int.random(in: 0..<12, using: &random) {
        case 0 where mayBegin: initiator.submit(.wait)
        case 1 where mayBegin: initiator.submit(.read(0, 20, form))
        case 2 where mayBegin: initiator.submit(.write(64, [UInt8](repeating: 1, count: 8192), form))
        case 3 where mayBegin:
            if Int.random(in: 0..<8, using: &random) == 0 { _ = initiator.manage(.abortTaskSet) }
        case 4: if Int.random(in: 0..<10, using: &random) == 0 { fixture.device.letGo() }
        default: fixture.step(Int.random(in: 0..<3, using: &random))
        }
    }
}

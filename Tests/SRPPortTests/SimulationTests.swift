import Bytes
import DeviceTestSupport
import Fabric
import Platform
import SCSI
import SRP
import TestSupport
import Testing

@testable import SRPPort

/// An initiator of the simulation: it writes and reads blocks of its own, and knows what it must find there.
private final class Client {
    static let areas = 6
    static let blocks = 24

    let number: Int
    var initiator: TestInitiator
    /// What the blocks of an area hold; nil when nobody can say.
    var contents: [UInt8?]
    /// The command that an area is used by: its tag, whether it writes, and the byte that it writes.
    var underway: [(tag: UInt64, command: TestCommand, byte: UInt8?)?]
    /// When each of them was begun, in turns of this client.
    var begun: [Int]
    var turn = 0

    init(_ number: Int, _ initiator: TestInitiator) {
        self.number = number
        self.initiator = initiator
        contents = Array(repeating: nil, count: Self.areas)
        underway = Array(repeating: nil, count: Self.areas)
        begun = Array(repeating: 0, count: Self.areas)
    }

    /// Whether a command has not been answered for long, perhaps because a function has ended it.
    var isStuck: Bool { (0..<Self.areas).contains { underway[$0] != nil && turn - begun[$0] > 400 } }

    func block(_ area: Int) -> Int { (number * Self.areas + area) * 32 }

    /// Nothing is known of what was underway.
    func restart(_ initiator: TestInitiator) {
        self.initiator = initiator
        for area in 0..<Self.areas where underway[area] != nil {
            if underway[area]?.byte != nil { contents[area] = nil }
            underway[area] = nil
        }
    }
}

@Suite("SRP port: simulation")
struct SimulationTests {
    private struct Sums {
        var logins = 0
        var failedLogins = 0
        var writes = 0
        var reads = 0
        var functions = 0
        var closings = 0
    }

    /// Commands, functions, logins and logouts at random, on a fabric that fails at random.
    @Test(
        "What is written is read, credits hold, and nothing leaks: 100,000 steps (a tenth without --all)",
        arguments: [FabricTransport.roce, .iWARP], Effort.seeds(8, few: 3))
    func random(transport: FabricTransport, seed: UInt64) throws {
        try withBench { bench in
            var random = SeededRandom(seed: seed)
            let (fixture, clients) = try bench.run {
                var setup = PortSetup()
                setup.transport = transport
                setup.pace = .stepped(seed: seed)
                setup.limits.requestLimit = 12
                setup.limits.sendQueue = 24
                setup.limits.outstandingReads = 3
                let fixture = try PortFixture(setup)
                return (fixture, try (0..<4).map { Client($0, try Self.login($0, fixture)) })
            }
            var faults = LoopbackFaults()
            faults.lostMessage = seed % 3 == 0 ? 0 : 20
            faults.localFailure = 20
            faults.remoteFailure = 20
            faults.queuePairFailure = 20
            faults.lostConnection = 2000
            var sums = Sums()
            for _ in 0..<(Effort.isFull ? 1000 : 100) {
                try bench.run {
                    fixture.fabric.setFaults(faults)
                    for _ in 0..<100 {
                        try Self.act(fixture, clients[Int.random(in: 0..<4, using: &random)], &random, &sums)
                    }
                }
            }
            try bench.run { fixture.fabric.setFaults(LoopbackFaults()) }
            for _ in 0..<4 {
                try bench.settle(fixture)
                try bench.run { fixture.device.letGo() }
            }
            try bench.run {
                for client in clients { Self.collect(client, &sums) }
                print("\(transport), seed \(seed): \(sums)")
                #expect(sums.reads > 20 && sums.writes > 20 && sums.logins > 4 && sums.functions > 5)
                for client in clients {
                    let initiator = client.initiator
                    if initiator.closed == nil, initiator.logout == nil, initiator.outcome == .accepted {
                        #expect(initiator.credits == initiator.limit)
                    }
                }
                fixture.finish()
            }
        }
    }

    private static func login(_ number: Int, _ fixture: PortFixture) throws -> TestInitiator {
        // The first two are channels of one nexus.
        let initiator = try TestInitiator(fixture, number: UInt64(max(1, number)), areas: Client.areas)
        try initiator.logIn { $0.multiChannelAction = number < 2 ? .keepOthers : .endOthers }
        return initiator
    }

    private static func act(
        _ fixture: PortFixture, _ client: Client, _ random: inout SeededRandom, _ sums: inout Sums
    ) throws {
        collect(client, &sums)
        let initiator = client.initiator
        client.turn += 1
        if client.isStuck { initiator.pair?.close() }
        if initiator.closed != nil || initiator.outcome != .accepted {
            sums.closings += 1
            initiator.pair?.close()
            fixture.settle()
            let next = try login(client.number, fixture)
            sums.logins += 1
            if next.outcome != .accepted { sums.failedLogins += 1 }
            return client.restart(next)
        }
        let mayBegin = initiator.credits > 1 && (initiator.pair?.freeSends ?? 0) > 2
        let area = Int.random(in: 0..<Client.areas, using: &random)
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<20 where mayBegin && client.underway[area] == nil: begin(client, area, &random)
        case 20 where mayBegin: _ = initiator.submit(.wait)
        case 21: fixture.device.letGo()
        case 22 where mayBegin:
            let functions: [TaskManagementFunction] = [.abortTask, .abortTaskSet, .logicalUnitReset, .clearTaskSet]
            let function = functions[Int.random(in: 0..<functions.count, using: &random)]
            // A reset reaches all clients, whose commands get no answers: rare.
            if function == .logicalUnitReset, Int.random(in: 0..<4, using: &random) > 0 { return }
            _ = initiator.manage(function, task: client.underway[area]?.tag ?? 0)
            sums.functions += 1
        case 23:
            guard Int.random(in: 0..<20, using: &random) == 0 else { return }
            if Bool.random(using: &random) {
                initiator.send(SRPInitiatorLogout().bytes)
            } else {
                initiator.pair?.close()
            }
        case 24:
            if Int.random(in: 0..<10, using: &random) == 0 { for channel in fixture.channels { channel.lookAfter() } }
        default: for _ in 0..<6 { fixture.step(Int.random(in: 0..<3, using: &random)) }
        }
    }

    private static func begin(_ client: Client, _ area: Int, _ random: inout SeededRandom) {
        let forms: [BufferForm] = [.direct, .complete(3), .complete(12), .partial(9, 2), .partial(40, 0)]
        let form = forms[Int.random(in: 0..<forms.count, using: &random)]
        let block = client.block(area)
        var command: TestCommand
        var byte: UInt8?
        if Bool.random(using: &random) {
            let value = UInt8.random(in: 1...255, using: &random)
            let isShort = Int.random(in: 0..<3, using: &random) == 0
            let count = isShort ? 8 : Client.blocks
            command = .write(block, [UInt8](repeating: value, count: count * 512), isShort ? .immediate : form)
            byte = value
            client.contents[area] = nil
        } else {
            command = .read(block, 8, form)
        }
        command.area = area
        client.begun[area] = client.turn
        client.underway[area] = (client.initiator.submit(command), command, byte)
    }

    /// Looks at the answers that have come.
    private static func collect(_ client: Client, _ sums: inout Sums) {
        for area in 0..<Client.areas {
            guard let (tag, command, byte) = client.underway[area] else { continue }
            guard let answer = client.initiator.answers[tag] else { continue }
            client.underway[area] = nil
            guard answer.status == .good else { continue }
            if let byte {
                client.contents[area] = byte
                sums.writes += 1
            } else if let expected = client.contents[area] {
                let isSame = client.initiator.data(command, count: 4096).allSatisfy { $0 == expected }
                #expect(isSame, "client \(client.number), area \(area)")
                sums.reads += 1
            }
        }
    }
}

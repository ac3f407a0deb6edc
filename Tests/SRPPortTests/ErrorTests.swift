import Bytes
import DeviceTestSupport
import Fabric
import Platform
import SCSI
import SRP
import TestSupport
import Testing

@testable import SRPPort

@Suite("SRP port: errors")
struct ErrorTests {
    private static let forms: [BufferForm] = [.direct, .complete(4), .partial(4, 1)]

    @Test("Keys that do not exist and lengths beyond the region end the channel, and no other")
    func badMemory() throws {
        let spoilers: [@Sendable (inout SRPMemoryDescriptor) -> Void] = [
            { $0.memoryHandle ^= 0x5555 }, { $0.virtualAddress &+= 1 << 40 }, { $0.virtualAddress &+= 1 << 30 },
            { $0.virtualAddress = UInt64.max - 5 },
        ]
        try onReactor {
            let fixture = try PortFixture()
            let witness = try fixture.loggedIn(2)
            for form in Self.forms {
                for spoil in spoilers {
                    for isWrite in [true, false] {
                        let initiator = try fixture.loggedIn()
                        let data = [UInt8](repeating: 1, count: 4096)
                        var command = isWrite ? TestCommand.write(0, data, form) : .read(0, 8, form)
                        command.spoil = spoil
                        #expect(initiator.run(command) == nil)
                        #expect(initiator.closed != nil, "\(form), write \(isWrite)")
                        #expect(fixture.server.channelCount == 1)
                        #expect(witness.run(.read(0, 8))?.status == .good)
                    }
                }
            }
            fixture.finish()
        }
    }

    @Test("A table that cannot be fetched ends the channel")
    func badTable() throws {
        try onReactor {
            let fixture = try PortFixture()
            for isWrite in [true, false] {
                let initiator = try fixture.loggedIn()
                let data = [UInt8](repeating: 1, count: 4096)
                let command = isWrite ? TestCommand.write(0, data, .partial(4, 0)) : .read(0, 8, .partial(4, 0))
                var bytes = command.encoded(
                    tag: initiator.takeTag(), try #require(initiator.memory), area: initiator.area())
                bytes[48] ^= 0x40
                initiator.spend()
                initiator.send(bytes)
                fixture.settle()
                #expect(initiator.closed != nil)
                #expect(fixture.server.channelCount == 0)
            }
            fixture.finish()
        }
    }

    @Test("What a wrong information unit means")
    func informationUnits() throws {
        try onReactor {
            let fixture = try PortFixture()
            func unit(_ type: UInt8, _ length: Int = 64) -> [UInt8] {
                [type] + [UInt8](repeating: 0, count: length - 1)
            }
            func command(_ formats: UInt8) -> [UInt8] {
                var bytes = unit(0x02, 100)
                bytes[5] = formats
                return bytes
            }
            let rows: [([UInt8], SRPTargetLogoutReason)] = [
                (unit(0x04), .invalidType), (unit(0x40), .invalidType), (unit(0xFF), .invalidType),
                (unit(0x00), .invalidType), (unit(0x80), .invalidType), (unit(0x81), .invalidType),
                (unit(0x82), .invalidType), (unit(0xC0), .invalidType), (unit(0xC1), .invalidType),
                (unit(0xC2), .invalidType), (unit(0x41), .unexpectedResponse), (unit(0x42), .unexpectedResponse),
                (unit(0x02, 1), .invalidLength), (unit(0x02, 15), .invalidLength), (unit(0x02, 47), .invalidLength),
                (unit(0x01, 47), .invalidLength), (unit(0x03, 8), .invalidLength), (unit(0x41, 8), .invalidLength),
                (command(0x40), .unsupportedDataOutFormat), (command(0xF0), .unsupportedDataOutFormat),
                (command(0x03), .unsupportedDataInFormat), (command(0x0F), .unsupportedDataInFormat),
            ]
            for (bytes, reason) in rows {
                let initiator = try fixture.loggedIn()
                initiator.send(bytes)
                fixture.settle()
                #expect(initiator.logout == reason, "\(bytes.prefix(8)), \(bytes.count)")
                #expect(initiator.closed == .peer && fixture.server.channelCount == 0)
            }
            // An empty message has no type.
            let initiator = try fixture.loggedIn()
            initiator.send([])
            fixture.settle()
            #expect(initiator.logout == .invalidType)
            // Immediate data that was not agreed on.
            let plain = try fixture.loggedIn(1) { $0.requestsImmediateData = false }
            #expect(plain.response?.grantsImmediateData == false)
            plain.submit(.write(0, [UInt8](repeating: 0, count: 512), .immediate))
            fixture.settle()
            #expect(plain.logout == .unsupportedDataOutFormat)
            fixture.finish()
        }
    }

    @Test("A message that is longer than was agreed on ends the channel")
    func tooLong() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.loggedIn(1) {
                $0.maximumLength = 256
                $0.immediateDataOffset = 80
            }
            initiator.send([2] + [UInt8](repeating: 0, count: 256))
            fixture.settle()
            #expect(initiator.closed != nil && fixture.server.channelCount == 0)
            fixture.finish()
        }
    }

    @Test(
        "Information units that are wrong somewhere trap nowhere and leak nothing",
        arguments: Effort.seeds(40, few: 3))
    func mutated(seed: UInt64) throws {
        try onReactor {
            let fixture = try PortFixture()
            var random = SeededRandom(seed: seed)
            var initiator = try fixture.loggedIn()
            var ends = 0
            for round in 0..<400 {
                if initiator.closed != nil || initiator.credits < 2 {
                    initiator.pair?.close()
                    fixture.settle()
                    initiator = try fixture.loggedIn()
                    ends += 1
                }
                let form = Self.forms.randomElement(using: &random)!
                let data = [UInt8](repeating: 3, count: 4096)
                let command = round % 2 == 0 ? TestCommand.write(0, data, form) : .read(0, 8, form)
                var bytes = command.encoded(tag: UInt64(round), try #require(initiator.memory), area: initiator.area())
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let place = Int.random(in: 0..<min(bytes.count, 100), using: &random)
                    bytes[place] = UInt8.random(in: 0...255, using: &random)
                }
                if Int.random(in: 0..<8, using: &random) == 0 {
                    bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)))
                }
                initiator.spend()
                initiator.forget()
                initiator.send(bytes)
                fixture.settle()
                fixture.device.letGo()
            }
            fixture.settle()
            #expect(ends > 3)
            fixture.finish()
        }
    }

    @Test("An initiator that dies at any moment of a transfer leaves nothing", arguments: [true, false], forms)
    func death(isWrite: Bool, form: BufferForm) throws {
        try onReactor {
            for steps in stride(from: 0, to: 60, by: Effort.isFull ? 1 : 3) {
                var setup = PortSetup()
                setup.pace = .stepped(seed: UInt64(steps))
                let fixture = try PortFixture(setup)
                let witness = try fixture.loggedIn(2)
                let initiator = try fixture.loggedIn()
                let data = [UInt8](repeating: 1, count: 16 << 10)
                for area in 0..<3 {
                    var command = isWrite ? TestCommand.write(64 * area, data, form) : .read(64 * area, 32, form)
                    command.area = area
                    initiator.submit(command)
                }
                for _ in 0..<steps {
                    _ = fixture.fabric.step()
                    _ = fixture.initiators.poll()
                    _ = fixture.context?.poll()
                }
                initiator.pair?.close()
                fixture.settle()
                #expect(initiator.closed != nil)
                #expect(fixture.server.channelCount == 1)
                #expect(witness.run(.read(0, 8))?.status == .good)
                fixture.finish()
            }
        }
    }

    @Test("The device disappears under commands")
    func removal() throws {
        try onReactor {
            for steps in 0..<40 {
                var setup = PortSetup()
                setup.pace = .stepped(seed: UInt64(steps))
                let fixture = try PortFixture(setup)
                let initiator = try fixture.loggedIn()
                initiator.submit(.wait)
                for area in 0..<4 {
                    var command = TestCommand.write(64 * area, [UInt8](repeating: 1, count: 8192), .partial(4, 1))
                    command.area = area
                    initiator.submit(command)
                }
                for _ in 0..<steps {
                    _ = fixture.fabric.step()
                    _ = fixture.initiators.poll()
                    _ = fixture.context?.poll()
                }
                fixture.fabric.removeDevice("loop0")
                fixture.settle()
                #expect(initiator.closed != nil)
                #expect(fixture.server.channelCount == 0)
                #expect(fixture.endedPortals == [1])
                fixture.device.letGo()
                fixture.finish()
            }
        }
    }

    @Test("Initiators that take nothing hold no more than their share, and functions reach what waits")
    func backlog() throws {
        try withBench { bench in
            let (fixture, mutes, witness) = try bench.run {
                var setup = PortSetup()
                setup.blockCount = 16384
                setup.limits.dataInBacklog = 1 << 20
                let fixture = try PortFixture(setup)
                let mutes = try (UInt64(3)...6).map { number in
                    let mute = try TestInitiator(fixture, number: number)
                    mute.postsReceives = false
                    try mute.logIn()
                    return mute
                }
                return (fixture, mutes, try fixture.loggedIn(2))
            }
            let leased = try bench.run { fixture.reactor.pool.leasedBytes }
            try bench.run {
                for mute in mutes {
                    for area in 0..<60 { mute.submit(.read(area * 200, 150)) }
                    _ = mute.manage(.abortTaskSet)
                }
            }
            try bench.settle(fixture)
            try bench.run {
                #expect(fixture.reactor.pool.leasedBytes - leased <= mutes.count << 20)
                #expect(fixture.channels.filter { $0.reserved > 0 }.count == mutes.count)
                // What the functions have found waiting is gone.
                #expect(fixture.channels.allSatisfy { $0.held.isEmpty })
                #expect(witness.run(.read(0, 150))?.status == .good)
                // Of one that takes its answers all are there, in their order.
                let tags = (0..<60).map { number in
                    var command = TestCommand.read(number, 150)
                    command.area = number
                    return witness.submit(command)
                }
                let held = witness.manage(.abortTask, task: tags[59])
                fixture.settle()
                #expect(witness.answers[held]?.response.responseCode == .complete)
                let answered = tags.filter { witness.answers[$0] != nil }
                #expect(answered.count >= 59 && Array(tags.prefix(59)) == Array(answered.prefix(59)))
                #expect(witness.credits == witness.limit)
                for _ in 0..<4 { for channel in fixture.channels { channel.lookAfter() } }
                fixture.settle()
                #expect(mutes.allSatisfy { $0.closed != nil })
                #expect(fixture.channels.allSatisfy { $0.reserved == 0 })
                fixture.finish()
            }
        }
    }

    @Test("An initiator that has no receives takes nothing from others, and is closed in time")
    func notReady() throws {
        try onReactor {
            var setup = PortSetup()
            setup.reactorCount = 1
            setup.limits.logoutDuration = .milliseconds(30)
            let fixture = try PortFixture(setup)
            let witness = try fixture.loggedIn(2)
            let mute = try TestInitiator(fixture, number: 1)
            mute.postsReceives = false
            try mute.logIn()
            for area in 0..<60 { mute.submit(.read(area, 8, .partial(4, 1))) }
            fixture.settle()
            #expect(mute.answers.isEmpty && mute.closed == nil)
            for _ in 0..<10 { #expect(witness.run(.read(0, 64))?.status == .good) }
            let number = fixture.server.channels().first { $0.initiatorPort == mute.identifier }?.number ?? 0
            #expect(fixture.server.closeChannel(number))
            fixture.settle { mute.closed != nil }
            #expect(mute.closed != nil && mute.logout == nil)
            #expect(witness.run(.read(0, 64))?.status == .good)
            fixture.finish()
        }
    }
}

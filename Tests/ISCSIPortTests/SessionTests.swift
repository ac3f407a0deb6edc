import Bytes
import DeviceTestSupport
import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import TargetCore
import Testing

@Suite("Sessions")
struct SessionTests {
    @Test("Discovery shows the targets at the address that was used")
    func discovery() throws {
        let fixture = try PortFixture()
        let initiator = try BlockingInitiator.logIn(to: fixture.address, .discovery)
        let found = try initiator.sendTargets()
        #expect(found == [DiscoveredTarget(name: PortFixture.targetName, addresses: ["\(fixture.address),1"])])
        let none = try initiator.sendTargets("iqn.2026-11.dev.carousel:none")
        #expect(none.isEmpty)
        // SCSI commands have no place here.
        var command = SCSICommandPDU()
        command.initiatorTaskTag = initiator.takeTag()
        command.isImmediate = true
        command.cmdSN = initiator.nextCmdSN
        try initiator.send(command)
        let reason = try initiator.receive().parsed(as: RejectPDU.self)?.reason
        #expect(reason == .protocolError)
        let outcome = try initiator.logOut()
        #expect(outcome == .closed)
        let isEmpty = fixture.eventually { fixture.server.connectionCount == 0 }
        #expect(isEmpty)
    }

    @Test("A target that is not there is refused")
    func unknownTarget() throws {
        let fixture = try PortFixture()
        #expect(throws: InitiatorError.self) {
            _ = try fixture.initiator { $0.targetName = "iqn.2026-11.dev.carousel:none" }
        }
    }

    @Test("The same initiator port again ends the old session")
    func reinstatement() throws {
        let fixture = try PortFixture()
        let identifier = InitiatorSessionID.random()
        let first = try fixture.initiator { $0.initiatorSessionID = identifier }
        let second = try fixture.initiator { $0.initiatorSessionID = identifier }
        #expect(throws: InitiatorError.self) {
            _ = try first.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        }
        let read = try second.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
        #expect(fixture.server.sessions().count == 1)
        #expect(fixture.target.nexuses.count == 1)
    }

    @Test("Sessions are spread over the reactors")
    func placement() throws {
        let fixture = try PortFixture()
        let initiators = try (0..<4).map { _ in try fixture.initiator() }
        let places = fixture.server.sessions().map(\.reactor).sorted()
        #expect(places == [0, 0, 1, 1])
        for initiator in initiators {
            let read = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
            #expect(read.isGood)
        }
    }

    @Test("Pings come back, whatever their length")
    func pings() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator()
        for length in [0, 1, 3, 48, 4096, 8192] {
            let data = pattern(length)
            let echo = try initiator.ping(data)
            #expect(echo == data)
        }
    }

    @Test("A silent initiator is pinged, and given up when it does not answer")
    func keepAlive() throws {
        let fixture = try PortFixture(clock: ManualClock())
        let initiator = try fixture.initiator()
        fixture.advance(by: fixture.server.limits.keepAliveInterval)
        let ping = try #require(try initiator.receive().parsed(as: NOPInPDU.self))
        #expect(ping.targetTransferTag != reservedTag && ping.initiatorTaskTag == reservedTag)
        fixture.advance(by: fixture.server.limits.keepAliveInterval)
        try initiator.connection.waitUntilClosed()
        let isEmpty = fixture.eventually { fixture.server.connectionCount == 0 }
        #expect(isEmpty)
    }

    @Test("CmdSN outside the window is ignored; a gap waits until it is filled")
    func commandWindow() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator()
        func testUnitReady(_ cmdSN: SequenceNumber) throws -> UInt32 {
            var command = SCSICommandPDU()
            command.initiatorTaskTag = initiator.takeTag()
            command.cmdSN = cmdSN
            try initiator.send(command)
            return command.initiatorTaskTag
        }
        let next = initiator.nextCmdSN
        _ = try testUnitReady(next.advanced(by: -1))
        _ = try testUnitReady(next.advanced(by: 1000))
        let third = try testUnitReady(next.advanced(by: 2))
        let second = try testUnitReady(next.advanced(by: 1))
        _ = try testUnitReady(next.advanced(by: 1))
        let first = try testUnitReady(next)
        var order: [UInt32] = []
        for _ in 0..<3 {
            let response = try #require(try initiator.receive().parsed(as: SCSIResponsePDU.self))
            #expect(response.status == .good)
            order.append(response.initiatorTaskTag)
        }
        #expect(order == [first, second, third])
        initiator.nextCmdSN = next.advanced(by: 3)
        let read = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
    }

    @Test("Tasks are aborted; queries tell whether they are there")
    func taskManagement() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator {
            $0.operational.preferred.iSCSIProtocolLevel = 2
        }
        let unit = LogicalUnitNumber(0)
        let cmdSN = initiator.nextCmdSN
        let tag = try initiator.start(CommandDescriptorBlock([MemoryDevice.wait, 0, 0, 0, 0, 0]), on: unit)
        let isHeld = fixture.eventually { fixture.device.heldCount == 1 }
        #expect(isHeld)
        let query = try initiator.manageTasks(.queryTask, on: unit, task: (tag, cmdSN))
        #expect(query == .functionSucceeded)
        let unknown = try initiator.manageTasks(.abortTask, on: unit, task: (0x1234_5678, cmdSN))
        #expect(unknown == .taskDoesNotExist)
        let absent = try initiator.manageTasks(.logicalUnitReset, on: LogicalUnitNumber(7))
        #expect(absent == .logicalUnitDoesNotExist)
        let reassigned = try initiator.manageTasks(.taskReassign, on: unit, task: (tag, cmdSN))
        #expect(reassigned == .reassignmentNotSupported)
        fixture.letGo()
        let outcome = try initiator.outcome(of: tag)
        #expect(outcome.isGood)
    }

    @Test("A connection that goes while commands are with the medium leaves nothing behind")
    func abandonedCommands() throws {
        let fixture = try PortFixture()
        do {
            let initiator = try fixture.initiator()
            for _ in 0..<5 {
                _ = try initiator.start(
                    CommandDescriptorBlock([MemoryDevice.wait, 0, 0, 0, 0, 0]), on: LogicalUnitNumber(0))
            }
            let isHeld = fixture.eventually { fixture.device.heldCount == 5 }
            #expect(isHeld)
        }
        let isEmpty = fixture.eventually { fixture.server.connectionCount == 0 }
        #expect(isEmpty)
        #expect(fixture.target.nexuses.isEmpty)
        fixture.letGo()
        let initiator = try fixture.initiator()
        let read = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
    }

    @Test("Stopping asks for a logout and then closes")
    func stopping() async throws {
        // Other tests may hold the threads that `stop` needs for a while: no ping comes before its message, and the
        // grace period does not end before the logout.
        var limits = PortLimits()
        limits.keepAliveInterval = .seconds(3600)
        let fixture = try PortFixture(limits: limits)
        let initiator = try fixture.initiator { $0.timeout = .seconds(600) }
        async let stopped: Void = fixture.server.stop(gracePeriod: .seconds(3600))
        let message = try #require(try initiator.receive().parsed(as: AsyncMessagePDU.self))
        #expect(message.event == .logoutRequested && message.parameter3 == 3600)
        let outcome = try initiator.logOut()
        #expect(outcome == .closed)
        await stopped
        #expect(fixture.server.connectionCount == 0)
        #expect(throws: InitiatorError.self) { _ = try fixture.initiator() }
    }

    @Test("A target that is removed takes its sessions along")
    func removal() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator()
        fixture.targets.remove(name: PortFixture.targetName)
        fixture.server.closeSessions(targetName: PortFixture.targetName)
        try initiator.connection.waitUntilClosed()
        let isEmpty = fixture.eventually { fixture.server.sessions().isEmpty }
        #expect(isEmpty)
    }
}

@Suite("Hostile peers")
struct HostilePeerTests {
    @Test("Garbage is dropped, and others go on")
    func garbage() throws {
        let fixture = try PortFixture()
        let good = try fixture.initiator()
        for seed in 0..<20 {
            let raw = try fixture.rawInitiator()
            // It may be closed while the garbage is on its way.
            try? raw.connection.send(bytes: pattern(4096, seed: seed * 7 + 5).map { $0 | 0x80 })
            try raw.connection.waitUntilClosed()
        }
        let read = try good.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
        #expect(fixture.server.sessions().count == 1)
    }

    @Test("Connections that do not log in are closed after their time, and are bounded")
    func silentConnections() throws {
        var limits = PortLimits()
        limits.loginConnections = 20
        let fixture = try PortFixture(limits: limits, clock: ManualClock())
        let raw = try (0..<40).map { _ in try fixture.rawInitiator() }
        // When the twentieth has made room, the fortieth was taken.
        for connection in raw[..<20] { try connection.connection.waitUntilClosed() }
        let isBounded = fixture.eventually { fixture.server.connectionCount <= 20 }
        #expect(isBounded)
        fixture.advance(by: limits.loginDuration)
        for connection in raw[20...] { try connection.connection.waitUntilClosed() }
        let isEmpty = fixture.eventually { fixture.server.connectionCount == 0 }
        #expect(isEmpty)
        let read = try fixture.initiator().execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
    }

    @Test("A data segment beyond what was declared ends the connection")
    func tooLong() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator()
        var ping = NOPOutPDU()
        ping.isImmediate = true
        ping.initiatorTaskTag = initiator.takeTag()
        ping.cmdSN = initiator.nextCmdSN
        ping.dataSegmentLength = 262_145
        try initiator.send(ping)
        try initiator.connection.waitUntilClosed()
    }

    @Test("What makes no sense is rejected")
    func rejects() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator()
        func rejection(of change: (inout SCSICommandPDU) -> Void) throws -> RejectReason? {
            var command = SCSICommandPDU()
            command.isImmediate = true
            command.initiatorTaskTag = initiator.takeTag()
            command.cmdSN = initiator.nextCmdSN
            change(&command)
            try initiator.send(command)
            return try initiator.receive().parsed(as: RejectPDU.self)?.reason
        }
        let reserved = try rejection { $0.attributes = 5 }
        #expect(reserved == .invalidPDUField)
        let noDirection = try rejection { $0.expectedDataTransferLength = 1 }
        #expect(noDirection == .invalidPDUField)
        var header = BasicHeaderSegment()
        header.modifyBytes { $0.store(byte: 0x1C, at: 0) }
        try initiator.connection.send(header)
        let unknown = try initiator.receive().parsed(as: RejectPDU.self)?.reason
        #expect(unknown == .commandNotSupported)
        let echo = try initiator.ping([1])
        #expect(echo == [1])
    }

    @Test("A peer that does not take its answers is not read from for ever")
    func slowReader() throws {
        var limits = PortLimits()
        limits.outputBacklog = 1 << 20
        let fixture = try PortFixture(limits: limits, poolLimit: 64 << 20)
        let slow = try fixture.initiator()
        let good = try fixture.initiator()
        // 64 MiB are asked for and nothing is read.
        for _ in 0..<64 {
            _ = try slow.start(read10(0, 2048), on: LogicalUnitNumber(0), expectedDataInLength: 1 << 20)
        }
        for _ in 0..<50 {
            let read = try good.execute(read10(0, 8), on: LogicalUnitNumber(0), expectedDataInLength: 4096)
            #expect(read.isGood)
        }
    }

    @Test("Sense data of another device goes through byte for byte, as long as it may be")
    func foreignSense() throws {
        let initiator = try PortFixture().initiator()
        let outcome = try initiator.execute(
            CommandDescriptorBlock([MemoryDevice.foreignSense, 0, 0, 0, 0, 0]), on: LogicalUnitNumber(0))
        #expect(outcome.status == .checkCondition && outcome.senseBytes == MemoryDevice.longestSense)
        #expect(outcome.senseBytes.count == Sense.maximumLength)
    }
}

import Bytes
import DeviceTestSupport
import Fabric
import Platform
import SCSI
import SRP
import TargetCore
import TestSupport
import Testing

@testable import SRPPort

@Suite("SRP port: logins")
struct LoginTests {
    private static func reject(_ reason: SRPLoginRejectReason) -> TestInitiator.Outcome {
        .rejected(SRPLoginReject(reason, tag: 0xABCD))
    }

    @Test("What the response says")
    func response() throws {
        try onReactor {
            var setup = PortSetup()
            setup.limits.requestLimit = 20
            let fixture = try PortFixture(setup)
            let initiator = try fixture.initiator()
            try initiator.logIn()
            let response = try #require(initiator.response)
            #expect(response.tag == 0xABCD)
            #expect(response.requestLimitDelta == 20)
            #expect(response.maximumInitiatorLength == 8272)
            #expect(response.maximumTargetLength == 292)
            #expect(response.bufferFormats == .all)
            #expect(response.multiChannelResult == .noOthers)
            #expect(response.supportsSolicitation && response.grantsImmediateData)
            let nexus = try #require(fixture.target.nexuses.first)
            #expect(nexus.initiatorPort.name == "0x0000000000000001000000000000aabb")
            #expect(nexus.initiatorPort.transportID == initiator.identifier.transportID)
            #expect(nexus.targetPort.relativeIdentifier == 7)
            #expect(nexus.targetPort.protocolIdentifier == .srp)
            #expect(nexus.targetPort.name == "eui.1122334455667788020000FFFE000001")
            let standard = TestCommand.inquiry(96)
            #expect(initiator.run(standard)?.status == .good)
            let descriptors = initiator.data(standard, count: 74).suffix(16)
            #expect(stride(from: 58, to: 74, by: 2).contains { descriptors[$0] == 0x09 && descriptors[$0 + 1] == 0x40 })
            var identification = TestCommand.inquiry(200)
            identification.cdb[1] = 1
            identification.cdb[2] = 0x83
            #expect(initiator.run(identification)?.status == .good)
            let text = String(decoding: initiator.data(identification, count: 200), as: UTF8.self)
            #expect(text.contains(nexus.targetPort.name))
            fixture.finish()
        }
    }

    @Test("The target port is found in both orders of its halves")
    func swapped() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.initiator()
            try initiator.logIn { $0.targetPort = $0.targetPort.swapped }
            #expect(initiator.outcome == .accepted)
            fixture.finish()
        }
    }

    @Test("Every reason to reject a login")
    func reasons() throws {
        try onReactor {
            var setup = PortSetup()
            setup.limits.allowsMultipleChannels = false
            let fixture = try PortFixture(setup)
            func outcome(_ change: (inout SRPLoginRequest) -> Void) throws -> TestInitiator.Outcome {
                let initiator = try fixture.initiator()
                try initiator.logIn(change)
                return initiator.outcome
            }
            #expect(try outcome { $0.maximumLength = 8449 } == Self.reject(.maximumLengthTooLarge))
            #expect(try outcome { $0.maximumLength = 63 } == Self.reject(.unspecified))
            #expect(try outcome { $0.targetPort.guid = 1 } == Self.reject(.noNexus))
            #expect(try outcome { $0.targetPort.identifierExtension = 1 } == Self.reject(.noNexus))
            #expect(
                try outcome { $0.bufferFormats = SRPBufferFormats(rawValue: 9) }
                    == Self.reject(.unsupportedBufferFormat))
            #expect(
                try outcome { $0.multiChannelAction = .keepOthers } == Self.reject(.multipleChannelsUnsupported))
            #expect(fixture.refusedLogins.count == 6 && fixture.server.counters.refusedLogins == 6)
            #expect(fixture.refusedLogins[2].reason == .noNexus)
            #expect(fixture.refusedLogins[2].targetPort?.guid == 1)
            for privateData in [[], [UInt8](repeating: 0xFF, count: 20), [UInt8](repeating: 0xFF, count: 56)] {
                let initiator = try fixture.initiator()
                try initiator.begin(privateData: privateData)
                fixture.settle()
                guard case .rejected(let reject) = initiator.outcome else {
                    Issue.record("\(initiator.outcome)")
                    continue
                }
                #expect(reject.reason == .unspecified)
                #expect(reject.tag == (privateData.isEmpty ? 0 : UInt64.max))
            }
            let readless = try fixture.initiator()
            readless.parameters.responderResources = 0
            try readless.logIn { $0.targetPort = PortFixture.targetPort }
            #expect(readless.outcome == Self.reject(.insufficientResources))
            #expect(fixture.server.channelCount == 0)
            #expect(try outcome { $0.maximumLength = 64 } == .accepted)
            fixture.finish()
        }
    }

    @Test("Limits of channels: of all, of a nexus, of an initiator port, of those that are not established")
    func limits() throws {
        try onReactor {
            var setup = PortSetup()
            setup.limits.channels = 5
            setup.limits.channelsOfNexus = 2
            setup.limits.channelsOfInitiator = 3
            let fixture = try PortFixture(setup)
            let other = SRPPortIdentifier(identifierExtension: 5, guid: 6)
            fixture.table.add(
                SRPTargetPort(identifier: other, target: fixture.target, relativeIdentifier: 8, groupIdentifier: 1))
            func outcome(_ number: UInt64, _ port: SRPPortIdentifier) throws -> TestInitiator.Outcome {
                let initiator = try fixture.initiator(number)
                try initiator.logIn {
                    $0.multiChannelAction = .keepOthers
                    $0.targetPort = port
                }
                kept.append(initiator)
                return initiator.outcome
            }
            var kept: [TestInitiator] = []
            let first = PortFixture.targetPort
            #expect(try outcome(1, first) == .accepted)
            #expect(try outcome(1, first) == .accepted)
            #expect(try outcome(1, first) == Self.reject(.channelLimitReached))
            #expect(try outcome(1, other) == .accepted)
            #expect(try outcome(1, other) == Self.reject(.channelLimitReached))
            #expect(try outcome(2, first) == .accepted)
            #expect(try outcome(3, first) == .accepted)
            #expect(try outcome(4, first) == Self.reject(.insufficientResources))
            #expect(fixture.server.channelCount == 5)
            kept[0].pair?.close()
            fixture.settle()
            #expect(try outcome(4, first) == .accepted)
            fixture.finish()
        }
    }

    @Test("MULTI-CHANNEL ACTION: channels that go on side by side, and those that a login ends")
    func channels() throws {
        try onReactor {
            let fixture = try PortFixture()
            let first = try fixture.loggedIn()
            let second = try fixture.initiator()
            try second.logIn { $0.multiChannelAction = .keepOthers }
            #expect(second.response?.multiChannelResult == .othersKept)
            #expect(fixture.target.nexuses.count == 1)
            // One nexus: its unit attention has been reported.
            #expect(second.run(.testUnitReady)?.status == .good)
            #expect(first.run(.testUnitReady)?.status == .good)
            second.pair?.close()
            fixture.settle()
            #expect(first.run(.testUnitReady)?.status == .good)
            let third = try fixture.initiator()
            try third.logIn()
            #expect(third.response?.multiChannelResult == .othersEnded)
            #expect(first.logout == .multiChannelAction && first.closed == .peer)
            #expect(third.run(.testUnitReady)?.senseData?.key == .unitAttention)
            #expect(fixture.target.nexuses.count == 1 && fixture.server.channelCount == 1)
            let other = try fixture.loggedIn(2)
            #expect(third.run(.testUnitReady)?.status == .good && other.run(.testUnitReady)?.status == .good)
            fixture.finish()
        }
    }

    /// A table of targets that refuses one initiator port.
    private final class Selective: SRPTargets {
        let table: SRPTargetTable
        let refused = Lock<SRPPortIdentifier?>(nil)

        init(_ table: SRPTargetTable) { self.table = table }

        func targetPort(_ identifier: SRPPortIdentifier, portal: UInt16) -> SRPTargetPort? {
            table.targetPort(identifier, portal: portal)
        }

        func access(_ request: SRPAccessRequest, to port: SRPTargetPort) -> SRPAccess {
            request.initiatorPort == refused.withLock { $0 } ? .refused(.noNexus) : .granted()
        }

        func knownTargetPorts(of port: SRPTargetPort) -> [TargetPort] { table.knownTargetPorts(of: port) }
    }

    @Test("Access is asked at login, and again when it has changed; what is shown of channels")
    func access() throws {
        try onReactor {
            let table = SRPTargetTable()
            let selective = Selective(table)
            let fixture = try PortFixture(targets: selective)
            table.add(
                SRPTargetPort(
                    identifier: PortFixture.targetPort, target: fixture.target, relativeIdentifier: 7,
                    groupIdentifier: 1))
            let first = try fixture.loggedIn(1)
            let second = try fixture.loggedIn(2)
            let shown = fixture.server.channels()
            #expect(shown.map(\.initiatorPort) == [first.identifier, second.identifier])
            #expect(shown[0].deviceName == "loop0" && shown[0].requestLimit == 64 && shown[0].portal == 1)
            #expect(shown.reduce(0) { $0 + $1.bufferBytes } == fixture.server.counters.bufferBytes)
            #expect(shown[0].peerAddress?.host == "127.0.0.2")
            fixture.server.reviewAccess()
            fixture.settle()
            #expect(first.closed == nil && second.closed == nil)
            selective.refused.withLock { $0 = first.identifier }
            fixture.server.reviewAccess()
            fixture.settle()
            #expect(first.logout == .unspecified && first.closed == .peer && second.closed == nil)
            let again = try fixture.initiator(1)
            try again.logIn()
            #expect(again.outcome == Self.reject(.noNexus))
            #expect(shown.map(\.number) == [1, 2] && !fixture.server.closeChannel(1))
            let third = try fixture.loggedIn(3)
            #expect(fixture.server.closeChannel(3))
            fixture.settle()
            #expect(third.logout == .unspecified && third.closed == .peer)
            table.remove(PortFixture.targetPort)
            fixture.server.reviewAccess()
            fixture.settle()
            #expect(second.closed == .peer && fixture.server.channels().isEmpty)
            fixture.finish()
        }
    }

    @Test("An initiator that logs out, and one that leaves without a word")
    func logout() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.loggedIn()
            initiator.submit(.wait)
            fixture.settle()
            initiator.send(SRPInitiatorLogout().bytes)
            fixture.settle()
            #expect(initiator.closed == .peer && initiator.logout == nil)
            #expect(fixture.server.channelCount == 0)
            let other = try fixture.loggedIn(2)
            other.submit(.wait)
            fixture.settle()
            other.pair?.close()
            fixture.settle()
            #expect(fixture.server.channelCount == 0 && fixture.target.nexuses.isEmpty)
            fixture.device.letGo()
            fixture.finish()
        }
    }

    /// PERSISTENT RESERVE OUT with that service action and keys: WRITE EXCLUSIVE.
    private func reserve(_ action: UInt8, old: UInt64, new: UInt64) -> TestCommand {
        var list: [UInt8] = []
        list.appendBE64(old)
        list.appendBE64(new)
        list += [UInt8](repeating: 0, count: 8)
        var command = TestCommand([0x5F, action, 1, 0, 0, 0, 0, 0, 24] + [UInt8](repeating: 0, count: 7))
        command.dataOut = list
        command.outForm = .direct
        return command
    }

    @Test("A persistent reservation is kept over logout and login")
    func reservation() throws {
        try withBench { bench in
            let (fixture, first, other) = try bench.run {
                let fixture = try PortFixture()
                return (fixture, try fixture.loggedIn(), try fixture.loggedIn(2))
            }
            func status(_ initiator: TestInitiator, _ command: TestCommand) throws -> SCSIStatus? {
                let tag = try bench.run { initiator.submit(command) }
                try bench.settle(fixture)
                return try bench.run { initiator.answers[tag]?.status }
            }
            let write = TestCommand.write(0, [UInt8](repeating: 1, count: 512))
            #expect(try status(first, reserve(0, old: 0, new: 7)) == .good)
            #expect(try status(first, reserve(1, old: 7, new: 0)) == .good)
            #expect(try status(other, write) == .reservationConflict)
            let again = try bench.run {
                first.send(SRPInitiatorLogout().bytes)
                fixture.settle()
                return try fixture.loggedIn()
            }
            #expect(try status(other, write) == .reservationConflict)
            #expect(try status(again, write) == .good)
            #expect(try status(again, reserve(2, old: 7, new: 0)) == .good)
            #expect(try status(other, write) == .good)
            try bench.run { fixture.finish() }
        }
    }

    @Test("A login that comes back finds a unit BUSY that still works on commands of the former session")
    func occupied() throws {
        try onReactor {
            let fixture = try PortFixture()
            let first = try fixture.loggedIn()
            first.submit(.wait)
            fixture.settle()
            let again = try fixture.initiator()
            try again.logIn()
            #expect(again.response?.multiChannelResult == .othersEnded)
            #expect(again.run(.testUnitReady)?.status == .busy)
            #expect(again.run(.inquiry())?.status == .good)
            fixture.device.letGo()
            #expect(again.run(.testUnitReady)?.senseData?.key == .unitAttention)
            #expect(again.run(.testUnitReady)?.status == .good)
            fixture.finish()
        }
    }

    @Test("10,000 logins that are rejected leave nothing, and the others go on")
    func flood() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.loggedIn()
            let counters = try #require(fixture.context?.counters)
            let (regions, leased) = (counters.registeredRegions, fixture.reactor.pool.leasedBytes)
            var login = SRPLoginRequest(
                initiatorPort: SRPPortIdentifier(identifierExtension: 9, guid: 9), targetPort: PortFixture.targetPort)
            for number in 0..<10_000 {
                switch number % 4 {
                case 0: login.targetPort.guid = UInt64(number)
                case 1: login.maximumLength = 1 << 20
                case 2: login.bufferFormats = SRPBufferFormats(rawValue: 0x10)
                default: login.targetPort = PortFixture.targetPort
                }
                try RejectedLogin(login).run(fixture)
                if number % 1000 == 0 { #expect(initiator.run(.testUnitReady)?.status == .good) }
            }
            #expect(fixture.server.counters.refusedLogins == 10_000)
            #expect(fixture.server.channelCount == 1)
            #expect(counters.registeredRegions == regions && counters.queuePairs == 1)
            #expect(fixture.reactor.pool.leasedBytes == leased)
            fixture.finish()
        }
    }

    @Test("200 logins and logouts leave no region and no lease")
    func rounds() throws {
        try onReactor {
            let fixture = try PortFixture()
            _ = try fixture.loggedIn(2)
            let counters = try #require(fixture.context?.counters)
            let (regions, leased) = (counters.registeredRegions, fixture.reactor.pool.leasedBytes)
            for round in 0..<200 {
                let initiator = try fixture.loggedIn()
                #expect(initiator.run(.read(0, 8))?.status == .good)
                weak let channel = fixture.channels.first { $0.key.initiatorPort == initiator.identifier }
                weak let session = channel?.session
                #expect(channel != nil && session != nil)
                if round % 2 == 0 { initiator.send(SRPInitiatorLogout().bytes) } else { initiator.pair?.close() }
                fixture.settle()
                #expect(initiator.closed != nil && channel == nil && session == nil)
                #expect(counters.registeredRegions == regions && fixture.reactor.pool.leasedBytes == leased)
            }
            #expect(fixture.server.channelCount == 1)
            fixture.finish()
        }
    }
}

/// A login without memory, which is rejected.
private final class RejectedLogin: QueuePairHandler, RouteHandler {
    private let login: SRPLoginRequest
    private var route: FabricRoute?
    private var isRejected = false

    init(_ login: SRPLoginRequest) { self.login = login }

    func run(_ fixture: PortFixture) throws {
        _ = try fixture.initiators.resolve(PortFixture.address, from: nil, handler: self)
        fixture.settle()
        guard let route else { throw TestFailure(description: "no way") }
        let domain = try fixture.initiators.domain(on: route.device())
        let pair = try route.makeQueuePair(in: domain, QueuePairCapabilities(sends: 1, receives: 1), handler: self)
        var bytes = [UInt8](repeating: 0, count: SRPLoginRequest.privateDataLength)
        bytes.modifyBytes { login.encodePrivateData(into: &$0) }
        try pair.connect(ConnectionParameters(privateData: bytes))
        fixture.settle()
        #expect(isRejected)
    }

    func resolved(_ route: FabricRoute) { self.route = route }
    func failed(_ route: FabricRoute, _ failure: ConnectFailure) {}
    func established(_ queuePair: QueuePair, _ parameters: ConnectionParameters) {}
    func completed(_ completion: Completion, on queuePair: QueuePair) {}

    func closed(_ queuePair: QueuePair, _ reason: CloseReason) {
        if case .notConnected(.rejected) = reason { isRejected = true }
    }
}

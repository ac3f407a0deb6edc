import Bytes
import DeviceTestSupport
import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import TargetCore
import Testing

/// Access as the test says, for the fixture's one target.
final class ScriptedAccess: AccessControl {
    struct Script: Sendable {
        var access = TargetAccess.granted(.none)
        var isVisible = true
        var tags: Set<UInt16>?
        var requests: [AccessRequest] = []
        /// Called at the second request, with its answer made.
        var atSecondRequest: (@Sendable () -> Void)?
    }
    let script = Lock(Script())

    func change(_ body: (inout Script) -> Void) { script.withLock { body(&$0) } }

    func access(_ request: AccessRequest, to target: Target) -> TargetAccess {
        let (access, interruption) = script.withLock { script in
            script.requests.append(request)
            return (script.access, script.requests.count == 2 ? script.atSecondRequest.take() : nil)
        }
        interruption?()
        return access
    }
    func discoveryAuthentication(_ request: AccessRequest) -> AuthenticationPolicy { .none }
    func isVisible(_ target: Target, to request: AccessRequest) -> Bool { script.withLock { $0.isVisible } }
    func portalGroupTags(of target: Target) -> Set<UInt16>? { script.withLock { $0.tags } }
}

@Suite("Access and portals")
struct AccessTests {
    let access = ScriptedAccess()
    let fixture: PortFixture

    init() throws { fixture = try PortFixture(access: access) }

    /// How a login to `portal` is refused; nil when it is not.
    func refusal(at portal: SocketAddress? = nil) throws -> (status: LoginStatus, address: String?)? {
        do throws(InitiatorError) {
            _ = try BlockingInitiator.logIn(
                to: portal ?? fixture.address, InitiatorSettings(targetName: PortFixture.targetName))
            return nil
        } catch {
            guard case .loginRefused(let status, let address) = error else { throw error }
            return (status, address)
        }
    }

    func discovered(at portal: SocketAddress? = nil) throws -> [DiscoveredTarget] {
        try BlockingInitiator.logIn(to: portal ?? fixture.address, .discovery).sendTargets()
    }

    @Test("Who may not use a target is refused, and who may not see it is not told")
    func refusals() throws {
        access.change { $0.access = .refused(.authorizationFailure) }
        #expect(try refusal()?.status == .authorizationFailure)
        #expect(try discovered().count == 1)
        access.change { $0.isVisible = false }
        #expect(try discovered().isEmpty)
        access.change { $0.access = .moved(address: "192.0.2.1:3260", permanently: false) }
        let moved = try refusal()
        #expect(moved?.status == .targetMovedTemporarily && moved?.address == "192.0.2.1:3260")
        access.change { $0.access = .moved(address: "[2001:db8::1]:3260", permanently: true) }
        let gone = try refusal()
        #expect(gone?.status == .targetMovedPermanently && gone?.address == "[2001:db8::1]:3260")
        #expect(fixture.server.sessions().isEmpty)
        let request = try #require(access.script.withLock { $0.requests.first })
        #expect(request.initiatorName == InitiatorSettings.defaultName)
        #expect(request.peerAddress.host == "127.0.0.1" && request.localAddress == fixture.address)
        #expect(request.portalGroupTag == 1)
    }

    @Test("An initiator sees the logical units of its map only")
    func maps() throws {
        let map = LogicalUnitMap()
        fixture.target.map(fixture.unit, at: 5, of: map)
        access.change { $0.access = .granted(.none, map) }
        let initiator = try BlockingInitiator.logIn(
            to: fixture.address, InitiatorSettings(targetName: PortFixture.targetName))
        _ = try initiator.waitUntilReady(LogicalUnitNumber(5))
        let report = CommandDescriptorBlock([OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
        let list = try initiator.execute(report, on: LogicalUnitNumber(0), expectedDataInLength: 256)
        #expect(list.dataIn == [0, 0, 0, 8, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0])
        let inquiry = CommandDescriptorBlock([OperationCode.inquiry, 0, 0, 0, 36, 0])
        let absent = try initiator.execute(inquiry, on: LogicalUnitNumber(0), expectedDataInLength: 36)
        #expect(absent.dataIn.first == 0x7F)
        let present = try initiator.execute(inquiry, on: LogicalUnitNumber(5), expectedDataInLength: 36)
        #expect(present.dataIn.first == 0)
        let read = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(5), expectedDataInLength: 512)
        #expect(read.isGood)
        let denied = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(!denied.isGood)
        // Those who use the map learn of a change, and can use what is new.
        fixture.target.map(fixture.unit, at: 6, of: map)
        let told = try initiator.execute(testUnitReady, on: LogicalUnitNumber(5))
        #expect(told.sense?.additionalSenseCode == .reportedLUNsDataHasChanged)
        _ = try initiator.waitUntilReady(LogicalUnitNumber(6))
        fixture.target.unmap(at: 6, of: map)
        let toldAgain = try initiator.execute(testUnitReady, on: LogicalUnitNumber(5))
        #expect(toldAgain.sense?.additionalSenseCode == .reportedLUNsDataHasChanged)
        #expect(fixture.target.logicalUnits.all.keys.sorted() == [0])
    }

    @Test("Sessions end when access ends, or other logical units would be seen; others stay")
    func review() throws {
        let initiator = try fixture.initiator()
        fixture.server.reviewAccess()
        let read = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
        access.change { $0.access = .granted(.none, LogicalUnitMap()) }
        fixture.server.reviewAccess()
        try initiator.connection.waitUntilClosed()
        access.change { $0.access = .granted(.none) }
        let second = try fixture.initiator()
        access.change { $0.access = .refused(.authorizationFailure) }
        fixture.server.reviewAccess()
        try second.connection.waitUntilClosed()
        let isEmpty = fixture.eventually { fixture.server.sessions().isEmpty }
        #expect(isEmpty)
    }

    /// The second request is that of the session that is in the registry: what has changed the directory has looked for
    /// sessions before.
    @Test("A session whose target is taken out or replaced as it begins ends", arguments: [false, true])
    func replacedDuringLogin(isReplaced: Bool) throws {
        access.change { [targets = fixture.targets] script in
            script.atSecondRequest = {
                targets.remove(name: PortFixture.targetName)
                guard isReplaced else { return }
                targets.add(Target(name: PortFixture.targetName, alias: "", homeReactor: nil))
            }
        }
        let initiator = try BlockingInitiator.logIn(
            to: fixture.address, InitiatorSettings(targetName: PortFixture.targetName))
        try initiator.connection.waitUntilClosed()
        let isEmpty = fixture.eventually { fixture.server.sessions().isEmpty }
        #expect(isEmpty)
        #expect(access.script.withLock { $0.requests.count } == 2)
    }

    @Test("A target is offered by its portal groups only, with their tags")
    func portalGroups() throws {
        let second = try fixture.server.addPortal(#require(SocketAddress("127.0.0.1:0")), portalGroupTag: 7)
        let all = try discovered()
        #expect(all.first?.addresses == ["\(fixture.address),1", "\(second),7"])
        #expect(try discovered(at: second).first?.addresses == ["\(second),7", "\(fixture.address),1"])
        access.change { $0.tags = [7] }
        #expect(try discovered().first?.addresses == ["\(second),7"])
        #expect(try refusal()?.status == .targetNotFound)
        let initiator = try BlockingInitiator.logIn(to: second, InitiatorSettings(targetName: PortFixture.targetName))
        let session = try #require(fixture.server.sessions().first { $0.targetName != nil })
        #expect(session.portalGroupTag == 7)
        #expect(session.connections.first?.portal == second)
        access.change { $0.tags = [1] }
        fixture.server.reviewAccess()
        try initiator.connection.waitUntilClosed()
        access.change { $0.tags = [9] }
        #expect(try discovered().isEmpty)
    }

    @Test("A wildcard portal is told as the address that the initiator used")
    func wildcard() throws {
        let wildcard = try fixture.server.addPortal(#require(SocketAddress("0.0.0.0:0")), portalGroupTag: 2)
        let port = try #require(wildcard.port)
        let used = try #require(SocketAddress("127.0.0.2:\(port)"))
        #expect(try discovered(at: used).first?.addresses == ["127.0.0.2:\(port),2", "\(fixture.address),1"])
    }

    @Test("A drained portal asks for logouts, sends logins elsewhere, closes what is left, and can be taken up again")
    func draining() throws {
        let initiator = try fixture.initiator { $0.timeout = .seconds(60) }
        #expect(fixture.server.drainPortal(fixture.address, gracePeriod: .seconds(1)))
        let message = try #require(try initiator.receive().parsed(as: AsyncMessagePDU.self))
        #expect(message.event == .logoutRequested && message.parameter3 == 1)
        #expect(try refusal()?.status == .serviceUnavailable)
        #expect(try discovered().count == 1)
        let other = try fixture.server.addPortal(#require(SocketAddress("127.0.0.1:0")), portalGroupTag: 2)
        #expect(try refusal()?.address == other.description)
        let own = try fixture.server.addPortal(#require(SocketAddress("127.0.0.1:0")))
        let moved = try refusal()
        #expect(moved?.status == .targetMovedTemporarily && moved?.address == own.description)
        access.change { $0.tags = [1] }
        fixture.server.removePortal(own)
        #expect(try refusal()?.status == .serviceUnavailable)
        try initiator.connection.waitUntilClosed()
        #expect(fixture.server.portalSummaries().first?.isDraining == true)
        #expect(fixture.server.resumePortal(fixture.address))
        #expect(try refusal() == nil)
        #expect(!fixture.server.drainPortal(own, gracePeriod: .seconds(1)))
        #expect(!fixture.server.resumePortal(own))
    }

    @Test("Resuming a portal leaves those in peace that have not gone")
    func resuming() throws {
        let initiator = try fixture.initiator { $0.timeout = .seconds(60) }
        #expect(fixture.server.drainPortal(fixture.address, gracePeriod: .seconds(3600)))
        _ = try #require(try initiator.receive().parsed(as: AsyncMessagePDU.self))
        #expect(fixture.server.resumePortal(fixture.address))
        #expect(fixture.server.portalSummaries().map(\.isDraining) == [false])
        let read = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
    }

    @Test("A session is asked to log out, and closed when it does not")
    func closing() throws {
        let initiator = try fixture.initiator { $0.timeout = .seconds(60) }
        let other = try fixture.initiator()
        let handle = try #require(fixture.server.sessions().map(\.targetSessionHandle).min())
        #expect(fixture.server.closeSession(handle, gracePeriod: .seconds(1)))
        let message = try #require(try initiator.receive().parsed(as: AsyncMessagePDU.self))
        #expect(message.event == .logoutRequested && message.parameter3 == 1)
        try initiator.connection.waitUntilClosed()
        let read = try other.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
        #expect(!fixture.server.closeSession(0, gracePeriod: .seconds(1)))
    }

    @Test(
        "Discovery answers in one PDU up to what the initiator declares, however scarce buffers are in several",
        arguments: [(declared: 262_144, count: 1), (declared: 65_536, count: 2)])
    func discoveryInOnePDU(declared: Int, count: Int) throws {
        for number in 0..<1000 {
            fixture.targets.add(Target(name: "iqn.2026-11.dev.carousel:t\(number)", alias: "", homeReactor: nil))
        }
        var settings = InitiatorSettings.discovery
        settings.operational.preferred.maxRecvDataSegmentLength = declared
        let initiator = try BlockingInitiator.logIn(to: fixture.address, settings)
        var request = TextRequestPDU()
        let text = Array("SendTargets=All\0".utf8)
        request.isFinal = true
        request.dataSegmentLength = text.count
        request.cmdSN = initiator.nextCmdSN
        request.initiatorTaskTag = initiator.takeTag()
        try initiator.send(request, data: text)
        var answer: [UInt8] = []
        for number in 1...count {
            let pdu = try initiator.receive()
            answer += pdu.data
            let response = try #require(pdu.parsed(as: TextResponsePDU.self))
            #expect(response.isFinal == (number == count) && response.isContinued == (number < count))
            guard !response.isFinal else { break }
            #expect(pdu.data.count == declared)
            var next = TextRequestPDU()
            next.isFinal = true
            next.initiatorTaskTag = request.initiatorTaskTag
            next.targetTransferTag = response.targetTransferTag
            next.cmdSN = request.cmdSN.advanced(by: number)
            try initiator.send(next)
        }
        #expect(SendTargets.parse(try TextCodec.parse(answer.rawSpan, limit: 4000)).count == 1001)
        let isReturned = fixture.eventually { fixture.leasedBytes == 0 }
        #expect(isReturned)
    }

    @Test("A ping comes back whole as far as the initiator takes it")
    func longPing() throws {
        let initiator = try fixture.initiator()
        let echo = try initiator.ping(pattern(200_000))
        #expect(echo == pattern(200_000))
    }

    @Test(
        "INQUIRY tells the port that the session came in on: its name, its relative identifier and its group",
        arguments: [1, 2, 300])
    func portDesignators(tag: UInt16) throws {
        let portal = try fixture.server.addPortal(#require(SocketAddress("127.0.0.1:0")), portalGroupTag: tag)
        let settings = InitiatorSettings(targetName: PortFixture.targetName)
        let initiator = try BlockingInitiator.logIn(to: portal, settings)
        let outcome = try initiator.execute(
            CommandDescriptorBlock([OperationCode.inquiry, 1, 0x83, 4, 0, 0]), on: LogicalUnitNumber(0),
            expectedDataInLength: 1024)
        let page = outcome.dataIn
        #expect(outcome.isGood && page.count > 4 && page[1] == 0x83)
        /// The designators of the target port (ASSOCIATION 1), by their type.
        var designators: [UInt8: [UInt8]] = [:]
        var offset = 4
        while offset + 4 <= page.count {
            let end = offset + 4 + Int(page[offset + 3])
            if page[offset + 1] >> 4 & 3 == 1 { designators[page[offset + 1] & 0xF] = Array(page[offset + 4..<end]) }
            offset = end
        }
        let digits = String(tag, radix: 16, uppercase: true)
        let name = "\(PortFixture.targetName),t,0x\(String(repeating: "0", count: 4 - digits.count))\(digits)"
        // SCSI name string, relative target port identifier and target port group (SPC-5 clause 7.7.6).
        #expect(designators[8].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) } == name)
        for type in [4, 5] as [UInt8] { #expect(designators[type] == [0, 0, UInt8(tag >> 8), UInt8(tag & 0xFF)]) }
    }
}

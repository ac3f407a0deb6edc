import ISCSI
import ISCSIPort
import ManagementTestSupport
import Platform
import Resources
import TargetCore
import Testing

@testable import Management

@Suite("iSNS")
struct NameServiceTests {
    private let target = Target(name: "iqn.2026-11.x:t", alias: "", homeReactor: nil)
    private let other = Target(name: "iqn.2026-11.x:u", alias: "", homeReactor: nil)

    private func request(_ name: String) throws -> AccessRequest {
        let address = try #require(SocketAddress("127.0.0.1:3260"))
        return AccessRequest(initiatorName: name, peerAddress: address, localAddress: address, portalGroupTag: 1)
    }

    private func refusal(_ access: TargetAccess) -> LoginStatus? {
        guard case .refused(let status) = access else { return nil }
        return status
    }

    @Test("Domains decide only when they are to, refuse strangers, and tell those to wait whom they do not know yet")
    func domains() throws {
        let domains = DiscoveryDomains()
        let access = DomainAccess(base: OpenAccess(), domains: domains)
        let member = try request("iqn.2026-11.x:i1")
        let stranger = try request("iqn.2026-11.x:i2")
        // A late answer of a server that decides nothing.
        #expect(!domains.apply(.initiators(target: target.name, [])))
        #expect(refusal(access.access(stranger, to: target)) == nil)
        #expect(access.isVisible(target, to: stranger))

        #expect(domains.apply(.unknown))
        #expect(!domains.apply(.unknown))
        #expect(refusal(access.access(member, to: target)) == .serviceUnavailable)
        #expect(!access.isVisible(target, to: member))

        #expect(domains.apply(.initiators(target: target.name, ["IQN.2026-11.X:I1", "nonsense"])))
        #expect(!domains.apply(.initiators(target: target.name, ["iqn.2026-11.x:i1"])))
        #expect(refusal(access.access(member, to: target)) == nil)
        #expect(access.isVisible(target, to: member))
        #expect(refusal(access.access(stranger, to: target)) == .authorizationFailure)
        #expect(!access.isVisible(target, to: stranger))
        #expect(refusal(access.access(member, to: other)) == .serviceUnavailable)

        #expect(domains.apply(.initiators(target: target.name, [])))
        #expect(refusal(access.access(member, to: target)) == .authorizationFailure)
        #expect(domains.apply(.open))
        #expect(refusal(access.access(stranger, to: target)) == nil)
    }

    @Test("Domains let in nobody whom access groups keep out")
    func composition() throws {
        let domains = DiscoveryDomains()
        let table = AccessTable()
        let group = AccessTable.Rule.Group(
            members: InitiatorMembership(names: [try NamePattern.parse("iqn.2026-11.x:i1")], addresses: []),
            grant: AccessTable.Grant(authentication: .none, logicalUnits: nil))
        table.replace(
            with: AccessTable.Rules(targets: [
                target.name: AccessTable.Rule(
                    accessLevel: .groups, portalGroupTags: [7], groups: [group], redirection: nil,
                    authentication: .none)
            ]))
        let access = DomainAccess(base: table, domains: domains)
        _ = domains.apply(.unknown)
        _ = domains.apply(.initiators(target: target.name, ["iqn.2026-11.x:i1", "iqn.2026-11.x:i2"]))
        #expect(refusal(access.access(try request("iqn.2026-11.x:i1"), to: target)) == nil)
        #expect(refusal(access.access(try request("iqn.2026-11.x:i2"), to: target)) == .authorizationFailure)
        #expect(access.portalGroupTags(of: target) == [7])
    }

    @Test(
        "Servers are names or addresses",
        arguments: [
            ("isns.example.com", "isns.example.com", 3205), ("isns:3206", "isns", 3206),
            ("192.0.2.7", "192.0.2.7", 3205),
            ("[::1]:1", "::1", 1), ("[::1]", "::1", 3205), ("2001:db8::1", "2001:db8::1", 3205),
        ])
    func servers(text: String, host: String, port: Int) throws {
        let parsed = try Controller.parseNameServer(text)
        #expect(parsed.host == host)
        #expect(parsed.port == port)
    }

    @Test(
        "What is no server is refused",
        arguments: [
            "", ":3205", "a b", "host:", "host:0", "host:65536", "host:x", "[host]:1", "[::1", "[::1]x", "1:2:3", "-x",
            String(repeating: "a", count: 254),
        ])
    func noServers(text: String) { #expect(throws: ManagementError.self) { try Controller.parseNameServer(text) } }

    @Test("The server is remembered with its entity, and forgotten when cleared")
    func persistence() async throws {
        let fixture = try ControllerFixture()
        let path = fixture.path
        // Nobody listens there: port 1 belongs to no one on test machines, and no answer is needed.
        let setting = NameServiceSetting(server: "127.0.0.1:1", accessControl: true)
        var (controller, devices) = (fixture.controller, fixture.devices)
        try await controller.start()
        #expect(await controller.nameServiceStatus() == NameServiceStatus())
        await #expect(throws: ManagementError.self) { try await controller.clearNameServer() }
        await #expect(throws: ManagementError.self) {
            try await controller.setNameServer(NameServiceSetting(server: "?"))
        }
        try await controller.setNameServer(setting)
        let first = await controller.nameServiceStatus()
        #expect(first.server == "127.0.0.1:1")
        #expect(first.accessControl)
        #expect(devices.domains == [.unknown])
        await controller.shutDown()
        controller.folder.release()

        (controller, devices) = try ControllerFixture.make(path)
        try await controller.start()
        let second = await controller.nameServiceStatus()
        #expect(second.server == "127.0.0.1:1")
        #expect(second.entity == first.entity)
        #expect(devices.domains == [.unknown])
        // What decides who gets in stays unless something is said.
        try await controller.setNameServer(NameServiceSetting(server: "127.0.0.1:1"))
        #expect(devices.domains == [.unknown, .unknown])
        let refusal = await fixture.refusal { try await controller.clearNameServer() }
        #expect(refusal?.code == .conflict && refusal?.message.contains("--open") == true)
        #expect(await controller.nameServiceStatus().accessControl)
        try await controller.setNameServer(NameServiceSetting(server: "127.0.0.1:1", accessControl: false))
        #expect(devices.domains == [.unknown, .unknown, .open])
        try await controller.clearNameServer()
        try await controller.setNameServer(setting)
        try await controller.clearNameServer(mayWiden: true)
        #expect(await controller.nameServiceStatus().server == nil)
        #expect(devices.domains.last == .open)
        await controller.shutDown()
        controller.folder.release()

        (controller, devices) = try ControllerFixture.make(path)
        try await controller.start()
        #expect(await controller.nameServiceStatus().server == nil)
        #expect(devices.domains.isEmpty)
        await controller.shutDown()
    }
}

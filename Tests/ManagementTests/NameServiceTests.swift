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

    @Test("a target in the name of one that has gone has none of its domains")
    func goneTarget() throws {
        let domains = DiscoveryDomains()
        let access = DomainAccess(base: OpenAccess(), domains: domains)
        let member = try request("iqn.2026-11.x:i1")
        #expect(domains.apply(.unknown))
        for name in [target.name, other.name] {
            #expect(domains.apply(.initiators(target: name, ["iqn.2026-11.x:i1"])))
        }
        domains.forget(target.name)
        #expect(refusal(access.access(member, to: target)) == .serviceUnavailable)
        #expect(!access.isVisible(target, to: member))
        #expect(refusal(access.access(member, to: other)) == nil)
        #expect(domains.apply(.initiators(target: target.name, ["iqn.2026-11.x:i1"])))
        #expect(refusal(access.access(member, to: target)) == nil)
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
        #expect(try NameServerAddress.parse(text) == NameServerAddress(host: host, port: port))
    }

    @Test(
        "What is no server is refused",
        arguments: [
            "", ":3205", "a b", "host:", "host:0", "host:65536", "host:x", "[host]:1", "[::1", "[::1]x", "1:2:3", "-x",
            String(repeating: "a", count: 254),
        ])
    func noServers(text: String) { #expect(throws: ManagementError.self) { try NameServerAddress.parse(text) } }

    @Test("The server is remembered with its entity, and forgotten when cleared")
    func persistence() async throws {
        let fixture = try ControllerFixture()
        let path = fixture.path
        // Nobody listens there: port 1 belongs to no one on test machines, and no answer is needed.
        let spec = NameServer.Spec(server: "127.0.0.1:1", accessControl: true)
        var (controller, devices) = (fixture.controller, fixture.devices)
        try await controller.start()
        #expect(try await controller.nameServer() == nil)
        #expect(await fixture.refusal { try await controller.clearNameServer() }?.code == .notFound)
        #expect(await fixture.refusal { try await controller.changeNameServer(to: spec) }?.code == .notFound)
        try await controller.createNameServer(spec)
        #expect(await fixture.refusal { try await controller.createNameServer(spec) }?.code == .conflict)
        let first = try #require(try await controller.nameServer())
        #expect(first.name == "isns" && first.spec == spec)
        #expect(devices.domains == [.unknown])
        try await controller.changeNameServer(to: spec)
        #expect(devices.domains == [.unknown])
        await controller.shutDown()
        controller.folder.release()

        (controller, devices) = try ControllerFixture.make(path)
        try await controller.start()
        let second = try #require(try await controller.nameServer())
        #expect(second.spec == spec)
        #expect(second.status.entity == first.status.entity)
        #expect(devices.domains == [.unknown])
        let open = NameServer.Spec(server: "127.0.0.1:1")
        #expect(await fixture.refusal { try await controller.changeNameServer(to: open) }?.code == .conflict)
        #expect(await fixture.refusal { try await controller.clearNameServer() }?.code == .conflict)
        #expect(devices.domains == [.unknown])
        try await controller.changeNameServer(to: open, mayWiden: true)
        #expect(devices.domains == [.unknown, .open])
        #expect(try await controller.nameServer()?.status.entity == first.status.entity)
        try await controller.clearNameServer()
        #expect(try await controller.nameServer() == nil)
        #expect(devices.domains.last == .open)
        await controller.shutDown()
        controller.folder.release()

        (controller, devices) = try ControllerFixture.make(path)
        try await controller.start()
        #expect(try await controller.nameServer() == nil)
        #expect(devices.domains.isEmpty)
        await controller.shutDown()
    }

    @Test("There is one at most, which needs no name, and what it cannot be is refused with its field")
    func requests() async throws {
        let fixture = try ControllerFixture()
        try await fixture.controller.start()
        let servers = try fixture.endpoint("name-servers")
        for (members, field) in [
            ([:], "server"), (["server": "?"], "server"), (["server": "a", "accessControl": 1], "accessControl"),
            (["server": "a", "host": "b"], "host"),
        ] as [([String: JSONValue], String)] {
            let refusal = await fixture.refusal { try await servers.create("isns", members) }
            #expect(refusal?.code == .invalid && refusal?.field == field)
        }
        #expect(await fixture.refusal { try await servers.create("other", ["server": "a"]) }?.code == .invalid)
        #expect(await fixture.refusal { try await servers.change("isns", ["server": "a"]) }?.code == .notFound)
        let made = try await servers.create("isns", ["server": "127.0.0.1:1"])
        #expect(made["spec"] == ["server": "127.0.0.1:1", "accessControl": false])
        let changed = try await servers.change("isns", ["accessControl": true])
        #expect(changed["spec"] == ["server": "127.0.0.1:1", "accessControl": true])
        #expect(fixture.devices.domains == [.open, .unknown])
        #expect(try await servers.list(Page()).items.compactMap { $0["name"]?.text } == ["isns"])
        let kept = await fixture.refusal { try await servers.change("isns", ["accessControl": .null]) }
        #expect(kept?.code == .conflict && kept?.message.contains("--open") == true)
        #expect(await fixture.refusal { try await servers.delete("isns") }?.code == .conflict)
        try await servers.delete("isns", mayWiden: true)
        #expect(try await servers.list(Page()).items.isEmpty)
        await fixture.controller.shutDown()
    }
}

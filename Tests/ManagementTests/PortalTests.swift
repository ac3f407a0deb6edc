import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("Portals and sessions")
struct PortalTests {
    let fixture: ControllerFixture
    let controller: Controller
    let devices: FakeDevices

    init() async throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        devices = fixture.devices
        try await controller.start()
    }

    @Test("portals come and go, and are there after the next start, with their groups")
    func lifecycle() async throws {
        let added = try await controller.addPortal("[2001:DB8:0::1]:3261", Portal.Spec(portalGroup: 7))
        #expect(added.name == "[2001:db8::1]:3261" && added.spec.portalGroup == 7)
        let again = await fixture.refusal { try await controller.addPortal("[2001:db8::1]:3261", Portal.Spec()) }
        #expect(again?.code == .conflict)
        #expect(try await controller.allPortals().map(\.spec.portalGroup) == [1, 7])
        await controller.shutDown()
        controller.folder.release()
        let (next, _) = try ControllerFixture.make(fixture.path)
        try await next.start()
        #expect(try await next.allPortals().map(\.name) == ["127.0.0.1:3260", "[2001:db8::1]:3261"])
        #expect(try await next.allPortals().map(\.spec.portalGroup) == [1, 7])
        try await next.removePortal("127.0.0.1:3260")
        let last = await fixture.refusal { try await next.removePortal("[2001:db8::1]:3261") }
        #expect(last?.code == .conflict)
        await next.shutDown()
        next.folder.release()
        let (third, _) = try ControllerFixture.make(fixture.path)
        try await third.start()
        #expect(try await third.allPortals().map(\.name) == ["[2001:db8::1]:3261"])
    }

    @Test("what makes no sense is refused and changes nothing")
    func badInput() async throws {
        let portals = try fixture.endpoint("portals")
        for (name, group) in [
            ("x", 1), ("1.2.3.4:99999", 1), ("[1.2.3.4]:1", 1), ("127.0.0.1:3261", 0), ("127.0.0.1:3261", 65536),
        ] as [(String, JSONValue)] {
            #expect(await fixture.refusal { try await portals.create(name, ["portalGroup": group]) }?.code == .invalid)
        }
        #expect(await fixture.refusal { try await portals.create("127.0.0.1:1", [:]) }?.code == .inUse)
        #expect(await fixture.refusal { try await portals.delete("127.0.0.1:9") }?.code == .notFound)
        #expect(await fixture.refusal { try await portals.show("127.0.0.1:9") }?.code == .notFound)
        for seconds in [0, -1, 3601] as [JSONValue] {
            let refusal = await fixture.refusal {
                try await portals.perform("drain", "127.0.0.1:3260", ["seconds": seconds])
            }
            #expect(refusal?.code == .invalid && refusal?.field == "seconds")
        }
        #expect(try await controller.allPortals().map(\.name) == ["127.0.0.1:3260"])
        #expect(try await controller.allPortals().map(\.status.isDraining) == [false])
    }

    @Test("the only portal that offers a target stays")
    func onlyOne() async throws {
        _ = try await controller.addPortal("127.0.0.1:3261", Portal.Spec(portalGroup: 5))
        try await controller.createDisk("a", Disk.Spec(size: 512))
        let targets = try fixture.endpoint("targets")
        _ = try await targets.change("a", ["portalGroups": [5]])
        let refusal = await fixture.refusal { try await controller.removePortal("127.0.0.1:3261") }
        #expect(refusal?.code == .conflict && refusal?.message.contains("iqn.2026-11.dev.carousel:a") == true)
        _ = try await controller.addPortal("127.0.0.1:3262", Portal.Spec(portalGroup: 5))
        try await controller.removePortal("127.0.0.1:3261")
        _ = try await targets.change("a", ["portalGroups": [1, 5]])
        try await controller.removePortal("127.0.0.1:3262")
        #expect(try await controller.target("a").status.portals == ["127.0.0.1:3260"])
    }

    @Test("a portal is drained and taken up again; one in use stays")
    func draining() async throws {
        _ = try await controller.addPortal("127.0.0.1:3261", Portal.Spec())
        try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
        devices.logIn(to: "a")
        let used = await fixture.refusal { try await controller.removePortal("127.0.0.1:3260") }
        #expect(used?.code == .inUse)
        #expect(used?.message.contains("drain") == true)
        let drained = try await controller.drainPortal("127.0.0.1:3260", Portal.Drain.Arguments())
        #expect(drained.status.isDraining)
        #expect(try await !controller.resumePortal("127.0.0.1:3260").status.isDraining)
    }

    @Test("sessions are closed by number or by initiator")
    func sessions() async throws {
        for name in ["a", "b"] {
            try await controller.createDisk(name, Disk.Spec(size: 1 << 20))
            devices.logIn(to: name)
            devices.logIn(to: name)
        }
        #expect(try await controller.session("2").status.target.hasSuffix(":a"))
        let sessions = try fixture.endpoint("sessions")
        let badRequests: [(String?, [String: JSONValue], ManagementError.Code)] = [
            (nil, [:], .invalid), ("1", ["initiator": "iqn.2026-11.test:i"], .invalid),
            ("1", ["target": "a"], .invalid), ("1", ["seconds": 0], .invalid), (nil, ["initiator": "x"], .invalid),
            ("x", [:], .invalid), ("0", [:], .invalid), ("9", [:], .notFound),
            (nil, ["initiator": "iqn.2026-11.test:j"], .notFound),
            (nil, ["initiator": "iqn.2026-11.test:i", "target": "c"], .notFound),
        ]
        for (name, arguments, code) in badRequests {
            let refusal = await fixture.refusal { try await sessions.perform("close", name, arguments) }
            #expect(refusal?.code == code, "\(arguments)")
        }
        #expect(try await controller.sessions().map(\.name) == ["1", "2", "3", "4"])
        let one = try await sessions.perform("close", "1", ["seconds": 1])
        #expect(one["items"]?.elements?.compactMap { $0["name"]?.text } == ["1"])
        let some = try await sessions.perform("close", nil, ["initiator": "IQN.2026-11.test:i", "target": "b"])
        #expect(some["items"]?.elements?.count == 2)
        #expect(try await controller.sessions().map(\.name) == ["2"])
    }

    @Test(
        "a redirection to a portal of the daemon is refused, also through a portal for all addresses",
        arguments: [
            ("0.0.0.0:3270", "127.0.0.1:3270"), ("0.0.0.0:3270", "127.1.2.3:3270"),
            ("0.0.0.0:3270", "[::ffff:127.0.0.1]:3270"), ("[::]:3270", "[::1]:3270"),
            ("127.0.0.1:3270", "[::ffff:127.0.0.1]:3270"), ("[::1]:3270", "[0::1]:3270"),
        ])
    func loops(portal: String, redirection: String) async throws {
        try await controller.createDisk("a", Disk.Spec(size: 512))
        let targets = try fixture.endpoint("targets")
        _ = try await controller.addPortal(portal, Portal.Spec())
        let refused = await fixture.refusal { try await targets.change("a", ["redirection": .text(redirection)]) }
        #expect(refused?.code == .invalid && refused?.message.contains("is a portal of this daemon") == true)
        // Neither order makes a loop.
        try await controller.removePortal(portal)
        _ = try await targets.change("a", ["redirection": .text(redirection)])
        let late = await fixture.refusal { try await controller.addPortal(portal, Portal.Spec()) }
        #expect(late?.code == .conflict && late?.message.contains("target set a --redirect none") == true)
        _ = try await targets.change("a", ["redirection": .null])
        _ = try await controller.addPortal(portal, Portal.Spec())
    }

    @Test("a redirection elsewhere is none of these", arguments: ["192.0.2.1:3270", "127.0.0.1:3271", "[::1]:3270"])
    func elsewhere(redirection: String) async throws {
        try await controller.createDisk("a", Disk.Spec(size: 512))
        _ = try await controller.addPortal("0.0.0.0:3270", Portal.Spec())
        _ = try await fixture.endpoint("targets").change("a", ["redirection": .text(redirection)])
    }

    @Test("a dry run of a portal says what would fail, and listens on nothing")
    func dryRun() async throws {
        let portals = try fixture.endpoint("portals")
        let refused = await fixture.refusal {
            try await portals.creating("127.0.0.1:1", [:], RequestOptions(isDryRun: true))
        }
        #expect(refused?.code == .inUse)
        _ = try await portals.creating("127.0.0.1:2", [:], RequestOptions(isDryRun: true))
        #expect(try await controller.allPortals().map(\.name) == ["127.0.0.1:3260"])
    }
}

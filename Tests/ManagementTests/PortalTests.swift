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
        let added = try await controller.addPortal(PortalCreation(portal: "[2001:DB8:0::1]:3261", group: 7))
        #expect(added.portal == "[2001:db8::1]:3261" && added.group == 7)
        let again = PortalCreation(portal: "[2001:db8::1]:3261", group: nil)
        #expect(await fixture.refusal { try await controller.addPortal(again) }?.code == .conflict)
        #expect(await controller.portalSummaries().map(\.group) == [1, 7])
        await controller.shutDown()
        controller.folder.release()
        let (next, _) = try ControllerFixture.make(fixture.path)
        try await next.start()
        #expect(await next.portalSummaries().map(\.portal) == ["127.0.0.1:3260", "[2001:db8::1]:3261"])
        #expect(await next.portalSummaries().map(\.group) == [1, 7])
        try await next.removePortal("127.0.0.1:3260")
        let last = await fixture.refusal { try await next.removePortal("[2001:db8::1]:3261") }
        #expect(last?.code == .conflict)
        await next.shutDown()
        next.folder.release()
        let (third, _) = try ControllerFixture.make(fixture.path)
        try await third.start()
        #expect(await third.portalSummaries().map(\.portal) == ["[2001:db8::1]:3261"])
    }

    @Test("what makes no sense is refused and changes nothing")
    func badInput() async throws {
        let creations = [
            PortalCreation(portal: "x", group: 1), PortalCreation(portal: "1.2.3.4:99999", group: 1),
            PortalCreation(portal: "[1.2.3.4]:1", group: 1), PortalCreation(portal: "127.0.0.1:3261", group: 0),
            PortalCreation(portal: "127.0.0.1:3261", group: 65536),
        ]
        for creation in creations {
            #expect(await fixture.refusal { try await controller.addPortal(creation) }?.code == .invalid)
        }
        let taken = PortalCreation(portal: "127.0.0.1:1", group: 1)
        #expect(await fixture.refusal { try await controller.addPortal(taken) }?.code == .inUse)
        #expect(await fixture.refusal { try await controller.removePortal("127.0.0.1:9") }?.code == .notFound)
        for seconds in [0, -1, 3601] {
            let refusal = await fixture.refusal {
                try await controller.drainPortal("127.0.0.1:3260", GracePeriod(seconds: seconds))
            }
            #expect(refusal?.code == .invalid)
        }
        #expect(await controller.portalSummaries().map(\.portal) == ["127.0.0.1:3260"])
        #expect(await controller.portalSummaries().map(\.isDraining) == [false])
    }

    @Test("the only portal that offers a target stays")
    func onlyOne() async throws {
        _ = try await controller.addPortal(PortalCreation(portal: "127.0.0.1:3261", group: 5))
        try await controller.createDisk("a", Disk.Spec(size: 512))
        _ = try await controller.setPortalGroups(ofTarget: "a", TargetPortalGroups(groups: [5]))
        let refusal = await fixture.refusal { try await controller.removePortal("127.0.0.1:3261") }
        #expect(refusal?.code == .conflict && refusal?.message.contains("iqn.2026-11.dev.carousel:a") == true)
        _ = try await controller.addPortal(PortalCreation(portal: "127.0.0.1:3262", group: 5))
        try await controller.removePortal("127.0.0.1:3261")
        _ = try await controller.setPortalGroups(ofTarget: "a", TargetPortalGroups(groups: [1, 5]))
        try await controller.removePortal("127.0.0.1:3262")
        #expect(try await controller.target("a").portals == ["127.0.0.1:3260"])
    }

    @Test("a portal is drained and taken up again; one in use stays")
    func draining() async throws {
        _ = try await controller.addPortal(PortalCreation(portal: "127.0.0.1:3261", group: nil))
        try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
        devices.logIn(to: "a")
        let used = await fixture.refusal { try await controller.removePortal("127.0.0.1:3260") }
        #expect(used?.code == .inUse)
        #expect(used?.message.contains("drain") == true)
        let drained = try await controller.drainPortal("127.0.0.1:3260", GracePeriod(seconds: 5))
        #expect(drained.isDraining)
        #expect(try await !controller.resumePortal("127.0.0.1:3260").isDraining)
    }

    @Test("sessions are closed by number or by initiator")
    func sessions() async throws {
        for name in ["a", "b"] {
            try await controller.createDisk(name, Disk.Spec(size: 1 << 20))
            devices.logIn(to: name)
            devices.logIn(to: name)
        }
        #expect(try await controller.session("2").target.hasSuffix(":a"))
        let badRequests: [(SessionClosing, ManagementError.Code)] = [
            (SessionClosing(handle: nil, initiator: nil, target: nil, seconds: 1), .invalid),
            (SessionClosing(handle: 1, initiator: "iqn.2026-11.test:i", target: nil, seconds: 1), .invalid),
            (SessionClosing(handle: 1, initiator: nil, target: "a", seconds: 1), .invalid),
            (SessionClosing(handle: 1, initiator: nil, target: nil, seconds: 0), .invalid),
            (SessionClosing(handle: nil, initiator: "x", target: nil, seconds: 1), .invalid),
            (SessionClosing(handle: 9, initiator: nil, target: nil, seconds: 1), .notFound),
            (SessionClosing(handle: nil, initiator: "iqn.2026-11.test:j", target: nil, seconds: 1), .notFound),
            (SessionClosing(handle: nil, initiator: "iqn.2026-11.test:i", target: "c", seconds: 1), .notFound),
        ]
        for (request, code) in badRequests {
            #expect(await fixture.refusal { try await controller.closeSessions(request) }?.code == code)
        }
        #expect(await controller.sessions().count == 4)
        let one = SessionClosing(handle: 1, initiator: nil, target: nil, seconds: 1)
        #expect(try await controller.closeSessions(one).map(\.handle) == [1])
        let some = SessionClosing(handle: nil, initiator: "IQN.2026-11.test:i", target: "b", seconds: 1)
        #expect(try await controller.closeSessions(some).count == 2)
        #expect(await controller.sessions().map(\.handle) == [2])
    }
}

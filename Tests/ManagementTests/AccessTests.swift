import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("Targets, groups and maps")
struct AccessTests {
    let fixture: ControllerFixture
    let controller: Controller
    let devices: FakeDevices

    init() async throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        devices = fixture.devices
        try await controller.start()
        for name in ["a", "b"] { try await controller.createDisk(name, Disk.Spec(size: 1 << 20)) }
        try await fixture.makeLibrary()
    }

    func code(_ operation: () async throws -> some Sendable) async -> ManagementError.Code? {
        await fixture.refusal(operation)?.code
    }

    func makeGroup(_ name: String, names: [String] = ["iqn.2026-11.test:*"], rank: Int? = nil) async throws {
        _ = try await controller.createInitiatorGroup(
            InitiatorGroupCreation(name: name, names: names, addresses: [], rank: rank))
    }

    func plan(_ target: String) throws -> TargetPlan {
        try #require(devices.plan?.targets.first { $0.name == DeviceName.targetName(target) })
    }

    func map(_ target: String, _ group: String? = nil, _ units: [Int: String] = [:]) async throws -> TargetSummary {
        try await controller.map(target: target, TargetMapping(group: group, logicalUnits: units))
    }

    func unmap(_ target: String, _ group: String? = nil, _ numbers: [Int] = []) async throws -> TargetSummary {
        try await controller.unmap(target: target, TargetUnmapping(group: group, numbers: numbers))
    }

    @Test("groups: members in canonical form, ranks, no deletion while a target counts on them")
    func groups() async throws {
        let made = try await controller.createInitiatorGroup(
            InitiatorGroupCreation(
                name: "g", names: ["IQN.2026-11.Test:*"], addresses: ["10.0.0.0/8", "::1"], rank: nil))
        #expect(made.names == ["iqn.2026-11.test:*"])
        #expect(made.addresses == ["10.0.0.0/8", "::1/128"])
        #expect(made.rank == 10)
        try await makeGroup("h")
        try await makeGroup("first", rank: 1)
        #expect(try await controller.initiatorGroups().map(\.name) == ["first", "g", "h"])
        let more = try await controller.extendInitiatorGroup(
            "g", InitiatorGroupChange(names: ["eui.*"], addresses: ["10.0.0.0/8"], rank: 50))
        #expect(more.names == ["eui.*", "iqn.2026-11.test:*"] && more.addresses.count == 2 && more.rank == 50)
        let fewer = try await controller.reduceInitiatorGroup(
            "g", InitiatorGroupChange(names: ["eui.*"], addresses: ["::1/128"]))
        #expect(fewer.names == ["iqn.2026-11.test:*"] && fewer.addresses == ["10.0.0.0/8"])
        #expect(await code { try await makeGroup("g") } == .conflict)
        #expect(await code { try await makeGroup("G") } == .invalid)
        #expect(await code { try await makeGroup("x", names: ["nonsense"]) } == .invalid)
        #expect(await code { try await makeGroup("x", rank: 0) } == .invalid)
        #expect(
            await code { try await controller.reduceInitiatorGroup("g", InitiatorGroupChange(names: ["eui.*"])) }
                == .conflict)
        #expect(await code { try await controller.initiatorGroup("x") } == .notFound)
        _ = try await map("a", "g")
        #expect(try await controller.initiatorGroup("g").targets == ["iqn.2026-11.dev.carousel:a"])
        let used = await fixture.refusal { try await controller.deleteInitiatorGroup("g") }
        #expect(used?.code == .inUse && used?.message.contains("target unmap") == true)
        let unmapped = try await unmap("a", "g")
        #expect(unmapped.access.isEmpty && unmapped.accessLevel == "groups")
        try await controller.deleteInitiatorGroup("g")
        #expect(await code { try await controller.deleteInitiatorGroup("g") } == .notFound)
    }

    @Test("a group sees all of the target, or what it was given; the plan says it in the order of ranks")
    func groupMaps() async throws {
        try await makeGroup("g")
        try await makeGroup("h", rank: 1)
        #expect(try await map("a", "g").access.map(\.logicalUnits) == [nil])
        #expect(try plan("a").groups.map(\.logicalUnits) == [nil])
        let shown = try await map("a", "h", [3: "b", 4: "vtl/drive:2"])
        #expect(shown.access.map(\.group) == ["h", "g"])
        #expect(shown.access.first?.logicalUnits?.map(\.device) == ["disk b", "drive:2 of library vtl"])
        #expect(try plan("a").groups.first?.logicalUnits?.keys.sorted() == [3, 4])
        #expect(try plan("a").groups.first?.members.contains(name: "iqn.2026-11.test:x", address: nil) == true)
        #expect(try await map("a", "h", [5: "a"]).access.first?.logicalUnits?.map(\.number) == [3, 4, 5])
        #expect(await code { try await map("a", "h", [3: "a"]) } == .conflict)
        #expect(await code { try await map("a", "h", [6: "b"]) } == .conflict)
        #expect(try await unmap("a", "h", [4, 5]).access.first?.logicalUnits?.map(\.number) == [3])
        #expect(await code { try await unmap("a", "h", [4]) } == .conflict)
        #expect(await code { try await unmap("a", "g", [9]) } == .conflict)
        #expect(await code { try await map("a", "h") } == .conflict)
        let all = TargetMapping(group: "h", logicalUnits: [:], allUnits: true)
        #expect(try await controller.map(target: "a", all).access.map(\.logicalUnits) == [nil, nil])
        #expect(await code { try await unmap("b", "h") } == .conflict)
        // With the disk go its target and its places in other maps.
        _ = try await map("b", "h", [0: "a", 1: "b"])
        try await controller.deleteDisk("a")
        #expect(try plan("b").groups.first?.logicalUnits?.keys.sorted() == [1])
        #expect(devices.plan?.targets.contains { $0.name.hasSuffix(":a") } == false)
    }

    @Test("a target can be made for itself, show several disks, and goes alone")
    func ownTargets() async throws {
        #expect(try await controller.createTarget(TargetCreation(name: "many")).isOwn)
        #expect(try plan("many").belongsToDevice == false)
        #expect(try await map("many", nil, [0: "a", 7: "b"]).logicalUnits.map(\.number) == [0, 7])
        #expect(try plan("many").logicalUnits.count == 2)
        #expect(await code { try await map("many", nil, [7: "vtl"]) } == .conflict)
        #expect(await code { try await map("many", nil, [8: "a"]) } == .conflict)
        #expect(await code { try await map("many", nil, [8: "x"]) } == .notFound)
        #expect(await code { try await map("many", nil, [16384: "vtl"]) } == .invalid)
        #expect(await code { try await map("many") } == .invalid)
        #expect(await code { try await map("many", "x", [8: "vtl"]) } == .notFound)
        #expect(await code { try await map("many", nil, [8: "vtl", 9: "vtl"]) } == .conflict)
        #expect(await code { try await unmap("many") } == .invalid)
        #expect(await code { try await unmap("many", nil, [8]) } == .conflict)
        #expect(await code { try await unmap("a", nil, [0]) } == .conflict)
        #expect(await code { try await unmap("vtl", nil, [2]) } == .conflict)
        #expect(try await unmap("many", nil, [7]).logicalUnits.map(\.number) == [0])
        for name in ["many", "a", "vtl", "iqn.2026-11.dev.carousel:b"] {
            #expect(await code { try await controller.createTarget(TargetCreation(name: name)) } == .conflict)
        }
        #expect(await code { try await controller.createTarget(TargetCreation(name: "A b")) } == .invalid)
        #expect(await code { try await controller.createDisk("many", Disk.Spec(size: 1)) } == .conflict)
        let foreign = try await controller.createTarget(TargetCreation(name: "IQN.2001-04.com.example:Disk"))
        #expect(foreign.name == "iqn.2001-04.com.example:disk")
        #expect(await code { try await controller.deleteTarget("a") } == .conflict)
        devices.logIn(to: "many")
        #expect(await code { try await controller.deleteTarget("many") } == .inUse)
        #expect(await code { try await controller.deleteDisk("a") } == .inUse)
        _ = try await controller.closeSessions(
            SessionClosing(handle: 1, initiator: nil, target: nil, seconds: 1))
        try await controller.deleteTarget("many")
        #expect(try await controller.disk("a").name == "a")
        try await controller.deleteTarget(foreign.name)
        #expect(try await controller.targets().count == 3)
    }

    @Test("units of two libraries are never at one target, nor do they come while somebody is logged in")
    func homes() async throws {
        try await fixture.makeLibrary("second")
        _ = try await controller.createTarget(TargetCreation(name: "t"))
        _ = try await map("t", nil, [0: "a"])
        devices.logIn(to: "t")
        let used = await fixture.refusal { try await map("t", nil, [1: "vtl"]) }
        #expect(used?.code == .inUse)
        _ = try await map("t", nil, [2: "b"])
        _ = try await controller.closeSessions(
            SessionClosing(handle: 1, initiator: nil, target: nil, seconds: 1))
        _ = try await map("t", nil, [1: "vtl"])
        devices.logIn(to: "t")
        _ = try await map("t", nil, [3: "vtl/drive:1"])
        try await makeGroup("g")
        let mixed = await fixture.refusal { try await map("t", "g", [0: "second/drive:1"]) }
        #expect(mixed?.code == .conflict && mixed?.message.contains("two libraries") == true)
        #expect(await code { try await map("vtl", nil, [9: "second"]) } == .conflict)
        #expect(await code { try await map("a", nil, [9: "second", 10: "vtl"]) } == .conflict)
        _ = try await map("vtl", nil, [9: "b"])
    }

    @Test("portal groups and redirection of a target")
    func settings() async throws {
        let one = TargetPortalGroups(groups: [2])
        #expect(await code { try await controller.setPortalGroups(ofTarget: "a", one) } == .conflict)
        _ = try await controller.addPortal(PortalCreation(portal: "127.0.0.1:3261", group: 2))
        let target = try await controller.setPortalGroups(ofTarget: "a", one)
        #expect(target.portals == ["127.0.0.1:3261"] && target.portalGroups == [2])
        #expect(try plan("a").portalGroupTags == [2])
        for groups in [[], [0], [65536]] {
            let request = TargetPortalGroups(groups: groups)
            #expect(await code { try await controller.setPortalGroups(ofTarget: "a", request) } == .invalid)
        }
        let all = try await controller.setPortalGroups(ofTarget: "a", TargetPortalGroups(groups: nil))
        #expect(all.portals.count == 2 && all.portalGroups == nil)
        let redirect = TargetRedirect(address: "[2001:DB8::1]:3260", isPermanent: true)
        let moved = try await controller.redirect(target: "a", redirect)
        #expect(moved.redirect == "[2001:db8::1]:3260" && moved.isRedirectPermanent)
        #expect(try plan("a").redirection?.address == "[2001:db8::1]:3260")
        for address in ["x", "0.0.0.0:3260", "[::]:3260", "192.0.2.1:0", "127.0.0.1:3261"] {
            let request = TargetRedirect(address: address, isPermanent: false)
            #expect(await code { try await controller.redirect(target: "a", request) } == .invalid)
        }
        let back = try await controller.redirect(target: "a", TargetRedirect(address: nil, isPermanent: false))
        #expect(back.redirect == nil)
        #expect(try plan("a").redirection == nil)
    }

    @Test("everything is planned again after a restart, and nothing outlives its device")
    func restart() async throws {
        try await makeGroup("g")
        _ = try await controller.createTarget(TargetCreation(name: "t"))
        _ = try await map("t", "g", [4: "a"])
        _ = try await controller.redirect(target: "a", TargetRedirect(address: "192.0.2.1:1", isPermanent: false))
        await controller.shutDown()
        controller.folder.release()
        let (next, devices) = try ControllerFixture.make(fixture.path)
        try await next.start()
        let targets = try #require(devices.plan?.targets)
        #expect(targets.map(\.alias).sorted() == ["a", "b", "t", "vtl"])
        #expect(targets.first { $0.alias == "t" }?.groups.first?.logicalUnits?.keys.sorted() == [4])
        #expect(targets.first { $0.alias == "a" }?.redirection?.address == "192.0.2.1:1")
        try await next.deleteDisk("a")
        try await next.createDisk("a", Disk.Spec(size: 1 << 20))
        #expect(devices.plan?.targets.contains { $0.redirection != nil } == false)
        #expect(devices.plan?.targets.first { $0.alias == "t" }?.groups.first?.logicalUnits?.isEmpty == true)
    }
}

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
            name, InitiatorGroup.Spec(names: names, rank: rank))
    }

    func plan(_ target: String) throws -> TargetPlan {
        try #require(devices.plan?.targets.first { $0.name == DeviceName.targetName(target) })
    }

    func map(_ target: String, _ group: String? = nil, _ units: [Int: String] = [:]) async throws -> Resource<
        ISCSITarget
    > {
        try await controller.map(target: target, ISCSITarget.Map.Arguments(group: group, units: units))
    }

    func unmap(_ target: String, _ group: String? = nil, _ numbers: [Int] = []) async throws -> Resource<ISCSITarget> {
        try await controller.unmap(target: target, ISCSITarget.Unmap.Arguments(group: group, units: numbers))
    }

    @Test("groups: members in canonical form, ranks, no deletion while a target counts on them")
    func groups() async throws {
        let groups = try fixture.endpoint("initiator-groups")
        let made = try await groups.create("g", ["names": ["IQN.2026-11.Test:*"], "addresses": ["10.0.0.0/8", "::1"]])
        #expect(made["spec"]?["names"] == ["iqn.2026-11.test:*"])
        #expect(made["spec"]?["addresses"] == ["10.0.0.0/8", "::1/128"])
        #expect(made["spec"]?["rank"] == 10)
        try await makeGroup("h")
        try await makeGroup("first", rank: 1)
        #expect(try await controller.initiatorGroups().map(\.name) == ["first", "g", "h"])
        #expect(try await groups.change("g", ["rank": 50])["spec"]?["rank"] == 50)
        let more = try await groups.perform("add", "g", ["names": ["eui.*"], "addresses": ["10.0.0.0/8"]])
        #expect(more["spec"]?["names"] == ["eui.*", "iqn.2026-11.test:*"] && more["spec"]?["rank"] == 50)
        #expect(more["spec"]?["addresses"]?.elements?.count == 2)
        let fewer = try await groups.perform("remove", "g", ["names": ["EUI.*"], "addresses": ["::1"]])
        #expect(fewer["spec"]?["names"] == ["iqn.2026-11.test:*"] && fewer["spec"]?["addresses"] == ["10.0.0.0/8"])
        #expect(await code { try await makeGroup("g") } == .conflict)
        for (name, members) in [
            ("G", [:]), ("x", ["names": ["nonsense"]]), ("x", ["rank": 0]), ("x", ["addresses": ["10.0.0.1/8"]]),
            ("x", ["members": []]), ("x", ["names": .array(Array(repeating: "*", count: 1025))]),
        ] as [(String, [String: JSONValue])] {
            #expect(await code { try await groups.create(name, members) } == .invalid)
        }
        #expect(await code { try await groups.perform("remove", "g", ["names": ["eui.*"]]) } == .conflict)
        for action in ["add", "remove"] {
            #expect(await code { try await groups.perform(action, "g", [:]) } == .invalid)
        }
        #expect(await code { try await controller.initiatorGroup("x") } == .notFound)
        _ = try await map("a", "g")
        #expect(try await controller.initiatorGroup("g").status.targets == ["iqn.2026-11.dev.carousel:a"])
        let used = await fixture.refusal { try await controller.deleteInitiatorGroup("g") }
        #expect(used?.code == .inUse && used?.message.contains("target unmap") == true)
        let unmapped = try await unmap("a", "g")
        #expect(unmapped.spec.groups.isEmpty && unmapped.spec.access == .groups)
        try await controller.deleteInitiatorGroup("g")
        #expect(await code { try await controller.deleteInitiatorGroup("g") } == .notFound)
    }

    @Test("a group sees all of the target, or what it was given; the plan says it in the order of ranks")
    func groupMaps() async throws {
        try await makeGroup("g")
        try await makeGroup("h", rank: 1)
        #expect(try await map("a", "g").spec.groups == ["g": ISCSITarget.GroupAccess()])
        #expect(try plan("a").groups.map(\.logicalUnits) == [nil])
        let shown = try await map("a", "h", [3: "b", 4: "vtl/drive:2"])
        #expect(shown.status.groups == ["h", "g"])
        #expect(shown.status.units.map(\.device) == ["disk a", "disk b", "drive:2 of library vtl"])
        #expect(try plan("a").groups.first?.logicalUnits?.keys.sorted() == [3, 4])
        #expect(try plan("a").groups.first?.members.contains(name: "iqn.2026-11.test:x", address: nil) == true)
        #expect(try await map("a", "h", [5: "a"]).seen("h") == [3, 4, 5])
        #expect(await code { try await map("a", "h", [3: "a"]) } == .conflict)
        #expect(await code { try await map("a", "h", [6: "b"]) } == .conflict)
        #expect(try await unmap("a", "h", [4, 5]).seen("h") == [3])
        #expect(await code { try await unmap("a", "h", [4]) } == .conflict)
        #expect(await code { try await unmap("a", "g", [9]) } == .conflict)
        #expect(await code { try await map("a", "h") } == .conflict)
        let all = ISCSITarget.Map.Arguments(group: "h", allUnits: true)
        #expect(try await controller.map(target: "a", all).spec.groups.values.allSatisfy { $0.units == nil })
        #expect(await code { try await unmap("b", "h") } == .conflict)
        // With the disk go its target and its places in other maps.
        _ = try await map("b", "h", [0: "a", 1: "b"])
        try await controller.deleteDisk("a")
        #expect(try plan("b").groups.first?.logicalUnits?.keys.sorted() == [1])
        #expect(devices.plan?.targets.contains { $0.name.hasSuffix(":a") } == false)
    }

    @Test("a target can be made for itself, show several disks, and goes alone")
    func ownTargets() async throws {
        #expect(try await controller.createTarget("many").status.isOwn)
        #expect(try plan("many").belongsToDevice == false)
        #expect(try await map("many", nil, [0: "a", 7: "b"]).spec.units == [0: "a", 7: "b"])
        #expect(try plan("many").logicalUnits.count == 2)
        #expect(await code { try await map("many", nil, [7: "vtl"]) } == .conflict)
        #expect(await code { try await map("many", nil, [8: "a"]) } == .conflict)
        #expect(await code { try await map("many", nil, [8: "x"]) } == .notFound)
        let targets = try fixture.endpoint("targets")
        for units in [["65536": "vtl"], ["-1": "vtl"], ["x": "vtl"], ["1": "vtl/slot:1"], ["1": ""]] as [JSONValue] {
            #expect(await code { try await targets.perform("map", "many", ["units": units]) } == .invalid)
            #expect(await code { try await targets.create("new", ["units": units]) } == .invalid)
        }
        #expect(await code { try await map("many") } == .invalid)
        #expect(await code { try await map("many", "x", [8: "vtl"]) } == .notFound)
        #expect(await code { try await map("many", nil, [8: "vtl", 9: "vtl"]) } == .conflict)
        #expect(await code { try await unmap("many") } == .invalid)
        #expect(await code { try await unmap("many", nil, [8]) } == .conflict)
        #expect(await code { try await unmap("a", nil, [0]) } == .conflict)
        #expect(await code { try await unmap("vtl", nil, [2]) } == .conflict)
        #expect(try await unmap("many", nil, [7]).spec.units == [0: "a"])
        for name in ["many", "a", "vtl", "iqn.2026-11.dev.carousel:b"] {
            #expect(await code { try await controller.createTarget(name) } == .conflict)
        }
        #expect(await code { try await targets.create("A b", [:]) } == .invalid)
        #expect(await code { try await controller.createDisk("many", Disk.Spec(size: 1)) } == .conflict)
        let foreign = try await controller.createTarget("IQN.2001-04.com.example:Disk")
        #expect(foreign.name == "iqn.2001-04.com.example:disk")
        #expect(await code { try await controller.deleteTarget("a") } == .conflict)
        devices.logIn(to: "many")
        #expect(await code { try await controller.deleteTarget("many") } == .inUse)
        #expect(await code { try await controller.deleteDisk("a") } == .inUse)
        _ = try await controller.closeSessions("1", Session.Close.Arguments())
        try await controller.deleteTarget("many")
        #expect(try await controller.disk("a").name == "a")
        try await controller.deleteTarget(foreign.name)
        #expect(try await controller.targets().count == 3)
    }

    @Test("a target shows no more units than there is room for, wherever their numbers are")
    func fullMap() throws {
        let plane = controller.plane
        let devices = try plane.deviceUnits(keys: [Int64]())
        let shown = { (count: Int) in Dictionary(uniqueKeysWithValues: (0..<count).map { ($0, Int64($0 + 100)) }) }
        let limit = ISCSITarget.maximumUnits
        try plane.checkNumbers([ISCSITarget.numbers.upperBound: 1], present: shown(limit - 1), target: "t", devices)
        let refusal = #expect(throws: ManagementError.self) {
            try plane.checkNumbers([ISCSITarget.numbers.upperBound: 1], present: shown(limit), target: "t", devices)
        }
        #expect(refusal?.code == .conflict && refusal?.message.contains("16384 is the most") == true)
    }

    @Test("units of two libraries are never at one target, nor do they come while somebody is logged in")
    func homes() async throws {
        try await fixture.makeLibrary("second")
        _ = try await controller.createTarget("t")
        _ = try await map("t", nil, [0: "a"])
        devices.logIn(to: "t")
        let used = await fixture.refusal { try await map("t", nil, [1: "vtl"]) }
        #expect(used?.code == .inUse)
        _ = try await map("t", nil, [2: "b"])
        _ = try await controller.closeSessions("1", Session.Close.Arguments())
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

    @Test("a group that is given a map without units sees none, and no groups are as good as none said")
    func emptyMaps() async throws {
        try await makeGroup("g")
        let targets = try fixture.endpoint("targets")
        let before = try await targets.show("a")
        _ = try await targets.change("a", ["groups": [:]])
        #expect(try await targets.show("a")["spec"] == before["spec"])
        for members in [["g": ["units": [:]]], ["g": [:]]] as [JSONValue] {
            let made = try await targets.create("made", ["groups": members, "units": ["0": "a"]])
            let seen = try plan("made").groups.map(\.logicalUnits)
            #expect(made["spec"]?["groups"] == members)
            #expect(seen.map { $0.map(\.count) } == [members["g"] == [:] ? nil : 0])
            try await targets.delete("made")
        }
        // What is seen by nobody is not seen by a change either, unless it is said to be meant.
        _ = try await targets.create(
            "made", ["groups": ["g": ["units": [:]]], "units": ["0": "a"], "access": "groups"])
        let wider = await fixture.refusal { try await targets.change("made", ["groups": ["g": [:]]]) }
        #expect(wider?.code == .conflict && wider?.message.contains("--open") == true)
        _ = try await targets.change("made", ["groups": [:]])
        #expect(try plan("made").groups.isEmpty)
    }

    @Test("portal groups and redirection of a target")
    func settings() async throws {
        let targets = try fixture.endpoint("targets")
        #expect(await code { try await targets.change("a", ["portalGroups": [2]]) } == .conflict)
        _ = try await controller.addPortal("127.0.0.1:3261", Portal.Spec(portalGroup: 2))
        let target = try await targets.change("a", ["portalGroups": [2]])
        #expect(target["status"]?["portals"] == ["127.0.0.1:3261"] && target["spec"]?["portalGroups"] == [2])
        #expect(try plan("a").portalGroupTags == [2])
        for groups in [[], [0], [65536]] as [JSONValue] {
            #expect(await code { try await targets.change("a", ["portalGroups": groups]) } == .invalid)
        }
        let wider = await fixture.refusal { try await targets.change("a", ["portalGroups": .null]) }
        #expect(wider?.code == .conflict && wider?.message.contains("--open") == true)
        let all = try await targets.change("a", ["portalGroups": .null], mayWiden: true)
        #expect(all["status"]?["portals"]?.elements?.count == 2 && all["spec"]?["portalGroups"] == nil)
        let moved = try await targets.change("a", ["redirection": "[2001:DB8::1]:3260", "isPermanent": true])
        #expect(moved["spec"]?["redirection"] == "[2001:db8::1]:3260" && moved["spec"]?["isPermanent"] == true)
        #expect(try plan("a").redirection?.address == "[2001:db8::1]:3260")
        for address in ["x", "0.0.0.0:3260", "[::]:3260", "192.0.2.1:0", "127.0.0.1:3261"] as [JSONValue] {
            #expect(await code { try await targets.change("a", ["redirection": address]) } == .invalid)
        }
        let back = try await targets.change("a", ["redirection": .null])
        #expect(back["spec"]?["redirection"] == nil && back["spec"]?["isPermanent"] == false)
        #expect(try plan("a").redirection == nil)
        #expect(await code { try await targets.change("a", ["isPermanent": true]) } == .invalid)
        #expect(await code { try await targets.change("a", ["units": ["1": "b"]]) } == .conflict)
        #expect(await code { try await targets.change("a", ["name": "b"]) } == .invalid)
    }

    @Test("a target is made with all of its spec, or not at all")
    func creation() async throws {
        try await makeGroup("g")
        let targets = try fixture.endpoint("targets")
        let spec: [String: JSONValue] = [
            "units": ["0": "a", "5": "vtl/drive:1"], "groups": ["g": ["units": ["1": "b"]]], "access": "groups",
            "authentication": "chap", "redirection": "192.0.2.1:1",
        ]
        let made = try await targets.create("t", spec)
        for (name, value) in spec { #expect(made["spec"]?[name] == value, "\(name)") }
        let plan = try plan("t")
        #expect(plan.accessLevel == .groups && plan.credentials == .unknown && plan.redirection != nil)
        #expect(plan.groups.map { $0.logicalUnits?.keys.sorted() } == [[1]])
        for (name, value) in [
            ("units", ["0": "x"]), ("groups", ["x": [:]]), ("portalGroups", [9]), ("redirection", "127.0.0.1:3260"),
        ] as [(String, JSONValue)] {
            let refusal = await fixture.refusal { try await targets.create("u", spec.merging([name: value]) { $1 }) }
            #expect(refusal != nil, "\(name)")
            #expect(await code { try await controller.target("u") } == .notFound)
        }
        let closed = try await targets.create("c", ["groups": ["g": [:]], "access": "closed"])
        #expect(closed["spec"]?["access"] == "closed")
        #expect(await code { try await targets.change("t", ["authentication": "none"]) } == .conflict)
        let free = try await targets.change("t", ["authentication": "none"], mayWiden: true)
        #expect(free["spec"]?["authentication"] == "none")
    }

    @Test("everything is planned again after a restart, and nothing outlives its device")
    func restart() async throws {
        try await makeGroup("g")
        _ = try await controller.createTarget("t")
        _ = try await map("t", "g", [4: "a"])
        var spec = try await controller.target("a").spec
        spec.redirection = "192.0.2.1:1"
        _ = try await controller.changeTarget("a", to: spec)
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

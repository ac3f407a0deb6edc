import Foundation
import ManagementTestSupport
import Resources
import TestSupport
import Testing

@testable import Management

@Suite("Closed unless opened")
struct AccessLevelTests {
    let fixture: ControllerFixture
    let controller: Controller
    let devices: FakeDevices

    init() async throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        devices = fixture.devices
        try await controller.start()
        for name in ["a", "b"] { try await controller.createDisk(name, Disk.Spec(size: 4096)) }
    }

    func set(_ level: String, _ mayWiden: Bool? = nil) async throws -> String {
        try await controller.setAccess(ofTarget: "a", TargetAccessSetting(level: level, mayWiden: mayWiden)).accessLevel
    }

    func group(
        _ name: String, names: [String] = [], addresses: [String] = [], rank: Int? = nil
    ) async throws {
        _ = try await controller.createInitiatorGroup(
            InitiatorGroupCreation(name: name, names: names, addresses: addresses, rank: rank))
    }

    @discardableResult
    func map(_ group: String?, _ units: [Int: String] = [:], allUnits: Bool? = nil) async throws -> TargetSummary {
        try await controller.map(
            target: "a", TargetMapping(group: group, logicalUnits: units, allUnits: allUnits))
    }

    @discardableResult
    func unmap(_ group: String, _ numbers: [Int] = [], mayWiden: Bool? = nil) async throws -> TargetSummary {
        try await controller.unmap(
            target: "a", TargetUnmapping(group: group, numbers: numbers, mayWiden: mayWiden))
    }

    func code(_ operation: () async throws -> some Sendable) async -> ManagementError.Code? {
        await fixture.refusal(operation)?.code
    }

    @Test("a target begins with loopback; whatever lets somebody see more has to be asked for")
    func levels() async throws {
        #expect(try await controller.target("a").accessLevel == "loopback")
        #expect(try await controller.createTarget(TargetCreation(name: "t")).accessLevel == "loopback")
        #expect(await code { try await set("nobody", true) } == .invalid)
        let wide = await fixture.refusal { try await set("open") }
        #expect(wide?.code == .conflict && wide?.message.contains("--open") == true)
        #expect(try await set("loopback") == "loopback")
        #expect(try await set("groups") == "groups")
        #expect(await code { try await set("loopback") } == .conflict)
        #expect(try await set("open", true) == "open")
        #expect(try await set("loopback") == "loopback")
        #expect(try await set("closed") == "closed")
        for level in ["loopback", "open"] { #expect(await code { try await set(level) } == .conflict) }
        #expect(try await set("loopback", true) == "loopback")
        #expect(try await controller.target("a").accessLevel == "loopback")
    }

    @Test("the first group makes it groups, later ones leave it, and the end of the last one closes it")
    func firstGroup() async throws {
        try await group("g", names: ["*:g"])
        try await group("h", names: ["*:h"])
        for level in ["closed", "loopback", "open"] {
            _ = try await set(level, true)
            #expect(try await map("g").accessLevel == "groups")
            #expect(try await unmap("g").accessLevel == "groups")
            #expect(try await controller.target("a").access.isEmpty)
        }
        try await map("g")
        _ = try await set("closed")
        #expect(try await map("h").accessLevel == "closed")
        #expect(try await map("g").accessLevel == "closed")
        // Members of a group would get in again.
        #expect(await code { try await set("groups") } == .conflict)
        _ = try await set("open", true)
        #expect(try await set("groups") == "groups")
    }

    @Test("a map adds, a repetition changes nothing, and a group that was given some does not come to see all")
    func maps() async throws {
        try await group("g", names: ["*"])
        #expect(try await map("g", [3: "b"]).access.first?.logicalUnits?.map(\.number) == [3])
        #expect(try await map("g", [3: "b"]).access.first?.logicalUnits?.map(\.number) == [3])
        #expect(try await map("g", [3: "b", 7: "a"]).access.first?.logicalUnits?.map(\.number) == [3, 7])
        #expect(await code { try await map("g", [3: "a"]) } == .conflict)
        let all = await fixture.refusal { try await map("g") }
        #expect(all?.code == .conflict && all?.message.contains("--all-units") == true)
        #expect(await code { try await map("g", [1: "a"], allUnits: true) } == .invalid)
        #expect(await code { try await map(nil, [1: "b"], allUnits: true) } == .invalid)
        #expect(try await map("g", allUnits: true).access.map(\.logicalUnits) == [nil])
        #expect(try await map("g").access.map(\.logicalUnits) == [nil])
        #expect(try await map("g", allUnits: true).access.map(\.logicalUnits) == [nil])
        let narrower = await fixture.refusal { try await map("g", [0: "a"]) }
        #expect(narrower?.code == .conflict && narrower?.message.contains("unmap a --group g --lun") == true)
        #expect(try await map(nil, [5: "b"]).logicalUnits.map(\.number) == [0, 5])
        #expect(try await map(nil, [5: "b"]).logicalUnits.map(\.number) == [0, 5])
        #expect(try await unmap("g", [0]).access.first?.logicalUnits?.map(\.number) == [5])
        #expect(try await map("g", [0: "a"]).access.first?.logicalUnits?.map(\.number) == [0, 5])
    }

    @Test("a group does not lose its last member of one kind by the way")
    func lastOfAKind() async throws {
        try await group("g", names: ["*:g", "*:h"], addresses: ["10.0.0.0/8"])
        func remove(_ change: InitiatorGroupChange) async throws -> InitiatorGroupSummary {
            try await controller.reduceInitiatorGroup("g", change)
        }
        #expect(try await remove(InitiatorGroupChange(names: ["*:h"])).names == ["*:g"])
        let anyName = await fixture.refusal { try await remove(InitiatorGroupChange(names: ["*:g"])) }
        #expect(anyName?.code == .conflict && anyName?.message.contains("--any-name") == true)
        #expect(await code { try await remove(InitiatorGroupChange(names: ["*:g"], anyAddress: true)) } == .conflict)
        let anyAddress = await fixture.refusal { try await remove(InitiatorGroupChange(addresses: ["10.0.0.0/8"])) }
        #expect(anyAddress?.message.contains("--any-address") == true)
        #expect(try await remove(InitiatorGroupChange(names: ["*:g"], anyName: true)).names.isEmpty)
        #expect(try await remove(InitiatorGroupChange(addresses: ["10.0.0.0/8"])).addresses.isEmpty)
        try await group("both", names: ["*"], addresses: ["::/0"])
        let none = try await controller.reduceInitiatorGroup(
            "both", InitiatorGroupChange(names: ["*"], addresses: ["::/0"]))
        #expect(none.names.isEmpty && none.addresses.isEmpty)
    }

    @Test("where another group would decide and show more, that has to be asked for")
    func otherGroup() async throws {
        try await group("one", names: ["iqn.2026-11.test:a", "iqn.2026-11.test:b"], rank: 10)
        try await group("all", names: ["*"], rank: 20)
        try await group("far", names: ["iqn.2001-04.*"], rank: 30)
        try await map("one", [0: "b"])
        try await map("far")
        try await unmap("one")
        try await map("one", [0: "b"])
        try await map("all")
        let more = await fixture.refusal { try await unmap("one") }
        #expect(more?.code == .conflict && more?.message.contains("group 'all'") == true)
        let change = InitiatorGroupChange(names: ["iqn.2026-11.test:a"])
        #expect(await code { try await controller.reduceInitiatorGroup("one", change) } == .conflict)
        try await unmap("all")
        _ = try await controller.reduceInitiatorGroup("one", change)
        try await map("all")
        try await unmap("one", mayWiden: true)
        #expect(try await controller.target("a").access.map(\.group) == ["all", "far"])
        // What shows no more needs no word.
        try await map("one", allUnits: true)
        try await unmap("one")
    }

    @Test("two patterns overlap if a name matches both")
    func overlaps() throws {
        let letters: [Character] = ["a", "b", "?", "*"]
        var random = SeededRandom(seed: 9)
        let names = (0...4).flatMap { length in
            (0..<(1 << length)).map { bits in
                String((0..<length).map { place -> Character in bits >> place & 1 == 0 ? "a" : "b" })
            }
        }
        func pattern() throws -> NamePattern {
            let count = Int.random(in: 1...4, using: &random)
            // With a wildcard, anything may be a pattern.
            return try NamePattern.parse(String((0..<count).map { _ in letters.randomElement(using: &random)! }) + "*?")
        }
        for _ in 0..<2000 {
            let (first, second) = (try pattern(), try pattern())
            let isOverlap = names.contains { first.matches($0 + "a") && second.matches($0 + "a") }
            if isOverlap { #expect(first.overlaps(second) && second.overlaps(first), "\(first) \(second)") }
        }
        func overlap(_ first: String, _ second: String) throws -> Bool {
            try NamePattern.parse(first).overlaps(NamePattern.parse(second))
        }
        #expect(try !overlap("a*", "b*"))
        #expect(try !overlap("*a", "*b"))
        #expect(try overlap("a?*", "?b*"))
        #expect(try !overlap("?", "a??*"))
        #expect(try overlap("*a*", "*b*"))
        #expect(try overlap("a*c", "a?c*"))
        #expect(try !overlap("iqn.2026-11.test:a", "iqn.2026-11.test:b*"))
    }

    @Test("open targets behind portals for other machines are told, but are no problem")
    func warnings() async throws {
        #expect(try await controller.status().warnings.isEmpty)
        _ = try await set("open", true)
        #expect(try await controller.status().warnings.isEmpty)
        _ = try await controller.addPortal(PortalCreation(portal: "0.0.0.0:3261", group: 2))
        let status = try await controller.status()
        #expect(status.warnings.map { $0.contains("'a' is open") && $0.contains("0.0.0.0:3261") } == [true])
        #expect(status.problems.isEmpty)
        _ = try await controller.setPortalGroups(ofTarget: "a", TargetPortalGroups(groups: [1]))
        #expect(try await controller.status().warnings.isEmpty)
        _ = try await controller.setPortalGroups(ofTarget: "a", TargetPortalGroups(groups: nil))
        for name in ["c", "d", "e"] {
            try await controller.createDisk(name, Disk.Spec(size: 4096))
            _ = try await controller.setAccess(
                ofTarget: name, TargetAccessSetting(level: "open", mayWiden: true))
        }
        #expect(
            try await controller.status().warnings.map {
                $0.contains("4 targets are open") && $0.contains("(a, c, d, …)")
            } == [true])
        for name in ["a", "c", "d", "e"] {
            _ = try await controller.setAccess(ofTarget: name, TargetAccessSetting(level: "closed"))
        }
        #expect(try await controller.status().warnings.isEmpty)
    }
}

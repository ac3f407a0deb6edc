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

    typealias Target = Resource<ISCSITarget>

    func set(_ level: AccessLevel, _ mayWiden: Bool = false) async throws -> AccessLevel {
        try await controller.setAccess(ofTarget: "a", to: level, mayWiden: mayWiden).spec.access
    }

    func group(
        _ name: String, names: [String] = [], addresses: [String] = [], rank: Int? = nil
    ) async throws {
        _ = try await controller.createInitiatorGroup(
            name, InitiatorGroup.Spec(names: names, addresses: addresses, rank: rank))
    }

    @discardableResult
    func map(_ group: String?, _ units: [Int: String] = [:], allUnits: Bool = false) async throws -> Target {
        try await controller.map(
            target: "a", ISCSITarget.Map.Arguments(group: group, units: units, allUnits: allUnits))
    }

    @discardableResult
    func unmap(_ group: String, _ numbers: [Int] = [], mayWiden: Bool = false) async throws -> Target {
        try await controller.unmap(
            target: "a", ISCSITarget.Unmap.Arguments(group: group, units: numbers, mayWiden: mayWiden))
    }

    func code(_ operation: () async throws -> some Sendable) async -> ManagementError.Code? {
        await fixture.refusal(operation)?.code
    }

    @Test("a target begins with loopback; whatever lets somebody see more has to be asked for")
    func levels() async throws {
        #expect(try await controller.target("a").spec.access == .loopback)
        #expect(try await controller.createTarget("t").spec.access == .loopback)
        let targets = try fixture.endpoint("targets")
        #expect(await code { try await targets.perform("access", "a", ["access": "nobody"]) } == .invalid)
        #expect(await code { try await targets.perform("access", "a", ["access": "open"]) } == .conflict)
        #expect(await code { try await targets.change("a", ["access": "open"]) } == .conflict)
        #expect(await code { try await targets.create("t2", ["access": "open"]) } == .conflict)
        let wide = await fixture.refusal { try await set(.open) }
        #expect(wide?.code == .conflict && wide?.message.contains("--open") == true)
        #expect(try await set(.loopback) == .loopback)
        #expect(try await set(.groups) == .groups)
        #expect(await code { try await set(.loopback) } == .conflict)
        #expect(try await set(.open, true) == .open)
        #expect(try await set(.loopback) == .loopback)
        #expect(try await set(.closed) == .closed)
        for level in [AccessLevel.loopback, .open] { #expect(await code { try await set(level) } == .conflict) }
        #expect(try await set(.loopback, true) == .loopback)
        #expect(try await controller.target("a").spec.access == .loopback)
    }

    @Test("the first group makes it groups, later ones leave it, and the end of the last one closes it")
    func firstGroup() async throws {
        try await group("g", names: ["*:g"])
        try await group("h", names: ["*:h"])
        for level in [AccessLevel.closed, .loopback, .open] {
            _ = try await set(level, true)
            #expect(try await map("g").spec.access == .groups)
            #expect(try await unmap("g").spec.access == .groups)
            #expect(try await controller.target("a").status.groups.isEmpty)
        }
        try await map("g")
        _ = try await set(.closed)
        #expect(try await map("h").spec.access == .closed)
        #expect(try await map("g").spec.access == .closed)
        // Members of a group would get in again.
        #expect(await code { try await set(.groups) } == .conflict)
        _ = try await set(.open, true)
        #expect(try await set(.groups) == .groups)
    }

    @Test("a map adds, a repetition changes nothing, and a group that was given some does not come to see all")
    func maps() async throws {
        try await group("g", names: ["*"])
        #expect(try await map("g", [3: "b"]).seen("g") == [3])
        #expect(try await map("g", [3: "b"]).seen("g") == [3])
        #expect(try await map("g", [3: "b", 7: "a"]).seen("g") == [3, 7])
        #expect(await code { try await map("g", [3: "a"]) } == .conflict)
        let all = await fixture.refusal { try await map("g") }
        #expect(all?.code == .conflict && all?.message.contains("--all-units") == true)
        #expect(await code { try await map("g", [1: "a"], allUnits: true) } == .invalid)
        #expect(await code { try await map(nil, [1: "b"], allUnits: true) } == .invalid)
        #expect(try await map("g", allUnits: true).spec.groups == ["g": ISCSITarget.GroupAccess()])
        #expect(try await map("g").spec.groups == ["g": ISCSITarget.GroupAccess()])
        #expect(try await map("g", allUnits: true).spec.groups == ["g": ISCSITarget.GroupAccess()])
        let narrower = await fixture.refusal { try await map("g", [0: "a"]) }
        #expect(narrower?.code == .conflict && narrower?.message.contains("unmap a --group g --lun") == true)
        #expect(try await map(nil, [5: "b"]).spec.units.keys.sorted() == [0, 5])
        #expect(try await map(nil, [5: "b"]).spec.units.keys.sorted() == [0, 5])
        #expect(try await unmap("g", [0]).seen("g") == [5])
        #expect(try await map("g", [0: "a"]).seen("g") == [0, 5])
    }

    @Test("a group does not lose its last member of one kind as a side effect")
    func lastOfAKind() async throws {
        try await group("g", names: ["*:g", "*:h"], addresses: ["10.0.0.0/8"])
        func remove(_ members: InitiatorGroup.Remove.Arguments) async throws -> InitiatorGroup.Spec {
            try await controller.reduceInitiatorGroup("g", members).spec
        }
        #expect(try await remove(InitiatorGroup.Remove.Arguments(names: ["*:h"])).names == ["*:g"])
        let anyName = await fixture.refusal { try await remove(InitiatorGroup.Remove.Arguments(names: ["*:g"])) }
        #expect(anyName?.code == .conflict && anyName?.message.contains("--any-name") == true)
        #expect(
            await code { try await remove(InitiatorGroup.Remove.Arguments(names: ["*:g"], anyAddress: true)) }
                == .conflict)
        let anyAddress = await fixture.refusal {
            try await remove(InitiatorGroup.Remove.Arguments(addresses: ["10.0.0.0/8"]))
        }
        #expect(anyAddress?.message.contains("--any-address") == true)
        #expect(try await remove(InitiatorGroup.Remove.Arguments(names: ["*:g"], anyName: true)).names.isEmpty)
        #expect(try await remove(InitiatorGroup.Remove.Arguments(addresses: ["10.0.0.0/8"])).addresses.isEmpty)
        try await group("both", names: ["*"], addresses: ["::/0"])
        let none = try await controller.reduceInitiatorGroup(
            "both", InitiatorGroup.Remove.Arguments(names: ["*"], addresses: ["::/0"]))
        #expect(none.spec.names.isEmpty && none.spec.addresses.isEmpty)
    }

    @Test("to set members, rank and authentication takes nothing away as a side effect either")
    func settings() async throws {
        try await group(
            "one", names: ["iqn.2026-11.test:a", "iqn.2026-11.test:b"], addresses: ["10.0.0.0/8"], rank: 10)
        try await group("all", names: ["*"], rank: 20)
        try await map("one", [0: "b"])
        try await map("all")
        let groups = try fixture.endpoint("initiator-groups")
        let more = try await groups.change("one", ["names": ["IQN.2026-11.test:a", "iqn.2026-11.test:b", "eui.*"]])
        #expect(more["spec"]?["names"] == ["eui.*", "iqn.2026-11.test:a", "iqn.2026-11.test:b"])
        for members: [String: JSONValue] in [
            ["names": ["iqn.2026-11.test:a"]], ["names": []], ["addresses": .null], ["names": ["iqn.2001-04.*"]],
        ] {
            let refusal = await fixture.refusal { try await groups.change("one", members) }
            #expect(refusal?.code == .conflict && refusal?.message.contains("--open") == true, "\(members)")
        }
        let open = try await groups.change("one", ["names": .null], mayWiden: true)
        #expect(open["spec"]?["names"] == [] && open["spec"]?["addresses"] == ["10.0.0.0/8"])
        let first = try await groups.change("one", ["rank": 30, "authentication": "chap"])
        #expect(first["spec"]?["rank"] == 30 && first["spec"]?["authentication"] == "chap")
        #expect(devices.plan?.targets.first?.groups.last?.credentials == .unknown)
        #expect(await code { try await groups.change("one", ["authentication": "none"]) } == .conflict)
        let free = try await groups.change("one", ["authentication": "none"], mayWiden: true)
        #expect(free["spec"]?["authentication"] == "none")
        #expect(devices.plan?.targets.first?.groups.last?.credentials == nil)
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
        let change = InitiatorGroup.Remove.Arguments(names: ["iqn.2026-11.test:a"])
        #expect(await code { try await controller.reduceInitiatorGroup("one", change) } == .conflict)
        try await unmap("all")
        _ = try await controller.reduceInitiatorGroup("one", change)
        try await map("all")
        try await unmap("one", mayWiden: true)
        #expect(try await controller.target("a").status.groups == ["all", "far"])
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
        _ = try await set(.open, true)
        #expect(try await controller.status().warnings.isEmpty)
        _ = try await controller.addPortal("0.0.0.0:3261", Portal.Spec(portalGroup: 2))
        let status = try await controller.status()
        #expect(status.warnings.map { $0.contains("'a' is open") && $0.contains("0.0.0.0:3261") } == [true])
        #expect(status.problems.isEmpty)
        let targets = try fixture.endpoint("targets")
        _ = try await targets.change("a", ["portalGroups": [1]])
        #expect(try await controller.status().warnings.isEmpty)
        _ = try await targets.change("a", ["portalGroups": .null], mayWiden: true)
        for name in ["c", "d", "e"] {
            try await controller.createDisk(name, Disk.Spec(size: 4096))
            _ = try await controller.setAccess(ofTarget: name, to: .open, mayWiden: true)
        }
        #expect(
            try await controller.status().warnings.map {
                $0.contains("4 targets are open") && $0.contains("(a, c, d, …)")
            } == [true])
        for name in ["a", "c", "d", "e"] {
            _ = try await controller.setAccess(ofTarget: name, to: .closed)
        }
        #expect(try await controller.status().warnings.isEmpty)
    }
}

import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

/// Two groups at target `a`, the first of which shows less than the second, which has everyone.
@Suite("Members that go and members that come")
struct MemberTests {
    let fixture: ControllerFixture
    let controller: Controller

    init() async throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        try await controller.start()
        for name in ["a", "b"] { try await controller.createDisk(name, Disk.Spec(size: 4096)) }
    }

    func prepare(names: [String] = [], addresses: [String] = []) async throws {
        try await controller.createInitiatorGroup(
            "few", InitiatorGroup.Spec(names: names, addresses: addresses, rank: 10))
        try await controller.createInitiatorGroup("all", InitiatorGroup.Spec(names: ["*"], rank: 20))
        try await controller.map(target: "a", ISCSITarget.Map.Arguments(group: "few", units: [0: "b"]))
        try await controller.map(target: "a", ISCSITarget.Map.Arguments(group: "all"))
    }

    func permissions() async throws -> Set<Permission> {
        World.permissions(try controller.plane.frontEndPlan(), try await controller.allPortals())
    }

    /// Expects a change to be refused with `--open`, to change nothing then, and to be made when that is said.
    func expectWord(_ change: (_ mayWiden: Bool) async throws -> Void) async throws {
        let before = try await permissions()
        let refusal = await fixture.refusal { try await change(false) }
        #expect(refusal?.code == .conflict)
        #expect(refusal?.message.contains("because group 'all' decides for them") == true, "\(refusal?.message ?? "")")
        #expect(refusal?.message.contains("--open") == true)
        #expect(try await permissions() == before)
        try await change(true)
        #expect(try await !permissions().isSubset(of: before))
    }

    @Test("the first member of the other kind takes members away, which has to be asked for", arguments: [true, false])
    func firstOfAKind(byAdd: Bool) async throws {
        try await prepare(addresses: ["127.0.0.0/8"])
        try await expectWord { mayWiden in
            if byAdd {
                try await controller.extendInitiatorGroup(
                    "few", InitiatorGroup.Add.Arguments(names: ["iqn.2026-11.test:a"], mayWiden: mayWiden))
            } else {
                var spec = try await controller.initiatorGroup("few").spec
                spec.names = ["iqn.2026-11.test:a"]
                try await controller.changeInitiatorGroup("few", to: spec, mayWiden: mayWiden)
            }
        }
    }

    @Test("so does the first range of a group of names")
    func firstRange() async throws {
        try await prepare(names: ["iqn.2026-11.test:a"])
        try await expectWord { mayWiden in
            try await controller.extendInitiatorGroup(
                "few", InitiatorGroup.Add.Arguments(addresses: ["10.0.0.0/8"], mayWiden: mayWiden))
        }
    }

    @Test("--any-name and --any-address say nothing about other members that go", arguments: [true, false])
    func anyOfAKind(isName: Bool) async throws {
        try await prepare(
            names: ["iqn.2026-11.test:a", "iqn.2026-11.test:b"], addresses: ["127.0.0.0/8", "10.0.0.0/8"])
        try await expectWord { mayWiden in
            let members =
                isName
                ? InitiatorGroup.Remove.Arguments(
                    names: ["iqn.2026-11.test:a", "iqn.2026-11.test:b"], addresses: ["127.0.0.0/8"], anyName: true,
                    mayWiden: mayWiden)
                : InitiatorGroup.Remove.Arguments(
                    names: ["iqn.2026-11.test:a"], addresses: ["127.0.0.0/8", "10.0.0.0/8"], anyAddress: true,
                    mayWiden: mayWiden)
            try await controller.reduceInitiatorGroup("few", members)
        }
    }

    @Test("members that only come, and a group that nobody follows, need no word")
    func harmless() async throws {
        try await prepare(names: ["iqn.2026-11.test:a"])
        try await controller.extendInitiatorGroup("few", InitiatorGroup.Add.Arguments(names: ["iqn.2026-11.test:b"]))
        // The last group: whoever leaves it gets nothing.
        try await controller.extendInitiatorGroup("all", InitiatorGroup.Add.Arguments(addresses: ["10.0.0.0/8"]))
        try await controller.createInitiatorGroup("new", InitiatorGroup.Spec(rank: 1))
        try await controller.map(target: "a", ISCSITarget.Map.Arguments(group: "new", units: [0: "b"]))
        try await controller.extendInitiatorGroup(
            "new", InitiatorGroup.Add.Arguments(names: ["*:a"], addresses: ["10.0.0.0/8"]))
        try await controller.reduceInitiatorGroup(
            "all", InitiatorGroup.Remove.Arguments(names: ["*"], addresses: ["10.0.0.0/8"]))
    }

    @Test("of two groups, one may lose members to the other where that shows no more")
    func narrower() async throws {
        try await controller.createInitiatorGroup(
            "wide", InitiatorGroup.Spec(names: ["iqn.2026-11.test:a", "iqn.2026-11.test:b"], rank: 10))
        try await controller.createInitiatorGroup("narrow", InitiatorGroup.Spec(names: ["*"], rank: 20))
        try await controller.map(target: "a", ISCSITarget.Map.Arguments(units: [1: "b"]))
        try await controller.map(target: "a", ISCSITarget.Map.Arguments(group: "wide"))
        try await controller.map(target: "a", ISCSITarget.Map.Arguments(group: "narrow", units: [0: "b"]))
        let before = try await permissions()
        // Group 'wide' shows what 'narrow' does not, but nobody comes to it: its members were its members before.
        try await controller.reduceInitiatorGroup(
            "wide", InitiatorGroup.Remove.Arguments(names: ["iqn.2026-11.test:a"]))
        #expect(try await before.count > permissions().count)
    }
}

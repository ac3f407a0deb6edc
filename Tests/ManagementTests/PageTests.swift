import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("Pages of lists")
struct PageTests {
    let fixture: ControllerFixture

    init() async throws {
        fixture = try ControllerFixture()
        let controller = fixture.controller
        for name in ["e", "b", "d", "a", "c"] { try await controller.createDisk(name, Disk.Spec(size: 1 << 20)) }
        for name in ["g", "h"] {
            try await controller.createInitiatorGroup(name, InitiatorGroup.Spec(names: ["iqn.*"]))
        }
        for (name, units) in [("y", [0: "a", 3: "b"]), ("x", [1: "c"]), ("z", [:])] {
            var spec = ISCSITarget.Spec()
            spec.units = units
            spec.groups = ["g": ISCSITarget.GroupAccess(units: [5: "e"]), "h": ISCSITarget.GroupAccess()]
            try await controller.createTarget(name, spec)
        }
    }

    /// The pages of so many things that a list has, one after another.
    private func pages<D: Driver>(_ driver: D, of limit: Int) async throws -> [Resource<D.Kind>] {
        var things: [Resource<D.Kind>] = []
        while true {
            let page = try await driver.list(Page(after: things.last?.name, limit: limit))
            #expect(page.count <= limit)
            guard !page.isEmpty else { return things }
            things += page
        }
    }

    @Test("of any length have together what the whole list has", arguments: [1, 2, 3, 100])
    func wholeList(_ limit: Int) async throws {
        let disks = DiskDriver(fixture.controller)
        #expect(try await pages(disks, of: limit) == disks.list(.all))
        #expect(try await disks.list(.all).map(\.name) == ["a", "b", "c", "d", "e"])
        let targets = ISCSITargetDriver(fixture.controller)
        let all = try await targets.list(.all)
        #expect(try await pages(targets, of: limit) == all)
        #expect(all.map(\.name) == ["a", "b", "c", "d", "e", "x", "y", "z"].map(DeviceName.targetName))
        let own = try #require(all.first { $0.name == DeviceName.targetName("y") })
        #expect(own.spec.units == [0: "a", 3: "b"])
        #expect(own.spec.groups == ["g": ISCSITarget.GroupAccess(units: [5: "e"]), "h": ISCSITarget.GroupAccess()])
        let groups = try await InitiatorGroupDriver(fixture.controller).list(.all)
        #expect(groups.map(\.status.targets) == Array(repeating: ["x", "y", "z"].map(DeviceName.targetName), count: 2))
    }

    @Test("the last ones are the last of the whole list")
    func last() async throws {
        let disks = DiskDriver(fixture.controller)
        #expect(try await disks.list(Page(limit: 1, last: 2)).map(\.name) == ["d", "e"])
        #expect(try await disks.list(Page(after: "d", limit: 1, last: 2)).map(\.name) == ["e"])
    }
}

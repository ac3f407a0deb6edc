import Catalog
import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("What disks say of themselves, and their media")
struct DiskMediaTests {
    let fixture: ControllerFixture
    let controller: Controller
    let devices: FakeDevices

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        devices = fixture.devices
    }

    @Test(
        "fields that do not go together are refused with one sentence, and nothing is made",
        arguments: [
            (["blockSize": 4096, "physicalBlockSize": 512], "physicalBlockSize", "is smaller than a logical one"),
            (["physicalBlockSize": 8192], "physicalBlockSize", "is not offered"),
            (["alignment": 1], "alignment", "all of them are aligned"),
            (["blockSize": 4096, "physicalBlockSize": 4096, "alignment": 1], "alignment", "all of them are aligned"),
            (["physicalBlockSize": 4096, "alignment": 8], "alignment", "give 0 to 7"),
            (["rotationRate": 2], "rotationRate", "1025 to 65534"), (["rotationRate": 1024], "rotationRate", "1025"),
            (["rotationRate": 65535], "rotationRate", "65534"), (["rotationRate": -1], "rotationRate", "0 to 65534"),
            (["formFactor": "4"], "formFactor", "is not offered"), (["cache": "none"], "cache", "is not offered"),
            (["unmappedReads": 3], "unmappedReads", "is not offered"), (["threshold": 0], "threshold", "1 to 100"),
            (["threshold": 101], "threshold", "1 to 100"), (["threshold": "80%"], "threshold", "a number is expected"),
            (["isRemovable": 1], "isRemovable", "true or false"),
            (["protection": 4], "protection", "is not offered"),
            (["protection": 1, "image": "/var/tmp/x"], "protection", "has no protection information beside it"),
        ] as [([String: JSONValue], String, String)])
    func badInput(members: [String: JSONValue], field: String, words: String) async throws {
        let before = fixture.files()
        let refusal = await fixture.refusal {
            try await fixture.endpoint("disks").create("a", members.merging(["size": 1_048_576]) { $1 })
        }
        #expect(refusal?.code == .invalid && refusal?.field == field)
        #expect(refusal?.message.contains(words) == true, "\(refusal?.message ?? "")")
        #expect(fixture.files() == before)
        #expect(try await controller.disks().isEmpty)
    }

    @Test("what is said once stays; the rest changes while the disk runs, or not at all")
    func changes() async throws {
        try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
        let endpoint = try fixture.endpoint("disks")
        for members: [String: JSONValue] in [
            ["isRemovable": true], ["physicalBlockSize": 4096], ["rotationRate": 7200], ["formFactor": "3.5"],
            ["unmappedReads": 0], ["alignment": 1], ["protection": 1],
        ] {
            let refusal = await fixture.refusal { try await endpoint.change("a", members) }
            #expect(refusal?.code == .invalid, "\(members)")
        }
        #expect(devices.adjusted.isEmpty)
        var spec = try await controller.disk("a").spec
        (spec.isReadOnly, spec.cache, spec.threshold) = (true, .direct, 80)
        #expect(try await controller.changeDisk("a", to: spec).spec == spec)
        #expect(devices.adjusted["a"] == spec)
        devices.fail(with: ManagementError(.conflict, "no"))
        spec.isReadOnly = false
        let wanted = spec
        #expect(await fixture.refusal { try await controller.changeDisk("a", to: wanted) }?.message == "no")
        #expect(try await controller.disk("a").spec.isReadOnly)
    }

    @Test("the medium of a removable disk is ejected and loaded; the catalog knows, and an event tells of it")
    func moves() async throws {
        var spec = Disk.Spec(size: 1 << 20)
        try await controller.createDisk("fixed", spec)
        spec.isRemovable = true
        #expect(try await controller.createDisk("a", spec).status.medium == .loaded)
        #expect(try await controller.disk("fixed").status.medium == nil)
        for move in [controller.ejectDisk, { name, _ in try await controller.loadDisk(name) }] {
            let refusal = await fixture.refusal { try await move("fixed", false) }
            #expect(refusal?.code == .conflict && refusal?.message.contains("is not removable") == true)
            #expect(await fixture.refusal { try await move("none", false) }?.code == .notFound)
        }
        devices.preventRemoval()
        #expect(await fixture.refusal { try await controller.ejectDisk("a") }?.code == .inUse)
        #expect(try await controller.disk("a").status.medium == .loaded)
        #expect(try await controller.ejectDisk("a", isForced: true).status.medium == .ejected)
        #expect(devices.ejected == ["a"])
        #expect(try controller.plane.diskRecord("a").isEjected)
        #expect(try await controller.loadDisk("a").status.medium == .loaded)
        #expect(try !controller.plane.diskRecord("a").isEjected)
        let verbs = try await controller.events(limit: 1000).filter { $0.name == "a" }.map(\.verb)
        #expect(verbs == ["create", "eject", "load"])
        try await controller.ejectDisk("a", isForced: true)
        try await controller.deleteDisk("a")
    }

    @Test("a disk that reaches its threshold is told of once, and warned of as long as that is so")
    func thresholds() async throws {
        try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
        devices.reach([ThresholdFinding(name: "a", usedBytes: 900_000, percent: 80, isNew: true)])
        await controller.reconcile()
        devices.reach([ThresholdFinding(name: "a", usedBytes: 900_000, percent: 80, isNew: false)])
        await controller.reconcile()
        #expect(try await controller.events(limit: 1000).map(\.verb) == ["create", "threshold"])
        #expect(try await controller.status().warnings.contains { $0.hasPrefix("disk 'a' has storage for 80%") })
        devices.reach([])
        await controller.reconcile()
        #expect(try await !controller.status().warnings.contains { $0.hasPrefix("disk 'a'") })
    }
}

import Catalog
import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("Snapshots, and disks that are made of them")
struct SnapshotTests {
    let fixture: ControllerFixture
    let controller: Controller
    let devices: FakeDevices

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        devices = fixture.devices
    }

    private func makeDisk(_ name: String, size: Int64 = 1 << 20) async throws {
        var spec = Disk.Spec(size: size)
        spec.format = .carousel
        try await controller.createDisk(name, spec)
    }

    private func snapshots() throws -> Endpoint { try fixture.endpoint("snapshots") }

    private func names() async throws -> [String] { try await controller.snapshots().map(\.name) }

    private func words(_ body: () async throws -> some Sendable) async -> String {
        await fixture.refusal(body)?.message ?? ""
    }

    @Test("snapshots are made, shown and deleted, and each of that leaves an event")
    func life() async throws {
        try await makeDisk("a")
        try await makeDisk("b")
        let made = try await snapshots().create("a@one", [:])
        #expect(made["status"]?["disk"] == "a" && made["status"]?["size"] == 1_048_576)
        _ = try await snapshots().perform("take", nil, ["names": ["a@two", "b@two"]])
        #expect(try await names() == ["a@one", "a@two", "b@two"])
        #expect(try await controller.snapshots(ofDisk: "b").map(\.name) == ["b@two"])
        try await snapshots().delete("a@one")
        #expect(try await names() == ["a@two", "b@two"])
        #expect(try await controller.disk("a").status.state == .serving)
        let events = try await controller.events(kind: "snapshot", limit: 1000)
        #expect(
            events.map { "\($0.verb) \($0.name)" } == [
                "create a@one", "create a@two", "create b@two", "delete a@one",
            ])
    }

    @Test("what cannot be made is refused with one sentence, and nothing is made")
    func refusals() async throws {
        try await makeDisk("a")
        try await controller.createDisk("raw", .raw(size: 1 << 20))
        try await controller.takeSnapshots(["a@one"])
        let refused: [([String], ManagementError.Code, String)] = [
            (["a"], .invalid, "write DISK@NAME"), (["a@"], .invalid, "no name for a snapshot"),
            (["a@B"], .invalid, "no name for a snapshot"), (["a@one"], .conflict, "exists already"),
            (["b@one"], .notFound, "there is no disk 'b'"), (["raw@one"], .conflict, "disk 'raw' is raw"),
            (["a@two", "a@three"], .invalid, "named twice"), (["a@two", "raw@two"], .conflict, "disk 'raw' is raw"),
        ]
        for (names, code, words) in refused {
            let refusal = await fixture.refusal { try await controller.takeSnapshots(names) }
            #expect(refusal?.code == code && refusal?.message.contains(words) == true, "\(names): \(refusal as Any)")
        }
        #expect(await words { try await snapshots().perform("take", nil, ["names": []]) }.contains("is empty"))
        devices.lose("a", since: nil, reason: "the device failed")
        #expect(await words { try await controller.takeSnapshots(["a@two"]) }.contains("acknowledge-loss"))
        #expect(try await names() == ["a@one"])
        #expect(await words { try await controller.snapshot("a@two") }.contains("there is no snapshot 'a@two'"))
        #expect(await words { try await controller.snapshots(ofDisk: "b") }.contains("there is no disk 'b'"))
        #expect(try await controller.snapshots(ofDisk: "raw").isEmpty)
    }

    @Test("a dry run makes and deletes nothing")
    func dryRun() async throws {
        try await makeDisk("a")
        _ = try await snapshots().creating("a@one", [:], RequestOptions(isDryRun: true))
        #expect(try await names().isEmpty)
        try await controller.takeSnapshots(["a@one"])
        _ = try await snapshots().deleting("a@one", RequestOptions(isDryRun: true))
        #expect(try await names() == ["a@one"])
    }

    @Test("a disk that has snapshots is not deleted, and tells of them")
    func deletionOfDisk() async throws {
        try await makeDisk("a")
        try await controller.takeSnapshots(["a@one"])
        #expect(await words { try await controller.deleteDisk("a") }.contains("a snapshot: a@one"))
        try await controller.deleteSnapshot("a@one")
        try await controller.deleteDisk("a")
        #expect(try await controller.disks().isEmpty)
    }

    @Test("a locked snapshot is not deleted, and its lock does not become shorter")
    func lock() async throws {
        try await makeDisk("a")
        try await controller.takeSnapshots(["a@one"])
        let day = 86_400.0
        let until = Date(timeIntervalSince1970: (Date().timeIntervalSince1970 + 10 * day).rounded(.down))
        _ = try await snapshots().perform("lock", "a@one", ["until": until.json])
        #expect(try await controller.snapshot("a@one").status.lockedUntil == until)
        #expect(await words { try await controller.deleteSnapshot("a@one") }.contains("locked until"))
        let shorter = until.addingTimeInterval(-day)
        #expect(
            await words { try await snapshots().perform("lock", "a@one", ["until": shorter.json]) }
                .contains("does not become shorter"))
        #expect(
            await words { try await snapshots().perform("lock", "a@one", ["until": "2020-01-01T00:00:00Z"]) }
                .contains("is over"))
        let longer = until.addingTimeInterval(day)
        _ = try await snapshots().perform("lock", "a@one", ["until": longer.json])
        #expect(try await controller.snapshot("a@one").status.lockedUntil == longer)
        #expect(try await controller.events(kind: "snapshot", limit: 1000).filter { $0.verb == "lock" }.count == 2)
    }

    @Test("a rollback keeps what there was, and the size in the catalog is that of the snapshot")
    func rollback() async throws {
        try await makeDisk("a")
        try await controller.takeSnapshots(["a@small"])
        _ = try await controller.changeDisk("a", to: Self.carousel(size: 2 << 20))
        try await controller.takeSnapshots(["a@large"])
        let kept = try await controller.rollBackDisk(to: "a@small")
        #expect(kept.name.hasPrefix("a@before-rollback-20") && kept.status.size == 2 << 20)
        #expect(kept.name.count == "a@before-rollback-20261128-093000".count)
        #expect(try await controller.disk("a").spec.size == 1 << 20 && devices.disks["a"] == 1 << 20)
        let second = try await controller.rollBackDisk(to: "a@large")
        #expect(second.name != kept.name)
        #expect(try await controller.disk("a").spec.size == 2 << 20)
        #expect(try await controller.snapshots().count == 4)
        #expect(try await controller.events(kind: "disk", limit: 1000).filter { $0.verb == "rollback" }.count == 2)
        #expect(await words { try await controller.rollBackDisk(to: "a@none") }.contains("there is no snapshot"))
    }

    @Test("a rollback that fails leaves the size as it was")
    func failedRollback() async throws {
        try await makeDisk("a")
        try await controller.takeSnapshots(["a@small"])
        _ = try await controller.changeDisk("a", to: Self.carousel(size: 2 << 20))
        devices.fail(with: ManagementError(.system, "no room"))
        #expect(await words { try await controller.rollBackDisk(to: "a@small") } == "no room")
        devices.fail(with: nil)
        #expect(try await controller.disk("a").spec.size == 2 << 20)
        #expect(try await names() == ["a@small"])
    }

    private static func carousel(size: Int64) -> Disk.Spec {
        var spec = Disk.Spec(size: size)
        spec.format = .carousel
        return spec
    }

    @Test("differences come in parts, and only of what is in one image")
    func differences() async throws {
        try await makeDisk("a")
        try await makeDisk("b")
        try await controller.takeSnapshots(["a@one", "b@one"])
        devices.differ(in: [0..<4096, 8192..<16384, 20480..<24576])
        let first = try await snapshots().perform("diff", nil, ["from": "a@one", "to": "a", "limit": 2])
        #expect(first["ranges"]?.elements?.count == 2 && first["next"] == 16384)
        #expect(first["ranges"]?.elements?.last?["offset"] == 8192)
        let rest = try await snapshots().perform(
            "diff", nil, ["from": "a@one", "to": "a", "limit": 2, "after": 16384])
        #expect(rest["ranges"] == [["offset": 20480, "length": 4096]] && rest["next"] == nil)
        #expect(
            await words { try await snapshots().perform("diff", nil, ["from": "a@one", "to": "b@one"]) }
                .contains("different images"))
        #expect(
            await words { try await snapshots().perform("diff", nil, ["from": "a@two", "to": "a"]) }
                .contains("there is no snapshot"))
        #expect(
            await words { try await snapshots().perform("diff", nil, ["from": "a", "to": "a", "limit": 4097]) }
                .contains("is not possible"))
    }

    @Test("a clone is a disk with an identity of its own in the same image, and its origin may go")
    func clone() async throws {
        try await makeDisk("a")
        try await controller.takeSnapshots(["a@one"])
        _ = try await snapshots().perform("clone", "a@one", ["name": "c"])
        let (origin, clone) = (try await controller.disk("a"), try await controller.disk("c"))
        #expect(clone.status.image == origin.status.image && clone.status.serialNumber != origin.status.serialNumber)
        #expect(clone.status.naa != origin.status.naa && clone.status.target == DeviceName.targetName("c"))
        #expect(clone.spec.size == 1 << 20 && clone.status.state == .serving && clone.status.snapshot == nil)
        #expect(try await controller.snapshot("a@one").status.clones == ["c"])
        #expect(await words { try await controller.cloneSnapshot("a@one", as: "c") }.contains("exists already"))
        try await controller.deleteSnapshot("a@one")
        try await controller.deleteDisk("a")
        #expect(FileManager.default.fileExists(atPath: clone.status.image))
        try await controller.deleteDisk("c")
        #expect(!FileManager.default.fileExists(atPath: clone.status.image))
        let event = try await controller.events(kind: "disk", name: "c", limit: 1000).first
        #expect(event?.verb == "create" && event?.new?["snapshot"] == "a@one")
    }

    @Test("a clone that cannot be made leaves nothing")
    func failedClone() async throws {
        try await makeDisk("a")
        try await controller.takeSnapshots(["a@one"])
        devices.fail(with: ManagementError(.system, "no room"))
        #expect(await words { try await controller.cloneSnapshot("a@one", as: "c") } == "no room")
        devices.fail(with: nil)
        #expect(try await controller.disks().map(\.name) == ["a"])
        #expect(try await controller.snapshot("a@one").status.clones.isEmpty)
    }

    @Test("a disk that shows a snapshot stays what that is, keeps it, and goes without it")
    func map() async throws {
        try await makeDisk("a")
        try await controller.takeSnapshots(["a@one"])
        _ = try await snapshots().perform("map", "a@one", [:])
        let shown = try await controller.disk("a-one")
        #expect(shown.spec.isReadOnly && shown.status.snapshot == "a@one" && shown.spec.size == 1 << 20)
        #expect(try await controller.snapshot("a@one").status.mappedAs == "a-one")
        #expect(await words { try await controller.deleteSnapshot("a@one") }.contains("shown by disk 'a-one'"))
        #expect(
            await words { try await snapshots().perform("map", "a@one", ["name": "b"]) }.contains(
                "shown by disk 'a-one'"))
        let disks = try fixture.endpoint("disks")
        for members: [String: JSONValue] in [["isReadOnly": false], ["size": 2_097_152]] {
            #expect(await words { try await disks.change("a-one", members) }.contains("shows snapshot 'a@one'"))
        }
        #expect(await words { try await controller.takeSnapshots(["a-one@x"]) }.contains("shows snapshot 'a@one'"))
        _ = try await disks.change("a-one", ["description": "of Monday"])
        try await controller.deleteDisk("a-one")
        #expect(try await names() == ["a@one"] && FileManager.default.fileExists(atPath: shown.status.image))
        try await controller.deleteSnapshot("a@one")
    }

    @Test("a snapshot is shown at another target too, or not at all")
    func mapAtTarget() async throws {
        try await makeDisk("a")
        try await controller.createTarget("t", ISCSITarget.Spec())
        try await controller.takeSnapshots(["a@one"])
        #expect(
            await words { try await snapshots().perform("map", "a@one", ["target": "t"]) }.contains("go together"))
        #expect(
            await words { try await snapshots().perform("map", "a@one", ["target": "u", "lun": 1]) }
                .contains("no target"))
        #expect(try await controller.disks().map(\.name) == ["a"])
        _ = try await snapshots().perform("map", "a@one", ["name": "b", "target": "t", "lun": 3])
        #expect(try await controller.target("t").spec.units[3] == "b")
    }
}

import Catalog
import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("Snapshots that are made by themselves")
struct SnapshotScheduleTests {
    let fixture: ControllerFixture
    let controller: Controller
    let devices: FakeDevices
    private static let hour: Int64 = 3600

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        devices = fixture.devices
    }

    private func makeDisk(_ name: String, every: Int?, keep: Int? = nil) async throws {
        var spec = Disk.Spec(size: 1 << 20)
        (spec.format, spec.snapshotEvery, spec.snapshotKeep) = (.carousel, every, keep)
        try await controller.createDisk(name, spec)
    }

    private func round(_ seconds: Int64) async throws {
        await controller.takeDueSnapshots(at: try #require(CalendarTime(seconds: seconds)))
    }

    private func names() async throws -> [String] { try await controller.snapshots().map(\.name) }

    @Test("each is called by its time, and the oldest go, but not those that are locked, mapped or somebody's")
    func life() async throws {
        try await makeDisk("a", every: 3600, keep: 2)
        try await makeDisk("b", every: nil)
        try await controller.takeSnapshots(["a@mine"])
        // 2027-01-15 08:00:00.
        let start: Int64 = 1_800_000_000
        try await round(start)
        try await round(start + 10)
        #expect(try await names() == ["a@auto-20270115-080000", "a@mine"])
        var lock = Snapshot.LockUntil.Arguments()
        lock.until = Date(timeIntervalSince1970: 4_000_000_000)
        try await controller.lockSnapshot("a@auto-20270115-080000", lock)
        try await round(start + Self.hour)
        try await controller.mapSnapshot("a@auto-20270115-090000", Snapshot.Map.Arguments())
        for hours in 2...5 { try await round(start + Int64(hours) * Self.hour) }
        #expect(
            try await names() == [
                "a@auto-20270115-080000", "a@auto-20270115-090000", "a@auto-20270115-120000", "a@auto-20270115-130000",
                "a@mine",
            ])
    }

    @Test("a time without the daemon, and a clock that goes back, make one")
    func clocks() async throws {
        try await makeDisk("a", every: 3600)
        let start: Int64 = 1_800_000_000
        try await round(start)
        try await round(start + 1000 * Self.hour)
        try await round(start + 1000 * Self.hour + 20)
        #expect(try await names().count == 2)
        // A little back is nothing.
        try await round(start + 1000 * Self.hour - 60)
        #expect(try await names().count == 2)
        try await round(start + Self.hour)
        try await round(start + Self.hour + 10)
        #expect(try await names().count == 3)
        try await round(start + 2 * Self.hour)
        #expect(try await names().count == 4)
    }

    @Test("a schedule can be changed, and taken away")
    func changes() async throws {
        try await makeDisk("a", every: nil)
        let start: Int64 = 1_800_000_000
        try await round(start)
        #expect(try await names().isEmpty)
        let disks = try fixture.endpoint("disks")
        _ = try await disks.change("a", ["snapshotEvery": 60, "snapshotKeep": 1])
        try await round(start + 60)
        try await round(start + 120)
        #expect(try await names() == ["a@auto-20270115-080200"])
        _ = try await disks.change("a", ["snapshotEvery": .null, "snapshotKeep": .null])
        try await round(start + Self.hour)
        #expect(try await names() == ["a@auto-20270115-080200"])
    }

    @Test("only disks that can have snapshots have a schedule")
    func refusals() async throws {
        let disks = try fixture.endpoint("disks")
        let raw = await fixture.refusal {
            try await disks.create("r", ["size": 1_048_576, "format": "raw", "snapshotEvery": 3600])
        }
        #expect(raw?.code == .invalid && raw?.field == "snapshotEvery")
        for members: [String: JSONValue] in [["snapshotEvery": 59], ["snapshotKeep": 0]] {
            let all = members.merging(["size": 1_048_576, "format": "carousel"]) { $1 }
            #expect(await fixture.refusal { try await disks.create("c", all) }?.code == .invalid)
        }
        try await makeDisk("a", every: nil)
        try await controller.takeSnapshots(["a@one"])
        try await controller.mapSnapshot("a@one", Snapshot.Map.Arguments())
        let shown = await fixture.refusal { try await disks.change("a-one", ["snapshotEvery": 3600]) }
        #expect(shown?.message.contains("has no snapshots") == true)
    }

    @Test("what keeps it from being made stands in the status of the disk until it is made")
    func failure() async throws {
        try await makeDisk("a", every: 3600)
        devices.fail(with: ManagementError(.system, "no room"))
        let start: Int64 = 1_800_000_000
        try await round(start)
        #expect(try await controller.disk("a").status.problem?.hasSuffix("no room") == true)
        devices.fail(with: nil)
        try await round(start + 10)
        #expect(try await controller.disk("a").status.problem == nil)
        #expect(try await names().count == 1)
    }
}

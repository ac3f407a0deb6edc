import Catalog
import DiskDevice
import Foundation
import ManagementTestSupport
import Media
import Platform
import Resources
import Testing

@testable import Management

@Suite("The space of disks and snapshots", .serialized)
final class DiskSpaceTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"

    deinit { try? FileManager.default.removeItem(atPath: path) }

    private func makeDisk(
        _ name: String, format: DiskFormat = .carousel, limit: Int64? = nil, _ controller: Controller
    ) async throws {
        var spec = Disk.Spec(size: 64 << 20)
        spec.format = format
        spec.spaceLimit = limit
        try await controller.createDisk(name, spec)
    }

    private func image(_ name: String, _ controller: Controller) throws -> any DiskImage {
        let disk = try controller.plane.diskRecord(name)
        let devices = try #require(controller.plane.assembly as? LocalDevices)
        return try #require(devices.disks.withLock { $0[disk.identity.id] }).server.image
    }

    /// Writes that many megabytes of a byte at a megabyte.
    private func write(
        _ name: String, _ byte: UInt8, at place: UInt64, _ count: UInt64, _ controller: Controller
    ) throws -> MediaFailure? {
        let image = try image(name, controller)
        for index in place..<place + count {
            if let failure = image.fill(first: index << 11, with: [UInt8](repeating: byte, count: 1 << 20)) {
                return failure
            }
        }
        return image.synchronize()
    }

    private func disk(_ name: String, _ controller: Controller) async throws -> Disk.Status {
        try await controller.spaciousDisk(name).status
    }

    private func snapshot(_ name: String, _ controller: Controller) async throws -> Snapshot.Status {
        try await controller.spaciousSnapshot(name).status
    }

    @Test("what disks and snapshots have is shown, and what their deletion gives back")
    func shown() async throws {
        let mega: Int64 = 1 << 20
        try await serveDevices(at: path) { [self] controller, _ in
            try await makeDisk("a", controller)
            try await makeDisk("r", format: .raw, controller)
            #expect(try write("a", 1, at: 0, 8, controller) == nil)
            #expect(try write("r", 1, at: 0, 2, controller) == nil)
            var a = try await disk("a", controller)
            #expect(a.used == 8 * mega && a.unique == 8 * mega && (a.allocated ?? 0) >= 8 * mega)
            try await controller.takeSnapshots(["a@one"])
            #expect(try write("a", 2, at: 0, 1, controller) == nil)
            try await controller.takeSnapshots(["a@two"])
            #expect(try write("a", 3, at: 1, 2, controller) == nil)
            #expect(try write("a", 3, at: 20, 1, controller) == nil)
            a = try await disk("a", controller)
            #expect(a.used == 9 * mega && a.unique == 3 * mega)
            let (one, two) = (try await snapshot("a@one", controller), try await snapshot("a@two", controller))
            #expect(one.used == 8 * mega && one.reclaimable == 1 * mega)
            #expect(two.used == 8 * mega && two.reclaimable == 0)
            let r = try await disk("r", controller)
            #expect((r.used ?? 0) >= 2 * mega && r.used == r.unique && r.used == r.allocated)
            try await controller.mapSnapshot("a@one", Snapshot.Map.Arguments())
            let shown = try await disk("a-one", controller)
            #expect(shown.used == 8 * mega && shown.unique == 0)
            let list = try await controller.spaciousDisks()
            #expect(list.map(\.name) == ["a", "a-one", "r"])
            #expect(list.allSatisfy { $0.status.used != nil && $0.status.allocated != nil })
            let snapshots = try await controller.spaciousSnapshots(Page(whole: "a"))
            #expect(snapshots.map(\.status.reclaimable) == [1 * mega, 0])
            #expect(try await controller.spaciousSnapshots(Page(after: "a@one")).map(\.name) == ["a@two"])
            // What is not asked for is not counted.
            #expect(try await controller.disk("a").status.used == nil)
            try await controller.deleteSnapshot("a@two")
            #expect(try await snapshot("a@one", controller).reclaimable == 3 * mega)
        }
    }

    @Test("a disk that is not served, and an image that does not answer in time, have no figures")
    func unknown() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await makeDisk("a", controller)
            #expect(try write("a", 1, at: 0, 8, controller) == nil)
            let record = try controller.plane.diskRecord("a")
            let past = MonotonicTime(nanoseconds: 0)
            #expect(devices.space(of: record, until: past) == ContentSpace())
            #expect(devices.space(of: record, until: .distantFuture)?.used == 8 << 20)
            devices.stopDisk(record, targetName: DeviceName.targetName("a"))
            let status = try await disk("a", controller)
            #expect(status.used == nil && status.unique == nil && status.allocated == nil)
        }
    }

    @Test("thousands of snapshots are listed soon, and what is not counted then is counted when it is asked for")
    func many() async throws {
        let count = 300
        try await serveDevices(at: path) { [self] controller, devices in
            try await makeDisk("a", controller)
            #expect(try write("a", 1, at: 0, 4, controller) == nil)
            let image = try #require(try image("a", controller) as? EpochDiskImage)
            for index in 0..<count {
                let name = "a@s\(index)"
                if index % 30 == 0 { #expect(try write("a", UInt8(index / 30 + 9), at: 1, 1, controller) == nil) }
                _ = try image.file.snapshot([image.node], names: [name], time: .current())
            }
            var known = 0
            for _ in 0..<2 {
                var page = Page(whole: "a", limit: 100)
                var names: [String] = []
                while true {
                    let part = try await controller.spaciousSnapshots(page)
                    names += part.map(\.name)
                    guard part.count == page.limit else { break }
                    page.after = part.last?.name
                }
                #expect(names.count == count)
            }
            var page = Page(whole: "a", last: count)
            page.waitsForSpace = true
            for snapshot in try await controller.spaciousSnapshots(page) {
                #expect(snapshot.status.used == 4 << 20)
                if snapshot.status.reclaimable == 0 { known += 1 }
            }
            #expect(known >= count - 11)
        }
    }

    // MARK: Limits

    @Test("a limit of an image counts for all of its disks, is changed while it runs, and is there after a start")
    func limits() async throws {
        let mega: Int64 = 1 << 20
        try await serveDevices(at: path) { [self] controller, _ in
            try await makeDisk("a", limit: 8 * mega, controller)
            #expect(try write("a", 1, at: 0, 4, controller) == nil)
            try await controller.takeSnapshots(["a@one"])
            try await controller.cloneSnapshot("a@one", as: "c")
            #expect(try await controller.disk("c").spec.spaceLimit == nil)
            // Four have storage, and what the image needs for itself.
            #expect(try write("c", 2, at: 0, 3, controller) == nil)
            #expect(try write("c", 2, at: 3, 1, controller) == .hostFull)
            #expect(try write("a", 2, at: 0, 1, controller) == .hostFull)
            #expect(try write("c", 3, at: 0, 3, controller) == nil, "in place")
            var spec = try await controller.disk("a").spec
            spec.spaceLimit = 32 * mega
            _ = try await controller.changeDisk("a", to: spec)
            #expect(try write("a", 2, at: 0, 1, controller) == nil)
            var clone = try await controller.disk("c").spec
            clone.spaceLimit = 8 * mega
            _ = try await controller.changeDisk("c", to: clone)
            #expect(try write("a", 2, at: 1, 1, controller) == .hostFull, "the smallest counts")
        }
        try await serveDevices(at: path) { [self] controller, _ in
            #expect(try write("a", 2, at: 1, 1, controller) == .hostFull)
            try await controller.deleteDisk("c")
            #expect(try write("a", 2, at: 1, 1, controller) == nil, "its limit goes with a disk")
            var spec = try await controller.disk("a").spec
            spec.spaceLimit = nil
            _ = try await controller.changeDisk("a", to: spec)
            #expect(try write("a", 2, at: 0, 64, controller) == nil)
        }
    }

    @Test("a raw disk has no limit")
    func raw() async throws {
        try await serveDevices(at: path) { [self] controller, _ in
            try await makeDisk("r", format: .raw, controller)
            for spec in ["format": JSONValue.text("raw"), "image": .text("/x")] {
                let members: [String: JSONValue] = [
                    "size": .integer(1 << 20), "spaceLimit": .integer(1 << 20), spec.key: spec.value,
                ]
                let error = await #expect(throws: ManagementError.self) {
                    _ = try await Endpoint(DiskDriver(controller), controller).create("x", members)
                }
                #expect(error?.message.contains("raw disk") == true && error?.field == "spaceLimit")
            }
            let error = await #expect(throws: ManagementError.self) {
                _ = try await Endpoint(DiskDriver(controller), controller).change(
                    "r", ["spaceLimit": .integer(1 << 20)])
            }
            #expect(error?.message.contains("raw disk") == true)
        }
    }

    @Test("a disk in memory has no limit, and what it takes is not that of an image")
    func memory() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await makeDisk("m", format: .ram, controller)
            #expect(try write("m", 1, at: 0, 4, controller) == nil)
            devices.countRawImages()
            #expect(devices.diskSpace.raw == 0)
            let error = await #expect(throws: ManagementError.self) {
                _ = try await Endpoint(DiskDriver(controller), controller).change(
                    "m", ["spaceLimit": .integer(1 << 20)])
            }
            #expect(error?.message.contains("a disk in memory gets its memory from the host") == true)
        }
    }

    @Test("a limit of all images together counts, raw ones included, and is there after a start")
    func pool() async throws {
        let mega: Int64 = 1 << 20
        try await serveDevices(at: path) { [self] controller, devices in
            let pools = Endpoint(DiskPoolDriver(controller), controller)
            try await makeDisk("a", controller)
            try await makeDisk("b", controller)
            try await makeDisk("r", format: .raw, controller)
            _ = try await pools.create("disks", ["spaceLimit": .integer(16 * mega)])
            #expect(try write("a", 1, at: 0, 6, controller) == nil)
            #expect(try write("b", 1, at: 0, 6, controller) == nil)
            #expect(try write("a", 1, at: 6, 6, controller) == .hostFull)
            #expect(try write("r", 1, at: 0, 8, controller) == nil, "the host decides")
            _ = try await pools.change("disks", ["spaceLimit": .integer(24 * mega)])
            #expect(try write("b", 1, at: 6, 6, controller) == .hostFull, "what raw images take counts")
            _ = try await pools.change("disks", ["spaceLimit": .integer(48 * mega)])
            #expect(try write("b", 1, at: 6, 6, controller) == nil)
            let pool = try await pools.show("disks")
            #expect(pool["status"]?["used"].flatMap(Int64.from) ?? 0 > 18 * mega)
            #expect(pool["status"]?["raw"].flatMap(Int64.from) ?? 0 >= 8 * mega)
            _ = try await pools.change("disks", ["spaceLimit": .integer(16 * mega)])
        }
        try await serveDevices(at: path) { [self] controller, devices in
            #expect(try write("a", 1, at: 20, 1, controller) == .hostFull)
            try await controller.deleteDisk("b")
            try await controller.deleteDisk("r")
            devices.countRawImages()
            #expect(try write("a", 1, at: 20, 1, controller) == nil, "what is deleted gives room")
            try await Endpoint(DiskPoolDriver(controller), controller).delete("disks")
            #expect(try write("a", 1, at: 0, 60, controller) == nil)
        }
    }

    @Test("a threshold is about what the disk has, and about the limit of its image")
    func thresholds() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await makeDisk("a", controller)
            var spec = try await controller.disk("a").spec
            spec.threshold = 50
            _ = try await controller.changeDisk("a", to: spec)
            for round: UInt8 in 0..<6 {
                #expect(try write("a", round + 1, at: 0, 10, controller) == nil)
                try await controller.takeSnapshots(["a@s\(round)"])
            }
            #expect(devices.observeThresholds().isEmpty, "60 MiB in the image, 10 in the disk")
            #expect(try write("a", 9, at: 10, 25, controller) == nil)
            let found = try #require(devices.observeThresholds().first)
            #expect(found.usedBytes == 35 << 20 && found.isNew && found.limit == nil)
            spec.size = 256 << 20
            spec.spaceLimit = 100 << 20
            _ = try await controller.changeDisk("a", to: spec)
            let limited = try #require(devices.observeThresholds().first)
            #expect(limited.limit == 100 << 20 && limited.usedBytes > 85 << 20)
            spec.spaceLimit = 1 << 30
            _ = try await controller.changeDisk("a", to: spec)
            #expect(devices.observeThresholds().isEmpty)
        }
    }
}

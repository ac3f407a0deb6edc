import Bytes
import Catalog
import DiskDevice
import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management
@testable import Media

/// Disks with snapshots that run, several in one file.
@Suite("Several disks in one image")
struct SharedImageTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"

    private func removeAll() { try? FileManager.default.removeItem(atPath: path) }

    private func image(_ name: String, _ devices: LocalDevices) throws -> any DiskImage {
        try #require(devices.disks.withLock { $0.values.first { $0.name == name } }).server.image
    }

    private func fill(_ name: String, _ byte: UInt8, _ devices: LocalDevices) throws {
        let failure = try image(name, devices).fill(first: 0, with: [UInt8](repeating: byte, count: 4096))
        #expect(failure == nil)
    }

    /// The first byte of a disk.
    private func byte(_ name: String, _ devices: LocalDevices) throws -> UInt8? {
        let image = try #require(try image(name, devices) as? EpochDiskImage)
        var bytes = [UInt8](repeating: 0, count: 512)
        let result = bytes.modifyBytes { target in
            image.file.withFamily { $0.read(image.node, into: &target, at: 0) }
        }
        #expect(result == .done(512))
        return bytes.first
    }

    private func makeDisk(_ name: String, _ controller: Controller) async throws {
        var spec = Disk.Spec(size: 1 << 20)
        spec.format = .carousel
        try await controller.createDisk(name, spec)
    }

    @Test("a clone and a shown snapshot are in one file with their origin, and all of them are there after a restart")
    func restart() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, devices in
            try await makeDisk("a", controller)
            try fill("a", 1, devices)
            try await controller.takeSnapshots(["a@one"])
            try fill("a", 2, devices)
            try await controller.cloneSnapshot("a@one", as: "b")
            var shown = Snapshot.Map.Arguments()
            shown.name = "old"
            let wanted = shown
            _ = try await controller.mapSnapshot("a@one", wanted)
            try fill("b", 3, devices)
            #expect(try byte("a", devices) == 2 && byte("b", devices) == 3 && byte("old", devices) == 1)
            let images = Set(try await controller.disks().map(\.status.image))
            #expect(images.count == 1)
            #expect(try image("old", devices).isReadOnly)
        }
        try await serveDevices(at: path) { controller, devices in
            #expect(try await controller.status().problems.isEmpty)
            #expect(try byte("a", devices) == 2 && byte("b", devices) == 3 && byte("old", devices) == 1)
            _ = try await controller.rollBackDisk(to: "a@one")
            #expect(try byte("a", devices) == 1)
        }
        try await serveDevices(at: path) { controller, devices in
            #expect(try byte("a", devices) == 1 && byte("b", devices) == 3)
            let file = try #require(try image("a", devices) as? EpochDiskImage).file
            #expect(file.check() == [])
        }
    }

    @Test("an origin goes, and its clone stays in the file; a new disk of the name has a file of its own")
    func deletion() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, devices in
            try await makeDisk("a", controller)
            try fill("a", 1, devices)
            try await controller.takeSnapshots(["a@one"])
            try await controller.cloneSnapshot("a@one", as: "b")
            let refusal = await #expect(throws: ManagementError.self) { try await controller.deleteDisk("a") }
            #expect(refusal?.message.contains("delete them first, with 'carousel snapshot delete a@one'") == true)
            try await controller.deleteSnapshot("a@one")
            try await controller.deleteDisk("a")
            #expect(try byte("b", devices) == 1)
            try await makeDisk("a", controller)
            #expect(try await controller.disk("a").status.image.hasSuffix("/disks/a~2.img"))
            #expect(try byte("a", devices) == 0)
        }
        try await serveDevices(at: path) { controller, devices in
            #expect(try byte("a", devices) == 0 && byte("b", devices) == 1)
            try await controller.deleteDisk("a")
            try await controller.deleteDisk("b")
            let left = try FileManager.default.contentsOfDirectory(atPath: path + "/disks")
            #expect(left == [])
        }
    }

    @Test("without its rows an image is taken up again with all its disks and snapshots")
    func adoption() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, devices in
            try await makeDisk("a", controller)
            try fill("a", 1, devices)
            try await controller.takeSnapshots(["a@one"])
            try await controller.cloneSnapshot("a@one", as: "b")
            try fill("b", 2, devices)
        }
        for file in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
            try? FileManager.default.removeItem(atPath: path + "/" + file)
        }
        try FileManager.default.moveItem(atPath: path + "/disks", toPath: path + "-kept")
        defer { try? FileManager.default.removeItem(atPath: path + "-kept") }
        try await serveDevices(at: path) { controller, devices in
            try FileManager.default.createDirectory(atPath: path + "/disks", withIntermediateDirectories: true)
            try FileManager.default.moveItem(atPath: path + "-kept/a.img", toPath: path + "/disks/a.img")
            _ = try await controller.adoptDisk(DiskAdoption(image: "a.img"))
            #expect(try await controller.disks().map(\.name) == ["a", "b"])
            #expect(try byte("a", devices) == 1 && byte("b", devices) == 2)
            #expect(try await controller.snapshots().map(\.name) == ["a@one"])
        }
    }

    @Test("a clone whose making was broken off leaves nothing, in the catalog and in the image")
    func interruptedClone() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, devices in
            try await makeDisk("a", controller)
            try await controller.takeSnapshots(["a@one"])
            let origin = try controller.plane.diskRecord("a")
            _ = try controller.plane.catalog.addDisk(
                name: "b", targetName: DeviceName.targetName("b"), origin.spec, image: origin.image, node: "b",
                imageIsExternal: false, created: Date())
            try devices.withImage(controller.folder.imagePath(origin.image)) { file in
                let snapshot = try #require(file.nodes.first { $0.name == "a@one" })
                _ = try file.clone(snapshot.number, name: "b", time: .current())
            }
        }
        try await serveDevices(at: path) { controller, devices in
            #expect(try await controller.disks().map(\.name) == ["a"])
            let file = try #require(try image("a", devices) as? EpochDiskImage).file
            #expect(!file.nodes.contains { $0.name == "b" && !$0.isBeingDeleted })
        }
    }

    @Test("what the catalog does not know in an image stays when the last disk that it knows is deleted")
    func unknownHeads() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, devices in
            try await makeDisk("a", controller)
            try fill("a", 1, devices)
            try await controller.takeSnapshots(["a@one"])
            try await controller.cloneSnapshot("a@one", as: "b")
            try await controller.deleteSnapshot("a@one")
        }
        try await serveDevices(at: path) { controller, devices in
            let disk = try controller.plane.diskRecord("b")
            devices.stopDisk(disk, targetName: DeviceName.targetName("b"))
            // As a catalog of before the clone has it.
            try controller.plane.catalog.removeDisk(named: "b")
            try await controller.deleteDisk("a")
            #expect(try devices.nodes(inImage: path + "/disks/a.img").map(\.name) == ["b"])
            _ = try await controller.adoptDisk(DiskAdoption(image: "a.img"))
            #expect(try byte("b", devices) == 1)
        }
    }

    @Test("disks whose image is gone are deleted, one after the other")
    func missingImage() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, devices in
            try await makeDisk("a", controller)
            try await controller.takeSnapshots(["a@one"])
            try await controller.cloneSnapshot("a@one", as: "b")
        }
        try FileManager.default.removeItem(atPath: path + "/disks/a.img")
        try await serveDevices(at: path) { controller, _ in
            try await controller.deleteDisk("b")
            try await controller.deleteDisk("a")
            #expect(try await controller.disks().isEmpty)
        }
    }

    @Test("a snapshot has no name of those that a schedule makes, and no date that there is not")
    func names() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, _ in
            try await makeDisk("a", controller)
            let refusal = await #expect(throws: ManagementError.self) {
                try await controller.takeSnapshots(["a@auto-mine"])
            }
            #expect(refusal?.code == .invalid)
            #expect(Date.from(.text("2027-02-30T00:00:00Z")) == nil)
            #expect(Date.from(.text("2027-01-01T25:00:00Z")) == nil)
            #expect(Date.from(.text("2027-02-30T00:00:00+01:00")) == nil)
            #expect(Date.from(.text("2027-02-28T00:00:00Z")) != nil)
            #expect(Date.from(.text("2027-02-28T23:00:00+01:00")) != nil)
        }
    }

    @Test("what is discarded is given back to the host, though nothing else happens")
    func reclaim() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, devices in
            var spec = Disk.Spec(size: 64 << 20)
            spec.format = .carousel
            try await controller.createDisk("a", spec)
            let image = try image("a", devices)
            let before = try #require(image.allocatedBytes)
            let piece = [UInt8](repeating: 7, count: 1 << 20)
            for index: UInt64 in 0..<16 { #expect(image.fill(first: index * 2048, with: piece) == nil) }
            #expect(image.synchronize() == nil)
            #expect(try #require(image.allocatedBytes) >= before + (16 << 20))
            #expect(image.erase(first: 0, blocks: 16 * 2048) == nil)
            var naps = 0
            while naps < 300, try #require(image.allocatedBytes) > before + (4 << 20) {
                try await Task.sleep(for: .milliseconds(100))
                naps += 1
            }
            #expect(try #require(image.allocatedBytes) <= before + (4 << 20))
        }
    }

    @Test("an image of a newer version is not removed: what is in it is there for who can read it")
    func newerVersion() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, _ in try await makeDisk("a", controller) }
        let image = path + "/disks/a.img"
        var content = [UInt8](try Data(contentsOf: URL(fileURLWithPath: image)))
        for copy in 0..<EpochFormat.superblockCopies {
            let start = Int(EpochFormat.offset(ofUnit: EpochSuperblock.unit(ofCopy: copy)))
            var page = Array(content[start..<start + 4096])
            page.modifyBytes { bytes in
                bytes.storeBE32(EpochFormat.version + 1, at: 8)
                bytes.storeBE32(CRC32C.checksum(bytes.bytes.extracting(0..<4092)), at: 4092)
            }
            content.replaceSubrange(start..<start + 4096, with: page)
        }
        try Data(content).write(to: URL(fileURLWithPath: image))
        try await serveDevices(at: path) { controller, _ in
            let refusal = await #expect(throws: ManagementError.self) { try await controller.deleteDisk("a") }
            #expect(refusal?.code == .conflict && refusal?.message.contains("version") == true)
        }
        #expect(FileManager.default.fileExists(atPath: image))
    }

    @Test("a file that is still in use is not the one that was put in its place, and its place goes with the last user")
    func replacedFile() throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { removeAll() }
        let image = path + "/a.img"
        func make() throws {
            let uuid = [UInt8](repeating: 1, count: 16)
            let time = CalendarTime.current()
            let file = try FamilyFile.create(
                path: image, capacity: 1 << 20, blockSize: 512, name: "a", time: time, uuid: uuid)
            #expect(file.close() == nil)
        }
        try make()
        let files = FamilyFiles()
        let first = try files.acquire(image) { nil }
        #expect(try files.acquire(image) { nil } === first)
        try FileManager.default.removeItem(atPath: image)
        try make()
        #expect(throws: DiskImageError.replaced(path: image)) { try files.acquire(image) { nil } }
        files.release(image)
        files.release(image)
        #expect(try files.acquire(image) { nil } !== first)
        files.release(image)
    }

    @Test("an image that cannot be read is not removed with what it may have; without the image the disk goes")
    func damagedImage() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, _ in
            try await makeDisk("a", controller)
            try await controller.takeSnapshots(["a@one"])
        }
        let image = path + "/disks/a.img"
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: image))
        for copy in 0..<EpochFormat.superblockCopies {
            try handle.seek(toOffset: UInt64(EpochFormat.offset(ofUnit: EpochSuperblock.unit(ofCopy: copy))) + 100)
            try handle.write(contentsOf: Data([1, 2, 3]))
        }
        try handle.close()
        try await serveDevices(at: path) { controller, _ in
            let refusal = await #expect(throws: ManagementError.self) { try await controller.deleteDisk("a") }
            #expect(refusal?.message.contains("may have snapshots, which cannot be looked at") == true)
            #expect(FileManager.default.fileExists(atPath: image))
            try FileManager.default.removeItem(atPath: image)
            try await controller.deleteDisk("a")
            #expect(try await controller.disks().isEmpty)
        }
    }

    @Test("a pipe is no image, and keeps nobody waiting")
    func pipe() throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { removeAll() }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/mkfifo")
        process.arguments = [path + "/pipe"]
        try process.run()
        process.waitUntilExit()
        #expect(try !FamilyFile.isFamily(path + "/pipe"))
    }
}

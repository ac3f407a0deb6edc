import Catalog
import DiskDevice
import Foundation
import ManagementTestSupport
import Media
import Platform
import Resources
import Testing

@testable import Management

@Suite("Disks with checksums of data, made and checked")
struct ChecksumDiskTests {
    private static let size: Int64 = 16 << 20

    private func check(_ name: String, _ controller: Controller, repairs: Bool = false) async throws -> [Finding] {
        _ = try await controller.startCheck(CheckRequest(names: [name], repairs: repairs))
        await controller.plane.check?.finished()
        return try await controller.checkStatus().findings
    }

    /// Turns a bit over of the first of the bytes in a file that are these.
    private func flip(_ path: String, _ bytes: [UInt8]) throws {
        let content = try Data(contentsOf: URL(filePath: path))
        let place = try #require(content.range(of: Data(bytes))).lowerBound
        let handle = try FileHandle(forUpdating: URL(filePath: path))
        try handle.seek(toOffset: UInt64(place))
        try handle.write(contentsOf: [content[place] ^ 1])
        try handle.close()
    }

    @Test("what has rotted is named by the check and by a copy")
    func rot() async throws {
        let folder = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try await serveDevices(at: folder + "/state") { controller, devices in
            var spec = Disk.Spec(size: Self.size)
            spec.format = .carousel
            spec.hasChecksums = true
            try await controller.createDisk("a", spec)
            let disk = try controller.plane.diskRecord("a")
            let image = try #require(devices.disks.withLock { $0[disk.identity.id] }).server.image
            #expect(image.fill(first: 16, with: [UInt8](repeating: 7, count: 8192)) == nil)
            #expect(image.synchronize() == nil)
            #expect(try await controller.disk("a").spec.hasChecksums)
            let path = controller.folder.imagePath(disk.image)
            #expect(try devices.nodes(inImage: path).map(\.hasChecksums) == [true])
            #expect(try await check("a", controller) == [])
            try flip(path, [UInt8](repeating: 7, count: 4096))
            let found = try await check("a", controller)
            #expect(found.count == 1)
            #expect(found.first?.sentence.contains("blocks 16 to 23 of disk 'a' ") == true)
            #expect(try await check("a", controller, repairs: true) == found, "a repair mends none, and says so")
            let copy = try await controller.startCopy(Disk.Copy.Arguments(source: "a", name: "b"))
            _ = try? await controller.finish(copy.id)
            let failed = try controller.job(copy.id)
            #expect(failed.state == .failed)
            #expect(failed.problem?.contains("byte 8192 of 'a") == true, "\(failed.problem ?? "")")
        }
    }

    @Test("an image that has them where its disk has none, or the reverse, is not served", arguments: [true, false])
    func otherImage(hasChecksums: Bool) async throws {
        let folder = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for (place, has) in [("own", hasChecksums), ("other", !hasChecksums)] {
            try await serveDevices(at: "\(folder)/\(place)") { controller, _ in
                var spec = Disk.Spec(size: Self.size)
                spec.format = .carousel
                spec.hasChecksums = has
                try await controller.createDisk("a", spec)
            }
        }
        try FileManager.default.removeItem(atPath: folder + "/own/disks/a.img")
        try FileManager.default.moveItem(
            atPath: folder + "/other/disks/a.img", toPath: folder + "/own/disks/a.img")
        try await serveDevices(at: folder + "/own") { controller, _ in
            let status = try await controller.disk("a").status
            let words = hasChecksums ? "has no checksums of data" : "has checksums of data"
            #expect(status.state == .notServed)
            #expect(status.problem?.contains(words) == true, "\(status.problem ?? "")")
            #expect(status.problem?.contains("another file is in its place") == true)
        }
    }

    @Test("a raw disk has none, and is refused with them")
    func raw() async throws {
        let fixture = try ControllerFixture()
        var spec = Disk.Spec(size: Self.size)
        spec.hasChecksums = true
        spec.format = .raw
        let wanted = spec
        let refusal = await fixture.refusal { try await fixture.controller.createDisk("a", wanted) }
        #expect(refusal?.message.contains("disks of the format carousel have checksums") == true)
        spec.format = .carousel
        try await fixture.controller.createDisk("a", spec)
        #expect(try await fixture.controller.disk("a").spec.hasChecksums)
    }
}

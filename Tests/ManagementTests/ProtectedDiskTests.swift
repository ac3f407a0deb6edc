import DiskDevice
import Foundation
import ManagementTestSupport
import Media
import Platform
import Resources
import SCSI
import Testing

@testable import Management

@Suite("Disks with protection information")
final class ProtectedDiskTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"

    deinit {
        try? FileManager.default.removeItem(atPath: path)
        try? FileManager.default.removeItem(atPath: path + "-copy")
    }

    private var spec: Disk.Spec {
        var spec = Disk.Spec.raw(size: 1 << 20)
        spec.protection = 3
        return spec
    }

    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path + "/disks").sorted()
    }

    private func server(_ devices: LocalDevices) throws -> DiskDeviceServer {
        try #require(devices.disks.withLock { $0.values.first }).server
    }

    @Test("the file beside the image comes and goes with the disk, grows with it, and belongs to it")
    func life() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            var wanted = spec
            #expect(try await controller.createDisk("a", wanted).spec.protection == 3)
            #expect(try server(devices).image.protection == .type3)
            #expect(try names() == ["a.img", "a.img.pi"])
            wanted.size = 2 << 20
            let larger = wanted
            _ = try await controller.changeDisk("a", to: larger)
            #expect(try FileStatus.of(path + "/disks/a.img.pi").length == 8192 + 4096 * 8)
            try await controller.backUp(BackupRequest(folder: path + "-copy", hasMedia: true))
            let copied = try FileManager.default.contentsOfDirectory(atPath: path + "-copy/disks")
            #expect(copied.sorted() == ["a.img", "a.img.pi"])
        }
        try await serveDevices(at: path) { [self] controller, devices in
            try await Self.wait { (try? self.server(devices)) != nil }
            #expect(try server(devices).image.protection == .type3)
            #expect(try await controller.status().unclaimed.isEmpty)
            try await controller.deleteDisk("a")
            #expect(try names() == [])
        }
    }

    private static func wait(_ condition: @escaping () -> Bool) async throws {
        for _ in 0..<200 where !condition() { try await Task.sleep(for: .milliseconds(50)) }
        #expect(condition())
    }

    @Test("a disk whose file is missing is not served, and one is not made where there is a file")
    func missing() async throws {
        try await serveDevices(at: path) { [self] controller, _ in try await controller.createDisk("a", spec) }
        try FileManager.default.removeItem(atPath: path + "/disks/a.img.pi")
        try await serveDevices(at: path) { controller, _ in
            var problem: String?
            for _ in 0..<200 where problem == nil {
                problem = try await controller.disk("a").status.problem
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(problem?.contains("a.img.pi is missing") == true, "\(problem ?? "")")
            try Data([1, 2, 3]).write(to: URL(fileURLWithPath: self.path + "/disks/b.img.pi"))
            let refusal = await #expect(throws: ManagementError.self) {
                try await controller.createDisk("b", self.spec)
            }
            #expect(refusal?.code == .conflict && refusal?.message.contains("b.img.pi exists already") == true)
            #expect(try self.names() == ["a.img", "b.img.pi"])
            try await controller.deleteDisk("a")
            #expect(try self.names() == ["b.img.pi"])
        }
    }

    @Test("a disk whose file is removed or replaced while it is served says so, until it is back")
    func removed() async throws {
        try await serveDevices(at: path) { [self] controller, _ in
            try await controller.createDisk("a", spec)
            let file = path + "/disks/a.img.pi"
            try FileManager.default.moveItem(atPath: file, toPath: file + ".away")
            _ = await controller.reconcile()
            let disk = try await controller.disk("a")
            #expect(disk.status.state == .detached)
            #expect(disk.status.problem?.contains("a.img.pi was removed or renamed") == true)
            try FileManager.default.copyItem(atPath: file + ".away", toPath: file)
            _ = await controller.reconcile()
            let replaced = try await controller.disk("a")
            #expect(replaced.status.state == .detached)
            #expect(replaced.status.problem?.contains("a.img.pi was replaced by another file") == true)
            try FileManager.default.removeItem(atPath: file)
            try FileManager.default.moveItem(atPath: file + ".away", toPath: file)
            _ = await controller.reconcile()
            #expect(try await controller.disk("a").status.state == .serving)
        }
    }

    @Test("an image that no disk has is taken up with what is beside it")
    func adoption() async throws {
        try await serveDevices(at: path) { [self] controller, _ in try await controller.createDisk("a", spec) }
        for name in ["a.img", "a.img.pi"] {
            try FileManager.default.copyItem(
                atPath: path + "/disks/" + name, toPath: path + "/disks/b" + name.dropFirst())
        }
        try await serveDevices(at: path) { controller, _ in
            let disk = try await controller.adoptDisk(DiskAdoption(image: "b"))
            #expect(disk.spec.protection == 3 && disk.status.state == .serving)
            let refusal = await #expect(throws: ManagementError.self) {
                try await controller.createDisk(
                    "c", Disk.Spec(size: nil, image: self.path + "/disks/a.img.pi"))
            }
            #expect(refusal?.message.contains("is the protection information of disk 'a'") == true)
        }
    }
}

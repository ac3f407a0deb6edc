import Catalog
import DiskDevice
import Foundation
import ManagementTestSupport
import Platform
import Resources
import TargetCore
import Testing

@testable import Management

/// Disks that run, with what users choose of them.
@Suite("Disks that run")
struct RealDiskTests {
    private static let path = NSTemporaryDirectory() + "carousel-"

    private func server(_ name: String, _ devices: LocalDevices) throws -> DiskDeviceServer {
        try #require(devices.disks.withLock { $0.values.first { $0.name == name } }).server
    }

    @Test("what a disk is told, and where its medium is, is there again after a restart")
    func restart() async throws {
        let path = Self.path + "\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, devices in
            var spec = Disk.Spec.raw(size: 1 << 20)
            (spec.isRemovable, spec.physicalBlockSize, spec.alignment) = (true, 4096, 3)
            (spec.rotationRate, spec.formFactor) = (7200, .threeAndAHalf)
            try await controller.createDisk("a", spec)
            let server = try server("a", devices)
            #expect(server.traits.isRemovable && !server.isEjected)
            (spec.isReadOnly, spec.cache, spec.threshold) = (true, .writeThrough, 60)
            _ = try await controller.changeDisk("a", to: spec)
            #expect(server.writeProtectionSense != nil && server.thresholdPercent == 60)
            // WCE.
            #expect(server.modePages.page(0x08)?.current[0] == 0)
            try await controller.ejectDisk("a")
            #expect(server.isEjected)
            let refusal = await #expect(throws: ManagementError.self) {
                try await controller.ejectDisk("a", isForced: true)
            }
            #expect(refusal?.message == "the medium of disk 'a' is ejected already")
        }
        try await serveDevices(at: path) { controller, devices in
            try await Self.waitUntilServed(controller)
            let server = try server("a", devices)
            #expect(server.isEjected && server.writeProtectionSense != nil && server.thresholdPercent == 60)
            #expect(server.modePages.page(0x08)?.current[0] == 0)
            #expect(try await controller.disk("a").status.medium == .ejected)
            try await controller.loadDisk("a")
            #expect(!server.isEjected)
            // As an initiator does it.
            let record = try controller.plane.diskRecord("a")
            let medium = CatalogMedium(controller.plane.catalog, disk: record.identity.id, name: "a", logger: .silent)
            #expect(medium.keep(isLoaded: false, initiatorPort: "iqn.2026-11.test:i,i,0x800000000000"))
            #expect(try await controller.disk("a").status.medium == .ejected)
            let event = try #require(try await controller.events(limit: 1000).last)
            #expect(event.verb == "eject" && event.actor == "iqn.2026-11.test:i")
        }
    }

    @Test("a file system without a way past its page cache: a change is refused, a start says it")
    func direct() async throws {
        let path = "/dev/shm/carousel-\(UUID().uuidString.prefix(8))"
        guard (try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)) != nil else {
            return
        }
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, _ in
            try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
            var spec = try await controller.disk("a").spec
            spec.cache = .direct
            let wanted = spec
            // Newer kernels have one for tmpfs too.
            guard (try? await controller.changeDisk("a", to: wanted)) == nil else { return }
            #expect(try await controller.disk("a").spec.cache == .writeBack)
            let problem = try await controller.createDisk("b", wanted).status.problem
            #expect(problem?.contains("(O_DIRECT), so it is cached as with") == true)
            spec.cache = .writeBack
            let less = spec
            #expect(try await controller.changeDisk("b", to: less).status.problem == nil)
        }
    }

    @Test("a block device is an image: exclusively, under whatever name")
    func blockDevice() async throws {
        let path = Self.path + "\(UUID().uuidString.prefix(8))"
        let backing = path + ".backing"
        defer { for file in [path, backing, path + ".node"] { try? FileManager.default.removeItem(atPath: file) } }
        try Data(count: 1 << 20).write(to: URL(fileURLWithPath: backing))
        // Only root has loop devices to give, and not everywhere.
        guard let device = Self.run("losetup", ["-f", "--show", backing]), device.hasPrefix("/dev/") else { return }
        defer { _ = Self.run("losetup", ["-d", device]) }
        try await serveDevices(at: path) { controller, devices in
            let disk = try await controller.createDisk("a", Disk.Spec(size: nil, image: device))
            #expect(disk.spec.size == 1 << 20 && disk.status.state == .serving)
            try FileManager.default.createSymbolicLink(atPath: path + ".node", withDestinationPath: device)
            for name in [device, path + ".node"] {
                let refusal = await #expect(throws: ManagementError.self) {
                    try await controller.createDisk("b", Disk.Spec(size: nil, image: name))
                }
                #expect(refusal?.message.hasSuffix("is already the medium of disk 'a'") == true)
            }
            let growth = await #expect(throws: ManagementError.self) {
                try await controller.changeDisk("a", to: Disk.Spec(size: 2 << 20, image: device))
            }
            #expect(growth?.message.contains("is a block device and cannot be resized") == true)
        }
        try await serveDevices(at: path) { controller, _ in
            try await Self.waitUntilServed(controller)
            try await controller.deleteDisk("a")
        }
        #expect(FileManager.default.fileExists(atPath: device))
    }

    /// Waits until disk `a` is served: what has served it before may hold its image for a moment.
    private static func waitUntilServed(_ controller: Controller) async throws {
        for _ in 0..<50 where try await controller.disk("a").status.state != .serving {
            await controller.reconcile()
            try await Task.sleep(for: .milliseconds(100))
        }
        let disk = try await controller.disk("a")
        try #require(disk.status.state == .serving, "\(disk.status.problem ?? "")")
    }

    /// The first line that a program prints; nil when it fails.
    private static func run(_ program: String, _ arguments: [String]) -> String? {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return nil }
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { return nil }
        return String(decoding: data, as: UTF8.self).split(separator: "\n").first.map(String.init) ?? ""
    }
}

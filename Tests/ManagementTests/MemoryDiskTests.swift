import DiskDevice
import Foundation
import ManagementTestSupport
import Media
import Platform
import Resources
import Testing

@testable import Management

@Suite("Disks in memory, as they are managed")
final class MemoryDiskTests {
    private let path = "/var/tmp/carousel-\(UUID().uuidString.prefix(8))"
    private let content = [UInt8](repeating: 0xC7, count: 4096)

    deinit {
        for suffix in ["", "-copy", "-restored", "-export"] {
            try? FileManager.default.removeItem(atPath: path + suffix)
        }
    }

    private var spec: Disk.Spec {
        var spec = Disk.Spec(size: 8 << 20)
        spec.format = .ram
        return spec
    }

    private func image(_ devices: LocalDevices, _ name: String = "a") throws -> any DiskImage {
        try #require(devices.disks.withLock { $0.values.first { $0.name == name } }).server.image
    }

    private func refusal(_ body: () async throws -> some Sendable) async -> String {
        do {
            _ = try await body()
            return ""
        } catch {
            return (error as? ManagementError)?.message ?? "\(error)"
        }
    }

    @Test("it has no file, and after a restart it is the same disk and reads zeros")
    func life() async throws {
        var before: Disk.Status?
        try await serveDevices(at: path) { [self] controller, devices in
            let disk = try await controller.createDisk("a", spec)
            #expect(disk.spec.format == .ram && disk.status.state == .serving)
            #expect(disk.status.image == "memory: lost when the daemon ends")
            #expect(!FileManager.default.fileExists(atPath: path + "/disks/a.img"))
            #expect(try image(devices).fill(first: 0, with: content) == nil)
            let holds = try image(devices).holds(content)
            #expect(holds)
            var wanted = spec
            wanted.size = 16 << 20
            #expect(try await controller.changeDisk("a", to: wanted).spec.size == 16 << 20)
            _ = await controller.reconcile()
            let isKept = try image(devices).holds(content)
            #expect(isKept)
            before = try await controller.disk("a").status
            #expect(try await controller.status().problems == [])
        }
        try await serveDevices(at: path) { [self] controller, devices in
            let disk = try await controller.disk("a")
            #expect(disk.spec.size == 16 << 20 && disk.status.state == .serving && disk.status.problem == nil)
            #expect(disk.status.serialNumber == before?.serialNumber && disk.status.naa == before?.naa)
            let isEmpty = try image(devices).holds([UInt8](repeating: 0, count: 4096))
            #expect(isEmpty)
            #expect(try await controller.status().unclaimed.isEmpty)
            try await controller.deleteDisk("a")
            #expect(try await controller.disks().isEmpty)
            let event = try await controller.events(kind: "disk").last
            #expect(event?.verb == "delete" && event?.old?["image"] == "memory: lost when the daemon ends")
        }
    }

    @Test("what needs a file is refused in one sentence, and says what to do")
    func refusals() async throws {
        for (reason, change) in [
            ("protection information is kept by raw disks", { $0.protection = 1 }),
            ("is stored nowhere", { $0.encryptionKeyFile = "/etc/key" }),
            ("an existing file becomes a raw disk", { $0.image = "/dev/null" }),
        ] as [(String, (inout Disk.Spec) -> Void)] {
            var wanted = spec
            change(&wanted)
            let refusal = #expect(throws: ManagementError.self) { try Disk.validate(wanted, changing: nil) }
            #expect(refusal?.message.contains(reason) == true, "\(refusal?.message ?? "")")
        }
        try await serveDevices(at: path) { [self] controller, devices in
            var large = spec
            large.size = 64 << 40
            let size = await refusal { [large] in try await controller.createDisk("b", large) }
            #expect(size.contains("does not fit the memory"), "\(size)")
            try await controller.createDisk("a", spec)
            #expect(try image(devices).fill(first: 0, with: content) == nil)
            let snapshot = await refusal { try await controller.takeSnapshots(["a@one"]) }
            #expect(snapshot.contains("'carousel disk copy a NEW --format carousel'"), "\(snapshot)")
            let copy = await refusal {
                try await controller.startCopy(Disk.Copy.Arguments(source: "a", name: "b", format: .ram))
            }
            #expect(copy.contains("begins with zeros"), "\(copy)")
            let file = Disk.Import.Arguments(file: "/etc/hosts", name: "b", format: .ram)
            let imported = await refusal { try await controller.startImport(file) }
            #expect(imported.contains("begins with zeros"), "\(imported)")
            #expect(try await controller.disks().map(\.name) == ["a"])
        }
    }

    @Test("a copy and an export have what is in memory; a backup has none of it, and a check says so")
    func transfers() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", spec)
            #expect(try image(devices).fill(first: 0, with: content) == nil)
            let job = try await controller.startCopy(Disk.Copy.Arguments(source: "a", name: "b"))
            try await controller.finish(job.id)
            #expect(try controller.job(job.id).state == .done)
            #expect(try await controller.disk("b").spec.format == Disk.standardFormat)
            let holds = try image(devices, "b").holds(content)
            #expect(holds)
            let export = try await controller.startExport(Disk.Export.Arguments(source: "a", file: path + "-export"))
            try await controller.finish(export.id)
            let exported = try Data(contentsOf: URL(fileURLWithPath: path + "-export"))
            #expect(exported.count == 8 << 20 && Array(exported.prefix(4096)) == content)
            let subjects = try controller.plane.checkSubjects(["a"], repairs: false)
            #expect(subjects.count == 1)
            let findings = subjects.flatMap { $0.check { _ in true } }
            #expect(findings.map(\.severity) == [.note])
            #expect(findings.first?.sentence.contains("in memory") == true)
            try await controller.backUp(BackupRequest(folder: path + "-copy", hasMedia: true))
        }
        let copied = try FileManager.default.contentsOfDirectory(atPath: path + "-copy/disks").sorted()
        #expect(copied == ["b.img"])
        _ = try BackupRestore.restore(path + "-copy", to: path + "-restored")
        try await serveDevices(at: path + "-restored") { [self] controller, devices in
            let isEmpty = try image(devices).holds([UInt8](repeating: 0, count: 4096))
            #expect(isEmpty)
            #expect(try await controller.status().problems == [])
        }
    }
}

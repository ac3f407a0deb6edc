import Catalog
import DiskDevice
import Foundation
import ManagementTestSupport
import Media
import Platform
import Resources
import Testing

@testable import Management

@Suite("Encrypted disks with snapshots")
final class EncryptedSnapshotTests {
    // Extended attributes are needed, which a file system in memory may not have.
    private let path = "/var/tmp/carousel-\(UUID().uuidString.prefix(8))"
    private var keyFile: String { path + "-key" }
    private let content = [UInt8](repeating: 0xC7, count: 4096)
    private let other = [UInt8](repeating: 0x11, count: 4096)

    init() throws { try write(Data(repeating: 0x4B, count: 32), keyFile) }

    deinit {
        for suffix in ["", "-key", "-copy", "-restored", "-export", "-elsewhere.img", "-elsewhere.img.key"] {
            try? FileManager.default.removeItem(atPath: path + suffix)
        }
    }

    private func write(_ data: Data, _ path: String) throws {
        try data.write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    }

    private var spec: Disk.Spec {
        var spec = Disk.Spec(size: 8 << 20)
        spec.encryptionKeyFile = keyFile
        spec.format = .carousel
        return spec
    }

    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path + "/disks").sorted()
    }

    private func image(_ devices: LocalDevices, _ name: String = "a") throws -> any DiskImage {
        try #require(devices.disks.withLock { $0.values.first { $0.name == name } }).server.image
    }

    private func fill(_ devices: LocalDevices, _ content: [UInt8], in name: String = "a") throws {
        let image = try image(devices, name)
        #expect(image.fill(first: 0, with: content) == nil)
        #expect(image.synchronize() == nil)
    }

    /// Whether none of it can be read in a file.
    private func isHidden(_ file: String, _ content: [UInt8]) throws -> Bool {
        let data = try Data(contentsOf: URL(fileURLWithPath: file))
        return data.range(of: Data(content.prefix(16))) == nil && data.range(of: Data("CRSLDISK".utf8)) == nil
    }

    @Test("an encrypted disk has snapshots and clones, which have its key, over a restart too")
    func life() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            let disk = try await controller.createDisk("a", spec)
            #expect(disk.spec.format == .carousel && disk.status.encryption == "aes-256-xts")
            #expect(try names() == ["a.img", "a.img.key"])
            let isWhole = try image(devices).isEncrypted && image(devices).canReplaceMediaKey
            #expect(isWhole)
            try fill(devices, content)
            try await controller.takeSnapshots(["a@one"])
            try fill(devices, other)
            let clone = try await controller.cloneSnapshot("a@one", as: "b")
            #expect(clone.spec.encryptionKeyFile == keyFile && clone.status.encryption == "aes-256-xts")
            let holds = try image(devices, "b").holds(content) && image(devices).holds(other)
            #expect(holds)
            let isShared = try image(devices, "b").isEncrypted && !image(devices, "b").canReplaceMediaKey
            #expect(isShared)
            try fill(devices, [UInt8](repeating: 0x5D, count: 4096), in: "b")
        }
        #expect(try isHidden(path + "/disks/a.img", content) && isHidden(path + "/disks/a.img", other))
        try await serveDevices(at: path) { [self] controller, devices in
            let holds = try image(devices, "b").holds([UInt8](repeating: 0x5D, count: 4096))
            #expect(holds)
            #expect(try await controller.status().unclaimed.isEmpty)
            #expect(try await controller.status().problems == [])
            try await controller.deleteSnapshot("a@one")
            // The key goes with the last disk.
            try await controller.deleteDisk("a")
            #expect(try names() == ["a.img", "a.img.key"])
            let isKept = try image(devices, "b").holds([UInt8](repeating: 0x5D, count: 4096))
            #expect(isKept)
            try await controller.deleteDisk("b")
            #expect(try names() == [])
        }
    }

    /// The problem of a disk that is not served.
    private func problem(_ controller: Controller, _ name: String) async throws -> String {
        for _ in 0..<200 {
            if let problem = try await controller.disk(name).status.problem { return problem }
            try await Task.sleep(for: .milliseconds(50))
        }
        return ""
    }

    @Test("without the right key neither disk is served, nothing of them is removed, and all is well with the key")
    func keys() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", spec)
            try fill(devices, content)
            try await controller.takeSnapshots(["a@one"])
            try await controller.cloneSnapshot("a@one", as: "b")
        }
        let right = try Data(contentsOf: URL(fileURLWithPath: keyFile))
        let own = path + "/disks/a.img.key"
        let wrong: [(String, () throws -> Void)] = [
            ("its key cannot be had", { try FileManager.default.removeItem(atPath: self.keyFile) }),
            ("was made with another key", { try self.write(Data(repeating: 1, count: 32), self.keyFile) }),
            (
                "a.img.key is missing",
                {
                    try self.write(right, self.keyFile)
                    try FileManager.default.moveItem(atPath: own, toPath: own + ".away")
                }
            ),
        ]
        for (reason, spoil) in wrong {
            try spoil()
            try await serveDevices(at: path) { [self] controller, devices in
                for name in ["a", "b"] {
                    let problem = try await problem(controller, name)
                    #expect(problem.contains(reason) && !problem.contains("\n"), "\(problem)")
                }
                let refusal = await #expect(throws: ManagementError.self) { try await controller.deleteDisk("a") }
                #expect(refusal?.message.contains("may have snapshots") == true, "\(refusal?.message ?? "")")
                #expect(try names().contains("a.img"))
                try? FileManager.default.removeItem(atPath: keyFile)
                try write(right, keyFile)
                try? FileManager.default.moveItem(atPath: own + ".away", toPath: own)
                _ = await controller.reconcile()
                for name in ["a", "b"] {
                    #expect(try await controller.disk(name).status.state == .serving)
                    let holds = try image(devices, name).holds(content)
                    #expect(holds)
                }
            }
        }
    }

    @Test("what an interrupted creation has left goes, whatever there is of the key")
    func interrupted() async throws {
        try await serveDevices(at: path) { [self] controller, _ in
            try await controller.createDisk("a", spec)
            let disk = try controller.plane.diskRecord("a")
            try controller.plane.catalog.setPhase(.creating, ofDevice: disk.identity.id)
        }
        try FileManager.default.removeItem(atPath: path + "/disks/a.img.key")
        try await serveDevices(at: path) { [self] controller, _ in
            let (disks, files) = (try await controller.disks(), try names())
            #expect(disks.isEmpty && files.isEmpty)
        }
    }

    @Test("an encrypted image is taken up with where its key comes from, and its disks keep their names")
    func adoption() async throws {
        let files = ["a.img", "a.img.key", "r.img", "r.img.key"]
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", spec)
            try fill(devices, content)
            try await controller.takeSnapshots(["a@one"])
            try await controller.cloneSnapshot("a@one", as: "b")
            var raw = spec
            raw.format = .raw
            try await controller.createDisk("r", raw)
            try fill(devices, other, in: "r")
        }
        try FileManager.default.moveItem(atPath: path + "/disks", toPath: path + "-copy")
        try FileManager.default.removeItem(atPath: path)
        try await serveDevices(at: path) { [self] controller, devices in
            try FileManager.default.createDirectory(atPath: path + "/disks", withIntermediateDirectories: true)
            for file in files {
                try FileManager.default.moveItem(atPath: path + "-copy/" + file, toPath: path + "/disks/" + file)
            }
            for image in ["a", "r"] {
                let refusal = await #expect(throws: ManagementError.self) {
                    try await controller.adoptDisk(DiskAdoption(image: image))
                }
                #expect(refusal?.message.contains("is encrypted") == true, "\(refusal?.message ?? "")")
                #expect(refusal?.message.contains("--encryption-key-file") == true)
                var wrong = DiskAdoption(image: image)
                wrong.encryptionKeyFile = path + "-elsewhere.img.key"
                try write(Data(repeating: 9, count: 32), path + "-elsewhere.img.key")
                let wrongKey = wrong
                let other = await #expect(throws: ManagementError.self) {
                    _ = try await controller.adoptDisk(wrongKey)
                }
                #expect(other?.message.contains("was made with another key") == true, "\(other?.message ?? "")")
                #expect(try await controller.disks().allSatisfy { $0.status.state == .serving })
                var right = DiskAdoption(image: image)
                right.encryptionKeyFile = keyFile
                let disk = try await controller.adoptDisk(right)
                #expect(disk.status.encryption == "aes-256-xts" && disk.spec.encryptionKeyFile == keyFile)
            }
            #expect(try await controller.disks().map(\.name) == ["a", "b", "r"])
            #expect(try await controller.disk("b").spec.encryptionKeyFile == keyFile)
            let holds = try image(devices, "a").holds(content) && image(devices, "b").holds(content)
            #expect(holds)
            let isRaw = try image(devices, "r").holds(other)
            #expect(isRaw)
            var plain = DiskAdoption(image: "p")
            plain.encryptionKeyFile = keyFile
            try write(Data(count: 1 << 20), path + "/disks/p.img")
            let plainImage = plain
            let refusal = await #expect(throws: ManagementError.self) {
                _ = try await controller.adoptDisk(plainImage)
            }
            #expect(refusal?.message.contains("is not encrypted") == true, "\(refusal?.message ?? "")")
        }
        try await serveDevices(at: path) { [self] controller, devices in
            #expect(try await controller.status().problems == [])
            let holds = try image(devices, "b").holds(content)
            #expect(holds)
        }
    }

    @Test("what is taken up from an image has its key from where the other disks in it have theirs")
    func otherSource() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", spec)
            try fill(devices, content)
            try await controller.takeSnapshots(["a@one"])
            try await controller.cloneSnapshot("a@one", as: "b")
            let clone = try controller.plane.diskRecord("b")
            devices.stopDisk(clone, targetName: DeviceName.targetName("b"))
            // As a catalog of before the clone has it.
            try controller.plane.catalog.removeDisk(named: "b")
            try write(try Data(contentsOf: URL(fileURLWithPath: keyFile)), path + "-elsewhere.img.key")
            var wrong = DiskAdoption(image: "a")
            wrong.encryptionKeyFile = path + "-elsewhere.img.key"
            let wrongSource = wrong
            let refusal = await #expect(throws: ManagementError.self) {
                _ = try await controller.adoptDisk(wrongSource)
            }
            #expect(refusal?.code == .conflict && refusal?.field == "encryptionKeyFile")
            #expect(refusal?.message.contains("give --encryption-key-file \(keyFile)") == true)
            #expect(try await controller.disks().map(\.name) == ["a"])
            var right = DiskAdoption(image: "a")
            right.encryptionKeyFile = keyFile
            let disk = try await controller.adoptDisk(right)
            #expect(disk.name == "b" && disk.status.state == .serving)
            let holds = try image(devices, "b").holds(content)
            #expect(holds)
        }
    }

    @Test("copies, exports, checks and backups go on as with other disks; a copy has a key of its own")
    func transfers() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", spec)
            try fill(devices, content)
            for (name, format) in [("b", DiskFormat.carousel), ("c", .raw)] {
                let job = try await controller.startCopy(
                    Disk.Copy.Arguments(source: "a", name: name, format: format))
                try await controller.finish(job.id)
                #expect(try controller.job(job.id).state == .done)
                #expect(try await controller.disk(name).status.encryption == "aes-256-xts")
                let holds = try image(devices, name).holds(content)
                #expect(holds)
                #expect(try isHidden(path + "/disks/\(name).img", content))
            }
            let keys = try ["a", "b", "c"].map {
                try Data(contentsOf: URL(fileURLWithPath: path + "/disks/\($0).img.key"))
            }
            #expect(Set(keys).count == 3)
            let job = try await controller.startExport(Disk.Export.Arguments(source: "a", file: path + "-export"))
            try await controller.finish(job.id)
            let exported = try Data(contentsOf: URL(fileURLWithPath: path + "-export"))
            #expect(exported.count == 8 << 20 && Array(exported.prefix(4096)) == content)
            let findings = ImageCheck.findings(
                of: try controller.plane.diskRecord("a"), path: path + "/disks/a.img", loss: nil
            ) { _ in true }
            #expect(findings.isEmpty)
            let found = try devices.check(image: path + "/disks/a.img") { _ in true }
            #expect(found.isEmpty)
            try await controller.backUp(BackupRequest(folder: path + "-copy", hasMedia: true))
        }
        let copied = try FileManager.default.contentsOfDirectory(atPath: path + "-copy/disks").sorted()
        #expect(copied == ["a", "b", "c"].flatMap { ["\($0).img", "\($0).img.key"] })
        _ = try BackupRestore.restore(path + "-copy", to: path + "-restored")
        try await serveDevices(at: path + "-restored") { [self] controller, devices in
            #expect(try await controller.status().problems == [])
            for name in ["a", "b", "c"] {
                let holds = try image(devices, name).holds(content)
                #expect(holds)
            }
        }
    }
}

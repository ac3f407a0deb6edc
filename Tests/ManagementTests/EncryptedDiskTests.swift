import Bytes
import DiskDevice
import Encryption
import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management
@testable import Media

@Suite("Encrypted disks")
final class EncryptedDiskTests {
    // Extended attributes are needed, which a file system in memory may not have.
    private let path = "/var/tmp/carousel-\(UUID().uuidString.prefix(8))"
    private var keyFile: String { path + "-key" }
    private let passphrase = Data("correct horse battery staple".utf8)

    init() throws { try write(Data(repeating: 0x4B, count: 32), keyFile) }

    deinit {
        for suffix in ["", "-key", "-copy", "-restored", "-elsewhere.img", "-elsewhere.img.key", "-program"] {
            try? FileManager.default.removeItem(atPath: path + suffix)
        }
    }

    private func write(_ data: Data, _ path: String, mode: Int = 0o600) throws {
        try data.write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    private var spec: Disk.Spec {
        var spec = Disk.Spec.raw(size: 1 << 20)
        spec.encryptionKeyFile = keyFile
        return spec
    }

    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path + "/disks").sorted()
    }

    private func image(_ devices: LocalDevices, _ name: String = "a") throws -> any DiskImage {
        try #require(devices.disks.withLock { $0.values.first { $0.name == name } }).server.image
    }

    private let content = [UInt8](repeating: 0xC7, count: 4096)

    private func keepsContent(_ devices: LocalDevices, _ name: String = "a") throws -> Bool {
        let image = try #require(try image(devices, name) as? RawDiskImage)
        return Array(try Data(contentsOf: URL(fileURLWithPath: image.path)).prefix(4096)) != content
            && image.holds(content)
    }

    /// The problem of a disk that is not served.
    private func problem(_ controller: Controller, _ name: String = "a") async throws -> String {
        for _ in 0..<200 {
            if let problem = try await controller.disk(name).status.problem { return problem }
            try await Task.sleep(for: .milliseconds(50))
        }
        return ""
    }

    @Test("the file with the key comes and goes with the disk, and belongs to it")
    func life() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            let disk = try await controller.createDisk("a", spec)
            #expect(disk.status.encryption == "aes-256-xts" && disk.status.state == .serving)
            #expect(disk.spec.encryptionKeyFile == keyFile)
            #expect(try names() == ["a.img", "a.img.key"])
            #expect(try FileStatus.of(path + "/disks/a.img.key").permissions == 0o600)
            let image = try image(devices)
            #expect(image.isEncrypted)
            #expect(image.fill(first: 0, with: content) == nil)
            let plain = try await controller.createDisk("b", Disk.Spec.raw(size: 1 << 20))
            #expect(plain.status.encryption == nil)
            #expect(try !self.image(devices, "b").isEncrypted)
        }
        try await serveDevices(at: path) { [self] controller, devices in
            #expect(try keepsContent(devices))
            #expect(try await controller.status().unclaimed.isEmpty)
            var wanted = spec
            wanted.size = 2 << 20
            #expect(try await controller.changeDisk("a", to: wanted).spec.size == 2 << 20)
            try await controller.deleteDisk("a")
            #expect(try names() == ["b.img"])
        }
    }

    @Test("without the right key the disk is not served, says why, and is when the key is there")
    func keys() async throws {
        try await serveDevices(at: path) { [self] controller, _ in try await controller.createDisk("a", spec) }
        let right = try Data(contentsOf: URL(fileURLWithPath: keyFile))
        let wrong: [(String, () throws -> Void)] = [
            ("No such file", { try FileManager.default.removeItem(atPath: self.keyFile) }),
            ("was made with another key", { try self.write(Data(repeating: 1, count: 32), self.keyFile) }),
            ("gives 3 bytes", { try self.write(Data([1, 2, 3]), self.keyFile) }),
            ("can be used by everybody", { try self.write(right, self.keyFile, mode: 0o604) }),
            (
                "is no regular file",
                {
                    try FileManager.default.removeItem(atPath: self.keyFile)
                    try FileManager.default.createDirectory(atPath: self.keyFile, withIntermediateDirectories: false)
                }
            ),
        ]
        for (reason, spoil) in wrong {
            try spoil()
            try await serveDevices(at: path) { controller, devices in
                let problem = try await problem(controller)
                #expect(problem.contains(reason) && !problem.contains("\n"), "\(problem)")
                #expect(try await controller.disk("a").status.state == .notServed)
                #expect(devices.disks.withLock { $0.isEmpty })
                try? FileManager.default.removeItem(atPath: keyFile)
                try write(right, keyFile)
                _ = await controller.reconcile()
                #expect(try await controller.disk("a").status.state == .serving)
            }
        }
    }

    @Test("the key files of two disks are not exchanged, and a missing one is told while the disk is served")
    func exchanged() async throws {
        let files = ["a", "b"].map { path + "/disks/\($0).img.key" }
        try await serveDevices(at: path) { [self] controller, _ in
            for name in ["a", "b"] { try await controller.createDisk(name, spec) }
            try FileManager.default.moveItem(atPath: files[0], toPath: files[0] + ".away")
            _ = await controller.reconcile()
            #expect(try await controller.disk("a").status.problem?.contains("a.img.key was removed or renamed") == true)
            try FileManager.default.moveItem(atPath: files[1], toPath: files[0])
            try FileManager.default.moveItem(atPath: files[0] + ".away", toPath: files[1])
        }
        try await serveDevices(at: path) { [self] controller, devices in
            for name in ["a", "b"] {
                #expect(try await problem(controller, name).contains("is that of another image"))
            }
            #expect(devices.disks.withLock { $0.isEmpty })
            let findings = ImageCheck.findings(
                of: try controller.plane.diskRecord("a"), path: path + "/disks/a.img", loss: nil
            ) { _ in true }
            #expect(findings.map(\.sentence).joined().contains("is that of another image"))
            // Neither disk takes the other's file away.
            try await controller.deleteDisk("a")
            #expect(try names() == ["a.img.key", "b.img", "b.img.key"])
        }
    }

    @Test("a copy in the place of the file with the key is told of, and is in no backup")
    func replacedKey() async throws {
        try await serveDevices(at: path) { [self] controller, _ in
            try await controller.createDisk("a", spec)
            let key = path + "/disks/a.img.key"
            try FileManager.default.moveItem(atPath: key, toPath: key + ".away")
            try FileManager.default.copyItem(atPath: key + ".away", toPath: key)
            _ = await controller.reconcile()
            let problem = try await controller.disk("a").status.problem
            #expect(problem?.contains("a.img.key was replaced by another file") == true, "\(problem ?? "")")
            let refusal = await #expect(throws: ManagementError.self) {
                try await controller.backUp(BackupRequest(folder: self.path + "-copy", hasMedia: true))
            }
            #expect(refusal?.message.contains("is not the file with its key") == true, "\(refusal?.message ?? "")")
            try FileManager.default.removeItem(atPath: key)
            try FileManager.default.moveItem(atPath: key + ".away", toPath: key)
            _ = await controller.reconcile()
            #expect(try await controller.disk("a").status.problem == nil)
        }
    }

    @Test("a plain disk never takes what has the name of a key file, and an encrypted one is not made where it is")
    func foreign() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
            // The medium of another disk.
            let other = path + "/disks/a.img.key"
            try write(Data(repeating: 5, count: 8192), other)
            try await controller.adoptDisk(DiskAdoption(image: "a.img.key", name: "other"))
            try await controller.deleteDisk("a")
            #expect(try names() == ["a.img.key"])
            let refusal = await #expect(throws: ManagementError.self) {
                try await controller.createDisk("a", self.spec)
            }
            #expect(refusal?.code == .conflict && refusal?.message.contains("a.img.key exists already") == true)
            let plain = await #expect(throws: ManagementError.self) {
                try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
            }
            #expect(plain?.code == .conflict && plain?.message.contains("a.img.key exists already") == true)
            #expect(try names() == ["a.img.key"])
            #expect(try image(devices, "other").holds([UInt8](repeating: 5, count: 512)))
            try await controller.createDisk("b", spec)
            let key = await #expect(throws: ManagementError.self) {
                try await controller.adoptDisk(DiskAdoption(image: "b.img.key", name: "c"))
            }
            #expect(key?.message.contains("has the key of disk 'b'") == true, "\(key?.message ?? "")")
        }
    }

    @Test("an encrypted image is taken up neither as a plain one nor as the user's own")
    func adoption() async throws {
        try await serveDevices(at: path) { [self] controller, _ in try await controller.createDisk("a", spec) }
        let mark = try #require(try File.open(path: path + "/disks/a.img").note(.encryption))
        for place in ["/disks/b.img", "-elsewhere.img"] {
            try write(Data(count: 1 << 20), path + place)
            #expect(try File.open(path: path + place, .readWrite).setNote(.encryption, mark) == 0)
        }
        try await serveDevices(at: path) { [self] controller, _ in
            for image in ["b", path + "-elsewhere.img"] {
                let refusal = await #expect(throws: ManagementError.self) {
                    try await controller.adoptDisk(DiskAdoption(image: image, name: "b"))
                }
                #expect(refusal?.message.contains("is encrypted") == true)
            }
            // A copy without its attributes says nothing, but its key file does.
            let key = try Data(contentsOf: URL(fileURLWithPath: path + "/disks/a.img.key"))
            for place in ["/disks/b.img", "-elsewhere.img"] {
                let image = path + place
                #expect(try File.open(path: image, .readWrite).setNote(.encryption, nil) == 0)
                try write(key, image + ".key")
                let refusal = await #expect(throws: ManagementError.self) {
                    try await controller.adoptDisk(DiskAdoption(image: image, name: "b"))
                }
                #expect(refusal?.message.contains(".img.key is the key of an encrypted image") == true)
                #expect(try await controller.disks().count == 1)
                // Nothing would use what only has the name.
                try write(Data(repeating: 5, count: 8192), image + ".key")
                let foreign = await #expect(throws: ManagementError.self) {
                    try await controller.adoptDisk(DiskAdoption(image: image, name: "b"))
                }
                #expect(foreign?.code == .conflict)
                #expect(foreign?.message.contains(".img.key is there, which is no key") == true)
                try FileManager.default.removeItem(atPath: image + ".key")
                try await controller.adoptDisk(DiskAdoption(image: image, name: "b"))
                try await controller.deleteDisk("b")
            }
            // The key of an image is no disk, whatever it is called.
            for place in ["-elsewhere.img.key", "-elsewhere.img"] {
                try write(key, path + place)
                let refusal = await #expect(throws: ManagementError.self) {
                    try await controller.createDisk("b", Disk.Spec(size: nil, image: self.path + place))
                }
                #expect(refusal?.code == .conflict)
                #expect(refusal?.message.contains("\(place) is the key of an encrypted image") == true)
                try FileManager.default.removeItem(atPath: path + place)
            }
        }
    }

    @Test("an encrypted image that no disk has is served in the place of a new disk's")
    func exchangedForNew() async throws {
        let files = ["", ".key"].map { (path + "/disks/a.img" + $0, path + "/disks/b.img" + $0, path + "-copy" + $0) }
        defer { try? FileManager.default.removeItem(atPath: path + "-copy.key") }
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", spec)
            #expect(try image(devices).fill(first: 0, with: content) == nil)
        }
        for (old, _, away) in files { try FileManager.default.moveItem(atPath: old, toPath: away) }
        try await serveDevices(at: path) { [self] controller, _ in
            try await controller.deleteDisk("a")
            try await controller.createDisk("b", spec)
        }
        for (_, new, away) in files {
            try FileManager.default.removeItem(atPath: new)
            try FileManager.default.moveItem(atPath: away, toPath: new)
        }
        try await serveDevices(at: path) { [self] controller, devices in
            let state = try await controller.disk("b").status.state
            #expect(state == .serving)
            #expect(try keepsContent(devices, "b"))
        }
    }

    @Test("a backup has the file with the key, and what is restored is served with the same user's key")
    func backup() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", spec)
            let image = try image(devices)
            #expect(image.fill(first: 0, with: content) == nil)
            #expect(image.synchronize() == nil)
            try await controller.backUp(BackupRequest(folder: path + "-copy", hasMedia: true))
        }
        let copied = try FileManager.default.contentsOfDirectory(atPath: path + "-copy/disks").sorted()
        #expect(copied == ["a.img", "a.img.key"])
        _ = try BackupRestore.restore(path + "-copy", to: path + "-restored")
        try await serveDevices(at: path + "-restored") { [self] controller, devices in
            let state = try await controller.disk("a").status.state
            #expect(state == .serving)
            #expect(try keepsContent(devices))
        }
    }

    @Test("what does not go with encryption is refused")
    func refusals() async throws {
        var specs: [(Disk.Spec, String)] = []
        var wanted = spec
        wanted.protection = 1
        specs.append((wanted, "protection information would tell"))
        wanted = spec
        wanted.image = "/dev/null"
        specs.append((wanted, "an image of one's own"))
        wanted = spec
        wanted.encryptionKeyCommand = "/bin/true"
        specs.append((wanted, "leave out one of them"))
        wanted.encryptionKeyFile = nil
        wanted.encryptionKeyCommand = "true"
        specs.append((wanted, "absolute path of a program"))
        for (spec, reason) in specs {
            let refusal = #expect(throws: ManagementError.self) { try Disk.validate(spec, changing: nil) }
            #expect(refusal?.message.contains(reason) == true, "\(refusal?.message ?? "")")
        }
        // Without the key nothing is made.
        try await serveDevices(at: path) { [self] controller, _ in
            try FileManager.default.removeItem(atPath: keyFile)
            let refusal = await #expect(throws: ManagementError.self) {
                try await controller.createDisk("a", self.spec)
            }
            #expect(refusal?.message.contains("its key cannot be had") == true)
            // Nothing is damaged.
            #expect(refusal?.code == .conflict)
            #expect(try names() == [])
            #expect(try await controller.disks().isEmpty)
        }
    }

    @Test("the key may be what a command writes; one that fails or writes too much is none")
    func command() async throws {
        let program = path + "-program"
        func make(_ script: String) throws { try write(Data("#!/bin/sh\n\(script)\n".utf8), program, mode: 0o700) }
        try make("printf '%s' \"correct $1 battery\"")
        var wanted = Disk.Spec.raw(size: 1 << 20)
        wanted.encryptionKeyCommand = "\(program)  horse staple"
        let spec = wanted
        try await serveDevices(at: path) { [self] controller, devices in
            let disk = try await controller.createDisk("a", spec)
            #expect(disk.spec.encryptionKeyCommand == spec.encryptionKeyCommand)
            let image = try image(devices)
            #expect(image.fill(first: 0, with: content) == nil)
        }
        let wrong = [
            ("exit 3", "has ended with status 3"), ("printf 'another passphrase'", "was made with another key"),
            ("exec head -c 100000 /dev/zero", "gives 65537 bytes"), ("kill -9 $$", "was ended by SIGKILL"),
            (
                "printf 'a secret of bytes'; printf 'first\\nno \\033[1m answer\\n\\n' >&2; exit 4",
                "has ended with status 4, and says: no \\u{1B}[1m answer"
            ),
        ]
        for (script, reason) in wrong {
            try make(script)
            try await serveDevices(at: path) { controller, _ in
                let problem = try await problem(controller)
                #expect(problem.contains(reason) && !problem.contains("secret"), "\(problem)")
            }
        }
        try make("printf '%s' 'correct horse battery'")
        try await serveDevices(at: path) { [self] _, devices in
            let isKept = try keepsContent(devices)
            #expect(isKept)
        }
    }

    @Test("what a command says is the last line with anything in it, of a bounded length")
    func said() {
        #expect(UserKeySource.lastLine(of: "") == nil && UserKeySource.lastLine(of: "\n \r\n\t\n") == nil)
        #expect(UserKeySource.lastLine(of: "one\n  two\r\n\n") == "two")
        let long = UserKeySource.lastLine(of: String(repeating: "x", count: 1000))
        #expect(long == String(repeating: "x", count: UserKeySource.saidLimit) + "…")
    }

    @Test("a command that gives another key each time makes no disk")
    func changingCommand() async throws {
        let program = path + "-program"
        try write(Data("#!/bin/sh\nexec head -c 32 /dev/urandom\n".utf8), program, mode: 0o700)
        var wanted = Disk.Spec.raw(size: 1 << 20)
        wanted.encryptionKeyCommand = program
        let spec = wanted
        try await serveDevices(at: path) { [self] controller, _ in
            let refusal = await #expect(throws: ManagementError.self) { try await controller.createDisk("a", spec) }
            #expect(refusal?.code == .conflict && refusal?.message.contains("something else each time") == true)
            let made = try names()
            #expect(made.isEmpty)
        }
    }

    @Test("at the start the keys of several disks are asked for side by side")
    func sideBySide() async throws {
        let program = path + "-program"
        func make(_ script: String) throws { try write(Data("#!/bin/sh\n\(script)\n".utf8), program, mode: 0o700) }
        try make("printf '%s' 'correct horse battery'")
        let names = (0..<UserKeySource.sideBySide).map { "d\($0)" }
        try await serveDevices(at: path) { controller, _ in
            for name in names {
                var spec = Disk.Spec.raw(size: 1 << 20)
                spec.encryptionKeyCommand = "\(program) \(name)"
                try await controller.createDisk(name, spec)
            }
        }
        // A key only when all others have been asked for.
        let marks = path + "/asked"
        let isComplete = "[ $(ls \(marks) | wc -l) -eq \(names.count) ]"
        try make(
            "mkdir -p \(marks); touch \(marks)/$1; for i in $(seq 80); do \(isComplete) && break; sleep 0.1; done; "
                + "\(isComplete) && printf '%s' 'correct horse battery'")
        try await serveDevices(at: path) { controller, _ in
            for name in names {
                let status = try await controller.disk(name).status
                #expect(status.state == .serving && status.problem == nil, "\(status.problem ?? "")")
            }
        }
    }

    @Test("at the start no other disk waits for the key of one")
    func order() async throws {
        let program = path + "-program"
        func make(_ script: String) throws { try write(Data("#!/bin/sh\n\(script)\n".utf8), program, mode: 0o700) }
        try make("printf '%s' 'correct horse battery'")
        var wanted = Disk.Spec.raw(size: 1 << 20)
        wanted.encryptionKeyCommand = program
        let spec = wanted
        try await serveDevices(at: path) { controller, _ in
            try await controller.createDisk("a", spec)
            try await controller.createDisk("b", Disk.Spec.raw(size: 1 << 20))
        }
        // A key only when the daemon has the other disk's image open.
        try make("ls -l /proc/$PPID/fd | grep -qF '\(path)/disks/b.img' && printf '%s' 'correct horse battery'")
        try await serveDevices(at: path) { controller, _ in
            let status = try await controller.disk("a").status
            #expect(status.state == .serving && status.problem == nil, "\(status.problem ?? "")")
        }
    }
}

extension DiskImage {
    /// Whether its first blocks are these.
    func holds(_ content: [UInt8]) -> Bool {
        if let disk = self as? EpochDiskImage {
            // Its map may not be in memory.
            var found = [UInt8](repeating: 0, count: content.count)
            let result = found.modifyBytes { bytes in
                disk.file.withFamily { $0.read(disk.node, into: &bytes, at: 0) }
            }
            return result == .done(content.count) && found == content
        }
        let pool = BufferPool(limit: 1 << 20)
        guard var lease = pool.lease(capacity: content.count) else { return false }
        for _ in 0..<100 {
            let blocks = UInt64(content.count / blockSize)
            switch readCached(into: &lease, first: 0, blocks: blocks) {
            case .done: return lease.copyToArray() == content
            case .wouldBlock: Thread.sleep(forTimeInterval: 0.05)
            case .failed: return false
            }
        }
        return false
    }
}

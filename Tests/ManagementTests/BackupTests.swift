import Foundation
import ManagementTestSupport
import Platform
import Resources
import TestSupport
import Testing

@testable import Management

@Suite("Backups")
struct BackupTests {
    let fixture: ControllerFixture
    let folder: String

    init() throws {
        fixture = try ControllerFixture()
        folder = fixture.path + "-backup"
    }

    func prepare() async throws {
        let controller = fixture.controller
        try await controller.start()
        try await controller.createDisk("a", Disk.Spec(size: 8 << 20))
        try await fixture.makeLibrary()
        for barcode in ["A00001L8", "A00002L8"] {
            try Data("cartridge \(barcode)".utf8).write(
                to: URL(fileURLWithPath: "\(fixture.path)/libraries/vtl/\(barcode).tape/partition0.data"))
        }
        let image = try FileHandle(forUpdating: URL(fileURLWithPath: fixture.path + "/disks/a.img"))
        try image.seek(toOffset: 5 << 20)
        try image.write(contentsOf: Data("content".utf8))
        try await controller.createCredential(
            "target:a/u", Credential.Spec(secret: Secret(Array("swordfish-swordfish".utf8))))
    }

    func backUp(hasMedia: Bool = true, to folder: String? = nil) async throws {
        try await fixture.controller.backUp(BackupRequest(folder: folder ?? self.folder, hasMedia: hasMedia))
    }

    func removing(_ paths: String...) {
        for path in paths { try? FileManager.default.removeItem(atPath: path) }
    }

    @Test("what is restored is what was there, identities and secrets included", arguments: [true, false])
    func roundTrip(hasMedia: Bool) async throws {
        let target = fixture.path + "-restored"
        defer { removing(folder, target) }
        try await prepare()
        try await backUp(hasMedia: hasMedia)
        let mode = try FileManager.default.attributesOfItem(atPath: folder)[.posixPermissions] as? Int
        #expect(mode == 0o700)
        let result = try BackupRestore.restore(folder, to: target)
        #expect(result.hasMedia == hasMedia && result.files > 1)
        let (again, _) = try ControllerFixture.make(target)
        try await again.start()
        #expect(try await again.exportConfiguration() == (try await fixture.controller.exportConfiguration()))
        let (before, after) = (try await fixture.controller.disk("a"), try await again.disk("a"))
        #expect(before.status.serialNumber == after.status.serialNumber && before.status.naa == after.status.naa)
        #expect(again.plane.secrets.entries == fixture.controller.plane.secrets.entries)
        #expect((after.status.state == .serving) == hasMedia)
        if hasMedia {
            for file in ["disks/a.img", "libraries/vtl/A00001L8.tape/partition0.data"] {
                let (old, new) = (fixture.path + "/" + file, target + "/" + file)
                #expect(FileManager.default.contentsEqual(atPath: old, andPath: new), "\(file)")
            }
            let image = try FileManager.default.attributesOfItem(atPath: target + "/disks/a.img")
            #expect(image[.size] as? Int == 8 << 20)
        }
        await again.shutDown()
        again.folder.release()
    }

    @Test("a backup that is damaged, unfinished or in the way is refused, and nothing is restored")
    func damage() async throws {
        let target = fixture.path + "-restored"
        defer { removing(folder, target) }
        try await prepare()
        try await backUp()
        func refusal() async -> String? {
            await fixture.refusal { _ = try BackupRestore.restore(folder, to: target) }?.message
        }
        let image = folder + "/disks/a.img"
        let bytes = try Data(contentsOf: URL(fileURLWithPath: image))
        var changed = bytes
        changed[5 << 20] ^= 1
        try changed.write(to: URL(fileURLWithPath: image))
        #expect(await refusal()?.contains("is not as it was") == true)
        try bytes.dropLast(512).write(to: URL(fileURLWithPath: image))
        #expect(await refusal()?.contains("is not as it was") == true)
        removing(image)
        #expect(await refusal()?.contains("is missing") == true)
        try bytes.write(to: URL(fileURLWithPath: image))
        #expect(!FileManager.default.fileExists(atPath: target + "/catalog.sqlite"))
        let manifest = try Data(contentsOf: URL(fileURLWithPath: folder + "/manifest.json"))
        removing(folder + "/manifest.json")
        #expect(await refusal()?.contains("is no backup") == true)
        let text = String(decoding: manifest, as: UTF8.self)
        try Data(text.replacing("disks/a.img", with: "../a.img").utf8)
            .write(to: URL(fileURLWithPath: folder + "/manifest.json"))
        #expect(await refusal()?.contains("no file of a backup") == true)
        try manifest.write(to: URL(fileURLWithPath: folder + "/manifest.json"))
        _ = try BackupRestore.restore(folder, to: target)
        #expect(await refusal()?.contains("is there already") == true)
        // Of a state folder that a daemon has.
        let busy = await fixture.refusal { _ = try BackupRestore.restore(folder, to: fixture.path) }
        #expect(busy?.message.contains("is in use by process") == true)
    }

    @Test("what may be written is not copied, and what failed leaves nothing")
    func inUse() async throws {
        defer { removing(folder) }
        try await prepare()
        _ = try await fixture.controller.move(
            library: "vtl", Library.Move.Arguments(from: "slot:1", to: "drive:1"))
        let loaded = await fixture.refusal { try await backUp() }
        #expect(loaded?.code == .inUse && loaded?.message.contains("drive:1") == true)
        #expect(!FileManager.default.fileExists(atPath: folder))
        try await backUp(hasMedia: false)
        let again = await fixture.refusal { try await backUp(hasMedia: false) }
        #expect(again?.code == .conflict)
        removing(folder)
        fixture.devices.logIn(to: "a")
        _ = try await fixture.controller.move(
            library: "vtl", Library.Move.Arguments(from: "drive:1", to: "slot:1"))
        #expect(await fixture.refusal { try await backUp() }?.code == .inUse)
        let own = await fixture.refusal { try await backUp(hasMedia: false, to: fixture.path + "/backup") }
        #expect(own?.code == .invalid)
        let nowhere = await fixture.refusal { try await backUp(hasMedia: false, to: "/nowhere/at/all") }
        #expect(nowhere?.code == .system)
    }

    @Test("a medium that was written between the copies of its files, and is quiet again, is noticed at the end")
    func writtenMeanwhile() async throws {
        defer { removing(folder) }
        try await prepare()
        let plane = fixture.controller.plane
        let cartridge = "libraries/vtl/A00001L8.tape/"
        let path = fixture.path + "/" + cartridge
        for name in ["a.index", "z.index"] { try Data("index".utf8).write(to: URL(fileURLWithPath: path + name)) }
        let refusal = await fixture.refusal {
            try plane.backUp(to: folder, hasMedia: true) { step in
                // The first file is copied already, and what is copied later is what it will be.
                guard step == .copied(cartridge + "a.index") else { return }
                try? Data("another index".utf8).write(to: URL(fileURLWithPath: path + "a.index"))
            }
        }
        #expect(refusal?.code == .inUse && refusal?.message.contains("was written while it was copied") == true)
        #expect(!FileManager.default.fileExists(atPath: folder))
        let loaded = await fixture.refusal {
            try plane.backUp(to: folder, hasMedia: true) { [devices = fixture.devices] step in
                if step == .copied("disks/a.img") { devices.logIn(to: "a") }
            }
        }
        #expect(loaded?.code == .inUse && loaded?.message.contains("is in use by") == true)
    }

    @Test("while media are copied, access is taken away, and media stay as they are")
    func revocation() async throws {
        defer { removing(folder) }
        try await prepare()
        let controller = fixture.controller
        _ = try await controller.createToken("t", Token.Spec(role: .admin))
        try await controller.createDisk("b", Disk.Spec(size: 4096))
        let barrier = Barrier()
        let job = try await controller.startBackup(BackupRequest(folder: folder, hasMedia: true)) { step in
            if step == .media { barrier.pass() }
        }
        await barrier.waitForArrival()
        try await controller.deleteToken("t")
        try await controller.deleteCredential("target:a/u")
        try await controller.setAccess(ofTarget: "a", to: .closed)
        try await controller.createDisk("c", Disk.Spec(size: 4096))
        let isDeleted = Lock(false)
        let deletion = Task {
            try await controller.deleteDisk("b")
            isDeleted.withLock { $0 = true }
        }
        #expect(!isDeleted.withLock { $0 })
        #expect(FileManager.default.fileExists(atPath: fixture.path + "/disks/b.img"))
        barrier.open()
        try await controller.finish(job.id)
        try await deletion.value
        #expect(FileManager.default.fileExists(atPath: folder + "/disks/b.img"))
    }

    @Test("the seal of a file tells of every byte, of its place and of its end, and nothing of its holes")
    func seals() throws {
        let path = fixture.path + "/file"
        var random = SeededRandom(seed: 1)
        var bytes = Data(count: 3 << 20)
        for index in [0, 1 << 20, (3 << 20) - 1] { bytes[index] = 7 }
        func seal(_ data: Data) throws -> FileSeal {
            try data.write(to: URL(fileURLWithPath: path))
            defer { try? FileManager.default.removeItem(atPath: path) }
            return try FileCopy.seal(path)
        }
        let original = try seal(bytes)
        for _ in 0..<20 {
            var changed = bytes
            changed[Int.random(in: 0..<bytes.count, using: &random)] ^= UInt8.random(in: 1...255, using: &random)
            #expect(try seal(changed) != original)
        }
        #expect(try seal(bytes + Data(count: 1)) != original)
        var moved = Data(count: 4 << 20)
        moved.replaceSubrange((1 << 20)..<(4 << 20), with: bytes)
        #expect(try seal(moved.prefix(3 << 20)) != original)
        // With holes instead of zeros.
        try bytes.write(to: URL(fileURLWithPath: path))
        let copy = path + ".copy"
        #expect(try FileCopy.copy(path, to: copy) == original)
        #expect(try FileCopy.seal(copy) == original)
        #expect(FileManager.default.contentsEqual(atPath: path, andPath: copy))
    }
}

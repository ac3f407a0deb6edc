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
        try await controller.createDisk("a", .raw(size: 8 << 20))
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

    @Test("a backup into the state folder is refused, also by way of a link to it")
    func intoItself() async throws {
        let link = fixture.path + "-link"
        defer { removing(link) }
        try await fixture.controller.start()
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: fixture.path)
        for folder in [
            fixture.path, fixture.path + "/b", link, link + "/b", link + "/disks/b", fixture.path + "/x/../b",
        ] {
            let refusal = await fixture.refusal { try await backUp(hasMedia: false, to: folder) }
            #expect(refusal?.code == .invalid, "\(folder)")
            #expect(refusal?.message.contains("lies in the state folder") == true, "\(folder)")
        }
        #expect(!FileManager.default.fileExists(atPath: fixture.path + "/b"))
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
        #expect(refusal?.code == .inUse && refusal?.message.contains("was written or loaded while") == true)
        #expect(!FileManager.default.fileExists(atPath: folder))
    }

    @Test("who logs in while media are copied, or uses one that is copied already, disturbs nothing")
    func usedMeanwhile() async throws {
        defer { removing(folder) }
        try await prepare()
        let plane = fixture.controller.plane
        let image = fixture.path + "/disks/a.img"
        let content = try #require(FileManager.default.contents(atPath: image))
        func write() { try? Data(repeating: 9, count: content.count).write(to: URL(fileURLWithPath: image)) }
        try plane.backUp(to: folder, hasMedia: true) { [devices = fixture.devices] step in
            if step == .media { devices.logIn(to: "a") }
            // The disk is the first; the cartridges come behind it.
            if step == .copied("libraries/vtl/A00001L8.tape/partition0.data") { write() }
        }
        #expect(FileManager.default.contents(atPath: folder + "/disks/a.img") == content)
        fixture.devices.logOut(of: "a")
        removing(folder)
        let refusal = await fixture.refusal {
            try plane.backUp(to: folder, hasMedia: true) { if $0 == .media { write() } }
        }
        #expect(refusal?.code == .inUse && refusal?.message.contains("disk 'a' was written") == true)
    }

    @Test("an image that is a link is watched where it leads to")
    func linkedImage() async throws {
        let elsewhere = folder + ".img"
        defer { removing(folder, elsewhere) }
        try await prepare()
        let image = fixture.path + "/disks/a.img"
        try FileManager.default.moveItem(atPath: image, toPath: elsewhere)
        try FileManager.default.createSymbolicLink(atPath: image, withDestinationPath: elsewhere)
        let content = try #require(FileManager.default.contents(atPath: elsewhere))
        let plane = fixture.controller.plane
        try plane.backUp(to: folder, hasMedia: true)
        #expect(FileManager.default.contents(atPath: folder + "/disks/a.img") == content)
        removing(folder)
        let refusal = await fixture.refusal {
            try plane.backUp(to: folder, hasMedia: true) { step in
                guard step == .copied("disks/a.img"), let file = FileHandle(forUpdatingAtPath: elsewhere) else {
                    return
                }
                try? file.write(contentsOf: Data("torn".utf8))
            }
        }
        #expect(refusal?.code == .inUse && refusal?.message.contains("disk 'a' was written") == true)
    }

    @Test("what is made while the catalog is copied is in it with its media, or there is no backup")
    func madeMeanwhile() async throws {
        defer { removing(folder) }
        try await prepare()
        let plane = fixture.controller.plane
        let count = Lock(0)
        fixture.devices.whenExamining {
            let isFirst = count.withLock { count in
                count += 1
                return count == 1
            }
            // Behind the look at disks, before the copy of the catalog.
            if isFirst { _ = try? plane.createDisk("late", Disk.Spec(size: 4096)) }
        }
        let refusal = await fixture.refusal { try plane.backUp(to: folder, hasMedia: true) }
        #expect(refusal?.code == .conflict && refusal?.message.contains("made or deleted meanwhile") == true)
        try plane.backUp(to: folder, hasMedia: true)
        #expect(FileManager.default.fileExists(atPath: folder + "/disks/late.img"))
    }

    @Test("a library in whose place a copy was put is no backup: what drives have written may be elsewhere")
    func replacedLibrary() async throws {
        defer { removing(folder) }
        try await prepare()
        let library = fixture.path + "/libraries/vtl"
        try FileManager.default.moveItem(atPath: library, toPath: library + ".away")
        try FileManager.default.copyItem(atPath: library + ".away", toPath: library)
        await fixture.controller.reconcile()
        let refusal = await fixture.refusal { try await backUp() }
        #expect(refusal?.code == .damaged && refusal?.message.contains("library 'vtl' cannot be copied") == true)
    }

    @Test("a round waits for nothing at which others are at work for long")
    func roundBeside() async throws {
        try await prepare()
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        let image = fixture.path + "/disks/a.img"
        try FileManager.default.moveItem(atPath: image, toPath: image + ".away")
        let (controller, _) = try ControllerFixture.make(fixture.path)
        try await controller.start()
        let barrier = Barrier()
        let work = Task { try await controller.change([.media(of: "a")], in: .long) { _ in barrier.pass() } }
        await barrier.waitForArrival()
        try FileManager.default.moveItem(atPath: image + ".away", toPath: image)
        // Without a bound it would wait for the end of the work.
        #expect(await controller.reconcile() == (0, 1))
        barrier.open()
        try await work.value
        #expect(await controller.reconcile() == (1, 0))
        await controller.shutDown()
        controller.folder.release()
    }

    @Test("an apply that leaves the media as they are goes on beside a backup, and another is refused")
    func applyBeside() async throws {
        defer { removing(folder) }
        try await prepare()
        let controller = fixture.controller
        let barrier = Barrier()
        let job = try await controller.startBackup(BackupRequest(folder: folder, hasMedia: true)) { step in
            if step == .media { barrier.pass() }
        }
        await barrier.waitForArrival()
        func request(_ size: Int, _ group: String) -> ConfigurationRequest {
            ConfigurationRequest(
                configuration: [
                    "formatVersion": 1, "disks": [["name": "a", "spec": ["size": .integer(Int64(size))]]],
                    "initiator-groups": [["name": .text(group), "spec": ["names": ["iqn.2026-11.test:i"]]]],
                ], mayWiden: true)
        }
        try await controller.applyConfiguration(request(8 << 20, "g"))
        let growth = await fixture.refusal { try await controller.applyConfiguration(request(16 << 20, "h")) }
        #expect(growth?.code == .inUse && growth?.message.contains("the media of 'a' are being copied") == true)
        try await controller.setAccess(ofTarget: "a", to: .closed)
        try await controller.deleteInitiatorGroup("g")
        barrier.open()
        try await controller.finish(job.id)
        try await controller.applyConfiguration(request(16 << 20, "h"))
        #expect(try await controller.disk("a").spec.size == 16 << 20)
        #expect(try await controller.initiatorGroups().map(\.name) == ["h"])
    }

    @Test("what fails takes away what it has made, and nothing that others have put there", arguments: [false, true])
    func foreignContent(isMoved: Bool) async throws {
        let moved = folder + "-moved"
        defer { removing(folder, moved) }
        try await prepare()
        let plane = fixture.controller.plane
        let files = FileManager.default
        let refusal = await fixture.refusal {
            try plane.backUp(to: folder, hasMedia: true) { step in
                guard step == .copied("disks/a.img") else { return }
                if isMoved {
                    try? files.moveItem(atPath: folder, toPath: moved)
                    try? files.createDirectory(atPath: folder + "/disks", withIntermediateDirectories: true)
                }
                try? Data("mine".utf8).write(to: URL(fileURLWithPath: folder + "/mine"))
                try? Data("mine".utf8).write(to: URL(fileURLWithPath: folder + "/disks/other.img"))
                // And something that ends it.
                if !isMoved {
                    try? files.removeItem(atPath: fixture.path + "/libraries/vtl/A00001L8.tape/partition0.data")
                }
            }
        }
        #expect(refusal != nil)
        #expect(!files.fileExists(atPath: folder + "/manifest.json"))
        #expect(try files.contentsOfDirectory(atPath: folder).sorted() == ["disks", "mine"])
        #expect(try files.contentsOfDirectory(atPath: folder + "/disks") == ["other.img"])
        if isMoved { #expect(refusal?.message.contains("was moved, removed or replaced") == true) }
    }

    @Test("a library in whose place another folder was put a moment ago is no backup either")
    func justReplacedLibrary() async throws {
        defer { removing(folder) }
        try await prepare()
        let library = fixture.path + "/libraries/vtl"
        try FileManager.default.moveItem(atPath: library, toPath: library + ".away")
        try FileManager.default.copyItem(atPath: library + ".away", toPath: library)
        let refusal = await fixture.refusal { try await backUp() }
        #expect(refusal?.code == .damaged && refusal?.message.contains("not the folder that it is served from") == true)
    }

    @Test("a disk in whose place another image was put a moment ago is no backup, until its own is there again")
    func justReplacedDisk() async throws {
        defer { removing(folder) }
        try await prepare()
        let image = fixture.path + "/disks/a.img"
        try FileManager.default.moveItem(atPath: image, toPath: image + ".away")
        try Data(count: 8 << 20).write(to: URL(fileURLWithPath: image))
        let refusal = await fixture.refusal { try await backUp() }
        #expect(refusal?.code == .damaged && refusal?.message.contains("not the file that it is served from") == true)
        removing(image)
        #expect(await fixture.refusal { try await backUp() }?.code == .damaged)
        try FileManager.default.moveItem(atPath: image + ".away", toPath: image)
        try await backUp()
    }

    @Test("a file of the manifest's name that somebody has put there is not replaced, and ends the backup")
    func foreignManifest() async throws {
        defer { removing(folder) }
        try await prepare()
        let path = folder + "/manifest.json"
        let refusal = await fixture.refusal {
            try fixture.controller.plane.backUp(to: folder, hasMedia: true) { step in
                if step == .media { try? Data("mine".utf8).write(to: URL(fileURLWithPath: path)) }
            }
        }
        #expect(refusal?.code == .system)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data("mine".utf8))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["manifest.json"])
    }

    @Test("a folder is as it was after a backup that was refused, and one of another user is none for a backup")
    func foreignFolder() async throws {
        defer { removing(folder) }
        try await prepare()
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o755])
        _ = try await fixture.controller.move(library: "vtl", Library.Move.Arguments(from: "slot:1", to: "drive:1"))
        #expect(await fixture.refusal { try await backUp() }?.code == .inUse)
        let mode = try FileManager.default.attributesOfItem(atPath: folder)[.posixPermissions] as? Int
        #expect(mode == 0o755)
        guard geteuid() == 0 else { return }
        try FileManager.default.setAttributes([.ownerAccountID: 65534], ofItemAtPath: folder)
        let refusal = await fixture.refusal { try await backUp(hasMedia: false) }
        #expect(refusal?.message.contains("belongs to another user (uid 65534)") == true)
    }

    @Test("media that a check may repair are not copied, and those that are copied not repaired")
    func repairs() async throws {
        defer { removing(folder) }
        try await prepare()
        let controller = fixture.controller
        let barrier = Barrier()
        let job = try await controller.startBackup(BackupRequest(folder: folder, hasMedia: true)) { step in
            if step == .media { barrier.pass() }
        }
        await barrier.waitForArrival()
        for names in [[], ["vtl"], ["vtl/A00001L8"]] {
            let refusal = await fixture.refusal {
                _ = try await controller.startCheck(CheckRequest(names: names, repairs: true))
            }
            #expect(refusal?.message.contains("are being copied by job \(job.id), back up to ") == true, "\(names)")
        }
        barrier.open()
        try await controller.finish(job.id)
        let hanging = Barrier()
        fixture.devices.whenChecking { barcode in if barcode == "A00001L8" { hanging.pass() } }
        let check = try await controller.startCheck(CheckRequest(names: ["vtl"], repairs: true))
        await hanging.waitForArrival()
        let refusal = await fixture.refusal { try await backUp(to: folder + "-2") }
        #expect(refusal?.message.contains("job \(check.id), a check, may repair media") == true)
        hanging.open()
        try await controller.finish(check.id)
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
        // At once, and not hours later, when nobody waits any more.
        for change in [
            { try await controller.deleteDisk("b") },
            { _ = try await controller.changeDisk("b", to: Disk.Spec(size: 8192)) },
            { try await controller.deleteCartridge("A00001L8", library: "vtl") },
        ] as [@Sendable () async throws -> Void] {
            let refusal = await fixture.refusal { try await change() }
            #expect(refusal?.code == .inUse, "\(refusal?.message ?? "")")
            #expect(refusal?.message.contains("are being copied by job \(job.id), back up to ") == true)
        }
        barrier.open()
        try await controller.finish(job.id)
        try await controller.deleteDisk("b")
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

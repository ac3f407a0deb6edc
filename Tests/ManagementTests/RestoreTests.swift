import Catalog
import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("The way back from a backup")
struct RestoreTests {
    let base: BackupTests
    var fixture: ControllerFixture { base.fixture }
    var folder: String { base.folder }
    var target: String { base.fixture.path + "-restored" }

    init() throws { base = try BackupTests() }

    private func makeFile(_ name: String, _ content: String = "{}") throws {
        try FileManager.default.createDirectory(
            atPath: ((target + "/" + name) as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        try Data(content.utf8).write(to: URL(fileURLWithPath: target + "/" + name))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: target + "/" + name)
    }

    private func hasEntry(_ name: String) -> Bool { FileManager.default.fileExists(atPath: target + "/" + name) }

    @Test("what belonged to another catalog is not carried out, and not kept")
    func foreignFiles() async throws {
        defer { base.removing(folder, target) }
        try await base.prepare()
        try await base.backUp(hasMedia: false)
        // What an apply was doing to a catalog that has gone: it would delete the disk.
        let journal = ConfigurationJournal(
            reversible: [],
            final: [ConfigurationStep(verb: .delete, kind: "disks", name: "a", former: [:], wanted: nil)],
            portals: [], asksInDiscovery: false, isCommitted: true)
        let other = try StateFolder(path: target)
        try journal.write(other.journalPath, in: other)
        other.release()
        let foreign = [
            "apply.interrupted.json", "apply.json.new", "apply.json.former", "chap.json.new", "chap.json.former",
            "tokens.json.new", "tokens.json.former", "catalog.sqlite-wal", "catalog.sqlite-shm",
            "catalog.sqlite-journal", "restore.new-wal", "restore.new-shm", "restore.new-journal",
            "profiles/p.json.new", "profiles/p.json.former",
        ]
        try makeFile("profiles/p.json")
        for name in foreign { try makeFile(name) }
        let result = try BackupRestore.restore(folder, to: target)
        #expect(
            result.removed == [
                "catalog.sqlite-wal", "catalog.sqlite-journal", "apply.json", "apply.interrupted.json",
            ])
        for name in foreign + ["apply.json", "restore.json"] { #expect(!hasEntry(name), "\(name)") }
        #expect(hasEntry("profiles/p.json"))
        let (again, _) = try ControllerFixture.make(target)
        try await again.start()
        #expect(try await again.disks().map(\.name) == ["a"])
        #expect(!(try await again.status().problems.contains { $0.contains("configuration") }))
        await again.shutDown()
        again.folder.release()
    }

    @Test("a backup is restored neither into itself nor beside itself in a state folder, and nothing is changed")
    func nested() async throws {
        let (link, outer) = (folder + "-link", folder + "-outer")
        defer { base.removing(folder, target, link, outer) }
        try await fixture.controller.start()
        try await base.backUp(hasMedia: false)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: folder)
        try FileManager.default.createDirectory(atPath: outer, withIntermediateDirectories: false)
        let moved = outer + "/backup"
        try FileManager.default.copyItem(atPath: folder, toPath: moved)
        let (before, movedBefore) = (try names(folder), try names(outer))
        for (backup, state) in [
            (folder, folder), (link, folder), (folder, link), (folder, folder + "/a/state"), (folder, link + "/state"),
            (moved, outer), (moved, outer + "/backup/../backup"),
        ] {
            let refusal = await fixture.refusal { try BackupRestore.restore(backup, to: state) }
            #expect(refusal?.code == .invalid, "\(backup) to \(state)")
            #expect(refusal?.message.contains("move the backup elsewhere") == true, "\(backup) to \(state)")
        }
        #expect(try names(folder) == before && names(outer) == movedBefore)
        // A name that only begins alike is another folder.
        _ = try BackupRestore.restore(folder, to: folder + "-link-state")
        base.removing(folder + "-link-state")
    }

    private func names(_ folder: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: folder).sorted()
    }

    @Test("secrets and tokens of another catalog, which the backup has none of, are refused")
    func foreignSecrets() async throws {
        defer { base.removing(folder, target) }
        try await fixture.controller.start()
        try await base.backUp(hasMedia: false)
        for name in ["chap.json", "tokens.json"] {
            try makeFile(name)
            let refusal = await fixture.refusal { try BackupRestore.restore(folder, to: target) }
            #expect(refusal?.code == .conflict && refusal?.message.contains("/\(name) is there already") == true)
            #expect(!hasEntry("catalog.sqlite") && !hasEntry("restore.json"))
            base.removing(target)
        }
        _ = try BackupRestore.restore(folder, to: target)
    }

    @Test("a restore that was interrupted is no state folder that starts, and can be repeated")
    func interrupted() async throws {
        defer { base.removing(folder, target) }
        try await base.prepare()
        _ = try await fixture.controller.createToken("t", Token.Spec(role: .admin))
        try await base.backUp(hasMedia: false)
        let wanted = try await fixture.controller.exportConfiguration()
        var number = 0
        var ends = false
        while !ends {
            number += 1
            let gate = EffectGate()
            gate.arm(failing: number, .crash)
            let refusal = await fixture.refusal {
                try BackupRestore.restore(folder, to: target, gate: gate.pass)
            }
            ends = !gate.hasFailed
            guard !ends else {
                #expect(refusal == nil)
                break
            }
            #expect(refusal != nil)
            if hasEntry("restore.json") {
                let refusal = await fixture.refusal { try ControllerFixture.make(target) }
                #expect(refusal?.message.contains("was not ended") == true, "\(number)")
                guard case .failed(let reason) = StoppedState.examine(target) else {
                    Issue.record("the state is none that can be used")
                    continue
                }
                #expect(reason.contains("'carousel restore'"))
            } else {
                // Nothing has come yet, or everything.
                let present = ["catalog.sqlite", "chap.json", "tokens.json"].map(hasEntry)
                #expect(Set(present).count == 1, "\(number)")
                guard !present[0] else {
                    base.removing(target)
                    continue
                }
            }
            // Something may have been changed by hand meanwhile, too.
            try makeFile("chap.json.new")
            _ = try BackupRestore.restore(folder, to: target)
            #expect(!hasEntry("restore.json"))
            let (again, _) = try ControllerFixture.make(target)
            try await again.start()
            #expect(try await again.exportConfiguration() == wanted)
            #expect(try await again.tokens().map(\.name) == ["t"])
            await again.shutDown()
            again.folder.release()
            base.removing(target)
        }
        #expect(number > 10)
    }

    @Test("what somebody puts in a place of an interrupted restore is refused, and stays")
    func betweenRestores() async throws {
        defer { base.removing(folder, target) }
        try await base.prepare()
        try await base.backUp()
        // The first image is there, the rest is not.
        let gate = EffectGate()
        var number = 0
        repeat {
            number += 1
            base.removing(target)
            gate.arm(failing: number, .crash)
            _ = await fixture.refusal { try BackupRestore.restore(folder, to: target, gate: gate.pass) }
        } while !hasEntry("disks/a.img")
        #expect(hasEntry("restore.json"))
        let image = target + "/disks/a.img"
        let content = try #require(FileManager.default.contents(atPath: image))
        try makeFile("disks/a.img", "mine")
        try makeFile("disks/a.img.new", "mine")
        let refusal = await fixture.refusal { try BackupRestore.restore(folder, to: target) }
        #expect(refusal?.code == .conflict && refusal?.message.contains("disks/a.img is there already") == true)
        #expect(FileManager.default.contents(atPath: image) == Data("mine".utf8))
        try content.write(to: URL(fileURLWithPath: image))
        _ = try BackupRestore.restore(folder, to: target)
        #expect(FileManager.default.contents(atPath: image + ".new") == Data("mine".utf8))
        #expect(!hasEntry("restore.json") && !hasEntry("restore.new"))
    }

    @Test("what an interrupted restore of another backup has brought is replaced")
    func otherBackup() async throws {
        let second = folder + "-2"
        defer { base.removing(folder, second, target) }
        try await base.prepare()
        try await base.backUp()
        let image = fixture.path + "/disks/a.img"
        let former = try #require(FileManager.default.contents(atPath: image))
        try Data(repeating: 7, count: former.count).write(to: URL(fileURLWithPath: image))
        _ = try await fixture.controller.createToken("t", Token.Spec(role: .admin))
        try await base.backUp(to: second)
        for number in 1... {
            let gate = EffectGate()
            gate.arm(failing: number, .crash)
            _ = await fixture.refusal { try BackupRestore.restore(folder, to: target, gate: gate.pass) }
            let isDone = !hasEntry("restore.json") && hasEntry("catalog.sqlite")
            if !isDone { _ = try BackupRestore.restore(second, to: target) }
            let restored = try #require(FileManager.default.contents(atPath: target + "/disks/a.img"))
            #expect((restored == former) == isDone, "\(number)")
            #expect(hasEntry("tokens.json") != isDone)
            base.removing(target)
            guard gate.hasFailed else { break }
        }
    }

    @Test("a file where the restore copies to is somebody else's when no restore was interrupted")
    func foreignCopy() async throws {
        defer { base.removing(folder, target) }
        try await base.prepare()
        try await base.backUp(hasMedia: false)
        try makeFile("restore.new", "mine")
        let refusal = await fixture.refusal { try BackupRestore.restore(folder, to: target) }
        #expect(refusal?.code == .conflict && refusal?.message.contains("restore.new is there already") == true)
        #expect(hasEntry("restore.new") && !hasEntry("restore.json"))
    }

    @Test("media are restored to another file system, to which their folder is a link")
    func otherFileSystem() async throws {
        let elsewhere = "/dev/shm/carousel-\(UUID().uuidString.prefix(8))"
        defer { base.removing(folder, target, elsewhere) }
        try await base.prepare()
        try await base.backUp()
        for name in ["disks", "libraries"] {
            try FileManager.default.createDirectory(atPath: "\(elsewhere)/\(name)", withIntermediateDirectories: true)
            try makeFile("x")
            try FileManager.default.createSymbolicLink(
                atPath: "\(target)/\(name)", withDestinationPath: "\(elsewhere)/\(name)")
        }
        _ = try BackupRestore.restore(folder, to: target)
        #expect(FileManager.default.fileExists(atPath: elsewhere + "/disks/a.img"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: elsewhere + "/disks") == ["a.img"])
        let (again, _) = try ControllerFixture.make(target)
        try await again.start()
        #expect(try await again.disks().map(\.status.state) == [.serving])
        await again.shutDown()
        again.folder.release()
    }

    @Test("a backup is not taken for what it is restored to, whichever link leads there", arguments: [0, 1, 2])
    func backupAsTarget(link: Int) async throws {
        defer { base.removing(folder, target) }
        try await base.prepare()
        try await base.backUp()
        try makeFile("x")
        switch link {
        case 0:
            try FileManager.default.createSymbolicLink(
                atPath: target + "/libraries", withDestinationPath: folder + "/libraries")
        case 1:
            try FileManager.default.createDirectory(atPath: target + "/libraries", withIntermediateDirectories: false)
            try FileManager.default.createSymbolicLink(
                atPath: target + "/libraries/vtl", withDestinationPath: folder + "/libraries/vtl")
        default:
            try FileManager.default.createDirectory(atPath: target + "/disks", withIntermediateDirectories: false)
            try FileManager.default.linkItem(atPath: folder + "/disks/a.img", toPath: target + "/disks/a.img")
        }
        let refusal = await fixture.refusal { try BackupRestore.restore(folder, to: target) }
        #expect(refusal != nil && !hasEntry("catalog.sqlite") && !hasEntry("restore.json"))
        #expect(refusal?.message.contains(link < 2 ? "by a link in the state folder" : "is the backup's own") == true)
    }

    @Test("a backup does not go where the state folder has its media, by way of a link")
    func backupAmongMedia() async throws {
        let elsewhere = folder + "-media"
        defer { base.removing(folder, elsewhere) }
        try await base.prepare()
        let libraries = fixture.path + "/libraries"
        try FileManager.default.moveItem(atPath: libraries, toPath: elsewhere)
        try FileManager.default.createSymbolicLink(atPath: libraries, withDestinationPath: elsewhere)
        let refusal = await fixture.refusal { try await base.backUp(hasMedia: false, to: elsewhere + "/backup") }
        #expect(refusal?.code == .invalid)
        // Nor of one library, or of one cartridge.
        for place in ["/vtl", "/vtl/A00001L8.tape"] {
            let moved = folder + "-moved"
            defer { base.removing(moved) }
            try FileManager.default.moveItem(atPath: elsewhere + place, toPath: moved)
            try FileManager.default.createSymbolicLink(atPath: elsewhere + place, withDestinationPath: moved)
            let refusal = await fixture.refusal { try await base.backUp(hasMedia: false, to: moved + "/backup") }
            #expect(refusal?.code == .invalid, "\(place)")
            try FileManager.default.removeItem(atPath: elsewhere + place)
            try FileManager.default.moveItem(atPath: moved, toPath: elsewhere + place)
        }
    }

    @Test("a link to an empty folder, which a restore has not made, stays when it is repeated")
    func keptLink() async throws {
        let elsewhere = folder + "-media"
        defer { base.removing(folder, target, elsewhere) }
        try await base.prepare()
        try await base.backUp()
        try FileManager.default.createDirectory(atPath: elsewhere, withIntermediateDirectories: false)
        for number in 1... {
            try FileManager.default.createDirectory(
                atPath: target + "/libraries", withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: target)
            try FileManager.default.createSymbolicLink(
                atPath: target + "/libraries/vtl", withDestinationPath: elsewhere)
            let gate = EffectGate()
            gate.arm(failing: number, .crash)
            _ = await fixture.refusal { try BackupRestore.restore(folder, to: target, gate: gate.pass) }
            guard gate.hasFailed, !hasEntry("catalog.sqlite") else { break }
            _ = try BackupRestore.restore(folder, to: target)
            let isLink = (try? FileManager.default.destinationOfSymbolicLink(atPath: target + "/libraries/vtl")) != nil
            #expect(isLink, "\(number)")
            #expect(FileManager.default.fileExists(atPath: elsewhere + "/A00001L8.tape"), "\(number)")
            base.removing(target)
            for name in try FileManager.default.contentsOfDirectory(atPath: elsewhere) {
                base.removing(elsewhere + "/" + name)
            }
        }
    }

    @Test("a manifest that names what is no file of a backup is refused", arguments: ["restore.json", "disks/x/y"])
    func foreignNames(name: String) async throws {
        defer { base.removing(folder, target) }
        try await base.prepare()
        try await base.backUp(hasMedia: false)
        let path = folder + "/manifest.json"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try text.replacingOccurrences(of: "\"catalog.sqlite\"", with: "\"\(name)\"").write(
            toFile: path, atomically: true, encoding: .utf8)
        let refusal = await fixture.refusal { try BackupRestore.restore(folder, to: target) }
        #expect(refusal?.code == .damaged && refusal?.message.contains("'\(name)', which is no file of") == true)
    }

    @Test(
        "nothing stays of a cartridge or a library of another backup, so that one of its name can be made",
        arguments: ["libraries/vtl/A00002L8.tape", "libraries/vtl"])
    func otherContent(path: String) async throws {
        let second = folder + "-2"
        defer { base.removing(folder, second, target) }
        try await base.prepare()
        try await base.backUp(hasMedia: true)
        if path.hasSuffix(".tape") {
            try await fixture.controller.deleteCartridge("A00002L8", library: "vtl")
        } else {
            try await fixture.controller.deleteLibrary("vtl")
        }
        try await base.backUp(to: second)
        for number in 1... {
            let gate = EffectGate()
            gate.arm(failing: number, .crash)
            _ = await fixture.refusal { try BackupRestore.restore(folder, to: target, gate: gate.pass) }
            guard gate.hasFailed, !hasEntry("catalog.sqlite") else { break }
            _ = try BackupRestore.restore(second, to: target)
            #expect(!hasEntry(path), "\(number)")
            base.removing(target)
        }
    }

    @Test("generations and events go on where the lost catalog has never been, and followers are told")
    func numbers() async throws {
        defer { base.removing(folder, target) }
        try await base.prepare()
        let controller = fixture.controller
        try await base.backUp(hasMedia: false)
        let lastKept = try #require(try await controller.lastEvents(limit: 1).last).id
        // What the backup does not know.
        for size in 3...12 { _ = try await controller.changeDisk("a", to: Disk.Spec(size: Int64(size) << 22)) }
        let lost = try #require(try await controller.disk("a").generation)
        let lastLost = try #require(try await controller.lastEvents(limit: 1).last).id
        _ = try BackupRestore.restore(folder, to: target)
        let (again, _) = try ControllerFixture.make(target)
        try await again.start()
        let events = try await again.events(after: lastLost)
        #expect(events.first?.verb == "restore" && events.first.map { $0.id > lastLost } == true)
        #expect(try await again.events(after: lastKept).first == events.first)
        var followed = try await again.followEvents(after: lastLost).makeAsyncIterator()
        let first = try await followed.next()
        #expect(first == events.first.map { .event($0) })
        try await again.createDisk("b", Disk.Spec(size: 4096))
        #expect(try #require(try await again.disk("b").generation) > lost + 1 << 23)
        // Once more, from a backup of that.
        let ahead = try #require(try await again.lastEvents(limit: 1).last).id + 1
        for refusal in [
            await fixture.refusal { try await again.followEvents(after: ahead) },
            await fixture.refusal { try await again.events(after: ahead) },
        ] {
            #expect(refusal?.code == .outdated && refusal?.message.contains("read the events anew") == true)
        }
        #expect(try await again.events(after: ahead - 1).isEmpty)
        await again.shutDown()
        again.folder.release()
    }
}

@Suite("Backups of what is not whole, and restores beside what is there")
struct PartialBackupTests {
    let backups: BackupTests

    init() throws { backups = try BackupTests() }

    private var fixture: ControllerFixture { backups.fixture }

    @Test("an image or a cartridge that is missing, cut or damaged is no backup, and the sentence names it")
    func damagedMedia() async throws {
        defer { backups.removing(backups.folder) }
        try await backups.prepare()
        let image = fixture.path + "/disks/a.img"
        let content = try #require(FileManager.default.contents(atPath: image))
        try FileHandle(forUpdating: URL(fileURLWithPath: image)).truncate(atOffset: 1 << 20)
        var refusal = await fixture.refusal { try await backups.backUp() }
        #expect(refusal?.code == .damaged && refusal?.message.contains("disk 'a' cannot be copied") == true)
        try content.write(to: URL(fileURLWithPath: image))
        try FileManager.default.moveItem(atPath: image, toPath: image + ".away")
        refusal = await fixture.refusal { try await backups.backUp() }
        #expect(refusal?.code == .damaged && refusal?.message.contains("disk 'a' cannot be copied") == true)
        #expect(!FileManager.default.fileExists(atPath: backups.folder))
        try await backups.backUp(hasMedia: false)
    }

    @Test("a lost catalog is restored beside the files that are as the backup has them; others are named")
    func lostCatalog() async throws {
        defer { backups.removing(backups.folder) }
        try await backups.prepare()
        try await backups.backUp()
        let path = fixture.path
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        for suffix in ["", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: "\(path)/catalog.sqlite\(suffix)")
        }
        // It refuses, and leaves nothing.
        #expect(throws: ManagementError.self) { try ControllerFixture.make(path) }
        #expect(!FileManager.default.fileExists(atPath: path + "/catalog.sqlite"))
        #expect(FileManager.default.createFile(atPath: path + "/catalog.sqlite", contents: Data()))
        let secrets = path + "/chap.json"
        let content = try #require(FileManager.default.contents(atPath: secrets))
        try Data("{}".utf8).write(to: URL(fileURLWithPath: secrets))
        let refusal = await fixture.refusal { _ = try BackupRestore.restore(backups.folder, to: path) }
        #expect(refusal?.code == .conflict && refusal?.message.contains("chap.json") == true)
        try content.write(to: URL(fileURLWithPath: secrets))
        _ = try BackupRestore.restore(backups.folder, to: path)
        let (again, _) = try ControllerFixture.make(path)
        try await again.start()
        #expect(try await again.disks().map(\.name) == ["a"])
        #expect(again.plane.secrets.entries.count == 1)
        await again.shutDown()
        again.folder.release()
    }

    @Test("a pipe in a backup holds nobody up, and a manifest of no version is refused")
    func strangeBackups() async throws {
        let target = fixture.path + "-restored"
        defer { backups.removing(backups.folder, target) }
        try await backups.prepare()
        try await backups.backUp()
        let image = backups.folder + "/disks/a.img"
        try FileManager.default.removeItem(atPath: image)
        #expect(unsafe mkfifo(image, 0o600) == 0)
        let refusal = await fixture.refusal { _ = try BackupRestore.restore(backups.folder, to: target) }
        #expect(refusal?.code == .damaged && refusal?.message.contains("no regular file") == true)
        let path = backups.folder + "/" + BackupManifest.fileName
        let text = String(decoding: try #require(FileManager.default.contents(atPath: path)), as: UTF8.self)
        try Data(
            text.replacing("\"version\" : 1", with: "\"version\" : -1").replacing(
                "\"version\":1", with: "\"version\":-1"
            ).utf8
        )
        .write(to: URL(fileURLWithPath: path))
        #expect(await fixture.refusal { _ = try BackupManifest.read(backups.folder) }?.code == .damaged)
    }
}

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

    private func isThere(_ name: String) -> Bool { FileManager.default.fileExists(atPath: target + "/" + name) }

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
            "catalog.sqlite-journal", "catalog.sqlite.new", "catalog.sqlite.new-wal", "catalog.sqlite.new-shm",
            "catalog.sqlite.new-journal", "profiles/p.json.new", "profiles/p.json.former",
        ]
        try makeFile("profiles/p.json")
        for name in foreign { try makeFile(name) }
        let result = try BackupRestore.restore(folder, to: target)
        #expect(result.removed == ["apply.json", "apply.interrupted.json"])
        for name in foreign + ["apply.json", "restore.json"] { #expect(!isThere(name), "\(name)") }
        #expect(isThere("profiles/p.json"))
        let (again, _) = try ControllerFixture.make(target)
        try await again.start()
        #expect(try await again.disks().map(\.name) == ["a"])
        #expect(!(try await again.status().problems.contains { $0.contains("configuration") }))
        await again.shutDown()
        again.folder.release()
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
            #expect(!isThere("catalog.sqlite") && !isThere("restore.json"))
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
            if isThere("restore.json") {
                let refusal = await fixture.refusal { try ControllerFixture.make(target) }
                #expect(refusal?.message.contains("was not ended") == true, "\(number)")
                guard case .failed(let reason) = StoppedState.examine(target) else {
                    Issue.record("the state is none that can be used")
                    continue
                }
                #expect(reason.contains("'carousel restore'"))
            } else {
                // Nothing has come yet, or everything.
                let present = ["catalog.sqlite", "chap.json", "tokens.json"].map(isThere)
                #expect(Set(present).count == 1, "\(number)")
                guard !present[0] else {
                    base.removing(target)
                    continue
                }
            }
            // Something may have been changed by hand meanwhile, too.
            try makeFile("chap.json.new")
            _ = try BackupRestore.restore(folder, to: target)
            #expect(!isThere("restore.json"))
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
        #expect(try #require(try await again.disk("b").generation) > lost + 1 << 31)
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

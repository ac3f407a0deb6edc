import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

/// What others have put into a state folder, or taken from it, by hand.
@Suite("Foreign files in the state folder")
struct ForeignFileTests {
    let fixture: ControllerFixture
    let controller: Controller

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
    }

    private let victimText = Data("nobody may write here".utf8)

    /// A file that is none of the daemon's.
    private func makeVictim() throws -> String {
        let path = NSTemporaryDirectory() + "victim-\(UUID().uuidString.prefix(8))"
        try victimText.write(to: URL(fileURLWithPath: path))
        return path
    }

    private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    @Test(
        "what is overwritten where it is, is no link to somebody else's file",
        arguments: ["lock", "reserve", "catalog.sqlite-wal", "catalog.sqlite-shm"], [true, false])
    func links(name: String, isSymbolic: Bool) async throws {
        await controller.shutDown()
        controller.folder.release()
        let victim = try makeVictim()
        defer { try? FileManager.default.removeItem(atPath: victim) }
        let path = fixture.path + "/" + name
        try? FileManager.default.removeItem(atPath: path)
        if isSymbolic {
            try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: victim)
        } else {
            try FileManager.default.linkItem(atPath: victim, toPath: path)
        }
        let refusal = await fixture.refusal { try ControllerFixture.make(fixture.path).0 }
        #expect(refusal?.code == .damaged)
        #expect(refusal?.message.contains(path) == true)
        #expect(try Data(contentsOf: URL(fileURLWithPath: victim)) == victimText)
        try FileManager.default.removeItem(atPath: path)
        _ = try ControllerFixture.make(fixture.path)
    }

    @Test("files of which the daemon needs one are no symbolic links", arguments: ["catalog.sqlite", "chap.json"])
    func symbolicLinks(name: String) async throws {
        await controller.shutDown()
        controller.folder.release()
        let (path, other) = (fixture.path + "/" + name, fixture.path + "/moved")
        if exists(path) { try FileManager.default.moveItem(atPath: path, toPath: other) }
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: other)
        let refusal = await fixture.refusal { try ControllerFixture.make(fixture.path).0 }
        #expect(refusal?.code == .damaged)
    }

    @Test(
        "a folder of another user is refused, by root too, before anything is made in it", .enabled(if: geteuid() == 0))
    func otherOwner() throws {
        let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o700, .ownerAccountID: 65534])
        try FileManager.default.setAttributes([.ownerAccountID: 65534], ofItemAtPath: path)
        let error = #expect(throws: ManagementError.self) { try StateFolder(path: path) }
        #expect(error?.message.contains("belongs to another user (uid 65534)") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: path).isEmpty)
    }

    @Test("the lock does not depend on the file of that name")
    func removedLock() throws {
        try FileManager.default.removeItem(atPath: fixture.path + "/lock")
        let error = #expect(throws: ManagementError.self) { try StateFolder(path: fixture.path) }
        #expect(error?.code == .inUse)
    }

    @Test("nothing is acknowledged while catalog or log are not in their place", arguments: ["", "-wal", "-shm"])
    func displacedCatalog(suffix: String) async throws {
        try await controller.createDisk("a", Disk.Spec.raw(size: 4096))
        let (path, away) = (fixture.path + "/catalog.sqlite" + suffix, fixture.path + "/away")
        try FileManager.default.moveItem(atPath: path, toPath: away)
        for _ in 0..<2 {
            let refusal = await fixture.refusal { try await controller.createDisk("b", Disk.Spec.raw(size: 4096)) }
            #expect(refusal?.code == .damaged)
            #expect(refusal?.message.contains("was removed or replaced") == true)
            #expect(try await controller.status().problems.contains { $0.contains("was removed or replaced") })
            // A copy is not the file either.
            if !exists(path) { try FileManager.default.copyItem(atPath: away, toPath: path) }
        }
        #expect(try await controller.disks().map(\.name) == ["a"])
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.moveItem(atPath: away, toPath: path)
        try await controller.createDisk("b", Disk.Spec.raw(size: 4096))
        #expect(try await controller.status().problems.isEmpty)
    }

    @Test("an older copy of the catalog counts as it is after a clean end")
    func olderCopy() async throws {
        try await controller.createDisk("a", Disk.Spec.raw(size: 4096))
        await controller.shutDown()
        controller.folder.release()
        let (path, copy) = (fixture.path + "/catalog.sqlite", fixture.path + "/copy")
        try FileManager.default.copyItem(atPath: path, toPath: copy)
        let (second, _) = try ControllerFixture.make(fixture.path)
        try await second.start()
        try await second.createDisk("b", Disk.Spec.raw(size: 4096))
        await second.shutDown()
        second.folder.release()
        for suffix in ["-wal", "-shm"] { #expect(!exists(path + suffix)) }
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.moveItem(atPath: copy, toPath: path)
        let (third, _) = try ControllerFixture.make(fixture.path)
        try await third.start()
        #expect(try await third.disks().map(\.name) == ["a"])
    }

    @Test("deleting a disk removes its image, and never a folder in the place of that")
    func folderAsImage() async throws {
        try await controller.createDisk("a", Disk.Spec.raw(size: 4096))
        let image = fixture.path + "/disks/a.img"
        try FileManager.default.removeItem(atPath: image)
        try FileManager.default.createDirectory(atPath: image, withIntermediateDirectories: false)
        try victimText.write(to: URL(fileURLWithPath: image + "/kept"))
        let refusal = await fixture.refusal { try await controller.deleteDisk("a") }
        #expect(refusal?.code == .conflict)
        // By what it was, or, where the file system has given the folder the number of the file, by what it is now.
        let words = ["\(image) is not what disk 'a' was served from", "\(image) is a folder"]
        #expect(words.contains { refusal?.message.contains($0) == true }, "\(refusal?.message ?? "")")
        #expect(exists(image + "/kept"))
        try FileManager.default.moveItem(atPath: image, toPath: fixture.path + "/elsewhere")
        try await controller.deleteDisk("a")
        #expect(try await controller.disks().isEmpty)
    }

    @Test("deleting a disk leaves the file that somebody has put in the place of its image")
    func fileInPlaceOfImage() async throws {
        try await controller.createDisk("a", Disk.Spec.raw(size: 4096))
        let image = fixture.path + "/disks/a.img"
        try FileManager.default.moveItem(atPath: image, toPath: fixture.path + "/elsewhere")
        try victimText.write(to: URL(fileURLWithPath: image))
        // A second attempt, and those of the loop, know it no less.
        for _ in 0..<2 {
            let refusal = await fixture.refusal { try await controller.deleteDisk("a") }
            #expect(refusal?.code == .conflict)
            #expect(refusal?.message.contains("\(image) is not what disk 'a' was served from") == true)
            await controller.reconcile()
            #expect(try Data(contentsOf: URL(fileURLWithPath: image)) == victimText)
            // It is served on, for nothing was begun.
            #expect(try await controller.disk("a").status.state == .detached)
        }
        try FileManager.default.moveItem(atPath: image, toPath: image + ".kept")
        try await controller.deleteDisk("a")
        #expect(try await controller.disks().isEmpty && exists(fixture.path + "/elsewhere"))
        // The next of that name has a file of its own.
        try await controller.createDisk("a", Disk.Spec.raw(size: 4096))
        try await controller.deleteDisk("a")
        #expect(!exists(image))
    }

    @Test("deleting a library leaves the folder that somebody has put in the place of its own")
    func folderInPlaceOfLibrary() async throws {
        try await fixture.makeLibrary()
        let folder = fixture.path + "/libraries/vtl"
        try FileManager.default.moveItem(atPath: folder, toPath: fixture.path + "/elsewhere")
        // One of the two cartridges of the same name: another library's, perhaps.
        let stranger = folder + "/A00001L8.tape"
        try FileManager.default.createDirectory(atPath: stranger, withIntermediateDirectories: true)
        let refusal = await fixture.refusal { try await controller.deleteLibrary("vtl") }
        #expect(refusal?.code == .conflict)
        #expect(refusal?.message.contains("\(folder) is not what library 'vtl' was served from") == true)
        #expect(exists(stranger))
        try FileManager.default.moveItem(atPath: folder, toPath: fixture.path + "/kept")
        try await controller.deleteLibrary("vtl")
        #expect(try await controller.libraries().isEmpty && exists(fixture.path + "/kept/A00001L8.tape"))
    }

    @Test("deleting a disk whose image is a link removes the link")
    func linkAsImage() async throws {
        try await controller.createDisk("a", Disk.Spec.raw(size: 4096))
        let (image, moved) = (fixture.path + "/disks/a.img", fixture.path + "/moved")
        try FileManager.default.moveItem(atPath: image, toPath: moved)
        try FileManager.default.createSymbolicLink(atPath: image, withDestinationPath: moved)
        try await controller.deleteDisk("a")
        #expect(!exists(image) && exists(moved))
    }

    @Test("deleting a library removes its cartridges, and nothing else that is in its folder")
    func foreignFolderInLibrary() async throws {
        try await fixture.makeLibrary()
        let folder = fixture.path + "/libraries/vtl"
        try FileManager.default.createDirectory(atPath: folder + "/keepme", withIntermediateDirectories: false)
        try victimText.write(to: URL(fileURLWithPath: folder + "/keepme/kept"))
        let refusal = await fixture.refusal { try await controller.deleteLibrary("vtl") }
        #expect(refusal?.code == .conflict)
        #expect(refusal?.message.contains("\(folder) holds what is not of the daemon's making: keepme") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["keepme"])
        #expect(exists(folder + "/keepme/kept"))
        try FileManager.default.moveItem(atPath: folder + "/keepme", toPath: fixture.path + "/elsewhere")
        try await controller.deleteLibrary("vtl")
        #expect(!exists(folder))
    }

    @Test("what is gone with the folder that it was in is deleted", arguments: ["disks", "libraries"])
    func missingParent(folder: String) async throws {
        try await controller.createDisk("a", Disk.Spec.raw(size: 4096))
        try await fixture.makeLibrary()
        try FileManager.default.removeItem(atPath: fixture.path + "/" + folder)
        if folder == "disks" {
            try await controller.deleteDisk("a")
            try await controller.createDisk("b", Disk.Spec.raw(size: 4096))
        } else {
            try await controller.deleteLibrary("vtl")
            try await fixture.makeLibrary("second")
        }
        #expect(try await controller.status().problems.isEmpty)
    }

    @Test("a file with a second name is no image: it may be in use under that, by another daemon")
    func hardLink() async throws {
        let (victim, second) = (try makeVictim(), fixture.path + ".second")
        defer { for path in [victim, second] { try? FileManager.default.removeItem(atPath: path) } }
        try Data(count: 4096).write(to: URL(fileURLWithPath: victim))
        try FileManager.default.linkItem(atPath: victim, toPath: second)
        let refusal = await fixture.refusal {
            try await controller.createDisk("a", Disk.Spec(size: nil, image: victim))
        }
        #expect(refusal?.code == .invalid)
        #expect(refusal?.message.contains("has another name too") == true)
        try FileManager.default.removeItem(atPath: second)
        try await controller.createDisk("a", Disk.Spec(size: nil, image: victim))
    }

    @Test("a move that the catalog cannot take is a failure of the system, and no conflict")
    func uncommittedMove() async throws {
        let path = fixture.path + "-served"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, _ in
            try await controller.createLibrary(
                "vtl",
                Library.Spec(
                    profile: "ibm-03584l32", drives: 1, driveProfile: "ibm-ult3580-td8", slots: 4, mailSlots: 1,
                    cartridges: 1, firstBarcode: "V00001L8", cartridgeSize: 16 << 20))
            let (catalog, away) = (path + "/catalog.sqlite", path + "/away")
            try FileManager.default.moveItem(atPath: catalog, toPath: away)
            let refusal = await fixture.refusal {
                try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:1", to: "slot:2"))
            }
            #expect(refusal?.code == .system)
            try FileManager.default.moveItem(atPath: away, toPath: catalog)
        }
    }

    @Test("a loss of a disk that is not served cannot be acknowledged, which is a conflict")
    func lossOfUnserved() async throws {
        let path = fixture.path + "-served"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, _ in
            try await controller.createDisk("a", Disk.Spec.raw(size: 4096))
        }
        try FileManager.default.removeItem(atPath: path + "/disks/a.img")
        try await serveDevices(at: path) { controller, _ in
            let refusal = await fixture.refusal { try await controller.acknowledgeLoss(ofDisk: "a") }
            #expect(refusal?.code == .conflict)
        }
    }
}

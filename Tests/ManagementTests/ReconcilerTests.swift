import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("The loop that looks at what is there")
struct ReconcilerTests {
    let fixture: ControllerFixture
    let files = FileManager.default

    init() throws { fixture = try ControllerFixture() }

    private var controller: Controller { fixture.controller }
    private var image: String { fixture.path + "/disks/a.img" }

    private func disk() async throws -> Resource<Disk> { try await controller.disk("a") }

    @Test("an image that is renamed, replaced or cut under a running disk is told of, until it is back")
    func detachedDisk() async throws {
        try await controller.createDisk("a", .raw(size: 1 << 20))
        await controller.reconcile()
        #expect(try await disk().status.state == .serving)
        try files.moveItem(atPath: image, toPath: image + ".away")
        await controller.reconcile()
        #expect(try await disk().status.state == .detached)
        #expect(try await disk().status.problem?.contains("was removed or renamed") == true)
        #expect(try await controller.status().problems.count == 1)
        // It goes on running, and does not change its size where nobody would find it.
        #expect(fixture.devices.disks["a"] != nil)
        await #expect(throws: ManagementError.self) {
            try await controller.changeDisk("a", to: .raw(size: 2 << 20))
        }
        #expect(files.createFile(atPath: image, contents: Data(count: 1 << 20)))
        await controller.reconcile()
        #expect(try await disk().status.problem?.contains("was replaced by another file") == true)
        try files.removeItem(atPath: image)
        try files.moveItem(atPath: image + ".away", toPath: image)
        await controller.reconcile()
        #expect(try await disk().status.state == .serving)
        #expect(try await controller.status().problems.isEmpty)
        let handle = try #require(FileHandle(forUpdatingAtPath: image))
        try handle.truncate(atOffset: 1 << 10)
        await controller.reconcile()
        #expect(try await disk().status.problem?.contains("was cut to 1024 of 1048576 bytes") == true)
        // Deleting it needs no file, and leaves no word of it.
        try files.removeItem(atPath: image)
        try await controller.deleteDisk("a")
        await controller.reconcile()
        #expect(try await controller.status().problems.isEmpty)
    }

    @Test("the folder of a running library that is renamed is told of, until it is back")
    func detachedLibrary() async throws {
        try await fixture.makeLibrary()
        let path = fixture.path + "/libraries/vtl"
        try files.moveItem(atPath: path, toPath: path + ".away")
        await controller.reconcile()
        #expect(try await controller.libraries().first?.status.state == .degraded)
        #expect(try await controller.status().problems.first?.contains("was removed or renamed") == true)
        try files.moveItem(atPath: path + ".away", toPath: path)
        await controller.reconcile()
        #expect(try await controller.libraries().first?.status.state == .serving)
    }

    @Test("what became of the folder of a running library is told until that is back, whatever the drives have")
    func copiedLibrary() async throws {
        try await fixture.makeLibrary()
        let path = fixture.path + "/libraries/vtl"
        func problem() async throws -> String? {
            await controller.reconcile()
            return try await controller.libraries().first?.status.problem
        }
        try files.moveItem(atPath: path, toPath: path + ".away")
        try files.copyItem(atPath: path + ".away", toPath: path)
        #expect(try await problem()?.contains("which cartridges are loaded from now") == true)
        try files.moveItem(atPath: path, toPath: path + ".second")
        try files.copyItem(atPath: path + ".away", toPath: path)
        try files.removeItem(atPath: path + "/A00002L8.tape")
        #expect(try await problem()?.contains("without cartridge 'A00002L8'") == true)
        try files.copyItem(atPath: path + ".away/A00002L8.tape", toPath: path + "/A00002L8.tape")
        #expect(try await problem()?.contains("which cartridges are loaded from now") == true)
        try files.moveItem(atPath: path, toPath: path + ".copy")
        try files.moveItem(atPath: path + ".away", toPath: path)
        #expect(try await problem() == nil)
        try files.copyItem(atPath: path, toPath: path + ".away")
        _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:1", to: "drive:1"))
        try files.moveItem(atPath: path, toPath: path + ".third")
        try files.copyItem(atPath: path + ".away", toPath: path)
        #expect(try await problem()?.contains("while drive:1 had cartridge 'A00001L8'") == true)
        _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "drive:1", to: "slot:1"))
        // What the drive wrote is in the former folder.
        #expect(try await problem()?.contains("put that back") == true)
        await controller.shutDown()
        controller.folder.release()
        let (second, _) = try ControllerFixture.make(fixture.path)
        try await second.start()
        await second.reconcile()
        #expect(try await second.libraries().first?.status.problem == nil)
        try await second.deleteLibrary("vtl")
        #expect(!files.fileExists(atPath: path))
        await second.shutDown()
        second.folder.release()
    }

    @Test("what was not served is, once its file is back, and what runs is not touched")
    func servedAgain() async throws {
        try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
        try await controller.createDisk("b", Disk.Spec(size: 1 << 20))
        await controller.shutDown()
        controller.folder.release()
        try files.moveItem(atPath: image, toPath: image + ".away")
        let (second, devices) = try ControllerFixture.make(fixture.path)
        try await second.start()
        for _ in 0..<3 { #expect(await second.reconcile() == (0, 1)) }
        #expect(try await second.disk("a").status.state == .notServed)
        try files.moveItem(atPath: image + ".away", toPath: image)
        #expect(await second.reconcile() == (1, 0))
        #expect(try await second.disk("a").status.state == .serving)
        #expect(devices.disks.keys.sorted() == ["a", "b"])
        #expect(await second.reconcile() == (0, 0))
        await second.shutDown()
    }

    @Test("who may use a library that is served again is in force before anybody looks at its cartridges")
    func planBeforeExamination() async throws {
        try await fixture.makeLibrary()
        let secret = Secret(Array("swordfish-swordfish".utf8))
        _ = try await controller.createCredential("target:vtl/u", Credential.Spec(secret: secret))
        await controller.shutDown()
        controller.folder.release()
        let path = fixture.path + "/libraries/vtl"
        try files.moveItem(atPath: path, toPath: path + ".away")
        let (second, devices) = try ControllerFixture.make(fixture.path)
        try await second.start()
        try files.moveItem(atPath: path + ".away", toPath: path)
        let before = devices.planCount
        let found = Lock<Int?>(nil)
        devices.whenExamining { found.withLock { $0 = devices.planCount } }
        #expect(await second.reconcile() == (1, 0))
        #expect(found.withLock { $0 } == before + 1)
        await second.shutDown()
    }

    @Test(
        "a file that does not answer keeps its device from being served, and nothing else",
        arguments: ["disk", "library"])
    func silentFile(kind: String) async throws {
        if kind == "disk" {
            try await controller.createDisk("a", Disk.Spec(size: 4096))
        } else {
            try await fixture.makeLibrary("a")
        }
        try await controller.createDisk("b", Disk.Spec(size: 4096))
        await controller.shutDown()
        controller.folder.release()
        let (second, devices) = try ControllerFixture.make(fixture.path)
        second.plane.looks.limit = .seconds(5)
        let path = fixture.path + (kind == "disk" ? "/disks/a.img" : "/libraries/a")
        let barrier = devices.hang(atFile: path)
        // Without a bound this never comes back.
        try await second.start(portals: [PortalAddress(address: "127.0.0.1", port: 13260)])
        #expect(try await second.allPortals().count == 1)
        #expect(try await second.disk("b").status.state == .serving)
        #expect(try await second.status().problems.count == 1)
        #expect(try await second.status().problems.first?.contains("\(path) does not answer") == true)
        for _ in 0..<3 { #expect(await second.reconcile() == (0, 1)) }
        // One thread waits for it, however often it is its turn.
        devices.answer()
        barrier.open()
        while second.plane.looks.hangs("a") { await Task.yield() }
        #expect(await second.reconcile() == (1, 0))
        #expect(try await second.status().problems.isEmpty)
        #expect(devices.disks["a"] != nil || devices.libraries.contains("a"))
        await second.shutDown()
    }

    @Test("an image that is cut costs no walk through the state folder, and others one for all of a round")
    func ownFiles() async throws {
        try await controller.createDisk("a", .raw(size: 1 << 20))
        let disk = try controller.plane.diskRecord("a")
        var walks = 0
        func ownFiles() -> OwnFiles {
            walks += 1
            return OwnFiles()
        }
        _ = try controller.plane.adoptingLength(of: disk, ownFiles)
        #expect(walks == 1)
        let handle = try #require(FileHandle(forUpdatingAtPath: image))
        try handle.truncate(atOffset: 1 << 10)
        #expect(throws: ManagementError.self) { try controller.plane.adoptingLength(of: disk, ownFiles) }
        #expect(walks == 1)
        let known = KnownOwnFiles(of: controller.folder, controller.plane.looks)
        _ = known.files
        let later = fixture.path + "/later"
        #expect(files.createFile(atPath: later, contents: Data()))
        let identity = try FileStatus.of(later).identity
        #expect(known.files.path(of: identity) == nil)
        #expect(KnownOwnFiles(of: controller.folder, controller.plane.looks).files.path(of: identity) != nil)
    }

    @Test("an image whose links lead into the state folder is none, and one that cannot be told apart is none for now")
    func strangeImages() async throws {
        try await controller.createDisk("a", Disk.Spec(size: 4096))
        try await fixture.makeLibrary()
        let data = fixture.path + "/libraries/vtl/A00001L8.tape/partition0.data"
        try Data(count: 4096).write(to: URL(fileURLWithPath: data))
        let disk = try controller.plane.diskRecord("a")
        try files.removeItem(atPath: image)
        try files.createSymbolicLink(atPath: image, withDestinationPath: data)
        // Whatever is known of the files of libraries.
        let refusal = await fixture.refusal { try controller.plane.adoptingLength(of: disk) { OwnFiles() } }
        #expect(refusal?.code == .damaged && refusal?.message.contains("which the daemon needs for itself") == true)
        let elsewhere = fixture.path + "-image"
        defer { try? files.removeItem(atPath: elsewhere) }
        #expect(files.createFile(atPath: elsewhere, contents: Data(count: 4096)))
        // No library answers.
        let looks = controller.plane.looks
        looks.limit = .zero
        let barrier = Barrier()
        let items = (0..<FileLooks.Limit.threads).map { (name: "f\($0)", item: $0) }
        while items.count(where: { looks.hangs($0.name) }) < items.count {
            _ = looks.look(at: items) { _ in barrier.pass() }
        }
        #expect(OwnFiles(of: controller.folder, looks).unknown == ["vtl"])
        let late = await fixture.refusal {
            try await controller.createDisk("e", Disk.Spec(size: nil, image: elsewhere))
        }
        #expect(late?.code == .inUse && late?.message.contains("library 'vtl' cannot be told") == true)
        barrier.open(items.count)
        looks.limit = FileLooks.Limit.answer
        while items.contains(where: { looks.hangs($0.name) }) { await Task.yield() }
        try await controller.createDisk("e", Disk.Spec(size: nil, image: elsewhere))
    }

    @Test("what could not be removed of a deleted disk is removed later")
    func finalized() async throws {
        let isBroken = Lock(false)
        let fixture = try ControllerFixture { path throws(ManagementError) in
            guard path.hasSuffix("a.img"), isBroken.withLock({ $0 }) else { return }
            throw ManagementError(.system, "\(path) stays")
        }
        let controller = fixture.controller
        try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
        isBroken.withLock { $0 = true }
        await #expect(throws: ManagementError.self) { try await controller.deleteDisk("a") }
        #expect(await controller.reconcile() == (0, 1))
        #expect(try await controller.disks().map(\.status.state) == [.notServed])
        isBroken.withLock { $0 = false }
        #expect(await controller.reconcile() == (1, 0))
        #expect(try await controller.disks().isEmpty)
        #expect(!files.fileExists(atPath: fixture.path + "/disks/a.img"))
        #expect(try await controller.status().problems.isEmpty)
    }

    @Test("where too many wait for another attempt, all have their turn")
    func turns() {
        var served = ServedFiles()
        let names = (0..<150).map { "d\(1000 + $0)" }
        var tried: Set<String> = []
        for _ in 0..<3 {
            let turn = served.turn(of: names, limit: 64)
            #expect(turn.count == 64)
            tried.formUnion(turn)
        }
        #expect(tried.count == 150)
        #expect(served.turn(of: ["a"], limit: 64) == ["a"])
        // Few do too, for what comes first may keep the others from it.
        var first: Set<String> = []
        for _ in 0..<3 {
            let turn = served.turn(of: ["a", "b", "c"], limit: 64)
            #expect(turn.count == 3)
            first.formUnion(turn.prefix(1))
        }
        #expect(first.count == 3)
    }
}

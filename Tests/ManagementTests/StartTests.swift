import Catalog
import Foundation
import GRDB
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("Start and stop")
struct StartTests {
    let fixture: ControllerFixture

    init() throws { fixture = try ControllerFixture() }

    /// The same state folder under a new controller, as after a restart.
    func restart() async throws -> (Controller, FakeDevices) {
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        return try ControllerFixture.make(fixture.path)
    }

    @Test("everything is started again as it was")
    func restarting() async throws {
        let disk = try await fixture.controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
        try await fixture.makeLibrary()
        let (controller, devices) = try await restart()
        try await controller.start()
        let again = try await controller.disk("a")
        #expect(again.status.serialNumber == disk.status.serialNumber)
        #expect(again.status.naa == disk.status.naa)
        #expect(again.spec.size == disk.spec.size)
        #expect(devices.libraries == ["vtl"])
        #expect(try await controller.status().portals == ["127.0.0.1:3260"])
        await controller.shutDown()
        #expect(devices.isShutDown)
    }

    @Test("portals are remembered once they could be opened")
    func portals() async throws {
        let other = PortalAddress(address: "::1", port: 3261)
        try await fixture.controller.start(portals: [other])
        let (controller, _) = try await restart()
        let busy = await fixture.refusal {
            try await controller.start(portals: [PortalAddress(address: "127.0.0.1", port: 1)])
        }
        #expect(busy?.code == .inUse)
        await controller.shutDown()
        controller.folder.release()
        let (again, _) = try ControllerFixture.make(fixture.path)
        try await again.start()
        #expect(try await again.status().portals == ["[::1]:3261"])
    }

    @Test("portals that are asked for come to those of the last time, one of which may have gone for ever")
    func morePortals() async throws {
        let (first, second) = (PortalAddress(address: "::1", port: 3261), PortalAddress(address: "127.0.0.1", port: 9))
        try await fixture.controller.start(portals: [first])
        _ = try await fixture.controller.addPortal("[::1]:3262", Portal.Spec(portalGroup: 5))
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        let raw = try DatabaseQueue(path: fixture.path + "/catalog.sqlite")
        try await raw.write {
            try $0.execute(sql: "INSERT INTO portal (address, port, portalGroupTag) VALUES ('192.0.2.1', 1, 7)")
        }
        try raw.close()
        var (controller, _) = try ControllerFixture.make(fixture.path)
        try await controller.start()
        #expect(try await Set(controller.status().portals) == ["[::1]:3261", "[::1]:3262"])
        #expect(
            try await controller.status().problems.map { $0.contains("is not open: port 1 is taken; give") } == [true])
        await controller.shutDown()
        controller.folder.release()
        (controller, _) = try ControllerFixture.make(fixture.path)
        try await controller.start(portals: [second, first])
        #expect(try await controller.status().portals == ["127.0.0.1:9", "[::1]:3261", "[::1]:3262"])
        #expect(try await controller.allPortals().map(\.spec.portalGroup).sorted() == [1, 1, 5, 7])
        let unopened = try await controller.portal("192.0.2.1:1")
        #expect(unopened.spec.portalGroup == 7 && unopened.status.problem?.contains("not open") == true)
        let problems = try await controller.status().problems
        #expect(problems.map { $0.contains("portal delete 192.0.2.1:1'") } == [true])
        try await controller.removePortal("192.0.2.1:1")
        #expect(try await controller.status().problems.isEmpty)
        await controller.shutDown()
        controller.folder.release()
        (controller, _) = try ControllerFixture.make(fixture.path)
        try await controller.start()
        #expect(try await Set(controller.status().portals) == ["127.0.0.1:9", "[::1]:3261", "[::1]:3262"])
    }

    @Test("where the only portal of the last time cannot be opened, the start says what to do")
    func onlyPortal() async throws {
        try await fixture.controller.start(portals: [PortalAddress(address: "127.0.0.1", port: 9)])
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        let raw = try DatabaseQueue(path: fixture.path + "/catalog.sqlite")
        try await raw.write { try $0.execute(sql: "UPDATE portal SET port = 1") }
        try raw.close()
        var (controller, _) = try ControllerFixture.make(fixture.path)
        let refused = await fixture.refusal { try await controller.start() }
        #expect(refused?.code == .inUse)
        #expect(refused?.message.contains("start with --portal ADDR:PORT") == true)
        #expect(refused?.message.contains("'carousel portal delete 127.0.0.1:1'") == true)
        await controller.shutDown()
        controller.folder.release()
        (controller, _) = try ControllerFixture.make(fixture.path)
        try await controller.start(portals: [PortalAddress(address: "127.0.0.1", port: 9)])
        try await controller.removePortal("127.0.0.1:1")
        #expect(try await controller.allPortals().map(\.name) == ["127.0.0.1:9"])
    }

    @Test(
        "a catalog that is missing or empty is not replaced by a new one while images or cartridges are there",
        arguments: [nil, Data()], ["disks", "libraries"])
    func lostCatalog(content: Data?, folder: String) async throws {
        if folder == "disks" {
            try await fixture.controller.createDisk("a", Disk.Spec.raw(size: 512))
        } else {
            try await fixture.makeLibrary()
        }
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        let catalog = fixture.path + "/catalog.sqlite"
        try FileManager.default.removeItem(atPath: catalog)
        if let content { try content.write(to: URL(fileURLWithPath: catalog)) }
        for _ in 0..<2 {
            let refusal = await fixture.refusal { try ControllerFixture.make(fixture.path).0 }
            #expect(refusal?.code == .damaged)
            #expect(refusal?.message.contains("\(fixture.path)/\(folder) is not; put the catalog back") == true)
        }
        for name in try FileManager.default.contentsOfDirectory(atPath: fixture.path + "/" + folder) {
            try FileManager.default.removeItem(atPath: fixture.path + "/\(folder)/\(name)")
        }
        let (controller, _) = try ControllerFixture.make(fixture.path)
        try await controller.start()
    }

    @Test(
        "what is missing of a state folder is made again, or a problem, and opens nothing",
        arguments: ["disks", "libraries", "reserve", "lock", "chap.json", "catalog.sqlite-wal", "catalog.sqlite-shm"])
    func partlyMissing(part: String) async throws {
        try await fixture.controller.start()
        try await fixture.controller.createDisk("a", Disk.Spec.raw(size: 4096))
        try await fixture.makeLibrary()
        try await fixture.controller.createCredential(
            "target:a/u", Credential.Spec(secret: Secret(Array("swordfish-swordfish".utf8))))
        let before = World.permissions(
            try fixture.controller.plane.frontEndPlan(), try await fixture.controller.allPortals())
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        try? FileManager.default.removeItem(atPath: fixture.path + "/" + part)
        let (controller, devices) = try ControllerFixture.make(fixture.path)
        try await controller.start()
        let problems = try await controller.status().problems
        switch part {
        case "disks":
            #expect(devices.disks.isEmpty && problems.count == 1)
        case "libraries":
            #expect(devices.libraries.isEmpty && problems.count == 1)
        default:
            #expect(problems.isEmpty && devices.disks.count == 1 && devices.libraries.count == 1)
        }
        let after = World.permissions(try controller.plane.frontEndPlan(), try await controller.allPortals())
        #expect(after.isSubset(of: before))
        #expect(part != "chap.json" || !after.contains { $0.target.hasSuffix(":a") })
        await controller.shutDown()
    }

    @Test("what is there and cannot be read does not count as absent: a journal that nobody can read stops the start")
    func unreadable() async throws {
        let path = fixture.path + "/apply.json"
        #expect(try ConfigurationJournal.read(path) == nil)
        // No user is too mighty to fail at these.
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        #expect(throws: ManagementError.self) { try ConfigurationJournal.read(path) }
        let refusal = await fixture.refusal { try await fixture.controller.start() }
        #expect(refusal?.code == .system && refusal?.message.contains("\(path), which says how") == true)
        #expect(FileManager.default.fileExists(atPath: path), "it stays for who mends that")
        #expect(fixture.devices.portals().isEmpty)
        #expect(try StateFolder.hasEntry(fixture.path + "/lock"))
        #expect(try !StateFolder.hasEntry(fixture.path + "/none"))
        #expect(throws: ManagementError.self) { try StateFolder.hasEntry(fixture.path + "/lock/none") }
        try FileManager.default.removeItem(atPath: path)
        try await fixture.controller.start()
    }

    @Test("an image that is longer than any disk keeps its disk from being served, and the catalog as it is")
    func longImage() async throws {
        // Few file systems hold such a file; this one does on Linux.
        let image = "/dev/shm/carousel-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: image) }
        guard FileManager.default.createFile(atPath: image, contents: Data(count: 4096)),
            let file = FileHandle(forUpdatingAtPath: image)
        else { return }
        let fixture = try ControllerFixture()
        try await fixture.controller.start()
        try await fixture.controller.createDisk("long", Disk.Spec(size: nil, image: image))
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        guard (try? file.truncate(atOffset: UInt64(Disk.maximumSize) + 4096)) != nil else { return }
        for _ in 0..<2 {
            let (next, _) = try ControllerFixture.make(fixture.path)
            try await next.start()
            #expect(try await next.status().problems.contains { $0.contains("more than the largest disk") })
            #expect(try await next.disk("long").spec.size == 4096)
            await next.shutDown()
            next.folder.release()
        }
        try file.truncate(atOffset: 4096)
        let (next, devices) = try ControllerFixture.make(fixture.path)
        try await next.start()
        #expect(devices.disks["long"] == 4096)
        await next.shutDown()
        next.folder.release()
    }

    @Test("a missing or truncated image stops a strict start, or only its disk")
    func damagedImages() async throws {
        try await fixture.controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
        try await fixture.controller.createDisk("b", Disk.Spec.raw(size: 1 << 20))
        let image = fixture.path + "/disks/a.img"
        try Data(count: 100).write(to: URL(fileURLWithPath: image))
        var (controller, devices) = try await restart()
        let truncated = await fixture.refusal { try await controller.start(isStrict: true) }
        #expect(truncated?.code == .damaged)
        #expect(truncated?.message.contains("truncated") == true)
        try FileManager.default.removeItem(atPath: image)
        await controller.shutDown()
        controller.folder.release()
        (controller, devices) = try ControllerFixture.make(fixture.path)
        let missing = await fixture.refusal { try await controller.start(isStrict: true) }
        #expect(missing?.message.contains("missing") == true)
        await controller.shutDown()
        controller.folder.release()
        (controller, devices) = try ControllerFixture.make(fixture.path)
        try await controller.start()
        #expect(Array(devices.disks.keys) == ["b"])
        #expect(try await controller.status().problems.count == 1)
        #expect(try await controller.disk("a").status.problem != nil)
        try await controller.deleteDisk("a")
        #expect(try await controller.status().problems.isEmpty)
    }

    @Test("a disk whose spec is damaged in the catalog stops a strict start, or only itself")
    func damagedSpec() async throws {
        for name in ["a", "b"] { try await fixture.controller.createDisk(name, Disk.Spec.raw(size: 1 << 20)) }
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        let raw = try DatabaseQueue(path: fixture.path + "/catalog.sqlite")
        try await raw.write { database in
            try database.execute(
                sql: #"UPDATE resource SET spec = '{"size":1048576,"mirrors":2}' WHERE name = 'a'"#)
        }
        try raw.close()
        var (controller, devices) = try ControllerFixture.make(fixture.path)
        let refusal = await fixture.refusal { try await controller.start(isStrict: true) }
        #expect(refusal?.code == .damaged && refusal?.message.contains("has no field 'mirrors'") == true)
        await controller.shutDown()
        controller.folder.release()
        (controller, devices) = try ControllerFixture.make(fixture.path)
        try await controller.start()
        #expect(Array(devices.disks.keys) == ["b"])
        let problem = try #require(try await controller.disk("a").status.problem)
        #expect(try await controller.status().problems == [problem])
        #expect(problem.contains("disk 'a' is damaged in the catalog: its spec has no field 'mirrors'"))
        #expect(FileManager.default.fileExists(atPath: fixture.path + "/disks/a.img"))
        try await controller.deleteDisk("a")
        #expect(try await controller.disks().map(\.name) == ["b"])
    }

    @Test("a disk whose image has become a file of the daemon is not served")
    func ownFileAsImage() async throws {
        try await fixture.controller.createDisk("a", Disk.Spec.raw(size: 512))
        let image = fixture.path + "/disks/a.img"
        try FileManager.default.removeItem(atPath: image)
        try FileManager.default.linkItem(atPath: fixture.path + "/catalog.sqlite", toPath: image)
        let (controller, devices) = try await restart()
        try await controller.start()
        #expect(try await controller.disk("a").status.problem?.contains("needs for itself") == true)
        #expect(devices.disks.isEmpty)
    }

    @Test("a disk is as large as an image that has grown")
    func grownImage() async throws {
        try await fixture.controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
        let image = try FileHandle(forUpdating: URL(fileURLWithPath: fixture.path + "/disks/a.img"))
        try image.truncate(atOffset: 2 << 20)
        let (controller, _) = try await restart()
        try await controller.start()
        #expect(try await controller.disk("a").spec.size == 2 << 20)
    }

    @Test("a state folder has one daemon, and the other is named")
    func exclusive() throws {
        let process = ProcessInfo.processInfo.processIdentifier
        do {
            _ = try StateFolder(path: fixture.path)
            Issue.record("the folder was taken twice")
        } catch {
            #expect(error.code == .inUse)
            #expect(error.message.contains("in use by process \(process)"))
        }
    }

    @Test("a path that is too long for the socket is refused before anything is made")
    func longPath() {
        let path = NSTemporaryDirectory() + String(repeating: "x", count: 100)
        #expect(throws: ManagementError.self) { try StateFolder(path: path) }
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test("a catalog of a newer version is refused and not changed")
    func newerVersion() async throws {
        let catalog = fixture.path + "/catalog.sqlite"
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        let raw = try DatabaseQueue(path: catalog)
        try await raw.write { try $0.execute(sql: "PRAGMA user_version = 99") }
        try raw.close()
        let before = try Data(contentsOf: URL(fileURLWithPath: catalog))
        let refusal = await fixture.refusal { try ControllerFixture.make(fixture.path).0 }
        #expect(refusal?.code == .damaged)
        #expect(try Data(contentsOf: URL(fileURLWithPath: catalog)) == before)
    }

    @Test("a thousand cartridges start quickly")
    func manyCartridges() async throws {
        try await fixture.makeLibrary(slots: 1000, cartridges: 1000)
        let clock = ContinuousClock()
        let began = clock.now
        let (controller, _) = try await restart()
        try await controller.start()
        #expect(clock.now - began < .seconds(2))
        #expect(try await controller.status().cartridges == 1000)
    }

    @Test("the default state folder")
    func stateFolder() {
        #expect(StateFolder.defaultPath(environment: ["CAROUSEL_STATE": "/x"]) == "/x")
        #expect(StateFolder.defaultPath(environment: [:]).hasSuffix("/carousel"))
    }
}

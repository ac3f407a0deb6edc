import Foundation
import GRDB
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("Reading files again")
struct ReloadTests {
    let fixture: ControllerFixture

    init() throws { fixture = try ControllerFixture() }

    @Test("a disk and a library that could not be served are, once their files are back; what runs is not touched")
    func servedAgain() async throws {
        try await fixture.controller.createDisk("a", Disk.Spec(size: 1 << 20))
        try await fixture.controller.createDisk("b", Disk.Spec(size: 1 << 20))
        try await fixture.makeLibrary()
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        let files = FileManager.default
        let folders = ["/disks/a.img", "/libraries/vtl"].map { fixture.path + $0 }
        for path in folders { try files.moveItem(atPath: path, toPath: path + ".away") }
        let (controller, devices) = try ControllerFixture.make(fixture.path)
        try await controller.start()
        #expect(Array(devices.disks.keys) == ["b"])
        await controller.reload()
        #expect(try await controller.status().problems.count == 2)
        for path in folders { try files.moveItem(atPath: path + ".away", toPath: path) }
        devices.logIn(to: "b")
        await controller.reload()
        #expect(try await controller.status().problems.isEmpty)
        #expect(devices.disks.keys.sorted() == ["a", "b"])
        #expect(devices.libraries == ["vtl"])
        #expect(try await controller.status().sessions == 1)
        await controller.reload()
        #expect(try await controller.status().problems.isEmpty)
        await controller.shutDown()
    }

    @Test("a portal that could not be opened at the start is, once its address is free; those that are open stay so")
    func portals() async throws {
        try await fixture.controller.start(portals: [.default])
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        let usual = PortalAddress.default
        let raw = try DatabaseQueue(path: fixture.path + "/catalog.sqlite")
        try await raw.write {
            try $0.execute(sql: "INSERT INTO portal (address, port, portalGroupTag) VALUES ('192.0.2.1', 1, 7)")
        }
        try raw.close()
        let (controller, devices) = try ControllerFixture.make(fixture.path)
        try await controller.start()
        await controller.reload()
        #expect(try await controller.portal("192.0.2.1:1").status.problem?.contains("not open") == true)
        #expect(try await controller.status().problems.count == 1)
        devices.freePortOne()
        await controller.reload()
        let opened = try await controller.portal("192.0.2.1:1")
        #expect(opened.status.problem == nil && opened.spec.portalGroup == 7)
        #expect(devices.portals().map(\.name) == [usual.description, "192.0.2.1:1"])
        #expect(try await controller.status().problems.isEmpty)
        await controller.reload()
        #expect(devices.portals().count == 2)
        // It is a portal as others are.
        try await controller.removePortal("192.0.2.1:1")
        #expect(devices.portals().map(\.name) == [usual.description])
        await controller.shutDown()
    }

    @Test("new secrets hold; a file that lacks those of a place, or is broken, opens nothing")
    func secrets() async throws {
        let controller = fixture.controller
        try await controller.start()
        try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
        func set(_ user: String) async throws {
            let secret = Secret(Array("swordfish-swordfish".utf8))
            _ = try await controller.createCredential("target:a/\(user)", Credential.Spec(secret: secret))
        }
        func users() async throws -> [String] { try await controller.credentials().map(\.name).sorted() }
        let path = fixture.path + "/chap.json"
        try await set("u")
        let first = try Data(contentsOf: URL(fileURLWithPath: path))
        try await set("v")
        // The file of before: the place is in it, so it holds.
        func put(_ data: Data?) throws {
            try? FileManager.default.removeItem(atPath: path)
            guard let data else { return }
            #expect(
                FileManager.default.createFile(atPath: path, contents: data, attributes: [.posixPermissions: 0o600]))
        }
        try put(first)
        await controller.reload()
        #expect(try await users() == ["target:a/u"])
        #expect(fixture.devices.plan?.targets.first?.credentials != nil)
        for data in [nil, Data("{".utf8), Data(#"{"version":1,"entries":[]}"#.utf8), Data()] {
            try put(data)
            await controller.reload()
            #expect(try await users() == ["target:a/u"])
            #expect(fixture.devices.plan?.targets.first?.credentials != nil)
        }
        await controller.shutDown()
    }

    @Test("where a file that was read again has secrets a proof stays required, also when the file is lost")
    func newPlaces() async throws {
        let controller = fixture.controller
        try await controller.start()
        try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
        let path = fixture.path + "/chap.json"
        let secret = Secret(Array("swordfish-swordfish".utf8))
        try await controller.createCredential("target:a/u", Credential.Spec(secret: secret))
        let file = try Data(contentsOf: URL(fileURLWithPath: path))
        try await controller.waive(Credential.Waive.Arguments(place: "target:a", mayWiden: true))
        #expect(try await controller.target("a").spec.authentication == .none)
        #expect(FileManager.default.createFile(atPath: path, contents: file, attributes: [.posixPermissions: 0o600]))
        await controller.reload()
        #expect(try await controller.target("a").spec.authentication == .chap)
        await controller.shutDown()
        controller.folder.release()
        try FileManager.default.removeItem(atPath: path)
        let (next, devices) = try ControllerFixture.make(fixture.path)
        try await next.start()
        #expect(devices.plan?.targets.first?.credentials == .unknown)
        await next.shutDown()
    }
}

@Suite("The state folder")
struct StateFolderTests {
    private func scratch(mode: Int) throws -> String {
        let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        return path
    }

    @Test(
        "one that others may write is refused before anything is made in it", arguments: [0o777, 0o770, 0o702, 0o1777])
    func open(mode: Int) throws {
        let path = try scratch(mode: mode)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let error = #expect(throws: ManagementError.self) { try StateFolder(path: path) }
        #expect(error?.message.contains("chmod 700 \(path)") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: path).isEmpty)
    }

    @Test("one that others may only look into is used", arguments: [0o700, 0o755])
    func closed(mode: Int) throws {
        let path = try scratch(mode: mode)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try StateFolder(path: path).release()
        let link = path + ".link"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        defer { try? FileManager.default.removeItem(atPath: link) }
        #expect(try StateFolder(path: link).path == link)
    }

    @Test("an empty path is none, and not the current folder")
    func empty() {
        let error = #expect(throws: ManagementError.self) { try StateFolder(path: "") }
        #expect(error?.code == .invalid)
    }
}

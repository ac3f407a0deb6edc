import Console
import Foundation
import Logging
import Management
import ManagementTestSupport
import Platform
import Resources
import Testing

/// Any JSON, to be looked through as text.
enum AnyJSON: Decodable {
    case text(String)
    case list([AnyJSON])
    case object([String: AnyJSON])
    case other

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let text = try? container.decode(String.self) {
            self = .text(text)
        } else if let list = try? container.decode([AnyJSON].self) {
            self = .list(list)
        } else if let object = try? container.decode([String: AnyJSON].self) {
            self = .object(object)
        } else {
            self = .other
        }
    }
}

@Suite("The API over its socket")
struct ConsoleTests {
    func refusal(_ request: () async throws -> some Sendable) async -> ManagementError? {
        do {
            _ = try await request()
        } catch ControlClientError.refused(let error) {
            return error
        } catch {
            Issue.record(error)
        }
        return nil
    }

    @Test("connections of a socket that the service manager listens on are served, more than at a time too")
    func inheritedSocket() async throws {
        let fixture = try ControllerFixture()
        let path = fixture.path + "/control.sock"
        let socket = try ListenSocket(listeningOn: SocketAddress(path: path))
        let server = ControlServer(
            controller: fixture.controller, inheritedSocket: dup(socket.fileDescriptor),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        await withServer(server) {
            let client = ControlClient(stateFolder: fixture.path)
            try await withThrowingTaskGroup(of: DaemonStatus.self) { group in
                for _ in 0..<(2 * ControlServer.maximumConnections) {
                    group.addTask { try await client.get("status") }
                }
                for try await status in group { #expect(status.disks == 0) }
            }
        }
        #expect(FileManager.default.fileExists(atPath: path), "it is the service manager's")
        #expect(!FileManager.default.fileExists(atPath: path + ".own"))
    }

    @Test("what lies in the place of the socket and is none stays, and the server refuses")
    func foreignSocket() async throws {
        let fixture = try ControllerFixture()
        let path = fixture.path + "/control.sock"
        try FileManager.default.createDirectory(atPath: path + "/deep", withIntermediateDirectories: true)
        let server = ControlServer(
            controller: fixture.controller, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let error = await #expect(throws: ManagementError.self) { try await server.run {} }
        #expect(error?.message.contains("is no socket") == true)
        #expect(FileManager.default.fileExists(atPath: path + "/deep"))
    }

    @Test("a state folder whose path is too long for a socket is named, with the reason")
    func longPath() async {
        let client = ControlClient(stateFolder: "/tmp/" + String(repeating: "x", count: 200))
        let error = await #expect(throws: ControlClientError.self) {
            let _: DaemonStatus = try await client.get("status")
        }
        if case .unreachable(let message) = error {
            #expect(message.contains("too long"))
        } else {
            Issue.record("\(String(describing: error))")
        }
    }

    @Test("an empty name is refused before the daemon is asked, as a name")
    func emptyNames() async throws {
        let client = ControlClient(stateFolder: "/nonexistent")
        for kind in Registry.kinds.map({ $0.description }) {
            do {
                _ = try await client.show(kind, "")
                Issue.record("\(kind.plural) has something without a name")
            } catch ControlClientError.invalid(let error) {
                #expect(error.code == .invalid && error.message.contains("''"), "\(error)")
            }
        }
        do {
            let _: JSONValue = try await client.get("profiles//x")
            Issue.record("a path with an empty name answers")
        } catch ControlClientError.invalid(let error) {
            #expect(error.message.contains("'' is no name"))
        }
    }

    @Test("every route answers")
    func routes() async throws {
        try await withServer { client, fixture in
            let library = try await fixture.makeLibrary()
            let disk = try await client.create(Disk.description, "a", ["size": 1_048_576])
            #expect(try await client.list(Disk.description) == [disk])
            let larger = try await client.change(Disk.description, "a", ["size": 2_097_152])
            #expect(larger["spec"]?["size"] == 2_097_152)
            #expect(try await client.show(Disk.description, "a") == larger)
            let libraries = try await client.list(Library.description)
            #expect(libraries.map { $0["status"]?["serialNumber"]?.text } == [library.status.serialNumber])
            let moved = try await client.perform(
                Library.Move.description, Library.description, "vtl", ["from": "slot:1", "to": "drive:1"])
            #expect(moved["cartridge"]?["status"]?["place"] == "drive:1")
            #expect(try await client.list(Move.description, of: "vtl").count == 1)
            let drive = try await client.show(Drive.description, "vtl/drive:1")
            #expect(drive["status"]?["cartridge"] == "A00001L8")
            let second: [String: JSONValue] = ["barcode": "A00002L8"]
            let exported = try await client.perform(
                Library.Export.description, Library.description, "vtl", second)
            #expect(exported["done"] == "cartridge A00002L8 is in the vault")
            let imported = try await client.perform(
                Library.Import.description, Library.description, "vtl", second)
            #expect(imported["cartridge"]?["status"]?["place"] == "mail:1")
            let made = try await client.create(Cartridge.description, "vtl/B1", ["size": 1_048_576])
            #expect(made["spec"]?["size"] == 1_048_576)
            let cartridge = try await client.show(Cartridge.description, "vtl/B1")
            #expect(cartridge["status"]?["used"] == 42)
            let own = try await client.list(Cartridge.description, of: "vtl")
            #expect(try await client.list(Cartridge.description) == own && own.count == 3)
            let targets = try await client.list(ISCSITarget.description)
            #expect(targets.contains(try await client.show(ISCSITarget.description, "iqn.2026-11.dev.carousel:vtl")))
            #expect(try await client.list(Session.description).isEmpty)
            let status: DaemonStatus = try await client.get("status")
            #expect(status.cartridges == 3)
            try await client.delete(Cartridge.description, "vtl/B1")
            try await client.delete(Library.description, "vtl")
            try await client.delete(Disk.description, "a")
            #expect(fixture.files() == ["disks", "libraries", "control.sock"])
        }
    }

    @Test("every route of portals, access and sessions answers, and no answer has a secret")
    func accessRoutes() async throws {
        try await withServer { client, fixture in
            try await fixture.controller.start()
            try await fixture.controller.createDisk("a", Disk.Spec(size: 1 << 20))
            let portal = try await client.create(Portal.description, "[::1]:3261", ["portalGroup": 2])
            #expect(portal["name"] == "[::1]:3261")
            #expect(try await client.show(Portal.description, "[0::1]:3261") == portal)
            let drained = try await client.perform(
                Portal.Drain.description, Portal.description, "[::1]:3261", ["seconds": 1])
            #expect(drained["status"]?["isDraining"] == true)
            let resumed = try await client.perform(Portal.Resume.description, Portal.description, "[::1]:3261", [:])
            #expect(resumed == portal)
            let groups = InitiatorGroup.description
            let group = try await client.create(groups, "g", ["names": ["*"]])
            let extended = try await client.perform(
                InitiatorGroup.Add.description, groups, "g", ["addresses": ["::/0"]])
            #expect(extended["spec"]?["addresses"] == ["::/0"])
            let reduced = try await client.perform(
                InitiatorGroup.Remove.description, groups, "g", ["addresses": ["::/0"], "anyAddress": true])
            #expect(reduced["spec"] == group["spec"])
            #expect(try await client.list(groups) == [try await client.show(groups, "g")])
            let targets = ISCSITarget.description
            _ = try await client.create(targets, "t", ["units": ["0": "a"]])
            let mapped = try await client.perform(
                ISCSITarget.Map.description, targets, "t", ["group": "g", "units": ["3": "a"]])
            #expect(mapped["spec"]?["groups"] == ["g": ["units": ["3": "a"]]])
            let moved = try await client.change(targets, "t", ["portalGroups": [2], "redirection": "192.0.2.1:1"])
            #expect(moved["spec"]?["portalGroups"] == [2] && moved["spec"]?["redirection"] == "192.0.2.1:1")
            #expect(await refusal { try await client.change(targets, "t", ["access": "open"]) }?.code == .conflict)
            let opened = try await client.change(targets, "t", ["access": "open"], mayWiden: true)
            #expect(opened["spec"]?["access"] == "open")
            let closed = try await client.perform(
                ISCSITarget.Access.description, targets, "t", ["access": "closed"])
            #expect(closed["spec"]?["access"] == "closed")
            let secret = Data("swordfish-swordfish".utf8).base64EncodedString()
            let credential = try await client.create(Credential.description, "target:t/u", ["secret": .text(secret)])
            let spec: JSONValue = ["isMutual": false, "algorithms": Credential.algorithms.json]
            #expect(credential["name"] == "target:t/u" && credential["spec"] == spec)
            #expect(try await client.list(Credential.description, of: "target:t") == [credential])
            #expect(try await client.show(Credential.description, "target:t/u") == credential)
            try await client.delete(Credential.description, "target:t/u")
            let unmapped = try await client.perform(ISCSITarget.Unmap.description, targets, "t", ["group": "g"])
            #expect(unmapped["spec"]?["groups"] == [:] && unmapped["spec"]?["access"] == "closed")
            try await client.delete(targets, "t")
            try await client.delete(groups, "g")
            try await client.delete(Portal.description, "[::1]:3261")
            let portals = try await client.list(Portal.description)
            #expect(portals.map { $0["spec"]?["portalGroup"] } == [1])
            fixture.devices.logIn(to: "a")
            let session = try await client.show(Session.description, "1")
            let ended = try await client.perform(
                Session.Close.description, Session.description, nil, ["initiator": "iqn.2026-11.test:i"])
            #expect(ended["items"] == [session])
        }
    }

    @Test("a loss of data is told, with its time, until it is acknowledged")
    func losses() async throws {
        try await withServer { client, fixture in
            try await fixture.makeLibrary(cartridges: 1)
            try await fixture.controller.createDisk("a", Disk.Spec(size: 1 << 20))
            for name in ["a", "A00001L8"] {
                fixture.devices.lose(
                    name, since: Date(timeIntervalSince1970: 1_700_000_000), reason: "the host is full")
            }
            // As any client sees it.
            let status = try await client.show(Disk.description, "a")["status"]
            #expect(status?["loss"] == ["since": "2023-11-14T22:13:20Z", "reason": "the host is full"])
            #expect(status?["state"] == "data lost")
            let disks = try await client.list(Disk.description).compactMap { Resource<Disk>($0) }
            let cartridges = try await client.list(Cartridge.description).compactMap { Resource<Cartridge>($0) }
            #expect(disks.map(\.status.state) == [.dataLost] && cartridges.map(\.status.state) == [.dataLost])
            #expect(disks[0].status.loss == cartridges[0].status.loss)
            let now: DaemonStatus = try await client.get("status")
            #expect(now.problems.filter { $0.contains("acknowledge-loss") }.count == 2)
            _ = try await client.perform(Disk.AcknowledgeLoss.description, Disk.description, "a", [:])
            let name = "vtl/A00001L8"
            _ = try await client.perform(Cartridge.AcknowledgeLoss.description, Cartridge.description, name, [:])
            let cartridge = try await client.show(Cartridge.description, name)
            #expect(cartridge["status"]?["state"] == "ready" && cartridge["status"]?["loss"] == nil)
            let later: DaemonStatus = try await client.get("status")
            #expect(later.problems.isEmpty)
        }
    }

    @Test("what was done is among the jobs and the events, the last ones alone where that is asked for")
    func jobsAndEvents() async throws {
        try await withServer { client, fixture in
            try await fixture.makeLibrary()
            _ = try await client.create(Disk.description, "a", ["size": 4096])
            let jobs = try await client.list(DaemonJob.description)
            #expect(jobs.map { $0["status"]?["work"] } == ["create library vtl"])
            #expect(jobs.map { $0["status"]?["state"] } == ["done"])
            #expect(try await client.show(DaemonJob.description, "1") == jobs.first)
            let ended = await refusal {
                try await client.perform(DaemonJob.Cancel.description, DaemonJob.description, "1", [:])
            }
            #expect(ended?.code == .conflict)
            let events = try await client.list(Event.description)
            #expect(events.map { $0["status"]?["thing"] } == ["vtl", "a"])
            #expect(try await client.list(Event.description, last: 1) == events.suffix(1))
            let name = try #require(events.last?["name"]?.text)
            #expect(try await client.show(Event.description, name) == events.last)
            #expect(await refusal { try await client.show(Event.description, "99") }?.code == .notFound)
            #expect(try await client.list(Disk.description, last: 5).count == 1)
        }
    }

    @Test("a refusal keeps its code and its sentence")
    func refusals() async throws {
        try await withServer { client, fixture in
            let missing = await refusal { try await client.show(Disk.description, "x") }
            #expect(missing?.code == .notFound)
            #expect(missing?.message.contains("'x'") == true)
            let invalid = await refusal { () -> JSONValue in
                try await client.post("disks", ["name": "A", "spec": ["size": 1]] as JSONValue)
            }
            #expect(invalid?.code == .invalid)
            try await fixture.makeLibrary()
            fixture.devices.logIn(to: "vtl")
            let used = await refusal { try await client.delete(Library.description, "vtl") }
            #expect(used?.code == .inUse)
        }
    }

    @Test("bodies that are no requests are refused")
    func badBodies() async throws {
        try await withServer { client, _ in
            let wrong = await refusal { () -> JSONValue in try await client.post("disks", ["name": 1]) }
            #expect(wrong?.code == .invalid)
            let long = String(repeating: "a", count: ControlServer.maximumBodyLength)
            let tooLong = await refusal { () -> JSONValue in
                try await client.post("disks", ["name": .text(long)] as JSONValue)
            }
            #expect(tooLong?.code == .invalid)
            let status: DaemonStatus = try await client.get("status")
            #expect(status.disks == 0)
        }
    }

    @Test("the socket is for its owner only")
    func access() async throws {
        try await withServer { _, fixture in
            let attributes = try FileManager.default.attributesOfItem(atPath: fixture.path + "/control.sock")
            #expect(attributes[.posixPermissions] as? Int == 0o600)
        }
    }

    @Test("without a daemon the client says so")
    func noDaemon() async throws {
        let client = ControlClient(stateFolder: NSTemporaryDirectory() + "nobody-\(UUID().uuidString)")
        do {
            let _: DaemonStatus = try await client.get("status")
            Issue.record("somebody answered")
        } catch ControlClientError.unreachable(let message) {
            #expect(message.contains("carousel serve"))
        }
    }
}

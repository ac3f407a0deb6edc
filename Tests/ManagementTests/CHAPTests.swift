import Foundation
import GRDB
import ISCSI
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("CHAP secrets")
struct CHAPTests {
    let fixture: ControllerFixture
    let controller: Controller
    let devices: FakeDevices
    let secret = Data("swordfish-swordfish".utf8)
    let other = Data("marlin-marlin-marlin".utf8)
    var path: String { fixture.path + "/chap.json" }

    init() async throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        devices = fixture.devices
        try await controller.start()
        try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
    }

    /// Sets a credential, whether it is there or not.
    func set(
        _ name: String = "target:a/u", secret: Data? = nil, isMutual: Bool = false
    ) async throws {
        let spec = Credential.Spec(secret: Secret(Array(secret ?? self.secret)), isMutual: isMutual)
        if let present = try await controller.credentials().first(where: { $0.name == name }) {
            _ = try await controller.changeCredential(present, to: spec)
        } else {
            _ = try await controller.createCredential(name, spec)
        }
    }

    func names(_ controller: Controller? = nil) async throws -> [String] {
        try await (controller ?? self.controller).credentials().map(\.name)
    }

    func code(_ operation: () async throws -> some Sendable) async -> ManagementError.Code? {
        await fixture.refusal(operation)?.code
    }

    func credentials() throws -> CredentialSet? {
        try #require(devices.plan?.targets.first { $0.alias == "a" }).credentials
    }

    @Test(
        "the name that a credential has in the list is the one by which it is shown, changed and deleted",
        arguments: [
            "iqn.2026-11.dev.carousel:a_b", "iqn.2026-11.dev.carousel:", "iqn.2026-11.dev.carousel:-",
            "iqn.2026-11.dev.carousel:a/b", "iqn.2026-11.dev.carousel:a:b", "iqn.2026-11.dev.carousel:ä+@",
            "iqn.2026-11.dev.carousel:iqn.2001-04.com.example:x", "iqn.2026-11.dev.carousel:eui.0123456789abcdef",
            "iqn.2026-11.dev.carousel:\(String(repeating: "x", count: 100))", "iqn.2026-11.dev.carousel:b",
            "iqn.2001-04.com.example:x_/y", "iqn.2001-04.com.example", "eui.0123456789abcdef", "b",
        ])
    func namesOfTargets(target: String) async throws {
        let made = try await controller.createTarget(target, ISCSITarget.Spec())
        let endpoint = try fixture.endpoint("credentials")
        let spec: [String: JSONValue] = ["secret": .text(secret.base64EncodedString())]
        let escaped = made.name.replacing("/", with: "%2F")
        for (place, user) in [(escaped, "u/v"), (DeviceName.alias(ofTarget: escaped), "w")] {
            let credential = try await endpoint.create("target:\(place)/\(user)", spec)
            let name = try #require(credential["name"]?.text)
            #expect(try await endpoint.show(name) == credential)
            #expect(
                try await endpoint.change(name, ["secret": .text(other.base64EncodedString())])["name"]?.text == name)
            #expect(try await endpoint.list(Page(whole: String(name.prefix { $0 != "/" }))).items.count == 1)
            #expect(try await controller.target(made.name).spec.authentication == .chap)
            try await endpoint.delete(name)
            #expect(try await names().isEmpty)
        }
    }

    @Test("a secret is in a file of its own for its owner only, in the plan, and nowhere else")
    func whereItIs() async throws {
        try await set()
        try await set("target:a/t", secret: other, isMutual: true)
        let all = try await controller.credentials()
        #expect(all.map(\.name) == ["target:a/t", "target:a/u"] && all.map(\.spec.isMutual) == [true, false])
        #expect(all[0].spec.algorithms == Credential.algorithms)
        #expect(try await controller.target("a").spec.authentication == .chap)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(!FileManager.default.fileExists(atPath: path + ".new"))
        let wanted = CHAPCredential(name: "u", secret: Array(secret))
        #expect(try credentials()?.initiators == [wanted])
        #expect(try credentials()?.target?.secret == Array(other))
        let endpoints = Registry.endpoints(controller)
        var answers: [String] = []
        for endpoint in endpoints {
            let items = try await endpoint.list(Page()).items
            answers.append(String(decoding: try APICoding.encode(JSONValue.array(items)), as: UTF8.self))
        }
        let changed = try await fixture.endpoint("credentials").change(
            "target:a/u", ["secret": .text(secret.base64EncodedString())])
        answers.append("\(changed) \(all)")
        let catalog = try ["", "-wal"].map { suffix in
            let file = URL(fileURLWithPath: fixture.path + "/catalog.sqlite" + suffix)
            return String(decoding: try Data(contentsOf: file), as: UTF8.self)
        }
        for text in answers + catalog {
            #expect(!text.contains("swordfish") && !text.contains(secret.base64EncodedString()))
        }
        await controller.shutDown()
        controller.folder.release()
        let (next, devices) = try ControllerFixture.make(fixture.path)
        try await next.start()
        #expect(devices.plan?.targets.first?.credentials?.initiators == [wanted])
        try await next.deleteDisk("a")
        #expect(try await next.credentials().isEmpty)
        let left = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(!String(decoding: left, as: UTF8.self).contains(secret.base64EncodedString()))
    }

    @Test("what would be weak or ambiguous is refused, and changes nothing")
    func badInput() async throws {
        let credentials = try fixture.endpoint("credentials")
        func create(_ name: String, _ secret: Data, _ isMutual: Bool = false) async -> ManagementError? {
            await fixture.refusal {
                try await credentials.create(
                    name, ["secret": .text(secret.base64EncodedString()), "isMutual": .bool(isMutual)])
            }
        }
        #expect(await create("target:a/u", Data(count: 11))?.field == "secret")
        #expect(await create("target:a/u", Data(count: 256))?.field == "secret")
        #expect(await fixture.refusal { try await credentials.create("target:a/u", [:]) }?.field == "secret")
        for name in ["target:a/", "target:a", "a/u", "", "/u", "target:A B/u", "group:/u", "target:a/u\u{7}"] {
            #expect(await create(name, secret)?.code == .invalid, "\(name)")
        }
        #expect(await create("target:a/t", other, true)?.code == .invalid)
        #expect(await create("target:x/u", secret)?.code == .notFound)
        #expect(await create("group:x/u", secret)?.code == .notFound)
        #expect(await create("discovery/" + String(repeating: "x", count: 256), secret)?.code == .invalid)
        #expect(!FileManager.default.fileExists(atPath: path))
        #expect(try await names().isEmpty)
        let short = await create("target:a/u", Data("short".utf8))
        #expect(short?.message.contains("12 to 255 bytes") == true && short?.message.contains("c2hvcnQ") == false)
        #expect(await create("target:a/u", Data(count: 12)) == nil)
        #expect(await create("target:a/u", Data(count: 255))?.code == .conflict)
        #expect(await create("target:a/t", Data(count: 12), true)?.code == .invalid)
        #expect(await create("target:a/t", other, true) == nil)
        #expect(await create("target:a/t2", secret, true)?.code == .conflict)
        for algorithms in [["md4"], []] as [JSONValue] {
            let refusal = await fixture.refusal {
                try await credentials.perform("allow", nil, ["place": "target:a", "algorithms": algorithms])
            }
            #expect(refusal?.code == .invalid)
        }
    }

    @Test("users are added, replaced and deleted; groups go before targets; algorithms are kept")
    func users() async throws {
        try await set()
        let endpoint = try fixture.endpoint("credentials")
        _ = try await endpoint.perform("allow", nil, ["place": "target:a", "algorithms": ["sha3-256", "sha-256"]])
        try await set("target:a/v", secret: other)
        #expect(try await names() == ["target:a/u", "target:a/v"])
        #expect(try await controller.credential("target:a/v").spec.algorithms == ["sha-256", "sha3-256"])
        try await set(secret: other)
        #expect(try credentials()?.initiators.allSatisfy { $0.secret == Array(other) } == true)
        _ = try await controller.createInitiatorGroup("g", InitiatorGroup.Spec(names: ["*"]))
        _ = try await controller.map(target: "a", ISCSITarget.Map.Arguments(group: "g"))
        let plan = try #require(devices.plan?.targets.first)
        #expect(plan.groups.first?.credentials?.initiators.count == 2)
        try await set("group:g/w")
        #expect(devices.plan?.targets.first?.groups.first?.credentials?.initiators.map(\.name) == ["w"])
        try await set("discovery/d")
        #expect(devices.plan?.discoveryCredentials?.initiators.map(\.name) == ["d"])
        #expect(try await names() == ["discovery/d", "group:g/w", "target:a/u", "target:a/v"])
        #expect(try await endpoint.list(Page(whole: "target:iqn.2026-11.dev.carousel:a")).items.count == 2)
        #expect(await code { try await endpoint.delete("target:a/x") } == .notFound)
        try await endpoint.delete("target:a/u")
        try await set("target:a/t", isMutual: true)
        #expect(await code { try await endpoint.delete("target:a/v") } == .conflict)
        try await endpoint.delete("target:a/t")
        try await endpoint.delete("target:iqn.2026-11.dev.carousel:a/v")
        #expect(try credentials() == .unknown)
        #expect(try await controller.target("a").spec.authentication == .chap)
        #expect(try await names() == ["discovery/d", "group:g/w"])
        #expect(try await controller.status().warnings.map { $0.contains("target 'a'") } == [true])
        #expect(await code { try await endpoint.perform("waive", nil, ["place": "target:a"]) } == .conflict)
        _ = try await endpoint.perform("waive", nil, ["place": "target:a", "open": true])
        #expect(try credentials() == nil)
        #expect(try await controller.status().warnings.isEmpty)
        #expect(await code { try await endpoint.perform("waive", nil, ["place": "target:a"]) } == .notFound)
        _ = try await controller.unmap(target: "a", ISCSITarget.Unmap.Arguments(group: "g"))
        try await controller.deleteInitiatorGroup("g")
        #expect(try await names() == ["discovery/d"])
    }

    @Test("a slash in the name of a target does not end the place")
    func slashes() async throws {
        _ = try await controller.createTarget("iqn.2001-04.com.example:x/y")
        try await set("target:iqn.2001-04.com.example:x%2Fy/u/v")
        #expect(try await names() == ["target:iqn.2001-04.com.example:x%2Fy/u/v"])
        #expect(
            devices.plan?.targets.first { $0.name.hasSuffix("x/y") }?.credentials?.initiators.map(\.name) == ["u/v"])
    }

    /// The next daemon on the folder, after `change` of it.
    func restart(_ change: () throws -> Void) async throws -> (Controller, FakeDevices) {
        await controller.shutDown()
        controller.folder.release()
        try change()
        let (next, devices) = try ControllerFixture.make(fixture.path)
        try await next.start()
        return (next, devices)
    }

    @Test("where a proof is required nobody gets in without secrets, whatever becomes of their file")
    func lostFile() async throws {
        _ = try await controller.createInitiatorGroup(
            "g", InitiatorGroup.Spec(names: ["*"]))
        for place in ["target:a", "group:g", "discovery"] { try await set(place + "/u") }
        let (next, devices) = try await restart { try FileManager.default.removeItem(atPath: path) }
        let plan = try #require(devices.plan)
        #expect(plan.targets.map(\.credentials) == [.unknown] && plan.discoveryCredentials == .unknown)
        #expect(try await names(next).isEmpty)
        let warnings = try await next.status().warnings
        #expect(warnings.count == 1 && warnings.first?.contains("target 'a'") == true)
        _ = try await next.map(target: "a", ISCSITarget.Map.Arguments(group: "g"))
        #expect(devices.plan?.targets.first?.groups.map(\.credentials) == [.unknown])
    }

    @Test("the catalog learns of secrets that are older than its memory of them")
    func upgrade() async throws {
        try await set()
        try await set("discovery/u")
        let (next, _) = try await restart {
            let raw = try DatabaseQueue(path: fixture.path + "/catalog.sqlite")
            try raw.write {
                try $0.execute(
                    sql: "UPDATE target SET requiresAuthentication = 0; UPDATE discovery SET requiresAuthentication = 0"
                )
            }
            try raw.close()
        }
        await next.shutDown()
        next.folder.release()
        try FileManager.default.removeItem(atPath: path)
        let (last, devices) = try ControllerFixture.make(fixture.path)
        try await last.start()
        #expect(devices.plan?.targets.first?.credentials == .unknown)
        #expect(devices.plan?.discoveryCredentials == .unknown)
    }

    @Test("a file that others may read, or that is none of ours, stops the start")
    func startRefused() async throws {
        try await set()
        await controller.shutDown()
        controller.folder.release()
        func refusal() -> ManagementError? {
            do {
                controller.folder.release()
                _ = try ControllerFixture.make(fixture.path)
                return nil
            } catch {
                return error as? ManagementError
            }
        }
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        let readable = try #require(refusal())
        #expect(readable.code == .damaged && readable.message.contains("chmod 600 \(path)"))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        try FileManager.default.moveItem(atPath: path, toPath: path + ".kept")
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path + ".kept")
        #expect(refusal()?.message.contains("regular file") == true)
        try FileManager.default.removeItem(atPath: path)
        try Data("{}".utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        let broken = try #require(refusal())
        #expect(broken.code == .damaged && broken.message.contains("put the file back from a copy, or move it away"))
    }

    @Test("a change that cannot be written is refused, and the old secrets count on")
    func failingWrite() async throws {
        try await set()
        // Nothing can take the place of a folder that is not empty.
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path + "/x", withIntermediateDirectories: true)
        #expect(await code { try await set("target:a/v") } == .system)
        #expect(try await names() == ["target:a/u"])
        #expect(!FileManager.default.fileExists(atPath: path + ".new"))
    }

    @Test("what another change puts into force while a refused one is taken back does not stay there")
    func refusedBesideOthers() async throws {
        let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let writes = Lock(0)
        let refuses = Lock(false)
        let known = Lock<Controller?>(nil)
        let (controller, devices) = try ControllerFixture.make(path) { effect throws(ManagementError) in
            guard refuses.withLock({ $0 }) else { return }
            if effect.hasSuffix("catalog.sqlite") { throw ManagementError(.system, "no space") }
            guard effect.hasSuffix("chap.json.new") else { return }
            let count = writes.withLock { writes in
                writes += 1
                return writes
            }
            // Each write has three effects; the former ones are being written.
            if count == 5 { try known.withLock({ $0 })?.plane.configureFrontEnd() }
        }
        try await controller.start()
        try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
        known.withLock { $0 = controller }
        func create(_ user: String) async throws {
            try await controller.createCredential("target:a/\(user)", Credential.Spec(secret: Secret(Array(secret))))
        }
        try await create("u")
        refuses.withLock { $0 = true }
        let refusal = await fixture.refusal { try await create("v") }
        refuses.withLock { $0 = false }
        #expect(refusal != nil)
        #expect(writes.withLock { $0 } == 6, "\(refusal?.message ?? "")")
        let credentials = devices.plan?.targets.first { $0.name == DeviceName.targetName("a") }?.credentials
        #expect(String(describing: credentials).contains("\"u\"") && !String(describing: credentials).contains("\"v\""))
        known.withLock { $0 = nil }
        await controller.shutDown()
        controller.folder.release()
    }

    @Test("another secret is set, and a credential deleted, in the generation that was looked at")
    func generations() async throws {
        try await set()
        try await set("target:a/v", secret: other)
        let endpoint = try fixture.endpoint("credentials")
        func generation(_ name: String) async throws -> Int64 {
            try #require(try await endpoint.show(name)["generation"].flatMap(Int64.from))
        }
        let first = try await generation("target:a/u")
        let spec: [String: JSONValue] = ["secret": .text(Data("herring-herring".utf8).base64EncodedString())]
        _ = try await endpoint.changing("target:a/u", spec, RequestOptions(generations: [first]))
        #expect(try credentials()?.initiators.last?.secret == Array("herring-herring".utf8))
        let late = await fixture.refusal {
            try await endpoint.changing("target:a/u", spec, RequestOptions(generations: [first]))
        }
        #expect(late?.code == .outdated)
        #expect(
            await fixture.refusal {
                try await endpoint.deleting("target:a/u", RequestOptions(generations: [first]))
            }?.code == .outdated)
        let options = RequestOptions(generations: [try await generation("target:a/u")])
        _ = try await endpoint.deleting("target:a/u", options)
        #expect(try await names() == ["target:a/v"])
    }
}

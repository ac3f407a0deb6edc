import Foundation
import GRDB
import ISCSI
import ManagementTestSupport
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

    func set(
        _ place: CHAPPlace = CHAPPlace(target: "a"), user: String? = "u", secret: Data? = nil,
        mutual: CHAPSecret? = nil,
        algorithms: [String]? = nil
    ) async throws -> CHAPSummary {
        try await controller.setCredentials(
            CHAPSetting(
                place: place, initiator: user.map { CHAPSecret(name: $0, secret: secret ?? self.secret) },
                target: mutual, algorithms: algorithms))
    }

    func code(_ operation: () async throws -> some Sendable) async -> ManagementError.Code? {
        await fixture.refusal(operation)?.code
    }

    func credentials() throws -> CredentialSet? {
        try #require(devices.plan?.targets.first { $0.alias == "a" }).credentials
    }

    @Test("a secret is in a file of its own for its owner only, in the plan, and nowhere else")
    func whereItIs() async throws {
        let summary = try await set(mutual: CHAPSecret(name: "t", secret: other))
        #expect(summary.users == ["u"] && summary.mutualUser == "t")
        #expect(summary.algorithms == ["md5", "sha1", "sha-256", "sha3-256"])
        #expect(try await controller.target("a").hasCHAP)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(!FileManager.default.fileExists(atPath: path + ".new"))
        let wanted = CHAPCredential(name: "u", secret: Array(secret))
        #expect(try credentials()?.initiators == [wanted])
        #expect(try credentials()?.target?.secret == Array(other))
        let answers = [
            String(decoding: try APICoding.encode(try await controller.credentials()), as: UTF8.self),
            String(decoding: try APICoding.encode(try await controller.targets()), as: UTF8.self),
            String(decoding: try APICoding.encode(summary), as: UTF8.self),
        ]
        let catalog = String(
            decoding: try Data(contentsOf: URL(fileURLWithPath: fixture.path + "/catalog.sqlite")), as: UTF8.self)
        for text in answers + [catalog] {
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
        #expect(await code { try await set(secret: Data(count: 11)) } == .invalid)
        #expect(await code { try await set(secret: Data(count: 256)) } == .invalid)
        #expect(await code { try await set(user: "") } == .invalid)
        #expect(await code { try await set(user: nil, mutual: CHAPSecret(name: "t", secret: other)) } == .invalid)
        #expect(await code { try await set(mutual: CHAPSecret(name: "t", secret: secret)) } == .invalid)
        #expect(await code { try await set(algorithms: ["md4"]) } == .invalid)
        #expect(await code { try await set(algorithms: []) } == .invalid)
        #expect(await code { try await set(CHAPPlace()) } == .invalid)
        #expect(await code { try await set(CHAPPlace(target: "a", isDiscovery: true)) } == .invalid)
        #expect(await code { try await set(CHAPPlace(target: "x")) } == .notFound)
        #expect(await code { try await set(CHAPPlace(group: "x")) } == .notFound)
        #expect(!FileManager.default.fileExists(atPath: path))
        #expect(try await controller.credentials().isEmpty)
        let short = await fixture.refusal { try await set(secret: Data("short".utf8)) }
        #expect(short?.message.contains("12 bytes") == true && short?.message.contains("short\"") == false)
        _ = try await set(secret: Data(count: 12))
        _ = try await set(secret: Data(count: 255))
    }

    @Test("users are added, replaced and cleared; groups go before targets; algorithms are kept")
    func users() async throws {
        _ = try await set(algorithms: ["sha3-256", "sha-256"])
        let two = try await set(user: "v", secret: other)
        #expect(two.users == ["u", "v"] && two.algorithms == ["sha-256", "sha3-256"])
        _ = try await set(secret: other)
        #expect(try credentials()?.initiators.allSatisfy { $0.secret == Array(other) } == true)
        _ = try await controller.createInitiatorGroup(
            InitiatorGroupCreation(name: "g", names: ["*"], addresses: [], rank: nil))
        _ = try await controller.map(target: "a", TargetMapping(group: "g", logicalUnits: [:]))
        let plan = try #require(devices.plan?.targets.first)
        #expect(plan.groups.first?.credentials?.initiators.count == 2)
        _ = try await set(CHAPPlace(group: "g"), user: "w")
        #expect(devices.plan?.targets.first?.groups.first?.credentials?.initiators.map(\.name) == ["w"])
        _ = try await set(CHAPPlace(isDiscovery: true), user: "d")
        #expect(devices.plan?.discoveryCredentials?.initiators.map(\.name) == ["d"])
        #expect(try await controller.credentials().map(\.users) == [["d"], ["w"], ["u", "v"]])
        let place = CHAPPlace(target: "a")
        #expect(
            await code { try await controller.clearCredentials(CHAPClearing(place: place, user: "x")) } == .notFound)
        try await controller.clearCredentials(CHAPClearing(place: place, user: "u"))
        #expect(
            await code { try await controller.clearCredentials(CHAPClearing(place: place, user: "v")) } == .conflict)
        try await controller.clearCredentials(CHAPClearing(place: place, user: nil))
        #expect(try credentials() == .unknown)
        #expect(try await controller.target("a").hasCHAP)
        #expect(try await controller.credentials().map(\.users) == [["d"], ["w"], []])
        #expect(try await controller.status().warnings.map { $0.contains("target 'a'") } == [true])
        #expect(
            await code { try await controller.clearCredentials(CHAPClearing(place: place, user: nil)) } == .notFound)
        let notRequired = CHAPClearing(place: place, user: nil, isNotRequired: true)
        #expect(
            await code {
                try await controller.clearCredentials(
                    CHAPClearing(place: CHAPPlace(group: "g"), user: "w", isNotRequired: true))
            } == .invalid)
        try await controller.clearCredentials(notRequired)
        #expect(try credentials() == nil)
        #expect(try await controller.status().warnings.isEmpty)
        #expect(await code { try await controller.clearCredentials(notRequired) } == .notFound)
        _ = try await controller.unmap(target: "a", TargetUnmapping(group: "g", numbers: []))
        try await controller.deleteInitiatorGroup("g")
        #expect(try await controller.credentials().map(\.users) == [["d"]])
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
            InitiatorGroupCreation(name: "g", names: ["*"], addresses: [], rank: nil))
        for place in [CHAPPlace(target: "a"), CHAPPlace(group: "g"), CHAPPlace(isDiscovery: true)] {
            _ = try await set(place)
        }
        let (next, devices) = try await restart { try FileManager.default.removeItem(atPath: path) }
        let plan = try #require(devices.plan)
        #expect(plan.targets.map(\.credentials) == [.unknown] && plan.discoveryCredentials == .unknown)
        #expect(try await next.credentials().map(\.users) == [[], [], []])
        let warnings = try await next.status().warnings
        #expect(warnings.count == 1 && warnings.first?.contains("target 'a'") == true)
        _ = try await next.map(target: "a", TargetMapping(group: "g", logicalUnits: [:]))
        #expect(devices.plan?.targets.first?.groups.map(\.credentials) == [.unknown])
    }

    @Test("the catalog learns of secrets that are older than its memory of them")
    func upgrade() async throws {
        _ = try await set()
        _ = try await set(CHAPPlace(isDiscovery: true))
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
        _ = try await set()
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
        _ = try await set()
        // Nothing can take the place of a folder that is not empty.
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path + "/x", withIntermediateDirectories: true)
        #expect(await code { try await set(user: "v") } == .system)
        #expect(try await controller.credentials().map(\.users) == [["u"]])
        #expect(!FileManager.default.fileExists(atPath: path + ".new"))
    }
}

import Foundation
import ISCSI
import Logging
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("Tokens")
struct TokenTests {
    let fixture: ControllerFixture
    var path: String { fixture.path + "/tokens.json" }

    init() throws { fixture = try ControllerFixture() }

    func make(_ name: String, _ role: Role = .viewer, lifetime: Int? = nil) async throws -> String {
        let token = try await fixture.controller.createToken(name, Token.Spec(role: role, lifetime: lifetime))
        return try #require(token.status.token)
    }

    @Test("a token is good until it is deleted, and kept nowhere")
    func life() async throws {
        let text = try await make("a", .operator)
        #expect(text.hasPrefix("carousel_") && text.utf8.count == 9 + 43)
        let other = try await make("b")
        #expect(other != text)
        #expect(try fixture.controller.holder(ofToken: text) == TokenHolder(name: "a", role: .operator))
        #expect(try fixture.controller.holder(ofToken: other) == TokenHolder(name: "b", role: .viewer))
        let tokens = try await fixture.controller.tokens()
        #expect(tokens.map(\.name) == ["a", "b"] && tokens.allSatisfy { $0.status.token == nil })
        #expect(tokens.allSatisfy { $0.status.lastUsed != nil })
        let file = try String(contentsOfFile: path, encoding: .utf8)
        #expect(!file.contains(text) && !file.contains(text.dropFirst(9)))
        let events = try await fixture.controller.events(kind: "token")
        #expect(events.map { "\($0.verb) \($0.name)" } == ["token created a", "token created b"])
        #expect(!"\(events)".contains(text.dropFirst(9)))
        try await fixture.controller.deleteToken("a")
        let refusal = #expect(throws: ManagementError.self) { try fixture.controller.holder(ofToken: text) }
        #expect(refusal?.code == .unauthenticated)
        #expect(try fixture.controller.holder(ofToken: other).name == "b")
        #expect(await fixture.refusal { try await fixture.controller.deleteToken("a") }?.code == .notFound)
        #expect(await fixture.refusal { try await make("b") }?.code == .conflict)
    }

    @Test("the file is its owner's, and what it says outlives the daemon")
    func file() async throws {
        let text = try await make("a", .admin, lifetime: 3600)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let store = TokenStore(fixture.controller.folder)
        #expect(try store.holder(of: text, at: Date()).role == .admin)
        #expect(store.tokens.map(\.lastUsed).count == 1)
    }

    @Test("where no event can be recorded nothing is given, and everything can be taken away")
    func withoutEvents() async throws {
        let controller = fixture.controller
        try await controller.start()
        let text = try await make("a", .admin)
        try await controller.createDisk("d", Disk.Spec(size: 4096))
        let secret = Secret(Array("swordfish-fish".utf8))
        for user in ["u", "v"] {
            try await controller.createCredential("target:d/\(user)", Credential.Spec(secret: secret))
        }
        func allow(_ algorithms: [String]) async throws -> [String] {
            try await controller.allow(Credential.Allow.Arguments(place: "target:d", algorithms: algorithms))
        }
        _ = try await allow(["sha-256", "sha1"])
        // The catalog is not in its place any more: nothing can be recorded.
        try FileManager.default.moveItem(
            atPath: fixture.path + "/catalog.sqlite", toPath: fixture.path + "/catalog.moved")
        let refusal = await fixture.refusal { try await make("b", .admin) }
        #expect(refusal?.code == .damaged)
        #expect(try await controller.tokens().map(\.name) == ["a"])
        #expect(TokenStore(controller.folder).tokens.map(\.entry.name) == ["a"])
        #expect(await fixture.refusal { try await allow(["sha-256", "md5"]) }?.code == .damaged)
        #expect(try await controller.credential("target:d/u").spec.algorithms == ["sha1", "sha-256"])
        #expect(try await allow(["sha-256"]) == ["sha-256"])
        try await controller.deleteToken("a")
        #expect(throws: ManagementError.self) { try controller.holder(ofToken: text) }
        for user in ["u", "v"] { try await controller.deleteCredential("target:d/\(user)") }
        #expect(try await controller.credentials().isEmpty)
        #expect(fixture.devices.plan?.targets.first?.credentials == .unknown)
        try FileManager.default.moveItem(
            atPath: fixture.path + "/catalog.moved", toPath: fixture.path + "/catalog.sqlite")
    }

    @Test("a token expires")
    func expiry() async throws {
        let text = try await make("a", lifetime: 60)
        let expires = try #require(try await fixture.controller.token("a").status.expires)
        let store = TokenStore(fixture.controller.folder)
        #expect(try store.holder(of: text, at: expires.addingTimeInterval(-1)).name == "a")
        for late in [0, 1, 1_000_000] {
            let refusal = #expect(throws: ManagementError.self) {
                try store.holder(of: text, at: expires.addingTimeInterval(TimeInterval(late)))
            }
            #expect(refusal?.code == .unauthenticated && refusal?.message.contains("expired") == true)
        }
        #expect(try await make("b").isEmpty == false)
        #expect(try await fixture.controller.token("b").status.expires == nil)
        let endpoint = try fixture.endpoint("tokens")
        for lifetime in [59, 0, -1, 3_155_760_001] as [Int64] {
            let refusal = await fixture.refusal {
                try await endpoint.create("c", ["role": "viewer", "lifetime": .integer(lifetime)])
            }
            #expect(refusal?.code == .invalid, "\(lifetime)")
        }
        #expect(await fixture.refusal { try await endpoint.create("c", [:]) }?.field == "role")
        #expect(await fixture.refusal { try await endpoint.create("c", ["role": "root"]) }?.code == .invalid)
    }

    @Test("what is in the place of the file opens nothing, and is told of; nothing is lost by new tokens")
    func damage() async throws {
        let text = try await make("a")
        let good = try Data(contentsOf: URL(filePath: path))
        let damages: [(String) throws -> Void] = [
            { try Data("{".utf8).write(to: URL(filePath: $0)) },
            { try Data(#"{"version": 2, "tokens": []}"#.utf8).write(to: URL(filePath: $0)) },
            { try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: $0) },
            {
                try FileManager.default.removeItem(atPath: $0)
                try FileManager.default.createSymbolicLink(atPath: $0, withDestinationPath: $0 + ".other")
                try good.write(to: URL(filePath: $0 + ".other"))
            },
        ]
        for damage in damages {
            try damage(path)
            await fixture.controller.reload()
            let refusal = #expect(throws: ManagementError.self) { try fixture.controller.holder(ofToken: text) }
            #expect(refusal?.code == .unauthenticated)
            #expect(try await fixture.controller.status().problems.contains { $0.contains(path) })
            #expect(await fixture.refusal { try await make("b") }?.code == .damaged)
            try FileManager.default.removeItem(atPath: path)
            try good.write(to: URL(filePath: path))
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
            await fixture.controller.reload()
            #expect(try fixture.controller.holder(ofToken: text).name == "a")
            #expect(try await fixture.controller.status().problems.isEmpty)
        }
        // Whoever takes the file away takes the tokens away.
        try FileManager.default.removeItem(atPath: path)
        await fixture.controller.reload()
        #expect(throws: ManagementError.self) { try fixture.controller.holder(ofToken: text) }
    }

    @Test("a token that cannot be written is not there")
    func refusedWrite() async throws {
        let isFull = Lock(false)
        let fixture = try ControllerFixture { path throws(ManagementError) in
            if isFull.withLock({ $0 }), path.hasSuffix("tokens.json") { throw ManagementError(.system, "full") }
        }
        let kept = try await fixture.controller.createToken("a", Token.Spec(role: .viewer)).status.token
        isFull.withLock { $0 = true }
        let spec = Token.Spec(role: .admin)
        #expect(await fixture.refusal { try await fixture.controller.createToken("b", spec) }?.code == .system)
        #expect(await fixture.refusal { try await fixture.controller.deleteToken("a") }?.code == .system)
        #expect(try await fixture.controller.tokens().map(\.name) == ["a"])
        #expect(try fixture.controller.holder(ofToken: kept ?? "").name == "a")
    }

    @Test("there is a limit")
    func limit() async throws {
        let store = TokenStore(fixture.controller.folder)
        let now = Date()
        // As a file: a thousand changes would wait for the storage device a thousand times.
        let entries = (0..<TokenStore.maximumCount).map { index in
            #"{"name":"t\#(index)","role":"viewer","digest":"AAAA","created":"2026-01-01T00:00:00Z"}"#
        }
        let content = #"{"version":1,"tokens":[\#(entries.joined(separator: ","))]}"#
        try fixture.controller.folder.replaceFile(path, with: Array(content.utf8))
        store.reload()
        #expect(store.tokens.count == TokenStore.maximumCount)
        let refusal = #expect(throws: ManagementError.self) {
            try store.create("one-more", .viewer, created: now, expires: nil)
        }
        #expect(refusal?.code == .conflict)
        try store.delete("t7")
        let text = try store.create("one-more", .viewer, created: now, expires: nil)
        #expect(try store.holder(of: text, at: now).name == "one-more")
    }

    @Test("without random numbers or digests no token is made or good")
    func noCryptography() throws {
        let broken = CHAPProvider(
            algorithms: [], digest: { _, _ throws(CHAPProviderFailure) in throw CHAPProviderFailure() },
            random: { _ throws(CHAPProviderFailure) in throw CHAPProviderFailure() }, areEqual: { _, _ in true })
        let store = TokenStore(fixture.controller.folder, provider: broken)
        #expect(throws: ManagementError.self) {
            try store.create("a", .admin, created: Date(), expires: nil)
        }
        #expect(throws: ManagementError.self) { try store.holder(of: "", at: Date()) }
        #expect(store.tokens.isEmpty)
    }

    @Test("times on command lines have units")
    func times() throws {
        let rows: [(String, Int64?)] = [
            ("90d", 7_776_000), ("12h", 43_200), ("30m", 1800), ("45s", 45), ("45", 45), ("d", nil), ("", nil),
            ("1w", nil), ("1.5h", nil), ("99999999999999999d", nil), ("-1d", -86_400),
        ]
        for (text, seconds) in rows { #expect(TimeSpan.seconds(text) == seconds, "\(text)") }
    }
}

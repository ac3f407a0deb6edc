import Console
import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@Suite("Entity tags")
struct EntityTagTests {
    private struct Answer {
        let status: Int
        let headers: [String: String]
        let body: JSONValue?

        init?(_ text: String) {
            guard let end = text.range(of: "\r\n\r\n") else { return nil }
            let lines = text[..<end.lowerBound].components(separatedBy: "\r\n")
            guard let status = lines[0].split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else { return nil }
            self.status = status
            let fields = lines.dropFirst().compactMap { line -> (String, String)? in
                guard let colon = line.firstIndex(of: ":") else { return nil }
                return (line[..<colon].lowercased(), line[line.index(colon, offsetBy: 2)...].description)
            }
            headers = Dictionary(fields) { first, _ in first }
            body = JSONValue(serialized: String(text[end.upperBound...]))
        }
    }

    /// Runs `body` with a way to ask a server over fake devices, with these fields in the header of a request.
    private func serving(
        _ body: (_ ask: (String, String, [String: String], JSONValue?) async throws -> Answer) async throws -> Void
    ) async throws {
        try await withServer { _, fixture in
            try await body { method, resource, headers, body in
                let content = body?.serialized ?? ""
                let fields = headers.map { "\($0): \($1)\r\n" }.joined()
                let request =
                    "\(method) /v1/\(resource) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\(fields)"
                    + "Content-Length: \(content.utf8.count)\r\n\r\n\(content)"
                let text = try await Self.exchange(request, fixture.path + "/control.sock")
                return try #require(Answer(text), "\(text)")
            }
        }
    }

    /// What comes back for `request` until the other side closes.
    static func exchange(_ request: String, _ path: String, endsSending: Bool = false) async throws -> String {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                do {
                    let socket = try StreamSocket.connect(to: SocketAddress(path: path))
                    let handle = FileHandle(fileDescriptor: socket.fileDescriptor, closeOnDealloc: false)
                    try handle.write(contentsOf: Data(request.utf8))
                    if endsSending { shutdown(socket.fileDescriptor, Int32(SHUT_WR)) }
                    let buffer = ReceiveBuffer()
                    var answer = Data()
                    while socket.waitUntilReady(timeout: .seconds(10)), case .received = socket.receive(into: buffer) {
                        unsafe buffer.bytes.withUnsafeBytes { unsafe answer.append(contentsOf: $0) }
                        buffer.begin(with: RawSpan())
                    }
                    continuation.resume(returning: String(decoding: answer, as: UTF8.self))
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }

    @Test("things have their generation as ETag, and what does not have the expected one is not changed")
    func changes() async throws {
        try await serving { ask in
            let made = try await ask("POST", "disks", [:], ["name": "d", "spec": ["size": 4096]])
            let tag = try #require(made.headers["etag"])
            #expect(made.status == 201 && made.body?["generation"].map { "\"\($0.serialized ?? "")\"" } == tag)
            let shown = try await ask("GET", "disks/d", [:], nil)
            #expect(shown.status == 200 && shown.headers["etag"] == tag && shown.body == made.body)
            let listed = try await ask("GET", "disks", [:], nil)
            #expect(listed.headers["etag"] == nil && listed.body?["items"] == .array([made.body ?? .null]))

            let change: JSONValue = ["spec": ["description": "x"]]
            let changed = try await ask("PATCH", "disks/d", ["If-Match": "\"0\", \(tag)"], change)
            #expect(changed.status == 200)
            let next = try #require(changed.headers["etag"])
            #expect(next != tag)
            for wrong in [tag, "W/\(next)", "\"x\"", "\"0\",\"1000000\""] {
                for (method, path, body) in [
                    ("PATCH", "disks/d", ["spec": ["description": "y"]] as JSONValue?), ("DELETE", "disks/d", nil),
                    ("POST", "disks/d/actions/acknowledge-loss", nil),
                ] {
                    let refused = try await ask(method, path, ["If-Match": wrong], body)
                    #expect(refused.status == 412, "\(method) \(wrong)")
                    #expect(refused.body?["code"] == "outdated")
                    #expect(refused.body?["generation"].map { "\"\($0.serialized ?? "")\"" } == next)
                }
            }
            #expect(try await ask("GET", "disks/d", [:], nil).body == changed.body)
            #expect(try await ask("PATCH", "disks/d", ["If-Match": "*"], change).headers["etag"] == next)
            #expect(try await ask("DELETE", "disks/d", ["If-Match": next], nil).status == 204)
            #expect(try await ask("DELETE", "disks/d", ["If-Match": next], nil).status == 404)
        }
    }

    @Test("who has a thing already is told so")
    func reading() async throws {
        try await serving { ask in
            let tag = try #require(
                try await ask("POST", "disks", [:], ["name": "d", "spec": ["size": 4096]]).headers["etag"])
            for known in [tag, "W/\(tag)", "\"0\" , \(tag)", "*"] {
                let answer = try await ask("GET", "disks/d", ["If-None-Match": known], nil)
                #expect(answer.status == 304 && answer.headers["etag"] == tag && answer.body == nil, "\(known)")
            }
            #expect(try await ask("GET", "disks/d", ["If-None-Match": "\"0\""], nil).status == 200)
            #expect(try await ask("GET", "disks/x", ["If-None-Match": "*"], nil).status == 404)
            for (method, field) in [("GET", "If-None-Match"), ("DELETE", "If-Match")] {
                for garbage in ["1", "\"", "W/1", "\"1\" x"] {
                    let answer = try await ask(method, "disks/d", [field: garbage], nil)
                    #expect(answer.status == 400 && answer.body?["code"] == "invalid", "\(garbage)")
                }
            }
        }
    }

    @Test("OpenAPI tells of the tags where there are generations")
    func openAPI() async throws {
        try await serving { ask in
            let document = try #require(try await ask("GET", "openapi.json", [:], nil).body)
            func names(_ path: String, _ method: String) -> [String] {
                document["paths"]?[path]?[method]?["parameters"]?.elements?.compactMap { $0["name"]?.text } ?? []
            }
            #expect(names("/v1/disks/{name}", "patch").contains("If-Match"))
            #expect(names("/v1/disks/{name}", "delete").contains("If-Match"))
            #expect(names("/v1/disks/{name}", "get").contains("If-None-Match"))
            #expect(names("/v1/libraries/{name}/actions/move", "post").contains("If-Match"))
            #expect(!names("/v1/sessions/{name}/actions/close", "post").contains("If-Match"))
            let responses = document["paths"]?["/v1/disks/{name}"]?["patch"]?["responses"]
            #expect(responses?["412"] != nil && responses?["200"]?["headers"]?["ETag"] != nil)
            let schemas = document["components"]?["schemas"]
            #expect(schemas?["Disk"]?["properties"]?["generation"] != nil)
            #expect(schemas?["Session"]?["properties"]?["generation"] == nil)
        }
    }
}

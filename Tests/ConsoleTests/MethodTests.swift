import Console
import Foundation
import Management
import ManagementTestSupport
import Resources
import Testing

@Suite("Methods and bodies of requests")
struct MethodTests {
    /// Runs `body` with a way to send requests to a server over fake devices: head and body of the answer.
    private func serving(
        _ body: (_ ask: (String, String, String) async throws -> (head: [String], body: String)) async throws -> Void
    ) async throws {
        try await withServer { _, fixture in
            try await body { method, path, content in
                let text = try await EntityTagTests.exchange(
                    "\(method) \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                        + "Content-Length: \(content.utf8.count)\r\n\r\n\(content)", fixture.path + "/control.sock")
                let end = try #require(text.range(of: "\r\n\r\n"), "\(text)")
                return (
                    text[..<end.lowerBound].components(separatedBy: "\r\n").map { $0.lowercased() },
                    String(text[end.upperBound...])
                )
            }
        }
    }

    @Test(
        "a body that is announced as too long is refused at once, and the connection closed (RFC 9110 section 15.5.14)"
    )
    func announcedBodies() async throws {
        try await withServer { _, fixture in
            for (path, length) in [
                ("/v1/disks", "65537"), ("/v1/disks", "9223372036854775807"), ("/v1/configuration/apply", "16777217"),
            ] {
                let start = ContinuousClock.now
                // It never comes, and the client does not ask for the end of the connection.
                let answer = try await EntityTagTests.exchange(
                    "POST \(path) HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: \(length)\r\n\r\n",
                    fixture.path + "/control.sock")
                let isAsked = answer.hasPrefix("HTTP/1.1 100 Continue\r\n\r\n")
                #expect(isAsked == (length == "65537"), "\(answer)")
                #expect(answer.contains("HTTP/1.1 413 "), "\(answer)")
                #expect(answer.lowercased().contains("\r\nconnection: close\r\n"), "\(answer)")
                #expect(answer.contains("the body has more than"), "\(answer)")
                #expect(ContinuousClock.now - start < .seconds(8))
            }
        }
    }

    @Test("nothing is made of what comes behind the last answer of a connection (RFC 9112 section 9.6)")
    func behindLastAnswer() async throws {
        try await withServer { client, fixture in
            try await fixture.controller.createDisk("a", Disk.Spec(size: 4096))
            let body = String(repeating: " ", count: 65_537)
            // All of it may be there before the first answer is written, or not: so again and again, in several ways.
            for round in 0..<12 {
                let first = round % 2 == 0 ? "" : "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
                let last =
                    round % 3 == 0
                    ? "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                    : "POST /v1/disks HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                let answer = try await EntityTagTests.exchange(
                    first + last + "DELETE /v1/disks/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                    fixture.path + "/control.sock")
                let statuses = answer.components(separatedBy: "HTTP/1.1 ").dropFirst().map { $0.prefix(3) }
                #expect(statuses.count == (first.isEmpty ? 1 : 2), "\(answer)")
                // Who says that nothing follows, and sends something, has made a mistake.
                #expect((round % 3 == 0 ? ["200", "400"] : ["413"]).contains(statuses.last), "\(answer)")
                // Whatever was made of it is done when another request is answered.
                _ = try await fixture.controller.disk("a")
                #expect(try await fixture.controller.disks().map(\.name) == ["a"])
            }
        }
    }

    @Test("requests that come before the answers to those in front of them are answered in order, with their bodies")
    func pipeline() async throws {
        try await withServer { _, fixture in
            var requests = ""
            for name in ["a", "b", "c"] {
                let body = #"{"name": "\#(name)", "spec": {"size": 4096}}"#
                requests +=
                    "POST /v1/disks HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                    + "GET /v1/disks/\(name) HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            let answer = try await EntityTagTests.exchange(
                requests + "DELETE /v1/disks/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                fixture.path + "/control.sock")
            let statuses = answer.components(separatedBy: "HTTP/1.1 ").dropFirst().map { $0.prefix(3) }
            #expect(statuses == ["201", "200", "201", "200", "201", "200", "204"], "\(answer)")
            #expect(try await fixture.controller.disks().map(\.name) == ["a", "c"])
        }
    }

    @Test("requests that came before their client ended sending are answered all the same")
    func endOfSending() async throws {
        try await withServer { _, fixture in
            for _ in 0..<5 {
                let requests = String(repeating: "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", count: 3)
                let answer = try await EntityTagTests.exchange(
                    requests, fixture.path + "/control.sock", endsSending: true)
                #expect(answer.components(separatedBy: "HTTP/1.1 200 ").count == 4, "\(answer)")
            }
        }
    }

    @Test("a body that is no object is told as that, without a field; a request's fields are all named")
    func fieldsOfBodies() async throws {
        try await serving { ask in
            for path in ["/v1/disks", "/v1/check", "/v1/configuration/compare"] {
                let answer = try await ask("POST", path, "[]")
                #expect(answer.head[0].contains(" 400 "), "\(answer)")
                #expect(answer.body.contains("the body is a list where an object is expected"), "\(answer)")
                #expect(!answer.body.contains("\"field\""), "\(answer)")
            }
            let answer = try await ask("POST", "/v1/configuration/compare", #"{"configuration": {}, "prune": true}"#)
            #expect(answer.body.contains("it has configuration, prunes, mayWiden, deletableMedia"), "\(answer)")
        }
    }

    @Test("who waits for leave to send a body gets it, and then the answer (RFC 9110 section 10.1.1)")
    func expectation() async throws {
        try await withServer { _, fixture in
            let content = #"{"name": "a", "spec": {"size": 4096}}"#
            let answer = try await EntityTagTests.exchange(
                "POST /v1/disks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
                    + "Content-Length: \(content.utf8.count)\r\n\r\n\(content)", fixture.path + "/control.sock")
            #expect(answer.hasPrefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 "), "\(answer)")
        }
    }

    @Test("HEAD tells of what GET shows, and shows nothing (RFC 9110 section 9.3.2)")
    func head() async throws {
        try await serving { ask in
            _ = try await ask("POST", "/v1/disks", #"{"name": "a", "spec": {"size": 4096}}"#)
            for path in [
                "/v1/status", "/v1/disks", "/v1/disks/a", "/v1/openapi.json", "/v1/configuration", "/metrics",
                "/v1/profiles", "/v1/disks/none", "/v1/none", "/none",
            ] {
                let shown = try await ask("GET", path, "")
                let told = try await ask("HEAD", path, "")
                #expect(told.body.isEmpty && told.head[0] == shown.head[0], "\(path)")
                #expect(!shown.body.isEmpty && told.head.contains { $0.hasPrefix("content-length: ") }, "\(path)")
                for field in ["content-type", "etag"] {
                    func named(_ lines: [String]) -> [String] { lines.filter { $0.hasPrefix(field + ":") } }
                    #expect(named(told.head) == named(shown.head), "\(path)")
                }
            }
        }
    }

    @Test("a method that a path does not have is refused with those that it has (RFC 9110 section 15.5.6)")
    func wrongMethods() async throws {
        try await serving { ask in
            for (path, allowed) in [
                ("/v1/status", "get, head"), ("/v1/statistics", "get, head"), ("/v1/check", "get, head, post"),
                ("/v1/profiles", "get, head, post"), ("/v1/profiles/x", "get, head"), ("/v1/backup", "post"),
                ("/v1/configuration/apply", "post"), ("/v1/libraries/x/adopt", "post"), ("/v1/adopt/disk", "post"),
                ("/v1/disks/x", "get, head, patch, delete"), ("/v1/openapi.json", "get, head"),
                ("/metrics", "get, head"), ("/v1/disks/x/actions/acknowledge-loss", "post"),
            ] {
                for method in ["PUT", "OPTIONS"] + (allowed.hasSuffix("delete") ? [] : ["PATCH", "DELETE"]) {
                    let answer = try await ask(method, path, "{}")
                    #expect(answer.head[0].contains(" 405 "), "\(method) \(path): \(answer.head[0])")
                    #expect(answer.head.contains("allow: \(allowed)"), "\(method) \(path): \(answer.head)")
                }
            }
            #expect(try await ask("PATCH", "/v1/nothing", "{}").head[0].contains(" 404 "))
        }
    }

    @Test("a body in which a name stands twice is refused, and the name told")
    func doubledNames() async throws {
        try await serving { ask in
            for (path, body, name) in [
                ("/v1/disks", #"{"name": "a", "spec": {"size": 4096, "size": 8192}}"#, "size"),
                ("/v1/disks", #"{"name": "a", "name": "b", "spec": {"size": 4096}}"#, "name"),
                ("/v1/check", #"{"names": [], "names": []}"#, "names"),
                ("/v1/targets/a/actions/unmap", #"{"units": [1], "units": [2]}"#, "units"),
            ] {
                let answer = try await ask("POST", path, body)
                #expect(answer.head[0].contains(" 400 ") && answer.body.contains("'\(name)' twice"), "\(answer)")
            }
            #expect(try await ask("GET", "/v1/disks", "").body == #"{"items":[]}"#)
        }
    }
}

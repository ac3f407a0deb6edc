import Catalog
import Foundation
import Logging
import ManagementTestSupport
import NIOCore
import NIOHTTP1
import Platform
import Resources
import Testing

@testable import Console
@testable import Management

/// What takes long, and what never ends.
extension ConsoleTests {
    private var spec: [String: JSONValue] {
        [
            "profile": "p", "drives": 1, "driveProfile": "d", "slots": 3, "mailSlots": 0, "cartridges": 3,
            "firstBarcode": "B00001L8", "cartridgeSize": 1_048_576,
        ]
    }

    /// An answer with its status and headers.
    private struct Answer: Sendable {
        var status = 0
        var headers: HTTPHeaders = [:]
        var text = ""
    }

    private func ask(
        _ client: ControlClient, _ method: HTTPMethod, _ path: String, _ body: JSONValue? = nil,
        _ headers: HTTPHeaders = [:]
    ) async throws -> Answer {
        try await send(client, method, path, try body.map { try APICoding.encode($0) } ?? Data(), headers)
    }

    private func send(
        _ client: ControlClient, _ method: HTTPMethod, _ path: String, _ body: Data, _ headers: HTTPHeaders = [:]
    ) async throws -> Answer {
        try await client.exchange(method, path, body: body, headers: headers, isStream: true) { inbound in
            var answer = Answer()
            for try await part in inbound {
                switch part {
                case .head(let head): (answer.status, answer.headers) = (Int(head.status.code), head.headers)
                case .body(let bytes): answer.text += String(buffer: bytes)
                case .end: return answer
                }
            }
            return answer
        }
    }

    @Test("what is a job is answered by the job, unless the client prefers to wait")
    func jobs() async throws {
        try await withServer { client, fixture in
            let barrier = fixture.devices.hang(atCartridge: "B00002L8")
            let body: JSONValue = ["name": "big", "spec": .object(spec)]
            let started = try await ask(client, .POST, "/v1/libraries", body)
            #expect(started.status == 202 && started.headers["location"] == ["/v1/jobs/1"])
            #expect(started.text.contains(#""work":"create library big""#))
            await barrier.waitForArrival()
            let job = try await client.show(DaemonJob.description, "1")
            #expect(job["status"]?["state"] == "running" && job["status"]?["total"] == 3)
            let deletion = try await client.startDeletion(Library.description, "big")
            #expect(deletion["status"]?["state"] == "waiting")
            _ = try await client.perform(DaemonJob.Cancel.description, DaemonJob.description, "2", [:])
            let cancelled = await refusal { try await client.finish(deletion) }
            #expect(cancelled?.code == .conflict && cancelled?.message.contains("job 2, delete library big") == true)
            let bounded = try await ask(client, .POST, "/v1/check", [:], ["prefer": "respond-async, wait=1000"])
            #expect(bounded.status == 200 && bounded.text.contains(#""isRunning":false"#))
            let impatient = try await ask(
                client, .POST, "/v1/libraries", ["name": "other", "spec": .object(spec)], ["prefer": "wait=0"])
            #expect(impatient.status == 202 && impatient.headers["preference-applied"].isEmpty)
            barrier.open()
            _ = try await client.finish(job)
            #expect(try await client.show(Library.description, "big")["name"] == "big")
            let deleted = try await ask(client, .DELETE, "/v1/libraries/big", nil, ["prefer": "wait"])
            #expect(deleted.status == 204 && deleted.headers["preference-applied"] == ["wait"])
            #expect(await refusal { try await client.show(Library.description, "big") }?.code == .notFound)
            #expect(try await ask(client, .POST, "/v1/libraries?wait=1", body).status == 400)
        }
    }

    @Test("a check is a job; its findings stay readable")
    func check() async throws {
        try await withServer { client, fixture in
            try await fixture.makeLibrary()
            let job: JSONValue = try await client.post("check", CheckRequest(names: ["vtl"]).json)
            #expect(job["status"]?["work"] == "check media vtl")
            let ended = try await client.finish(job)
            #expect(ended["status"]?["state"] == "done" && ended["status"]?["unit"] == "bytes")
            let status: CheckStatus = try await client.get("check")
            #expect("\(status.job)" == job["name"]?.text && status.checked == 2 && !status.isRunning)
        }
    }

    @Test("a dry run says over HTTP what would be, and changes nothing")
    func dryRuns() async throws {
        try await withServer { client, fixture in
            let made = try await client.startCreation(Disk.description, "a", ["size": 4096], isDryRun: true)
            #expect(made["name"] == "a" && made["spec"]?["size"] == 4096 && made["spec"]?["blockSize"] == 512)
            #expect(made["status"] == nil)
            #expect(try await client.list(Disk.description).isEmpty)
            let disk = try await client.create(Disk.description, "a", ["size": 4096])
            let changed = try await client.change(Disk.description, "a", ["size": 8192], isDryRun: true)
            #expect(changed["spec"]?["size"] == 8192)
            #expect(try await client.startDeletion(Disk.description, "a", isDryRun: true) == disk)
            #expect(try await client.show(Disk.description, "a") == disk)
            let refused = await refusal {
                try await client.startCreation(Disk.description, "a", ["size": 4096], isDryRun: true)
            }
            #expect(refused?.code == .conflict)
            // What offers no dry run refuses it, and does nothing.
            for path in ["/v1/targets/a/actions/access", "/v1/adopt/disk", "/v1/check"] {
                let answer = try await ask(client, .POST, path + "?dryRun=true", ["access": "closed"])
                #expect(answer.status == 400 && answer.text.contains("has no parameter 'dryRun'"), "\(path)")
            }
            #expect(try await client.show(ISCSITarget.description, "a")["spec"]?["access"] == "loopback")
        }
    }

    @Test("preferences without sense are none, and a parameter that is given twice is refused")
    func strangeRequests() async throws {
        try await withServer { client, _ in
            for preference in [";", "", ",", ";;,;", "=", "wait=", "wait;x", ";wait", "wait=-1", "\u{20}"] {
                let answer = try await ask(client, .POST, "/v1/check", [:], ["prefer": preference])
                #expect(answer.status < 300, "'\(preference)': \(answer.status)")
            }
            _ = try await client.create(Disk.description, "a", ["size": 4096])
            for (method, path) in [
                (HTTPMethod.DELETE, "/v1/disks/a?dryRun=true&dryRun=false"), (.GET, "/v1/disks?limit=1&limit=2"),
                (.GET, "/v1/events?after=1&after=2"),
            ] {
                let answer = try await ask(client, method, path)
                #expect(answer.status == 400 && answer.text.contains("is given twice"), "\(path)")
            }
            #expect(try await client.list(Disk.description).count == 1)
            // Other encodings, in which other characters look like marks.
            let strange = "{\"a\":\"x\u{2230}\u{7D7D}\u{7B7B}\u{7D7D}\u{2222}\"}"
            for encoding in [String.Encoding.utf16LittleEndian, .utf16BigEndian, .utf16, .utf32LittleEndian] {
                let answer = try await send(client, .POST, "/v1/check", try #require(strange.data(using: encoding)))
                #expect(answer.status == 400 && answer.text.contains("UTF-8"), "\(encoding)")
            }
            let long = String(repeating: " ", count: ControlServer.maximumBodyLength)
            for path in ["/v1/disks", "/v1/backup"] {
                #expect(try await ask(client, .POST, path, .text(long)).status == 413, "\(path)")
            }
        }
    }

    @Test("events are followed from any of them on, by kind and name, until the daemon stops")
    func following() async throws {
        try await withServer { client, fixture in
            for name in ["a", "b"] { try await fixture.controller.createDisk(name, Disk.Spec(size: 4096)) }
            let first = try #require(try await client.list(Event.description).first?["name"]?.text)
            let filtered = try await client.list(Event.description, filters: ["kind": "disk", "thing": "b"])
            #expect(filtered.map { $0["status"]?["thing"] } == ["b"])
            #expect(try await client.list(Event.description, last: 1, filters: ["thing": "a"]).count == 1)
            let seen = Lock<[String]>([])
            let (came, continuation) = AsyncStream.makeStream(of: Void.self)
            let follower = Task {
                try await client.follow(Event.description, after: first, filters: ["kind": "disk"]) { event in
                    seen.withLock { $0.append(event["status"]?["thing"]?.text ?? "") }
                    continuation.yield()
                    return true
                }
            }
            var arrivals = came.makeAsyncIterator()
            await arrivals.next()
            try await fixture.makeLibrary()
            try await fixture.controller.createDisk("c", Disk.Spec(size: 4096))
            await arrivals.next()
            #expect(seen.withLock { $0 } == ["b", "c"])
            let raw = Task {
                try await ask(client, .GET, "/v1/events?follow", nil, ["last-event-id": first])
            }
            while fixture.controller.plane.feed.followerCount < 2 { await Task.yield() }
            fixture.controller.endFollowers()
            try await follower.value
            let answer = try await raw.value
            #expect(answer.status == 200 && answer.headers["content-type"] == ["text/event-stream"])
            #expect(answer.text.contains("\nid: \((Int(first) ?? 0) + 1)\ndata: {"))
            #expect(await refusal { try await client.follow(Event.description) { _ in true } }?.code == .system)
            #expect(fixture.controller.plane.feed.followerCount == 0)
        }
    }

    @Test("more followers than there is room for are refused, and the API answers beside them")
    func followers() async throws {
        try await withServer { client, fixture in
            try await fixture.controller.createDisk("a", Disk.Spec(size: 4096))
            let (came, continuation) = AsyncStream.makeStream(of: Void.self)
            let followers = (0..<Followers.maximumCount).map { _ in
                Task {
                    try await client.follow(Event.description, after: "0") { _ in
                        continuation.yield()
                        return true
                    }
                }
            }
            var arrivals = came.makeAsyncIterator()
            for _ in followers { await arrivals.next() }
            #expect(await refusal { try await client.follow(Event.description) { _ in true } }?.code == .system)
            #expect(try await client.list(Disk.description).count == 1)
            for follower in followers { follower.cancel() }
            for follower in followers { _ = await follower.result }
            while fixture.controller.plane.feed.followerCount > 0 { await Task.yield() }
            try await client.follow(Event.description, after: "0") { _ in false }
        }
    }

    @Test("a client that does not read what it follows is disconnected, and costs no memory until then")
    func unread() async throws {
        let fixture = try ControllerFixture()
        let plane = fixture.controller.plane
        let text = JSONValue.text(String(repeating: "x", count: NewEvent.maximumStateLength / 2))
        // More than socket buffers take.
        for _ in 0..<(3 << 20) / (NewEvent.maximumStateLength / 2) {
            try plane.query { () throws(CatalogError) in
                try plane.catalog.record(plane.event("change", "disk", "a", new: text))
            }
        }
        var server = ControlServer(controller: fixture.controller, logger: .silent)
        server.readPatience = .milliseconds(50)
        await withServer(server) {
            let client = ControlClient(stateFolder: fixture.path)
            await #expect(throws: ControlClientError.self) {
                try await client.exchange(.GET, "/v1/events?follow&after=0", body: Data(), isStream: true) { inbound in
                    for try await _ in inbound {
                        while plane.feed.followerCount > 0 { try await Task.sleep(for: .milliseconds(1)) }
                    }
                    throw ControlClient.brokenOff
                }
            }
            #expect(plane.feed.followerCount == 0)
        }
    }

    @Test("the end of the server ends those who follow")
    func stopping() async throws {
        let fixture = try ControllerFixture()
        try await fixture.controller.createDisk("a", Disk.Spec(size: 4096))
        let server = ControlServer(controller: fixture.controller, logger: .silent)
        let (ready, continuation) = AsyncStream<Void>.makeStream()
        let task = Task { try await server.run { continuation.finish() } }
        for await _ in ready {}
        let client = ControlClient(stateFolder: fixture.path)
        let (came, arrival) = AsyncStream.makeStream(of: Void.self)
        let follower = Task {
            try await client.follow(Event.description, after: "0") { _ in
                arrival.yield()
                return true
            }
        }
        var arrivals = came.makeAsyncIterator()
        await arrivals.next()
        task.cancel()
        _ = await task.result
        _ = await follower.result
        while fixture.controller.plane.feed.followerCount > 0 { await Task.yield() }
    }

    @Test("a control socket that somebody has removed is made again", .timeLimit(.minutes(1)))
    func removedSocket() async throws {
        let fixture = try ControllerFixture()
        var server = ControlServer(controller: fixture.controller, logger: .silent)
        server.socketInterval = .milliseconds(5)
        await withServer(server) {
            let path = fixture.path + "/control.sock"
            for _ in 0..<2 {
                try FileManager.default.removeItem(atPath: path)
                let client = ControlClient(stateFolder: fixture.path)
                var status: DaemonStatus?
                // It is bound a moment before it listens.
                while status == nil {
                    status = try? await client.get("status")
                    await Task.yield()
                }
                #expect(status?.stateFolder == fixture.path)
            }
        }
    }

    @Test("a daemon that does not answer is told of, and so is one that stops in the middle")
    func silence() async throws {
        let folder = NSTemporaryDirectory() + "silent-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        // It listens, and takes no connection: the kernel does.
        let listener = try ListenSocket(listeningOn: SocketAddress(path: folder + "/control.sock"))
        defer { withExtendedLifetime(listener) {} }
        var limits = ControlClient.Limits()
        limits.query = .milliseconds(20)
        limits.change = .milliseconds(30)
        let client = ControlClient(stateFolder: folder, limits: limits)
        func message(_ request: () async throws -> Void) async -> String {
            do {
                try await request()
            } catch ControlClientError.unreachable(let message) {
                return message
            } catch {
                Issue.record(error)
            }
            return ""
        }
        let query = await message { let _: DaemonStatus = try await client.get("status") }
        #expect(query.hasPrefix("the daemon has not answered for 20 ms"))
        let change = await message { _ = try await client.create(Disk.description, "a", ["size": 4096]) }
        #expect(change.hasPrefix("the daemon has not answered for 30 ms") && change.contains("may still do"))
        try await withServer { client, fixture in
            var limits = ControlClient.Limits()
            limits.silence = .milliseconds(20)
            let follower = ControlClient(stateFolder: fixture.path, limits: limits)
            let silent = await message { try await follower.follow(Event.description) { _ in true } }
            #expect(silent.hasPrefix("the daemon has said nothing more for 20 ms"))
        }
    }
}

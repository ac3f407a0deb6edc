import Foundation
import Glibc
import HTTPTypes
import ManagementTestSupport
import NIOCore
import NIOHTTP1
import NIOPosix
import Resources
import Testing

@testable import Console
@testable import Management

@Suite("Who asks over the socket")
struct CallerTests {
    /// An answer.
    struct Answer {
        let status: Int
        let headers: HTTPHeaders
        let data: Data

        var body: JSONValue? { try? APICoding.decode(JSONValue.self, from: data) }
        var text: String { String(decoding: data, as: UTF8.self) }
    }

    /// Asks the server of `fixture` with these fields in the head.
    static func ask(
        _ fixture: ControllerFixture, _ method: HTTPMethod, _ path: String, _ body: JSONValue? = nil,
        token: String? = nil, authorization: String? = nil
    ) async throws -> Answer {
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup).connect(
            unixDomainSocketPath: fixture.path + "/control.sock"
        ) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                    wrappingChannelSynchronously: channel)
            }
        }
        return try await channel.executeThenClose { inbound, outbound in
            let data = try body.map { try APICoding.encode($0) } ?? Data()
            var headers: HTTPHeaders = ["host": "carousel", "content-length": "\(data.count)", "connection": "close"]
            if let token { headers.add(name: "authorization", value: "Bearer \(token)") }
            if let authorization { headers.add(name: "authorization", value: authorization) }
            try await outbound.write(contentsOf: [
                .head(HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: headers)),
                .body(.byteBuffer(ByteBuffer(bytes: data))), .end(nil),
            ])
            var status = 0
            var answerHeaders = HTTPHeaders()
            var answer = Data()
            for try await part in inbound {
                switch part {
                case .head(let head): (status, answerHeaders) = (Int(head.status.code), head.headers)
                case .body(let bytes): answer.append(contentsOf: bytes.readableBytesView)
                case .end:
                    return Answer(status: status, headers: answerHeaders, data: answer)
                }
            }
            throw ManagementError(.internal, "no answer")
        }
    }

    @Test("what is asked for through the socket is recorded with the user and the process that asks")
    func actors() async throws {
        try await withServer { client, fixture in
            _ = try await client.create(Disk.description, "a", ["size": 4096])
            _ = try await client.create(
                Library.description, "vtl",
                [
                    "profile": "p", "drives": 1, "driveProfile": "d", "slots": 2, "mailSlots": 1, "cartridges": 2,
                    "firstBarcode": "A00001L8", "cartridgeSize": 1_048_576,
                ])
            let mine = "uid:\(getuid()) pid:\(getpid())"
            let events = try await fixture.controller.events()
            #expect(events.map(\.kind) == ["disk", "library"])
            #expect(events.map(\.actor) == [mine, mine], "a job keeps who asked")
            #expect(fixture.controller.jobSummaries().map(\.actor) == [mine])
        }
    }

    @Test("whoever gives a token has its role, and every request that the tables offer is refused below its own")
    func roles() async throws {
        try await withServer { client, fixture in
            for role in Role.allCases {
                let made = try await client.create(Token.description, role.rawValue, ["role": role.json])
                let token = try #require(made["status"]?["token"]?.text)
                for request in RoleTests.offered {
                    // What is allowed may be refused for other reasons: nothing of the name x is there.
                    let answer = try await Self.ask(
                        fixture, HTTPMethod(rawValue: request.method.rawValue), request.path, [:], token: token)
                    let isForbidden = answer.status == 403 && answer.body?["code"] == "forbidden"
                    #expect(
                        isForbidden == (role < request.role),
                        "\(role) \(request.method) \(request.path): \(answer.status)")
                    if isForbidden {
                        let detail = answer.body?["detail"]?.text ?? ""
                        #expect(detail.contains(request.role.aName) && detail.contains(role.aName), "\(detail)")
                    }
                }
            }
        }
    }

    @Test("a field that reaches files of the host is for admins")
    func fields() async throws {
        try await withServer { client, fixture in
            let made = try await client.create(Token.description, "op", ["role": "operator"])
            let token = try #require(made["status"]?["token"]?.text)
            let refused = try await Self.ask(
                fixture, .POST, "/v1/disks", ["name": "a", "spec": ["image": "/etc/passwd"]], token: token)
            #expect(refused.status == 403 && refused.body?["detail"]?.text?.contains("'image'") == true)
            let answer = try await Self.ask(
                fixture, .POST, "/v1/disks", ["name": "a", "spec": ["size": 4096]], token: token)
            #expect(answer.status == 201)
            let events = try await fixture.controller.events(kind: "disk")
            #expect(events.map(\.actor) == ["token:op"])
        }
    }

    @Test("a check is for operators, and a repair for admins")
    func repairs() async throws {
        try await withServer { client, fixture in
            let made = try await client.create(Token.description, "op", ["role": "operator"])
            let token = try #require(made["status"]?["token"]?.text)
            let refused = try await Self.ask(fixture, .POST, "/v1/check", ["repairs": true], token: token)
            #expect(refused.status == 403 && refused.body?["detail"]?.text?.contains("'repairs'") == true)
            #expect(fixture.controller.jobSummaries().isEmpty)
            let answer = try await Self.ask(fixture, .POST, "/v1/check", ["repairs": false], token: token)
            #expect(answer.status < 300, "\(answer.text)")
        }
    }

    @Test("who follows by a token is told nothing any more when the token is gone, and cannot take all places")
    func followers() async throws {
        try await withServer { client, fixture in
            let made = try await client.create(Token.description, "v", ["role": "viewer"])
            let token = try #require(made["status"]?["token"]?.text)
            let followers = (0..<Followers.maximumCountOfToken).map { _ in
                Task { try await Self.ask(fixture, .GET, "/v1/events?follow", token: token) }
            }
            let feed = fixture.controller.plane.feed
            while feed.followerCount < followers.count { await Task.yield() }
            let refused = try await Self.ask(fixture, .GET, "/v1/events?follow", token: token)
            #expect(refused.status >= 400 && refused.body?["detail"]?.text?.contains("follow already") == true)
            try await client.delete(Token.description, "v")
            try await fixture.controller.createDisk("later", Disk.Spec(size: 4096))
            for follower in followers {
                let answer = try await follower.value
                #expect(answer.status == 200 && !answer.text.contains("later"), "\(answer.text)")
                #expect(answer.text.contains("this token is not known"))
            }
            while feed.followerCount > 0 { await Task.yield() }
        }
    }

    @Test("a configuration is compared for admins only: it tells of files and secrets")
    func comparison() async throws {
        try await withServer { client, fixture in
            let made = try await client.create(Token.description, "op", ["role": "operator"])
            let token = try #require(made["status"]?["token"]?.text)
            let answer = try await Self.ask(
                fixture, .POST, "/v1/configuration/compare",
                ["configuration": ["formatVersion": 1, "disks": [["name": "q", "spec": ["image": "/etc/shadow"]]]]],
                token: token)
            #expect(answer.status == 403 && !answer.text.contains("shadow"))
        }
    }

    @Test("what is no good token is refused, with how to show who one is, and counted")
    func unauthenticated() async throws {
        try await withServer { client, fixture in
            let made = try await client.create(Token.description, "t", ["role": "admin"])
            let token = try #require(made["status"]?["token"]?.text)
            let wrong = [
                "Bearer \(token)x", "Bearer x", "Bearer ", "Bearer", "Basic \(token)", token, "",
                "Bearer \(token.uppercased())",
            ]
            for authorization in wrong {
                let answer = try await Self.ask(fixture, .GET, "/v1/disks", authorization: authorization)
                #expect(answer.status == 401, "'\(authorization)'")
                #expect(answer.headers.first(name: "www-authenticate")?.hasPrefix("Bearer") == true)
                #expect(answer.body?["code"] == "unauthenticated")
                #expect(answer.body?["detail"]?.text?.contains(token) == false)
            }
            let status: DaemonStatus = try await client.get("status")
            #expect(status.refusedRequests == wrong.count)
            let good = try await Self.ask(fixture, .GET, "/v1/tokens/t", authorization: "bearer  \(token) ")
            #expect(good.status == 200)
            #expect(good.body?["status"]?["token"] == nil && good.body?["status"]?["lastUsed"] != nil)
            try await client.delete(Token.description, "t")
            #expect(try await Self.ask(fixture, .GET, "/v1/disks", token: token).status == 401)
        }
    }
}

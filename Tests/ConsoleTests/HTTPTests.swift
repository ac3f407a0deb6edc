import Console
import Foundation
import Management
import ManagementTestSupport
import NIOCore
import NIOPosix
import Platform
import Testing

/// A client of the socket that sends what it likes.
private struct RawClient {
    private let channel: any Channel
    private let received: AsyncThrowingStream<String, any Error>

    init(_ fixture: ControllerFixture) async throws {
        let (received, continuation) = AsyncThrowingStream<String, any Error>.makeStream()
        self.received = received
        channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Collector(continuation))
                }
            }
            .connect(unixDomainSocketPath: fixture.path + "/control.sock").get()
    }

    func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }

    func close() async throws { try await channel.close() }

    /// Everything that comes until the server closes, or as soon as it has come to end with `text`.
    func receive(until text: String? = nil) async throws -> String {
        var all = ""
        for try await piece in received {
            all += piece
            if let text, all.hasSuffix(text) { break }
        }
        return all
    }

    /// The answer to one request.
    static func answer(to request: String, _ fixture: ControllerFixture) async throws -> String {
        let client = try await RawClient(fixture)
        try await client.send(request)
        return try await client.receive()
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let continuation: AsyncThrowingStream<String, any Error>.Continuation

        init(_ continuation: AsyncThrowingStream<String, any Error>.Continuation) { self.continuation = continuation }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            continuation.yield(String(buffer: unwrapInboundIn(data)))
        }

        func channelInactive(context: ChannelHandlerContext) { continuation.finish() }
    }
}

@Suite("HTTP of the API")
struct HTTPTests {
    @Test("A request gets one answer, and the connection closes")
    func answers() async throws {
        try await ConsoleTests.serving { _, fixture in
            let answer = try await RawClient.answer(
                to: "GET /v1/status?verbose HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/disks HTTP/1.1\r\nHost: a\r\n\r\n",
                fixture)
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(answer.contains("\r\nconnection: close\r\n") && answer.contains("\r\n\r\n{"))
            #expect(!answer.dropFirst().contains("HTTP/1.1"), "only the first request counts")
        }
    }

    @Test(
        "What is no request of the API gets its status",
        arguments: [
            ("GET /v1/nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404), ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("GET /v1/disks/a/b HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("GET /v1/disks/%FF HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("PUT /v1/disks HTTP/1.1\r\nHost: a\r\ncontent-length: 2\r\n\r\n{}", 405),
            ("DELETE /v1/status HTTP/1.1\r\nHost: a\r\n\r\n", 405), ("nonsense\r\n\r\n", 400),
            ("POST /v1/disks HTTP/1.1\r\nHost: a\r\ncontent-length: 1\r\n\r\n{", 400),
        ])
    func mistakes(request: String, status: Int) async throws {
        try await ConsoleTests.serving { _, fixture in
            let answer = try await RawClient.answer(to: request, fixture)
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            if request != "nonsense\r\n\r\n" { #expect(answer.contains("{\"error\":{")) }
        }
    }

    @Test("A client that asks before it sends its body is told to go on")
    func continuation() async throws {
        try await ConsoleTests.serving { _, fixture in
            let client = try await RawClient(fixture)
            try await client.send(
                "POST /v1/disks HTTP/1.1\r\nHost: a\r\nexpect: 100-continue\r\ncontent-length: 27\r\n\r\n")
            #expect(try await client.receive(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100 Continue\r\n"))
            try await client.send("{\"name\":\"a\",\"size\":1048576}")
            #expect(try await client.receive().hasPrefix("HTTP/1.1 201 Created\r\n"))
        }
    }

    @Test("A body that is too long is received to its end and refused")
    func longBody() async throws {
        try await ConsoleTests.serving { _, fixture in
            let length = 4 << 20
            let answer = try await RawClient.answer(
                to: "POST /v1/disks HTTP/1.1\r\nHost: a\r\ncontent-length: \(length)\r\n\r\n"
                    + String(repeating: "x", count: length), fixture)
            #expect(answer.hasPrefix("HTTP/1.1 400 ") && answer.contains("longer than 65536 bytes"))
        }
    }

    @Test("More connections than the limit wait until one closes")
    func connectionLimit() async throws {
        try await ConsoleTests.serving { client, fixture in
            var idle: [RawClient] = []
            for _ in 0..<ControlServer.maximumConnections { idle.append(try await RawClient(fixture)) }
            let hasClosed = Flag()
            async let status: DaemonStatus = {
                let status: DaemonStatus = try await client.get("status")
                #expect(hasClosed.value.withLock { $0 }, "served beyond the limit")
                return status
            }()
            // The others are served only while there is room: none of them has gone yet.
            for connection in idle { try await connection.send("GET /v1/status HTTP/1.1\r\n") }
            hasClosed.value.withLock { $0 = true }
            try await idle[0].close()
            #expect(try await status.disks == 0)
        }
    }

    private final class Flag: Sendable {
        let value = Lock(false)
    }

    @Test("The end of the server closes connections that have not sent a request")
    func end() async throws {
        var idle: RawClient?
        try await ConsoleTests.serving { _, fixture in
            let client = try await RawClient(fixture)
            try await client.send("GET /v1/sta")
            idle = client
        }
        #expect(try await idle?.receive() == "")
    }
}

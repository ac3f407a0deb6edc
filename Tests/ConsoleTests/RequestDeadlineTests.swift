import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import Console

@Suite("How long a request may take to come in")
struct RequestDeadlineTests {
    private static let head = HTTPRequestPart.head(
        HTTPRequest(method: .post, scheme: "http", authority: "x", path: "/v1/disks"))
    private static let piece = HTTPRequestPart.body(ByteBuffer(string: "x"))

    /// A connection with a limit of 30 s.
    private func connection() throws -> EmbeddedChannel {
        let channel = EmbeddedChannel()
        try channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try channel.pipeline.syncOperations.addHandler(RequestDeadline(.seconds(30)))
        return channel
    }

    private func answer(_ channel: EmbeddedChannel) throws {
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
    }

    @Test("who says nothing is closed")
    func silent() throws {
        let channel = try connection()
        channel.embeddedEventLoop.advanceTime(by: .seconds(29))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
    }

    @Test("a request that comes piece by piece is not waited for for ever")
    func pieces() throws {
        let channel = try connection()
        try channel.writeInbound(Self.head)
        for _ in 0..<29 {
            channel.embeddedEventLoop.advanceTime(by: .seconds(1))
            try channel.writeInbound(Self.piece)
        }
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
    }

    @Test("an answer may take as long as it does, and then the next request has its time")
    func answers() throws {
        let channel = try connection()
        for _ in 0..<3 {
            channel.embeddedEventLoop.advanceTime(by: .seconds(29))
            try channel.writeInbound(Self.head)
            try channel.writeInbound(HTTPRequestPart.end(nil))
            channel.embeddedEventLoop.advanceTime(by: .hours(24))
            #expect(channel.isActive)
            try answer(channel)
        }
        channel.embeddedEventLoop.advanceTime(by: .seconds(30))
        #expect(!channel.isActive)
    }

    @Test("who has sent the next request already is waited for no more")
    func pipelined() throws {
        let channel = try connection()
        for _ in 0..<2 {
            try channel.writeInbound(Self.head)
            try channel.writeInbound(HTTPRequestPart.end(nil))
        }
        try answer(channel)
        channel.embeddedEventLoop.advanceTime(by: .hours(24))
        #expect(channel.isActive)
        try answer(channel)
        channel.embeddedEventLoop.advanceTime(by: .seconds(30))
        #expect(!channel.isActive)
    }

    @Test("a request that is whole after its answer gives the next one no more time than it has")
    func lateEnd() throws {
        let channel = try connection()
        for _ in 0..<3 {
            try channel.writeInbound(Self.head)
            try answer(channel)
            try channel.writeInbound(HTTPRequestPart.end(nil))
        }
        channel.embeddedEventLoop.advanceTime(by: .seconds(20))
        try channel.writeInbound(Self.head)
        channel.embeddedEventLoop.advanceTime(by: .seconds(10))
        #expect(!channel.isActive)
    }

    @Test("the time begins when the answer has gone, not when it is written")
    func slowReader() throws {
        let channel = try connection()
        try channel.writeInbound(Self.head)
        try channel.writeInbound(HTTPRequestPart.end(nil))
        channel.write(HTTPResponsePart.head(HTTPResponse(status: .ok)), promise: nil)
        channel.write(HTTPResponsePart.end(nil), promise: nil)
        channel.embeddedEventLoop.advanceTime(by: .hours(1))
        #expect(channel.isActive)
        channel.flush()
        channel.embeddedEventLoop.advanceTime(by: .seconds(30))
        #expect(!channel.isActive)
    }

    @Test("a refusal before its request is whole does not give it more time")
    func refusal() throws {
        let channel = try connection()
        try channel.writeInbound(Self.head)
        channel.embeddedEventLoop.advanceTime(by: .seconds(20))
        try answer(channel)
        try channel.writeInbound(Self.piece)
        channel.embeddedEventLoop.advanceTime(by: .seconds(10))
        #expect(!channel.isActive)
    }

    /// A connection that has one of `places`.
    private func connection(_ places: ConnectionPlaces) throws -> EmbeddedChannel {
        let channel = try connection()
        let context = try channel.pipeline.syncOperations.context(handlerType: RequestDeadline.self)
        let deadline = try #require(context.handler as? RequestDeadline)
        places.connectionOpened()
        channel.closeFuture.whenComplete { _ in places.connectionClosed() }
        deadline.take(places, context: context)
        return channel
    }

    @Test("when every place is taken, who has asked for nothing for longest makes place, and nobody who is answered")
    func places() throws {
        let places = ConnectionPlaces(maximum: 4)
        let asking = try connection(places)
        try asking.writeInbound(Self.head)
        try asking.writeInbound(HTTPRequestPart.end(nil))
        let half = try connection(places)
        try half.writeInbound(Self.head)
        let silent = try connection(places)
        func advance(_ time: TimeAmount) { for channel in [asking, half, silent] { advanceTime(channel, time) } }
        func advanceTime(_ channel: EmbeddedChannel, _ time: TimeAmount) {
            channel.embeddedEventLoop.advanceTime(by: time)
        }
        advance(RequestDeadline.grace)
        #expect(asking.isActive && half.isActive && silent.isActive, "there is place for a fourth")
        let fourth = try connection(places)
        #expect(!places.isAcceptingNewConnections())
        advance(.zero)
        #expect(asking.isActive && !half.isActive && silent.isActive && fourth.isActive)
        #expect(places.isAcceptingNewConnections())
        // One that has just come has its time, also when there is no place.
        try silent.writeInbound(Self.head)
        try silent.writeInbound(HTTPRequestPart.end(nil))
        let fifth = try connection(places)
        advance(.zero)
        advanceTime(fourth, RequestDeadline.grace - .nanoseconds(1))
        #expect(fourth.isActive && fifth.isActive && !places.isAcceptingNewConnections())
        advanceTime(fourth, .nanoseconds(1))
        #expect(asking.isActive && silent.isActive && !fourth.isActive && fifth.isActive)
    }

    @Test("who was to make place and has begun to ask stays, and the next one goes")
    func stays() throws {
        let places = ConnectionPlaces(maximum: 2)
        let first = try connection(places)
        first.embeddedEventLoop.advanceTime(by: RequestDeadline.grace)
        let second = try connection(places)
        try first.writeInbound(Self.head)
        try first.writeInbound(HTTPRequestPart.end(nil))
        first.embeddedEventLoop.run()
        #expect(first.isActive && second.isActive)
        second.embeddedEventLoop.advanceTime(by: RequestDeadline.grace)
        second.embeddedEventLoop.run()
        #expect(first.isActive && !second.isActive)
        try answer(first)
        #expect(places.isAcceptingNewConnections())
    }
}

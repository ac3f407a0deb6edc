import Foundation
import Logging
import NIOCore
import NIOHTTP1
import Platform

/// One connection: takes a request, has it answered, and closes.
final class APIConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart

    private enum State {
        case receiving
        case answering
    }

    private let connections: APIConnections
    private let logger: Logger
    private let answer: @Sendable (APIRequest) async -> APIResponse
    private var state = State.receiving
    private var head: HTTPRequestHead?
    /// What has come of the body; nil when it is too long: then the rest is received and dropped, because a client that is
    /// still sending would not see an answer.
    private var body: Data? = Data()
    private var deadline: Scheduled<Void>?

    /// A connection whose requests `answer` answers.
    init(
        _ connections: APIConnections, logger: Logger,
        _ answer: @escaping @Sendable (APIRequest) async -> APIResponse
    ) {
        self.connections = connections
        self.logger = logger
        self.answer = answer
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = Self.closeLater(channel)
        connections.add(channel)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        if state == .receiving { connections.remove(context.channel) }
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state == .receiving else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            if head.headers["expect"].contains("100-continue") {
                let go = HTTPResponseHead(version: .http1_1, status: .continue)
                context.channel.writeAndFlush(HTTPServerResponsePart.head(go), promise: nil)
            }
        case .body(let bytes):
            let length = (body?.count ?? 0) + bytes.readableBytes
            if length > ControlServer.maximumBodyLength { body = nil }
            body?.append(contentsOf: bytes.readableBytesView)
        case .end:
            guard let head else { return }
            begin(head, context.channel)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        logger.debug("API connection", metadata: ["error": "\(error)"])
        context.close(promise: nil)
    }

    private func begin(_ head: HTTPRequestHead, _ channel: any Channel) {
        deadline?.cancel()
        state = .answering
        connections.beginAnswer(channel)
        let path = head.uri.prefix { $0 != "?" }
        let request = APIRequest(method: head.method, path: path, body: body)
        Self.answer(request, channel, answer, connections)
    }

    private static func answer(
        _ request: APIRequest, _ channel: any Channel, _ answer: @escaping @Sendable (APIRequest) async -> APIResponse,
        _ connections: APIConnections
    ) {
        // Not a child of the server's task: what has begun is finished and answered when the server ends.
        Task { await reply(await answer(request), channel, connections) }
    }

    private static func reply(_ response: APIResponse, _ channel: any Channel, _ connections: APIConnections) async {
        let deadline = closeLater(channel)
        try? await send(response, channel).get()
        deadline.cancel()
        try? await channel.close()
        connections.remove(channel)
    }

    private static func send(_ response: APIResponse, _ channel: any Channel) -> EventLoopFuture<Void> {
        let headers: HTTPHeaders = [
            "server": "carousel", "content-type": "application/json", "content-length": "\(response.body.count)",
            "connection": "close",
        ]
        let head = HTTPResponseHead(version: .http1_1, status: response.status, headers: headers)
        channel.write(HTTPServerResponsePart.head(head), promise: nil)
        channel.write(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: response.body))), promise: nil)
        return channel.writeAndFlush(HTTPServerResponsePart.end(nil))
    }

    private static func closeLater(_ channel: any Channel) -> Scheduled<Void> {
        channel.eventLoop.scheduleTask(in: TimeAmount(ControlServer.transferTimeLimit)) { channel.close(promise: nil) }
    }
}

/// The connections there are, so that the server can end: those without a request are closed, the others answer theirs.
final class APIConnections: Sendable {
    private struct State {
        var receiving: [ObjectIdentifier: any Channel] = [:]
        var answering: Set<ObjectIdentifier> = []
        var isClosing = false
        var whenEmpty: CheckedContinuation<Void, Never>?

        /// Who waits for the end, when it has come.
        mutating func takeWaiter() -> CheckedContinuation<Void, Never>? {
            guard receiving.isEmpty && answering.isEmpty else { return nil }
            return whenEmpty.take()
        }
    }

    private let state = Lock(State())

    func add(_ channel: any Channel) {
        let isClosing = state.withLock { state in
            state.receiving[ObjectIdentifier(channel)] = channel
            return state.isClosing
        }
        if isClosing { channel.close(promise: nil) }
    }

    func beginAnswer(_ channel: any Channel) {
        state.withLock { state in
            state.receiving[ObjectIdentifier(channel)] = nil
            state.answering.insert(ObjectIdentifier(channel))
        }
    }

    func remove(_ channel: any Channel) {
        let waiter = state.withLock { state in
            state.receiving[ObjectIdentifier(channel)] = nil
            state.answering.remove(ObjectIdentifier(channel))
            return state.takeWaiter()
        }
        waiter?.resume()
    }

    /// Closes those that wait for a request, and returns when all have gone.
    func close() async {
        let idle = state.withLock { state in
            state.isClosing = true
            return Array(state.receiving.values)
        }
        for channel in idle { channel.close(promise: nil) }
        await withCheckedContinuation { continuation in
            wait(continuation)?.resume()
        }
    }

    /// Has `waiter` resumed when all have gone; the same waiter when they have already.
    private func wait(_ waiter: CheckedContinuation<Void, Never>) -> CheckedContinuation<Void, Never>? {
        state.withLock { state in
            state.whenEmpty = waiter
            return state.takeWaiter()
        }
    }
}

/// Bounds how many connections are accepted: while as many are open, the server does not read its socket, and clients wait
/// in the kernel's queue.
final class ConnectionLimit: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never

    private let limit: Int
    private var count = 0
    private var isHeldBack = false

    /// At most `limit` connections.
    init(_ limit: Int) { self.limit = limit }

    func read(context: ChannelHandlerContext) {
        if count < limit {
            context.read()
        } else {
            isHeldBack = true
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        count += 1
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        unwrapInboundIn(data).closeFuture.hop(to: context.eventLoop).whenComplete { _ in
            let (limit, context) = bound.value
            limit.release(context)
        }
        context.fireChannelRead(data)
    }

    private func release(_ context: ChannelHandlerContext) {
        count -= 1
        guard isHeldBack else { return }
        isHeldBack = false
        context.read()
    }
}

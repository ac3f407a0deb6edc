import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// What HTTP/1.1 has besides requests and answers about the order of requests and their bodies: clients that wait until
/// they are told to send theirs (RFC 9110 section 10.1.1), answers after which a body that is too long is not waited
/// for, and requests that come before the one in front of them is answered: each is begun when that answer has gone,
/// and none behind a last answer (RFC 9112 sections 9.3.2 and 9.6).
final class RequestBodies: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let maximumLength: Int
    /// Whether a request has begun and is not answered.
    private var isOpen = false
    /// Whether the answer that is being written, or was, is the last one.
    private var isLast = false
    /// Whether a request came behind the last answer: nothing is made of it.
    private var isOver = false
    /// What came behind the request that is not answered yet. No more than one look at the socket brings, and what is
    /// in the socket when the client ends sending: nobody looks again while there is something here.
    private var held: [HTTPRequestPart] = []
    /// Whether somebody wanted to look meanwhile.
    private var wantsRead = false
    /// What came behind it: that the client sends no more, or that what it has sent is no request.
    private var heldEnd: Any?
    private var heldError: (any Error)?

    /// A body of more than `maximumLength` bytes is not asked for.
    init(maximumLength: Int) { self.maximumLength = maximumLength }

    /// How long the body will be, as the client says; nil when it does not.
    static func announcedLength(_ fields: HTTPFields) -> Int? { fields[.contentLength].flatMap { Int($0) } }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        guard held.isEmpty else { return held.append(part) }
        pass(part, context)
    }

    /// Passes on a part of the request that is there, or of one that may begin; any other is held.
    private func pass(_ part: HTTPRequestPart, _ context: ChannelHandlerContext) {
        guard case .head(let head) = part else {
            if !isOver { context.fireChannelRead(wrapInboundOut(part)) }
            return
        }
        guard !isLast else { return isOver = true }
        guard !isOpen else { return held.append(part) }
        isOpen = true
        let isWaiting = head.headerFields[.expect]?.lowercased() == "100-continue"
        if isWaiting, Self.announcedLength(head.headerFields) ?? 0 <= maximumLength {
            context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
        }
        context.fireChannelRead(wrapInboundOut(part))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard !held.isEmpty, case ChannelEvent.inputClosed? = event as? ChannelEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        heldEnd = event
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if held.isEmpty { context.fireErrorCaught(error) } else { heldError = heldError ?? error }
    }

    func read(context: ChannelHandlerContext) {
        guard held.isEmpty else { return wantsRead = true }
        context.read()
    }

    /// Begins the request behind the one that is answered now.
    private func goOn(_ context: ChannelHandlerContext) {
        let parts = held
        held = []
        for part in parts {
            // Behind a request that is held again, all is.
            if held.isEmpty { pass(part, context) } else { held.append(part) }
        }
        if !parts.isEmpty { context.fireChannelReadComplete() }
        guard held.isEmpty else { return }
        if let error = heldError.take() { context.fireErrorCaught(error) }
        if let event = heldEnd.take() { context.fireUserInboundEventTriggered(event) }
        if wantsRead {
            wantsRead = false
            context.read()
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            if head.status != .continue { isLast = head.headerFields[.connection]?.lowercased() == "close" }
        case .body: break
        case .end:
            isOpen = false
            guard isLast else {
                context.write(data, promise: promise)
                // Not within the call of who has written the answer.
                let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
                return context.eventLoop.execute {
                    let (handler, context) = bound.value
                    handler.goOn(context)
                }
            }
            if !held.isEmpty { isOver = true }
            held = []
            // What the client still sends is read until the time of its request is over, so that it finds the answer
            // before the end of the connection.
            context.writeAndFlush(data, promise: promise)
            context.close(mode: .output, promise: nil)
            if let event = heldEnd.take() { context.fireUserInboundEventTriggered(event) }
            if wantsRead { context.read() }
            return
        }
        context.write(data, promise: promise)
    }
}

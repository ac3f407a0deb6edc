import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// What HTTP/1.1 has besides requests and answers about the bodies of requests: clients that wait until they are told
/// to send theirs (RFC 9110 section 10.1.1), and answers after which a body that is too long is not waited for.
final class RequestBodies: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let maximumLength: Int
    /// How many requests have begun and are not answered.
    private var open = 0
    /// Whether the answer that is being written, or was, is the last one.
    private var isLast = false
    /// Whether a request came behind the last answer: nothing is made of it (RFC 9112 section 9.6).
    private var isOver = false

    /// A body of more than `maximumLength` bytes is not asked for.
    init(maximumLength: Int) { self.maximumLength = maximumLength }

    /// How long the body will be, as the client says; nil when it does not.
    static func announcedLength(_ fields: HTTPFields) -> Int? { fields[.contentLength].flatMap { Int($0) } }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head = unwrapInboundIn(data) { isOver = isLast }
        guard !isOver else { return }
        if case .head(let head) = unwrapInboundIn(data) {
            let isWaiting = head.headerFields[.expect]?.lowercased() == "100-continue"
            // Within the answer to another request it would be a part of that.
            if isWaiting, open == 0, Self.announcedLength(head.headerFields) ?? 0 <= maximumLength {
                context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
            }
            open += 1
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            if head.status != .continue { isLast = head.headerFields[.connection]?.lowercased() == "close" }
        case .body: break
        case .end:
            open -= 1
            guard isLast else { break }
            // What the client still sends is read until the time of its request is over, so that it finds the answer
            // before the end of the connection.
            context.writeAndFlush(data, promise: promise)
            context.close(mode: .output, promise: nil)
            return
        }
        context.write(data, promise: promise)
    }
}

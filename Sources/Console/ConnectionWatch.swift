import NIOCore

/// Watches a connection for what the HTTP of it does not see: a client that does not read its answer, which is closed
/// after a time, and the end of the server, which those are told who wait for something without end.
final class ConnectionWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any

    /// How long a client may leave its answer unread.
    static let patience = TimeAmount.seconds(30)

    private let patience: TimeAmount
    private let onEnd: @Sendable () -> Void
    private var timer: Scheduled<Void>?

    init(patience: TimeAmount = ConnectionWatch.patience, onEnd: @escaping @Sendable () -> Void) {
        self.patience = patience
        self.onEnd = onEnd
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        if !context.channel.isWritable {
            timer = context.eventLoop.assumeIsolated().scheduleTask(in: patience) { context.close(promise: nil) }
        }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { onEnd() }
        context.fireUserInboundEventTriggered(event)
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }
}

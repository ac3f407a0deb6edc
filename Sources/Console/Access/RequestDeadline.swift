import Hummingbird
import HummingbirdCore
import NIOCore
import NIOHTTPTypes

/// Closes a connection on which no whole request has come in for a time. The idle time limit alone would let requests,
/// and what comes before them, in byte by byte for ever.
///
/// The time begins with the connection and when each answer has gone after which nothing is left to answer, and ends
/// with a request that is whole and not answered yet; the answer may take as long as it does. Where there are places
/// for connections, this one's is on offer after ``grace``.
final class RequestDeadline: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// How long a connection may be silent while others wait for its place: longer than a client needs that connects in
    /// order to ask.
    static let grace = TimeAmount.seconds(1)

    private let limit: TimeAmount
    private var timer: Scheduled<Void>?
    private var places: ConnectionPlaces?
    private var graceTimer: Scheduled<Void>?
    /// How many whole requests have not been answered; less than 0 when one was that is not whole yet.
    private var open = 0
    private var hasEnded = false

    init(_ limit: TimeAmount) { self.limit = limit }

    func handlerAdded(context: ChannelHandlerContext) { start(context) }

    /// Has the connection, which is as new as the handler, take one of `places`.
    func take(_ places: ConnectionPlaces, context: ChannelHandlerContext) {
        self.places = places
        startGrace(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) { end() }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .end = unwrapInboundIn(data) {
            open += 1
            if open > 0 { stop() }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .end = unwrapOutboundIn(data) else { return context.write(data, promise: promise) }
        // Not before it has gone: a client that takes its answer slowly is not silent.
        let written = promise ?? context.eventLoop.makePromise()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        written.futureResult.whenComplete { _ in
            let (handler, context) = bound.value
            handler.open -= 1
            if handler.open <= 0 { handler.start(context) }
        }
        context.write(data, promise: written)
    }

    private func start(_ context: ChannelHandlerContext) {
        // A refusal may be answered before its request is whole: the time of that goes on.
        guard timer == nil, !hasEnded else { return }
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: limit) { context.close(promise: nil) }
        startGrace(context)
    }

    private func startGrace(_ context: ChannelHandlerContext) {
        guard let places else { return }
        graceTimer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.grace) {
            let (loop, bound) = (context.eventLoop, NIOLoopBound((self, context), eventLoop: context.eventLoop))
            places.offer(ObjectIdentifier(self)) {
                loop.execute {
                    let (handler, context) = bound.value
                    // One that has gone is counted where it has gone.
                    guard !handler.hasEnded else { return }
                    guard handler.timer != nil else { return places.stays() }
                    context.close(promise: nil)
                }
            }
        }
    }

    private func end() {
        hasEnded = true
        stop()
    }

    private func stop() {
        timer?.cancel()
        timer = nil
        graceTimer?.cancel()
        graceTimer = nil
        places?.withdraw(ObjectIdentifier(self))
    }
}

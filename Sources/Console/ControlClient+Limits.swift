public import NIOCore
import NIOHTTP1
import Platform

// How long a client waits.
extension ControlClient {
    /// How long a client waits for what, before it says that nothing comes.
    public struct Limits: Sendable {
        /// For a connection.
        public var connection = TimeAmount.seconds(10)
        /// For the first byte of the answer to a query.
        public var query = TimeAmount.seconds(30)
        /// For the first byte of the answer to a change: it may wait for others, and for a drive for two minutes.
        public var change = TimeAmount.minutes(5)
        /// For the next byte of an answer that has begun; where the daemon tells what comes, it tells of a silence more
        /// often.
        public var silence = TimeAmount.seconds(45)
        /// For the whole answer, unless it tells what comes.
        public var total = TimeAmount.minutes(10)

        public init() {}
    }

    /// The watch over the answer to a request.
    func watch(_ method: HTTPMethod, isStream: Bool) -> AnswerWatch.Rules {
        AnswerWatch.Rules(
            firstByte: method == .GET ? limits.query : limits.change, silence: limits.silence,
            total: isStream ? nil : limits.total, isChange: method != .GET)
    }
}

/// Ends a connection whose server is silent for too long.
final class AnswerWatch: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    /// How long is too long, and what was found.
    final class Rules: Sendable {
        let firstByte: TimeAmount
        let silence: TimeAmount
        let total: TimeAmount?
        let isChange: Bool
        private let found = Lock<ControlClientError?>(nil)

        init(firstByte: TimeAmount, silence: TimeAmount, total: TimeAmount?, isChange: Bool) {
            self.firstByte = firstByte
            self.silence = silence
            self.total = total
            self.isChange = isChange
        }

        /// Why the connection was ended; nil when it was not.
        var failure: ControlClientError? { found.withLock { $0 } }

        fileprivate func fail(_ what: String, _ time: TimeAmount) {
            let milliseconds = time.nanoseconds / 1_000_000
            let text = milliseconds < 1000 ? "\(milliseconds) ms" : "\(milliseconds / 1000) s"
            let hint = isChange ? "; it may still do what it was asked for, so look before you ask again" : ""
            found.withLock { found in
                found =
                    found
                    ?? .unreachable("the daemon \(what) for \(text); its log may say why\(hint)")
            }
        }
    }

    private let rules: Rules
    private var hasBegun = false
    private var timer: Scheduled<Void>?
    private var totalTimer: Scheduled<Void>?

    init(_ rules: Rules) { self.rules = rules }

    func handlerAdded(context: ChannelHandlerContext) {
        restart(context)
        if let total = rules.total {
            totalTimer = context.eventLoop.assumeIsolated().scheduleTask(in: total) { [rules] in
                rules.fail("has not ended its answer", total)
                context.close(promise: nil)
            }
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasBegun = true
        restart(context)
        context.fireChannelRead(data)
    }

    func handlerRemoved(context: ChannelHandlerContext) { stop() }

    func channelInactive(context: ChannelHandlerContext) {
        stop()
        context.fireChannelInactive()
    }

    private func stop() {
        timer?.cancel()
        totalTimer?.cancel()
    }

    private func restart(_ context: ChannelHandlerContext) {
        timer?.cancel()
        let time = hasBegun ? rules.silence : rules.firstByte
        let what = hasBegun ? "has said nothing more" : "has not answered"
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: time) { [rules] in
            rules.fail(what, time)
            context.close(promise: nil)
        }
    }
}

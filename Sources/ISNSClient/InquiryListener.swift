internal import ISNS
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// Where the server's own messages are taken: entity status inquiries and state change notifications come on
/// connections that the server opens (RFC 4171 section 2.9).
final class InquiryListener: Sendable {
    /// The most connections at a time; more are closed at once.
    private static let maximumConnections = 16
    /// How long a connection may be silent.
    private static let silence = TimeAmount.minutes(10)

    private let channel: any Channel
    /// The port that the system chose.
    let port: UInt16

    private init(_ channel: any Channel, port: UInt16) {
        self.channel = channel
        self.port = port
    }

    /// Listens on `host`; nil when that does not work. `onNotification` is called for changes, on whatever thread, and
    /// not again before it has returned.
    static func open(
        host: String, group: any EventLoopGroup, onNotification: @escaping @Sendable () async -> Void
    ) async -> InquiryListener? {
        let connections = ConnectionCount()
        let bell = NotificationBell(onNotification)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 16)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                guard connections.enter(limit: maximumConnections) else { return channel.close() }
                channel.closeFuture.whenComplete { _ in connections.leave() }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        IdleStateHandler(readTimeout: silence), InquiryHandler(bell))
                }
            }
        guard let channel = try? await bootstrap.bind(host: host, port: 0).get() else { return nil }
        guard let number = channel.localAddress?.port, let port = UInt16(exactly: number) else {
            channel.close(promise: nil)
            return nil
        }
        return InquiryListener(channel, port: port)
    }

    /// Listens no longer; connections end with their servers, or when they have been silent for long.
    func close() { channel.close(promise: nil) }
}

/// How many connections there are.
private final class ConnectionCount: Sendable {
    private let count = Atomic<Int>(0)

    func enter(limit: Int) -> Bool {
        if count.add(1, ordering: .relaxed).newValue <= limit { return true }
        leave()
        return false
    }

    func leave() { count.subtract(1, ordering: .relaxed) }
}

/// Tells of notifications, of many that come together once: a flood of them makes no flood of tasks.
private final class NotificationBell: Sendable {
    private let isRinging = Atomic<Bool>(false)
    private let ring: @Sendable () async -> Void

    init(_ ring: @escaping @Sendable () async -> Void) { self.ring = ring }

    func notify() {
        guard !isRinging.exchange(true, ordering: .acquiringAndReleasing) else { return }
        Task { [self] in
            isRinging.store(false, ordering: .releasing)
            await ring()
        }
    }
}

/// Answers on one connection of the server's.
private final class InquiryHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let bell: NotificationBell
    private var assembler: MessageAssembler

    init(_ bell: NotificationBell) {
        self.bell = bell
        // These messages are short.
        var limits = MessageAssembler.Limits()
        limits.messageLength = Message.maximumPDUPayload
        assembler = MessageAssembler(limits: limits)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        assembler.append(unwrapInboundIn(data).readableBytesView)
        do throws(StreamError) {
            while let message = try assembler.next() {
                guard !message.function.isResponse else { return context.close(promise: nil) }
                // Who takes no answers gets no more of them.
                guard context.channel.isWritable else { return context.close(promise: nil) }
                let answer = ByteBuffer(bytes: message.answer().encoded())
                context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
                if message.function == .stateChangeNotification { bell.notify() }
            }
        } catch {
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

import ISNS
import NIOCore
import NIOPosix
import Platform

/// An iSNS server that says yes to everything.
final class FakeServer: Sendable {
    struct State {
        var requests: [Message] = []
        var initiators: [String] = []
        var inquiryPort: UInt16?
        /// What to send instead of answers.
        var garbage: [UInt8]?
        var connections: [any Channel] = []
    }

    let state = Lock(State())
    private let channel = Lock<(any Channel)?>(nil)
    let port: Int

    init(port: Int = 0) async throws {
        let box = HandlerBox()
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(box))
                }
            }
        let listening = try await bootstrap.bind(host: "127.0.0.1", port: port).get()
        self.port = listening.localAddress?.port ?? 0
        channel.withLock { $0 = listening }
        box.server.withLock { $0 = self }
    }

    /// Listens no longer, and closes what is open.
    func stop() async throws {
        try await channel.withLock { $0.take() }?.close()
        for connection in state.withLock({ $0.connections }) { connection.close(promise: nil) }
    }

    var functions: [Function] { state.withLock { $0.requests.map(\.function) } }

    func answer(_ request: Message) -> [UInt8] {
        state.withLock { state in
            state.requests.append(request)
            if let garbage = state.garbage { return garbage }
            let key = request.attributes.count > 1 ? request.attributes[1] : .delimiter
            var attributes: [Attribute] = [key, .delimiter]
            switch request.function {
            case .deviceAttributeRegistration:
                let port = request.attributes.first { $0.tag == .notificationPort }?.number
                state.inquiryPort = port.map { UInt16($0) }
                attributes.append(Attribute(.registrationPeriod, 60))
            case .deviceAttributeQuery where key.tag == .iscsiNodeType:
                attributes += state.initiators.map { Attribute(.iscsiName, $0) }
            case .deviceAttributeQuery: attributes.append(key)
            default: break
            }
            return Message(
                request.function.response, flags: .server, transactionID: request.transactionID, status: .success,
                attributes: attributes
            ).encoded()
        }
    }

    private final class HandlerBox: Sendable {
        let server = Lock<FakeServer?>(nil)
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let box: HandlerBox
        private var assembler = MessageAssembler()

        init(_ box: HandlerBox) { self.box = box }

        func channelActive(context: ChannelHandlerContext) {
            let channel = context.channel
            box.server.withLock { $0 }?.state.withLock { $0.connections.append(channel) }
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            assembler.append(unwrapInboundIn(data).readableBytesView)
            while let message = try? assembler.next() {
                guard let server = box.server.withLock({ $0 }) else { return }
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: server.answer(message))), promise: nil)
            }
        }
    }
}

/// A connection that the server opens: what comes back until it ends or the answer is complete.
func exchange(port: UInt16, _ bytes: [UInt8], expecting count: Int) async throws -> [UInt8] {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connect(host: "127.0.0.1", port: Int(port)) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
    return try await channel.executeThenClose { inbound, outbound in
        try await outbound.write(ByteBuffer(bytes: bytes))
        var received: [UInt8] = []
        for try await buffer in inbound {
            received += buffer.readableBytesView
            if received.count >= count { break }
        }
        return received
    }
}

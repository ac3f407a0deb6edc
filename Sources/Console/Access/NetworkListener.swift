#if TLS
    import Hummingbird
    import HummingbirdCore
    import Logging
    import NIOCore
    import NIOPosix
    import NIOSSL

    /// The API over TCP, encrypted, for those who have tokens.
    ///
    /// It has a thread of its own, so that whatever comes in here keeps nobody waiting at the Unix socket.
    struct NetworkListener: Sendable {
        /// The most connections at a time; those beyond are closed.
        static let maximumConnections = 256
        /// The most of these from one address.
        static let maximumPerAddress = 32

        /// A descriptor that is for NIO to close.
        let fileDescriptor: Int32
        let certificate: ServerCertificate
        let http: HTTP1Channel
        let logger: Logger

        /// Serves until the task is cancelled.
        func run() async {
            let (certificate, http, logger) = (certificate, http, logger)
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            do {
                let server = try await ServerBootstrap(group: group)
                    .childChannelOption(.allowRemoteHalfClosure, value: true)
                    .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .bind(fileDescriptor) { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try channel.pipeline.syncOperations.addHandler(
                                NIOSSLServerHandler(context: certificate.context))
                        }.flatMap { http.setup(channel: channel, logger: logger) }
                    }
                try await server.executeThenClose { connections in try await serve(connections) }
            } catch is CancellationError {
                // The end.
            } catch {
                logger.error("the API is offered on no network any more", metadata: ["reason": "\(error)"])
            }
            try? await group.shutdownGracefully()
        }

        private func serve(_ connections: NIOAsyncChannelInboundStream<HTTP1Channel.Value>) async throws {
            let limits = ConnectionLimits(
                maximum: Self.maximumConnections, maximumPerAddress: Self.maximumPerAddress)
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections {
                    let address = connection.channel.remoteAddress
                    let host = address?.ipAddress ?? "unknown"
                    group.addTask { [http, logger] in
                        guard limits.admit(host) else {
                            try? await connection.executeThenClose { _, _ in }
                            return
                        }
                        await Origin.$current.withValue(.address("\(host):\(address?.port ?? 0)")) {
                            await http.handle(value: connection, logger: logger)
                        }
                        limits.leave(host)
                    }
                }
            }
        }
    }
#endif

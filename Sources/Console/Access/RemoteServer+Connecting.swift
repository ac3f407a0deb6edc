#if TLS
    import NIOCore
    import NIOHTTP1
    import NIOPosix
    import NIOSSL
    import NIOTLS
    import Resources

    extension RemoteServer {
        /// A connection to send requests on. TLS may take as long as the connection before it.
        func connect(_ rules: AnswerWatch.Rules, limit: TimeAmount) async throws -> ControlEndpoint.Connection {
            let context = try self.context()
            // Addresses are looked for in the certificate itself, and stand in no SNI.
            let name = IPAddress(host) == nil ? host : nil
            do {
                let (connection, handshake) = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                    .connectTimeout(limit)
                    .connect(host: host, port: port) { channel in
                        channel.eventLoop.makeCompletedFuture {
                            let handshake = channel.eventLoop.makePromise(of: Void.self)
                            try channel.pipeline.syncOperations.addHandlers([
                                try NIOSSLClientHandler(context: context, serverHostname: name),
                                HandshakeWatch(handshake, limit: limit),
                            ])
                            return (try ControlEndpoint.connection(channel, rules), handshake.futureResult)
                        }
                    }
                do {
                    try await handshake.get()
                } catch {
                    try? await connection.executeThenClose { _, _ in }
                    throw error
                }
                return connection
            } catch {
                throw ControlClientError.unreachable("no daemon answers at \(url): \(Self.reason(error))")
            }
        }

        private func context() throws -> NIOSSLContext {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = ["http/1.1"]
            if let authorities {
                guard let trusted = try? NIOSSLCertificate.fromPEMFile(authorities) else {
                    throw ControlClientError.invalid(
                        ManagementError(.invalid, "\(authorities) cannot be read as certificates; give some in PEM"))
                }
                configuration.trustRoots = .certificates(trusted)
            }
            return try NIOSSLContext(configuration: configuration)
        }

        private static func reason(_ error: any Error) -> String {
            switch error {
            case NIOSSLError.handshakeFailed(.sslError(let errors))
            where "\(errors)".contains("CERTIFICATE_VERIFY_FAILED"):
                "its certificate is not trusted; name the file of who vouches for it with --ca"
            case NIOSSLError.handshakeFailed: "it does not speak TLS 1.2 or 1.3"
            case NIOSSLError.unableToValidateCertificate, is NIOSSLExtraError:
                "its certificate is that of another name; use the name that it was made for"
            case is EarlyEnd: "it has closed the connection"
            default: ControlEndpoint.reason(error)
            }
        }
    }

    /// The other side closed, or was silent, before the handshake was done.
    private struct EarlyEnd: Error {}

    /// Tells when TLS is established, or why it is not.
    private final class HandshakeWatch: ChannelInboundHandler {
        typealias InboundIn = NIOAny
        typealias InboundOut = NIOAny

        private let done: EventLoopPromise<Void>
        private let limit: TimeAmount
        private var timer: Scheduled<Void>?

        init(_ done: EventLoopPromise<Void>, limit: TimeAmount) {
            self.done = done
            self.limit = limit
        }

        func handlerAdded(context: ChannelHandlerContext) {
            let (done, limit) = (done, limit)
            timer = context.eventLoop.scheduleTask(in: limit) { done.fail(ChannelError.connectTimeout(limit)) }
        }

        func handlerRemoved(context: ChannelHandlerContext) { end(.failure(EarlyEnd())) }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case TLSUserEvent.handshakeCompleted? = event as? TLSUserEvent { end(.success(())) }
            context.fireUserInboundEventTriggered(event)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            end(.failure(error))
            context.fireErrorCaught(error)
        }

        func channelInactive(context: ChannelHandlerContext) {
            end(.failure(EarlyEnd()))
            context.fireChannelInactive()
        }

        private func end(_ result: Result<Void, any Error>) {
            timer?.cancel()
            timer = nil
            done.completeWith(result)
        }
    }
#endif

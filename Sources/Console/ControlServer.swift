import Foundation
public import Logging
public import Management
import NIOCore
import NIOHTTP1
import NIOPosix
import Platform

/// The API server of one daemon: HTTP/1.1, one request a connection.
public struct ControlServer: Sendable {
    /// The longest request body in bytes.
    public static let maximumBodyLength = 64 << 10
    /// How many connections are served at a time; more wait.
    public static let maximumConnections = 64
    /// How long a client may take to send its request, and how long to take the answer.
    public static let transferTimeLimit = Duration.seconds(30)
    private let controller: Controller
    private let socketPath: String
    private let logger: Logger

    /// A server for `controller` on the socket in its state folder.
    public init(controller: Controller, logger: Logger) {
        self.controller = controller
        socketPath = controller.folder.socketPath
        self.logger = logger
    }

    /// Serves until the task is cancelled, or, if it handles signals, until SIGTERM or SIGINT; then requests that were
    /// received are still answered.
    ///
    /// - Parameters:
    ///   - handlesSignals: Whether SIGTERM and SIGINT end the server; so once a process.
    ///   - onReady: Called once, when requests are answered.
    public func run(handlesSignals: Bool, onReady: @escaping @Sendable () async -> Void) async throws {
        let (ends, end) = AsyncStream<Void>.makeStream()
        if handlesSignals { try Signals.watch { _ in end.finish() } }
        // The lock of the state folder is ours, so a socket that is there was left by a process that was killed.
        try? FileManager.default.removeItem(atPath: socketPath)
        let connections = APIConnections()
        let channel = try await bind(connections)
        defer { try? FileManager.default.removeItem(atPath: socketPath) }
        // Belt and braces: the folder is closed to others already.
        try? FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: socketPath)
        channel.closeFuture.whenComplete { _ in end.finish() }
        await onReady()
        // Ends with the task too.
        for await _ in ends {}
        try? await channel.close()
        await connections.close()
    }

    private func bind(_ connections: APIConnections) async throws -> any Channel {
        let routes = Self.routes(controller)
        let logger = logger
        return try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .serverChannelOption(.backlog, value: 128)
            // One at a time, so that the limit is exact.
            .serverChannelOption(.maxMessagesPerRead, value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([
                        AcceptBackoffHandler(), ConnectionLimit(Self.maximumConnections),
                    ])
                }
            }
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(
                        withPipeliningAssistance: false, withErrorHandling: true)
                    try channel.pipeline.syncOperations.addHandler(
                        APIConnection(connections, logger: logger) { await Self.answer($0, routes) })
                }
            }
            .bind(unixDomainSocketPath: socketPath).get()
    }

    private static func answer(_ request: APIRequest, _ routes: RouteTable) async -> APIResponse {
        switch routes.handler(for: request) {
        case .success((let handler, let parameters)): await handler(request, parameters)
        case .failure(.path): refusal(ManagementError(.notFound, "the API has no '\(request.path)'"))
        case .failure(.method):
            refusal(
                ManagementError(.invalid, "\(request.method.rawValue) is not for '\(request.path)'"),
                status: .methodNotAllowed)
        }
    }
}

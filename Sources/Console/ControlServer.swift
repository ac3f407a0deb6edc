import Foundation
import Hummingbird
import HummingbirdCore
public import Logging
public import Management
public import NIOCore

/// The API server of one daemon.
public struct ControlServer: Sendable {
    /// The longest request body in bytes.
    public static let maximumBodyLength = 64 << 10
    /// How many connections are served at a time; more wait.
    public static let maximumConnections = 64
    private let controller: Controller
    private let socketPath: String
    private let logger: Logger

    /// A server for `controller` on the socket in its state folder.
    public init(controller: Controller, logger: Logger) {
        self.controller = controller
        socketPath = controller.folder.socketPath
        self.logger = logger
    }

    /// How long a connection may be silent.
    public static let idleTimeout = TimeAmount.seconds(30)

    private static func responder(_ controller: Controller) -> CallbackResponder<BasicRequestContext> {
        let api = API(Registry.endpoints(controller))
        let others = router(controller).buildResponder()
        return CallbackResponder { request, context in
            if let response = await api.respond(to: request) { return response }
            let response = try? await others.respond(to: request, context: context)
            // The router says nothing about what it does not know.
            guard let response, response.headers[.contentType] != nil || response.status.kind == .successful else {
                return API.response(to: API.noSuchPath(request))
            }
            return response
        }
    }

    /// Serves until the task is cancelled, or, if it handles signals, until SIGTERM or SIGINT.
    ///
    /// - Parameters:
    ///   - handlesSignals: Whether SIGTERM and SIGINT end the server.
    ///   - onReady: Called once, when requests are answered.
    public func run(handlesSignals: Bool, onReady: @escaping @Sendable () async -> Void) async throws {
        // The lock of the state folder is ours, so a socket that is there was left by a process that was killed.
        try? FileManager.default.removeItem(atPath: socketPath)
        let socketPath = socketPath
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let application = Application(
            responder: Self.responder(controller),
            server: .http1(configuration: HTTP1Channel.Configuration(idleTimeout: Self.idleTimeout)),
            configuration: ApplicationConfiguration(
                address: .unixDomainSocket(path: socketPath), serverName: "carousel",
                availableConnectionsDelegate: MaximumAvailableConnections(Self.maximumConnections)),
            onServerRunning: { _ in
                // Belt and braces: the folder is closed to others already.
                try? FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: socketPath)
                await onReady()
            }, logger: quiet)
        defer { try? FileManager.default.removeItem(atPath: socketPath) }
        if handlesSignals {
            try await application.runService()
        } else {
            try await application.run()
        }
    }
}

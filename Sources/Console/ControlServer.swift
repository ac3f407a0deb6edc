import Foundation
import Hummingbird
import HummingbirdCore
public import Logging
public import Management
public import NIOCore
import Platform
import Resources

/// The API server of one daemon.
public struct ControlServer: Sendable {
    /// The longest request body in bytes.
    public static let maximumBodyLength = 64 << 10
    /// How many connections are served at a time; more wait.
    public static let maximumConnections = 64
    private let controller: Controller
    private let socketPath: String
    private let inheritedSocket: Int32?
    private let logger: Logger
    /// How long a client may leave its answer unread.
    var readPatience = ConnectionWatch.patience

    /// A server for `controller` on the socket in its state folder. When `inheritedSocket` is a descriptor on which the
    /// service manager listens, it is served as well, and closed in the end; then the daemon's own socket has another
    /// name, for the path in the state folder may be the service manager's.
    public init(controller: Controller, inheritedSocket: Int32? = nil, logger: Logger) {
        self.controller = controller
        self.inheritedSocket = inheritedSocket
        socketPath = controller.folder.socketPath + (inheritedSocket == nil ? "" : ".own")
        self.logger = logger
    }

    /// How long a connection may be silent.
    public static let idleTimeout = TimeAmount.seconds(30)

    private static func responder(_ controller: Controller) -> CallbackResponder<BasicRequestContext> {
        let api = API(Registry.endpoints(controller))
        let others = router(controller).buildResponder()
        return CallbackResponder { request, context in
            if let response = await api.respond(to: request) { return response }
            do throws(ManagementError) {
                try API.checkHasNoParameters(request)
            } catch {
                return API.response(to: API.Problem(error))
            }
            let response = try? await others.respond(to: request, context: context)
            // The router says nothing about what it does not know.
            guard let response, response.headers[.contentType] != nil || response.status.kind == .successful else {
                return API.response(to: API.noSuchPath(request))
            }
            return response
        }
    }

    /// Serves until the task is cancelled; that cuts requests that are under way.
    ///
    /// - Parameter onReady: Called once, when requests are answered.
    public func run(onReady: @escaping @Sendable () async -> Void) async throws {
        // The lock of the state folder is ours, so a socket that is there was left by a process that was killed.
        // Anything else is somebody's.
        if let kind = try? FileManager.default.attributesOfItem(atPath: socketPath)[.type] as? FileAttributeType {
            guard kind == .typeSocket else {
                throw ManagementError(.conflict, "\(socketPath) is no socket; move it away")
            }
            try? FileManager.default.removeItem(atPath: socketPath)
        }
        let socketPath = socketPath
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let (inheritedSocket, inheritedLogger) = (inheritedSocket, quiet)
        let (controller, readPatience) = (controller, readPatience)
        let listening = Lock<Task<Void, any Error>?>(nil)
        defer { listening.withLock { $0 }?.cancel() }
        let application = Application(
            responder: Self.responder(controller),
            server: HTTPServerBuilder { responder in
                let http = HTTP1Channel(
                    responder: responder,
                    configuration: HTTP1Channel.Configuration(
                        additionalChannelHandlers: [
                            ConnectionWatch(patience: readPatience) { controller.endFollowers() }
                        ],
                        idleTimeout: Self.idleTimeout))
                if let inheritedSocket {
                    let listener = InheritedListener(
                        fileDescriptor: inheritedSocket, http: http, logger: inheritedLogger)
                    listening.withLock { task in task = Task { try await listener.run() } }
                }
                return http
            },
            configuration: ApplicationConfiguration(
                address: .unixDomainSocket(path: socketPath), serverName: "carousel",
                availableConnectionsDelegate: MaximumAvailableConnections(Self.maximumConnections)),
            onServerRunning: { _ in
                // Belt and braces: the folder is closed to others already.
                try? FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: socketPath)
                await onReady()
            }, logger: quiet)
        defer { try? FileManager.default.removeItem(atPath: socketPath) }
        try await application.run()
    }
}

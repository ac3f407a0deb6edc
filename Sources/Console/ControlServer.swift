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
    /// How many connections of a socket are served at a time. For one more, that of them is closed which has asked for
    /// nothing for longest, ``RequestDeadline/grace`` at least; it waits while there is none.
    public static let maximumConnections = 64
    private let controller: Controller
    private let socketPath: String
    private let inheritedSocket: Int32?
    private let network: NetworkSocket?
    private let logger: Logger
    /// How long a client may leave its answer unread.
    var readPatience = ConnectionWatch.patience

    /// How long between two looks at whether the socket is still there.
    var socketInterval = Duration.seconds(10)

    /// A server for `controller` on the socket in its state folder. When `inheritedSocket` is a descriptor on which the
    /// service manager listens, it is served as well, and closed in the end; then the daemon's own socket has another
    /// name, for the path in the state folder may be the service manager's. `network` is where else it is offered.
    public init(
        controller: Controller, inheritedSocket: Int32? = nil, network: NetworkSocket? = nil, logger: Logger
    ) {
        self.controller = controller
        self.network = network
        self.inheritedSocket = inheritedSocket
        socketPath = controller.folder.socketPath + (inheritedSocket == nil ? "" : ".own")
        self.logger = logger
    }

    /// How long a connection may be silent, and how long a request may take to come in.
    public static let idleTimeout = TimeAmount.seconds(30)

    private static func responder(_ controller: Controller) -> CallbackResponder<BasicRequestContext> {
        let endpoints = Registry.endpoints(controller)
        let admission = Admission(controller, endpoints.map(\.kind))
        let api = API(endpoints)
        let router = router(controller)
        let routes = router.routes.map { API.Route($0.method, "\($0.path)") }
        let others = router.buildResponder()
        let kept = KeptLines()
        return CallbackResponder { request, context in
            // RFC 9110 section 9.3.2: as GET, without what it would show.
            guard request.method != .head else {
                var head = request.head
                head.method = .get
                return try await answer(Request(head: head, body: request.body), context).createHeadResponse()
            }
            return try await answer(request, context)
        }
        @Sendable func answer(_ request: Request, _ context: BasicRequestContext) async throws -> Response {
            try await admission.admit(request) {
                if let response = await metrics(request, controller, kept: kept) { return response }
                if let response = await api.respond(to: request) { return response }
                do throws(ManagementError) {
                    try API.checkHasNoParameters(request)
                } catch {
                    return API.response(to: API.Problem(error))
                }
                if let problem = API.wrongMethod(request, routes) { return API.response(to: problem) }
                let response = try? await others.respond(to: request, context: context)
                // The router says nothing about what it does not know.
                guard let response, response.headers[.contentType] != nil || response.status.kind == .successful
                else { return API.response(to: API.noSuchPath(request)) }
                return response
            }
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
        let quiet = ServerLog.logger(logger)
        let (inheritedSocket, network, inheritedLogger) = (inheritedSocket, network, quiet)
        let (controller, readPatience) = (controller, readPatience)
        let listening = Lock<[Task<Void, any Error>]>([])
        let channel = Lock<HTTP1Channel?>(nil)
        let places = ConnectionPlaces(maximum: Self.maximumConnections)
        defer {
            for task in listening.withLock({ $0 }) { task.cancel() }
            try? FileManager.default.removeItem(atPath: socketPath)
        }
        let application = Application(
            responder: Self.responder(controller),
            server: HTTPServerBuilder { responder in
                let http = HTTP1Channel(
                    responder: responder,
                    configuration: HTTP1Channel.Configuration(
                        additionalChannelHandlers: [
                            RequestBodies(maximumLength: Self.maximumConfigurationLength),
                            RequestDeadline(Self.idleTimeout),
                            ConnectionWatch(patience: readPatience) { controller.endFollowers() },
                        ],
                        idleTimeout: Self.idleTimeout))
                channel.withLock { $0 = http }
                if let inheritedSocket {
                    let listener = LocalListener(
                        place: .inherited(inheritedSocket), http: http, logger: inheritedLogger)
                    listening.withLock { $0.append(Task { try await listener.run() }) }
                }
                if let network {
                    listening.withLock { $0.append(Task { await network.serve(http, inheritedLogger) }) }
                }
                return LocalChannel(http: http, places: places)
            },
            configuration: ApplicationConfiguration(
                address: .unixDomainSocket(path: socketPath), serverName: "carousel",
                availableConnectionsDelegate: places),
            onServerRunning: { _ in
                // Belt and braces: the folder is closed to others already.
                try? FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: socketPath)
                if let http = channel.withLock({ $0 }) {
                    listening.withLock { $0.append(Task { await keepSocket(http) }) }
                }
                await onReady()
            }, logger: quiet)
        try await application.run()
    }

    /// Makes the socket again when somebody has removed it, until the task is cancelled: without it nobody could ask
    /// for anything, the end of the daemon included.
    private func keepSocket(_ http: HTTP1Channel) async {
        var again: Task<Void, any Error>?
        defer { again?.cancel() }
        while (try? await Task.sleep(for: socketInterval)) != nil {
            guard (try? FileManager.default.attributesOfItem(atPath: socketPath)) == nil else { continue }
            logger.warning("the control socket was removed; it is made again", metadata: ["path": "\(socketPath)"])
            // The former one, which nobody finds any more.
            again?.cancel()
            let listener = LocalListener(place: .path(socketPath), http: http, logger: logger)
            again = Task { [logger] in
                do {
                    try await listener.run()
                } catch {
                    logger.error("no control socket", metadata: ["reason": "\(ControlEndpoint.reason(error))"])
                }
            }
        }
    }
}

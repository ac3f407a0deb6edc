import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix

/// A control socket beside the daemon's first one: connections of it are served as those of that are, at most
/// ``ControlServer/maximumConnections`` of them at a time.
struct LocalListener {
    enum Place {
        /// The service manager listens on it; a descriptor that is for NIO to close.
        case inherited(Int32)
        /// It is made there, where nothing is.
        case path(String)
    }

    let place: Place
    let http: HTTP1Channel
    let logger: Logger

    /// Serves until the task is cancelled.
    func run() async throws {
        let logger = logger
        let places = ConnectionPlaces(maximum: ControlServer.maximumConnections)
        let local = LocalChannel(http: http, places: places)
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        AvailableConnectionsChannelHandler(delegate: places))
                }
            }
            .childChannelOption(ChannelOptions.allowRemoteHalfClosure, value: true)
        let server =
            switch place {
            case .inherited(let descriptor):
                try await bootstrap.bind(descriptor) { local.setup(channel: $0, logger: logger) }
            case .path(let path):
                try await bootstrap.bind(unixDomainSocketPath: path) { local.setup(channel: $0, logger: logger) }
            }
        try await server.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections {
                    group.addTask { await local.handle(value: connection, logger: logger) }
                }
            }
        }
    }
}

import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix

/// The control socket on which the service manager listens: connections of it are served as those of the daemon's own
/// socket are, at most ``ControlServer/maximumConnections`` of them at a time.
struct InheritedListener {
    /// A descriptor that is for NIO to close.
    let fileDescriptor: Int32
    let channel: LocalChannel
    let logger: Logger

    /// Serves until the task is cancelled.
    func run() async throws {
        let (local, logger) = (channel, logger)
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(ChannelOptions.allowRemoteHalfClosure, value: true)
            .bind(fileDescriptor) { channel in local.setup(channel: channel, logger: logger) }
        try await server.executeThenClose { connections in
            try await withThrowingTaskGroup(of: Void.self) { group in
                var count = 0
                for try await connection in connections {
                    if count == ControlServer.maximumConnections {
                        _ = try await group.next()
                        count -= 1
                    }
                    count += 1
                    group.addTask { await local.handle(value: connection, logger: logger) }
                }
            }
        }
    }
}

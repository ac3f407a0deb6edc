import Glibc
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

/// Where a connection comes from, as the kernel says.
enum Origin: Sendable, Hashable, CustomStringConvertible {
    /// A process of this machine, by the Unix socket (SO_PEERCRED, unix(7): as it was when it connected).
    case process(userID: UInt32, id: Int32)
    /// Anybody, by TCP: address and port.
    case address(String)
    case unknown

    /// Of the connection whose requests the present task serves.
    @TaskLocal static var current = Origin.unknown

    /// That of `channel`, a connection of a Unix socket.
    static func of(_ channel: any Channel) async -> Origin {
        guard let options = channel as? any SocketOptionProvider else { return .unknown }
        let found: Credentials? = try? await options.unsafeGetSocketOption(
            level: .socket, name: .init(rawValue: SO_PEERCRED)
        ).get()
        return found.map { .process(userID: $0.userID, id: $0.processID) } ?? .unknown
    }

    /// `struct ucred` of Linux, which Glibc's module leaves out.
    private struct Credentials: Sendable {
        var processID: Int32
        var userID: UInt32
        var groupID: UInt32
    }

    var description: String {
        switch self {
        case .process(let userID, let id): "uid:\(userID) pid:\(id)"
        case .address(let address): address
        case .unknown: "unknown"
        }
    }
}

/// Connections to a Unix socket: the kernel is asked once who has made each, before its first request is read.
struct LocalChannel: ServerChildChannel {
    let http: HTTP1Channel
    let places: ConnectionPlaces

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        http.setup(channel: channel, logger: logger).flatMapThrowing { [places] value in
            let context = try channel.pipeline.syncOperations.context(handlerType: RequestDeadline.self)
            (context.handler as? RequestDeadline)?.take(places, context: context)
            return value
        }
    }

    func handle(value connection: HTTP1Channel.Value, logger: Logger) async {
        await Origin.$current.withValue(await Origin.of(connection.channel)) {
            await http.handle(value: connection, logger: logger)
        }
    }
}

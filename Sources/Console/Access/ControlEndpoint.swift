import Foundation
import Management
import NIOCore
import NIOHTTP1
import NIOPosix
import Resources

/// Where a client finds the daemon, and how it shows who asks.
enum ControlEndpoint: Sendable {
    /// The socket in a state folder, where the kernel says who asks.
    case folder(String)
    case server(RemoteServer)

    typealias Connection = NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>

    /// A connection to send requests on, which there has to be after `limit`, and whose answers are watched by `rules`.
    func connect(_ rules: AnswerWatch.Rules, limit: TimeAmount) async throws -> Connection {
        switch self {
        case .folder(let folder):
            do {
                return try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup).connectTimeout(limit)
                    .connect(
                        unixDomainSocketPath: StateFolder.socketPath(in: folder)
                    ) { channel in
                        channel.eventLoop.makeCompletedFuture { try Self.connection(channel, rules) }
                    }
            } catch {
                if let owner = StateFolder.owner(of: folder) {
                    throw ControlClientError.unreachable(
                        "the daemon of state folder \(folder), process \(owner), does not answer requests yet, or not "
                            + "any more: it starts, or ends; try again, and see its log if that lasts")
                }
                throw ControlClientError.unreachable(
                    "no daemon answers for state folder \(folder): \(Self.reason(error)); start it with 'carousel "
                        + "serve --state \(folder)', or name another folder with --state"
                )
            }
        case .server(let server): return try await server.connect(rules, limit: limit)
        }
    }

    /// The fields of a request's head that depend on where it goes.
    var fields: HTTPHeaders {
        switch self {
        case .folder: ["host": "carousel"]
        case .server(let server):
            ["host": server.authority, "authorization": "Bearer \(server.token)"]
        }
    }

    static func connection(_ channel: any Channel, _ rules: AnswerWatch.Rules) throws -> Connection {
        try channel.pipeline.syncOperations.addHandler(AnswerWatch(rules))
        try channel.pipeline.syncOperations.addHTTPClientHandlers()
        return try NIOAsyncChannel(wrappingChannelSynchronously: channel)
    }

    /// What the system said, in a few words.
    static func reason(_ error: any Error) -> String {
        if let error = error as? SocketAddressError {
            switch error {
            case .unixDomainSocketPathTooLong: return "its path is too long for a socket in it"
            case .unknown(let host, _): return "the name \(host) is not known"
            default: return "\(error)"
            }
        }
        if let error = error as? NIOConnectionError, let first = error.connectionErrors.first {
            return reason(first.error)
        }
        if error is ChannelError { return "it does not take connections" }
        guard let error = error as? IOError else { return "\(error)" }
        return switch error.errnoCode {
        case ENOENT: "it has no control socket"
        case ECONNREFUSED: "nothing listens there"
        case EAGAIN: "too many others wait for it already"
        case EACCES: "its control socket belongs to another user"
        default: POSIXErrorCode(rawValue: error.errnoCode).map { POSIXError($0).localizedDescription } ?? "\(error)"
        }
    }
}

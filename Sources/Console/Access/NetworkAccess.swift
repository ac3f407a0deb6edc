import Glibc
import HummingbirdCore
import Logging
import Management
public import Platform
public import Resources

/// Where the API is offered over TCP beside the socket, and with what the daemon proves there who it is.
public struct NetworkAccess: Sendable, Hashable {
    /// Where it listens.
    public let address: SocketAddress
    /// The file of its certificate and of those that vouch for it, in PEM.
    public let certificate: String
    /// The file of its private key, in PEM.
    public let key: String

    public init(address: SocketAddress, certificate: String, key: String) {
        self.address = address
        self.certificate = certificate
        self.key = key
    }

    /// Whether this program was built with TLS (the trait `TLS` of the package), without which nothing is offered on,
    /// or asked over, a network.
    public static var isAvailable: Bool {
        #if TLS
            true
        #else
            false
        #endif
    }

    /// What says that it was built without.
    public static let notBuilt = ManagementError(
        .invalid,
        "this program was built without TLS, and nothing is asked over a network without; build it with "
            + "'swift build -c release --traits TLS'")
}

/// A socket on which the API is offered over TCP.
public struct NetworkSocket: Sendable {
    private let socket: ListenSocket
    #if TLS
        private let certificate: ServerCertificate
    #endif

    /// Reads certificate and key, and listens; who connects is answered when a server serves.
    public init(_ access: NetworkAccess) throws(ManagementError) {
        #if TLS
            certificate = try ServerCertificate(access)
        #else
            guard NetworkAccess.isAvailable else { throw NetworkAccess.notBuilt }
        #endif
        do throws(SystemError) {
            socket = try ListenSocket(listeningOn: access.address, backlog: Self.backlog)
        } catch {
            throw ManagementError(
                error.code == Errno.addressInUse ? .inUse : .system,
                "cannot listen on \(access.address) for the API: \(error.reason); choose another address with --control"
            )
        }
    }

    /// The address, with the port that the system chose when 0 was asked for.
    public var address: SocketAddress { socket.address }

    /// How many connections the kernel keeps that have not been taken.
    private static let backlog: Int32 = 256

    /// Reads certificate and key again: connections that are made from now on get those. When they are no good, what
    /// was read before stays in force.
    public func reload() throws(ManagementError) {
        #if TLS
            try certificate.reload()
        #endif
    }

    /// Serves until the task is cancelled.
    func serve(_ http: HTTP1Channel, _ logger: Logger) async {
        #if TLS
            await NetworkListener(
                fileDescriptor: dup(socket.fileDescriptor), certificate: certificate, http: http, logger: logger
            ).run()
        #endif
    }
}

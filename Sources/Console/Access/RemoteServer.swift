import Foundation
import NIOCore
public import Resources

/// A daemon on another machine, or one that is asked as if it were.
public struct RemoteServer: Sendable, Hashable {
    let host: String
    let port: Int
    let token: String
    /// The file of the certificates to trust; those of the system when nil.
    let authorities: String?

    /// `host:port`, an IPv6 address in brackets.
    var authority: String { (host.contains(":") ? "[\(host)]" : host) + ":\(port)" }
    var url: String { "https://\(authority)" }

    /// The daemon at `url`, which is `https://HOST:PORT`.
    ///
    /// - Throws: `ManagementError.Code.invalid` when it is something else, or this program was built without TLS.
    public init(url: String, token: String, authorities: String?) throws(ManagementError) {
        guard NetworkAccess.isAvailable else { throw NetworkAccess.notBuilt }
        guard let parts = URLComponents(string: url), parts.scheme == "https", let host = parts.host, !host.isEmpty,
            let port = parts.port, (1...65_535).contains(port), ["", "/"].contains(parts.path), parts.query == nil,
            parts.user == nil, parts.fragment == nil
        else { throw ManagementError(.invalid, "'\(url)' is no server; write https://HOST:PORT") }
        self.host = host.trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
        self.port = port
        self.token = token
        self.authorities = authorities
    }

    #if !TLS
        func connect(_ rules: AnswerWatch.Rules, limit: TimeAmount) async throws -> ControlEndpoint.Connection {
            throw ControlClientError.invalid(NetworkAccess.notBuilt)
        }
    #endif
}

import Foundation
import NIOHTTP1

/// A request, as far as routes see it.
struct APIRequest: Sendable {
    /// GET, POST, PATCH or DELETE.
    var method: HTTPMethod
    /// The path without query, as it was sent.
    var path: Substring
    /// The body; nil when it was longer than `ControlServer.maximumBodyLength`.
    var body: Data?
}

/// An answer: a status and JSON.
struct APIResponse: Sendable {
    var status: HTTPResponseStatus
    var body: Data
}

/// What the API offers: for each method and form of path the function that answers.
struct RouteTable: Sendable {
    /// The parts of a path that a pattern names, still encoded.
    typealias Parameters = [Substring: Substring]
    typealias Handler = @Sendable (APIRequest, Parameters) async -> APIResponse

    private struct Route: Sendable {
        let method: HTTPMethod
        /// The parts between slashes; one that begins with a colon is a name for whatever stands there.
        let pattern: [Substring]
        let handler: Handler
    }

    private let prefix: String
    private var routes: [Route] = []

    /// An empty table for paths below `prefix`.
    init(prefix: String) { self.prefix = prefix }

    mutating func get(_ pattern: String, _ handler: @escaping Handler) { add(.GET, pattern, handler) }
    mutating func post(_ pattern: String, _ handler: @escaping Handler) { add(.POST, pattern, handler) }
    mutating func patch(_ pattern: String, _ handler: @escaping Handler) { add(.PATCH, pattern, handler) }
    mutating func delete(_ pattern: String, _ handler: @escaping Handler) { add(.DELETE, pattern, handler) }

    private mutating func add(_ method: HTTPMethod, _ pattern: String, _ handler: @escaping Handler) {
        routes.append(Route(method: method, pattern: (prefix + pattern).split(separator: "/"), handler: handler))
    }

    /// The function for a request with the parts of its path that have a name; else the status that says what is wrong.
    func handler(for request: APIRequest) -> Result<(Handler, Parameters), Mismatch> {
        let parts = request.path.split(separator: "/")
        var mismatch = Mismatch.path
        for route in routes {
            guard let parameters = Self.match(parts, route.pattern) else { continue }
            if route.method == request.method { return .success((route.handler, parameters)) }
            mismatch = .method
        }
        return .failure(mismatch)
    }

    /// Why nothing answers a request.
    enum Mismatch: Error {
        /// No route has such a path.
        case path
        /// Those that have it are for other methods.
        case method
    }

    private static func match(_ parts: [Substring], _ pattern: [Substring]) -> Parameters? {
        guard parts.count == pattern.count else { return nil }
        var parameters: Parameters = [:]
        for (part, expected) in zip(parts, pattern) {
            if expected.hasPrefix(":") {
                parameters[expected.dropFirst()] = part
            } else if part != expected {
                return nil
            }
        }
        return parameters
    }
}

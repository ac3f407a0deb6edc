import Foundation
import HTTPTypes
import Hummingbird
import Management
import NIOCore
import Resources

/// The generic API: the same few routes for every kind, from its table.
///
/// | route | |
/// | --- | --- |
/// | `GET /v1/{kinds}` | a page of things |
/// | `POST /v1/{kinds}` | makes one |
/// | `GET`, `PATCH`, `DELETE /v1/{kinds}/{name}` | shows, changes, deletes one |
/// | `POST /v1/{kinds}/{name}/actions/{action}`, `POST /v1/{kinds}/actions/{action}` | asks for an action |
struct API: Sendable {
    /// Why a request is not answered by what it asks for.
    struct Problem: Error {
        let status: HTTPResponse.Status
        let error: ManagementError
        /// The methods that the path has, where that is the problem.
        var allowed: [HTTPRequest.Method] = []
        /// How to show who one is (RFC 9110 section 11.6.1), where that is the problem.
        var challenge: String?

        init(_ status: HTTPResponse.Status, _ error: ManagementError, allowed: [HTTPRequest.Method] = []) {
            self.status = status
            self.error = error
            self.allowed = allowed
        }

        init(_ error: ManagementError) {
            let status: HTTPResponse.Status =
                switch error.code {
                case .invalid: .badRequest
                case .notFound: .notFound
                case .conflict, .inUse, .damaged: .conflict
                case .outdated: .preconditionFailed
                case .system: .serviceUnavailable
                case .unauthenticated: .unauthorized
                case .forbidden: .forbidden
                case .internal: .internalServerError
                }
            self.init(status, error)
        }
    }

    private let endpoints: [String: Endpoint]
    private let openAPI: JSONValue
    private let followers = Followers()

    init(_ endpoints: [Endpoint]) {
        self.endpoints = Dictionary(endpoints.map { ($0.kind.plural, $0) }, uniquingKeysWith: { first, _ in first })
        openAPI = OpenAPI.document(endpoints.map(\.kind))
    }

    // MARK: Routes

    /// The answer to a request; nil when it is for a kind that has no table.
    func respond(to request: Request) async -> Response? {
        do {
            return try await dispatch(request)
        } catch let problem as Problem {
            return Self.response(to: problem)
        } catch let error as ManagementError {
            return Self.response(to: Problem(error))
        } catch {
            return Self.response(to: Problem(ManagementError(.internal, "the daemon failed: \(error)")))
        }
    }

    private func dispatch(_ request: Request) async throws -> Response? {
        var parts: [String] = []
        for part in request.uri.path.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            guard let part = String(part).removingPercentEncoding else {
                throw ManagementError(.invalid, "the path \(request.uri.path) has an incomplete escape sequence")
            }
            parts.append(part)
        }
        guard parts.first == "v1", parts.count > 1 else { throw Self.noSuchPath(request) }
        if parts == ["v1", "openapi.json"] {
            try Self.check(request, in: [.get])
            return try Self.response(.ok, openAPI)
        }
        guard let endpoint = endpoints[parts[1]] else { return nil }
        let kind = endpoint.kind
        switch parts.count {
        case 2:
            try Self.check(request, in: Self.methods(kind, [(.list, .get), (.create, .post)]))
            if request.method == .post { return try await create(endpoint, request) }
            return try await list(endpoint, request)
        case 3:
            try Self.check(request, in: Self.methods(kind, [(.show, .get), (.set, .patch), (.delete, .delete)]))
            let name = parts[2]
            switch request.method {
            case .patch:
                let body = try Self.object(
                    try await Self.body(of: request),
                    only: ["spec"] + (kind.wideningVerbs.contains(.set) ? ["open"] : []))
                try Caller.check(body["spec"], kind.spec)
                var options = try Self.options(of: request, .set, kind)
                options.mayWiden = try FieldType.flag.checked(body["open"] ?? false, field: "open") == true
                return try Self.response(
                    to: try await endpoint.changing(name, try Self.members(body["spec"], of: "spec"), options), .ok)
            case .delete:
                let options = try Self.options(of: request, .delete, kind)
                return try Self.response(to: try await endpoint.deleting(name, options), .noContent, options.patience)
            default:
                let thing = try await endpoint.show(name)
                guard try EntityTags.isKnown(thing, by: request) else { return try Self.response(.ok, thing) }
                return Response(status: .notModified, headers: Self.headers(of: thing))
            }
        case 4 where parts[2] == "actions": return try await perform(parts[3], on: nil, endpoint, request)
        case 5 where parts[3] == "actions": return try await perform(parts[4], on: parts[2], endpoint, request)
        // Perhaps one of those that have no table.
        default: return nil
        }
    }

    private func list(_ endpoint: Endpoint, _ request: Request) async throws -> Response {
        var page = Page()
        var isFollowed = false
        for (key, value) in try Self.parameters(of: request) {
            let value = value.removingPercentEncoding ?? ""
            switch key {
            case "after": page.after = value
            case "of": page.whole = value
            case "limit":
                guard let limit = PlainNumber.parse(value), (1...Page.maximumLength).contains(limit) else {
                    throw ManagementError(
                        .invalid, "limit '\(value)' is not possible; give 1 to \(Page.maximumLength)", field: "limit")
                }
                page.limit = limit
            case "last":
                guard let last = PlainNumber.parse(value), (1...Page.maximumLength).contains(last) else {
                    throw ManagementError(
                        .invalid, "last '\(value)' is not possible; give 1 to \(Page.maximumLength)", field: "last")
                }
                page.last = last
            case "follow" where endpoint.kind.isFollowed:
                isFollowed = try value.isEmpty || FieldType.flag.parsed(value, field: "follow") == true
            case "space" where endpoint.kind.hasSpace:
                page.waitsForSpace = try value.isEmpty || FieldType.flag.parsed(value, field: "space") == true
            case let key where endpoint.kind.filters.contains(String(key)): page.filters[String(key)] = value
            default:
                let known =
                    ["after", "last", "limit", "of"] + endpoint.kind.filters
                    + (endpoint.kind.isFollowed ? ["follow"] : []) + (endpoint.kind.hasSpace ? ["space"] : [])
                throw ManagementError(
                    .invalid, "a list has no parameter '\(key)'; it has \(known.joined(separator: ", "))",
                    field: String(key))
            }
        }
        if isFollowed { return try await follow(endpoint, page, request) }
        let (items, next) = try await endpoint.list(page)
        var answer: [String: JSONValue] = ["items": .array(items)]
        if let next { answer["next"] = .text(next) }
        return try Self.response(.ok, .object(answer))
    }

    private func create(_ endpoint: Endpoint, _ request: Request) async throws -> Response {
        let body = try Self.object(try await Self.body(of: request), only: ["name", "spec"])
        try Caller.check(body["spec"], endpoint.kind.spec)
        guard let name = body["name"]?.text ?? endpoint.kind.naming.onlyName else {
            throw ManagementError(.invalid, "\(endpoint.kind.aSingular) needs a name, as text", field: "name")
        }
        let options = try Self.options(of: request, .create, endpoint.kind)
        let outcome = try await endpoint.creating(name, try Self.members(body["spec"], of: "spec"), options)
        var response = try Self.response(to: outcome, .created, options.patience)
        if case .done(let thing) = outcome {
            response.headers[.location] =
                "/v1/\(endpoint.kind.plural)/\(ControlClient.escaped(thing?["name"]?.text ?? name))"
        }
        return response
    }

    /// The answer with what comes into a list, as it comes.
    private func follow(_ endpoint: Endpoint, _ page: Page, _ request: Request) async throws -> Response {
        var page = page
        if let last = EventStream.lastEventID.flatMap({ request.headers[$0] }) { page.after = last }
        guard page.last == nil else {
            throw ManagementError(.invalid, "what comes has no last ones; leave out 'last' or 'follow'", field: "last")
        }
        let caller = Caller.current
        let place = try followers.place(token: caller?.token)
        return EventStream.response(try await endpoint.follow(page), place, for: caller)
    }

    private func perform(
        _ action: String, on name: String?, _ endpoint: Endpoint, _ request: Request
    ) async throws -> Response {
        guard let known = endpoint.kind.action(action), known.subject.isAsked(ofOne: name != nil) else {
            throw Self.noSuchPath(request)
        }
        try Self.check(request, in: [.post])
        try Self.checkHasNoParameters(request)
        let body = try await Self.body(of: request)
        try Caller.check(body, known.arguments)
        return try Self.response(
            .ok,
            try await endpoint.perform(
                action, name, try Self.members(body), expecting: try EntityTags.expected(by: request)))
    }

    // MARK: Requests

    private static func methods(
        _ kind: KindDescription, _ verbs: [(Verb, HTTPRequest.Method)]
    ) -> [HTTPRequest.Method] {
        verbs.filter { kind.verbs.contains($0.0) }.map(\.1)
    }

    private static func check(_ request: Request, in methods: [HTTPRequest.Method]) throws {
        guard !methods.contains(request.method) else { return }
        guard !methods.isEmpty else { throw noSuchPath(request) }
        let list = methods.map(\.rawValue).joined(separator: ", ")
        throw Problem(
            .methodNotAllowed,
            ManagementError(.invalid, "\(request.uri.path) takes \(list), not \(request.method.rawValue)"),
            allowed: methods)
    }

    /// Refuses the method of a request for a path of those `routes`; nil when it is for none of them.
    static func wrongMethod(_ request: Request, _ routes: [Route]) -> Problem? {
        let methods = routes.filter { $0.matches(request.uri.path) }.map(\.method)
        guard !methods.isEmpty else { return nil }
        do {
            try check(request, in: methods)
            return nil
        } catch {
            return error as? Problem
        }
    }

    /// A method at a path, of which parts that are in braces, or begin with a colon, may be anything.
    struct Route: Sendable {
        let method: HTTPRequest.Method
        private let parts: [String]

        init(_ method: HTTPRequest.Method, _ path: String) {
            self.method = method
            parts = path.split(separator: "/").map(String.init)
        }

        func matches(_ path: String) -> Bool {
            let other = path.split(separator: "/")
            return other.count == parts.count
                && zip(parts, other).allSatisfy { $0.hasPrefix(":") || $0.hasPrefix("{") || $0 == $1 }
        }
    }

    static func noSuchPath(_ request: Request) -> Problem {
        Problem(
            .notFound,
            ManagementError(.notFound, "there is nothing at \(request.uri.path); /v1/openapi.json says what there is"))
    }

    /// The JSON of the body; an empty object when there is no body.
    static func body(
        of request: Request, upTo maximumLength: Int = ControlServer.maximumBodyLength
    ) async throws -> JSONValue {
        let isTooLong = RequestBodies.announcedLength(request.headers).map { $0 > maximumLength } ?? false
        guard !isTooLong else { throw tooLong(maximumLength) }
        let bytes: ByteBuffer
        do {
            bytes = try await request.body.collect(upTo: maximumLength)
        } catch let error where !(error is NIOTooManyBytesError) {
            throw ManagementError(.invalid, "the body cannot be read: it is not sent as HTTP/1.1 has it, or not whole")
        } catch {
            throw tooLong(maximumLength)
        }
        guard bytes.readableBytes > 0 else { return [:] }
        guard JSONNames.isUTF8(bytes.readableBytesView) else {
            throw ManagementError(.invalid, "the body is no JSON in UTF-8")
        }
        let body: JSONValue
        do {
            body = try APICoding.decode(JSONValue.self, from: Data(bytes.readableBytesView))
        } catch {
            throw ManagementError(.invalid, "the body is no JSON")
        }
        try checkNames(bytes)
        return body
    }

    private static func tooLong(_ maximumLength: Int) -> Problem {
        Problem(.contentTooLarge, ManagementError(.invalid, "the body has more than \(maximumLength) bytes"))
    }

    /// Refuses JSON in which a name stands twice: who reads it might take the other one.
    static func checkNames(_ bytes: ByteBuffer) throws(ManagementError) {
        guard let name = JSONNames.doubled(in: bytes.readableBytesView) else { return }
        throw ManagementError(.invalid, "an object of the body has '\(name)' twice; give it once", field: name)
    }

    /// The members of the field `field`, or of the body itself; none when it was left out.
    static func members(_ value: JSONValue?, of field: String? = nil) throws(ManagementError) -> [String: JSONValue] {
        switch value {
        case nil: return [:]
        case .object(let members)?: return members
        case let other?:
            throw ManagementError(
                .invalid, "\(field ?? "the body") is \(other.typeName) where an object is expected", field: field)
        }
    }

    private static func object(
        _ value: JSONValue, only names: [String]
    ) throws(ManagementError) -> [String: JSONValue] {
        let object = try members(value)
        for name in object.keys.sorted() where !names.contains(name) {
            throw ManagementError(
                .invalid, "the body has no field '\(name)'; it has \(names.joined(separator: " and "))", field: name)
        }
        return object
    }

    // MARK: Answers

    static func response(_ status: HTTPResponse.Status, _ value: JSONValue) throws -> Response {
        var headers = headers(of: value)
        headers[.contentType] = "application/json"
        return Response(
            status: status, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: try APICoding.encode(value))))
    }

    /// What is said of a thing in the header of an answer.
    private static func headers(of value: JSONValue) -> HTTPFields {
        var headers: HTTPFields = [:]
        if let tag = EntityTags.tag(of: value) { headers[.eTag] = tag }
        return headers
    }

    /// A problem as RFC 9457 has it, with `code`, `field` and `generation` besides.
    static func response(to problem: Problem) -> Response {
        var body: [String: JSONValue] = [
            "type": "about:blank", "title": .text(problem.status.reasonPhrase),
            "status": .integer(Int64(problem.status.code)), "detail": .text(problem.error.message),
            "code": .text(problem.error.code.rawValue),
        ]
        if let field = problem.error.field { body["field"] = .text(field) }
        if let generation = problem.error.generation { body["generation"] = .integer(generation) }
        var headers: HTTPFields = [.contentType: "application/problem+json"]
        if !problem.allowed.isEmpty {
            // What shows something tells of it, too.
            headers[.allow] = problem.allowed.flatMap { $0 == .get ? [$0, .head] : [$0] }.map(\.rawValue)
                .joined(separator: ", ")
        }
        headers[.wwwAuthenticate] = problem.challenge
        // Nobody waits for the rest of the body.
        if problem.status == .contentTooLarge { headers[.connection] = "close" }
        let data = (try? APICoding.encode(JSONValue.object(body))) ?? Data()
        return Response(
            status: problem.status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: data)))
    }
}

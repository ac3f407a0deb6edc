import Foundation
import Management
import NIOCore
import NIOHTTP1
import NIOPosix
public import Resources

/// Why a request to the daemon failed.
public enum ControlClientError: Error, Sendable, Hashable {
    /// No daemon answers, or it ended before it did; one sentence.
    case unreachable(String)
    /// The request makes no sense, so the daemon was not asked.
    case invalid(ManagementError)
    /// The daemon refused.
    case refused(ManagementError)
    /// The answer does not have the form of this version; one sentence.
    case notUnderstood(String)
}

/// The daemon's API, seen from a client: one connection a request.
public struct ControlClient: Sendable {
    /// The longest answer in bytes: a library with as many cartridges as can be fits well.
    private static let maximumAnswerLength = 64 << 20

    private let stateFolder: String

    /// A client of the daemon that owns `stateFolder`.
    public init(stateFolder: String) { self.stateFolder = stateFolder }

    public func get<Answer: Decodable>(_ path: String) async throws -> Answer {
        try await request(.GET, path, body: nil)
    }

    public func delete<Answer: Decodable>(_ path: String) async throws -> Answer {
        try await request(.DELETE, path, body: nil)
    }

    public func post<Answer: Decodable>(_ path: String, _ body: some Encodable) async throws -> Answer {
        try await request(.POST, path, body: try APICoding.encode(body))
    }

    public func patch<Answer: Decodable>(_ path: String, _ body: some Encodable) async throws -> Answer {
        try await request(.PATCH, path, body: try APICoding.encode(body))
    }

    // MARK: Things

    /// All things of a kind, by name, or those that are parts of `whole`; of these only the last so many.
    public func list(
        _ kind: KindDescription, of whole: String? = nil, last: Int? = nil
    ) async throws -> [JSONValue] {
        if let last {
            let answer: JSONValue = try await get(
                "\(kind.plural)?last=\(last)" + (whole.map { "&of=" + Self.escaped($0) } ?? ""))
            return answer["items"]?.elements ?? []
        }
        var items: [JSONValue] = []
        var query = whole.map { ["of=" + Self.escaped($0)] } ?? []
        while true {
            let answer: JSONValue = try await get(
                kind.plural + (query.isEmpty ? "" : "?" + query.joined(separator: "&")))
            items += answer["items"]?.elements ?? []
            guard let next = answer["next"]?.text else { return items }
            query = (whole.map { ["of=" + Self.escaped($0)] } ?? []) + ["after=" + Self.escaped(next)]
        }
    }

    /// The thing `name`.
    public func show(_ kind: KindDescription, _ name: String) async throws -> JSONValue {
        try await get(try Self.path(kind, name))
    }

    /// Makes the thing `name`, with these fields of its spec.
    public func create(_ kind: KindDescription, _ name: String, _ spec: [String: JSONValue]) async throws -> JSONValue {
        _ = try Self.path(kind, name)
        return try await post(kind.plural, JSONValue.object(["name": .text(name), "spec": .object(spec)]))
    }

    /// Changes these fields of the spec of the thing `name`.
    /// Refused when somebody might see more than before, unless `mayWiden`.
    public func change(
        _ kind: KindDescription, _ name: String, _ spec: [String: JSONValue], mayWiden: Bool = false
    ) async throws -> JSONValue {
        var body: [String: JSONValue] = ["spec": .object(spec)]
        if mayWiden { body["open"] = true }
        return try await patch(try Self.path(kind, name), JSONValue.object(body))
    }

    /// Deletes the thing `name`. Refused when somebody might see more than before, unless `mayWiden`.
    public func delete(_ kind: KindDescription, _ name: String, mayWiden: Bool = false) async throws {
        let _: JSONValue = try await delete(try Self.path(kind, name) + (mayWiden ? "?open=true" : ""))
    }

    /// Asks for an action of the thing `name`, or of the kind.
    public func perform(
        _ action: ActionDescription, _ kind: KindDescription, _ name: String?, _ arguments: [String: JSONValue]
    ) async throws -> JSONValue {
        let path = try name.map { try Self.path(kind, $0) } ?? kind.plural
        return try await post(path + "/actions/" + action.name, JSONValue.object(arguments))
    }

    /// The path of a thing. A name that no thing can have is refused here: an empty one would be another path.
    private static func path(_ kind: KindDescription, _ name: String) throws(ControlClientError) -> String {
        do throws(ManagementError) {
            return kind.plural + "/" + escaped(try kind.naming.checked(name))
        } catch {
            throw .invalid(error)
        }
    }

    /// `name` as one part of a path.
    public static func escaped(_ name: String) -> String {
        name.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(CharacterSet(charactersIn: "-._")))
            ?? name
    }

    private func request<Answer: Decodable>(_ method: HTTPMethod, _ path: String, body: Data?) async throws -> Answer {
        try Self.check(path)
        let (status, answer) = try await exchange(method, "/v1/" + path, body: body ?? Data())
        if (200..<300).contains(status) {
            do {
                if answer.isEmpty, let nothing = JSONValue.null as? Answer { return nothing }
                return try APICoding.decode(Answer.self, from: answer)
            } catch {
                throw ControlClientError.notUnderstood(
                    "the daemon's answer is not understood; are both of one version?")
            }
        }
        guard let problem = try? APICoding.decode(JSONValue.self, from: answer), let detail = problem["detail"]?.text
        else {
            throw ControlClientError.notUnderstood(
                "the daemon answered \(method.rawValue) \(path) with HTTP status \(status); are both of one version?")
        }
        let code = problem["code"]?.text.flatMap(ManagementError.Code.init(rawValue:)) ?? .internal
        throw ControlClientError.refused(ManagementError(code, detail, field: problem["field"]?.text))
    }

    /// Refuses a path with an empty name in it, which would be another path.
    private static func check(_ path: String) throws(ControlClientError) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard let index = parts.firstIndex(of: "") else { return }
        do throws(ManagementError) {
            switch index > 0 ? parts[index - 1] : "" {
            case "libraries": try DeviceName.check("", of: "library")
            default: throw ManagementError(.invalid, "'' is no name; give one")
            }
        } catch {
            throw .invalid(error)
        }
    }

    private func exchange(_ method: HTTPMethod, _ path: String, body: Data) async throws -> (Int, Data) {
        let channel: NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>
        do {
            channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup).connect(
                unixDomainSocketPath: StateFolder.socketPath(in: stateFolder)
            ) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    return try NIOAsyncChannel(wrappingChannelSynchronously: channel)
                }
            }
        } catch {
            throw ControlClientError.unreachable(
                "no daemon answers for state folder \(stateFolder): \(Self.reason(error)); start it with 'carousel "
                    + "serve --state \(stateFolder)', or name another folder with --state"
            )
        }
        do {
            return try await channel.executeThenClose { inbound, outbound in
                let headers: HTTPHeaders = [
                    "host": "carousel", "content-type": "application/json", "content-length": "\(body.count)",
                    "connection": "close",
                ]
                // All parts at once: the daemon may answer and close as soon as it has a request without a body, and a
                // part written after that would fail.
                try await outbound.write(contentsOf: [
                    .head(HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: headers)),
                    .body(.byteBuffer(ByteBuffer(bytes: body))),
                    .end(nil),
                ])
                return try await Self.answer(from: inbound)
            }
        } catch let failure as ControlClientError {
            throw failure
        } catch {
            throw Self.brokenOff
        }
    }

    private static func answer(
        from inbound: NIOAsyncChannelInboundStream<HTTPClientResponsePart>
    ) async throws -> (Int, Data) {
        var status = 0
        var data = Data()
        for try await part in inbound {
            switch part {
            case .head(let head): status = Int(head.status.code)
            case .body(let bytes):
                data.append(contentsOf: bytes.readableBytesView)
                guard data.count <= maximumAnswerLength else { throw brokenOff }
            case .end: return (status, data)
            }
        }
        throw brokenOff
    }

    private static let brokenOff = ControlClientError.unreachable(
        "the daemon ended before it answered; see its output, and ask it again for what was done")

    private static func reason(_ error: any Error) -> String {
        if let error = error as? SocketAddressError, case .unixDomainSocketPathTooLong = error {
            return "its path is too long for a socket in it"
        }
        guard let error = error as? IOError else { return "\(error)" }
        return switch error.errnoCode {
        case ENOENT: "it has no control socket"
        case ECONNREFUSED: "nothing listens on its control socket"
        case EACCES: "its control socket belongs to another user"
        default: POSIXErrorCode(rawValue: error.errnoCode).map { POSIXError($0).localizedDescription } ?? "\(error)"
        }
    }
}

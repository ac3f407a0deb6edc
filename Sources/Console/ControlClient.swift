import Foundation
import Management
import NIOCore
import NIOHTTP1
import NIOPosix
public import Resources

/// Why a request to the daemon failed.
public enum ControlClientError: Error, Sendable, Hashable {
    /// No daemon answers, or not in time, or it ended before it did; one sentence.
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

    private let endpoint: ControlEndpoint
    let limits: Limits

    /// A client of the daemon that owns `stateFolder`.
    public init(stateFolder: String, limits: Limits = Limits()) {
        endpoint = .folder(stateFolder)
        self.limits = limits
    }

    /// A client of a daemon that offers its API on a network.
    public init(server: RemoteServer, limits: Limits = Limits()) {
        endpoint = .server(server)
        self.limits = limits
    }

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

    /// What `/metrics` answers, in the text format of Prometheus.
    public func metrics() async throws -> String {
        let (status, answer) = try await exchange(.GET, "/metrics", body: Data()) { inbound in
            try await Self.answer(from: inbound)
        }
        guard status == 200 else {
            throw Self.refusal(answer)
                ?? .notUnderstood(
                    "the daemon answered GET /metrics with HTTP status \(status); are both of one version?")
        }
        return String(decoding: answer, as: UTF8.self)
    }

    // MARK: Things

    /// All things of a kind, by name, or those that are parts of `whole`, and whose fields `filters` are so; of these
    /// only the last so many, or those behind a name.
    public func list(
        _ kind: KindDescription, of whole: String? = nil, last: Int? = nil, after: String? = nil,
        filters: [String: String] = [:]
    ) async throws -> [JSONValue] {
        var conditions = filters
        conditions["of"] = whole
        if let last {
            conditions["last"] = "\(last)"
            let answer: JSONValue = try await get(kind.plural + Self.query(conditions))
            return answer["items"]?.elements ?? []
        }
        var items: [JSONValue] = []
        conditions["after"] = after
        while true {
            let answer: JSONValue = try await get(kind.plural + Self.query(conditions))
            items += answer["items"]?.elements ?? []
            guard let next = answer["next"]?.text else { return items }
            conditions["after"] = next
        }
    }

    /// `?NAME=VALUE&…`; nothing when there are none.
    static func query(_ parameters: [String: String]) -> String {
        let parts = parameters.sorted { $0.key < $1.key }.map { "\($0.key)=\(escaped($0.value))" }
        return parts.isEmpty ? "" : "?" + parts.joined(separator: "&")
    }

    /// The thing `name`.
    public func show(_ kind: KindDescription, _ name: String) async throws -> JSONValue {
        try await get(try Self.path(kind, name))
    }

    /// Makes the thing `name`, with these fields of its spec, and gives it; waits where that is a job.
    public func create(_ kind: KindDescription, _ name: String, _ spec: [String: JSONValue]) async throws -> JSONValue {
        let answer = try await startCreation(kind, name, spec)
        guard kind.jobVerbs.contains(.create) else { return answer }
        _ = try await finish(answer)
        return try await show(kind, name)
    }

    /// The same, but gives the job where it is one. A dry run checks only, and gives the thing as it would be.
    public func startCreation(
        _ kind: KindDescription, _ name: String, _ spec: [String: JSONValue], isDryRun: Bool = false
    ) async throws -> JSONValue {
        _ = try Self.path(kind, name)
        return try await post(
            kind.plural + Self.query(Self.parameters(isDryRun)),
            JSONValue.object(["name": .text(name), "spec": .object(spec)]))
    }

    /// Changes these fields of the spec of the thing `name`. Refused when somebody might see more than before, unless
    /// `mayWiden`. A dry run checks only, and gives the thing as it would be.
    public func change(
        _ kind: KindDescription, _ name: String, _ spec: [String: JSONValue], mayWiden: Bool = false,
        isDryRun: Bool = false
    ) async throws -> JSONValue {
        var body: [String: JSONValue] = ["spec": .object(spec)]
        if mayWiden { body["open"] = true }
        return try await patch(
            try Self.path(kind, name) + Self.query(Self.parameters(isDryRun)), JSONValue.object(body))
    }

    /// Deletes the thing `name`; waits where that is a job. Refused when somebody might see more than before, unless
    /// `mayWiden`.
    public func delete(_ kind: KindDescription, _ name: String, mayWiden: Bool = false) async throws {
        let answer = try await startDeletion(kind, name, mayWiden: mayWiden)
        if kind.jobVerbs.contains(.delete) { _ = try await finish(answer) }
    }

    /// The same, but gives the job where it is one; null where it is done. A dry run checks only, and gives the thing.
    public func startDeletion(
        _ kind: KindDescription, _ name: String, mayWiden: Bool = false, isDryRun: Bool = false
    ) async throws -> JSONValue {
        var parameters = Self.parameters(isDryRun)
        if mayWiden { parameters["open"] = "true" }
        return try await delete(try Self.path(kind, name) + Self.query(parameters))
    }

    private static func parameters(_ isDryRun: Bool) -> [String: String] { isDryRun ? ["dryRun": "true"] : [:] }

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
        let (status, answer) = try await exchange(method, "/v1/" + path, body: body ?? Data()) { inbound in
            try await Self.answer(from: inbound)
        }
        if (200..<300).contains(status) {
            do {
                if answer.isEmpty, let nothing = JSONValue.null as? Answer { return nothing }
                return try APICoding.decode(Answer.self, from: answer)
            } catch {
                throw ControlClientError.notUnderstood(
                    "the daemon's answer is not understood; are both of one version?")
            }
        }
        throw Self.refusal(answer)
            ?? .notUnderstood(
                "the daemon answered \(method.rawValue) \(path) with HTTP status \(status); are both of one version?")
    }

    /// The refusal in an answer; nil when it is none.
    static func refusal(_ answer: Data) -> ControlClientError? {
        guard let problem = try? APICoding.decode(JSONValue.self, from: answer), let detail = problem["detail"]?.text
        else { return nil }
        let code = problem["code"]?.text.flatMap(ManagementError.Code.init(rawValue:)) ?? .internal
        return .refused(
            ManagementError(
                code, detail, field: problem["field"]?.text, generation: problem["generation"].flatMap(Int64.from)))
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

    /// Sends a request on a connection of its own, and gives what `read` makes of the answer.
    func exchange<Answer: Sendable>(
        _ method: HTTPMethod, _ path: String, body: Data, headers others: HTTPHeaders = [:], isStream: Bool = false,
        _ read: @Sendable (NIOAsyncChannelInboundStream<HTTPClientResponsePart>) async throws -> Answer
    ) async throws -> Answer {
        let watch = watch(method, isStream: isStream)
        let channel = try await endpoint.connect(watch, limit: limits.connection)
        let fields = endpoint.fields
        do {
            return try await channel.executeThenClose { inbound, outbound in
                var headers: HTTPHeaders = [
                    "content-type": "application/json", "content-length": "\(body.count)", "connection": "close",
                ]
                headers.add(contentsOf: fields)
                headers.add(contentsOf: others)
                // All parts at once: the daemon may answer and close as soon as it has a request without a body, and a
                // part written after that would fail.
                try await outbound.write(contentsOf: [
                    .head(HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: headers)),
                    .body(.byteBuffer(ByteBuffer(bytes: body))),
                    .end(nil),
                ])
                return try await read(inbound)
            }
        } catch let failure as ControlClientError {
            throw watch.failure ?? failure
        } catch let error as CancellationError {
            throw error
        } catch {
            throw watch.failure ?? Self.brokenOff
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

    static let brokenOff = ControlClientError.unreachable(
        "the daemon ended before it answered; see its output, and ask it again for what was done")
}

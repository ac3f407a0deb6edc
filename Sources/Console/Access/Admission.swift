import Catalog
import Foundation
import Glibc
import HTTPTypes
import Hummingbird
import Management
import Resources

/// Finds out who asks, and refuses what that may not ask for, before anything else is done for a request.
///
/// Root and the daemon's own user may ask for everything through the Unix socket, which others cannot connect to unless
/// the service manager's socket lets them. Whoever gives a token has the role of that token, wherever it comes in.
struct Admission: Sendable {
    private let controller: Controller
    private let kinds: [String: KindDescription]
    private let ownUserID = geteuid()

    init(_ controller: Controller, _ kinds: [KindDescription]) {
        self.controller = controller
        self.kinds = Dictionary(kinds.map { ($0.plural, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The answer of `answer` on behalf of who asks, or the refusal.
    func admit(_ request: Request, _ answer: @Sendable () async throws -> Response) async throws -> Response {
        let caller: Caller
        do throws(ManagementError) {
            caller = try self.caller(of: request)
        } catch {
            var problem = API.Problem(error)
            if error.code == .unauthenticated {
                problem.challenge = "Bearer realm=\"carousel\""
                controller.noteRefusedRequest(error, from: Origin.current.description)
            }
            return API.response(to: problem)
        }
        return try await Caller.$current.withValue(caller) {
            let needed = Self.role(for: request.method, request.uri.path, kinds)
            guard caller.role >= needed else {
                return API.response(
                    to: API.Problem(Caller.refusal("\(request.method) \(request.uri.path)", needed: needed)))
            }
            return try await Requester.$current.withValue(caller.actor) { try await answer() }
        }
    }

    // MARK: Who asks

    private func caller(of request: Request) throws(ManagementError) -> Caller {
        if let credentials = request.headers[.authorization] {
            let token = try Self.token(in: credentials)
            let holder = try controller.holder(ofToken: token)
            return Caller(actor: .token(holder.name), role: holder.role) { [controller] () throws(ManagementError) in
                guard try controller.holder(ofToken: token).role == holder.role else {
                    throw ManagementError(.unauthenticated, "the token has another role now; ask again")
                }
            }
        }
        guard case .process(let userID, let id) = Origin.current else {
            throw ManagementError(
                .unauthenticated, "send a token, as in 'Authorization: Bearer TOKEN'; 'carousel token create' makes one"
            )
        }
        guard userID == 0 || userID == ownUserID else {
            throw ManagementError(
                .unauthenticated,
                "root and user \(ownUserID), whose daemon this is, need no token; user \(userID) does: send one, as in "
                    + "'Authorization: Bearer TOKEN'")
        }
        return Caller(actor: .user(id: userID, process: id), role: .admin) {}
    }

    /// The token in the field Authorization (RFC 6750 section 2.1).
    private static func token(in credentials: String) throws(ManagementError) -> String {
        let parts = credentials.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw ManagementError(.unauthenticated, "only tokens are taken, as in 'Authorization: Bearer TOKEN'")
        }
        return parts[1].trimmingCharacters(in: .whitespaces)
    }

    // MARK: For what

    /// The role that a request needs: what a table says, and beside the tables `viewer` to look and `admin` for all
    /// else. The cases are those of `API.dispatch`, so that no spelling of a path is another one there.
    static func role(for method: HTTPRequest.Method, _ path: String, _ kinds: [String: KindDescription]) -> Role {
        let atLeast: Role = method == .get || method == .head ? .viewer : .admin
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
            .map { String($0).removingPercentEncoding ?? "" }
        guard parts.count > 1 else { return atLeast }
        // A check changes nothing; the field that has it repair is for admins.
        if parts == ["v1", "check"] { return min(atLeast, .operator) }
        guard let kind = kinds[parts[1]] else { return atLeast }
        switch parts.count {
        case 2: return role([.post: .create][method], kind)
        case 3: return role([.patch: .set, .delete: .delete][method], kind)
        case 4 where parts[2] == "actions", 5 where parts[3] == "actions":
            // Everybody may hear that there is none of that name.
            return kind.action(parts[parts.count - 1]).map(kind.role(for:)) ?? .viewer
        default: return atLeast
        }
    }

    /// The role for a verb; everybody may hear that the kind does not have it.
    private static func role(_ verb: Verb?, _ kind: KindDescription) -> Role {
        guard let verb, kind.verbs.contains(verb) else { return .viewer }
        return kind.role(for: verb)
    }
}

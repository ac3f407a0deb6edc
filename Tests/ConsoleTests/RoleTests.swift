import Foundation
import HTTPTypes
import Hummingbird
import Management
import ManagementTestSupport
import Resources
import Testing

@testable import Console

@Suite("Roles")
struct RoleTests {
    static let kinds = Registry.kinds.map { $0.description }
    static let table = Dictionary(uniqueKeysWithValues: kinds.map { ($0.plural, $0) })

    /// The role that the request needs.
    static func role(_ method: HTTPRequest.Method, _ path: String) -> Role {
        Admission.role(for: method, path, table)
    }

    /// Every request that the tables offer, with the role that they say.
    static var offered: [(method: HTTPRequest.Method, path: String, role: Role)] {
        kinds.flatMap { kind -> [(method: HTTPRequest.Method, path: String, role: Role)] in
            let all = "/v1/\(kind.plural)"
            let one = all + "/x"
            let verbs: [Verb: (HTTPRequest.Method, String)] = [
                .list: (.get, all), .create: (.post, all), .show: (.get, one), .set: (.patch, one),
                .delete: (.delete, one),
            ]
            let ofVerbs = kind.verbs.compactMap { verb in
                verbs[verb].map { (method: $0.0, path: $0.1, role: kind.role(for: verb)) }
            }
            let ofActions = kind.actions.flatMap { action in
                [(one, true), (all, false)].filter { action.subject.isAsked(ofOne: $0.1) }.map { path, _ in
                    (
                        method: HTTPRequest.Method.post, path: "\(path)/actions/\(action.name)",
                        role: kind.role(for: action)
                    )
                }
            }
            return ofVerbs + ofActions
        }
    }

    @Test("the rows that matter")
    func rows() {
        let rows: [(HTTPRequest.Method, String, Role)] = [
            (.get, "/v1/disks", .viewer), (.get, "/v1/disks/a", .viewer), (.post, "/v1/disks", .operator),
            (.patch, "/v1/disks/a", .operator), (.delete, "/v1/disks/a", .admin),
            (.post, "/v1/disks/a/actions/acknowledge-loss", .operator), (.get, "/v1/status", .viewer),
            (.get, "/v1/openapi.json", .viewer), (.get, "/v1/events", .viewer), (.post, "/v1/libraries", .operator),
            (.delete, "/v1/libraries/vtl", .admin), (.post, "/v1/libraries/vtl/actions/move", .operator),
            (.post, "/v1/libraries/vtl/actions/export", .operator),
            (.post, "/v1/libraries/vtl/actions/import", .operator), (.post, "/v1/cartridges", .operator),
            (.delete, "/v1/cartridges/vtl%2FA1", .admin), (.get, "/v1/credentials", .viewer),
            (.post, "/v1/credentials", .admin), (.patch, "/v1/credentials/discovery%2Fu", .admin),
            (.delete, "/v1/credentials/discovery%2Fu", .admin), (.post, "/v1/credentials/actions/waive", .admin),
            (.post, "/v1/credentials/actions/allow", .admin), (.post, "/v1/targets", .admin),
            (.post, "/v1/iscsi-targets", .admin), (.post, "/v1/portals", .admin), (.delete, "/v1/portals/p", .admin),
            (.post, "/v1/portals/p/actions/drain", .operator), (.post, "/v1/portals/p/actions/resume", .operator),
            (.post, "/v1/name-servers", .admin), (.delete, "/v1/name-servers/isns", .admin),
            (.get, "/v1/tokens", .viewer), (.post, "/v1/tokens", .admin), (.delete, "/v1/tokens/t", .admin),
            (.post, "/v1/reservations/a/actions/clear", .admin), (.post, "/v1/access-states/a/actions/set", .operator),
            (.get, "/v1/access-states", .viewer),
            (.post, "/v1/sessions/1/actions/close", .operator), (.post, "/v1/jobs/1/actions/cancel", .operator),
            (.post, "/v1/profiles", .admin), (.get, "/v1/profiles", .viewer), (.post, "/v1/check", .operator),
            (.get, "/v1/check", .viewer), (.post, "/v1/adopt/disk", .admin), (.post, "/v1/libraries/vtl/adopt", .admin),
            (.get, "/v1/configuration", .viewer),
            (.post, "/v1/configuration/compare", .admin), (.post, "/v1/configuration/apply", .admin),
            (.post, "/v1/backup", .admin), (.patch, "/v1/cartridges/vtl%2FA1", .operator),
            (.post, "/v1/anything-new", .admin), (.put, "/v1/status", .admin), (.post, "/", .admin),
        ]
        for (method, path, role) in rows {
            #expect(Self.role(method, path) == role, "\(method) \(path)")
        }
        let targets = table(of: ISCSITarget.self)
        for action in targets.actions { #expect(targets.role(for: action) == .admin, "\(action.name)") }
        let groups = table(of: InitiatorGroup.self)
        for verb in [Verb.create, .set, .delete] {
            #expect(groups.role(for: verb) == .admin && targets.role(for: verb) == .admin)
        }
    }

    private func table<Kind: ResourceKind>(of kind: Kind.Type) -> KindDescription { Kind.description }

    @Test("what the tables offer takes the role that they say; looking takes none, and loss and widening the highest")
    func tables() {
        #expect(Self.offered.count > 50)
        for request in Self.offered {
            #expect(Self.role(request.method, request.path) == request.role, "\(request.method) \(request.path)")
            if request.method == .get { #expect(request.role == .viewer, "\(request.path)") }
            if request.method != .get { #expect(request.role > .viewer, "\(request.path)") }
        }
        for kind in Self.kinds {
            if kind.deletionIsDestructive { #expect(kind.role(for: .delete) == .admin, "\(kind.plural)") }
            for verb in kind.wideningVerbs { #expect(kind.role(for: verb) == .admin, "\(kind.plural)") }
            let areSecret = (kind.spec + kind.actions.flatMap(\.arguments)).contains(where: \.isSecret)
            if areSecret { #expect(kind.roleOfChanges == .admin, "\(kind.plural)") }
        }
    }

    @Test("no other spelling of a path takes less")
    func spellings() {
        // Paths that another way of splitting would take for `adopt` below a library, or for a creation.
        for path in [
            "/v1/libraries/actions//adopt", "/v1/libraries//vtl/adopt", "/v1//libraries/vtl/adopt",
            "/v1/libraries/vtl/adopt/", "/v1/libraries/vtl%2Fadopt/adopt", "//v1/adopt/disk", "/v1/adopt//disk",
            "/v1/%61dopt/disk", "/v1/profiles/", "/v1//profiles", "/v1/check/", "/v1/%",
        ] { #expect(Self.role(.post, path) == .admin, "\(path)") }
    }

    @Test("OpenAPI has all that comes from no table, with its role, and nothing that is not there")
    func others() throws {
        let fixture = try ControllerFixture()
        let routes = ControlServer.router(fixture.controller).routes.map {
            "\($0.method.rawValue.lowercased()) \($0.path.description.replacing(":name", with: "{name}"))"
        }
        let described = OpenAPI.others.map { "\($0.method) \($0.path)" }
        #expect(Set(routes).union(["get /v1/openapi.json", "get /metrics"]) == Set(described))
        let document = OpenAPI.document(Self.kinds)
        for other in OpenAPI.others {
            #expect(document["paths"]?[other.path]?[other.method]?["x-role"] != nil, "\(other.path)")
        }
        #expect(document["paths"]?["/v1/backup"]?["post"]?["x-role"] == "admin")
        let identifiers = OpenAPI.others.map(\.identifier)
        #expect(Set(identifiers).count == identifiers.count)
    }

    @Test("OpenAPI says the role of each operation")
    func openAPI() {
        let document = OpenAPI.document(Self.kinds)
        for request in Self.offered {
            let path = request.path.replacingOccurrences(of: "/x", with: "/{name}")
            let operation = document["paths"]?[path]?[request.method.rawValue.lowercased()]
            #expect(operation?["x-role"] == request.role.json, "\(request.method) \(path)")
        }
    }
}

import Glibc
import HTTPTypes
import Hummingbird
import Management
import ManagementTestSupport
import NIOCore
import Resources
import Testing

@testable import Console

@Suite("Who is let in")
struct AdmissionTests {
    let fixture: ControllerFixture
    let admission: Admission

    init() throws {
        fixture = try ControllerFixture()
        admission = Admission(fixture.controller, Registry.kinds.map { $0.description })
    }

    /// The status of the answer to who comes from `origin`.
    func ask(
        _ origin: Origin, _ method: HTTPRequest.Method = .delete, token: String? = nil
    ) async throws -> HTTPResponse.Status {
        var head = HTTPRequest(method: method, scheme: "http", authority: "x", path: "/v1/disks/a")
        head.headerFields[.authorization] = token.map { "Bearer \($0)" }
        let request = Request(head: head, body: RequestBody(buffer: ByteBuffer()))
        return try await Origin.$current.withValue(origin) {
            try await admission.admit(request) {
                #expect(Caller.current?.actor == Requester.current)
                return Response(status: .accepted)
            }
        }.status
    }

    @Test("root and the daemon's own user need no token; everybody else does, wherever they come from")
    func origins() async throws {
        let mine = geteuid()
        #expect(try await ask(.process(userID: mine, id: 7)) == .accepted)
        #expect(try await ask(.process(userID: 0, id: 7)) == .accepted)
        let others: [Origin] = [
            .process(userID: mine + 1, id: 7), .process(userID: .max, id: 7), .address("192.0.2.1:5"),
            .address("127.0.0.1:5"), .unknown,
        ]
        let token = try #require(
            try await fixture.controller.createToken("t", Token.Spec(role: .admin)).status.token)
        for origin in others {
            #expect(try await ask(origin) == .unauthorized, "\(origin)")
            #expect(try await ask(origin, .get) == .unauthorized, "\(origin)")
            #expect(try await ask(origin, token: token) == .accepted, "\(origin)")
            #expect(try await ask(origin, token: token + "x") == .unauthorized, "\(origin)")
        }
        #expect(try await fixture.controller.status().refusedRequests == 3 * others.count)
    }

    @Test("a token counts more than the user who gives it")
    func lesser() async throws {
        let viewer = try await fixture.controller.createToken("v", Token.Spec(role: .viewer)).status.token
        let mine = Origin.process(userID: geteuid(), id: 7)
        #expect(try await ask(mine, token: viewer) == .forbidden)
        #expect(try await ask(mine, .get, token: viewer) == .accepted)
        #expect(try await ask(mine, token: "x") == .unauthorized, "who gives a wrong one is not who they say")
    }
}

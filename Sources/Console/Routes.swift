import Foundation
import HTTPTypes
import Hummingbird
import Management
import NIOCore
import Resources

extension ControlServer {
    /// The routes that come from no table.
    static func router(_ controller: Controller) -> Router<BasicRequestContext> {
        let router = Router()
        let api = router.group("v1")
        api.get("status") { _, _ in await answer { try await controller.status() } }
        addStatisticsRoutes(to: api, controller)
        addProfileRoutes(to: api, controller)
        addCheckRoutes(to: api, controller)
        addAdoptionRoutes(to: api, controller)
        addConfigurationRoutes(to: api, controller)
        return router
    }

    // MARK: Requests and answers

    /// A part of the path, decoded.
    static func name(_ parameter: String, _ context: BasicRequestContext) throws(ManagementError) -> String {
        guard let name = context.parameters.get(parameter)?.removingPercentEncoding else {
            throw ManagementError(.invalid, "the path lacks its \(parameter)")
        }
        return name
    }

    /// What the body asks for; `thing` is what it describes, for sentences.
    static func body<Value: Record>(
        of request: Request, _ thing: String, upTo maximumLength: Int = maximumBodyLength
    ) async throws -> Value {
        try Value(try API.members(try await API.body(of: request, upTo: maximumLength)), of: thing)
    }

    /// The answer with the result of `operation`, or with its refusal.
    static func answer(
        _ status: HTTPResponse.Status = .ok, _ operation: () async throws -> some Encodable
    ) async -> Response {
        do {
            return response(status, try APICoding.encode(try await operation()))
        } catch let problem as API.Problem {
            return API.response(to: problem)
        } catch let error as ManagementError {
            return refusal(error)
        } catch {
            return refusal(ManagementError(.internal, "the daemon failed: \(error)"))
        }
    }

    private static func refusal(_ error: ManagementError) -> Response { API.response(to: API.Problem(error)) }

    private static func response(_ status: HTTPResponse.Status, _ body: Data) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
    }
}

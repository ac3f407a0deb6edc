import Hummingbird
import Management
import Resources

// Checks.
extension ControlServer {
    static func addCheckRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.post("check") { request, _ in
            do {
                let wanted: CheckRequest = try await body(of: request, "a check")
                // Who says that nothing is to be mended needs no role for that.
                if wanted.repairs { try Caller.check(wanted.json, CheckRequest.descriptions) }
                let outcome = try await controller.check(wanted, API.patience(of: request))
                guard case .done = outcome else { return try API.response(to: outcome, .ok) }
            } catch let problem as API.Problem {
                return API.response(to: problem)
            } catch let error as ManagementError {
                return API.response(to: API.Problem(error))
            }
            return await answer { try await controller.checkStatus() }
        }
        api.get("check") { _, _ in await answer { try await controller.checkStatus() } }
    }
}

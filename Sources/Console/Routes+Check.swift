import Hummingbird
import Management
import Resources

// Checks.
extension ControlServer {
    static func addCheckRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.post("check") { request, _ in
            await answer(.accepted) { try await controller.startCheck(try await body(of: request)) }
        }
        api.get("check") { _, _ in await answer { try await controller.checkStatus() } }
        api.delete("check") { _, _ in await answer { try await controller.cancelCheck() } }
    }
}

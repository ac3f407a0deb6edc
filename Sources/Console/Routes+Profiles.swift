import Hummingbird
import Management
import Resources

// Profiles.
extension ControlServer {
    static func addProfileRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.get("profiles") { _, _ in await answer { try await controller.profileSummaries() } }
        api.post("profiles") { request, _ in
            await answer(.created) { try await controller.addProfile(try await body(of: request, "a profile")) }
        }
        api.get("profiles/:name") { _, context in
            await answer { try await controller.profile(try name("name", context)) }
        }
    }
}

import Hummingbird
import Management

// iSNS.
extension ControlServer {
    static func addNameServiceRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.get("isns") { _, _ in await answer { await controller.nameServiceStatus() } }
        api.post("isns") { request, _ in
            await answer {
                try await controller.setNameServer(try await body(of: request))
                return await controller.nameServiceStatus()
            }
        }
        api.delete("isns") { request, _ in
            await answer {
                try await controller.clearNameServer(mayWiden: request.uri.queryParameters["mayWiden"] == "true")
                return Acknowledgement("no iSNS server any more; the registration is taken back")
            }
        }
    }
}

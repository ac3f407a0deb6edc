import Hummingbird
import Management
import Resources

// The whole configuration, and backups.
extension ControlServer {
    /// The longest configuration in bytes.
    public static let maximumConfigurationLength = 16 << 20

    static func addConfigurationRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.get("configuration") { _, _ in await answer { try await controller.exportConfiguration() } }
        api.post("configuration/compare") { request, _ in
            await answer {
                try await controller.compareConfiguration(try await configuration(request))
            }
        }
        api.post("configuration/apply") { request, _ in
            await outcome(request) { patience in
                try await controller.applyConfiguration(try await configuration(request), patience)
            }
        }
        api.post("backup") { request, _ in
            await outcome(request) { patience in
                try await controller.backUp(try await body(of: request, "a backup"), patience)
            }
        }
    }

    private static func configuration(_ request: Request) async throws -> ConfigurationRequest {
        try ConfigurationRequest(
            try API.members(try await API.body(of: request, upTo: maximumConfigurationLength)))
    }

    /// The answer to a request for what takes long: what came of it, or the job that goes on with it.
    private static func outcome(
        _ request: Request, _ operation: (Patience) async throws -> RequestOutcome
    ) async -> Response {
        let patience = API.patience(of: request)
        do {
            return try API.response(to: try await operation(patience), .ok, patience)
        } catch let problem as API.Problem {
            return API.response(to: problem)
        } catch let error as ManagementError {
            return API.response(to: API.Problem(error))
        } catch {
            return API.response(to: API.Problem(ManagementError(.internal, "the daemon failed: \(error)")))
        }
    }
}

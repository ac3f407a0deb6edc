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
                try await controller.compareConfiguration(
                    try await body(of: request, upTo: maximumConfigurationLength))
            }
        }
        api.post("configuration/apply") { request, _ in
            await answer {
                try await controller.applyConfiguration(
                    try await body(of: request, upTo: maximumConfigurationLength))
            }
        }
        api.post("backup") { request, _ in
            await answer { try await controller.backUp(try await body(of: request)) }
        }
    }
}

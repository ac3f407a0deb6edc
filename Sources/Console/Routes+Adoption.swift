import Hummingbird
import Management
import Resources

// What the catalog does not know.
extension ControlServer {
    static func addAdoptionRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.post("adopt/disk") { request, _ in
            await answer(.created) {
                try await controller.adoptDisk(try await body(of: request, "an adoption of a disk")).json
            }
        }
        api.post("adopt/library") { request, _ in
            await answer(.created) {
                try await controller.adoptLibrary(try await body(of: request, "an adoption of a library"))
            }
        }
        api.post("libraries/:name/adopt") { request, context in
            await answer(.created) {
                try await controller.adoptCartridge(
                    library: try name("name", context), try await body(of: request, "an adoption of a cartridge")
                ).json
            }
        }
    }
}

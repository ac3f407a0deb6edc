import Foundation
import Management
import NIOHTTP1

extension ControlServer {
    /// The routes of the API.
    static func routes(_ controller: Controller) -> RouteTable {
        var api = RouteTable(prefix: "/v1/")
        api.get("status") { _, _ in await answer { try await controller.status() } }
        addDiskRoutes(to: &api, controller)
        addLibraryRoutes(to: &api, controller)
        addCartridgeRoutes(to: &api, controller)
        addTargetRoutes(to: &api, controller)
        addAccessRoutes(to: &api, controller)
        addPortalRoutes(to: &api, controller)
        addSessionRoutes(to: &api, controller)
        addNameServiceRoutes(to: &api, controller)
        return api
    }

    private static func addDiskRoutes(to api: inout RouteTable, _ controller: Controller) {
        api.get("disks") { _, _ in await answer { try await controller.disks() } }
        api.post("disks") { request, _ in
            await answer(.created) { try await controller.createDisk(try body(of: request)) }
        }
        api.get("disks/:name") { _, parameters in
            await answer { try await controller.disk(try name("name", parameters)) }
        }
        api.patch("disks/:name") { request, parameters in
            await answer { try await controller.resizeDisk(try name("name", parameters), try body(of: request)) }
        }
        api.delete("disks/:name") { _, parameters in
            await answer {
                let disk = try name("name", parameters)
                try await controller.deleteDisk(disk)
                return Acknowledgement("deleted disk \(disk)")
            }
        }
    }

    private static func addLibraryRoutes(to api: inout RouteTable, _ controller: Controller) {
        api.get("libraries") { _, _ in await answer { try await controller.libraries() } }
        api.post("libraries") { request, _ in
            await answer(.created) { try await controller.createLibrary(try body(of: request)) }
        }
        api.get("libraries/:name") { _, parameters in
            await answer { try await controller.library(try name("name", parameters)) }
        }
        api.delete("libraries/:name") { _, parameters in
            await answer {
                let library = try name("name", parameters)
                try await controller.deleteLibrary(library)
                return Acknowledgement("deleted library \(library)")
            }
        }
        api.post("libraries/:name/move") { request, parameters in
            await answer {
                try await controller.move(library: try name("name", parameters), try body(of: request))
            }
        }
        api.post("libraries/:name/export") { request, parameters in
            await answer {
                try await controller.exportCartridge(library: try name("name", parameters), try body(of: request))
            }
        }
        api.post("libraries/:name/import") { request, parameters in
            await answer {
                try await controller.importCartridge(library: try name("name", parameters), try body(of: request))
            }
        }
    }

    private static func addCartridgeRoutes(to api: inout RouteTable, _ controller: Controller) {
        api.get("cartridges") { _, _ in await answer { try await controller.cartridges() } }
        api.get("libraries/:name/cartridges") { _, parameters in
            await answer { try await controller.cartridges(library: try name("name", parameters)) }
        }
        api.post("libraries/:name/cartridges") { request, parameters in
            await answer(.created) {
                try await controller.createCartridge(library: try name("name", parameters), try body(of: request))
            }
        }
        api.get("libraries/:name/cartridges/:barcode") { _, parameters in
            await answer {
                try await controller.cartridge(try name("barcode", parameters), library: try name("name", parameters))
            }
        }
        api.delete("libraries/:name/cartridges/:barcode") { _, parameters in
            await answer {
                let barcode = try name("barcode", parameters)
                try await controller.deleteCartridge(barcode, library: try name("name", parameters))
                return Acknowledgement("deleted cartridge \(barcode)")
            }
        }
    }

    // MARK: Requests and answers

    /// A part of the path, decoded.
    static func name(_ parameter: Substring, _ parameters: RouteTable.Parameters) throws(ManagementError) -> String {
        guard let name = parameters[parameter]?.removingPercentEncoding else {
            throw ManagementError(.invalid, "the path lacks its \(parameter)")
        }
        return name
    }

    /// The decoded body.
    static func body<Value: Decodable>(of request: APIRequest) throws(ManagementError) -> Value {
        guard let body = request.body else {
            throw ManagementError(.invalid, "the request body is longer than \(maximumBodyLength) bytes")
        }
        do {
            return try APICoding.decode(Value.self, from: body)
        } catch {
            throw ManagementError(.invalid, "the request body is not the JSON of a \(Value.self)")
        }
    }

    /// The answer with the result of `operation`, or with its refusal.
    static func answer(
        _ status: HTTPResponseStatus = .ok, _ operation: () async throws -> some Encodable
    ) async -> APIResponse {
        do {
            return APIResponse(status: status, body: try APICoding.encode(try await operation()))
        } catch let error as ManagementError {
            return refusal(error)
        } catch {
            return refusal(ManagementError(.internal, "the daemon failed: \(error)"))
        }
    }

    /// The answer that refuses, with the status that fits the error's code unless another is given.
    static func refusal(_ error: ManagementError, status: HTTPResponseStatus? = nil) -> APIResponse {
        let fitting: HTTPResponseStatus =
            switch error.code {
            case .invalid: .badRequest
            case .notFound: .notFound
            case .conflict, .inUse, .damaged: .conflict
            case .system: .serviceUnavailable
            case .internal: .internalServerError
            }
        return APIResponse(status: status ?? fitting, body: (try? APICoding.encode(ProblemBody(error))) ?? Data())
    }
}

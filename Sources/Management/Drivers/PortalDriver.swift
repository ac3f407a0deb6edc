public import Resources

public struct PortalDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Portal>] {
        page.slice(try await controller.allPortals())
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Portal> {
        try await controller.portal(name)
    }

    public func create(_ name: String, _ spec: Portal.Spec) async throws(ManagementError) -> Resource<Portal> {
        try await controller.addPortal(name, spec)
    }

    public func delete(_ name: String) async throws(ManagementError) { try await controller.removePortal(name) }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        let name = name ?? ""
        if action == Portal.Drain.name {
            return try await controller.drainPortal(name, try Portal.Drain.arguments(arguments)).json
        }
        _ = try Portal.Resume.arguments(arguments)
        return try await controller.resumePortal(name).json
    }

    public func generation(of name: String) throws(ManagementError) -> Int64? {
        try controller.plane.portal(name).generation
    }
}

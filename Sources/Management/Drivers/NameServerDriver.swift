public import Resources

public struct NameServerDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<NameServer>] {
        page.slice(try await controller.nameServer().map { [$0] } ?? [])
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<NameServer> {
        guard let server = try await controller.nameServer() else { throw Controller.noNameServer }
        return server
    }

    public func create(_ name: String, _ spec: NameServer.Spec) async throws(ManagementError) -> Resource<NameServer> {
        try await controller.createNameServer(spec)
        return try await show(name)
    }

    public func change(
        _ present: Resource<NameServer>, to spec: NameServer.Spec, mayWiden: Bool
    ) async throws(ManagementError) -> Resource<NameServer> {
        try await controller.changeNameServer(to: spec, mayWiden: mayWiden)
        return try await show(present.name)
    }

    public func delete(_ name: String, mayWiden: Bool) async throws(ManagementError) {
        try await controller.clearNameServer(mayWiden: mayWiden)
    }

    public func generation(of name: String) throws(ManagementError) -> Int64? {
        try controller.plane.nameServerGeneration()
    }
}

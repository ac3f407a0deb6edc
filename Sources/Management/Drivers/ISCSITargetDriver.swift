import Catalog
public import Resources

public struct ISCSITargetDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<ISCSITarget>] {
        page.slice(try await controller.targets(page))
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<ISCSITarget> {
        try await controller.target(name)
    }

    public func create(_ name: String, _ spec: ISCSITarget.Spec) async throws(ManagementError) -> Resource<ISCSITarget>
    {
        try await controller.createTarget(name, spec)
    }

    public func change(
        _ present: Resource<ISCSITarget>, to spec: ISCSITarget.Spec, mayWiden: Bool
    ) async throws(ManagementError) -> Resource<ISCSITarget> {
        try await controller.changeTarget(present.name, to: spec, mayWiden: mayWiden)
    }

    public func delete(_ name: String) async throws(ManagementError) { try await controller.deleteTarget(name) }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        let name = name ?? ""
        switch action {
        case ISCSITarget.Access.name:
            let arguments = try ISCSITarget.Access.arguments(arguments)
            return try await controller.setAccess(
                ofTarget: name, to: arguments.access, mayWiden: arguments.mayWiden
            ).json
        case ISCSITarget.Map.name:
            return try await controller.map(target: name, try ISCSITarget.Map.arguments(arguments)).json
        default:
            return try await controller.unmap(target: name, try ISCSITarget.Unmap.arguments(arguments)).json
        }
    }

    public func generation(of name: String) throws(ManagementError) -> Int64? {
        try controller.plane.targetRecord(name).generation
    }
}

import Catalog
public import Resources

public struct InitiatorGroupDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<InitiatorGroup>] {
        page.slice(try await controller.initiatorGroups())
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<InitiatorGroup> {
        try await controller.initiatorGroup(name)
    }

    public func create(
        _ name: String, _ spec: InitiatorGroup.Spec
    ) async throws(ManagementError) -> Resource<InitiatorGroup> {
        try await controller.createInitiatorGroup(name, spec)
    }

    public func change(
        _ present: Resource<InitiatorGroup>, to spec: InitiatorGroup.Spec, mayWiden: Bool
    ) async throws(ManagementError) -> Resource<InitiatorGroup> {
        try await controller.changeInitiatorGroup(present.name, to: spec, mayWiden: mayWiden)
    }

    public func delete(_ name: String) async throws(ManagementError) {
        try await controller.deleteInitiatorGroup(name)
    }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        let name = name ?? ""
        if action == InitiatorGroup.Add.name {
            return try await controller.extendInitiatorGroup(name, try InitiatorGroup.Add.arguments(arguments)).json
        }
        return try await controller.reduceInitiatorGroup(name, try InitiatorGroup.Remove.arguments(arguments)).json
    }

    public func generation(of name: String) throws(ManagementError) -> Int64? {
        try controller.plane.initiatorGroupRecord(name).generation
    }
}

public import Resources

public struct AccessStateDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<AccessState>] {
        page.slice(try await controller.accessStates())
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<AccessState> {
        try await controller.accessState(name)
    }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        let arguments = try AccessState.SetState.arguments(arguments)
        let device = name ?? ""
        let changed = try await controller.setAccessState(device, arguments)
        let state = changed.state.rawValue
        let preference = changed.isPreferred ? ", and preferred" : ""
        return [
            "done": .text(
                changed.isTransitioning
                    ? "in portal group \(changed.group), '\(device)' is \(state)\(preference) in "
                        + "\(changed.transition) s"
                    : "in portal group \(changed.group), '\(device)' is \(state)\(preference)")
        ]
    }
}

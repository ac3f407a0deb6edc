public import Resources

public struct SessionDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Session>] {
        page.slice(try await controller.sessions())
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Session> {
        try await controller.session(name)
    }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        let arguments = try Session.Close.arguments(arguments)
        let closed = try await controller.closeSessions(name, arguments)
        let count = closed.count == 1 ? "1 session is" : "\(closed.count) sessions are"
        return [
            "done": .text("\(count) asked to log out, and closed in \(arguments.seconds) s"),
            "items": .array(closed.map(\.json)),
        ]
    }
}

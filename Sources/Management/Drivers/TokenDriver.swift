public import Resources

public struct TokenDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Token>] {
        page.slice(try await controller.tokens())
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Token> {
        try await controller.token(name)
    }

    public func create(_ name: String, _ spec: Token.Spec) async throws(ManagementError) -> Resource<Token> {
        try await controller.createToken(name, spec)
    }

    public func delete(_ name: String) async throws(ManagementError) { try await controller.deleteToken(name) }
}

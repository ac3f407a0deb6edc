public import Resources

public struct CredentialDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Credential>] {
        let all = try await controller.credentials()
        guard let whole = page.whole else { return page.slice(all) }
        let place = try CredentialPlace.parse(whole).description
        return page.slice(all.filter { $0.name.hasPrefix(place + "/") })
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Credential> {
        try await controller.credential(name)
    }

    public func create(_ name: String, _ spec: Credential.Spec) async throws(ManagementError) -> Resource<Credential> {
        try await controller.createCredential(name, spec)
    }

    public func change(
        _ present: Resource<Credential>, to spec: Credential.Spec
    ) async throws(ManagementError) -> Resource<Credential> {
        try await controller.changeCredential(present, to: spec)
    }

    public func delete(_ name: String) async throws(ManagementError) { try await controller.deleteCredential(name) }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        if action == Credential.Allow.name {
            let arguments = try Credential.Allow.arguments(arguments)
            let algorithms = try await controller.allow(arguments)
            return ["done": .text("\(arguments.place) allows \(algorithms.joined(separator: ", "))")]
        }
        let arguments = try Credential.Waive.arguments(arguments)
        try await controller.waive(arguments)
        return ["done": .text("nobody has to prove who it is at \(arguments.place) any more")]
    }

    public func generation(of name: String) throws(ManagementError) -> Int64? {
        try controller.plane.credential(name).generation
    }
}

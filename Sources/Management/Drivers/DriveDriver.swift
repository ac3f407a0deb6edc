public import Resources

public struct DriveDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Drive>] {
        page.slice(try await controller.drives(library: page.whole))
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Drive> {
        let library = String(name.prefix { $0 != "/" })
        guard let drive = try await controller.drives(library: library).first(where: { $0.name == name }) else {
            throw ManagementError(
                .notFound, "there is no drive '\(name)'; 'carousel drive list \(library)' shows those there are")
        }
        return drive
    }
}

public import Resources

public struct MoveDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Move>] {
        let moves = try await controller.moves(library: page.whole)
        // The newest come first.
        if let last = page.last { return Array(moves.prefix(last)) }
        guard let after = page.after else { return Array(moves.prefix(page.limit)) }
        return Array(moves.drop { $0.name != after }.dropFirst().prefix(page.limit))
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Move> {
        throw ManagementError(.internal, "a move is only listed")
    }
}

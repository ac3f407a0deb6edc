public import Resources

public struct ReservationDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Reservation>] {
        page.slice(try await controller.reservations())
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Reservation> {
        try await controller.reservation(name)
    }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        _ = try Reservation.Clear.arguments(arguments)
        let device = name ?? ""
        try await controller.clearReservation(device)
        return ["done": .text("nobody has reserved '\(device)' any more, and nobody is registered")]
    }
}

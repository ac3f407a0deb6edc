public import Resources

public struct SnapshotDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Snapshot>] {
        try await controller.spaciousSnapshots(page)
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Snapshot> {
        try await controller.spaciousSnapshot(name)
    }

    public func create(_ name: String, _ spec: NoFields) async throws(ManagementError) -> Resource<Snapshot> {
        guard let made = try await controller.takeSnapshots([name]).first else {
            throw ManagementError(.internal, "snapshot '\(name)' is made, but not found")
        }
        return made
    }

    public func delete(_ name: String) async throws(ManagementError) { try await controller.deleteSnapshot(name) }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        let name = name ?? ""
        switch action {
        case Snapshot.Take.name:
            let made = try await controller.takeSnapshots(try Snapshot.Take.arguments(arguments).names)
            return [
                "done": .text("made \(made.map { "snapshot \($0.name)" }.joined(separator: ", "))"),
                "items": .array(made.map(\.json)),
            ]
        case Snapshot.Rollback.name:
            _ = try Snapshot.Rollback.arguments(arguments)
            let kept = try await controller.rollBackDisk(to: name)
            return [
                "done": .text("disk \(kept.status.disk) is what \(name) is; what it was is \(kept.name)"),
                "kept": .text(kept.name),
            ]
        case Snapshot.Compare.name:
            let (ranges, next) = try await controller.differences(try Snapshot.Compare.arguments(arguments))
            var answer: [String: JSONValue] = [
                "ranges": .array(ranges.map { Snapshot.Compare.ChangedRange($0).json })
            ]
            if let next { answer["next"] = .integer(next) }
            return .object(answer)
        case Snapshot.LockUntil.name:
            let locked = try await controller.lockSnapshot(name, try Snapshot.LockUntil.arguments(arguments))
            let until = locked.status.lockedUntil?.json.text ?? ""
            return ["done": .text("snapshot \(name) is locked until \(until)")]
        case Snapshot.Map.name:
            let disk = try await controller.mapSnapshot(name, try Snapshot.Map.arguments(arguments))
            return [
                "done": .text("snapshot \(name) is shown by disk \(disk.name), target \(disk.status.target)"),
                "disk": disk.json,
            ]
        default:
            let disk = try await controller.cloneSnapshot(name, as: try Snapshot.Clone.arguments(arguments).name)
            return ["done": .text(Disk.summary(disk)), "disk": disk.json]
        }
    }
}

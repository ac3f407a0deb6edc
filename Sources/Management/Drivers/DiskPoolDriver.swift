public import Catalog
public import Resources

import struct Foundation.Date

public struct DiskPoolDriver: StoredDriver {
    public let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func status(of thing: StoredResource<DiskPool>) -> DiskPool.Status {
        let space = controller.plane.assembly.diskSpace
        var status = DiskPool.Status()
        (status.used, status.raw) = (space.used, space.raw)
        return status
    }

    /// In one lane with all that change it: what is stored last is what counts.
    private func changing(
        _ name: String, _ body: @escaping @Sendable (ControlPlane) throws(ManagementError) -> Void
    ) async throws(ManagementError) {
        let key = ChangeKey.stored(kind: DiskPool.description.singular, name: name)
        try await controller.change([key]) { plane throws(ManagementError) in
            try body(plane)
            try plane.applyDiskSpaceLimit()
        }
    }

    public func create(_ name: String, _ spec: DiskPool.Spec) async throws(ManagementError) -> Resource<DiskPool> {
        try await changing(name) { plane throws(ManagementError) in
            try plane.addStored(DiskPool.self, name, spec, created: Date())
        }
        return try await show(name)
    }

    public func change(
        _ present: Resource<DiskPool>, to spec: DiskPool.Spec
    ) async throws(ManagementError) -> Resource<DiskPool> {
        try await changing(present.name) { plane throws(ManagementError) in
            try plane.changeStored(DiskPool.self, present.name, to: spec)
        }
        return try await show(present.name)
    }

    public func delete(_ name: String) async throws(ManagementError) {
        try await changing(name) { plane throws(ManagementError) in try plane.removeStored(DiskPool.self, name) }
    }
}

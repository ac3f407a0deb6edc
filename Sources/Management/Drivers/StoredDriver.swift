public import Catalog
public import Resources

import struct Foundation.Date

/// The driver of a small kind, whose things are no more than specs in the catalog: it has to say its controller, and
/// what it shows besides.
///
/// ```swift
/// public struct NoteDriver: StoredDriver {
///     public typealias Kind = Note
///     public let controller: Controller
///     public init(_ controller: Controller) { self.controller = controller }
/// }
/// ```
public protocol StoredDriver: Driver {
    var controller: Controller { get }
    /// What is shown of a thing besides its spec.
    func status(of thing: StoredResource<Kind>) -> Kind.Status
}

extension StoredDriver {
    public func status(of thing: StoredResource<Kind>) -> Kind.Status { Kind.Status() }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Kind>] {
        try await controller.query { plane throws(ManagementError) in try plane.stored(Kind.self, page) }
            .map(resource)
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Kind> {
        resource(try await controller.query { plane throws(ManagementError) in try plane.stored(Kind.self, name) })
    }

    public func create(_ name: String, _ spec: Kind.Spec) async throws(ManagementError) -> Resource<Kind> {
        let thing = try await controller.change([key(name)]) { plane throws(ManagementError) in
            try plane.addStored(Kind.self, name, spec, created: Date())
            return try plane.stored(Kind.self, name)
        }
        return resource(thing)
    }

    public func change(
        _ present: Resource<Kind>, to spec: Kind.Spec
    ) async throws(ManagementError) -> Resource<Kind> {
        let thing = try await controller.change([key(present.name)]) { plane throws(ManagementError) in
            try plane.changeStored(Kind.self, present.name, to: spec)
            return try plane.stored(Kind.self, present.name)
        }
        return resource(thing)
    }

    public func delete(_ name: String) async throws(ManagementError) {
        try await controller.change([key(name)]) { plane throws(ManagementError) in
            try plane.removeStored(Kind.self, name)
        }
    }

    public func generation(of name: String) throws(ManagementError) -> Int64? {
        try controller.plane.storedGeneration(Kind.self, name)
    }

    private func key(_ name: String) -> ChangeKey { .stored(kind: Kind.description.singular, name: name) }

    private func resource(_ thing: StoredResource<Kind>) -> Resource<Kind> {
        Resource(name: thing.name, spec: thing.spec, status: status(of: thing), generation: thing.generation)
    }
}

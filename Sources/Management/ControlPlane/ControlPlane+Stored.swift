import Catalog
import Logging
import Resources

import struct Foundation.Date

// Things that are no more than a spec in the catalog.
extension ControlPlane {
    /// The things of the page by name, without those that are damaged.
    func stored<Kind: ResourceKind>(
        _ kind: Kind.Type, _ page: Page
    ) throws(ManagementError) -> [StoredResource<Kind>] {
        guard page.last == nil else {
            let all = try query { () throws(CatalogError) in try catalog.resources(kind, after: page.after) }
            return all.filter { $0.damage == nil }.suffix(page.last ?? 0)
        }
        var (found, after) = ([StoredResource<Kind>](), page.after)
        while found.count < page.limit {
            let (behind, limit) = (after, page.limit - found.count)
            let next = try query { () throws(CatalogError) in
                try catalog.resources(kind, after: behind, limit: limit)
            }
            guard let last = next.last else { break }
            found += next.filter { $0.damage == nil }
            after = last.name
        }
        return found
    }

    /// The thing of that name, which is not damaged.
    func stored<Kind: ResourceKind>(
        _ kind: Kind.Type, _ name: String
    ) throws(ManagementError) -> StoredResource<Kind> {
        let (singular, command) = (kind.description.singular, kind.description.command)
        let thing = try present(kind, name)
        if let damage = thing.damage {
            throw ManagementError(
                .damaged,
                "\(singular) '\(name)' is damaged in the catalog: \(damage); "
                    + "delete it with 'carousel \(command) delete \(name)' and make it again")
        }
        return thing
    }

    /// Makes a thing.
    func addStored<Kind: ResourceKind>(
        _ kind: Kind.Type, _ name: String, _ spec: Kind.Spec, created: Date
    ) throws(ManagementError) {
        let (singular, command) = (kind.description.singular, kind.description.command)
        guard try query({ () throws(CatalogError) in try catalog.resource(kind, named: name) }) == nil else {
            throw ManagementError(
                .conflict,
                "\(singular) '\(name)' exists already; choose another name or delete it with "
                    + "'carousel \(command) delete \(name)'")
        }
        let event = event("create", singular, name, new: spec.json)
        _ = try query { () throws(CatalogError) in
            try catalog.add(kind, named: name, spec, created: created, event: event)
        }
        logger.info("\(singular) created", metadata: ["name": "\(name)"])
    }

    /// Makes the spec of a thing `spec`.
    func changeStored<Kind: ResourceKind>(
        _ kind: Kind.Type, _ name: String, to spec: Kind.Spec
    ) throws(ManagementError) {
        let present = try stored(kind, name)
        let changed = present.spec.changed(to: spec)
        guard changed != present.spec else { return }
        let event = event(
            "change", kind.description.singular, name, old: .object(present.spec.difference(from: changed)),
            new: .object(changed.difference(from: present.spec)))
        try query { () throws(CatalogError) in try catalog.change(kind, named: name, to: changed, event: event) }
        logger.info("\(kind.description.singular) changed", metadata: ["name": "\(name)"])
    }

    /// Deletes a thing, damaged or not.
    func removeStored<Kind: ResourceKind>(_ kind: Kind.Type, _ name: String) throws(ManagementError) {
        let singular = kind.description.singular
        let present = try self.present(kind, name)
        let event = event("delete", singular, name, old: present.damage == nil ? present.spec.json : nil)
        try query { () throws(CatalogError) in try catalog.remove(kind, named: name, event: event) }
        logger.info("\(singular) deleted", metadata: ["name": "\(name)"])
    }

    /// The generation of a thing, damaged or not.
    func storedGeneration<Kind: ResourceKind>(_ kind: Kind.Type, _ name: String) throws(ManagementError) -> Int64 {
        try present(kind, name).generation
    }

    private func present<Kind: ResourceKind>(
        _ kind: Kind.Type, _ name: String
    ) throws(ManagementError) -> StoredResource<Kind> {
        if let thing = try query({ () throws(CatalogError) in try catalog.resource(kind, named: name) }) {
            return thing
        }
        throw ManagementError(
            .notFound,
            "there is no \(kind.description.singular) '\(name)'; "
                + "'carousel \(kind.description.command) list' shows those there are")
    }
}

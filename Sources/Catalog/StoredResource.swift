import GRDB
public import Resources

public import struct Foundation.Date

/// A thing whose spec is stored as JSON, as the table of its kind has it.
public struct StoredResource<Kind: ResourceKind>: Hashable, Sendable {
    /// The catalog's key.
    let id: Int64
    /// The name given by the user.
    public let name: String
    /// What is wanted of it; the defaults where `damage` says why it cannot be read.
    public let spec: Kind.Spec
    /// What is wrong with the spec that is stored, in one clause; nil when nothing is.
    public let damage: String?
    /// Which state of it this is.
    public let generation: Int64
    /// Whether it is being made, complete or being deleted.
    public let phase: RecordPhase
    /// When it was made.
    public let created: Date
}

extension StoredResource {
    init(row: Row) {
        let (spec, damage) = Self.spec(in: row["spec"])
        self.init(
            id: row["id"], name: row["name"], spec: spec, damage: damage, generation: StoredGeneration.of(row),
            phase: RecordPhase(row: row), created: Date(row["created"]))
    }

    /// The spec that `text` is, or the defaults and what is wrong with it.
    ///
    /// What would be refused in a request is damage, but for words: what an older version took there is shown as words
    /// are now. A field that is not known is damage too: it was written by a newer version, and nobody knows what it
    /// asks for.
    fileprivate static func spec(in text: String) -> (Kind.Spec, damage: String?) {
        guard case .object(var members)? = JSONValue(serialized: text) else {
            return (Kind.Spec(), "its spec is no JSON object")
        }
        for field in Kind.description.spec {
            if let value = members[field.name] { members[field.name] = field.type.withPlainWords(value) }
        }
        do throws(ManagementError) {
            let spec = try Kind.Spec(members, of: "its spec")
            try Kind.validate(spec, changing: nil)
            return (spec, nil)
        } catch {
            return (Kind.Spec(), error.message)
        }
    }
}

extension Catalog {
    /// The most things of a kind that `add` makes.
    public static let resourceLimit = 65_536

    /// Adds a thing, and records `event` with it.
    @discardableResult
    public func add<Kind: ResourceKind>(
        _ kind: Kind.Type, named name: String, _ spec: Kind.Spec, created: Date, event: NewEvent? = nil
    ) throws(CatalogError) -> StoredResource<Kind> {
        try write(event) { database in
            let count = try Int.fetchOne(
                database, sql: "SELECT count(*) FROM resource WHERE kind = ?", arguments: [kind.description.singular])
            guard count ?? 0 < Self.resourceLimit else {
                throw CatalogError.conflict(
                    "there are \(Self.resourceLimit) \(kind.description.pluralLabel) already; delete one first")
            }
            return try Self.insert(kind, named: name, spec, created: created, phase: .complete, in: database)
        }
    }

    /// Changes the spec of a thing, and records `event` with it.
    public func change<Kind: ResourceKind>(
        _ kind: Kind.Type, named name: String, to spec: Kind.Spec, event: NewEvent? = nil
    ) throws(CatalogError) {
        try write(event) { try Self.change(kind, named: name, to: spec, in: $0) }
    }

    static func change<Kind: ResourceKind>(
        _ kind: Kind.Type, named name: String, to spec: Kind.Spec, in database: Database
    ) throws {
        let text = try text(of: spec, kind, name)
        try database.execute(
            sql: "UPDATE resource SET spec = ? WHERE kind = ? AND name = ?",
            arguments: [text, kind.description.singular, name])
        guard database.changesCount == 1 else { throw missing(kind, name) }
    }

    /// Removes a thing, and records `event` with it.
    public func remove<Kind: ResourceKind>(
        _ kind: Kind.Type, named name: String, event: NewEvent? = nil
    ) throws(CatalogError) {
        try remove(event) { try Self.delete(kind, named: name, in: $0) }
    }

    /// The thing of that name, if there is one.
    public func resource<Kind: ResourceKind>(
        _ kind: Kind.Type, named name: String
    ) throws(CatalogError) -> StoredResource<Kind>? {
        try read { database in
            try Row.fetchOne(
                database, sql: "SELECT * FROM resource WHERE kind = ? AND name = ?",
                arguments: [kind.description.singular, name]
            ).map(StoredResource.init(row:))
        }
    }

    /// The things of a kind by name: at most `limit` of those behind `after`.
    public func resources<Kind: ResourceKind>(
        _ kind: Kind.Type, after: String? = nil, limit: Int = Catalog.resourceLimit
    ) throws(CatalogError) -> [StoredResource<Kind>] {
        try read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM resource WHERE kind = :kind AND (:after IS NULL OR name > :after)
                    ORDER BY name LIMIT :limit
                    """, arguments: ["kind": kind.description.singular, "after": after, "limit": limit]
            ).map(StoredResource.init(row:))
        }
    }

    // MARK: For the extensions by topic

    static func insert<Kind: ResourceKind>(
        _ kind: Kind.Type, named name: String, _ spec: Kind.Spec, created: Date, phase: RecordPhase,
        in database: Database
    ) throws -> StoredResource<Kind> {
        let text = try text(of: spec, kind, name)
        try database.execute(
            sql: "INSERT INTO resource (kind, name, phase, spec, created) VALUES (?, ?, ?, ?, ?)",
            arguments: [kind.description.singular, name, phase.rawValue, text, created])
        let id = database.lastInsertedRowID
        guard let row = try Row.fetchOne(database, sql: "SELECT * FROM resource WHERE id = ?", arguments: [id]) else {
            throw missing(kind, name)
        }
        return StoredResource(row: row)
    }

    /// `spec` as it is stored. Wherever it comes from, what would be read as damaged is not written.
    private static func text<Kind: ResourceKind>(
        of spec: Kind.Spec, _ kind: Kind.Type, _ name: String
    ) throws(CatalogError) -> String {
        let text = spec.json.serialized ?? ""
        if let damage = StoredResource<Kind>.spec(in: text).damage {
            throw .conflict("\(kind.description.singular) '\(name)': \(damage)")
        }
        return text
    }

    static func delete<Kind: ResourceKind>(_ kind: Kind.Type, named name: String, in database: Database) throws {
        try database.execute(
            sql: "DELETE FROM resource WHERE kind = ? AND name = ?", arguments: [kind.description.singular, name])
        guard database.changesCount == 1 else { throw missing(kind, name) }
    }

    private static func missing<Kind: ResourceKind>(_ kind: Kind.Type, _ name: String) -> CatalogError {
        .conflict("there is no \(kind.description.singular) '\(name)'")
    }
}

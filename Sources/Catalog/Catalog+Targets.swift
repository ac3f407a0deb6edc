import GRDB
import Resources

extension Catalog {
    /// Which targets are asked for.
    private enum Selection {
        case one(Int64)
        /// At most so many of those behind a name.
        case part(after: String, limit: Int)

        /// Their keys: a subquery and its arguments.
        var keys: (sql: String, arguments: StatementArguments) {
            switch self {
            case .one(let id): ("SELECT ?", [id])
            case .part(let after, let limit):
                ("SELECT id FROM target WHERE name > ? ORDER BY name LIMIT ?", [after, limit])
            }
        }
    }

    /// The targets by name: at most `limit` of those behind `after`. The cost grows with what these have only.
    public func targets(after: String? = nil, limit: Int = .max) throws(CatalogError) -> [TargetRecord] {
        try read { try Self.targets($0, .part(after: after ?? "", limit: limit)) }
    }

    /// How many targets were made for themselves.
    public func ownTargetCount() throws(CatalogError) -> Int {
        try read { try Int.fetchOne($0, sql: "SELECT count(*) FROM target WHERE device IS NULL") ?? 0 }
    }

    /// The names of the targets to which groups have access, in order, by the keys of the groups.
    public func targetNames() throws(CatalogError) -> [Int64: [String]] {
        try read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT initiatorGroup, name FROM targetAccess JOIN target ON target.id = target ORDER BY name
                    """)
            return Dictionary(grouping: rows) { $0["initiatorGroup"] }.mapValues { $0.map { $0["name"] } }
        }
    }

    /// The same for the group with the key `group`.
    public func targetNames(ofGroup group: Int64) throws(CatalogError) -> [String] {
        try read { database in
            try String.fetchAll(
                database,
                sql: """
                    SELECT name FROM targetAccess JOIN target ON target.id = target WHERE initiatorGroup = ? \
                    ORDER BY name
                    """, arguments: [group])
        }
    }

    /// The target that has one of `names`, if there is one. The cost grows with what that target has only.
    public func target(named names: [String]) throws(CatalogError) -> TargetRecord? {
        try read { database in
            for name in names {
                let id = try Int64.fetchOne(database, sql: "SELECT id FROM target WHERE name = ?", arguments: [name])
                if let id { return try Self.targets(database, .one(id)).first }
            }
            return nil
        }
    }

    /// Targets by name.
    private static func targets(_ database: Database, _ selection: Selection) throws -> [TargetRecord] {
        let units = try mappings(database, selection)
        let access = try access(database, selection)
        var tags: [Int64: [Int]] = [:]
        let groups = try rows(database, "SELECT * FROM targetPortalGroup", of: selection, order: "portalGroupTag")
        for row in groups { tags[row["target"], default: []].append(row["portalGroupTag"]) }
        return try rows(database, "SELECT * FROM target", of: selection, by: "id", order: "name").map { row in
            let id: Int64 = row["id"]
            let redirection: String? = row["redirection"]
            return TargetRecord(
                id: id, name: row["name"], device: row["device"], logicalUnits: units[id] ?? [:],
                portalGroupTags: tags[id],
                redirection: redirection.map {
                    TargetRedirection(address: $0, isPermanent: row["redirectionIsPermanent"])
                }, accessLevel: AccessLevel(rawValue: row["accessLevel"]) ?? .closed,
                requiresAuthentication: row["requiresAuthentication"], access: access[id] ?? [],
                generation: StoredGeneration.of(row))
        }
    }

    /// The rows of a query that belong to these targets.
    private static func rows(
        _ database: Database, _ query: String, of selection: Selection, by column: String = "target", order: String
    ) throws -> [Row] {
        let keys = selection.keys
        return try Row.fetchAll(
            database, sql: "\(query) WHERE \(column) IN (\(keys.sql)) ORDER BY \(order)", arguments: keys.arguments)
    }

    /// Whether there is a target of that name.
    public func hasTarget(named name: String) throws(CatalogError) -> Bool {
        try read { database in
            try Bool.fetchOne(
                database, sql: "SELECT EXISTS (SELECT 1 FROM target WHERE name = ?)", arguments: [name]) ?? false
        }
    }

    /// Whether anything was set for the target of the device with the key `device`, or one of its logical units,
    /// `units`, is shown at other targets or to groups.
    public func hasAccessSettings(device: Int64, units: [Int64]) throws(CatalogError) -> Bool {
        try read { database in
            let isSet = try Bool.fetchOne(
                database,
                sql: """
                    SELECT EXISTS (
                        SELECT 1 FROM target WHERE device = ? AND (
                            redirection IS NOT NULL OR accessLevel <> 'loopback' OR requiresAuthentication
                            OR EXISTS (SELECT 1 FROM targetPortalGroup WHERE targetPortalGroup.target = target.id)
                            OR EXISTS (SELECT 1 FROM targetAccess WHERE targetAccess.target = target.id)))
                    """, arguments: [device])
            if isSet == true { return true }
            for unit in units {
                let isShown = try Bool.fetchOne(
                    database,
                    sql: """
                        SELECT EXISTS (SELECT 1 FROM groupLogicalUnitMapping WHERE logicalUnit = :unit)
                            OR EXISTS (
                                SELECT 1 FROM logicalUnitMapping JOIN target ON target.id = logicalUnitMapping.target
                                WHERE logicalUnit = :unit AND device IS NOT :device)
                        """, arguments: ["unit": unit, "device": device])
                if isShown == true { return true }
            }
            return false
        }
    }

    private static func mappings(_ database: Database, _ selection: Selection) throws -> [Int64: [Int: Int64]] {
        var units: [Int64: [Int: Int64]] = [:]
        let mapped = try rows(
            database, "SELECT * FROM logicalUnitMapping", of: selection, order: "logicalUnitNumber")
        for row in mapped {
            units[row["target"], default: [:]][row["logicalUnitNumber"]] = row["logicalUnit"]
        }
        return units
    }

    private static func access(
        _ database: Database, _ selection: Selection
    ) throws -> [Int64: [TargetAccessRecord]] {
        struct Key: Hashable {
            let target: Int64
            let group: Int64
        }
        var units: [Key: [Int: Int64]] = [:]
        let mapped = try rows(
            database, "SELECT * FROM groupLogicalUnitMapping", of: selection, order: "logicalUnitNumber")
        for row in mapped {
            let key = Key(target: row["target"], group: row["initiatorGroup"])
            units[key, default: [:]][row["logicalUnitNumber"]] = row["logicalUnit"]
        }
        var access: [Int64: [TargetAccessRecord]] = [:]
        let granted = try rows(
            database,
            "SELECT targetAccess.* FROM targetAccess JOIN initiatorGroup ON initiatorGroup.id = initiatorGroup",
            of: selection, order: "rank, initiatorGroup.id")
        for row in granted {
            let key = Key(target: row["target"], group: row["initiatorGroup"])
            let hasOwnMap: Bool = row["hasOwnMap"]
            access[key.target, default: []].append(
                TargetAccessRecord(group: key.group, logicalUnits: hasOwnMap ? units[key] ?? [:] : nil))
        }
        return access
    }

    // MARK: For the extensions by topic

    /// Adds the target `name` with `logicalUnits` from logical unit number 0 on; it goes with the first of them.
    static func addTarget(_ name: String, logicalUnits: [Int64], in database: Database) throws {
        try database.execute(
            sql: "INSERT INTO target (name, device) VALUES (?, ?)", arguments: [name, logicalUnits.first])
        let target = database.lastInsertedRowID
        let numbered = Dictionary(uniqueKeysWithValues: logicalUnits.enumerated().map { ($0.offset, $0.element) })
        try insertMappings(numbered, target: target, in: database)
    }

    fileprivate static func insertMappings(_ logicalUnits: [Int: Int64], target: Int64, in database: Database) throws {
        for (number, unit) in logicalUnits {
            try database.execute(
                sql: "INSERT INTO logicalUnitMapping (target, logicalUnitNumber, logicalUnit) VALUES (?, ?, ?)",
                arguments: [target, number, unit])
        }
    }

    /// Removes the logical units that `condition` selects, what depends on them, and the targets that were made for
    /// them.
    static func removeLogicalUnits(
        matching condition: String, arguments: StatementArguments, in database: Database
    ) throws {
        try database.execute(sql: "DELETE FROM logicalUnit WHERE \(condition)", arguments: arguments)
        guard database.changesCount > 0 else { throw CatalogError.conflict("there is nothing of that name") }
    }
}

extension AccessChange {
    /// Adds the target `name`, made for itself, without logical units, and gives its key.
    @discardableResult
    public func addTarget(named name: String) throws -> Int64 {
        try database.execute(sql: "INSERT INTO target (name) VALUES (?)", arguments: [name])
        return database.lastInsertedRowID
    }

    /// Removes the target with the key `target`, which was made for itself; its logical units stay.
    public func removeTarget(_ target: Int64) throws {
        try database.execute(sql: "DELETE FROM target WHERE id = ? AND device IS NULL", arguments: [target])
        guard database.changesCount == 1 else { throw CatalogError.conflict("there is no such target to remove") }
    }

    /// Puts logical units at free numbers of the target with the key `target`.
    public func map(_ logicalUnits: [Int: Int64], to target: Int64) throws {
        try Catalog.insertMappings(logicalUnits, target: target, in: database)
    }

    /// Takes the logical units at `numbers` from the target with the key `target`.
    public func unmap(_ numbers: [Int], from target: Int64) throws {
        for number in numbers {
            try database.execute(
                sql: "DELETE FROM logicalUnitMapping WHERE target = ? AND logicalUnitNumber = ?",
                arguments: [target, number])
            guard database.changesCount == 1 else {
                throw CatalogError.conflict("there is no logical unit \(number)")
            }
        }
    }

    /// Permits the group with the key `group` to log in to the target with the key `target`, and to see `logicalUnits`:
    /// those of the target when nil. What the group saw before is replaced. The first group of a target makes its
    /// access level `groups`.
    public func setAccess(
        of group: Int64, to target: Int64, logicalUnits: [Int: Int64]?
    ) throws {
        try database.execute(
            sql: """
                UPDATE target SET accessLevel = 'groups'
                WHERE id = :target AND NOT EXISTS (SELECT 1 FROM targetAccess WHERE target = :target)
                """, arguments: ["target": target])
        try database.execute(
            sql: "DELETE FROM targetAccess WHERE target = ? AND initiatorGroup = ?", arguments: [target, group])
        try database.execute(
            sql: "INSERT INTO targetAccess (target, initiatorGroup, hasOwnMap) VALUES (?, ?, ?)",
            arguments: [target, group, logicalUnits != nil])
        for (number, unit) in logicalUnits ?? [:] {
            try database.execute(
                sql: """
                    INSERT INTO groupLogicalUnitMapping (target, initiatorGroup, logicalUnitNumber, logicalUnit)
                    VALUES (?, ?, ?, ?)
                    """, arguments: [target, group, number, unit])
        }
    }

    /// Removes the access of the group with the key `group` to the target with the key `target`, whose access level
    /// stays as it is.
    public func removeAccess(of group: Int64, to target: Int64) throws {
        try database.execute(
            sql: "DELETE FROM targetAccess WHERE target = ? AND initiatorGroup = ?", arguments: [target, group])
        guard database.changesCount == 1 else { throw CatalogError.conflict("the group has no access") }
    }

    /// Has the portal groups with `tags` offer the target with the key `target`, or all when nil.
    public func setPortalGroupTags(_ tags: [Int]?, ofTarget target: Int64) throws {
        try database.execute(sql: "DELETE FROM targetPortalGroup WHERE target = ?", arguments: [target])
        for tag in tags ?? [] {
            try database.execute(
                sql: "INSERT INTO targetPortalGroup (target, portalGroupTag) VALUES (?, ?)",
                arguments: [target, tag])
        }
    }

    /// Sends logins to the target with the key `target` elsewhere, or no longer when nil.
    public func setRedirection(_ redirection: TargetRedirection?, ofTarget target: Int64) throws {
        try database.execute(
            sql: "UPDATE target SET redirection = ?, redirectionIsPermanent = ? WHERE id = ?",
            arguments: [redirection?.address, redirection?.isPermanent ?? false, target])
    }
}

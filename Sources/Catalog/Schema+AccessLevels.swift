import GRDB
public import Resources

extension Schema {
    /// Version 5: the access level of targets, and where authentication is required, so that a group or a secret that
    /// is gone closes a target. Targets that are there already stay as open as they were.
    static func addAccessLevels(_ database: Database) throws {
        try database.execute(
            sql: """
                ALTER TABLE target ADD COLUMN accessLevel TEXT NOT NULL DEFAULT 'loopback'
                    CHECK (accessLevel IN ('closed', 'loopback', 'groups', 'open'));
                UPDATE target SET accessLevel = CASE
                    WHEN EXISTS (SELECT 1 FROM targetAccess WHERE targetAccess.target = target.id) THEN 'groups'
                    ELSE 'open' END;

                -- Whether initiators have to prove who they are, whatever secrets there are to prove it with.
                ALTER TABLE target ADD COLUMN requiresAuthentication INTEGER NOT NULL DEFAULT 0
                    CHECK (requiresAuthentication IN (0, 1));
                ALTER TABLE initiatorGroup ADD COLUMN requiresAuthentication INTEGER NOT NULL DEFAULT 0
                    CHECK (requiresAuthentication IN (0, 1));
                -- Few of many: these are looked for with each change.
                CREATE INDEX openTarget ON target (name) WHERE accessLevel = 'open';
                CREATE INDEX targetRequiringAuthentication ON target (name) WHERE requiresAuthentication;
                CREATE TABLE discovery (
                    id INTEGER PRIMARY KEY CHECK (id = 1),
                    requiresAuthentication INTEGER NOT NULL CHECK (requiresAuthentication IN (0, 1))
                ) STRICT;
                INSERT INTO discovery (id, requiresAuthentication) VALUES (1, 0);
                """)
    }
}

/// Where authentication can be required.
public enum AuthenticationPlace: Hashable, Sendable {
    /// At the target of that iSCSI name.
    case target(String)
    /// Of the members of the group of that name.
    case group(String)
    /// In discovery sessions.
    case discovery
}

extension Catalog {
    /// Where authentication is required.
    public func authenticationPlaces() throws(CatalogError) -> Set<AuthenticationPlace> {
        try read(rememberedPlaces) { database in
            func names(_ table: String) throws -> [String] {
                try String.fetchAll(database, sql: "SELECT name FROM \(table) WHERE requiresAuthentication")
            }
            var places = Set(try names("target").map(AuthenticationPlace.target))
            places.formUnion(try names("initiatorGroup").map(AuthenticationPlace.group))
            if try Bool.fetchOne(database, sql: "SELECT requiresAuthentication FROM discovery") == true {
                places.insert(.discovery)
            }
            return places
        }
    }

    /// A target as what warnings are about.
    public struct ExposedTarget: Hashable, Sendable {
        /// The iSCSI name.
        public let name: String
        /// The tags of the portal groups that offer it; nil when all do.
        public let portalGroupTags: Set<Int>?
    }

    /// The targets that are open to everyone without proof, by name.
    public func openTargets() throws(CatalogError) -> [ExposedTarget] {
        try read(rememberedOpenTargets) {
            try Self.exposedTargets($0, "accessLevel = 'open' AND NOT requiresAuthentication")
        }
    }

    /// The targets that only some portal groups offer, by name.
    public func targetsOfPortalGroups() throws(CatalogError) -> [ExposedTarget] {
        try read { try Self.exposedTargets($0, "id IN (SELECT target FROM targetPortalGroup)") }
    }

    private static func exposedTargets(_ database: Database, _ condition: String) throws -> [ExposedTarget] {
        let tags = try database.makeStatement(
            sql: "SELECT portalGroupTag FROM targetPortalGroup WHERE target = ?")
        return try Row.fetchAll(database, sql: "SELECT id, name FROM target WHERE \(condition) ORDER BY name").map {
            let id: Int64 = $0["id"]
            let own = try Int.fetchSet(tags, arguments: [id])
            return ExposedTarget(name: $0["name"], portalGroupTags: own.isEmpty ? nil : own)
        }
    }
}

extension AccessChange {
    /// Says who may log in to the target with the key `target`.
    public func setAccessLevel(_ level: AccessLevel, ofTarget target: Int64) throws {
        try database.execute(
            sql: "UPDATE target SET accessLevel = ? WHERE id = ?", arguments: [level.rawValue, target])
        guard database.changesCount == 1 else { throw CatalogError.conflict("there is no such target") }
    }

    /// Requires authentication at `places`, or no longer; those that are not there are passed over.
    public func requireAuthentication(
        _ isRequired: Bool, at places: some Collection<AuthenticationPlace>
    ) throws {
        for place in places {
            switch place {
            case .target(let name):
                try database.execute(
                    sql: "UPDATE target SET requiresAuthentication = ? WHERE name = ?",
                    arguments: [isRequired, name])
            case .group(let name):
                try database.execute(
                    sql: "UPDATE initiatorGroup SET requiresAuthentication = ? WHERE name = ?",
                    arguments: [isRequired, name])
            case .discovery:
                try database.execute(
                    sql: "UPDATE discovery SET requiresAuthentication = ?", arguments: [isRequired])
            }
        }
    }
}

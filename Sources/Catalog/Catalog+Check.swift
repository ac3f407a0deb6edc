import GRDB

extension Catalog {
    /// The most problems that a check names.
    static let checkLimit = 100

    /// What SQLite finds wrong with the file, and rows that refer to none, one sentence each; none when it is sound.
    public func check() throws(CatalogError) -> [String] {
        try read { database in
            let damage = try String.fetchAll(database, sql: "PRAGMA quick_check(\(Self.checkLimit))")
                .filter { $0 != "ok" }
            let strays = try Row.fetchAll(database, sql: "PRAGMA foreign_key_check").prefix(Self.checkLimit)
            let specs = try Row.fetchAll(
                database, sql: "SELECT kind, name FROM resource WHERE NOT json_valid(spec) LIMIT \(Self.checkLimit)")
            let halves = try String.fetchAll(
                database,
                sql: """
                    SELECT name FROM resource
                    WHERE kind = 'disk' AND id NOT IN (SELECT resource FROM diskImage) LIMIT \(Self.checkLimit)
                    """)
            return damage
                + halves.map { "disk '\($0)' has no image in the catalog" }
                + specs.map { "the spec of \($0["kind"] as String) '\($0["name"] as String)' is no JSON" }
                + strays.map { row in
                    let (table, parent): (String, String) = (row["table"], row["parent"])
                    let number: Int64? = row["rowid"]
                    return "a row\(number.map { " (\($0))" } ?? "") of table '\(table)' refers to none of '\(parent)'"
                }
        }
    }
}

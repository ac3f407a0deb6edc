import GRDB

extension Catalog {
    /// How far generations and numbers of events go on from those of a copy, at the least: farther than a catalog gets
    /// after it was copied, with six changes a second for a month. No farther, so that JSON clients that hold numbers
    /// as doubles can tell generations apart after some hundred restores.
    static let leap: Int64 = 1 << 24

    /// Says that this is a copy in the place of a catalog that has gone on since: from here on, generations and numbers
    /// of events are such as that one has never given, so nobody takes what is new for what it knows already. `event`
    /// is the first.
    ///
    /// - Throws: `CatalogError.damaged` when there are no higher numbers.
    public func leap(event: NewEvent) throws(CatalogError) {
        try write { database in
            let generation = try Int64.fetchOne(database, sql: "SELECT number FROM lastGeneration")
            try database.execute(
                sql: "UPDATE lastGeneration SET number = ?",
                arguments: [try Self.beyond(generation ?? StoredGeneration.zero)])
            let last = try Int64.fetchOne(
                database,
                sql: """
                    SELECT max(number) FROM (
                        SELECT seq AS number FROM sqlite_sequence WHERE name = 'event'
                        UNION ALL SELECT max(id) FROM event)
                    """)
            let number = try Self.beyond(last ?? 0)
            try database.execute(sql: "DELETE FROM sqlite_sequence WHERE name = 'event'")
            try database.execute(
                sql: "INSERT INTO sqlite_sequence (name, seq) VALUES ('event', ?)", arguments: [number])
            try record(event, in: database)
        }
    }

    /// The next multiple of the leap that is at least one leap away.
    private static func beyond(_ number: Int64) throws(CatalogError) -> Int64 {
        let (product, overflows) = (number / leap + 2).multipliedReportingOverflow(by: leap)
        guard number >= 0, !overflows else { throw .damaged("its last number is \(number)") }
        return product
    }
}

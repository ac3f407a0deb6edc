import GRDB

/// What a logical unit is, as the catalog knows it.
enum LogicalUnitKind: String {
    case disk
    case changer
    case drive

    /// The length of its serial numbers in characters: that of the parts of a library is the one of IBM's tape
    /// products.
    var serialNumberLength: Int { self == .disk ? 16 : 10 }
}

extension LogicalUnitIdentity {
    /// Makes a new logical unit with random identifiers that no other one in the catalog has.
    static func insert(_ kind: LogicalUnitKind, in database: Database) throws -> LogicalUnitIdentity {
        let serialNumber = try randomSerialNumber(kind.serialNumberLength, table: "logicalUnit", in: database)
        var naaIdentifier: UInt64
        repeat {
            // SPC-5 clause 7.8.6.6.4: NAA 3h, locally assigned, and 60 bits.
            naaIdentifier = 0x3 << 60 | UInt64.random(in: 0..<(1 << 60))
        } while try Bool.fetchOne(
            database, sql: "SELECT EXISTS (SELECT 1 FROM logicalUnit WHERE naaIdentifier = ?)",
            arguments: [Int64(bitPattern: naaIdentifier)]) ?? false
        try database.execute(
            sql: "INSERT INTO logicalUnit (kind, serialNumber, naaIdentifier) VALUES (?, ?, ?)",
            arguments: [kind.rawValue, serialNumber, Int64(bitPattern: naaIdentifier)])
        return LogicalUnitIdentity(
            id: database.lastInsertedRowID, serialNumber: serialNumber, naaIdentifier: naaIdentifier)
    }

    init(row: Row) {
        let naaIdentifier: Int64 = row["naaIdentifier"]
        self.init(
            id: row["id"], serialNumber: row["serialNumber"], naaIdentifier: UInt64(bitPattern: naaIdentifier))
    }
}

/// `length` random digits and capital letters that no row of `table` has as its serial number.
func randomSerialNumber(_ length: Int, table: String, in database: Database) throws -> String {
    // Without letters that look like digits: people read these aloud.
    let alphabet = Array("0123456789ABCDEFGHJKLMNPQRSTUVWXYZ")
    while true {
        let candidate = String((0..<length).map { _ in alphabet[Int.random(in: 0..<alphabet.count)] })
        let isTaken = try Bool.fetchOne(
            database, sql: "SELECT EXISTS (SELECT 1 FROM \(table) WHERE serialNumber = ?)", arguments: [candidate])
        if isTaken != true { return candidate }
    }
}

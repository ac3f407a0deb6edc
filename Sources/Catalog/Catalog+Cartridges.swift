import GRDB
public import Resources

public import struct Foundation.Date

extension Catalog {
    /// Adds a cartridge in phase `creating` to the library with the key `library`; the element must be empty.
    public func addCartridge(
        barcode: String, capacity: Int64, location: CartridgeLocation, library: Int64, created: Date
    ) throws(CatalogError) -> CartridgeRecord {
        try write { database in
            try Self.insertCartridge(
                barcode: barcode, capacity: capacity, location: location, library: library, created: created,
                phase: .creating, in: database)
        }
    }

    /// The cartridges of the library with the key `library`, by barcode.
    public func cartridges(library: Int64) throws(CatalogError) -> [CartridgeRecord] {
        try read { database in
            try Row.fetchAll(
                database, sql: "SELECT * FROM cartridge WHERE library = ? ORDER BY barcode", arguments: [library]
            ).map(CartridgeRecord.init(row:))
        }
    }

    /// The cartridge `barcode` of the library with the key `library`, if there is one.
    public func cartridge(_ barcode: String, library: Int64) throws(CatalogError) -> CartridgeRecord? {
        try read { try Self.cartridge(barcode, library: library, in: $0) }
    }

    /// The last of the labels that begin with "V" and five digits, as far as these characters, in any library; nil when
    /// there is none.
    public func lastVolumeSerial() throws(CatalogError) -> String? {
        try read { database in
            try String.fetchOne(
                database,
                sql: "SELECT max(substr(barcode, 1, 6)) FROM cartridge WHERE barcode GLOB 'V[0-9][0-9][0-9][0-9][0-9]*'"
            )
        }
    }

    /// How many cartridges the library with the key `library` has, and how many of them are in the vault.
    public func cartridgeCount(library: Int64) throws(CatalogError) -> (all: Int, inVault: Int) {
        try read { database in
            let all = try Int.fetchOne(
                database, sql: "SELECT count(*) FROM cartridge WHERE library = ?", arguments: [library])
            let inVault = try Int.fetchOne(
                database, sql: "SELECT count(*) FROM cartridge WHERE library = ? AND elementKind IS NULL",
                arguments: [library])
            return (all ?? 0, inVault ?? 0)
        }
    }

    /// The cartridges in the elements of `kind` of the library with the key `library`, by number.
    public func cartridges(
        library: Int64, in kind: ElementKind
    ) throws(CatalogError) -> [CartridgeRecord] {
        try read { database in
            try Row.fetchAll(
                database,
                sql: "SELECT * FROM cartridge WHERE library = ? AND elementKind = ? ORDER BY elementNumber",
                arguments: [library, kind.rawValue]
            ).map(CartridgeRecord.init(row:))
        }
    }

    /// Removes the cartridge `barcode` of the library with the key `library`.
    public func removeCartridge(_ barcode: String, library: Int64) throws(CatalogError) {
        try remove { database in
            try database.execute(
                sql: "DELETE FROM cartridge WHERE library = ? AND barcode = ?", arguments: [library, barcode])
            guard database.changesCount == 1 else {
                throw CatalogError.conflict("there is no cartridge '\(barcode)'")
            }
        }
    }

    /// Makes `moves`, their lines of history and their events in one transaction; several at once are an exchange.
    ///
    /// A cartridge in phase `creating` is complete when it has moved, and the event is its creation. One in phase
    /// `deleting` moves to the vault only, and without a line of history or an event, for which a full file system
    /// could have no room.
    ///
    /// What comes from the vault gets no slot that another cartridge was taken from to a drive or a mail slot: that one
    /// comes back. Initiators and operators may say otherwise of what is in the library.
    ///
    /// - Throws: `CatalogError.conflict` when a cartridge is not at its origin, or a destination does not exist, is
    ///   kept for another cartridge, or is not empty after all origins were left.
    public func apply(
        _ moves: [CartridgeMove], library: Int64, cause: MoveCause, actor: EventActor = .daemon, time: Date
    ) throws(CatalogError) {
        // What goes to the vault is deleted next, as a rule.
        let isRemoval = moves.allSatisfy { $0.destination == .vault }
        let transaction: (Database) throws -> Void = { database in
            try self.apply(moves, library: library, cause: cause, actor: actor, time: time, in: database)
        }
        if isRemoval { try remove(nil, transaction) } else { try write(nil, transaction) }
    }

    private func apply(
        _ moves: [CartridgeMove], library: Int64, cause: MoveCause, actor: EventActor, time: Date,
        in database: Database
    ) throws {
        guard
            let name = try String.fetchOne(database, sql: "SELECT name FROM library WHERE id = ?", arguments: [library])
        else { throw CatalogError.conflict("there is no such library") }
        // All leave before any arrives, so that an exchange never has two cartridges in one element.
        var recorded: [(move: CartridgeMove, isNew: Bool)] = []
        for move in moves {
            guard let cartridge = try Self.cartridge(move.barcode, library: library, in: database),
                cartridge.location == move.origin
            else {
                throw CatalogError.conflict("cartridge '\(move.barcode)' is not in \(move.origin)")
            }
            if cartridge.phase != .deleting {
                recorded.append((move, cartridge.phase == .creating))
            } else if move.destination != .vault {
                throw CatalogError.conflict("cartridge '\(move.barcode)' is being deleted")
            }
            try database.execute(
                sql: "UPDATE cartridge SET elementKind = NULL, elementNumber = NULL WHERE id = ?",
                arguments: [cartridge.id])
        }
        for move in moves {
            try Self.checkIsNotKept(for: move, library: library, in: database)
            try Self.place(move, library: library, in: database)
        }
        for (move, isNew) in recorded {
            try database.execute(
                sql: """
                    INSERT INTO move (time, library, libraryKey, barcode, origin, destination, cause)
                    VALUES (?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    time, name, library, move.barcode, move.origin.description, move.destination.description,
                    cause.rawValue,
                ])
            try database.execute(
                sql: "DELETE FROM move WHERE id <= ?",
                arguments: [database.lastInsertedRowID - Int64(Self.moveHistoryLimit)])
            try record(
                NewEvent(
                    time: time, actor: actor, kind: "cartridge", name: "\(name)/\(move.barcode)",
                    verb: isNew ? "create" : "move",
                    old: isNew ? nil : #"{"location":"\#(move.origin)"}"#,
                    new: #"{"location":"\#(move.destination)"}"#), in: database)
        }
    }

    /// The last `limit` moves of the library with the key `library`, the newest first: in the order in which they were
    /// made, whatever the clock said.
    public func moves(library: Int64, limit: Int) throws(CatalogError) -> [MoveRecord] {
        try read { database in
            try Row.fetchAll(
                database, sql: "SELECT * FROM move WHERE libraryKey = ? ORDER BY id DESC LIMIT ?",
                arguments: [library, limit]
            ).map { row in
                MoveRecord(
                    time: Date(row["time"]), library: row["library"], barcode: row["barcode"], origin: row["origin"],
                    destination: row["destination"], cause: MoveCause(rawValue: row["cause"]) ?? .command)
            }
        }
    }

    /// Refuses to put what comes from the vault into the slot of a cartridge that is in a drive or a mail slot.
    private static func checkIsNotKept(for move: CartridgeMove, library: Int64, in database: Database) throws {
        guard move.origin == .vault, let element = move.destination.element else { return }
        let owner = try String.fetchOne(
            database,
            sql: """
                SELECT barcode FROM cartridge
                WHERE library = ? AND sourceKind = ? AND sourceNumber = ? AND elementKind IN ('drive', 'mail')
                """, arguments: [library, element.kind.rawValue, element.number])
        guard let owner else { return }
        throw CatalogError.conflict("\(element) is kept for cartridge '\(owner)', which was taken out of it")
    }

    private static func place(_ move: CartridgeMove, library: Int64, in database: Database) throws {
        // The source element is the last storage element it left; a move between other kinds keeps it.
        var source: ElementAddress?
        if let origin = move.origin.element, origin.kind == .slot { source = origin }
        let leavesLibrary = move.destination == .vault
        do {
            try database.execute(
                sql: """
                    UPDATE cartridge SET elementKind = ?, elementNumber = ?,
                        sourceKind = CASE WHEN ? THEN NULL ELSE coalesce(?, sourceKind) END,
                        sourceNumber = CASE WHEN ? THEN NULL ELSE coalesce(?, sourceNumber) END,
                        isImported = ?, phase = CASE phase WHEN 'creating' THEN 'complete' ELSE phase END
                    WHERE library = ? AND barcode = ?
                    """,
                arguments: [
                    move.destination.element?.kind.rawValue, move.destination.element?.number,
                    leavesLibrary, source?.kind.rawValue, leavesLibrary, source?.number,
                    move.origin == .vault && !leavesLibrary, library, move.barcode,
                ])
        } catch let error as DatabaseError where error.extendedResultCode == .SQLITE_CONSTRAINT_UNIQUE {
            throw CatalogError.conflict("\(move.destination) is not empty")
        } catch let error as DatabaseError where error.extendedResultCode == .SQLITE_CONSTRAINT_FOREIGNKEY {
            throw CatalogError.conflict("there is no \(move.destination)")
        }
    }

    @discardableResult
    static func insertCartridge(
        barcode: String, capacity: Int64, serialNumber: String? = nil, location: CartridgeLocation, library: Int64,
        created: Date, phase: RecordPhase, in database: Database
    ) throws -> CartridgeRecord {
        let serialNumber = try serialNumber ?? randomSerialNumber(10, table: "cartridge", in: database)
        try database.execute(
            sql: """
                INSERT INTO cartridge
                    (library, barcode, serialNumber, capacity, elementKind, elementNumber, created, phase, isImported)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)
                """,
            arguments: [
                library, barcode, serialNumber, capacity, location.element?.kind.rawValue, location.element?.number,
                created, phase.rawValue,
            ])
        let id = database.lastInsertedRowID
        return CartridgeRecord(
            id: id, barcode: barcode, serialNumber: serialNumber, capacity: capacity, location: location, source: nil,
            isImported: false, created: created, phase: phase,
            generation: try StoredGeneration.of("cartridge", id: id, in: database))
    }

    private static func cartridge(
        _ barcode: String, library: Int64, in database: Database
    ) throws -> CartridgeRecord? {
        try Row.fetchOne(
            database, sql: "SELECT * FROM cartridge WHERE library = ? AND barcode = ?", arguments: [library, barcode]
        ).map(CartridgeRecord.init(row:))
    }
}

extension CartridgeRecord {
    init(row: Row) {
        func element(_ kindColumn: String, _ numberColumn: String) -> ElementAddress? {
            let kind: String? = row[kindColumn]
            let number: Int? = row[numberColumn]
            guard let kind = kind.flatMap(ElementKind.init(rawValue:)), let number else { return nil }
            return ElementAddress(kind: kind, number: number)
        }
        let location = element("elementKind", "elementNumber").map(CartridgeLocation.element) ?? .vault
        self.init(
            id: row["id"], barcode: row["barcode"], serialNumber: row["serialNumber"], capacity: row["capacity"],
            location: location, source: element("sourceKind", "sourceNumber"), isImported: row["isImported"],
            created: Date(row["created"]),
            phase: RecordPhase(row: row), generation: StoredGeneration.of(row))
    }
}

import Foundation
import GRDB
import Platform
import Resources
import Testing

@testable import Catalog

@Suite("How many devices there are")
struct CountTests {
    let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private static let large = NewLibrary(
        name: "large", targetName: "t:large", profile: "p", driveProfile: "d", driveCount: 1, slotCount: 1200,
        mailSlotCount: 0)

    /// Compares what is kept with what is there.
    private func expectTrueCounts(_ catalog: Catalog, _ disks: Int, _ libraries: Int, _ cartridges: Int) throws {
        let counts = try catalog.deviceCounts()
        #expect(counts == (disks, libraries, cartridges))
        let rows = try catalog.read { database in
            try ["diskImage", "library", "cartridge"].map { table in
                try Int.fetchOne(database, sql: "SELECT count(*) FROM \(table)")
            }
        }
        #expect(rows == [disks, libraries, cartridges])
    }

    private func addDisk(_ name: String, to catalog: Catalog) throws {
        _ = try catalog.addDisk(
            name: name, targetName: "t:\(name)", Disk.Spec(size: 4096), image: "\(name).img", imageIsExternal: false,
            created: Date(), event: NewEvent(time: Date(), actor: .daemon, kind: "disk", name: name, verb: "create"))
    }

    @Test("the counts are those of the rows, also where these go with others or a transaction is undone")
    func counts() throws {
        let catalog = try Catalog(path: folder.catalog)
        try expectTrueCounts(catalog, 0, 0, 0)
        for name in ["a", "b"] { try addDisk(name, to: catalog) }
        #expect(throws: CatalogError.self) { try addDisk("b", to: catalog) }
        try expectTrueCounts(catalog, 2, 0, 0)
        let library = try catalog.addLibrary(
            Self.large, cartridges: (0..<1100).map { ("C\($0)", 1000) }, created: Date()
        ).identity.id
        try expectTrueCounts(catalog, 2, 1, 1100)
        _ = try catalog.addCartridge(
            barcode: "N1", capacity: 1, location: .vault, library: library, created: Date())
        try catalog.removeCartridge("C7", library: library)
        try catalog.removeCartridge("C8", library: library)
        try catalog.removeDisk(named: "a")
        try expectTrueCounts(catalog, 1, 1, 1099)
        // The cartridges that are left go with their library.
        try catalog.removeLibrary(named: "large")
        try expectTrueCounts(catalog, 1, 0, 0)
        try catalog.close()
    }

    @Test("a catalog of version 8 is counted when it is migrated")
    func versionEight() throws {
        let raw = try DatabaseQueue(path: folder.catalog)
        try raw.write { database in
            for migration in Schema.migrations.prefix(8) { try migration(database) }
            try database.execute(
                sql: """
                    PRAGMA application_id = \(Schema.applicationID);
                    PRAGMA user_version = 8;
                    INSERT INTO logicalUnit VALUES (7, 'changer', 'S7', 1);
                    INSERT INTO library (id, name, profile, created) VALUES (7, 'vtl', 'p', '2026-11-01 00:00:00.000');
                    INSERT INTO cartridge (library, barcode, serialNumber, capacity, created) VALUES
                        (7, 'A1', 'S1', 1, '2026-11-01 00:00:00.000'), (7, 'A2', 'S2', 1, '2026-11-01 00:00:00.000');
                    """)
        }
        try raw.close()
        let catalog = try Catalog(path: folder.catalog)
        try expectTrueCounts(catalog, 0, 1, 2)
        try addDisk("a", to: catalog)
        try catalog.removeCartridge("A1", library: 7)
        try expectTrueCounts(catalog, 1, 1, 1)
        try catalog.close()
    }
}

import Foundation
import GRDB
import Resources
import Testing

@testable import Catalog

/// A folder that goes away with the test.
final class ScratchFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "carousel-catalog-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var catalog: String { path + "/catalog.sqlite" }
}

let newLibrary = NewLibrary(
    name: "vtl", targetName: "iqn.2026-11.dev.carousel:vtl", profile: "p", driveProfile: "d", driveCount: 2,
    slotCount: 4, mailSlotCount: 1)

func element(_ kind: ElementKind, _ number: Int) -> CartridgeLocation {
    .element(ElementAddress(kind: kind, number: number))
}

@Suite("Opening and migrating")
struct OpeningTests {
    @Test("a new catalog has the current version and is found again")
    func newCatalog() throws {
        let folder = try ScratchFolder()
        let first = try Catalog(path: folder.catalog)
        let disk = try first.addDisk(
            name: "a", targetName: "iqn.2026-11.dev.carousel:a", Disk.Spec(size: 1 << 20), image: "disks/a.img",
            imageIsExternal: false, created: Date(timeIntervalSince1970: 1_800_000_000))
        try first.close()
        let second = try Catalog(path: folder.catalog)
        #expect(try second.disks() == [disk])
        try second.close()
        let raw = try DatabaseQueue(path: folder.catalog)
        #expect(try raw.read { try Int.fetchOne($0, sql: "PRAGMA user_version") } == Schema.version)
        #expect(try raw.read { try String.fetchAll($0, sql: "PRAGMA integrity_check") } == ["ok"])
    }

    @Test("a catalog of version 3 keeps what it has, all of it complete")
    func oldCatalog() throws {
        let folder = try ScratchFolder()
        let raw = try DatabaseQueue(path: folder.catalog)
        try raw.write { database in
            for migration in Schema.migrations.prefix(3) { try migration(database) }
            try database.execute(
                sql: """
                    PRAGMA application_id = \(Schema.applicationID);
                    PRAGMA user_version = 3;
                    INSERT INTO logicalUnit VALUES (1, 'disk', 'S1', 1), (2, 'changer', 'S2', 2), (3, 'drive', 'S3', 3);
                    INSERT INTO disk VALUES (1, 'a', 'disks/a.img', 0, 4096, 512, '2026-11-01 00:00:00.000');
                    INSERT INTO library VALUES (2, 'vtl', 'p', '2026-11-01 00:00:00.000');
                    INSERT INTO drive VALUES (3, 2, 1, 'd');
                    INSERT INTO element VALUES (2, 'slot', 1), (2, 'mail', 1), (2, 'drive', 1);
                    INSERT INTO cartridge VALUES
                        (1, 2, 'A1', 'C1', 1000, 'mail', 1, 'slot', 1, '2026-11-01 00:00:00.000');
                    """)
        }
        try raw.close()
        let catalog = try Catalog(path: folder.catalog)
        #expect(try catalog.disk(named: "a")?.phase == .complete)
        #expect(try catalog.library(named: "vtl")?.phase == .complete)
        let cartridge = try #require(try catalog.cartridge("A1", library: 2))
        #expect(cartridge.phase == .complete)
        #expect(cartridge.location == element(.mail, 1))
        #expect(!cartridge.isImported)
        try catalog.setPhase(.deleting, ofDevice: 1)
        #expect(try catalog.disk(named: "a")?.phase == .deleting)
    }

    @Test("a catalog of version 4 keeps its targets as open as they were; new ones begin with loopback")
    func openCatalog() throws {
        let folder = try ScratchFolder()
        let raw = try DatabaseQueue(path: folder.catalog)
        try raw.write { database in
            for migration in Schema.migrations.prefix(4) { try migration(database) }
            try database.execute(
                sql: """
                    PRAGMA application_id = \(Schema.applicationID);
                    PRAGMA user_version = 4;
                    INSERT INTO logicalUnit VALUES (1, 'disk', 'S1', 1), (2, 'disk', 'S2', 2);
                    INSERT INTO disk VALUES
                        (1, 'a', 'disks/a.img', 0, 4096, 512, '2026-11-01 00:00:00.000', 'complete'),
                        (2, 'b', 'disks/b.img', 0, 4096, 512, '2026-11-01 00:00:00.000', 'complete');
                    INSERT INTO target (id, name, device) VALUES (1, 't:a', 1), (2, 't:b', 2);
                    INSERT INTO logicalUnitMapping VALUES (1, 0, 1), (2, 0, 2);
                    INSERT INTO initiatorGroup VALUES (1, 'g', 10, '2026-11-01 00:00:00.000');
                    INSERT INTO targetAccess VALUES (2, 1, 0);
                    """)
        }
        try raw.close()
        let catalog = try Catalog(path: folder.catalog)
        #expect(try catalog.targets().map(\.accessLevel) == [.open, .groups])
        #expect(try catalog.targets().allSatisfy { !$0.requiresAuthentication })
        #expect(try catalog.authenticationPlaces().isEmpty)
        try catalog.changeAccess { try $0.addTarget(named: "t:c") }
        _ = try catalog.addDisk(
            name: "d", targetName: "t:d", Disk.Spec(size: 4096), image: "disks/d.img", imageIsExternal: false,
            created: Date())
        #expect(try catalog.targets().map(\.accessLevel) == [.open, .groups, .loopback, .loopback])
        try catalog.close()
        // Once only.
        let again = try Catalog(path: folder.catalog)
        #expect(try again.targets().map(\.accessLevel) == [.open, .groups, .loopback, .loopback])
    }

    @Test("a catalog of version 12 keeps its maps, whose numbers go up to 65535 then")
    func wideNumbers() throws {
        let folder = try ScratchFolder()
        let raw = try DatabaseQueue(path: folder.catalog)
        try raw.write { database in
            for migration in Schema.migrations.prefix(12) { try migration(database) }
            try database.execute(
                sql: """
                    PRAGMA application_id = \(Schema.applicationID);
                    PRAGMA user_version = 12;
                    INSERT INTO logicalUnit VALUES (1, 'disk', 'S1', 1), (2, 'disk', 'S2', 2);
                    INSERT INTO target (id, name) VALUES (1, 't:a');
                    INSERT INTO initiatorGroup (id, name, rank, created)
                        VALUES (1, 'g', 10, '2026-11-01 00:00:00.000');
                    INSERT INTO targetAccess VALUES (1, 1, 1);
                    INSERT INTO logicalUnitMapping VALUES (1, 0, 1), (1, 16383, 2);
                    INSERT INTO groupLogicalUnitMapping VALUES (1, 1, 7, 2);
                    """)
        }
        try raw.close()
        let catalog = try Catalog(path: folder.catalog)
        let before = try #require(try catalog.targets().first)
        #expect(before.logicalUnits == [0: 1, 16383: 2])
        #expect(before.access.map(\.logicalUnits) == [[7: 2]])
        // Another generation with each change, as before.
        try catalog.changeAccess { change in
            try change.unmap([16383], from: 1)
            try change.map([65535: 2], to: 1)
        }
        let mapped = try #require(try catalog.targets().first)
        #expect(mapped.logicalUnits == [0: 1, 65535: 2] && mapped.generation > before.generation)
        try catalog.changeAccess { try $0.setAccess(of: 1, to: 1, logicalUnits: [65535: 1]) }
        let shown = try #require(try catalog.targets().first)
        #expect(shown.access.map(\.logicalUnits) == [[65535: 1]] && shown.generation > mapped.generation)
        #expect(throws: CatalogError.self) { try catalog.changeAccess { try $0.map([65536: 2], to: 1) } }
    }

    @Test("a new catalog is made only where the caller wants one, and nothing is before")
    func unwanted() throws {
        let folder = try ScratchFolder()
        let hooks = Catalog.Hooks(willCreate: { () throws(CatalogError) in throw .unwanted("no") })
        for _ in 0..<2 {
            #expect(throws: CatalogError.unwanted("no")) {
                try Catalog(path: folder.catalog, hooks: hooks)
            }
        }
        try Catalog(path: folder.catalog).close()
        try Catalog(path: folder.catalog, hooks: hooks).close()
    }

    @Test("the log stays as long as deletions need it, and one that was kept is no reason to lose anything")
    func log() throws {
        let folder = try ScratchFolder()
        let log = URL(fileURLWithPath: folder.catalog + "-wal")
        func length() throws -> Int { try Data(contentsOf: log).count }
        var catalog = try Catalog(path: folder.catalog)
        #expect(try length() == Catalog.logReserve)
        let library = NewLibrary(
            name: "big", targetName: "t:big", profile: "p", driveProfile: "d", driveCount: 1, slotCount: 6000,
            mailSlotCount: 0)
        _ = try catalog.addLibrary(
            library, cartridges: (0..<6000).map { ("C\($0)", 1000) }, created: Date())
        try catalog.setPortals([])
        try catalog.removeLibrary(named: "big")
        try catalog.setPortals([])
        #expect(try length() == Catalog.logReserve)
        #expect(try catalog.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM element") } == 0)
        _ = try catalog.addLibrary(newLibrary, cartridges: [], created: Date())
        try catalog.close()
        // The one file has it all, and nothing is left that a copy in its place would be read with.
        for suffix in ["-wal", "-shm"] { #expect(!FileManager.default.fileExists(atPath: folder.catalog + suffix)) }
        try FileManager.default.copyItem(atPath: folder.catalog, toPath: folder.path + "/copy.sqlite")
        #expect(try Catalog(path: folder.path + "/copy.sqlite").libraries().map(\.name) == ["vtl"])
        catalog = try Catalog(path: folder.catalog)
        #expect(try catalog.libraries().map(\.name) == ["vtl"])
        #expect(try length() == Catalog.logReserve)
    }

    @Test("nothing is committed to a file that is not in its place")
    func displaced() throws {
        let folder = try ScratchFolder()
        let catalog = try Catalog(path: folder.catalog)
        for suffix in ["", "-wal", "-shm"] {
            let path = folder.catalog + suffix
            try FileManager.default.moveItem(atPath: path, toPath: path + ".away")
            #expect(!catalog.isInPlace)
            #expect(throws: CatalogError.displaced) {
                try catalog.addLibrary(newLibrary, cartridges: [], created: Date())
            }
            try FileManager.default.moveItem(atPath: path + ".away", toPath: path)
            #expect(catalog.isInPlace)
        }
        _ = try catalog.addLibrary(newLibrary, cartridges: [], created: Date())
        try catalog.close()
    }

    @Test("a transaction that may not be committed changes nothing")
    func refusedCommit() throws {
        let folder = try ScratchFolder()
        let catalog = try Catalog(
            path: folder.catalog,
            hooks: Catalog.Hooks(willCommit: { () throws(CatalogError) in throw .failed("no space") }))
        #expect(throws: CatalogError.failed("no space")) {
            try catalog.addLibrary(newLibrary, cartridges: [], created: Date())
        }
        #expect(try catalog.libraries().isEmpty)
    }

    @Test("there is one migration a version")
    func migrationCount() { #expect(Schema.migrations.count == Schema.version) }

    @Test("a catalog of a newer version is refused and not changed")
    func newerVersion() throws {
        let folder = try ScratchFolder()
        try Catalog(path: folder.catalog).close()
        do {
            let raw = try DatabaseQueue(path: folder.catalog)
            try raw.write { try $0.execute(sql: "PRAGMA user_version = 99") }
            try raw.close()
        }
        let before = try Data(contentsOf: URL(fileURLWithPath: folder.catalog))
        #expect(throws: CatalogError.newerVersion(found: 99, supported: Schema.version)) {
            try Catalog(path: folder.catalog)
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder.catalog)) == before)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["catalog.sqlite"])
    }

    @Test("another program's database and plain garbage are refused")
    func foreignFiles() throws {
        let folder = try ScratchFolder()
        try Data(repeating: 0x41, count: 8192).write(to: URL(fileURLWithPath: folder.catalog))
        #expect(throws: CatalogError.notACatalog) { try Catalog(path: folder.catalog) }
        let other = folder.path + "/other.sqlite"
        let raw = try DatabaseQueue(path: other)
        try raw.write { try $0.execute(sql: "CREATE TABLE t (a)") }
        try raw.close()
        #expect(throws: CatalogError.notACatalog) { try Catalog(path: other) }
    }

    @Test("a file that was cut is damaged")
    func cut() throws {
        let folder = try ScratchFolder()
        try Catalog(path: folder.catalog).close()
        let size = try #require(try FileManager.default.attributesOfItem(atPath: folder.catalog)[.size] as? Int)
        for length in [size - 4096, size / 2, 8192] {
            let handle = try #require(FileHandle(forWritingAtPath: folder.catalog))
            try handle.truncate(atOffset: UInt64(length))
            let error = #expect(throws: CatalogError.self) { try Catalog(path: folder.catalog) }
            if case .damaged = error { continue }
            Issue.record("\(length): \(String(describing: error))")
        }
    }
}

@Suite("Constraints and identities")
struct ConstraintTests {
    let folder: ScratchFolder
    let catalog: Catalog

    init() throws {
        folder = try ScratchFolder()
        catalog = try Catalog(path: folder.catalog)
    }

    @Test("a name is used once, and a refused disk leaves no identity behind")
    func uniqueNames() throws {
        func add(_ name: String, size: Int64 = 4096) throws {
            _ = try catalog.addDisk(
                name: name, targetName: "t:\(name)", Disk.Spec(size: size), image: "disks/\(name).img",
                imageIsExternal: false, created: Date())
        }
        try add("a")
        #expect(throws: CatalogError.self) { try add("a") }
        #expect(throws: CatalogError.self) { try add("odd", size: 513) }
        #expect(try catalog.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM logicalUnit") } == 1)
        #expect(try catalog.targets().map(\.name) == ["t:a"])
        try catalog.removeDisk(named: "a")
        #expect(try catalog.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM logicalUnit") } == 0)
        #expect(try catalog.targets().isEmpty)
        #expect(throws: CatalogError.self) { try catalog.removeDisk(named: "a") }
    }

    @Test("a library has the changer at unit 0, the drives after it, and identities of its own")
    func library() throws {
        let library = try catalog.addLibrary(newLibrary, cartridges: [("A1", 1000), ("A2", 1000)], created: Date())
        let target = try #require(try catalog.targets().first)
        #expect(target.logicalUnits[0] == library.identity.id)
        #expect(target.logicalUnits[1] == library.drives[0].identity.id)
        #expect(target.logicalUnits[2] == library.drives[1].identity.id)
        let identities = [library.identity] + library.drives.map(\.identity)
        #expect(Set(identities.map(\.serialNumber)).count == 3)
        #expect(identities.allSatisfy { $0.naaIdentifier >> 60 == 3 })
        let cartridges = try catalog.cartridges(library: library.identity.id)
        #expect(cartridges.map(\.location) == [element(.slot, 1), element(.slot, 2)])
        #expect(try catalog.library(named: "vtl")?.identity == library.identity)

        #expect(throws: CatalogError.self) {
            try catalog.addCartridge(
                barcode: "A1", capacity: 1, location: .vault, library: library.identity.id, created: Date())
        }
        #expect(throws: CatalogError.self) {
            try catalog.addCartridge(
                barcode: "A3", capacity: 1, location: element(.slot, 2), library: library.identity.id, created: Date())
        }
        try catalog.removeLibrary(named: "vtl")
        for table in ["logicalUnit", "drive", "element", "cartridge", "target", "logicalUnitMapping"] {
            #expect(try catalog.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM \(table)") } == 0)
        }
    }

    @Test("portals are replaced as a whole")
    func portals() throws {
        try catalog.setPortals([
            PortalRecord(address: "127.0.0.1", port: 3260, portalGroupTag: 1),
            PortalRecord(address: "::1", port: 3260, portalGroupTag: 2),
        ])
        let last = PortalRecord(address: "127.0.0.1", port: 3261, portalGroupTag: 65535)
        try catalog.setPortals([last])
        #expect(try catalog.portals() == [last])
        #expect(throws: CatalogError.self) {
            try catalog.setPortals([PortalRecord(address: "127.0.0.1", port: 1, portalGroupTag: 0)])
        }
        #expect(try catalog.portals() == [last])
    }
}

@Suite("Moves")
struct MoveTests {
    let folder: ScratchFolder
    let catalog: Catalog
    let library: Int64

    init() throws {
        folder = try ScratchFolder()
        catalog = try Catalog(path: folder.catalog)
        library = try catalog.addLibrary(newLibrary, cartridges: [("A1", 1000), ("A2", 1000)], created: Date())
            .identity.id
    }

    func move(_ barcode: String, _ origin: CartridgeLocation, _ destination: CartridgeLocation) -> CartridgeMove {
        CartridgeMove(barcode: barcode, origin: origin, destination: destination)
    }

    func apply(_ moves: CartridgeMove...) throws {
        try catalog.apply(moves, library: library, cause: .initiator, time: Date())
    }

    func locations() throws -> [CartridgeLocation] { try catalog.cartridges(library: library).map(\.location) }

    @Test("a move changes the place, keeps the source element and writes history")
    func move() throws {
        try apply(move("A1", element(.slot, 1), element(.drive, 2)))
        let cartridge = try #require(try catalog.cartridge("A1", library: library))
        #expect(cartridge.location == element(.drive, 2))
        #expect(cartridge.source == ElementAddress(kind: .slot, number: 1))
        try apply(move("A1", element(.drive, 2), element(.mail, 1)))
        #expect(try catalog.cartridge("A1", library: library)?.source == ElementAddress(kind: .slot, number: 1))
        try apply(move("A1", element(.mail, 1), .vault))
        let exported = try #require(try catalog.cartridge("A1", library: library))
        #expect(exported.location == .vault)
        #expect(exported.source == nil)
        let history = try catalog.moves(library: library, limit: 2)
        #expect(history.map(\.destination) == ["vault", "mail:1"])
        #expect(history.map(\.cause) == [.initiator, .initiator])
    }

    @Test("a cartridge that comes from the vault into a mail slot is imported until it moves on")
    func imported() throws {
        func isImported() throws -> Bool? { try catalog.cartridge("A1", library: library)?.isImported }
        try apply(move("A1", element(.slot, 1), element(.mail, 1)))
        #expect(try isImported() == false)
        try apply(move("A1", element(.mail, 1), .vault))
        #expect(try isImported() == false)
        try apply(move("A1", .vault, element(.mail, 1)))
        #expect(try isImported() == true)
        try apply(move("A1", element(.mail, 1), element(.slot, 1)))
        #expect(try isImported() == false)
    }

    @Test("the move of a new cartridge completes it; one that is being deleted goes to the vault only, without a line")
    func phases() throws {
        let new = try catalog.addCartridge(
            barcode: "A3", capacity: 1000, location: .vault, library: library, created: Date())
        #expect(new.phase == .creating)
        try apply(move("A3", .vault, element(.slot, 3)))
        #expect(try catalog.cartridge("A3", library: library)?.phase == .complete)
        #expect(try !catalog.setPhase(.deleting, ofCartridge: new.id, in: .creating))
        #expect(try catalog.setPhase(.deleting, ofCartridge: new.id, in: .complete))
        #expect(throws: CatalogError.self) { try apply(move("A3", element(.slot, 3), element(.drive, 1))) }
        let count = try catalog.moves(library: library, limit: 10).count
        try apply(move("A3", element(.slot, 3), .vault))
        #expect(try catalog.moves(library: library, limit: 10).count == count)
        #expect(try catalog.cartridge("A3", library: library)?.location == .vault)
        #expect(try catalog.cartridge("A3", library: library)?.phase == .deleting)
        _ = try catalog.setPhase(.deleting, ofCartridge: 1, in: .complete)
        try catalog.withdrawCartridge(1)
        #expect(try catalog.cartridge("A1", library: library)?.location == .vault)
        try catalog.withdrawCartridge(2)
        #expect(try catalog.cartridge("A2", library: library)?.location == element(.slot, 2))
    }

    @Test("a refused move changes nothing, not even the half that was possible")
    func refusals() throws {
        let before = try locations()
        let refused: [[CartridgeMove]] = [
            [move("A1", element(.slot, 1), element(.slot, 2))],
            [move("A1", element(.slot, 1), element(.slot, 99))],
            [move("A1", element(.slot, 3), element(.slot, 4))],
            [move("A9", element(.slot, 1), element(.slot, 4))],
            [move("A1", element(.slot, 1), element(.drive, 1)), move("A2", element(.slot, 2), element(.drive, 1))],
        ]
        for moves in refused {
            #expect(throws: CatalogError.self) {
                try catalog.apply(moves, library: library, cause: .command, time: Date())
            }
            #expect(try locations() == before)
        }
        #expect(try catalog.moves(library: library, limit: 10).isEmpty)
    }

    @Test("what comes from the vault gets no slot that is kept for another cartridge; what is inside may be put there")
    func keptSlots() throws {
        try apply(move("A1", element(.slot, 1), element(.drive, 1)))
        #expect(try catalog.cartridge("A1", library: library)?.keptSlot == ElementAddress(kind: .slot, number: 1))
        _ = try catalog.addCartridge(
            barcode: "A3", capacity: 1000, location: .vault, library: library, created: Date())
        let refusal = #expect(throws: CatalogError.self) { try apply(move("A3", .vault, element(.slot, 1))) }
        #expect(refusal.map { "\($0)" }?.contains("slot:1 is kept for cartridge 'A1'") == true)
        try apply(move("A3", .vault, element(.slot, 3)))
        try apply(move("A3", element(.slot, 3), element(.slot, 1)))
        try apply(move("A1", element(.drive, 1), element(.slot, 4)))
        #expect(try catalog.cartridge("A1", library: library)?.keptSlot == nil)
    }

    @Test("the last of the numbered labels, in whatever library")
    func lastVolumeSerial() throws {
        #expect(try catalog.lastVolumeSerial() == nil)
        for barcode in ["V00007L8", "V00012M8", "V1", "W99999L8", "V0000XL8"] {
            _ = try catalog.addCartridge(
                barcode: barcode, capacity: 1000, location: .vault, library: library, created: Date())
        }
        #expect(try catalog.lastVolumeSerial() == "V00012")
    }

    @Test("an exchange is one transaction")
    func exchange() throws {
        try apply(
            move("A1", element(.slot, 1), element(.slot, 2)), move("A2", element(.slot, 2), element(.slot, 1)))
        #expect(try locations() == [element(.slot, 2), element(.slot, 1)])
    }
}

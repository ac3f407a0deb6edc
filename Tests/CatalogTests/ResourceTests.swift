import Foundation
import GRDB
import Resources
import Testing

@testable import Catalog

/// A small kind: no more than a spec.
private enum Note: ResourceKind {
    struct Spec: Resources.Record {
        var text = ""
        var color: String?
        static let fields: [Field<Spec>] = [
            Field("text", \.text, .text(.any("text", maximumLength: 20)), .required, change: .always, help: "Text."),
            Field("color", \.color, .choice(["red", "blue"]), change: .always, help: "Its colour."),
        ]
    }
    typealias Status = NoFields
    static let description = KindDescription(
        Note.self, "note", "notes", help: "Notes.", naming: .name(.any("name")), verbs: Verb.allCases)
}

@Suite("Things with a spec in JSON")
struct ResourceTests {
    let folder: ScratchFolder
    let catalog: Catalog
    let time = Date(timeIntervalSince1970: 1_800_000_000)

    init() throws {
        folder = try ScratchFolder()
        catalog = try Catalog(path: folder.catalog)
    }

    private func note(_ text: String, _ color: String? = nil) -> Note.Spec {
        var spec = Note.Spec()
        (spec.text, spec.color) = (text, color)
        return spec
    }

    private func edit(_ sql: String) throws {
        try catalog.write { try $0.execute(sql: sql) }
    }

    @Test("a thing is added, found, changed and removed, without a table of its own")
    func life() throws {
        let made = try catalog.add(Note.self, named: "n", note("one", "red"), created: time)
        #expect(made.spec == note("one", "red") && made.damage == nil && made.created == time)
        #expect(try catalog.resource(Note.self, named: "n") == made)
        try catalog.change(Note.self, named: "n", to: note("two"))
        let changed = try #require(try catalog.resource(Note.self, named: "n"))
        #expect(changed.spec == note("two") && changed.generation > made.generation)
        #expect(throws: CatalogError.self) { try catalog.add(Note.self, named: "n", note("x"), created: time) }
        #expect(throws: CatalogError.conflict("there is no note 'm'")) {
            try catalog.change(Note.self, named: "m", to: note("x"))
        }
        try catalog.remove(Note.self, named: "n")
        #expect(try catalog.resource(Note.self, named: "n") == nil)
        #expect(throws: CatalogError.conflict("there is no note 'n'")) { try catalog.remove(Note.self, named: "n") }
    }

    @Test("what would be read as damaged is not written, wherever it comes from")
    func validation() throws {
        let long = note(String(repeating: "x", count: 21))
        try catalog.add(Note.self, named: "n", note("one"), created: time)
        for spec in [long, note("x", "green")] {
            #expect(throws: CatalogError.self) { try catalog.add(Note.self, named: "m", spec, created: time) }
            #expect(throws: CatalogError.self) { try catalog.change(Note.self, named: "n", to: spec) }
        }
        #expect(try catalog.resource(Note.self, named: "n")?.spec == note("one"))
        #expect(try catalog.resource(Note.self, named: "m") == nil)
        func raw(_ size: Int64) -> Disk.Spec {
            var spec = Disk.Spec(size: size)
            spec.format = .raw
            return spec
        }
        func add(_ name: String, _ size: Int64) throws {
            _ = try catalog.addDisk(
                name: name, targetName: "t:\(name)", raw(size), image: name, imageIsExternal: false,
                created: time)
        }
        try add("a", Disk.maximumSize)
        #expect(throws: CatalogError.self) { try add("b", Disk.maximumSize + 512) }
        #expect(throws: CatalogError.self) {
            try catalog.change(Disk.self, named: "a", to: raw(Disk.maximumSize + 512))
        }
        #expect(throws: CatalogError.self) { try catalog.change(Disk.self, named: "a", to: Disk.Spec()) }
        #expect(try catalog.disk(named: "a")?.damage == nil && catalog.disk(named: "b") == nil)
    }

    @Test("kinds have names of their own, and pages are of one kind")
    func pages() throws {
        _ = try catalog.addDisk(
            name: "b", targetName: "t:b", Disk.Spec(size: 4096), image: "i", imageIsExternal: false, created: time)
        for name in ["c", "a", "d", "b"] { try catalog.add(Note.self, named: name, note(name), created: time) }
        #expect(try catalog.resources(Note.self).map(\.name) == ["a", "b", "c", "d"])
        #expect(try catalog.resources(Note.self, after: "a", limit: 2).map(\.name) == ["b", "c"])
        #expect(try catalog.resources(Note.self, after: "d").isEmpty)
        #expect(try catalog.disks().map(\.name) == ["b"])
    }

    @Test(
        "a spec that no request could ask for is damage of its own thing",
        arguments: [
            ("", "no JSON object"), ("[]", "no JSON object"), ("{\"text\":", "no JSON object"), ("{}", "text"),
            (#"{"text":1}"#, "text is a number"), (#"{"text":"x","shape":"round"}"#, "no field 'shape'"),
            (#"{"text":"x","color":"green"}"#, "'green'"), (#"{"text":"123456789012345678901"}"#, "too long"),
        ])
    func damage(spec: String, sentence: String) throws {
        try catalog.add(Note.self, named: "a", note("x"), created: time)
        try catalog.add(Note.self, named: "b", note("y"), created: time)
        try catalog.write { try $0.execute(sql: "UPDATE resource SET spec = ? WHERE name = 'a'", arguments: [spec]) }
        let damaged = try #require(try catalog.resource(Note.self, named: "a"))
        #expect(damaged.damage?.contains(sentence) == true, "\(damaged.damage ?? "")")
        #expect(damaged.spec == Note.Spec())
        #expect(try catalog.resources(Note.self).map { $0.damage == nil } == [false, true])
        try catalog.change(Note.self, named: "a", to: note("z"))
        #expect(try catalog.resource(Note.self, named: "a")?.damage == nil)
    }

    @Test("words that an older version has taken are no damage: they are shown without what is refused now")
    func formerWords() throws {
        let name = "a"
        _ = try catalog.addDisk(
            name: name, targetName: "t:a", Disk.Spec(size: 4096), image: name, imageIsExternal: false, created: time,
            phase: .complete)
        try edit(#"UPDATE resource SET spec = '{"size":4096,"description":"one\nline\tand \u001b[1m"}'"#)
        let disk = try #require(try catalog.disk(named: name))
        #expect(disk.damage == nil && disk.size == 4096)
        #expect(disk.spec.description == "one line and  [1m")
        var spec = disk.spec
        spec.size = 8192
        try catalog.change(Disk.self, named: name, to: spec)
        #expect(try catalog.disk(named: name)?.spec == spec)
    }

    @Test("a disk without a size, or of half a block, is damaged; the check tells what is no JSON")
    func damagedDisks() throws {
        for name in ["a", "b", "c"] {
            _ = try catalog.addDisk(
                name: name, targetName: "t:\(name)", Disk.Spec(size: 4096), image: name, imageIsExternal: false,
                created: time, phase: .complete)
        }
        try edit(#"UPDATE resource SET spec = '{"size":4097}' WHERE name = 'a'"#)
        try edit(#"UPDATE resource SET spec = '{"image":"/x"}' WHERE name = 'b'"#)
        #expect(try catalog.check().isEmpty)
        try edit(#"UPDATE resource SET spec = 'x' WHERE name = 'c'"#)
        let disks = try catalog.disks()
        #expect(disks.map(\.damage).compactMap { $0 }.count == 3)
        #expect(disks.map(\.size) == [0, 0, 0])
        #expect(disks.map(\.image) == ["a", "b", "c"])
        #expect(try catalog.check() == ["the spec of disk 'c' is no JSON"])
        try edit("DELETE FROM diskImage WHERE image = 'a'")
        #expect(
            try catalog.check() == ["disk 'a' has no image in the catalog", "the spec of disk 'c' is no JSON"])
        try catalog.close()
        // Nor does it keep the catalog from being opened, and the disk from being removed.
        let again = try Catalog(path: folder.catalog)
        try again.removeDisk(named: "c")
        #expect(try again.disks().map(\.name) == ["b"])
    }

    @Test("two disks never have one image")
    func images() throws {
        func add(_ name: String) throws {
            _ = try catalog.addDisk(
                name: name, targetName: "t:\(name)", Disk.Spec(size: 4096, image: "/x"), image: "/x",
                imageIsExternal: true, created: time)
        }
        try add("a")
        #expect(throws: CatalogError.self) { try add("b") }
        #expect(try catalog.disks().map(\.name) == ["a"])
        #expect(try catalog.resources(Disk.self).map(\.name) == ["a"])
    }

    @Test("disks of version 6 keep their identities, and get their specs")
    func versionSix() throws {
        let path = folder.path + "/six.sqlite"
        let raw = try DatabaseQueue(path: path)
        try raw.write { database in
            for migration in Schema.migrations.prefix(6) { try migration(database) }
            try database.execute(
                sql: """
                    PRAGMA application_id = \(Schema.applicationID);
                    PRAGMA user_version = 6;
                    INSERT INTO logicalUnit VALUES (7, 'disk', 'S7', 1), (9, 'disk', 'S9', 2);
                    INSERT INTO disk VALUES
                        (9, 'b', '/with "quotes"', 1, 8192, 4096, '2026-11-01 00:00:00.000', 'creating'),
                        (7, 'a', 'disks/a.img', 0, 512, 512, '2026-11-02 00:00:00.000', 'complete');
                    INSERT INTO target (id, name, device) VALUES (1, 't:a', 7), (2, 't:b', 9);
                    INSERT INTO logicalUnitMapping VALUES (1, 0, 7), (2, 0, 9);
                    """)
        }
        try raw.close()
        let catalog = try Catalog(path: path)
        let disks = try catalog.disks()
        #expect(disks.map(\.identity.id) == [7, 9])
        #expect(disks.map(\.identity.serialNumber) == ["S7", "S9"])
        #expect(
            disks.map(\.spec) == [
                Disk.Spec(size: 512), Disk.Spec(size: 8192, blockSize: 4096, image: "/with \"quotes\""),
            ])
        #expect(disks.map(\.image) == ["disks/a.img", "/with \"quotes\""])
        #expect(disks.map(\.phase) == [.complete, .creating])
        #expect(disks.map(\.generation) == [1, 1])
        #expect(disks.allSatisfy { $0.damage == nil })
        try catalog.setPhase(.deleting, ofDevice: 9)
        try catalog.removeDisk(named: "b")
        #expect(try catalog.targets().map(\.name) == ["t:a"])
    }
}

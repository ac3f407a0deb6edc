import Dispatch
import Foundation
import GRDB
import Platform
import Resources
import Testing

@testable import Catalog

@Suite("Events")
struct EventTests {
    let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private func event(
        _ name: String, _ actor: EventActor = .daemon, time: Date = Date(), old: String? = nil
    ) -> NewEvent {
        NewEvent(time: time, actor: actor, kind: "disk", name: name, verb: "create", old: old)
    }

    @Test("an event is recorded with its change or not at all, and told of when both are durable")
    func transaction() throws {
        let isRefused = Lock(true)
        let told = Lock<[EventRecord]>([])
        let catalog = try Catalog(
            path: folder.catalog,
            hooks: Catalog.Hooks(
                willCommit: { () throws(CatalogError) in
                    if isRefused.withLock({ $0 }) { throw .failed("no space") }
                }, didRecord: { events in told.withLock { $0 += events } }))
        #expect(throws: CatalogError.self) { try catalog.record(event("a")) }
        #expect(try catalog.events(limit: 10).isEmpty)
        #expect(told.withLock { $0.isEmpty })
        isRefused.withLock { $0 = false }
        try catalog.record(event("b", .user(id: 7, process: 42), old: #"{"a":1}"#))
        let events = try catalog.events(limit: 10)
        #expect(events.map(\.name) == ["b"])
        #expect(events.first?.actor == "uid:7 pid:42")
        #expect(events.first?.old == #"{"a":1}"#)
        #expect(told.withLock { $0.map(\.id) } == events.map(\.id))
    }

    @Test("numbers give the order, whatever the clock says, and the pages of a long list")
    func order() throws {
        let catalog = try Catalog(path: folder.catalog)
        for number in 0..<10 {
            try catalog.record(event("d\(number)", time: Date(timeIntervalSince1970: Double(10 - number) * 1e6)))
        }
        #expect(try catalog.events(limit: 4).map(\.name) == ["d0", "d1", "d2", "d3"])
        let last = try #require(try catalog.events(limit: 4).last)
        #expect(try catalog.events(after: last.id, limit: 3).map(\.name) == ["d4", "d5", "d6"])
        #expect(try catalog.events(kind: "disk", name: "d8", limit: 3).map(\.name) == ["d8"])
        #expect(try catalog.events(kind: "target", limit: 3).isEmpty)
        #expect(try catalog.lastEvents(limit: 2).map(\.name) == ["d8", "d9"])
    }

    @Test("the oldest go, and initiators displace nothing that others did")
    func bounds() throws {
        let catalog = try Catalog(path: folder.catalog)
        try catalog.record(event("first"))
        try catalog.record(event("second"))
        try catalog.record(event("robbed", .initiator("iqn.2026-11.test:i", user: "u")))
        #expect(try catalog.events(name: "robbed", limit: 1).first?.actor == "iqn.2026-11.test:i as u")
        for origin in ["control", "initiator"] {
            try catalog.write { database in
                try database.execute(
                    sql: """
                        INSERT INTO event (time, origin, ordinal, actor, kind, name, verb)
                        VALUES ('', '\(origin)', \(Catalog.eventLimit), '', 'disk', 'filling', '')
                        """)
            }
        }
        try catalog.record(event("move", .initiator("iqn.2026-11.test:i", user: nil)))
        #expect(
            try catalog.events(limit: 9).map(\.name) == ["first", "second", "filling", "filling", "move"])
        try catalog.record(event("third"))
        #expect(try catalog.events(limit: 9).map(\.name) == ["second", "filling", "filling", "move", "third"])
        try catalog.record(event("long", old: "\"" + String(repeating: "x", count: 10_000) + "\""))
        #expect(try catalog.lastEvents(limit: 1).first?.old == #"{"omittedBytes":10002}"#)
    }

    @Test("moves of a library are its own and in order, whatever the clock says")
    func clockSetBack() throws {
        let catalog = try Catalog(path: folder.catalog)
        let future = Date(timeIntervalSinceNow: 1e7)
        let first = try catalog.addLibrary(newLibrary, cartridges: [("A1", 1000)], created: future).identity.id
        func move(_ library: Int64, _ origin: Int, _ destination: Int, _ time: Date) throws {
            try catalog.apply(
                [
                    CartridgeMove(
                        barcode: "A1", origin: element(.slot, origin), destination: element(.slot, destination))
                ],
                library: library, cause: .initiator, actor: .initiator("iqn.2026-11.test:i", user: nil), time: time)
        }
        try move(first, 1, 2, Date())
        try move(first, 2, 3, Date(timeIntervalSinceNow: -1e6))
        #expect(try catalog.moves(library: first, limit: 9).map(\.destination) == ["slot:3", "slot:2"])
        let told = try catalog.events(limit: 9)
        #expect(told.map(\.name) == ["vtl/A1", "vtl/A1"])
        #expect(told.map(\.verb) == ["move", "move"])
        #expect(told.last?.new == #"{"location":"slot:3"}"#)
        try catalog.removeLibrary(named: "vtl")
        let second = try catalog.addLibrary(newLibrary, cartridges: [("A1", 1000)], created: Date()).identity.id
        #expect(try catalog.moves(library: second, limit: 9).isEmpty)
    }

    @Test("moves of version 5 belong to the library that they were made in")
    func oldMoves() throws {
        let raw = try DatabaseQueue(path: folder.catalog)
        try raw.write { database in
            for migration in Schema.migrations.prefix(5) { try migration(database) }
            try database.execute(
                sql: """
                    PRAGMA application_id = \(Schema.applicationID);
                    PRAGMA user_version = 5;
                    INSERT INTO logicalUnit VALUES (2, 'changer', 'S2', 2);
                    INSERT INTO library VALUES (2, 'vtl', 'p', '2026-11-02 00:00:00.000', 'complete');
                    INSERT INTO move VALUES
                        (1, '2026-11-01 00:00:00.000', 'vtl', 'A1', 'slot:1', 'slot:2', 'command'),
                        (2, '2026-11-03 00:00:00.000', 'vtl', 'A1', 'slot:2', 'slot:3', 'command'),
                        (3, '2026-11-03 00:00:00.000', 'gone', 'A1', 'slot:2', 'slot:3', 'command');
                    """)
        }
        try raw.close()
        let catalog = try Catalog(path: folder.catalog)
        #expect(try catalog.moves(library: 2, limit: 9).map(\.destination) == ["slot:3"])
    }

    @Test("a full file system keeps nothing from being removed: room is made, and then the event is left out")
    func full() throws {
        let calls = Lock(0)
        let catalog = try Catalog(
            path: folder.catalog,
            hooks: Catalog.Hooks(makeRoom: { attempt in
                calls.withLock { $0 += 1 }
                attempt()
            }))
        let disk = try catalog.addDisk(
            name: "a", targetName: "t:a", Disk.Spec(size: 4096), image: "disks/a.img", imageIsExternal: false,
            created: Date())
        // No page more than there are.
        try catalog.write { database in
            let free = try Int.fetchOne(database, sql: "PRAGMA freelist_count") ?? 0
            try database.execute(
                sql: """
                    CREATE TABLE filler (content BLOB);
                    INSERT INTO filler VALUES (zeroblob(\(free * 4096)));
                    """)
            let pages = try Int.fetchOne(database, sql: "PRAGMA page_count") ?? 0
            try database.execute(sql: "PRAGMA max_page_count = \(pages)")
        }
        let long = event("a", old: "\"" + String(repeating: "x", count: 8000) + "\"")
        #expect(throws: CatalogError.self) { try catalog.record(long) }
        #expect(calls.withLock { $0 } == 0)
        try catalog.setPhase(.deleting, ofDevice: disk.identity.id, event: long)
        #expect(calls.withLock { $0 } == 1)
        #expect(try catalog.disk(named: "a")?.phase == .deleting)
        #expect(try catalog.events(limit: 9).isEmpty)
        let target = try #require(try catalog.targets().first).id
        #expect(throws: CatalogError.self) {
            try catalog.changeAccess([long]) { try $0.setAccessLevel(.open, ofTarget: target) }
        }
        #expect(try catalog.targets().map(\.accessLevel) == [.loopback])
        try catalog.changeAccess([long], takesAway: true) { try $0.setAccessLevel(.closed, ofTarget: target) }
        #expect(try catalog.targets().map(\.accessLevel) == [.closed])
        #expect(calls.withLock { $0 } == 2)
        try catalog.setPortals([], events: [long], takesAway: true)
        try catalog.removeDisk(named: "a")
        #expect(try catalog.disks().isEmpty)
    }

    @Test("who reads does not wait for a transaction that is under way")
    func readers() async throws {
        let hasBegun = Lock(false)
        let mayEnd = DispatchSemaphore(value: 0)
        let catalog = try Catalog(
            path: folder.catalog,
            hooks: Catalog.Hooks(willCommit: { () throws(CatalogError) in
                hasBegun.withLock { $0 = true }
                mayEnd.wait()
            }))
        let written = DispatchSemaphore(value: 0)
        DispatchQueue.global().async {
            try? catalog.setPortals([PortalRecord(address: "::1", port: 1, portalGroupTag: 1)])
            written.signal()
        }
        while !hasBegun.withLock({ $0 }) { await Task.yield() }
        #expect(try catalog.portals().isEmpty)
        mayEnd.signal()
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                written.wait()
                continuation.resume()
            }
        }
        #expect(try catalog.portals().count == 1)
    }
}

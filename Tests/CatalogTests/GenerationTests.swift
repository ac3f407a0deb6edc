import Foundation
import GRDB
import Resources
import Testing

@testable import Catalog

@Suite("Generations")
struct GenerationTests {
    let folder: ScratchFolder
    let catalog: Catalog
    let time = Date(timeIntervalSince1970: 1_800_000_000)

    init() throws {
        folder = try ScratchFolder()
        catalog = try Catalog(path: folder.catalog)
    }

    /// The generations of all things, by kind and name.
    func generations() throws -> [String: Int64] {
        var all: [String: Int64] = [:]
        for disk in try catalog.disks() { all["disk \(disk.name)"] = disk.generation }
        for library in try catalog.libraries() {
            all["library \(library.name)"] = library.generation
            for cartridge in try catalog.cartridges(library: library.identity.id) {
                all["cartridge \(cartridge.barcode)"] = cartridge.generation
            }
        }
        for target in try catalog.targets() { all["target \(target.name)"] = target.generation }
        for group in try catalog.initiatorGroups() { all["group \(group.name)"] = group.generation }
        for (portal, generation) in try catalog.portalGenerations() { all["portal \(portal.port)"] = generation }
        if let generation = try catalog.nameServerGeneration() { all["nameServer"] = generation }
        return all
    }

    /// What `change` gives new generations to, which nothing has had; what goes away is left out.
    func raised(_ change: () throws -> Void) throws -> Set<String> {
        let before = try generations()
        let highest = before.values.max() ?? 0
        try change()
        var raised: Set<String> = []
        for (thing, generation) in try generations() where generation != before[thing] {
            #expect(generation > highest, "\(thing)")
            raised.insert(thing)
        }
        return raised
    }

    @discardableResult
    func disk(_ name: String) throws -> DiskRecord {
        try catalog.addDisk(
            name: name, targetName: "t:\(name)", Disk.Spec(size: 4096), image: "disks/\(name).img",
            imageIsExternal: false, created: time)
    }

    func target(_ name: String) throws -> TargetRecord { try #require(try catalog.target(named: [name])) }
    func group(_ name: String) throws -> Int64 {
        try #require(try catalog.initiatorGroups().first { $0.name == name }).id
    }

    @Test("each change gives the things that it changes, and no others, a generation that nothing has had")
    func changes() throws {
        #expect(try raised { try disk("a") } == ["disk a", "target t:a"])
        #expect(try raised { try disk("b") } == ["disk b", "target t:b"])
        let (a, b) = (
            try #require(try catalog.disk(named: "a")).identity.id,
            try #require(try catalog.disk(named: "b")).identity.id
        )
        let library = try catalog.addLibrary(newLibrary, cartridges: [("A1", 1000), ("A2", 1000)], created: time)
            .identity.id
        #expect(try raised { try catalog.setPhase(.complete, ofDevice: a) } == ["disk a"])
        #expect(try raised { try catalog.setPhase(.complete, ofDevice: a) } == [], "nothing is changed")
        #expect(try raised { try catalog.setPhase(.complete, ofDevice: library) } == ["library vtl"])
        #expect(
            try raised { try catalog.change(Disk.self, named: "a", to: Disk.Spec(size: 8192)) } == ["disk a"])

        // Cartridges.
        func move(_ barcode: String, _ origin: CartridgeLocation, _ destination: CartridgeLocation) throws {
            try catalog.apply(
                [CartridgeMove(barcode: barcode, origin: origin, destination: destination)], library: library,
                cause: .initiator, time: time)
        }
        #expect(try raised { try move("A1", element(.slot, 1), element(.drive, 1)) } == ["cartridge A1"])
        #expect(try raised { try move("A2", element(.slot, 2), .vault) } == ["cartridge A2"])
        let cartridge = try #require(try catalog.cartridge("A2", library: library)).id
        #expect(
            try raised { _ = try catalog.setPhase(.deleting, ofCartridge: cartridge, in: nil) } == ["cartridge A2"])
        #expect(try raised { try catalog.removeCartridge("A2", library: library) } == [])

        // Targets and groups.
        func access(_ change: (AccessChange) throws -> Void) throws -> Set<String> {
            try raised { try catalog.changeAccess { try change($0) } }
        }
        #expect(
            try access {
                try $0.addInitiatorGroup(
                    name: "g", rank: 10, namePatterns: ["iqn.x"], addressRanges: [], created: time)
            } == ["group g"])
        #expect(try access { try $0.addTarget(named: "t:own") } == ["target t:own"])
        let (own, g) = (try target("t:own").id, try group("g"))
        #expect(try access { try $0.map([0: a, 1: b], to: own) } == ["target t:own"])
        #expect(try access { try $0.unmap([1], from: own) } == ["target t:own"])
        #expect(try access { try $0.setAccessLevel(.closed, ofTarget: own) } == ["target t:own"])
        #expect(try access { try $0.setAccessLevel(.closed, ofTarget: own) } == [])
        #expect(try access { try $0.setAccess(of: g, to: own, logicalUnits: [0: a]) } == ["target t:own"])
        #expect(try access { try $0.setPortalGroupTags([2], ofTarget: own) } == ["target t:own"])
        #expect(
            try access {
                try $0.setRedirection(TargetRedirection(address: "192.0.2.1:1", isPermanent: true), ofTarget: own)
            } == ["target t:own"])
        #expect(
            try access {
                try $0.setInitiatorGroup(g, rank: 10, namePatterns: ["iqn.y"], addressRanges: [])
            } == ["group g"])
        #expect(
            try access { try $0.requireAuthentication(true, at: [.group("g"), .target("t:a"), .discovery]) }
                == ["group g", "target t:a"])
        // A unit that goes takes itself from the maps of others, and from those of groups.
        #expect(try raised { try catalog.removeDisk(named: "a") } == ["target t:own"])
        #expect(try access { try $0.removeAccess(of: g, to: own) } == ["target t:own"])
        #expect(try access { try $0.removeInitiatorGroup(g) } == [])
        #expect(try access { try $0.removeTarget(own) } == [])
        #expect(try raised { try catalog.removeLibrary(named: "vtl") } == [])
    }

    @Test("portals that stay as they are keep their generations, whatever happens to others")
    func portals() throws {
        func portal(_ port: Int, _ tag: Int = 1) -> PortalRecord {
            PortalRecord(address: "127.0.0.1", port: port, portalGroupTag: tag)
        }
        #expect(try raised { try catalog.setPortals([portal(1), portal(2)]) } == ["portal 1", "portal 2"])
        #expect(try raised { try catalog.setPortals([portal(1), portal(2, 2)]) } == ["portal 2"])
        #expect(try raised { try catalog.setPortals([portal(2, 2), portal(3)]) } == ["portal 3"])
        #expect(try raised { try catalog.setPortals([portal(1), portal(2, 2), portal(3)]) } == ["portal 1"])
        let server = NameServerRecord(host: "h", port: 1, controlsAccess: false, entityIdentifier: "entity")
        #expect(try raised { try catalog.setNameServer(server) } == ["nameServer"])
    }

    @Test("what is deleted and made again has a generation that the former one never had")
    func again() throws {
        try disk("a")
        for _ in 0..<5 { try catalog.change(Disk.self, named: "a", to: Disk.Spec(size: .random(in: 1...9) * 4096)) }
        let last = try #require(try catalog.disk(named: "a")).generation
        try catalog.removeDisk(named: "a")
        let second = try disk("a").generation
        #expect(second > last)
        let other = try catalog.newGeneration()
        #expect(other > second)
        try catalog.close()
        // Nor after a restart.
        let again = try Catalog(path: folder.catalog)
        try again.removeDisk(named: "a")
        #expect(
            try again.addDisk(
                name: "a", targetName: "t:a", Disk.Spec(size: 4096), image: "i", imageIsExternal: false, created: time
            ).generation > other)
    }

    @Test("a copy that takes the place of a catalog goes on far from where that has gone, again and again")
    func leap() throws {
        try disk("a")
        let event = NewEvent(time: time, actor: .daemon, kind: "k", name: "", verb: "restore")
        var (generation, number) = (try catalog.newGeneration(), Int64(0))
        for _ in 0..<3 {
            try catalog.leap(event: event)
            let nextGeneration = try catalog.newGeneration()
            let next = try #require(try catalog.lastEvents(limit: 1).last)
            #expect(next.verb == "restore" && next.id > number + Catalog.leap)
            #expect(nextGeneration > generation + Catalog.leap)
            (generation, number) = (nextGeneration, next.id)
        }
        #expect(try generations().values.allSatisfy { $0 < Catalog.leap }, "what is there stays as it is")
        try catalog.write { try $0.execute(sql: "UPDATE lastGeneration SET number = ?", arguments: [Int64.max - 1]) }
        #expect(throws: CatalogError.self) { try catalog.leap(event: event) }
    }

    @Test("a transaction that is not committed gives no generation")
    func refused() throws {
        try disk("a")
        let before = try generations()
        #expect(throws: CatalogError.self) {
            try catalog.write { database in
                try database.execute(sql: "UPDATE resource SET spec = '{}'")
                throw CatalogError.conflict("no")
            }
        }
        #expect(try generations() == before)
    }

    @Test("no row grows when it gets another generation")
    func width() throws {
        try disk("a")
        // SQLite stores these in as many bytes as they need.
        let bytes = StoredGeneration.zero + 1
        #expect(bytes >= 1 << 31 && bytes + (1 << 40) < 1 << 47)
        let stored = try catalog.read { try Int64.fetchOne($0, sql: "SELECT generation FROM resource") }
        #expect(try #require(stored) > StoredGeneration.zero)
    }
}

import Foundation
import GRDB
import Resources
import Testing

@testable import Catalog

@Suite("Targets, groups and maps")
struct AccessTests {
    let folder: ScratchFolder
    let catalog: Catalog

    init() throws {
        folder = try ScratchFolder()
        catalog = try Catalog(path: folder.catalog)
    }

    func disk(_ name: String) throws -> Int64 {
        try catalog.addDisk(
            name: name, targetName: "t:\(name)", Disk.Spec(size: 4096), image: "disks/\(name).img",
            imageIsExternal: false, created: Date()
        ).identity.id
    }

    func target(_ name: String) throws -> TargetRecord {
        try #require(try catalog.targets().first { $0.name == name })
    }

    func group(_ name: String, rank: Int = 10, names: [String] = ["iqn.*"], addresses: [String] = []) throws -> Int64 {
        try catalog.changeAccess {
            try $0.addInitiatorGroup(
                name: name, rank: rank, namePatterns: names, addressRanges: addresses, created: Date())
        }
        return try #require(try catalog.initiatorGroups().first { $0.name == name }).id
    }

    @Test("a target looked up by one of several names is the one of the list, with its own maps, groups and tags only")
    func lookup() throws {
        let (a, b) = (try disk("a"), try disk("b"))
        let members = try group("g")
        let first = try target("t:a")
        let second = try target("t:b")
        try catalog.changeAccess { try $0.map([5: b], to: first.id) }
        try catalog.changeAccess { try $0.setAccess(of: members, to: first.id, logicalUnits: [3: a]) }
        try catalog.changeAccess { try $0.setAccess(of: members, to: second.id, logicalUnits: nil) }
        try catalog.changeAccess { try $0.setPortalGroupTags([2, 1], ofTarget: second.id) }
        for name in ["t:a", "t:b"] {
            let found = try catalog.target(named: ["nothing", name])
            #expect(try found == target(name))
        }
        #expect(try catalog.target(named: ["t:b", "t:a"])?.name == "t:b")
        #expect(try catalog.target(named: ["t:c"]) == nil)
    }

    @Test("a catalog of version 1 keeps its portals and targets, and targets know their device")
    func migration() throws {
        let path = folder.path + "/old.sqlite"
        let raw = try DatabaseQueue(path: path)
        try raw.write { database in
            try Schema.migrations[0](database)
            try database.execute(
                sql: """
                    PRAGMA application_id = \(Schema.applicationID);
                    PRAGMA user_version = 1;
                    INSERT INTO portal VALUES ('127.0.0.1', 3260);
                    INSERT INTO logicalUnit VALUES (7, 'disk', 'S', 1);
                    INSERT INTO disk VALUES (7, 'a', 'disks/a.img', 0, 4096, 512, '2026-11-01 00:00:00.000');
                    INSERT INTO target VALUES (3, 't:a');
                    INSERT INTO logicalUnitMapping VALUES (3, 0, 7);
                    """)
        }
        try raw.close()
        let catalog = try Catalog(path: path)
        #expect(try catalog.portals() == [PortalRecord(address: "127.0.0.1", port: 3260, portalGroupTag: 1)])
        let target = TargetRecord(
            id: 3, name: "t:a", device: 7, logicalUnits: [0: 7], portalGroupTags: nil, redirection: nil,
            accessLevel: .open, requiresAuthentication: false, access: [], generation: 1)
        #expect(try catalog.targets() == [target])
        try catalog.removeDisk(named: "a")
        #expect(try catalog.targets().isEmpty)
    }

    @Test("a target made for itself lives without units, and loses those whose device goes")
    func ownTarget() throws {
        let (a, b) = (try disk("a"), try disk("b"))
        try catalog.changeAccess { try $0.addTarget(named: "t:x") }
        let own = try target("t:x")
        try catalog.changeAccess { try $0.map([0: a, 5: b], to: own.id) }
        #expect(throws: CatalogError.self) { try catalog.changeAccess { try $0.map([6: a], to: own.id) } }
        #expect(throws: CatalogError.self) { try catalog.changeAccess { try $0.map([5: a], to: own.id) } }
        #expect(try target("t:x").logicalUnits == [0: a, 5: b])
        try catalog.removeDisk(named: "a")
        #expect(try target("t:x").logicalUnits == [5: b])
        #expect(throws: CatalogError.self) { try catalog.changeAccess { try $0.unmap([5, 6], from: own.id) } }
        try catalog.changeAccess { try $0.unmap([5], from: own.id) }
        #expect(try target("t:x").logicalUnits.isEmpty)
        let ofDevice = try target("t:b").id
        #expect(throws: CatalogError.self) { try catalog.changeAccess { try $0.removeTarget(ofDevice) } }
        try catalog.changeAccess { try $0.removeTarget(own.id) }
        #expect(try catalog.targets().map(\.name) == ["t:b"])
    }

    @Test("a device whose target is as it was made, and shown nowhere else, has no settings")
    func settings() throws {
        let (a, b) = (try disk("a"), try disk("b"))
        func isSet() throws -> Bool { try catalog.hasAccessSettings(device: a, units: [a]) }
        #expect(try !isSet())
        let (own, other) = (try target("t:a").id, try target("t:b").id)
        try catalog.changeAccess { try $0.setPortalGroupTags([1], ofTarget: own) }
        #expect(try isSet())
        try catalog.changeAccess { try $0.setPortalGroupTags(nil, ofTarget: own) }
        try catalog.changeAccess { try $0.map([1: b], to: own) }
        #expect(try !isSet())
        #expect(try catalog.hasAccessSettings(device: b, units: [b]))
        let group = try group("g")
        try catalog.changeAccess { try $0.setAccess(of: group, to: other, logicalUnits: [0: a]) }
        #expect(try isSet())
        try catalog.changeAccess { try $0.setAccess(of: group, to: own, logicalUnits: nil) }
        try catalog.changeAccess { try $0.removeAccess(of: group, to: other) }
        #expect(try isSet())
        try catalog.changeAccess { try $0.removeAccess(of: group, to: own) }
        #expect(try isSet())
        try catalog.changeAccess { try $0.setAccessLevel(.loopback, ofTarget: own) }
        #expect(try !isSet())
        try catalog.changeAccess { try $0.requireAuthentication(true, at: [.target("t:a")]) }
        #expect(try isSet())
        try catalog.changeAccess { try $0.requireAuthentication(false, at: [.target("t:a")]) }
        #expect(try !isSet())
        #expect(try catalog.hasTarget(named: "t:a"))
        #expect(try !catalog.hasTarget(named: "t:c"))
    }

    @Test("groups come by rank, with their members, and cannot go while a target counts on them")
    func groups() throws {
        let second = try group("b", rank: 20, names: ["iqn.2026-11.*", "eui.*"], addresses: ["10.0.0.0/8"])
        let first = try group("c", rank: 10, names: [], addresses: ["::1/128"])
        let third = try group("a", rank: 20)
        #expect(try catalog.initiatorGroups().map(\.name) == ["c", "b", "a"])
        #expect(try catalog.initiatorGroups()[1].namePatterns == ["eui.*", "iqn.2026-11.*"])
        #expect(try catalog.initiatorGroups()[1].addressRanges == ["10.0.0.0/8"])
        for group in try catalog.initiatorGroups() {
            #expect(try catalog.initiatorGroup(named: group.name) == group)
        }
        #expect(try catalog.initiatorGroup(named: "d") == nil)
        #expect(throws: CatalogError.self) { try group("a") }
        try catalog.changeAccess {
            try $0.setInitiatorGroup(third, rank: 1, namePatterns: [], addressRanges: ["10.0.0.1/32"])
        }
        #expect(try catalog.initiatorGroups().map(\.id) == [third, first, second])
        #expect(try catalog.initiatorGroups()[0].namePatterns.isEmpty)
        let unit = try disk("a")
        let target = try target("t:a").id
        try catalog.changeAccess { try $0.setAccess(of: second, to: target, logicalUnits: nil) }
        #expect(throws: CatalogError.self) { try catalog.changeAccess { try $0.removeInitiatorGroup(second) } }
        try catalog.changeAccess { try $0.setAccess(of: first, to: target, logicalUnits: [3: unit]) }
        let access = try self.target("t:a").access
        #expect(access.map(\.group) == [first, second])
        #expect(access.map(\.logicalUnits) == [[3: unit], nil])
        for group in [first, second, third] {
            #expect(try catalog.targetNames(ofGroup: group) == catalog.targetNames()[group] ?? [])
        }
        try catalog.changeAccess { try $0.removeAccess(of: second, to: target) }
        #expect(throws: CatalogError.self) { try catalog.changeAccess { try $0.removeAccess(of: second, to: target) } }
        try catalog.changeAccess { try $0.removeInitiatorGroup(second) }
        try catalog.removeDisk(named: "a")
        try catalog.changeAccess { try $0.removeInitiatorGroup(first) }
        #expect(try catalog.initiatorGroups().map(\.id) == [third])
    }

    @Test("the first group of a target makes its access level groups, and nothing but a word changes it back")
    func accessLevels() throws {
        _ = try disk("a")
        let id = try target("t:a").id
        let (first, second) = (try group("g"), try group("h"))
        #expect(try target("t:a").accessLevel == .loopback)
        for level in AccessLevel.allCases {
            try catalog.changeAccess { try $0.setAccessLevel(level, ofTarget: id) }
            try catalog.changeAccess { try $0.setAccess(of: first, to: id, logicalUnits: nil) }
            #expect(try target("t:a").accessLevel == .groups)
            try catalog.changeAccess { try $0.setAccessLevel(level, ofTarget: id) }
            try catalog.changeAccess { try $0.setAccess(of: second, to: id, logicalUnits: [:]) }
            try catalog.changeAccess { try $0.setAccess(of: second, to: id, logicalUnits: nil) }
            #expect(try target("t:a").accessLevel == level)
            try catalog.changeAccess { try $0.removeAccess(of: first, to: id) }
            try catalog.changeAccess { try $0.removeAccess(of: second, to: id) }
            #expect(try target("t:a").accessLevel == level)
        }
        #expect(throws: CatalogError.self) {
            try catalog.changeAccess { try $0.setAccessLevel(.open, ofTarget: id + 1) }
        }
        #expect(try catalog.openTargets().map(\.name) == ["t:a"])
        try catalog.changeAccess { try $0.setPortalGroupTags([2], ofTarget: id) }
        #expect(try catalog.openTargets().map(\.portalGroupTags) == [[2]])
        #expect(try catalog.targetsOfPortalGroups().map(\.name) == ["t:a"])
    }

    @Test("where authentication is required is kept, and goes with what it is required at")
    func authentication() throws {
        _ = try disk("a")
        _ = try group("g")
        let places: Set<AuthenticationPlace> = [.target("t:a"), .group("g"), .discovery]
        try catalog.changeAccess { try $0.requireAuthentication(true, at: places.union([.target("x")])) }
        #expect(try catalog.authenticationPlaces() == places)
        #expect(try target("t:a").requiresAuthentication)
        #expect(try catalog.openTargets().isEmpty)
        try catalog.changeAccess { try $0.requireAuthentication(false, at: [.discovery]) }
        try catalog.removeDisk(named: "a")
        #expect(try catalog.authenticationPlaces() == [.group("g")])
        _ = try disk("a")
        #expect(try catalog.authenticationPlaces() == [.group("g")])
    }

    @Test("portal groups and redirection of a target are replaced as a whole")
    func targetSettings() throws {
        _ = try disk("a")
        let id = try target("t:a").id
        try catalog.changeAccess { try $0.setPortalGroupTags([2, 1], ofTarget: id) }
        try catalog.changeAccess {
            try $0.setRedirection(TargetRedirection(address: "192.0.2.1:3260", isPermanent: true), ofTarget: id)
        }
        #expect(try target("t:a").portalGroupTags == [1, 2])
        #expect(try target("t:a").redirection == TargetRedirection(address: "192.0.2.1:3260", isPermanent: true))
        try catalog.changeAccess { try $0.setPortalGroupTags(nil, ofTarget: id) }
        try catalog.changeAccess { try $0.setRedirection(nil, ofTarget: id) }
        #expect(try target("t:a").portalGroupTags == nil)
        #expect(try target("t:a").redirection == nil)
    }
}

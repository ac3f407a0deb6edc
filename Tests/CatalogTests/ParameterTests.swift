import Foundation
import GRDB
import Platform
import Resources
import Testing

@testable import Catalog

@Suite("Parameters of units in the catalog")
struct ParameterTests {
    let folder: ScratchFolder
    let catalog: Catalog
    let unit: Int64

    init() throws {
        folder = try ScratchFolder()
        catalog = try Catalog(path: folder.catalog)
        let disk = try catalog.addDisk(
            name: "a", targetName: "t:a", Disk.Spec(size: 4096), image: "a.img", imageIsExternal: false,
            created: Date(timeIntervalSince1970: 0), phase: .complete)
        unit = disk.identity.id
    }

    private func record(_ kind: String, _ number: UInt16, _ value: [UInt8]) -> UnitParameterRecord {
        UnitParameterRecord(kind: kind, number: number, value: value)
    }

    @Test("what is kept is there again, replaced and removed by kind and number, and goes with its unit")
    func roundTrip() throws {
        #expect(try catalog.parameters(ofUnit: unit).isEmpty)
        try catalog.keep([record("b", 7, [1, 2]), record("a", .max, [3])], ofUnit: unit)
        #expect(try catalog.parameters(ofUnit: unit) == [record("a", .max, [3]), record("b", 7, [1, 2])])
        try catalog.keep([record("b", 7, []), record("b", 8, [9]), record("a", .max, [4])], ofUnit: unit)
        #expect(try catalog.parameters(ofUnit: unit) == [record("a", .max, [4]), record("b", 8, [9])])
        try catalog.close()
        let again = try Catalog(path: folder.catalog)
        #expect(try again.parameters(ofUnit: unit) == [record("a", .max, [4]), record("b", 8, [9])])
        try again.setPhase(.deleting, ofDevice: unit)
        try again.removeDisk(named: "a")
        #expect(try again.parameters(ofUnit: unit).isEmpty)
        // There is no such unit any more.
        try again.keep([record("a", 1, [1])], ofUnit: unit)
        #expect(try again.parameters(ofUnit: unit).isEmpty)
    }

    @Test("of several values all are kept or none")
    func atomicity() throws {
        #expect(throws: CatalogError.self) {
            try catalog.keep([record("a", 1, [1]), record("", 1, [1])], ofUnit: unit)
        }
        #expect(try catalog.parameters(ofUnit: unit).isEmpty)
    }

    @Test("on a full file system values are removed with the reserve, and none are added")
    func fullFileSystem() throws {
        final class Host: Sendable {
            let isFull = Lock(false)
            let roomMade = Lock(0)
        }
        let host = Host()
        let scratch = try ScratchFolder()
        let catalog = try Catalog(
            path: scratch.catalog,
            hooks: Catalog.Hooks(
                willCommit: { () throws(CatalogError) in
                    if host.isFull.withLock({ $0 }) { throw .full("no room") }
                },
                makeRoom: { attempt in
                    host.roomMade.withLock { $0 += 1 }
                    host.isFull.withLock { $0 = false }
                    attempt()
                    host.isFull.withLock { $0 = true }
                }))
        let disk = try catalog.addDisk(
            name: "a", targetName: "t:a", Disk.Spec(size: 4096), image: "a.img", imageIsExternal: false,
            created: Date(timeIntervalSince1970: 0), phase: .complete)
        try catalog.keep([record("a", 1, [1])], ofUnit: disk.identity.id)
        host.isFull.withLock { $0 = true }
        #expect(throws: CatalogError.self) { try catalog.keep([record("a", 2, [1])], ofUnit: disk.identity.id) }
        #expect(host.roomMade.withLock { $0 } == 0)
        try catalog.keep([record("a", 1, [])], ofUnit: disk.identity.id)
        #expect(try catalog.parameters(ofUnit: disk.identity.id).isEmpty && host.roomMade.withLock { $0 } == 1)
    }
}

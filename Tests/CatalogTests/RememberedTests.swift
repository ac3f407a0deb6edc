import Foundation
import Platform
import Resources
import Testing

@testable import Catalog

@Suite("What is remembered of the catalog")
struct RememberedTests {
    @Test("it is what was read after the last transaction, and nothing is believed while one is under way")
    func changes() {
        let changes = CatalogChanges()
        let memory = Remembered<String>()
        #expect(changes.count == 0 && memory.value(after: 0) == nil)
        memory.set("a", after: 0)
        #expect(memory.value(after: 0) == "a")
        changes.during {
            #expect(changes.count == nil)
            changes.during { #expect(changes.count == nil) }
            #expect(changes.count == nil)
        }
        #expect(changes.count == 2 && memory.value(after: 2) == nil)
        struct Failure: Error {}
        #expect(throws: Failure.self) { try changes.during { throw Failure() } }
        #expect(changes.count == 3)
    }

    @Test("counts are those of the catalog after each change, also for who is told of it before it returns")
    func counts() throws {
        let folder = try ScratchFolder()
        let committed = Lock<(@Sendable () -> Void)?>(nil)
        let catalog = try Catalog(
            path: folder.catalog,
            hooks: Catalog.Hooks(
                didCommit: { committed.withLock { $0 }?() }, didRecord: { _ in committed.withLock { $0 }?() }))
        let seen = Lock<[Int]>([])
        committed.withLock { body in
            body = { seen.withLock { $0.append((try? catalog.deviceCounts().disks) ?? -1) } }
        }
        for number in 1...3 {
            #expect(try catalog.deviceCounts().disks == number - 1)
            _ = try catalog.addDisk(
                name: "d\(number)", targetName: "t:d\(number)", Disk.Spec(size: 4096), image: "d\(number).img",
                imageIsExternal: false, created: Date(),
                event: NewEvent(time: Date(), actor: .daemon, kind: "disk", name: "d", verb: "create"))
            #expect(try catalog.deviceCounts().disks == number)
        }
        #expect(Set(seen.withLock { $0 }) == [1, 2, 3])
        committed.withLock { $0 = nil }
        try catalog.close()
    }
}

import Foundation
import GRDB
import Resources
import Testing

@testable import Catalog

@Suite("Access states in the catalog")
struct AccessStateTests {
    let folder: ScratchFolder
    let catalog: Catalog
    let units: [Int64]

    init() throws {
        folder = try ScratchFolder()
        let catalog = try Catalog(path: folder.catalog)
        units = try ["a", "b"].map { name in
            try catalog.addDisk(
                name: name, targetName: "t:\(name)", Disk.Spec(size: 4096), image: "\(name).img",
                imageIsExternal: false, created: Date(timeIntervalSince1970: 0), phase: .complete
            ).identity.id
        }
        self.catalog = catalog
    }

    private func state(_ group: UInt16, _ state: UInt8, at time: Double = 0) -> KeptAccessState {
        KeptAccessState(
            group: group, state: state, isPreferred: group == 2, transitionTime: 255, cause: 2,
            time: Date(timeIntervalSince1970: time))
    }

    @Test("what is kept is there again, by unit and group, with the time of its last change")
    func roundTrip() throws {
        #expect(try catalog.accessStates().isEmpty)
        let first = [state(1, 0), state(2, 14), state(65535, 3)]
        try catalog.keep(first, ofUnit: units[0])
        try catalog.keep([state(1, 2)], ofUnit: units[1])
        #expect(try catalog.accessStates() == [units[0]: first, units[1]: [state(1, 2)]])
        // One stays as it is, one changes, one goes, one comes.
        let second = [state(1, 0, at: 9), state(2, 1, at: 9), state(4, 2, at: 9)]
        try catalog.keep(second, ofUnit: units[0])
        let wanted = [state(1, 0), state(2, 1, at: 9), state(4, 2, at: 9)]
        #expect(try catalog.accessStates()[units[0]] == wanted)
        try catalog.close()
        let again = try Catalog(path: folder.catalog)
        #expect(try again.accessStates() == [units[0]: wanted, units[1]: [state(1, 2)]])
        try again.keep([KeptAccessState](), ofUnit: units[0])
        #expect(try again.accessStates() == [units[1]: [state(1, 2)]])
    }

    @Test("they go with their unit, and nothing is kept of one that is not there")
    func deletion() throws {
        try catalog.keep([state(1, 2)], ofUnit: units[0])
        try catalog.setPhase(.deleting, ofDevice: units[0])
        try catalog.removeDisk(named: "a")
        #expect(try catalog.accessStates().isEmpty)
        try catalog.keep([state(1, 2)], ofUnit: units[0])
        #expect(try catalog.accessStates().isEmpty)
    }

    @Test("a state that there is not is told as that, and what cannot be kept is refused")
    func damage() throws {
        try catalog.keep([state(1, 2), state(2, 1)], ofUnit: units[0])
        for wrong in [state(0, 1), state(1, 4)] {
            #expect(throws: CatalogError.self) { try catalog.keep([wrong], ofUnit: units[0]) }
        }
        #expect(try catalog.accessStates()[units[0]] == [state(1, 2), state(2, 1)])
        let raw = try DatabaseQueue(path: folder.catalog)
        try raw.write {
            try $0.execute(
                sql: "PRAGMA ignore_check_constraints = 1; UPDATE accessState SET state = 9 WHERE portalGroup = 1")
        }
        // What is changed behind its back is seen at the next look, which the next transaction brings.
        try catalog.keep([state(1, 2)], ofUnit: units[1])
        #expect(try catalog.accessStates()[units[0]]?.map(\.state) == [nil, 1])
        try catalog.keep([state(1, 3)], ofUnit: units[0])
        #expect(try catalog.accessStates()[units[0]] == [state(1, 3)])
    }
}

import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import ChangerDevice

@Suite("Moves (SMC-3 clauses 6.3 and 6.6)")
struct MoveTests {
    private let slot = ChangerBench.slot
    private let mail = ChangerBench.mail
    private let drive = ChangerBench.drive

    @Test("From a slot to a drive, to another drive, and to another slot")
    func ways() throws {
        let bench = try ChangerBench()
        #expect(bench.move(slot, drive) == "good")
        #expect(bench.bays[0].takeLog() == ["load A00001L8"])
        #expect(bench.labels[drive] == "A00001L8" && bench.labels[slot] == nil)
        #expect(bench.parse(bench.status().dataIn)[drive]?.source == slot)
        #expect(bench.move(drive, drive + 1) == "good")
        #expect(bench.bays[0].takeLog() == ["unload"])
        #expect(bench.bays[1].takeLog() == ["load A00001L8"])
        #expect(bench.parse(bench.status().dataIn)[drive + 1]?.source == slot)
        #expect(bench.move(drive + 1, slot + 4, transport: 1) == "good")
        #expect(bench.bays[1].takeLog() == ["unload"])
        #expect(bench.labels == [slot + 1: "B00001L8", slot + 2: "C00001L8", slot + 4: "A00001L8"])
        let first = MediumMove(
            barcode: "A00001L8", origin: .element(LibraryElement(.storage, 1)),
            destination: .element(LibraryElement(.dataTransfer, 1)))
        #expect(bench.inventory.moves.withLock { $0.first } == [first])
        #expect(bench.inventory.moves.withLock { $0.count } == 3)
    }

    @Test("What is refused, with nothing changed")
    func refusals() throws {
        let bench = try ChangerBench()
        let before = bench.labels
        #expect(bench.move(slot, slot + 1) == "5/3B0D")
        #expect(bench.move(slot, slot) == "5/3B0D")
        #expect(bench.move(slot + 3, slot + 4) == "5/3B0E")
        #expect(bench.move(drive, slot + 4) == "5/3B0E")
        #expect(bench.move(slot + 5, slot + 4) == "5/2101")
        #expect(bench.move(slot, 0x200) == "5/2101")
        #expect(bench.move(slot, 1) == "5/2101")
        #expect(bench.move(slot, slot + 4, transport: 2) == "5/2101")
        // INVERT.
        #expect(text(bench.port.execute([0xA5, 0, 0, 0, 4, 0, 4, 4, 0, 0, 1, 0])) == "5/2400")
        #expect(bench.labels == before)
        #expect(bench.inventory.moves.withLock { $0.isEmpty })
    }

    @Test("A drive that prevents removal, or does not release, keeps its cartridge")
    func drives() throws {
        let bench = try ChangerBench()
        #expect(bench.move(slot, drive) == "good")
        bench.bays[0].prevents.withLock { $0 = true }
        #expect(bench.move(drive, slot) == "5/5302")
        #expect(bench.parse(bench.status().dataIn)[drive]?.flags == 0x01)
        bench.bays[0].prevents.withLock { $0 = false }
        #expect(bench.parse(bench.status().dataIn)[drive]?.flags == 0x09)
        bench.bays[0].release.withLock { $0 = .prevented }
        #expect(bench.move(drive, slot) == "5/5302")
        bench.bays[0].release.withLock { $0 = .failed }
        #expect(bench.move(drive, slot) == "4/5300")
        #expect(bench.labels[drive] == "A00001L8")
        bench.bays[0].release.withLock { $0 = .released }
        #expect(bench.move(drive, slot) == "good")
    }

    @Test("A move that the inventory refuses did not happen, and the drive gets its cartridge back")
    func inventoryFails() throws {
        let bench = try ChangerBench()
        #expect(bench.move(slot, drive) == "good")
        _ = bench.bays[0].takeLog()
        bench.inventory.failure.withLock { $0 = "the catalog is read-only" }
        #expect(bench.move(drive, slot) == "4/4400")
        #expect(bench.bays[0].takeLog() == ["unload", "load A00001L8"])
        #expect(bench.labels[drive] == "A00001L8" && bench.labels[slot] == nil)
        #expect(
            bench.relocate("B00001L8", .element(LibraryElement(.storage, 2)), .outside)
                == .notCommitted("the catalog is read-only"))
        bench.inventory.failure.withLock { $0 = nil }
        #expect(bench.move(drive, slot) == "good")
    }

    @Test("EXCHANGE MEDIUM")
    func exchange() throws {
        let bench = try ChangerBench()
        #expect(bench.move(slot, drive) == "good")
        // B into the drive, A to slot 5.
        #expect(bench.exchange(slot + 1, drive, slot + 4) == "good")
        #expect(bench.labels == [drive: "B00001L8", slot + 2: "C00001L8", slot + 4: "A00001L8"])
        #expect(bench.bays[0].takeLog() == ["load A00001L8", "unload", "load B00001L8"])
        // Each into the other's place.
        #expect(bench.exchange(slot + 2, drive, slot + 2) == "good")
        #expect(bench.labels == [drive: "C00001L8", slot + 2: "B00001L8", slot + 4: "A00001L8"])
        #expect(bench.exchange(slot, drive, slot + 1) == "5/3B0E")
        #expect(bench.exchange(slot + 2, drive + 1, slot + 1) == "5/3B0E")
        #expect(bench.exchange(slot + 2, drive, slot + 4) == "5/3B0D")
        #expect(bench.exchange(slot + 2, drive, 0x7FF) == "5/2101")
    }

    @Test("Export and import by the operator: unit attentions, IMPEXP, locked mail slots")
    func mailSlots() throws {
        let bench = try ChangerBench()
        let second = bench.secondPort()
        second.clearUnitAttentions()
        #expect(bench.move(slot, mail) == "good")
        #expect(bench.parse(bench.status().dataIn)[mail]?.flags == 0x39)
        let place = MediumPlace.element(LibraryElement(.importExport, 1))
        #expect(text(bench.port.execute([0x1E, 0, 0, 0, 1, 0])) == "good")
        #expect(bench.relocate("A00001L8", place, .outside) == .removalPrevented)
        #expect(text(bench.port.execute([0x1E, 0, 0, 0, 0, 0])) == "good")
        #expect(bench.relocate("A00001L8", place, .outside) == nil)
        #expect(bench.port.clearUnitAttentions() == [.importOrExportElementAccessed])
        #expect(bench.labels[mail] == nil)
        #expect(second.clearUnitAttentions() == [.importOrExportElementAccessed])
        #expect(bench.relocate("A00001L8", .outside, place) == nil)
        #expect(bench.port.clearUnitAttentions() == [.importOrExportElementAccessed])
        #expect(bench.parse(bench.status().dataIn)[mail]?.flags == 0x3B)
        #expect(bench.move(mail, slot) == "good")
        #expect(bench.labels[slot] == "A00001L8")
        second.logOut()
    }

    @Test("The operator names the cartridge; a wrong one is not moved")
    func operatorMoves() throws {
        let bench = try ChangerBench()
        let first = MediumPlace.element(LibraryElement(.storage, 1))
        let fifth = MediumPlace.element(LibraryElement(.storage, 5))
        #expect(bench.relocate("B00001L8", first, fifth) == .sourceEmpty)
        #expect(bench.relocate("A00001L8", first, .element(LibraryElement(.storage, 6))) == .noSuchElement)
        #expect(bench.relocate("A00001L8", first, .element(LibraryElement(.storage, 2))) == .destinationFull)
        #expect(bench.relocate("A00001L8", first, fifth) == nil)
        #expect(bench.port.clearUnitAttentions() == [.mediumMayHaveChanged])
        #expect(bench.relocate("N00001L8", .outside, first) == nil)
        bench.port.clearUnitAttentions()
        #expect(bench.labels[slot] == "N00001L8" && bench.labels[slot + 4] == "A00001L8")
    }

    @Test("Moves of initiators and operator wait for each other")
    func waiting() throws {
        let bench = try ChangerBench()
        let outcomes = Lock<[String]>([])
        let done = DispatchSemaphore(value: 0)
        for number in 1...5 {
            // Back and forth between slot 1 and 5, by the operator.
            let places = [LibraryElement(.storage, 1), LibraryElement(.storage, 5)].map { MediumPlace.element($0) }
            bench.changer.relocate("A00001L8", from: places[(number + 1) % 2], to: places[number % 2]) { refusal in
                outcomes.withLock { $0.append(refusal?.description ?? "moved") }
                done.signal()
            }
        }
        for _ in 0..<5 { done.wait() }
        #expect(outcomes.withLock { $0 } == ["moved", "moved", "moved", "moved", "moved"])
        bench.port.clearUnitAttentions()
        #expect(bench.labels[slot + 4] == "A00001L8")
        #expect(bench.inventory.moves.withLock { $0.count } == 5)
    }

    @Test("Random moves against a model", arguments: [1, 2, 3] as [UInt64])
    func random(_ seed: UInt64) throws {
        let bench = try ChangerBench()
        var random = SeededRandom(seed: seed)
        var model = [slot: "A00001L8", slot + 1: "B00001L8", slot + 2: "C00001L8"]
        let addresses = (0..<5).map { slot + $0 } + [mail, mail + 1, drive, drive + 1]
        for _ in 0..<200 {
            let source = addresses.randomElement(using: &random)!
            let destination = addresses.randomElement(using: &random)!
            let expected: String
            if model[source] == nil {
                expected = "5/3B0E"
            } else if model[destination] != nil {
                expected = "5/3B0D"
            } else {
                expected = "good"
                model[destination] = model.removeValue(forKey: source)
            }
            #expect(bench.move(source, destination) == expected)
        }
        #expect(bench.labels == model)
    }
}

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
    private let slot = ChangerFixture.slot
    private let mail = ChangerFixture.mail
    private let drive = ChangerFixture.drive

    @Test("From a slot to a drive, to another drive, and to another slot")
    func ways() throws {
        let fixture = try ChangerFixture()
        #expect(fixture.move(slot, drive) == "good")
        #expect(fixture.bays[0].takeLog() == ["load A00001L8"])
        #expect(fixture.labels[drive] == "A00001L8" && fixture.labels[slot] == nil)
        #expect(fixture.parse(fixture.status().dataIn)[drive]?.source == slot)
        #expect(fixture.move(drive, drive + 1) == "good")
        #expect(fixture.bays[0].takeLog() == ["unload"])
        #expect(fixture.bays[1].takeLog() == ["load A00001L8"])
        #expect(fixture.parse(fixture.status().dataIn)[drive + 1]?.source == slot)
        #expect(fixture.move(drive + 1, slot + 4, transport: 1) == "good")
        #expect(fixture.bays[1].takeLog() == ["unload"])
        #expect(fixture.labels == [slot + 1: "B00001L8", slot + 2: "C00001L8", slot + 4: "A00001L8"])
        let first = MediumMove(
            barcode: "A00001L8", origin: .element(LibraryElement(.storage, 1)),
            destination: .element(LibraryElement(.dataTransfer, 1)))
        #expect(fixture.inventory.moves.withLock { $0.first } == [first])
        #expect(fixture.inventory.moves.withLock { $0.count } == 3)
    }

    @Test("What is refused, with nothing changed")
    func refusals() throws {
        let fixture = try ChangerFixture()
        let before = fixture.labels
        #expect(fixture.move(slot, slot + 1) == "5/3B0D")
        #expect(fixture.move(slot, slot) == "5/3B0D")
        #expect(fixture.move(slot + 3, slot + 4) == "5/3B0E")
        #expect(fixture.move(drive, slot + 4) == "5/3B0E")
        #expect(fixture.move(slot + 5, slot + 4) == "5/2101")
        #expect(fixture.move(slot, 0x200) == "5/2101")
        #expect(fixture.move(slot, 1) == "5/2101")
        #expect(fixture.move(slot, slot + 4, transport: 2) == "5/2101")
        // INVERT.
        #expect(text(fixture.port.execute([OperationCode.moveMedium, 0, 0, 0, 4, 0, 4, 4, 0, 0, 1, 0])) == "5/2400")
        #expect(fixture.labels == before)
        #expect(fixture.inventory.moves.withLock { $0.isEmpty })
    }

    @Test("A drive that prevents removal, or does not release, keeps its cartridge")
    func drives() throws {
        let fixture = try ChangerFixture()
        #expect(fixture.move(slot, drive) == "good")
        fixture.bays[0].prevents.withLock { $0 = true }
        #expect(fixture.move(drive, slot) == "5/5302")
        #expect(fixture.parse(fixture.status().dataIn)[drive]?.flags == 0x01)
        fixture.bays[0].prevents.withLock { $0 = false }
        #expect(fixture.parse(fixture.status().dataIn)[drive]?.flags == 0x09)
        fixture.bays[0].release.withLock { $0 = .prevented }
        #expect(fixture.move(drive, slot) == "5/5302")
        fixture.bays[0].release.withLock { $0 = .failed }
        #expect(fixture.move(drive, slot) == "4/5300")
        #expect(fixture.labels[drive] == "A00001L8")
        fixture.bays[0].release.withLock { $0 = .released }
        #expect(fixture.move(drive, slot) == "good")
    }

    @Test("A move that the inventory refuses did not happen, and the drive gets its cartridge back")
    func inventoryFails() throws {
        let fixture = try ChangerFixture()
        #expect(fixture.move(slot, drive) == "good")
        _ = fixture.bays[0].takeLog()
        fixture.inventory.failure.withLock { $0 = "the catalog is read-only" }
        #expect(fixture.move(drive, slot) == "4/4400")
        #expect(fixture.bays[0].takeLog() == ["unload", "load A00001L8"])
        #expect(fixture.labels[drive] == "A00001L8" && fixture.labels[slot] == nil)
        #expect(
            fixture.relocate("B00001L8", .element(LibraryElement(.storage, 2)), .outside)
                == .notCommitted("the catalog is read-only"))
        fixture.inventory.failure.withLock { $0 = nil }
        #expect(fixture.move(drive, slot) == "good")
    }

    @Test("EXCHANGE MEDIUM")
    func exchange() throws {
        let fixture = try ChangerFixture()
        #expect(fixture.move(slot, drive) == "good")
        // B into the drive, A to slot 5.
        #expect(fixture.exchange(slot + 1, drive, slot + 4) == "good")
        #expect(fixture.labels == [drive: "B00001L8", slot + 2: "C00001L8", slot + 4: "A00001L8"])
        #expect(fixture.bays[0].takeLog() == ["load A00001L8", "unload", "load B00001L8"])
        // Each into the other's place.
        #expect(fixture.exchange(slot + 2, drive, slot + 2) == "good")
        #expect(fixture.labels == [drive: "C00001L8", slot + 2: "B00001L8", slot + 4: "A00001L8"])
        #expect(fixture.exchange(slot, drive, slot + 1) == "5/3B0E")
        #expect(fixture.exchange(slot + 2, drive + 1, slot + 1) == "5/3B0E")
        #expect(fixture.exchange(slot + 2, drive, slot + 4) == "5/3B0D")
        #expect(fixture.exchange(slot + 2, drive, 0x7FF) == "5/2101")
    }

    @Test("Export and import by the operator: unit attentions, IMPEXP, locked mail slots")
    func mailSlots() throws {
        let fixture = try ChangerFixture()
        let second = fixture.secondPort()
        second.clearUnitAttentions()
        #expect(fixture.move(slot, mail) == "good")
        #expect(fixture.parse(fixture.status().dataIn)[mail]?.flags == 0x39)
        let place = MediumPlace.element(LibraryElement(.importExport, 1))
        #expect(text(fixture.port.execute([OperationCode.preventAllowMediumRemoval, 0, 0, 0, 1, 0])) == "good")
        #expect(fixture.relocate("A00001L8", place, .outside) == .removalPrevented)
        #expect(text(fixture.port.execute([OperationCode.preventAllowMediumRemoval, 0, 0, 0, 0, 0])) == "good")
        #expect(fixture.relocate("A00001L8", place, .outside) == nil)
        #expect(fixture.port.clearUnitAttentions() == [.importOrExportElementAccessed])
        #expect(fixture.labels[mail] == nil)
        #expect(second.clearUnitAttentions() == [.importOrExportElementAccessed])
        #expect(fixture.relocate("A00001L8", .outside, place) == nil)
        #expect(fixture.port.clearUnitAttentions() == [.importOrExportElementAccessed])
        #expect(fixture.parse(fixture.status().dataIn)[mail]?.flags == 0x3B)
        #expect(fixture.move(mail, slot) == "good")
        #expect(fixture.labels[slot] == "A00001L8")
        second.logOut()
    }

    @Test("The operator names the cartridge; a wrong one is not moved")
    func operatorMoves() throws {
        let fixture = try ChangerFixture()
        let first = MediumPlace.element(LibraryElement(.storage, 1))
        let fifth = MediumPlace.element(LibraryElement(.storage, 5))
        #expect(fixture.relocate("B00001L8", first, fifth) == .sourceEmpty)
        #expect(fixture.relocate("A00001L8", first, .element(LibraryElement(.storage, 6))) == .noSuchElement)
        #expect(fixture.relocate("A00001L8", first, .element(LibraryElement(.storage, 2))) == .destinationFull)
        #expect(fixture.relocate("A00001L8", first, fifth) == nil)
        #expect(fixture.port.clearUnitAttentions() == [.mediumMayHaveChanged])
        #expect(fixture.relocate("N00001L8", .outside, first) == nil)
        fixture.port.clearUnitAttentions()
        #expect(fixture.labels[slot] == "N00001L8" && fixture.labels[slot + 4] == "A00001L8")
    }

    @Test("Moves of initiators and operator wait for each other")
    func waiting() throws {
        let fixture = try ChangerFixture()
        let outcomes = Lock<[String]>([])
        let done = DispatchSemaphore(value: 0)
        for number in 1...5 {
            // Back and forth between slot 1 and 5, by the operator.
            let places = [LibraryElement(.storage, 1), LibraryElement(.storage, 5)].map { MediumPlace.element($0) }
            fixture.changer.relocate("A00001L8", from: places[(number + 1) % 2], to: places[number % 2]) { refusal in
                outcomes.withLock { $0.append(refusal?.description ?? "moved") }
                done.signal()
            }
        }
        for _ in 0..<5 { done.wait() }
        #expect(outcomes.withLock { $0 } == ["moved", "moved", "moved", "moved", "moved"])
        fixture.port.clearUnitAttentions()
        #expect(fixture.labels[slot + 4] == "A00001L8")
        #expect(fixture.inventory.moves.withLock { $0.count } == 5)
    }

    @Test("Random moves against a model", arguments: [1, 2, 3] as [UInt64])
    func random(_ seed: UInt64) throws {
        let fixture = try ChangerFixture()
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
            #expect(fixture.move(source, destination) == expected)
        }
        #expect(fixture.labels == model)
    }
}

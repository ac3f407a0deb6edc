import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TestSupport
import Testing

@testable import TargetCore

@Suite("Microcode that initiators download")
struct MicrocodeTests {
    private static func command(_ mode: UInt8, _ count: Int, _ buffer: UInt8, _ offset: Int) -> [UInt8] {
        var command: [UInt8] = [OperationCode.writeBuffer, mode, buffer]
        command.appendBE24(UInt32(offset))
        command.appendBE24(UInt32(count))
        return command + [0]
    }

    private func write(
        _ port: InMemoryPort, _ mode: UInt8, _ bytes: [UInt8] = [], _ buffer: UInt8 = 0, at offset: Int = 0
    ) -> CommandResult {
        port.execute(Self.command(mode, bytes.count, buffer, offset), dataOut: bytes)
    }

    private func write(
        _ port: InMemoryPort, _ mode: UInt8, _ text: String, at offset: Int = 0
    ) -> CommandResult {
        write(port, mode, Array(text.utf8), at: offset)
    }

    private func revision(_ port: InMemoryPort) -> String {
        String(decoding: port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).dataIn[32..<36], as: UTF8.self)
    }

    /// A unit that accepts microcode and keeps what `store` does.
    private func fixture(_ store: ParameterStore) -> UnitFixture {
        let fixture = UnitFixture()
        fixture.device.acceptsMicrocode = true
        fixture.unit.keepParameters(with: store)
        return fixture
    }

    private static let saved = KeptParameter(.microcode)
    private static let deferred = KeptParameter(.microcode, 1)
    private static let nothing = SenseData(.illegalRequest, .commandSequenceError)

    @Test("Microcode changes the revision; saved it stays, unsaved it goes, and the others are told")
    func microcode() {
        let store = ParameterStore()
        let fixture = UnitFixture()
        fixture.device.acceptsMicrocode = true
        fixture.unit.keepParameters(with: store)
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        #expect(revision(port) == "1   ")
        #expect(write(port, 0x05, Array("AB01".utf8) + [0, 1, 2]).status == .good)
        #expect(other.clearUnitAttentions() == [.microcodeHasBeenChanged] && port.clearUnitAttentions() == [])
        #expect(revision(other) == "AB01")
        #expect(store.kept[KeptParameter(.microcode)] == Array("AB01".utf8))
        #expect(write(port, 0x04, Array("AB02".utf8)).status == .good && revision(port) == "AB02")
        #expect(other.clearUnitAttentions() == [.microcodeHasBeenChanged])
        // What was kept, in another life; not where the profile accepts none.
        for accepts in [true, false] {
            let again = UnitFixture()
            again.device.acceptsMicrocode = accepts
            again.unit.keepParameters(with: ParameterStore(store.kept))
            #expect(revision(again.initiator()) == (accepts ? "AB01" : "1   "))
        }
        // In pieces, which follow one another.
        #expect(write(port, 0x0F, []).sense == SenseData(.illegalRequest, .commandSequenceError))
        #expect(write(port, 0x0E, [1, 2], at: 4).sense == .invalidField(byte: 3))
        #expect(write(port, 0x0E, Array("AB03".utf8)).status == .good)
        #expect(write(other, 0x0E, [1, 2], at: 4).sense == .invalidField(byte: 3))
        #expect(write(port, 0x0E, [1, 2], at: 4).status == .good)
        #expect(write(port, 0x0E, [3], at: 5).sense == .invalidField(byte: 3))
        #expect(write(port, 0x0E, [3], at: 6).status == .good && revision(port) == "AB02")
        #expect(write(other, 0x0F, []).status == .good && revision(port) != "AB02")
        #expect(port.clearUnitAttentions() == [.microcodeHasBeenChanged] && revision(port) == "AB03")
        #expect(write(other, 0x0F, []).sense == SenseData(.illegalRequest, .commandSequenceError))
        // Nothing changes.
        #expect(write(port, 0x05, []).status == .good)
        #expect(write(port, 0x05, [0x41, 0x42, 0x43]).sense == SenseData(.illegalRequest, .parameterListLengthError))
        #expect(write(port, 0x05, [0x41, 0x42, 0x0A, 0x43]).sense == .invalidParameter(byte: 2))
        #expect(write(port, 0x0E, Array("AB04".utf8), 1).sense == .invalidField(byte: 2))
        store.fail()
        #expect(write(port, 0x05, Array("AB04".utf8)).sense?.key == .hardwareError)
        #expect(revision(port) == "AB03" && other.clearUnitAttentions() == [])
    }

    @Test("Pieces follow one another in their mode; the first activates, and the revision is saved where the mode says")
    func pieces() {
        let store = ParameterStore()
        let fixture = fixture(store)
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        for (mode, other, name) in [(0x06, 0x07, "AB06"), (0x07, 0x06, "AB07")] as [(UInt8, UInt8, String)] {
            #expect(write(port, mode, [1, 2], at: 4).sense == .invalidField(byte: 3))
            #expect(write(port, mode, name + "rest").status == .good && revision(port) == name)
            #expect(write(port, other, [1, 2], at: 8).sense == .invalidField(byte: 3))
            #expect(write(port, mode, [1, 2], at: 8).status == .good)
            #expect(write(port, mode, [1, 2], at: 8).sense == .invalidField(byte: 3))
            #expect(write(port, mode, [3], at: 10).status == .good && revision(port) == name)
            #expect(write(port, mode, "AB").sense == SenseData(.illegalRequest, .parameterListLengthError))
            #expect(write(port, mode, [0x41, 7, 0x41, 0x41]).sense == .invalidParameter(byte: 1))
            #expect(write(port, mode, Array("ABCD".utf8), 1).sense == .invalidField(byte: 2))
            #expect(write(port, mode).status == .good)
        }
        #expect(other.clearUnitAttentions() == [.microcodeHasBeenChanged])
        #expect(write(other, 0x07, [1], at: 11).sense == .invalidField(byte: 3))
        #expect(store.kept[Self.saved] == Array("AB07".utf8))
        // What cannot be kept changes nothing, and has no further pieces.
        store.fail()
        #expect(write(port, 0x07, "AB08").sense?.key == .hardwareError && revision(port) == "AB07")
        #expect(write(port, 0x07, [1], at: 4).sense == .invalidField(byte: 3))
    }

    @Test("Deferred microcode outlives the unit; power on activates it where the mode, or PO_ACT, says so")
    func powerOn() {
        for (mode, isActivated) in [(0x0E, true), (0x8D, true), (0x0D, false)] as [(UInt8, Bool)] {
            let store = ParameterStore()
            let port = fixture(store).initiator()
            #expect(write(port, mode, "AB01").status == .good && revision(port) == "1   ")
            #expect(store.kept[Self.deferred] == Array("AB01".utf8) + [isActivated ? 1 : 0])
            let next = ParameterStore(store.kept)
            let again = fixture(next).initiator()
            #expect(revision(again) == (isActivated ? "AB01" : "1   "))
            if isActivated {
                #expect(next.kept == [Self.saved: Array("AB01".utf8)])
                #expect(write(again, 0x0F).sense == Self.nothing)
            } else {
                // Its pieces are of another life.
                #expect(write(again, mode, [1], at: 4).sense == .invalidField(byte: 3))
                #expect(write(again, 0x0F).status == .good && revision(again) == "AB01")
                #expect(next.kept == [Self.saved: Array("AB01".utf8)])
            }
        }
        // What was not kept is activated all the same, and again by the next beginning.
        let store = ParameterStore([Self.deferred: Array("AB01".utf8) + [1]])
        store.fail()
        #expect(revision(fixture(store).initiator()) == "AB01" && store.kept[Self.saved] == nil)
    }

    @Test("Events that there are not are refused by their bits, and the Extended INQUIRY page says which there are")
    func events() {
        let port = fixture(ParameterStore()).initiator()
        #expect(write(port, 0x4D, "AB01").sense == .invalidField(byte: 1, bit: 6))
        #expect(write(port, 0x2D, "AB01").sense == .invalidField(byte: 1, bit: 5))
        #expect(write(port, 0xED, "AB01").sense == .invalidField(byte: 1, bit: 6))
        for mode in [0x04, 0x05, 0x06, 0x07, 0x0E, 0x0F] as [UInt8] {
            #expect(write(port, mode | 0x80, "AB01").sense == .invalidField(byte: 1, bit: 7))
        }
        let page = port.execute([OperationCode.inquiry, 1, 0x86, 0, 64, 0]).dataIn
        #expect(page[4] & 0xC0 == 0x40 && page[12] == 0x90 && page[19] == 0xFE)
        let none = UnitFixture().initiator().execute([OperationCode.inquiry, 1, 0x86, 0, 64, 0]).dataIn
        #expect(none[4] & 0xC0 == 0 && none[12] == 0 && none[19] == 0)
    }

    @Test("Of two that activate the same microcode at a time one succeeds, and a failure leaves it for the next")
    func activation() {
        let store = ParameterStore()
        let fixture = fixture(store)
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        #expect(write(port, 0x0E, "AB01").status == .good)
        store.hold()
        let results = KeptOutcomes()
        port.submit(Self.command(0x0F, 0, 0, 0)) { results.add($0) }
        while store.waiting == 0 { sleepMilliseconds(1) }
        #expect(write(other, 0x0F).sense == Self.nothing)
        // What comes in its place waits until that is over, and can be activated then.
        port.submit(Self.command(0x0E, 4, 0, 0), dataOut: Array("AB02".utf8)) { results.add($0) }
        store.release()
        while results.all.count < 2 { sleepMilliseconds(1) }
        #expect(results.all.allSatisfy { $0.status == .good } && revision(port) == "AB01")
        #expect(write(port, 0x0F).status == .good && revision(port) == "AB02")
        #expect(write(port, 0x0F).sense == Self.nothing)
        #expect(store.kept == [Self.saved: Array("AB02".utf8)])
        // BUSY and a failure consume nothing.
        #expect(write(port, 0x0E, "AB03").status == .good)
        // Behind this nothing of that change is left.
        #expect(revision(port) == "AB02")
        store.hold()
        for _ in 0..<UnitParameters.Limit.waiting {
            fixture.unit.parameters.change({ [:] }, { _, proceed in proceed() })
        }
        #expect(write(port, 0x0F).status == .busy)
        store.release()
        #expect(write(port, 0x0F).status == .good && revision(port) == "AB03")
        #expect(write(port, 0x0E, "AB04").status == .good)
        store.fail()
        for _ in 0..<2 { #expect(write(port, 0x0F).sense?.key == .hardwareError) }
        #expect(write(port, 0x0E, "AB05").sense?.key == .hardwareError)
    }

    @Test("Who wants to know is told of each other revision, and by whom it was activated")
    func told() {
        let changes = Lock<[MicrocodeChange]>([])
        func unit(_ store: ParameterStore) -> UnitFixture {
            let fixture = UnitFixture(whenMicrocodeChanged: { change in changes.withLock { $0.append(change) } })
            fixture.device.acceptsMicrocode = true
            fixture.unit.keepParameters(with: store)
            return fixture
        }
        let store = ParameterStore()
        let fixture = unit(store)
        let port = fixture.initiator()
        for (mode, text) in [(0x04, "AB1 "), (0x04, "AB1 "), (0x05, "AB2 "), (0x07, "AB3 ")] as [(UInt8, String)] {
            #expect(write(port, mode, text).status == .good)
        }
        #expect(write(port, 0x0E, "AB4 ").status == .good && fixture.unit.revision == "AB3")
        #expect(write(port, 0x0F).status == .good && fixture.unit.revision == "AB4")
        #expect(write(port, 0x8D, "AB5 ").status == .good)
        #expect(unit(ParameterStore(store.kept)).unit.revision == "AB5")
        let found = changes.withLock { $0 }
        #expect(found.map(\.old) == ["1", "AB1", "AB2", "AB3", "AB4"])
        #expect(found.map(\.new) == ["AB1", "AB2", "AB3", "AB4", "AB5"])
        #expect(found.dropLast().allSatisfy { $0.initiator?.isEmpty == false } && found.last?.initiator == nil)
    }
}

import DeviceTestSupport
import Platform
import SCSI
import TestSupport
import Testing

@testable import TargetCore

/// The outcomes of commands that a test does not wait for.
final class KeptOutcomes: Sendable {
    private let state = Lock<[CommandResult]>([])

    var all: [CommandResult] { state.withLock { $0 } }

    func add(_ result: CommandResult) { state.withLock { $0.append(result) } }
}

@Suite("Mode pages that are saved")
struct SavedModePageTests {
    /// Page 0Ah with its changeable bit set.
    private let changed: [UInt8] = [0x0A, 10, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0]

    private func serve(_ store: ParameterStore, isSerial: Bool = false) -> UnitFixture {
        let fixture = UnitFixture(isSerial: isSerial)
        fixture.unit.keepParameters(with: store)
        return fixture
    }

    @Test("SP saves, PS and PC 11b say so, and a reset and a restart bring the values back", arguments: [false, true])
    func roundTrip(isSerial: Bool) {
        let store = ParameterStore()
        let fixture = serve(store, isSerial: isSerial)
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        #expect(port.controlPage() == [0x8A, 10, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(port.modeSelect(changed).status == .good)
        #expect(port.controlPage(3)[2] == 0x02 && store.kept.isEmpty)
        #expect(port.modeSelect(changed, flags: 1).status == .good)
        #expect(port.controlPage(3) == [0x8A, 10, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(store.kept[KeptParameter(.modePage, 0x0A00)] == Array(changed.dropFirst(2)) && store.kept.count == 2)
        #expect(other.clearUnitAttentions() == [.modeParametersChanged])
        // A change that is not saved ends with a reset.
        #expect(port.modeSelect([0x0A, 10, 0x02] + [UInt8](repeating: 0, count: 9)).status == .good)
        #expect(port.controlPage()[2] == 0x02 && port.manage(.logicalUnitReset) == .complete)
        port.clearUnitAttentions()
        #expect(port.controlPage()[2] == 0x06 && port.controlPage(2)[2] == 0x02 && port.controlPage(1)[2] == 0x04)
        // PS is zero where nothing can be changed.
        #expect(port.execute([OperationCode.modeSense6, 0x08, 0x08, 0, 255, 0]).dataIn[4] == 0x08)
        #expect(port.execute([OperationCode.modeSense6, 0x08, 0xC8, 0, 255, 0]).status == .good)

        let again = serve(ParameterStore(store.kept), isSerial: isSerial).initiator()
        #expect(again.controlPage()[2] == 0x06 && again.controlPage(3)[2] == 0x06)
    }

    @Test("SP without pages saves what is current; RTD restores the defaults, and takes no parameter list")
    func withoutPages() {
        let store = ParameterStore()
        let port = serve(store).initiator()
        #expect(port.modeSelect(changed).status == .good)
        #expect(port.modeSelect([], flags: 1).status == .good)
        #expect(port.controlPage(3)[2] == 0x06)
        #expect(port.modeSelect([], flags: 2).status == .good)
        #expect(port.controlPage()[2] == 0x02 && port.controlPage(3)[2] == 0x06)
        #expect(port.modeSelect([], flags: 3).status == .good && port.controlPage(3)[2] == 0x02)
        #expect(port.modeSelect(changed, flags: 2).sense == .invalidField(byte: 1, bit: 1))
        #expect(port.controlPage()[2] == 0x02)
    }

    @Test("Nothing is in force, and nobody is told, before it is durable; what cannot be kept is refused")
    func order() {
        let store = ParameterStore()
        let fixture = serve(store)
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        store.hold()
        let results = KeptOutcomes()
        let list = [UInt8](repeating: 0, count: 8) + changed
        let command: [UInt8] = [OperationCode.modeSelect10, 0x11, 0, 0, 0, 0, 0, 0, UInt8(list.count), 0]
        port.submit(command, dataOut: list) { results.add($0) }
        while store.waiting == 0 { sleepMilliseconds(1) }
        #expect(results.all.isEmpty && other.clearUnitAttentions().isEmpty && other.controlPage()[2] == 0x02)
        store.release()
        while results.all.isEmpty { sleepMilliseconds(1) }
        #expect(results.all.first?.status == .good && other.clearUnitAttentions() == [.modeParametersChanged])
        store.fail()
        #expect(
            port.modeSelect(Array(changed.prefix(2)) + [0x02] + [UInt8](repeating: 0, count: 9), flags: 1).sense
                == SenseData(.hardwareError, .internalTargetFailure))
        #expect(port.controlPage()[2] == 0x06 && port.controlPage(3)[2] == 0x06)
    }

    @Test("A page that is replaced meanwhile keeps the values that it admits no others for", arguments: [0, 4])
    func replaced(changeable: UInt8) {
        let store = ParameterStore()
        let fixture = serve(store)
        let port = fixture.initiator()
        store.hold()
        let results = KeptOutcomes()
        let list = [UInt8](repeating: 0, count: 8) + changed
        port.submit(
            [OperationCode.modeSelect10, 0x11, 0, 0, 0, 0, 0, 0, UInt8(list.count), 0], dataOut: list
        ) { results.add($0) }
        while store.waiting == 0 { sleepMilliseconds(1) }
        let content: [UInt8] = [0x02, 0, 0, 0, 0, 0, 0, 0, 0, 9]
        fixture.device.modePages.replace(ModePage(code: 0x0A, content, changeable: [changeable]))
        store.release()
        while results.all.isEmpty { sleepMilliseconds(1) }
        #expect(results.all.first?.status == .good)
        // What may change there has changed. What was saved for the former page is not saved for this one.
        #expect(Array(port.controlPage().dropFirst(2)) == [0x02 | changeable] + content.dropFirst())
        #expect(Array(port.controlPage(3).dropFirst(2)) == content)
    }

    @Test("Bits that follow others change although MODE SELECT may not change them")
    func following() {
        let pages = ModePages([ModePage(code: 1, [1, 2, 3], changeable: [0x0F])])
        #expect(pages.update(1, current: [0xFE, 7, 7]) && pages.page(1)?.current == [0x0E, 2, 3])
        #expect(!pages.update(1, current: [1]) && !pages.update(2, current: [1, 2, 3]))
        var change = ModePageChange(ModePage(code: 1, [1, 2, 3]), content: [1, 2, 3])
        change.follow(1, to: 0x80, mask: 0x80)
        #expect(pages.update(1, current: change.content, following: change.following))
        #expect(pages.page(1)?.current == [1, 0x82, 3])
        let defaults = pages.page(1).map { ModePageChange(toDefaultsOf: $0) }
        #expect(pages.update(1, current: defaults?.content ?? [], following: defaults?.following ?? []))
        #expect(pages.page(1)?.current == [1, 2, 3])
    }

    @Test("Of two commands that save different pages at the same time, both have saved theirs")
    func together() {
        let store = ParameterStore()
        let fixture = serve(store)
        let ports = [fixture.initiator(), fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)]
        let lists: [[UInt8]] = [[0x0A, 10, 0x06] + [UInt8](repeating: 0, count: 9), [0x4A, 0x01, 0, 4, 1, 1, 2, 3]]
        store.hold()
        let results = KeptOutcomes()
        for (port, list) in zip(ports, lists) {
            let list = [UInt8](repeating: 0, count: 8) + list
            port.submit(
                [OperationCode.modeSelect10, 0x11, 0, 0, 0, 0, 0, 0, UInt8(list.count), 0], dataOut: list
            ) { results.add($0) }
        }
        while store.waiting == 0 { sleepMilliseconds(1) }
        store.release()
        while results.all.count < 2 { sleepMilliseconds(1) }
        #expect(results.all.allSatisfy { $0.status == .good })
        #expect(store.kept[KeptParameter(.modePage, 0x0A00)]?[0] == 0x06)
        #expect(store.kept[KeptParameter(.modePage, 0x0A01)] == [1, 1, 2, 3])
    }

    @Test("A command that is aborted while it is kept has saved, and changes nothing else")
    func aborted() {
        let store = ParameterStore()
        let port = serve(store).initiator()
        store.hold()
        let list = [UInt8](repeating: 0, count: 8) + changed
        let slot = port.submit(
            [OperationCode.modeSelect10, 0x11, 0, 0, 0, 0, 0, 0, UInt8(list.count), 0], dataOut: list
        ) { _ in }
        while store.waiting == 0 { sleepMilliseconds(1) }
        #expect(port.manage(.abortTask, slot: slot) == .complete)
        store.release()
        #expect(port.controlPage()[2] == 0x02 && port.controlPage(3)[2] == 0x06)
    }

    @Test("No more changes wait than the limit says; others end with BUSY")
    func limit() {
        let store = ParameterStore()
        let fixture = serve(store)
        let port = fixture.initiator()
        store.hold()
        let parameters = fixture.unit.parameters
        for _ in 0..<UnitParameters.Limit.waiting {
            parameters.change({ [KeptParameter(.selfTests): [1]] }, { _, proceed in proceed() })
        }
        #expect(store.waiting == 1)
        #expect(port.execute([OperationCode.sendDiagnostic, 0x20, 0, 0, 0, 0]).status == .busy)
        store.release()
        #expect(port.execute([OperationCode.sendDiagnostic, 0x20, 0, 0, 0, 0]).status == .good)
    }

    @Test("What was kept and fits no page, or changes what may not change, is left alone")
    func foreign() {
        let store = ParameterStore([
            KeptParameter(.modePage, 0x0A00): [0x06, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            KeptParameter(.modePage, 0x0800): [1], KeptParameter(.modePage, 0x3E3E): [1, 2, 3],
            KeptParameter(.logCounters): [1, 2, 3],
        ])
        #expect(serve(store).initiator().controlPage() == [0x8A, 10, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test("Where what is kept could not be read, nothing can be saved, and nothing else is kept")
    func unreadable() {
        let port = serve(ParameterStore(isReadable: false)).initiator()
        #expect(port.controlPage()[0] == 0x0A)
        #expect(port.modeSelect(changed, flags: 1).sense == .invalidField(byte: 1, bit: 0))
        #expect(port.maintenanceOut(0x06, [1]).sense == SenseData(.hardwareError, .internalTargetFailure))
        #expect(port.maintenanceIn(0x05).dataIn == [0, 0, 0, 0])
    }

    @Test("Without a keeper nothing can be saved")
    func withoutKeeper() {
        let port = UnitFixture().initiator()
        #expect(port.controlPage()[0] == 0x0A)
        #expect(port.modeSelect(changed, flags: 1).sense == .invalidField(byte: 1, bit: 0))
        #expect(
            port.execute([OperationCode.modeSense6, 0x08, 0xCA, 0, 255, 0]).sense?.additionalSenseCode
                == .savingParametersNotSupported)
        #expect(port.logSense(0x2E, saves: true).sense == .invalidField(byte: 1, bit: 0))
        #expect(port.logSelect(saves: true).sense == .invalidField(byte: 1, bit: 0))
    }
}

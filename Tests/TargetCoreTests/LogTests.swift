import Bytes
import DeviceTestSupport
import SCSI
import TestSupport
import Testing

@testable import TargetCore

@Suite("LOG SENSE and LOG SELECT")
struct LogTests {
    private static let pages: [CommonLogPage] = [
        .writeErrors, .nonMediumErrors, .applicationClient, .selfTestResults, .generalStatistics,
    ]

    private func serve(_ store: ParameterStore? = nil) -> UnitFixture {
        let fixture = UnitFixture()
        fixture.device.commonLogPages = Self.pages
        if let store { fixture.unit.keepParameters(with: store) }
        return fixture
    }

    /// A counter of 8 bytes.
    private func counter(_ port: InMemoryPort, _ page: UInt8, _ code: UInt16, control: UInt8 = 1) -> UInt64? {
        let value = logParameters(port.logSense(page, control: control).dataIn)[code]?.value
        return value?.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// A failed command that is the host's fault.
    private func fail(_ fixture: UnitFixture, _ port: InMemoryPort) {
        fixture.device.selfTestFailure = SenseData(.hardwareError, .internalTargetFailure)
        _ = port.execute([OperationCode.sendDiagnostic, 0x04, 0, 0, 0, 0])
        fixture.device.selfTestFailure = nil
    }

    @Test("The lists of pages and subpages have what is there, in order, and themselves")
    func lists() {
        let port = serve().initiator()
        let codes: [UInt8] = [0x00, 0x02, 0x06, 0x0F, 0x10, 0x19, 0x2E]
        #expect(port.logSense(0).dataIn == [0, 0, 0, 7] + codes)
        let all = codes.flatMap { code -> [UInt8] in [code, 0x00, code, 0xFF] }
        #expect(port.logSense(0, subpage: 0xFF).dataIn == [0x40, 0xFF, 0, UInt8(all.count)] + all)
        #expect(port.logSense(0x19, subpage: 0xFF).dataIn == [0x59, 0xFF, 0, 4, 0x19, 0, 0x19, 0xFF])
        #expect(port.logSense(0x03).sense == .invalidField(byte: 2, bit: 5))
        #expect(port.logSense(0x02, subpage: 1).sense == .invalidField(byte: 3))
        #expect(port.logSense(0x03, subpage: 0xFF).sense == .invalidField(byte: 2, bit: 5))
        #expect(port.logSense(0, pointer: 1).sense == .invalidField(byte: 5))
        for code in codes.dropFirst() {
            let page = port.logSense(code).dataIn
            #expect(page[0] == code && page[1] == 0 && Int(page.rawSpan.loadBE16(at: 2)) == page.count - 4)
        }
    }

    @Test("Page control: counts, their beginning, and thresholds, which no count reaches; lists stay as they are")
    func pageControl() {
        let fixture = serve()
        let port = fixture.initiator()
        fail(fixture, port)
        #expect(counter(port, 0x06, 0) == 1)
        #expect(counter(port, 0x06, 0, control: 3) == 0)
        #expect(counter(port, 0x06, 0, control: 0) == .max && counter(port, 0x06, 0, control: 2) == .max)
        #expect(logParameters(port.logSense(0x06).dataIn)[0]?.control == 0x20)
        for control in UInt8(0)...3 {
            #expect(port.logSense(0x10, control: control).dataIn == port.logSense(0x10).dataIn)
            #expect(
                port.logSense(0x2E, control: control).dataIn == [0x2E, 0, 0, 15]
                    + (UInt8(1)...3).flatMap {
                        [0, $0, 3, 1, 1]
                    })
        }
        #expect(port.logSense(0x02, pointer: 5).dataIn.prefix(6) == [0x02, 0, 0, 24, 0, 5])
        #expect(port.logSense(0x02, pointer: 7).sense == .invalidField(byte: 5))
    }

    @Test("A count that is older than a reset is zero, and so is a saved value that cannot be")
    func clamped() {
        let logs = UnitLogs()
        let counts = [UInt64](repeating: 10, count: LogCounter.allCases.count)
        logs.reset([.readErrors], counts)
        let values = logs.values(counts.map { $0 - 1 })
        #expect(values[LogCounter.readErrors.rawValue] == 0 && values[LogCounter.writeErrors.rawValue] == 9)
        logs.restore(UnitLogs.saved([.max] + counts.dropFirst()))
        #expect(logs.values(counts.map { _ in 0 }) == [0] + counts.dropFirst())
    }

    @Test("Counters go back to zero, of one page, all its subpages or all pages, and the others learn of that")
    func reset() {
        let fixture = serve()
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        for reset: () -> CommandResult in [
            { port.logSelect(code: 0x06, resets: true) }, { port.logSelect(code: 0x06, control: 3) },
            { port.logSelect(code: 0x06, subpage: 0xFF, resets: true) }, { port.logSelect(resets: true) },
        ] {
            fail(fixture, port)
            #expect(counter(port, 0x06, 0) == 1)
            // Neither of these does anything.
            #expect(port.logSelect(code: 0x06).status == .good && port.logSelect(control: 2).status == .good)
            #expect(port.logSelect(code: 0x02, resets: true).status == .good && counter(port, 0x06, 0) == 1)
            other.clearUnitAttentions()
            #expect(reset().status == .good && counter(port, 0x06, 0) == 0)
            #expect(other.clearUnitAttentions() == [.logParametersChanged] && port.clearUnitAttentions() == [])
        }
        #expect(port.logSelect(code: 0x03, resets: true).sense == .invalidField(byte: 2, bit: 5))
        #expect(port.logSelect(code: 0x06, subpage: 1, resets: true).sense == .invalidField(byte: 3))
    }

    @Test("Counters that are saved by LOG SELECT or LOG SENSE go on after a restart, as they were then")
    func saved() {
        let store = ParameterStore()
        let fixture = serve(store)
        let port = fixture.initiator()
        fail(fixture, port)
        fail(fixture, port)
        #expect(port.logSense(0x06, saves: true).status == .good)
        fail(fixture, port)
        #expect(counter(port, 0x06, 0) == 3)
        let again = serve(ParameterStore(store.kept))
        let second = again.initiator()
        #expect(counter(second, 0x06, 0) == 2)
        fail(again, second)
        #expect(counter(second, 0x06, 0) == 3)
        #expect(port.logSelect(code: 0x02, saves: true).status == .good)
        #expect(counter(serve(ParameterStore(store.kept)).initiator(), 0x06, 0) == 2)
        #expect(port.logSelect(saves: true).status == .good)
        #expect(counter(serve(ParameterStore(store.kept)).initiator(), 0x06, 0) == 3)
        #expect(port.logSelect(resets: true, saves: true).status == .good && counter(port, 0x06, 0) == 0)
        #expect(counter(serve(ParameterStore(store.kept)).initiator(), 0x06, 0) == 0)
        // There are no thresholds to save.
        #expect(port.logSelect(control: 0, saves: true).sense == .invalidField(byte: 2, bit: 7))
    }

    @Test("Counters that a later version has saved behind those that there are stay there")
    func laterCounters() throws {
        let later = [UInt8](repeating: 7, count: 12)
        let parameter = KeptParameter(.logCounters)
        let known = [UInt8](repeating: 0, count: LogCounter.allCases.count * 8)
        let store = ParameterStore([parameter: known + later])
        let fixture = serve(store)
        let port = fixture.initiator()
        fail(fixture, port)
        for _ in 0..<2 {
            #expect(port.logSelect(saves: true).status == .good)
            let kept = try #require(store.kept[parameter])
            #expect(kept.count == known.count + later.count && kept.suffix(later.count) == later[...])
        }
        #expect(counter(serve(ParameterStore(store.kept)).initiator(), 0x06, 0) == 1)
    }

    @Test("General statistics count reads and writes alone, and say in what unit their times are")
    func statistics() {
        let port = serve().initiator()
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).status == .good)
        let values = logParameters(port.logSense(0x19).dataIn)
        #expect(values[1]?.value == [UInt8](repeating: 0, count: 64) && values[1]?.control == 0x22)
        // HGST's drives, and sg_logs, have parameter 0002h on every such page.
        #expect(values[2]?.value == [UInt8](repeating: 0, count: 8) && values[2]?.control == 0x22)
        #expect(values[3]?.value == [0, 0, 0, 6, 0, 0, 0, 1])
    }

    // MARK: Application Client

    private func page(_ parameters: [(UInt16, [UInt8])], code: UInt8 = 0x0F) -> [UInt8] {
        var content: [UInt8] = []
        for (code, value) in parameters {
            content.appendBE16(code)
            content += [0x03, UInt8(value.count)] + value
        }
        var bytes: [UInt8] = [code, 0]
        bytes.appendBE16(UInt16(content.count))
        return bytes + content
    }

    /// A value of the length that all parameters have, beginning with these bytes.
    private func value(_ bytes: [UInt8] = []) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: LogicalUnit.ApplicationLog.length - bytes.count)
    }

    /// The whole page: 64 parameters, zero but for these.
    private func wholePage(_ values: [UInt16: [UInt8]] = [:]) -> [UInt8] {
        page((0..<64).map { ($0, value(values[$0] ?? [])) })
    }

    @Test("The Application Client page has its 64 parameters, is written, kept, told to the others, put back to zero")
    func applicationClient() {
        let store = ParameterStore()
        let fixture = serve(store)
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        #expect(port.logSense(0x0F).dataIn == wholePage())
        #expect(port.logSelect(page([(0, value([1, 2])), (0x3F, value([9]))])).status == .good)
        #expect(other.clearUnitAttentions() == [.logParametersChanged])
        let written = wholePage([0: [1, 2], 0x3F: [9]])
        #expect(other.logSense(0x0F).dataIn == written)
        #expect(serve(ParameterStore(store.kept)).initiator().logSense(0x0F).dataIn == written)
        #expect(port.logSelect(page([(0, value())])).status == .good)
        #expect(port.logSense(0x0F).dataIn == wholePage([0x3F: [9]]))
        #expect(logParameters(port.logSense(0x0F, pointer: 0x3E).dataIn).keys.sorted() == [0x3E, 0x3F])
        #expect(port.logSelect(code: 0x0F, resets: true).status == .good)
        #expect(port.logSense(0x0F).dataIn == wholePage() && store.kept.isEmpty)
    }

    @Test("Kept application client parameters that are short are filled, and those that cannot be are left out")
    func keptApplicationClient() {
        let kept: [KeptParameter: [UInt8]] = [
            KeptParameter(.applicationLog, 1): [5], KeptParameter(.applicationLog, 0x40): [6],
            KeptParameter(.applicationLog, 2): [UInt8](repeating: 7, count: 253),
        ]
        #expect(serve(ParameterStore(kept)).initiator().logSense(0x0F).dataIn == wholePage([1: [5]]))
    }

    @Test("Wrong lists are refused where they are wrong, and change nothing")
    func wrongLists() {
        let port = serve().initiator()
        let good = page([(1, value([1, 2, 3])), (2, value([4]))])
        for length in 1..<good.count {
            #expect(port.logSelect(Array(good.prefix(length))).sense?.key == .illegalRequest, "\(length) bytes")
        }
        let parameter = 4 + LogicalUnit.ApplicationLog.length
        let cases: [([UInt8], Int, UInt8?)] = [
            (page([(2, value()), (1, value())]), 4 + parameter, nil),
            (page([(1, value()), (1, value())]), 4 + parameter, nil),
            (page([(0x40, value())]), 4, nil), (page([(0, value() + [0])]), 7, nil), (page([(0, [1])]), 7, nil),
            (page([(0, [1])], code: 0x06), 4, nil), (page([], code: 0x03), 0, 5),
            ([0x0F, 1, 0, 0], 1, nil), ([0x4F, 1, 0, 0], 1, nil),
            // The page ends inside of a parameter.
            ([0x0F, 0, 0, 3, 0, 0, 3], 2, nil), ([0x0F, 0, 0, 5, 0, 0, 3, 0xFC, 1], 2, nil),
            // Pages in descending order.
            (page([], code: 0x10) + good, 4, 5),
        ]
        for (list, byte, bit) in cases {
            #expect(port.logSelect(list).sense == .invalidParameter(byte: byte, bit: bit), "\(list)")
        }
        #expect(port.logSelect([0x0F, 0, 0, 9, 0, 0, 3, 1, 1]).sense?.additionalSenseCode == .parameterListLengthError)
        #expect(port.logSelect(good, resets: true).sense == .invalidField(byte: 1, bit: 1))
        #expect(port.logSelect(good, code: 0x0F).sense == .invalidField(byte: 2, bit: 5))
        #expect(port.logSelect(good, subpage: 1).sense == .invalidField(byte: 3))
        #expect(port.logSense(0x0F).dataIn == wholePage())
    }

    @Test("LOG SELECT never traps on any list", arguments: 0..<32)
    func garbage(seed: Int) {
        let port = serve().initiator()
        var random = SeededRandom(seed: UInt64(seed))
        let pages: [UInt8] = [0x0F, 0x02, 0x06, 0x10]
        let list = (0..<Int.random(in: 1...64, using: &random)).map { index in
            index == 0 ? pages.randomElement(using: &random)! : UInt8.random(in: 0...20, using: &random)
        }
        let result = port.logSelect(list)
        #expect(result.status == .good || result.sense?.key == .illegalRequest)
        // It goes on.
        #expect(port.logSense(0).status == .good)
    }
}

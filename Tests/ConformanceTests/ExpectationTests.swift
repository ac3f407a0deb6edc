import SCSI
import Testing

@testable import Conformance

/// What the tests of device servers judge by must tell right answers from wrong ones, for no device here is wrong.
@Suite("What tests of device servers require")
struct ExpectationTests {
    private func result(_ sense: SenseData, isDescriptorFormat: Bool = false) -> CommandResult {
        var result = CommandResult()
        result.status = .checkCondition
        result.sense = sense
        result.senseBytes = sense.encoded(isDescriptorFormat: isDescriptorFormat)
        return result
    }

    private func end(_ body: () throws -> Void) -> Verdict {
        do {
            try body()
            return .passed
        } catch let end as TestEnd {
            return end.verdict
        } catch {
            return .inconclusive("\(error)")
        }
    }

    private func isFailure(_ verdict: Verdict) -> Bool {
        if case .failed = verdict { true } else { false }
    }

    private func isSkipped(_ verdict: Verdict) -> Bool {
        if case .skipped = verdict { true } else { false }
    }

    @Test("INFORMATION and field pointers are found in both formats", arguments: [false, true])
    func fields(isDescriptorFormat: Bool) {
        var sense = SenseData(.miscompare, .miscompareDuringVerify, information: 300)
        #expect(result(sense, isDescriptorFormat: isDescriptorFormat).information == 300)
        sense.information = nil
        #expect(result(sense, isDescriptorFormat: isDescriptorFormat).information == nil)
        #expect(result(sense, isDescriptorFormat: isDescriptorFormat).fieldPointer == nil)
        let pointer = result(.invalidParameter(byte: 12, bit: 3), isDescriptorFormat: isDescriptorFormat).fieldPointer
        #expect(pointer?.byte == 12)
        #expect(pointer?.isInCommand == false)
    }

    @Test("A field pointer must be right where it is there, and need not be there")
    func pointers() {
        #expect(end { try expectInvalidField(result(.invalidField(byte: 2)), at: [2], "a command") } == .passed)
        let silent = result(SenseData(.illegalRequest, .invalidFieldInCDB))
        #expect(end { try expectInvalidField(silent, at: [2], "a command") } == .passed)
        #expect(isFailure(end { try expectInvalidField(result(.invalidField(byte: 3)), at: [2], "a command") }))
        let wrongPlace = result(
            SenseData(
                .illegalRequest, .invalidFieldInCDB, fieldPointer: FieldPointer(isInCommand: false, byte: 2)))
        #expect(isFailure(end { try expectInvalidField(wrongPlace, at: [2], "a command") }))
        #expect(isFailure(end { try expectInvalidField(CommandResult(), at: [2], "a command") }))
    }

    @Test("Other sense data and other statuses fail; an unknown command is skipped")
    func senses() {
        let unknown = result(SenseData(.illegalRequest, .invalidCommandOperationCode))
        #expect(isSkipped(end { try expectGood(unknown, "a command") }))
        #expect(isSkipped(end { try expectOutOfRange(unknown, "a command") }))
        let outOfRange = result(SenseData(.illegalRequest, .logicalBlockAddressOutOfRange))
        #expect(end { try expectOutOfRange(outOfRange, "a command") } == .passed)
        #expect(isFailure(end { try expectGood(outOfRange, "a command") }))
        #expect(isFailure(end { try expectOutOfRange(result(.invalidField(byte: 1)), "a command") }))
        var busy = CommandResult()
        busy.status = .busy
        #expect(isFailure(end { try expectStatus(busy, .good, "a command") }))
        #expect(end { try expectStatus(busy, .busy, "a command") } == .passed)
    }

    @Test("What was changed is put back whatever comes of the test")
    func restoring() {
        var isRestored = false
        let verdict = end { try ending(with: { isRestored = true }) { throw TestEnd.failed("the rule") } }
        #expect(verdict == .failed("the rule"))
        #expect(isRestored)
        #expect(end { try ending(with: { throw TestEnd.failed("the way back") }) {} } == .failed("the way back"))
    }

    @Test("Mode parameters cut or lengthened at any byte are refused")
    func modeParameters() throws {
        let page: [UInt8] = [0x8A, 10, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        let data: [UInt8] = [0, 18, 0, 0, 0, 0, 0, 0] + page
        let parameters = try ModeParameters(parsing: data, isLong: true)
        #expect(parameters.pages.map(\.code) == [0x0A])
        #expect(parameters.pages.first?.bytes.first == 0x0A)
        #expect(parameters.list(try #require(parameters.pages.first), deviceType: 0).count == 20)
        for length in 0..<data.count {
            #expect(throws: TestEnd.self) { try ModeParameters(parsing: Array(data.prefix(length)), isLong: true) }
        }
        #expect(throws: TestEnd.self) { try ModeParameters(parsing: data + [0], isLong: true) }
        var lying = data
        lying[9] = 11
        #expect(throws: TestEnd.self) { try ModeParameters(parsing: lying, isLong: true) }
        lying = data
        lying[7] = 16
        #expect(throws: TestEnd.self) { try ModeParameters(parsing: lying, isLong: true) }
    }

    @Test("Lists of commands and of target port groups cut at any byte are refused")
    func lists() throws {
        let commands: [UInt8] = [0, 0, 0, 16, 0x12, 0, 0, 0, 0, 0, 0, 6, 0xA3, 0, 0, 0x0C, 0, 1, 0, 12]
        #expect(
            try Wire.listedCommands(commands) == [
                .init(operationCode: 0x12, action: nil, length: 6),
                .init(operationCode: 0xA3, action: 0x0C, length: 12),
            ])
        let groups: [UInt8] = [0, 0, 0, 12, 0x80, 0xCF, 0, 1, 0, 1, 0, 1, 0, 0, 0, 7]
        let found = try Wire.targetPortGroups(in: groups)
        #expect(found.map(\.ports) == [[7]])
        #expect(found.first?.supports(Wire.AccessState.standby) == true)
        #expect(found.first?.supports(4) == false)
        for length in 0..<20 {
            #expect(throws: TestEnd.self) { try Wire.listedCommands(Array(commands.prefix(length))) }
        }
        for length in 0..<16 {
            #expect(throws: TestEnd.self) { try Wire.targetPortGroups(in: Array(groups.prefix(length))) }
        }
    }

    @Test("The guard of protection information is the CRC of the standard")
    func guardTag() {
        // The examples of SBC-4 clause 4.21.4.4, in blocks of 32 bytes.
        #expect(SBCVariableTests.guardTag([UInt8](repeating: 0, count: 32)) == 0)
        #expect(SBCVariableTests.guardTag([UInt8](repeating: 0xFF, count: 32)) == 0xA293)
        #expect(SBCVariableTests.guardTag((0..<32).map { UInt8($0) }) == 0x0224)
    }
}

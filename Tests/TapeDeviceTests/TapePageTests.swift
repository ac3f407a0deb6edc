import Bytes
import DeviceTestSupport
import SCSI
import TargetCore
import Testing

@testable import TapeDevice

@Suite("What the drive says of itself")
struct TapePageTests {
    @Test("INQUIRY and VPD pages")
    func inquiry() throws {
        let fixture = try TapeFixture(capacity: nil)
        let data = fixture.port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).dataIn
        #expect(data[0] == 0x01 && data[1] == 0x80)
        #expect(String(decoding: data[8..<36], as: UTF8.self) == "IBM     ULT3580-TD8     N9M1")
        func page(_ code: UInt8) -> [UInt8] {
            fixture.port.execute([OperationCode.inquiry, 1, code, 0, 255, 0]).dataIn
        }
        #expect(page(0x00) == [1, 0, 0, 8, 0x00, 0x80, 0x83, 0x86, 0x87, 0x88, 0xB0, 0xB1])
        #expect(page(0x80) == [1, 0x80, 0, 10] + Array("1097000001".utf8))
        #expect(page(0xB0) == [1, 0xB0, 0, 2, 1, 0])
        #expect(page(0xB1) == [1, 0xB1, 0, 10] + Array("1097000001".utf8))
    }

    @Test("READ BLOCK LIMITS")
    func blockLimits() throws {
        let fixture = try TapeFixture(capacity: nil)
        fixture.port.clearUnitAttentions()
        #expect(
            fixture.port.execute([OperationCode.readBlockLimits, 0, 0, 0, 0, 0]).dataIn == [0, 0xFF, 0xFF, 0xFF, 0, 1])
        let objects = fixture.port.execute([OperationCode.readBlockLimits, 1, 0, 0, 0, 0]).dataIn
        #expect(objects.count == 20 && objects.rawSpan.loadBE64(at: 12) == UInt64(Int64.max))
    }

    @Test("MODE SENSE as st, tapeinfo and backup software send it")
    func modeSense() throws {
        let fixture = try TapeFixture()
        let port = fixture.port
        // st: page 0, 12 bytes.
        #expect(
            port.execute([OperationCode.modeSense6, 0, 0, 0, 12, 0]).dataIn == [
                11, 0x88, 0x10, 8, 0x5E, 0, 0, 0, 0, 0, 0, 0,
            ])
        let compression = port.execute([OperationCode.modeSense6, 0, 0x0F, 0, 255, 0]).dataIn
        #expect(compression.count == 4 + 8 + 16)
        #expect(Array(compression[12...15]) == [0x0F, 0x0E, 0xC0, 0x80])
        let medium = port.execute([OperationCode.modeSense6, 0, 0x1D, 0, 255, 0]).dataIn
        #expect(medium.count == 4 + 8 + 32)
        #expect(Array(medium[12...14]) == [0x1D, 0x1E, 0])
        let partition = port.execute([OperationCode.modeSense6, 8, 0x11, 0, 255, 0]).dataIn
        #expect(partition == [13, 0x88, 0x10, 0, 0x11, 8, 0, 0, 0x18, 3, 9, 0, 0, 1])
        #expect(port.execute([OperationCode.modeSense6, 8, 0x10, 0, 255, 0]).dataIn.count == 4 + 16)
        let all = port.execute([OperationCode.modeSense10, 0, 0x3F, 0, 0, 0, 0, 4, 0, 0]).dataIn
        #expect(Int(all.rawSpan.loadBE16(at: 0)) == all.count - 2)
        #expect(all.rawSpan.loadBE16(at: 6) == 8)
        #expect(text(port.execute([OperationCode.modeSense6, 0, 0x08, 0, 255, 0])) == "5/2400")
        #expect(text(port.execute([OperationCode.modeSense6, 0, 0xCF, 0, 255, 0])) == "5/3900")
    }

    @Test("MODE SELECT: block length is the nexus's own, buffered mode is everybody's")
    func modeSelect() throws {
        let fixture = try TapeFixture()
        let second = fixture.secondPort()
        second.clearUnitAttentions()
        #expect(text(fixture.setBlockLength(512)) == "good")
        #expect(fixture.port.execute([OperationCode.modeSense6, 0, 0, 0, 12, 0]).dataIn[9...11] == [0, 2, 0])
        #expect(second.execute([OperationCode.modeSense6, 0, 0, 0, 12, 0]).dataIn[9...11] == [0, 0, 0])
        #expect(second.clearUnitAttentions() == [])
        #expect(text(fixture.setBlockLength(512, bufferedMode: 0)) == "good")
        #expect(second.clearUnitAttentions() == [.modeParametersChanged])
        #expect(second.execute([OperationCode.modeSense6, 0, 0, 0, 12, 0]).dataIn[2] == 0x00)
        #expect(text(fixture.setBlockLength(0, bufferedMode: 2)) == "5/2600")
        func select(_ list: [UInt8]) -> String {
            text(fixture.port.execute([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(list.count), 0], dataOut: list))
        }
        // The cartridge's format, the default one, and "no change"; not one that other cartridges have.
        #expect(select([0, 0, 0x10, 8, 0x5E, 0, 0, 0, 0, 0, 0, 0]) == "good")
        #expect(select([0, 0, 0x10, 8, 0x00, 0, 0, 0, 0, 0, 0, 0]) == "good")
        #expect(select([0, 0, 0x10, 8, 0x5C, 0, 0, 0, 0, 0, 0, 0]) == "5/2600")
        #expect(select([0, 0, 0x10, 8, 0x5D, 0, 0, 0, 0, 0, 0, 0]) == "5/2600")
        #expect(select([0, 0, 0x10, 8, 0x7F, 0, 0, 0, 0, 0, 0, 0]) == "good")
        #expect(select([0, 0, 0x10, 8, 0x46, 0, 0, 0, 0, 0, 0, 0]) == "5/2600")
        #expect(select([0, 0, 0x10, 8, 0, 0, 0, 9, 0, 0, 0, 0]) == "5/2600")
        #expect(select([0, 0, 0x10, 8, 0, 0, 0, 0]) == "5/1A00")
        second.logOut()
        #expect(fixture.remove() == .removed(nil))
        #expect(select([0, 0, 0x10, 8, 0x5C, 0, 0, 0, 0, 0, 0, 0]) == "good", "no cartridge contradicts it")
        #expect(select([0, 0, 0x10, 8, 0x46, 0, 0, 0, 0, 0, 0, 0]) == "5/2600")
    }

    @Test("Compression: pages 0Fh and 10h say the same")
    func compression() throws {
        let fixture = try TapeFixture()
        var page = fixture.port.execute([OperationCode.modeSense6, 8, 0x0F, 0, 255, 0]).dataIn
        page[0] = 0
        page[6] &= 0x7F
        #expect(
            text(fixture.port.execute([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(page.count), 0], dataOut: page))
                == "good")
        #expect(fixture.port.execute([OperationCode.modeSense6, 8, 0x10, 0, 255, 0]).dataIn[4 + 14] == 0)
        var configuration = fixture.port.execute([OperationCode.modeSense6, 8, 0x10, 0, 255, 0]).dataIn
        configuration[0] = 0
        configuration[4 + 14] = 1
        let command: [UInt8] = [OperationCode.modeSelect6, 0x10, 0, 0, UInt8(configuration.count), 0]
        #expect(text(fixture.port.execute(command, dataOut: configuration)) == "good")
        #expect(fixture.port.execute([OperationCode.modeSense6, 8, 0x0F, 0, 255, 0]).dataIn[6] == 0xC0)
        configuration[4 + 14] = 2
        #expect(text(fixture.port.execute(command, dataOut: configuration)) == "5/2600")
    }

    @Test("REPORT DENSITY SUPPORT")
    func densities() throws {
        let fixture = try TapeFixture(capacity: 3_000_000, density: 0x5C)
        let all = fixture.port.execute([OperationCode.reportDensitySupport, 0, 0, 0, 0, 0, 0, 4, 0, 0]).dataIn
        #expect(all.count == 4 + 3 * 52 && all.rawSpan.loadBE16(at: 0) == 2 + 3 * 52)
        #expect([all[4], all[56], all[108]] == [0x5C, 0x5D, 0x5E])
        #expect(all[4 + 2] == 0x80 && all[108 + 2] == 0xA0)
        let ultrium8 = Array(all[108...])
        #expect(ultrium8.rawSpan.loadBE24(at: 5) == 20669)
        #expect(ultrium8.rawSpan.loadBE16(at: 8) == 127 && ultrium8.rawSpan.loadBE16(at: 10) == 6656)
        #expect(ultrium8.rawSpan.loadBE32(at: 12) == 12_000_000)
        #expect(String(decoding: ultrium8[16..<32], as: UTF8.self) == "LTO-CVE U-832   ")
        let media = fixture.port.execute([OperationCode.reportDensitySupport, 1, 0, 0, 0, 0, 0, 4, 0, 0]).dataIn
        #expect(media.count == 56 && media[4] == 0x5C && media.rawSpan.loadBE32(at: 4 + 12) == 3)
    }

    @Test("READ POSITION in all forms")
    func positions() throws {
        let fixture = try TapeRuleTests.tape()
        #expect(text(fixture.locate(7)) == "good")
        let short: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]
        #expect(fixture.port.execute([OperationCode.readPosition, 0, 0, 0, 0, 0, 0, 0, 0, 0]).dataIn == short)
        #expect(fixture.port.execute([OperationCode.readPosition, 1, 0, 0, 0, 0, 0, 0, 0, 0]).dataIn == short)
        let long = fixture.port.execute([OperationCode.readPosition, 6, 0, 0, 0, 0, 0, 0, 0, 0]).dataIn
        #expect(long.count == 32 && long[0] == 0)
        #expect(long.rawSpan.loadBE64(at: 8) == 7 && long.rawSpan.loadBE64(at: 16) == 2)
        let extended = fixture.port.execute([OperationCode.readPosition, 8, 0, 0, 0, 0, 0, 0, 32, 0]).dataIn
        #expect(extended.count == 32 && extended.rawSpan.loadBE16(at: 2) == 0x1C)
        #expect(extended.rawSpan.loadBE64(at: 8) == 7)
        #expect(text(fixture.port.execute([OperationCode.readPosition, 7, 0, 0, 0, 0, 0, 0, 0, 0])) == "5/2400")
        #expect(text(fixture.rewind()) == "good")
        #expect(fixture.port.execute([OperationCode.readPosition, 0, 0, 0, 0, 0, 0, 0, 0, 0]).dataIn[0] == 0x80)
    }

    @Test("Saved compression and write protection are there after a restart, equal on both pages")
    func savedPages() throws {
        let store = ParameterStore()
        let first = try TapeFixture()
        first.target.logicalUnits[0]?.keepParameters(with: store)
        func select(_ fixture: TapeFixture, _ page: [UInt8]) -> CommandResult {
            let list: [UInt8] = [0, 0, 0x10, 0] + page
            return fixture.port.execute([OperationCode.modeSelect6, 0x11, 0, 0, UInt8(list.count), 0], dataOut: list)
        }
        func page(_ fixture: TapeFixture, _ code: UInt8, _ control: UInt8 = 0) -> [UInt8] {
            Array(
                fixture.port.execute([OperationCode.modeSense6, 0x08, control << 6 | code, 0, 255, 0]).dataIn.dropFirst(
                    4))
        }
        // DCE zero; SWP one.
        var compression = Array(page(first, 0x0F))
        compression[0] = 0x0F
        compression[2] &= 0x7F
        #expect(text(select(first, compression)) == "good")
        var configuration = page(first, 0x10)
        #expect(configuration[0] == 0x90 && configuration[14] == 0 && page(first, 0x10, 3)[14] == 0)
        configuration[0] = 0x10
        configuration[10] |= 0x04
        #expect(text(select(first, configuration)) == "good")
        let second = try TapeFixture()
        second.target.logicalUnits[0]?.keepParameters(with: ParameterStore(store.kept))
        #expect(page(second, 0x0F)[2] & 0x80 == 0 && page(second, 0x10)[14] == 0 && page(second, 0x10)[10] & 4 != 0)
        #expect(second.write([1]).sense == SenseData(.dataProtect, .softwareWriteProtected))
    }

    @Test("LOG SENSE: TapeAlert, capacity, counters")
    func logs() throws {
        let fixture = try TapeFixture()
        #expect(text(fixture.write([UInt8](repeating: 1, count: 3 << 20))) == "good")
        #expect(
            fixture.port.execute([OperationCode.logSense, 0, 0x40, 0, 0, 0, 0, 1, 0, 0]).dataIn == [
                0, 0, 0, 9, 0, 0x02, 0x03, 0x06, 0x0C, 0x0F, 0x10, 0x2E, 0x31,
            ])
        let errors = fixture.port.execute([OperationCode.logSense, 0, 0x42, 0, 0, 0, 5, 4, 0, 0]).dataIn
        #expect(errors.rawSpan.loadBE64(at: 8) == 3 << 20 && errors.rawSpan.loadBE64(at: 20) == 0)
        let capacity = fixture.port.execute([OperationCode.logSense, 0, 0x71, 0, 0, 0, 0, 1, 0, 0]).dataIn
        #expect(capacity.count == 36 && capacity.rawSpan.loadBE16(at: 2) == 32)
        #expect(capacity.rawSpan.loadBE32(at: 8) == 60 && capacity.rawSpan.loadBE32(at: 24) == 64)
        let alerts = fixture.port.execute([OperationCode.logSense, 0, 0x6E, 0, 0, 0, 0, 4, 0, 0]).dataIn
        #expect(alerts.count == 4 + 64 * 5)
        let counters = fixture.port.execute([OperationCode.logSense, 0, 0x4C, 0, 0, 0, 0, 4, 0, 0]).dataIn
        #expect(counters.rawSpan.loadBE64(at: 8) == 3 << 20)
        // From parameter 100h on.
        let cleaning = fixture.port.execute([OperationCode.logSense, 0, 0x4C, 0, 0, 1, 0, 4, 0, 0]).dataIn
        #expect(cleaning.count == 4 + 12 && cleaning.rawSpan.loadBE16(at: 4) == 0x0100)
    }

    @Test("Attributes of the medium auxiliary memory")
    func attributes() throws {
        let fixture = try TapeFixture()
        func read(_ action: UInt8, from first: UInt16) -> [UInt8] {
            let identifier = [UInt8(first >> 8), UInt8(first & 0xFF)]
            return fixture.port.execute(
                [OperationCode.readAttribute, action, 0, 0, 0, 0, 0, 0] + identifier + [0, 0, 0x80, 0, 0, 0]
            ).dataIn
        }
        func write(_ identifier: UInt16, _ format: UInt8, _ value: String) -> String {
            let attribute: [UInt8] =
                [UInt8(identifier >> 8), UInt8(identifier & 0xFF), format, 0, UInt8(value.utf8.count)]
                + Array(value.utf8)
            let list = [0, 0, 0, UInt8(attribute.count)] + attribute
            let command: [UInt8] = [
                OperationCode.writeAttribute, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, UInt8(list.count), 0, 0,
            ]
            return text(fixture.port.execute(command, dataOut: list))
        }
        let all = read(0, from: 0)
        #expect(all.rawSpan.loadBE32(at: 0) == UInt32(all.count - 4))
        #expect(Array(all[4..<9]) == [0, 0, 0x80, 0, 8])
        #expect(all.rawSpan.loadBE64(at: 9) == 64)
        #expect(Array(read(0, from: 0x0400)[4..<6]) == [0x04, 0x00])
        // Lists are whole, whatever the first identifier says.
        #expect(Array(read(1, from: 0x0400)[4..<8]) == [0x00, 0x00, 0x00, 0x01])
        #expect(read(5, from: 0x0400) == read(5, from: 0))
        #expect(write(0x0801, 1, "backup") == "good")
        #expect(read(0, from: 0x0801) == [0, 0, 0, 11, 0x08, 0x01, 1, 0, 6] + Array("backup".utf8))
        #expect(write(0x0801, 1, "") == "good")
        #expect(write(0x0401, 1, "x") == "5/2600")
        #expect(write(0x0801, 0, "x") == "5/2600")
        #expect(write(0x0800, 1, "too long a vendor") == "5/2600")
        #expect(write(0x0801, 1, "kept") == "good")
        #expect(fixture.remove() == .removed(nil))
        #expect(fixture.insert(TapeFixture.barcode) == nil)
        fixture.port.clearUnitAttentions()
        #expect(read(0, from: 0x0801) == [0, 0, 0, 9, 0x08, 0x01, 1, 0, 4] + Array("kept".utf8))
    }

    @Test("REPORT SUPPORTED OPERATION CODES with the profile's timeouts")
    func supportedCommands() throws {
        let fixture = try TapeFixture(capacity: nil)
        fixture.port.clearUnitAttentions()
        let erase = fixture.port.execute([OperationCode.maintenanceIn, 0x0C, 0x81, 0x19, 0, 0, 0, 0, 1, 0, 0, 0]).dataIn
        #expect(erase[1] == 0x83)
        #expect(erase.rawSpan.loadBE32(at: 4 + 6 + 8) == 54896)
        #expect(
            text(fixture.port.execute([OperationCode.maintenanceIn, 0x0C, 0x80, 0, 0, 0, 0, 0, 16, 0, 0, 0])) == "good")
    }

    @Test("RESERVE keeps others out")
    func reservation() throws {
        let fixture = try TapeFixture()
        let second = fixture.secondPort()
        second.clearUnitAttentions()
        #expect(text(fixture.port.execute([OperationCode.reserve6, 0, 0, 0, 0, 0])) == "good")
        #expect(text(second.execute([OperationCode.rewind, 0, 0, 0, 0, 0])) == "status 24")
        #expect(text(second.execute([OperationCode.release6, 0, 0, 0, 0, 0])) == "good")
        #expect(text(second.execute([OperationCode.rewind, 0, 0, 0, 0, 0])) == "status 24")
        #expect(text(fixture.port.execute([OperationCode.release6, 0, 0, 0, 0, 0])) == "good")
        #expect(text(second.execute([OperationCode.rewind, 0, 0, 0, 0, 0])) == "good")
        second.logOut()
    }
}

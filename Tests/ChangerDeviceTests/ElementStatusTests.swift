import Bytes
import DeviceTestSupport
import SCSI
import Testing

@testable import ChangerDevice

@Suite("READ ELEMENT STATUS and pages (SMC-3)")
struct ElementStatusTests {
    @Test("What passes a persistent reservation is what the tables of SPC and SMC say")
    func reservationTable() throws {
        #expect(ReservationTable.differences(try ChangerFixture().changer.commands) == [])
    }

    @Test("What is performed in which access state of the target port is what SPC says")
    func accessStateTable() throws {
        #expect(AccessStateTable.differences(try ChangerFixture().changer.commands) == [])
    }

    @Test("A page of slots, byte by byte")
    func slots() throws {
        let fixture = try ChangerFixture()
        let report = fixture.status(type: 2, from: 0x401, count: 2).dataIn
        let tag = Array("B00001L8".utf8) + [UInt8](repeating: 0x20, count: 24) + [0, 0, 0, 0]
        let full: [UInt8] = [0x04, 0x01, 0x09, 0, 0, 0, 0, 0, 0, 0x01, 0, 0] + tag + [0, 0, 0, 0]
        let third = Array("C00001L8".utf8) + [UInt8](repeating: 0x20, count: 24) + [0, 0, 0, 0]
        let next: [UInt8] = [0x04, 0x02, 0x09, 0, 0, 0, 0, 0, 0, 0x01, 0, 0] + third + [0, 0, 0, 0]
        #expect(report == [0x04, 0x01, 0, 2, 0, 0, 0, 112, 2, 0x80, 0, 52, 0, 0, 0, 104] + full + next)
        let bare = fixture.status(type: 2, from: 0x403, count: 1, tags: false).dataIn
        #expect(
            bare == [4, 3, 0, 1, 0, 0, 0, 24, 2, 0, 0, 16, 0, 0, 0, 16, 4, 3, 8] + [UInt8](repeating: 0, count: 13))
    }

    @Test("All types in the order of their addresses")
    func allTypes() throws {
        let fixture = try ChangerFixture()
        let report = fixture.status().dataIn
        #expect(report.rawSpan.loadBE16(at: 0) == 1)
        #expect(report.rawSpan.loadBE16(at: 2) == 1 + 2 + 2 + 5)
        #expect(Int(report.rawSpan.loadBE24(at: 5)) == report.count - 8)
        let found = fixture.parse(report)
        #expect(found.keys.sorted() == [1, 0x101, 0x102, 0x300, 0x301, 0x400, 0x401, 0x402, 0x403, 0x404])
        #expect(found[1]?.flags == 0)
        #expect(found[0x101]?.flags == 0x08)
        #expect(found[0x300]?.flags == 0x38)
        #expect(found[0x400] == ChangerFixture.Descriptor(isFull: true, flags: 0x09, label: "A00001L8", source: nil))
    }

    @Test("As mtx asks: each type by its own address and count from page 1Dh")
    func mtx() throws {
        let fixture = try ChangerFixture()
        let page = fixture.port.execute([OperationCode.modeSense6, 0x08, 0x1D, 0, 0x88, 0]).dataIn
        #expect(page == [23, 0, 0, 0, 0x1D, 0x12, 0, 1, 0, 1, 4, 0, 0, 5, 3, 0, 0, 2, 1, 1, 0, 2, 0, 0])
        for (type, address, count) in [(UInt8(2), 0x400, 5), (3, 0x300, 2), (4, 0x101, 2), (1, 1, 1)] {
            let report = fixture.status(type: type, from: address, count: count).dataIn
            #expect(Int(report.rawSpan.loadBE16(at: 2)) == count)
            #expect(report[8] == type)
        }
    }

    @Test("The header tells the whole length, and the report is cut between descriptors")
    func allocation() throws {
        let fixture = try ChangerFixture()
        let whole = fixture.status(type: 2).dataIn
        for length in [0, 4, 8, 15, 16, 67, 68, 100, 119, 120, 275, 276, 500] {
            let result = fixture.status(type: 2, allocation: length).dataIn
            let descriptors = max(0, min(5, (length - 16) / 52))
            let expected = length < 16 ? min(length, 8) : 16 + descriptors * 52
            #expect(result == Array(whole.prefix(expected)), "\(length)")
        }
    }

    @Test("DVCID names the drives, with and without volume tags")
    func identifiers() throws {
        let fixture = try ChangerFixture()
        let designator = [2, 1, 0, 34] + Array("IBM     ULT3580-TD8     1097000002".utf8)
        let bare = fixture.status(type: 4, tags: false, identifiers: true).dataIn
        #expect(bare.rawSpan.loadBE16(at: 10) == 16 + 34)
        #expect(Array(bare.suffix(38)) == designator)
        let tagged = fixture.status(type: 4, identifiers: true).dataIn
        #expect(tagged.rawSpan.loadBE16(at: 10) == 52 + 34)
        #expect(Array(tagged.suffix(38)) == designator)
        // Other elements have none, and the field stays.
        #expect(fixture.status(type: 2, count: 1, tags: false, identifiers: true).dataIn.count == 8 + 8 + 16)
    }

    @Test("Limits of addresses and counts")
    func limits() throws {
        let fixture = try ChangerFixture(mailSlotCount: 0)
        #expect(text(fixture.status(from: 0x405)) == "5/2101")
        #expect(text(fixture.status(type: 5)) == "5/2400")
        #expect(fixture.status(type: 3).dataIn == [0, 0, 0, 0, 0, 0, 0, 0])
        #expect(fixture.status(count: 0).dataIn == [0, 0, 0, 0, 0, 0, 0, 0])
        let four = fixture.status(count: 4).dataIn
        #expect(fixture.parse(four).keys.sorted() == [1, 0x101, 0x102, 0x400])
        #expect(
            text(fixture.port.execute([OperationCode.readElementStatus, 0x10, 0, 0, 0, 1, 3, 0, 1, 0, 0, 0])) == "good")
        #expect(
            text(fixture.port.execute([OperationCode.readElementStatus, 0x30, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0]))
                == "5/2400")
    }

    @Test("INQUIRY, mode and log pages")
    func pages() throws {
        let fixture = try ChangerFixture()
        let inquiry = fixture.port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).dataIn
        #expect(inquiry[0] == 0x08 && inquiry[1] == 0x80 && inquiry[6] == 0x20)
        #expect(String(decoding: inquiry[8..<36], as: UTF8.self) == "IBM     03584L32        D940")
        // As IBM's reference has them: plant of manufacture, serial number of the device, "00", reserved.
        #expect(String(decoding: inquiry[36..<52], as: UTF8.self) == "1300000001340000")
        #expect(inquiry[52..<56] == [0, 0, 0, 0])
        // Both have the address of the first storage element behind the serial number.
        let serial = Array("0000000134000400".utf8)
        func page(_ code: UInt8) -> [UInt8] {
            fixture.port.execute([OperationCode.inquiry, 1, code, 0, 255, 0]).dataIn
        }
        #expect(page(0x80) == [8, 0x80, 0, 16] + serial)
        #expect(Array(page(0x83)[16..<60]) == [2, 1, 0, 40] + Array("IBM     03584L32        ".utf8) + serial)
        let capabilities = fixture.port.execute([OperationCode.modeSense6, 8, 0x1F, 0, 255, 0]).dataIn
        #expect(
            Array(capabilities[4...])
                == [0x1F, 0x12, 0x0E, 0, 0, 14, 14, 14, 0, 0, 0, 0, 0, 14, 14, 14, 0, 0, 0, 0])
        #expect(
            Array(fixture.port.execute([OperationCode.modeSense6, 8, 0x1E, 0, 255, 0]).dataIn[4...]) == [0x1E, 2, 0, 0])
        #expect(text(fixture.port.execute([OperationCode.modeSense6, 0, 0x3F, 0, 255, 0])) == "good")
        #expect(
            fixture.port.execute([OperationCode.logSense, 0, 0x6E, 0, 0, 0, 0, 4, 0, 0]).dataIn.count == 4 + 64 * 5)
        #expect(text(fixture.port.execute([OperationCode.initializeElementStatus, 0, 0, 0, 0, 0])) == "good")
        #expect(
            text(fixture.port.execute([OperationCode.initializeElementStatusWithRange, 1, 4, 0, 0, 0, 0, 2, 0, 0]))
                == "good")
        #expect(
            text(fixture.port.execute([OperationCode.initializeElementStatusWithRange, 1, 5, 0, 0, 0, 0, 2, 0, 0]))
                == "5/2101")
        #expect(text(fixture.port.execute([OperationCode.positionToElement, 0, 0, 0, 4, 0, 0, 0, 0, 0])) == "good")
        #expect(text(fixture.port.execute([OperationCode.positionToElement, 0, 0, 0, 5, 0, 0, 0, 0, 0])) == "5/2101")
        let move = fixture.port.execute([OperationCode.maintenanceIn, 0x0C, 0x81, 0xA5, 0, 0, 0, 0, 1, 0, 0, 0]).dataIn
        #expect(move.rawSpan.loadBE32(at: 4 + 12 + 8) == 900)
    }
}

import Bytes
import DeviceTestSupport
import SCSI
import TargetCore
import Testing

@Suite("INQUIRY, mode pages, supported commands")
struct SelfDescriptionTests {
    @Test("Standard INQUIRY data: layout, and truncation by the allocation length")
    func inquiry() throws {
        let port = UnitFixture().initiator()
        let data = port.execute([OperationCode.inquiry, 0, 0, 0, 255, 0]).dataIn
        #expect(data.count == 96)
        #expect(Array(data.prefix(8)) == [0x00, 0x80, 0x06, 0x22, 91, 0x30, 0, 0x02])
        #expect(String(decoding: data[8..<32], as: UTF8.self) == "CAROUSELEXAMPLE         ")
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 5, 0]).dataIn == Array(data.prefix(5)))
        #expect(port.execute([OperationCode.inquiry, 0, 0x80, 0, 255, 0]).sense?.fieldPointer?.byte == 2)
    }

    @Test("VPD pages: sorted list, serial number, designators; others are refused")
    func vitalProductData() throws {
        let port = UnitFixture().initiator()
        #expect(
            port.execute([OperationCode.inquiry, 1, 0, 0, 255, 0]).dataIn
                == [0, 0, 0, 6, 0x00, 0x80, 0x83, 0x86, 0x87, 0x88])
        #expect(
            port.execute([OperationCode.inquiry, 1, 0x80, 0, 255, 0]).dataIn == [0, 0x80, 0, 6] + Array("EX0001".utf8))
        let designators = port.execute([OperationCode.inquiry, 1, 0x83, 2, 0, 0]).dataIn
        #expect(Array(designators[4..<16]) == [0x01, 0x03, 0, 8, 0x30, 0, 0, 0, 0, 0, 0, 1])
        #expect(Int(designators[2]) << 8 | Int(designators[3]) == designators.count - 4)
        #expect(
            port.execute([OperationCode.inquiry, 1, 0xC0, 0, 255, 0]).sense?.additionalSenseCode == .invalidFieldInCDB)
    }

    @Test("Extended INQUIRY Data, Mode Page Policy and SCSI Ports say what is true")
    func otherPages() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        func page(_ port: InMemoryPort, _ code: UInt8) -> [UInt8] {
            port.execute([OperationCode.inquiry, 1, code, 1, 0, 0]).dataIn
        }
        let extended = page(port, 0x86)
        #expect(Array(extended.prefix(14)) == [0, 0x86, 0, 0x3C, 0, 0x0F, 0, 0, 0x08, 0, 0, 0, 0, 252])
        #expect(extended.count == 64 && extended.dropFirst(14).allSatisfy { $0 == 0 })
        #expect(
            page(port, 0x87) == [0, 0x87, 0, 12, 0x08, 0, 0, 0, 0x0A, 0, 0, 0, 0x0A, 1, 0, 0])
        // Each port with its name, the one that is used and another that the target has.
        let second = InMemoryPort(
            "iqn.2026-11.test:b", target: fixture.target, reactor: fixture.reactor, portIdentifier: 2, of: [2, 1])
        let names = (1...2).map { Array("\(fixture.target.name),t,0x000\($0)\0".utf8) }
        let padding = [UInt8](repeating: 0, count: (4 - names[0].count % 4) % 4)
        let length = UInt8(names[0].count + padding.count)
        var ports: [UInt8] = []
        for (index, name) in names.enumerated() {
            ports += [0, 0, 0, UInt8(index + 1), 0, 0, 0, 0, 0, 0, 0, length + 4, 0x53, 0x98, 0, length]
            ports += name + padding
        }
        #expect(page(second, 0x88) == [0, 0x88, 0, UInt8(ports.count)] + ports)
        #expect(page(port, 0x88).count == 4 + ports.count / 2)
        #expect(port.execute([OperationCode.inquiry, 1, 0x8A, 0, 255, 0]).sense?.fieldPointer?.byte == 2)
    }

    @Test("Of more ports than the SCSI Ports page lists, it lists those of the lowest identifiers")
    func manyPorts() {
        let fixture = UnitFixture()
        // As many as are listed, and two more.
        let (most, identifiers) = (UInt16(128), (UInt16(1)...130).reversed())
        let port = InMemoryPort(
            "iqn.2026-11.test:a", target: fixture.target, reactor: fixture.reactor, portIdentifier: 1,
            of: Array(identifiers))
        port.clearUnitAttentions()
        let page = port.execute([OperationCode.inquiry, 1, 0x88, 0xFF, 0xFF, 0]).dataIn
        #expect(Int(page.rawSpan.loadBE16(at: 2)) == page.count - 4)
        var listed: [UInt16] = []
        var offset = 4
        while offset + 12 <= page.count {
            listed.append(page.rawSpan.loadBE16(at: offset + 2))
            offset += 12 + Int(page.rawSpan.loadBE16(at: offset + 10))
        }
        #expect(offset == page.count && listed == Array(1...most))
    }

    @Test("MODE SENSE gives the same page alone and among all; subpages only when asked for")
    func modeSense() throws {
        let port = UnitFixture().initiator()
        let alone = port.execute([OperationCode.modeSense6, 0x08, 0x0A, 0, 255, 0]).dataIn
        #expect(alone == [15, 0, 0, 0, 0x0A, 10, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        let all = port.execute([OperationCode.modeSense6, 0x08, 0x3F, 0, 255, 0]).dataIn
        #expect(all.count == 4 + 20 + 12)
        #expect(Array(all[24...]) == Array(alone[4...]))
        let withSubpages = port.execute([OperationCode.modeSense10, 0x08, 0x3F, 0xFF, 0, 0, 0, 1, 0, 0]).dataIn
        #expect(withSubpages.count == 8 + 20 + 12 + 8)
        #expect(Array(withSubpages.suffix(8)) == [0x4A, 0x01, 0, 4, 0, 1, 2, 3])
        #expect(
            port.execute([OperationCode.modeSense6, 0, 0xCA, 0, 255, 0]).sense?.additionalSenseCode
                == .savingParametersNotSupported)
        #expect(port.execute([OperationCode.modeSense6, 0, 0x1C, 0, 255, 0]).sense?.fieldPointer?.byte == 2)
        #expect(port.execute([OperationCode.modeSense6, 0x08, 0x4A, 0, 255, 0]).dataIn[6] == 0x04)
    }

    @Test("MODE SELECT changes what may change, tells the others, and refuses the rest whole")
    func modeSelect() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator("iqn.2026-11.test:a")
        let other = fixture.initiator("iqn.2026-11.test:b")
        let page: [UInt8] = [0, 0, 0, 0, 0x0A, 10, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        #expect(port.execute([OperationCode.modeSelect6, 0x10, 0, 0, 16, 0], dataOut: page).status == .good)
        #expect(port.execute([OperationCode.modeSense6, 0x08, 0x0A, 0, 255, 0]).dataIn[6] == 0x06)
        #expect(port.clearUnitAttentions() == [])
        #expect(other.clearUnitAttentions() == [.modeParametersChanged])
        var wrong = page
        wrong[7] = 1
        let sense = try #require(port.execute([OperationCode.modeSelect6, 0x10, 0, 0, 16, 0], dataOut: wrong).sense)
        #expect(sense.additionalSenseCode == .invalidFieldInParameterList)
        #expect(sense.fieldPointer == FieldPointer(isInCommand: false, byte: 7, bit: 0))
        let cut = port.execute([OperationCode.modeSelect6, 0x10, 0, 0, 10, 0], dataOut: Array(page.prefix(10)))
        #expect(cut.sense?.additionalSenseCode == .parameterListLengthError)
        #expect(
            port.execute([OperationCode.modeSelect6, 0x11, 0, 0, 16, 0], dataOut: page).sense?.fieldPointer?.bit == 0)
    }

    @Test("MODE SELECT never traps on any list", arguments: 0..<64)
    func modeSelectGarbage(seed: Int) throws {
        let port = UnitFixture().initiator()
        var random = SystemRandomNumberGenerator()
        let list = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        let long = port.execute(
            [OperationCode.modeSelect10, 0x10, 0, 0, 0, 0, 0, 0, UInt8(list.count), 0], dataOut: list)
        #expect(long.status == .good || long.sense?.key == .illegalRequest)
        let short = port.execute([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(list.count), 0], dataOut: list)
        #expect(short.status == .good || short.sense?.key == .illegalRequest)
    }

    @Test("Every command that is listed is known, and its usage data begins with its operation code")
    func supportedOperationCodes() throws {
        let port = UnitFixture().initiator()
        let list = port.execute([OperationCode.maintenanceIn, 0x0C, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0]).dataIn
        let length = Int(list.rawSpan.loadBE32(at: 0))
        #expect(length == list.count - 4)
        #expect(length % 8 == 0 && length > 0)
        for offset in stride(from: 4, to: list.count, by: 8) {
            let operationCode = list[offset]
            let serviceAction = list.rawSpan.loadBE16(at: offset + 2)
            let hasServiceAction = list[offset + 5] & 1 != 0
            let one = port.execute([
                OperationCode.maintenanceIn, 0x0C, hasServiceAction ? 0x82 : 0x81, operationCode,
                UInt8(serviceAction >> 8),
                UInt8(serviceAction & 0xFF), 0, 0, 1, 0, 0, 0,
            ]).dataIn
            #expect(one[1] == 0x83)
            #expect(one[4] == operationCode)
            let usageLength = Int(one.rawSpan.loadBE16(at: 2))
            #expect(one.count == 4 + usageLength + 12)
            #expect(usageLength == CommandDescriptorBlock.length(ofOperationCode: operationCode) ?? 6)
        }
        #expect(
            port.execute([OperationCode.maintenanceIn, 0x0C, 0x01, 0xFE, 0, 0, 0, 0, 1, 0, 0, 0]).dataIn[1] == 0x01)
        #expect(
            port.execute([OperationCode.maintenanceIn, 0x0C, 0x01, 0xA3, 0, 0, 0, 0, 1, 0, 0, 0]).sense?.fieldPointer?
                .byte == 2)
    }

    @Test("LOG SENSE lists its pages, and refuses others")
    func logSense() throws {
        let port = UnitFixture().initiator()
        #expect(
            port.execute([OperationCode.logSense, 0, 0x40, 0, 0, 0, 0, 0, 255, 0]).dataIn == [0, 0, 0, 2, 0, 0x2E])
        #expect(port.execute([OperationCode.logSense, 0, 0x42, 0, 0, 0, 0, 0, 255, 0]).sense?.fieldPointer?.byte == 2)
    }
}

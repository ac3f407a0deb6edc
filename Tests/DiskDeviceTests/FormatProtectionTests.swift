import Bytes
import DeviceTestSupport
import Foundation
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice
@testable import Media

/// FORMAT UNIT that asks for a type of protection information.
enum FormatCDB {
    /// Without a parameter list; type 3 needs one.
    static func command(_ type: ProtectionType?) -> [UInt8] {
        [OperationCode.formatUnit, 0x10 | fmtpinfo(type), 0, 0, 0, 0]
    }

    static func list(_ type: ProtectionType?, isImmediate: Bool = false) -> [UInt8] {
        [type == .type3 ? 1 : 0, isImmediate ? 0x02 : 0, 0, 0]
    }

    private static func fmtpinfo(_ type: ProtectionType?) -> UInt8 {
        switch type {
        case nil: 0
        case .type1: 0x80
        case .type2, .type3: 0xC0
        }
    }
}

extension DiskInitiator {
    /// Formats to that type.
    func format(_ type: ProtectionType?) -> CommandResult {
        execute(FormatCDB.command(type), dataOut: FormatCDB.list(type))
    }

    /// What the disk says of its type, in four places: PROTECT, P_TYPE and PROT_EN, SPT, ATO.
    var toldProtection: [UInt8] {
        [
            execute([0x12, 0, 0, 0, 96, 0]).dataIn[5] & 1,
            execute(CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 32, flags: 0x10)).dataIn[12],
            execute([0x12, 1, 0x86, 0, 64, 0]).dataIn[4], execute([0x1A, 8, 0x0A, 0, 64, 0]).dataIn[9],
        ]
    }

    /// Whether REPORT SUPPORTED OPERATION CODES lists READ(32), and WRITE ATOMIC(16).
    var toldCommands: [Bool] {
        [[0xA3, 0x0C, 0x02, 0x7F, 0x00, 0x09], [0xA3, 0x0C, 0x01, 0x9C, 0, 0]].map {
            execute($0 + [0, 0, 0, 64, 0, 0]).dataIn[1] & 7 == 3
        }
    }

    /// MAXIMUM ATOMIC TRANSFER LENGTH.
    var toldAtomicLength: UInt32 { execute([0x12, 1, 0xB0, 0, 64, 0]).dataIn.rawSpan.loadBE32(at: 44) }
}

@Suite("FORMAT UNIT to another type of protection information")
struct FormatProtectionTests {
    private static let types: [ProtectionType?] = [nil, .type1, .type2, .type3]
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]

    /// What a disk of that type says.
    private func told(_ type: ProtectionType?) -> [UInt8] {
        switch type {
        case nil: [0, 0, 0, 0]
        case .type1: [1, 1, 0x07, 0x80]
        case .type2: [1, 3, 0x17, 0x80]
        case .type3: [1, 5, 0x27, 0x80]
        }
    }

    @Test("every type becomes every other, and everything that names the type says so, also after a restart")
    func everyType() throws {
        for former in Self.types {
            for type in Self.types where type != former {
                let fixture = try DiskFixture(blocks: 64, protection: former, changesProtection: true)
                let port = fixture.initiator()
                port.write(5, [UInt8](repeating: 7, count: 512))
                #expect(port.toldProtection == told(former))
                #expect(port.format(type).status == .good, "\(former as Any) to \(type as Any)")
                #expect(port.toldProtection == told(type))
                #expect(port.toldCommands == [type == nil || type == .type2, type == nil])
                #expect((port.toldAtomicLength != 0) == (type == nil))
                #expect(port.read(5, 1) == [UInt8](repeating: 0, count: 512))
                try use(port, type)
                #expect(FileManager.default.fileExists(atPath: fixture.path + ".pi") == (type != nil))
                #expect(fixture.unit.close() == nil)
                let notes = RawDiskImage.ProtectionNotes(try File.open(path: fixture.path))
                #expect(notes.unsettled == nil && (notes.identity != nil || type == nil))
                #expect(try RawDiskImage.protection(ofImage: fixture.path)?.type == type)
                guard let type else { continue }
                let file = try ProtectionFile.open(
                    imagePath: fixture.path, [type], blockSize: 512, capacity: 64 * 512, identity: notes.identity)
                #expect(!file.regions.hasSuspects)
            }
        }
    }

    /// Writes and reads a block with its protection information, where there is some.
    private func use(_ port: DiskInitiator, _ type: ProtectionType?) throws {
        let sent = ProtectedBlocks([UInt8](repeating: 9, count: 512), first: 5)
        switch type {
        case nil:
            #expect(
                port.sense(CDB.ten(OperationCode.read10, lba: 5, count: 1, flags: 0x20)) == invalidField(1, bit: 5))
            #expect(
                port.execute(
                    CDB.sixteen(OperationCode.writeAtomic16, lba: 5, count: 1),
                    dataOut: [UInt8](repeating: 9, count: 512)
                ).status == .good)
        case .type1, .type3:
            #expect(
                port.execute(
                    CDB.ten(OperationCode.write10, lba: 5, count: 1, flags: 0x20), dataOut: sent.bytes
                ).status == .good)
            let read = port.execute(CDB.ten(OperationCode.read10, lba: 5, count: 1, flags: 0x20))
            #expect(read.dataIn == sent.bytes)
        case .type2:
            #expect(
                port.execute(
                    CDB.thirtyTwo(0x000B, lba: 5, count: 1, flags: 0x20, reference: 5), dataOut: sent.bytes
                ).status == .good)
            let read = port.execute(CDB.thirtyTwo(0x0009, lba: 5, count: 1, flags: 0x20, reference: 5))
            #expect(read.dataIn == sent.bytes)
        }
    }

    @Test("other nexuses are told of INQUIRY, capacity and mode data; who has asked for it is not")
    func attentions() throws {
        let fixture = try DiskFixture(blocks: 64, changesProtection: true)
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor))
        #expect(port.format(.type1).status == .good)
        #expect(port.execute(testUnitReady).status == .good)
        let told = Set(other.port.clearUnitAttentions())
        #expect(told == [.inquiryDataHasChanged, .capacityDataHasChanged, .modeParametersChanged])
        #expect(other.format(.type3).status == .good)
        #expect(other.execute(testUnitReady).status == .good)
        #expect(Set(port.port.clearUnitAttentions()) == [.inquiryDataHasChanged, .capacityDataHasChanged])
        // The same type changes nothing.
        #expect(other.format(.type3).status == .good)
        #expect(port.execute(testUnitReady).status == .good)
    }

    @Test("what initiators have set in the Control mode page stays, without DPICZ where there is nothing to check")
    func modePage() throws {
        let fixture = try DiskFixture(blocks: 64, protection: .type1, changesProtection: true)
        let port = fixture.initiator()
        var page = Array(port.execute([0x1A, 8, 0x0A, 0, 64, 0]).dataIn[4...])
        page[0] &= 0x3F
        page[2] |= 0x0C
        #expect(port.execute([0x15, 0x10, 0, 0, 16, 0], dataOut: [0, 0, 0, 0] + page).status == .good)
        #expect(fixture.unit.isProtectionIgnored)
        #expect(port.format(nil).status == .good)
        #expect(!fixture.unit.isProtectionIgnored)
        #expect(port.execute([0x1A, 8, 0x0A, 0, 64, 0]).dataIn[6] == 0x24)
    }

    @Test("while it goes on the disk is being formatted and says what it was; with IMMED too")
    func immediate() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(blocks: 64, engine: engine, changesProtection: true)
        let port = fixture.initiator()
        engine.hold()
        let outcome = port.submit(
            FormatCDB.command(.type1), dataOut: FormatCDB.list(.type1, isImmediate: true)
        ).outcome
        fixture.settle()
        engine.step()
        #expect(outcome.wait().status == .good)
        let sense = port.sense(testUnitReady)
        #expect(sense?.key == .notReady && sense?.additionalSenseCode == .formatInProgress && sense?.progress == 0)
        #expect(port.execute([0x12, 0, 0, 0, 96, 0]).dataIn[5] & 1 == 0)
        engine.release()
        port.waitForOperation()
        #expect(port.toldProtection == told(.type1))
    }

    @Test("a command that waits for the end of the operation is processed as the disk is then")
    func ordered() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(blocks: 64, engine: engine, changesProtection: true)
        let port = fixture.initiator()
        engine.hold()
        let format = Outcome()
        port.port.submit(
            FormatCDB.command(.type1), attribute: .ordered, dataOut: FormatCDB.list(.type1)
        ) { format.set($0) }
        let read = port.submit(CDB.ten(OperationCode.read10, lba: 5, count: 1, flags: 0x20)).outcome
        let atomic = port.submit(
            CDB.sixteen(OperationCode.writeAtomic16, lba: 5, count: 1), dataOut: [UInt8](repeating: 9, count: 512)
        ).outcome
        fixture.settle()
        engine.release()
        #expect(format.wait().status == .good)
        #expect(read.wait().dataIn == [UInt8](repeating: 0, count: 512) + [UInt8](repeating: 0xFF, count: 8))
        #expect(atomic.wait().sense?.additionalSenseCode == .invalidCommandOperationCode)
    }

    @Test("data with protection information that come when the disk was formatted to another type change nothing")
    func lateData() throws {
        for (command, length) in [
            (CDB.ten(OperationCode.write10, lba: 5, count: 1, flags: 0x20), 520),
            (CDB.ten(OperationCode.verify10, lba: 5, count: 1, flags: 0x22), 520),
        ] {
            for type in [nil, ProtectionType.type3] {
                let fixture = try DiskFixture(blocks: 64, protection: .type1, changesProtection: true)
                let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
                port.port.onReactor { port.port.withholdsDataOut = true }
                let late = port.submit(command, dataOut: [UInt8](repeating: 7, count: length))
                fixture.settle()
                #expect(other.format(type).status == .good)
                port.port.sendDataOut(late.slot)
                #expect(late.outcome.wait().sense == SenseData(.unitAttention, .inquiryDataHasChanged))
                #expect(other.read(5, 1) == [UInt8](repeating: 0, count: 512))
            }
        }
    }

    @Test("a disk whose type does not change refuses another one, and so does one where there is no place for the file")
    func refusals() throws {
        let fixed = try DiskFixture(blocks: 64)
        let fixedPort = fixed.initiator()
        fixedPort.write(5, [UInt8](repeating: 7, count: 512))
        for (flags, bit) in [(0x40, 6), (0x80, 7), (0xC0, 7)] as [(UInt8, UInt8)] {
            #expect(fixedPort.sense([0x04, flags, 0, 0, 0, 0]) == invalidField(1, bit: bit))
        }
        #expect(fixedPort.execute([0xA3, 0x0C, 0x01, 0x04, 0, 0, 0, 0, 0, 64, 0, 0]).dataIn[5] == 0x3F)
        let fixture = try DiskFixture(blocks: 64, changesProtection: true)
        let port = fixture.initiator()
        port.write(5, [UInt8](repeating: 7, count: 512))
        #expect(port.execute([0xA3, 0x0C, 0x01, 0x04, 0, 0, 0, 0, 0, 64, 0, 0]).dataIn[5] == 0xFF)
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: fixture.path + ".pi"))
        for (flags, bit) in [(0x40, 6), (0x80, 7), (0xC0, 7)] as [(UInt8, UInt8)] {
            #expect(port.sense([0x04, flags, 0, 0, 0, 0]) == invalidField(1, bit: bit))
        }
        #expect(port.sense(FormatCDB.command(.type1), dataOut: [1, 0, 0, 0]) == invalidParameter(0, bit: 2))
        #expect(port.execute(testUnitReady).status == .good)
        #expect(port.read(5, 1) == [UInt8](repeating: 7, count: 512))
        #expect(try Data(contentsOf: URL(fileURLWithPath: fixture.path + ".pi")) == Data([1, 2, 3]))
        #expect(port.format(nil).status == .good)
    }

    @Test("the file of another disk that has come into the place of the own one is not removed")
    func replaced() throws {
        let fixture = try DiskFixture(blocks: 64, protection: .type1, changesProtection: true)
        let port = fixture.initiator()
        let file = URL(fileURLWithPath: fixture.path + ".pi")
        let own = try Data(contentsOf: file)
        try FileManager.default.removeItem(at: file)
        try own.write(to: file)
        for type in [nil, ProtectionType.type2] {
            #expect(
                port.execute(FormatCDB.command(type), dataOut: FormatCDB.list(type)).sense == invalidField(1, bit: 7))
        }
        #expect(try Data(contentsOf: file) == own)
        #expect(port.toldProtection == told(.type1))
    }
}

import Bytes
import DeviceTestSupport
import Foundation
import SCSI
import Testing

@testable import TapeDevice

/// One command on the tape that `TapeRuleTests.tape` describes, and what must come of it.
struct TapeRule: Sendable, CustomTestStringConvertible {
    let name: String
    /// The object number of the position before.
    let start: UInt64
    /// The nexus's block length.
    var blockLength = 0
    let command: [UInt8]
    /// The outcome as `text` writes it.
    let outcome: String
    /// The bytes of Data-In.
    var length = 0
    /// The object number of the position after.
    let end: UInt64

    var testDescription: String { name }
}

@Suite("Sense, information, residual and position (SSC-5 clauses 4.2.5 and 6)")
struct TapeRuleTests {
    /// The objects: 0 block of 100, 1 block of 50, 2 filemark, 3 block of 100, 4 block of 100, 5 block of 30, 6 and 7
    /// filemarks, 8 block of 100; 9 is end of data.
    static let lengths = [100, 50, 0, 100, 100, 30, 0, 0, 100]

    static func block(_ index: Int) -> [UInt8] {
        [UInt8](repeating: UInt8(index + 1), count: lengths[index])
    }

    static func tape() throws -> TapeFixture {
        let fixture = try TapeFixture()
        for index in lengths.indices {
            let result = lengths[index] == 0 ? fixture.filemarks(1) : fixture.write(block(index))
            #expect(text(result) == "good")
        }
        return fixture
    }

    private static func read(_ count: Int, fixed: Bool = false, sili: Bool = false) -> [UInt8] {
        [OperationCode.read6, (fixed ? 1 : 0) | (sili ? 2 : 0)] + bytes24(count) + [0]
    }

    private static func space(_ code: UInt8, _ count: Int) -> [UInt8] {
        [OperationCode.space6, code] + bytes24(count) + [0]
    }

    private static func space16(_ code: UInt8, _ count: Int64) -> [UInt8] {
        var block: [UInt8] = [OperationCode.space16, code, 0, 0]
        block.appendBE64(UInt64(bitPattern: count))
        return block + [0, 0, 0, 0]
    }

    private static func locate16(_ type: UInt8, _ identifier: UInt64, changePartition: UInt8 = 0) -> [UInt8] {
        var block: [UInt8] = [
            OperationCode.locate16, type << 3 | (changePartition > 0 ? 2 : 0), 0, changePartition > 0 ? 1 : 0,
        ]
        block.appendBE64(identifier)
        return block + [0, 0, 0, 0]
    }

    static let rules: [TapeRule] = [
        // READ, variable.
        TapeRule(name: "exact", start: 0, command: read(100), outcome: "good", length: 100, end: 1),
        TapeRule(name: "short block", start: 1, command: read(80), outcome: "0/0000 ILI 30", length: 50, end: 2),
        TapeRule(
            name: "short block, SILI", start: 1, command: read(80, sili: true), outcome: "good", length: 50, end: 2),
        TapeRule(name: "long block", start: 0, command: read(60), outcome: "0/0000 ILI -40", length: 60, end: 1),
        TapeRule(
            name: "long block, SILI", start: 0, command: read(60, sili: true), outcome: "good", length: 60, end: 1),
        TapeRule(
            name: "long block, SILI, block length set", start: 0, blockLength: 10, command: read(60, sili: true),
            outcome: "0/0000 ILI -40", length: 60, end: 1),
        TapeRule(
            name: "short block, SILI, block length set", start: 1, blockLength: 10, command: read(60, sili: true),
            outcome: "good", length: 50, end: 2),
        TapeRule(name: "filemark", start: 2, command: read(80), outcome: "0/0001 FM 80", end: 3),
        TapeRule(name: "filemark, SILI", start: 2, command: read(80, sili: true), outcome: "0/0001 FM 80", end: 3),
        TapeRule(name: "end of data", start: 9, command: read(80), outcome: "8/0005 80", end: 9),
        TapeRule(name: "length 0", start: 0, command: read(0), outcome: "good", end: 0),
        // READ, fixed.
        TapeRule(
            name: "fixed and SILI", start: 0, blockLength: 100, command: read(1, fixed: true, sili: true),
            outcome: "5/2400", end: 0),
        TapeRule(
            name: "fixed without block length", start: 0, command: read(1, fixed: true), outcome: "5/2400", end: 0),
        TapeRule(
            name: "fixed, two blocks", start: 3, blockLength: 100, command: read(2, fixed: true), outcome: "good",
            length: 200, end: 5),
        TapeRule(
            name: "fixed, third has another length", start: 3, blockLength: 100, command: read(4, fixed: true),
            outcome: "0/0000 ILI 2", length: 200, end: 6),
        TapeRule(
            name: "fixed, first has another length", start: 0, blockLength: 40, command: read(3, fixed: true),
            outcome: "0/0000 ILI 3", end: 1),
        TapeRule(
            name: "fixed, filemark after one", start: 5, blockLength: 30, command: read(3, fixed: true),
            outcome: "0/0001 FM 2", length: 30, end: 7),
        TapeRule(
            name: "fixed, end of data after one", start: 8, blockLength: 100, command: read(3, fixed: true),
            outcome: "8/0005 2", length: 100, end: 9),
        TapeRule(
            name: "fixed, too long", start: 0, blockLength: 1 << 20, command: read(17, fixed: true),
            outcome: "5/2400", end: 0),
        // VERIFY.
        TapeRule(
            name: "verify", start: 3, blockLength: 100, command: [OperationCode.verify6, 1, 0, 0, 2, 0],
            outcome: "good", end: 5),
        TapeRule(
            name: "verify, filemark", start: 1, blockLength: 50, command: [OperationCode.verify6, 1, 0, 0, 2, 0],
            outcome: "0/0001 FM 1", end: 3),
        TapeRule(
            name: "verify, compare", start: 0, command: [OperationCode.verify6, 2, 0, 0, 2, 0], outcome: "5/2400",
            end: 0),
        // SPACE.
        TapeRule(name: "2 blocks", start: 0, command: space(0, 2), outcome: "good", end: 2),
        TapeRule(name: "0 blocks", start: 4, command: space(0, 0), outcome: "good", end: 4),
        TapeRule(name: "3 blocks, filemark", start: 0, command: space(0, 3), outcome: "0/0001 FM 1", end: 3),
        TapeRule(name: "5 blocks, end of data", start: 8, command: space(0, 5), outcome: "8/0005 4", end: 9),
        TapeRule(name: "-2 blocks", start: 5, command: space(0, -2), outcome: "good", end: 3),
        TapeRule(name: "-4 blocks, filemark", start: 5, command: space(0, -4), outcome: "0/0001 FM 2", end: 2),
        TapeRule(name: "-1 block onto a filemark", start: 8, command: space(0, -1), outcome: "0/0001 FM 1", end: 7),
        TapeRule(name: "-5 blocks, beginning", start: 2, command: space(0, -5), outcome: "0/0004 EOM 3", end: 0),
        TapeRule(name: "1 filemark", start: 0, command: space(1, 1), outcome: "good", end: 3),
        TapeRule(name: "5 filemarks, end of data", start: 0, command: space(1, 5), outcome: "8/0005 2", end: 9),
        TapeRule(name: "-1 filemark", start: 9, command: space(1, -1), outcome: "good", end: 7),
        TapeRule(name: "-3 filemarks", start: 9, command: space(1, -3), outcome: "good", end: 2),
        TapeRule(name: "-9 filemarks, beginning", start: 9, command: space(1, -9), outcome: "0/0004 EOM 6", end: 0),
        TapeRule(name: "2 sequential filemarks", start: 0, command: space(2, 2), outcome: "good", end: 8),
        TapeRule(name: "3 sequential filemarks", start: 0, command: space(2, 3), outcome: "8/0005 3", end: 9),
        TapeRule(name: "end of data", start: 0, command: space(3, 0), outcome: "good", end: 9),
        TapeRule(name: "space code 4", start: 0, command: space(4, 1), outcome: "5/2400", end: 0),
        TapeRule(name: "SPACE(16) blocks", start: 0, command: space16(0, 2), outcome: "good", end: 2),
        TapeRule(
            name: "SPACE(16) far back", start: 9, command: space16(1, -(1 << 40)),
            outcome: "0/0004 EOM \((1 << 40) - 3)",
            end: 0),
        TapeRule(
            name: "SPACE(16) least count", start: 2, command: space16(0, .min),
            outcome: "0/0004 EOM \(Int64.max - 1)", end: 0),
        // LOCATE.
        TapeRule(
            name: "LOCATE(10)", start: 0, command: [OperationCode.locate10, 0, 0, 0, 0, 0, 5, 0, 0, 0], outcome: "good",
            end: 5),
        TapeRule(
            name: "LOCATE(10), BT", start: 0, command: [OperationCode.locate10, 4, 0, 0, 0, 0, 4, 0, 0, 0],
            outcome: "good", end: 4),
        TapeRule(
            name: "LOCATE(10), partition 1", start: 3, command: [OperationCode.locate10, 2, 0, 0, 0, 0, 4, 0, 1, 0],
            outcome: "5/2400",
            end: 3),
        TapeRule(
            name: "LOCATE(10), past end of data", start: 0,
            command: [OperationCode.locate10, 0, 0, 0, 0, 0, 77, 0, 0, 0],
            outcome: "8/0005", end: 9),
        TapeRule(name: "LOCATE(16)", start: 0, command: locate16(0, 7), outcome: "good", end: 7),
        TapeRule(name: "LOCATE(16) to end of data", start: 0, command: locate16(0, 9), outcome: "good", end: 9),
        TapeRule(name: "LOCATE(16) past end of data", start: 0, command: locate16(0, 10), outcome: "8/0005", end: 9),
        TapeRule(name: "LOCATE(16) file 0", start: 5, command: locate16(1, 0), outcome: "good", end: 0),
        TapeRule(name: "LOCATE(16) file 2", start: 0, command: locate16(1, 2), outcome: "good", end: 7),
        TapeRule(name: "LOCATE(16) file 4", start: 0, command: locate16(1, 4), outcome: "8/0005", end: 9),
        TapeRule(name: "LOCATE(16) end of data", start: 0, command: locate16(3, 0), outcome: "good", end: 9),
        TapeRule(name: "LOCATE(16) type 2", start: 1, command: locate16(2, 0), outcome: "5/2400", end: 1),
        TapeRule(
            name: "LOCATE(16) partition 1", start: 1, command: locate16(0, 0, changePartition: 1), outcome: "5/2400",
            end: 1),
        TapeRule(name: "REWIND", start: 7, command: [OperationCode.rewind, 0, 0, 0, 0, 0], outcome: "good", end: 0),
        // Fields that must be zero.
        TapeRule(
            name: "reserved bit of READ", start: 0, command: [OperationCode.read6, 4, 0, 0, 1, 0], outcome: "5/2400",
            end: 0),
        TapeRule(name: "unknown command", start: 0, command: [0x0F, 0, 0, 0, 1, 0], outcome: "5/2000", end: 0),
    ]

    @Test("What passes a persistent reservation is what the tables of SPC and SSC say")
    func reservationTable() throws {
        #expect(ReservationTable.differences(try TapeFixture(capacity: nil).drive.commands) == [])
    }

    @Test("What is performed in which access state of the target port is what SPC says")
    func accessStateTable() throws {
        #expect(AccessStateTable.differences(try TapeFixture(capacity: nil).drive.commands) == [])
    }

    @Test("Rules of reading and moving")
    func readingAndMoving() throws {
        let fixture = try Self.tape()
        for rule in Self.rules {
            #expect(text(fixture.setBlockLength(rule.blockLength)) == "good")
            #expect(text(fixture.locate(rule.start)) == "good")
            let result = fixture.port.execute(rule.command)
            #expect(text(result) == rule.outcome, "\(rule.name)")
            #expect(result.dataInLength == rule.length, "\(rule.name)")
            #expect(fixture.position == rule.end, "\(rule.name)")
            if rule.length > 0 {
                let content = (Int(rule.start)..<Int(rule.end)).flatMap { Self.block($0) }
                #expect(result.dataIn == Array(content.prefix(rule.length)), "\(rule.name)")
            }
        }
    }

    @Test("After end of data there is nothing to read until the position changes")
    func fence() throws {
        let fixture = try Self.tape()
        #expect(text(fixture.read(10)) == "8/0005 10")
        #expect(text(fixture.read(10)) == "3/1404 10")
        #expect(fixture.position == 9)
        #expect(text(fixture.write([1, 2, 3])) == "good")
        #expect(text(fixture.read(10)) == "8/0005 10")
        #expect(text(fixture.space(0, -1)) == "good")
        #expect(fixture.read(10, sili: true).dataIn == [1, 2, 3])
    }

    @Test("WRITE: fields and lengths")
    func writeFields() throws {
        let fixture = try TapeFixture()
        #expect(text(fixture.writeFixed([1, 2], blocks: 2)) == "5/2400")
        #expect(text(fixture.write([])) == "good")
        #expect(fixture.position == 0)
        #expect(text(fixture.setBlockLength(2)) == "good")
        #expect(text(fixture.writeFixed([1, 2, 3, 4], blocks: 2)) == "good")
        #expect(fixture.position == 2)
        // The initiator offers less than the command moves: nothing is written.
        #expect(text(fixture.writeFixed([1, 2, 3], blocks: 2)) == "5/0E03")
        #expect(fixture.position == 2)
        #expect(text(fixture.setBlockLength(1 << 20)) == "good")
        #expect(text(fixture.port.execute([OperationCode.write6, 1, 0, 0, 17, 0], dataOut: [1])) == "5/2400")
    }

    @Test("Long blocks, short and long ways")
    func longBlocks() throws {
        let fixture = try TapeFixture()
        let lengths = [1, 65536, 262_144, 262_145, 1 << 20, 16_777_215]
        for length in lengths {
            #expect(text(fixture.write([UInt8](repeating: UInt8(length % 251), count: length))) == "good")
        }
        #expect(text(fixture.rewind()) == "good")
        for length in lengths {
            let result = fixture.read(16_777_215, sili: true)
            #expect(text(result) == "good")
            #expect(result.dataIn == [UInt8](repeating: UInt8(length % 251), count: length))
        }
    }

    @Test("Overwriting makes the rest end of data")
    func overwriting() throws {
        let fixture = try Self.tape()
        #expect(text(fixture.locate(3)) == "good")
        #expect(text(fixture.write([9, 9])) == "good")
        #expect(text(fixture.read(10)) == "8/0005 10")
        #expect(fixture.position == 4)
        #expect(text(fixture.locate(2)) == "good")
        #expect(text(fixture.port.execute([OperationCode.erase6, 0, 0, 0, 0, 0])) == "good")
        #expect(fixture.position == 2)
        #expect(text(fixture.read(10)) == "8/0005 10")
        #expect(text(fixture.rewind()) == "good")
        #expect(text(fixture.port.execute([OperationCode.erase6, 3, 0, 0, 0, 0])) == "good")
        #expect(text(fixture.read(10)) == "8/0005 10")
        #expect(text(fixture.filemarks(5000)) == "good")
        #expect(fixture.position == 5000)
    }

    @Test("Early warning: the block is written; end of medium: it is not")
    func endOfMedium() throws {
        let fixture = try TapeFixture(capacity: 1 << 20)
        let block = [UInt8](repeating: 7, count: 65536)
        var blocks = 0
        var outcome = "good"
        while outcome == "good" {
            outcome = text(fixture.write(block))
            blocks += 1
        }
        // A quarter of the capacity is behind early warning: 16 records of 65568 bytes do not fit, 12 are before it.
        #expect(outcome == "0/0002 EOM 0")
        #expect(blocks == 12)
        #expect(fixture.position == 12)
        let flags = fixture.port.execute([OperationCode.readPosition, 0, 0, 0, 0, 0, 0, 0, 0, 0]).dataIn[0]
        #expect(flags & 0x40 != 0)
        for count in 13...15 {
            #expect(text(fixture.write(block)) == "0/0002 EOM 0")
            #expect(fixture.position == UInt64(count))
        }
        #expect(text(fixture.write(block)) == "D/0002 EOM 65536")
        #expect(fixture.position == 15)
        // What is smaller still fits: trailer labels and filemarks.
        #expect(text(fixture.write([1, 2, 3])) == "0/0002 EOM 0")
        #expect(text(fixture.filemarks(2, immediate: false)) == "0/0002 EOM 0")
        #expect(text(fixture.filemarks(4_000_000)).hasPrefix("D/0002 EOM "))
        let end = fixture.position
        #expect(text(fixture.filemarks(1)) == "D/0002 EOM 1")
        #expect(fixture.position == end)
        #expect(text(fixture.read(1)) == "8/0005 EOM 1")
        // Fixed blocks: as many as fit, and the rest is the residue.
        #expect(text(fixture.locate(13)) == "good")
        #expect(text(fixture.setBlockLength(65536)) == "good")
        #expect(text(fixture.writeFixed(block + block + block + block, blocks: 4)) == "D/0002 EOM 2")
        #expect(fixture.position == 15)
        #expect(text(fixture.rewind()) == "good")
        #expect(fixture.read(15, isFixed: true).dataInLength == 15 * 65536)
    }

    @Test("REW: a READ behind early warning says so")
    func earlyWarningOnRead() throws {
        let fixture = try TapeFixture(capacity: 1 << 20)
        for _ in 0..<13 { _ = fixture.write([UInt8](repeating: 7, count: 65536)) }
        var page = fixture.port.execute([OperationCode.modeSense6, 8, 0x10, 0, 255, 0]).dataIn
        page[4 + 8] |= 0x01
        page[0] = 0
        #expect(
            text(fixture.port.execute([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(page.count), 0], dataOut: page))
                == "good")
        #expect(text(fixture.locate(0)) == "good")
        #expect(text(fixture.read(65536)) == "good")
        #expect(text(fixture.locate(12)) == "good")
        let result = fixture.read(65536)
        #expect(text(result) == "D/0002 EOM 0")
        #expect(result.dataInLength == 65536)
    }

    @Test("A block that does not match its checksum is a medium error")
    func mediumError() throws {
        let fixture = try Self.tape()
        #expect(fixture.remove() == .removed(nil))
        let path = fixture.folder.appending(path: "\(TapeFixture.barcode).tape/partition0.data")
        var file = try Data(contentsOf: path)
        let damaged = try #require(file.firstRange(of: Data([UInt8](repeating: 5, count: 100))))
        file[damaged.lowerBound + 50] ^= 1
        try file.write(to: path)
        #expect(fixture.insert(TapeFixture.barcode) == nil)
        fixture.port.clearUnitAttentions()
        #expect(text(fixture.setBlockLength(100)) == "good")
        #expect(text(fixture.locate(3)) == "good")
        let result = fixture.read(2, isFixed: true)
        #expect(text(result) == "3/1100 1")
        #expect(result.dataIn == Self.block(3))
        #expect(fixture.position == 4)
        #expect(text(fixture.read(1, isFixed: true)) == "3/1404 1")
        #expect(text(fixture.space(0, 1)) == "good")
        #expect(fixture.read(30).dataIn == Self.block(5))
    }
}

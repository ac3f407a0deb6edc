import Bytes
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Cartridge format")
struct FormatTests {
    /// CRC32C bit by bit, as the polynomial defines it.
    private func checksum(_ bytes: [UInt8], previous: UInt32 = 0) -> UInt32 {
        var register = ~previous
        for byte in bytes {
            register ^= UInt32(byte)
            for _ in 0..<8 { register = register & 1 != 0 ? register >> 1 ^ 0x82F6_3B78 : register >> 1 }
        }
        return ~register
    }

    @Test("A record's header has the layout of the format's page")
    func header() {
        let seed = checksum([UInt8](0..<16), previous: 7)
        let header = RecordHeader(
            kind: .block, epoch: 0x0102_0304, object: 0x1112_1314_1516_1718, length: 0x0000_ABCD,
            payloadChecksum: 0xE306_9283)
        var bytes = [UInt8](repeating: 0xFF, count: 40)
        bytes.modifyBytes { header.encode(into: &$0, at: 8, seed: seed) }
        let expected: [UInt8] = [
            0x43, 0x52, 0x01, 0x00, 0x01, 0x02, 0x03, 0x04, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
            0x00, 0x00, 0xAB, 0xCD, 0x00, 0x00, 0xAB, 0xCD, 0xE3, 0x06, 0x92, 0x83,
        ]
        #expect(Array(bytes[8..<36]) == expected)
        #expect(bytes.rawSpan.loadBE32(at: 36) == checksum(expected, previous: seed))
        #expect(RecordHeader(bytes.rawSpan, at: 8, seed: seed) == header)
        #expect(RecordHeader(bytes.rawSpan, at: 8, seed: seed ^ 1) == nil, "of another cartridge")
        #expect(RecordHeader(bytes.rawSpan, at: 9, seed: seed) == nil, "too short")
        for index in 8..<40 {
            var changed = bytes
            changed[index] ^= 0x10
            #expect(RecordHeader(changed.rawSpan, at: 8, seed: seed) == nil, "byte \(index - 8)")
        }
    }

    @Test("Impossible lengths are refused even with a right checksum", arguments: [0, 16_777_216] as [UInt32])
    func impossibleLength(length: UInt32) {
        let header = RecordHeader(kind: .block, epoch: 1, object: 0, length: length, payloadChecksum: 0)
        var bytes = [UInt8](repeating: 0, count: 32)
        bytes.modifyBytes { header.encode(into: &$0, at: 0, seed: 0) }
        #expect(RecordHeader(bytes.rawSpan, at: 0, seed: 0) == nil)
    }

    @Test("A superblock has the layout of the format's page, and every changed byte makes it invalid")
    func superblock() {
        var superblock = Superblock(identity: testIdentity(capacity: 0x0102_0304_0506), partition: 3)
        superblock.generation = 0x21
        superblock.beginEpoch(9, firstObject: 77, fileOffset: 0x4000)
        let bytes = superblock.encoded()
        #expect(bytes.count == 4096)
        #expect(Array(bytes[..<8]) == Array("CRSLTAPE".utf8))
        #expect(Array(bytes[8..<16]) == [0, 0, 0, 1, 0, 0, 0, 3])
        #expect(Array(bytes[16..<32]) == [UInt8](0..<16))
        #expect(Array(bytes[32..<48]) == [0, 0, 0, 0, 0, 0, 0, 0x21, 0, 0, 1, 2, 3, 4, 5, 6])
        #expect(Array(bytes[48..<56]) == [0x5E, 0, 0, 0, 0, 0, 0, 2])
        #expect(Array(bytes[56..<65]) == Array("V00001L8".utf8) + [0])
        #expect(Array(bytes[88..<99]) == Array("0123456789".utf8) + [0])
        #expect(Array(bytes[128..<148]) == [0, 0, 0, 1] + [UInt8](repeating: 0, count: 14) + [0x20, 0])
        #expect(Array(bytes[148..<152]) == [0, 0, 0, 9])
        #expect(bytes.rawSpan.loadBE64(at: 152) == 77)
        #expect(bytes.rawSpan.loadBE64(at: 160) == 0x4000)
        #expect(bytes.rawSpan.loadBE32(at: 4092) == checksum(Array(bytes[..<4092])))
        #expect(Superblock.decode(bytes.rawSpan) == .valid(superblock))
        for index in stride(from: 0, to: 4096, by: 13) {
            var changed = bytes
            changed[index] ^= 1
            #expect(Superblock.decode(changed.rawSpan) == .invalid, "byte \(index)")
        }
    }

    @Test("A loss has its place in a superblock; one without a time, as older programs write it, is valid")
    func lossInSuperblock() throws {
        var superblock = Superblock(identity: testIdentity(), partition: 0)
        for _ in 0..<Superblock.historyLimit {
            let last = superblock.epoch
            superblock.beginEpoch(last.number + 1, firstObject: last.firstObject + 1, fileOffset: 9000)
        }
        superblock.loss = Superblock.Loss(
            errorNumber: 5, durableObjects: 300, time: CalendarTime(seconds: 0x0102_0304))
        var bytes = superblock.encoded()
        #expect(bytes[50..<52] == [0, 5])
        #expect(bytes.rawSpan.loadBE64(at: 120) == 300)
        #expect(bytes[4048..<4056] == [0, 0, 0, 0, 1, 2, 3, 4])
        #expect(Superblock.decode(bytes.rawSpan) == .valid(superblock))
        let limit = UInt64(CalendarTime.limit)
        for (seconds, isValid) in [(0, true), (limit, true), (limit + 1, false)] {
            bytes.modifyBytes {
                $0.storeBE64(seconds, at: 4048)
                $0.storeBE32(CRC32C.checksum($0.bytes.extracting(0..<4092)), at: 4092)
            }
            superblock.loss?.time = seconds == 0 ? nil : CalendarTime(seconds: Int64(seconds))
            #expect(Superblock.decode(bytes.rawSpan) == (isValid ? .valid(superblock) : .invalid), "\(seconds)")
        }
    }

    @Test("Fields of a superblock are checked even when its checksum is right")
    func hostileSuperblock() {
        let changes: [(offset: Int, value: [UInt8])] = [
            (8, [0, 0, 0, 0]), (40, [0x80]), (52, [0, 0, 0, 0]), (52, [0xFF, 0xFF, 0xFF, 0xFF]), (56, [0xC3]),
            (128, [0, 0, 0, 0]), (140, [0xFF]), (146, [0]),
        ]
        for change in changes {
            var bytes = Superblock(identity: testIdentity(), partition: 0).encoded()
            bytes.replaceSubrange(change.offset..<change.offset + change.value.count, with: change.value)
            bytes.modifyBytes { $0.storeBE32(CRC32C.checksum($0.bytes.extracting(0..<4092)), at: 4092) }
            #expect(Superblock.decode(bytes.rawSpan) == .invalid, "offset \(change.offset)")
        }
    }

    @Test("The history tells who owns an object, and how much an older index still knows")
    func history() {
        var superblock = Superblock(identity: testIdentity(), partition: 0)
        superblock.beginEpoch(2, firstObject: 50, fileOffset: 9000)
        superblock.beginEpoch(3, firstObject: 80, fileOffset: 9500)
        #expect(superblock.owners(of: 49) == 1...1)
        #expect(superblock.owners(of: 50) == 2...2)
        #expect(superblock.owners(of: 1000) == 3...3)
        #expect(superblock.objectsValid(forIndexOf: 1) == 50)
        #expect(superblock.objectsValid(forIndexOf: 2) == 80)
        #expect(superblock.objectsValid(forIndexOf: 3) == .max)
        #expect(superblock.objectsValid(forIndexOf: 4) == 0, "an index of the future")
        superblock.beginEpoch(4, firstObject: 60, fileOffset: 9200)
        #expect(superblock.history.map(\.number) == [1, 2, 4])
        #expect(superblock.objectsValid(forIndexOf: 2) == 60)
        superblock.beginEpoch(5, firstObject: 0, fileOffset: 8192)
        #expect(superblock.history.map(\.number) == [5])
        #expect(superblock.objectsValid(forIndexOf: 4) == 0)
    }

    @Test("Runs are found from both sides")
    func extents() {
        var table = ExtentTable()
        table.append(kind: .block, blockLength: 100, storedLength: 100, count: 10)
        table.append(kind: .filemark, blockLength: 0, storedLength: 0)
        table.append(kind: .filemark, blockLength: 0, storedLength: 0, count: 2)
        table.append(kind: .block, blockLength: 7, storedLength: 7)
        table.append(kind: .filemark, blockLength: 0, storedLength: 0)
        #expect(table.extents.count == 4)
        #expect(table.endObject == 15)
        #expect(table.filemarkCount == 4)
        #expect(table.offset(of: 9) == 8192 + 9 * 136)
        #expect(table.offset(of: 13) == 8192 + 10 * 136 + 3 * 32)
        #expect(table.endOffset == 8192 + 10 * 136 + 3 * 32 + 40 + 32)
        #expect((0..<4).map { table.object(ofFilemark: $0) } == [10, 11, 12, 14])
        #expect((9...15).map { table.filemarks(before: $0) } == [0, 0, 1, 2, 3, 3, 4])
        table.truncate(to: 11)
        #expect(table.endObject == 11)
        #expect(table.filemarkCount == 1)
    }
}

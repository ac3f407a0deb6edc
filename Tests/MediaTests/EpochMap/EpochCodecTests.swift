import Bytes
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Disk image format")
struct EpochCodecTests {
    /// CRC32C bit by bit, as the polynomial defines it.
    private func checksum(_ bytes: [UInt8], previous: UInt32 = 0) -> UInt32 {
        var register = ~previous
        for byte in bytes {
            register ^= UInt32(byte)
            for _ in 0..<8 { register = register & 1 != 0 ? register >> 1 ^ 0x82F6_3B78 : register >> 1 }
        }
        return ~register
    }

    private func superblock() -> EpochSuperblock {
        EpochSuperblock(
            uuid: [UInt8](0..<16), commit: 0x21, coveredUnits: 0x9_0000, journalUnits: 64, firstFrame: 5,
            firstSequence: 0x1_0000_0007, firstChain: 0xA1B2_C3D4, epoch: 0x0102, nextNode: 0x0304, isClosed: true,
            freeMapLevels: 1, nodeTableLevels: 2, freeMap: .page(0x5678, birth: 0x0101, checksum: 0xDEAD_BEEF),
            nodeTable: .page(0x5679, birth: 0x0102, checksum: 1), opening: 9, firstOpening: 8,
            reserve: [80..<90, 1 << 20..<1 << 20 + 3])
    }

    @Test("A superblock has the layout of the format's page, and every changed byte makes it invalid")
    func superblockLayout() {
        let block = superblock()
        let bytes = block.encoded()
        #expect(bytes.count == 4096)
        #expect(Array(bytes[..<8]) == Array("CRSLDISK".utf8))
        #expect(Array(bytes[8..<16]) == [0, 0, 0, 1, 0, 0, 0, 0])
        #expect(Array(bytes[16..<32]) == [UInt8](0..<16))
        #expect(Array(bytes[32..<48]) == [0, 0, 0, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 9, 0, 0])
        #expect(Array(bytes[48..<64]) == [0, 0, 0, 64, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 7])
        #expect(Array(bytes[64..<80]) == [0xA1, 0xB2, 0xC3, 0xD4, 0, 0, 1, 2, 0, 0, 3, 4, 1, 1, 2, 0])
        #expect(Array(bytes[80..<96]) == [1, 0, 0, 0, 0, 0, 0x56, 0x78, 0, 0, 1, 1, 0xDE, 0xAD, 0xBE, 0xEF])
        #expect(Array(bytes[96..<112]) == [1, 0, 0, 0, 0, 0, 0x56, 0x79, 0, 0, 1, 2, 0, 0, 0, 1])
        #expect(bytes.rawSpan.loadBE32(at: 4092) == checksum(Array(bytes[..<4092])))
        #expect(Array(bytes[112..<128]) == [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 8])
        #expect(block.pairs == [2..<4, 0..<2])
        #expect(EpochSuperblock.decode(bytes.rawSpan) == .valid(block))
        for index in stride(from: 0, to: 4096, by: 13) {
            var changed = bytes
            changed[index] ^= 1
            #expect(EpochSuperblock.decode(changed.rawSpan) == .invalid, "byte \(index)")
        }
    }

    /// The bytes with a field changed, and a right checksum.
    private func changed(_ bytes: [UInt8], at offset: Int, _ field: [UInt8]) -> [UInt8] {
        var bytes = bytes
        bytes.replaceSubrange(offset..<offset + field.count, with: field)
        let sum = checksum(Array(bytes[..<4092]))
        bytes.modifyBytes { $0.storeBE32(sum, at: 4092) }
        return bytes
    }

    @Test("A field of a superblock that is out of its range makes it invalid even with a right checksum")
    func superblockFields() {
        let bytes = superblock().encoded()
        let ones = [UInt8](repeating: 0xFF, count: 8)
        let fields: [(Int, [UInt8])] = [
            (32, ones), (32, [0, 0, 0, 0, 0, 0, 0, 0]), (40, ones), (40, [0, 0, 0, 0, 0, 0, 0, 79]),
            (48, [0, 0, 0, 63]),
            (48, [0xFF, 0, 0, 0]), (52, [0, 0, 0, 64]), (56, ones), (64 - 8, [0, 0, 0, 0, 0, 0, 0, 0]),
            (68, [1, 0, 0, 0]),
            (68, [0, 0, 0, 0]), (72, [0, 0, 0, 0]), (77, [0]), (77, [2]), (77, [255]), (78, [0]), (78, [3]), (80, [0]),
            (80, [2]), (80, [3]), (81, [1]), (82, [0, 0, 0, 9, 0, 0]), (82, [0, 0, 0, 0, 0, 79]), (88, [0, 0, 1, 3]),
            (96, [0]), (98, ones), (104, ones), (8, [0, 0, 0, 0]), (112, ones), (112, [0, 0, 0, 0, 0, 0, 0, 7]),
            (120, ones), (120, [0, 0, 0, 0, 0, 0, 0, 10]),
        ]
        for (offset, field) in fields {
            let changed = changed(bytes, at: offset, field)
            #expect(EpochSuperblock.decode(changed.rawSpan) == .invalid, "\(field) at \(offset)")
        }
        let newer = changed(bytes, at: 8, [0, 0, 0, 2])
        #expect(EpochSuperblock.decode(newer.rawSpan) == .newer(version: 2))
        let feature = changed(bytes, at: 12, [0, 0, 0, 4])
        #expect(EpochSuperblock.decode(feature.rawSpan) == .unknownFeatures(4))
    }

    @Test("The valid copy with the highest commit counts, and what is not known wins over all")
    func newest() {
        var old = superblock()
        old.commit = 0x20
        let new = superblock()
        #expect(EpochSuperblock.newest(of: [.valid(old), .invalid, .invalid, .valid(new)]) == .valid(new))
        #expect(EpochSuperblock.newest(of: [.valid(old), .valid(old), .invalid, .invalid]) == .valid(old))
        #expect(EpochSuperblock.newest(of: [.invalid, .unreadable(5), .invalid, .valid(new)]) == .valid(new))
        #expect(EpochSuperblock.newest(of: [.valid(old), .unreadable(5), .invalid, .invalid]) == .valid(old))
        #expect(EpochSuperblock.newest(of: [.invalid, .unreadable(5), .invalid, .invalid]) == .unreadable(5))
        #expect(EpochSuperblock.newest(of: [.valid(new), .newer(version: 3), .invalid]) == .newer(version: 3))
        #expect(EpochSuperblock.newest(of: [.unknownFeatures(2), .valid(new)]) == .unknownFeatures(2))
        #expect(EpochSuperblock.newest(of: [.invalid, .invalid, .invalid, .invalid]) == .invalid)
    }

    @Test("Pointers have 16 bytes, and such that lead out of the largest file are none")
    func pointers() {
        let pointers: [UnitPointer] = [
            .nothing, .page(0x12_3456_789A, birth: 0xABCDEF, checksum: 7), .run((1 << 37) - 512, birth: 1),
            .page((1 << 37) - 1, birth: 0, checksum: 0),
        ]
        var bytes = [UInt8](repeating: 0xFF, count: 20)
        for pointer in pointers {
            bytes.modifyBytes { $0.store(pointer, at: 2) }
            #expect(bytes.rawSpan.loadPointer(at: 2) == pointer)
        }
        let impossible: [UnitPointer] = [
            .page(1 << 37, birth: 1, checksum: 1), .run((1 << 37) - 511, birth: 1), .run((1 << 48) - 1, birth: 1),
            .page(1, birth: 1 << 24, checksum: 1), UnitPointer(kind: .run, unit: 1, birth: 1, checksum: 1),
            UnitPointer(kind: .nothing, unit: 1, birth: 0, checksum: 0),
            UnitPointer(kind: .nothing, unit: 0, birth: 1, checksum: 0),
            UnitPointer(kind: .nothing, unit: 0, birth: 0, checksum: 1),
        ]
        for pointer in impossible {
            bytes.modifyBytes { $0.store(pointer, at: 2) }
            #expect(bytes.rawSpan.loadPointer(at: 2) == nil, "\(pointer)")
        }
        bytes[2] = 3
        #expect(bytes.rawSpan.loadPointer(at: 2) == nil)
        #expect(UnitPointer.page(9, birth: 0, checksum: 0).fits(10))
        #expect(!UnitPointer.page(10, birth: 0, checksum: 0).fits(10))
        #expect(!UnitPointer.run(1, birth: 0).fits(512))
    }

    @Test("Entries of maps: unit and birth, and a mark of memory that no file has")
    func entries() {
        let entry = MapEntry.data((1 << 37) - 1, birth: (1 << 24) - 1)
        #expect(entry.rawValue == 0x5FFF_FFFF_FFFF_FFFF)
        #expect(entry.isData && entry.unit == (1 << 37) - 1 && entry.birth == (1 << 24) - 1 && entry.isConfirmed)
        #expect(!entry.unconfirmed.isConfirmed && entry.unconfirmed.unit == entry.unit)
        #expect(entry.unconfirmed.confirmed == entry)
        #expect(MapEntry.data(5, birth: 6).rawValue == 0x4000_0000_0500_0006)
        #expect(!MapEntry.nothing.isData && MapEntry(stored: 0) == .nothing)
        #expect(MapEntry(stored: entry.rawValue) == entry)
        for word in [1, entry.unconfirmed.rawValue, 1 << 63 | 1 << 61, 3 << 62 | 1, 5 << 24] as [UInt64] {
            #expect(MapEntry(stored: word) == nil, "\(word)")
        }
    }

    @Test("The measures of trees")
    func measures() {
        #expect([1, 256, 257, 65536, 65537, 1 << 27].map { EpochFormat.levels(leaves: $0) } == [1, 1, 2, 2, 3, 4])
        #expect([1, 4096, 4097, 1 << 21, 1 << 21 + 1].map { EpochFormat.regions(capacity: $0) } == [1, 1, 1, 1, 2])
        #expect(EpochFormat.regions(capacity: .max) == 1 << 43)
        #expect([1 << 20, 1 << 40, 1 << 48].map { EpochFormat.journalUnits(capacity: $0) } == [64, 65536, 262_144])
        #expect([64, 1 << 16].map { EpochFormat.frameUnits(journalUnits: $0) } == [4, 256])
        #expect(EpochFormat.bytes(ofName: String(repeating: "é", count: 81)).count == 160)
        #expect(EpochFormat.bytes(ofName: "a" + String(repeating: "é", count: 81)).count == 159)
    }
}

import Bytes
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Frames of the journal of disk images")
struct JournalFrameTests {
    private let uuid = [UInt8](1...16)

    private func records() throws -> [JournalRecord] {
        let time = try #require(CalendarTime(seconds: 0x6500_0000))
        return [
            .data(head: 1, first: 0x0A0B, unit: 0x0C0D, count: 3, checksum: 0xE306_9283),
            .nothing(head: 2, first: 5, count: .max - 5),
            .snapshot(head: 1, number: 3, time: time, uuid: uuid, name: "Montag"),
            .head(snapshot: 3, number: 4, time: time, uuid: uuid, name: String(repeating: "x", count: 160)),
            .deletion(node: 3), .merging(node: 3, pages: 1 << 19), .removal(node: 3),
            .capacity(head: 4, bytes: 1 << 48),
            .name(node: 4, name: "Größe"), .name(node: 4, name: nil),
            .turn(head: 4, number: 5, below: 3, time: time, uuid: uuid, name: ""),
            .lock(node: 3, until: time),
        ]
    }

    private func header(_ bytes: [UInt8]) -> JournalFrame? { JournalFrame(header: bytes.rawSpan) }

    @Test("Records have the layout of the format's page")
    func layout() throws {
        let records = try records()
        var bytes = [UInt8](repeating: 0, count: 96)
        bytes.modifyBytes { records[0].encode(into: &$0, at: 0) }
        #expect(Array(bytes[..<16]) == [1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x0A, 0x0B])
        #expect(Array(bytes[16..<32]) == [0, 0, 0, 0, 0, 0, 0x0C, 0x0D, 0, 0, 0, 3, 0xE3, 0x06, 0x92, 0x83])
        bytes = [UInt8](repeating: 0, count: 96)
        bytes.modifyBytes { records[2].encode(into: &$0, at: 0) }
        #expect(Array(bytes[..<16]) == [3, 1, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3])
        #expect(Array(bytes[16..<32]) == [0, 0, 0, 0, 0x65, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(Array(bytes[32..<54]) == uuid + Array("Montag".utf8))
    }

    @Test("Every record is read as it was written, and none that is cut")
    func roundTrip() throws {
        let kinds: [UInt8] = Array(1...9) + [9, 10, 11]
        for (record, kind) in zip(try records(), kinds) {
            var bytes = [UInt8](repeating: 0, count: record.slots * 32)
            bytes.modifyBytes { record.encode(into: &$0, at: 0) }
            #expect(bytes[0] == kind)
            #expect(JournalRecord(bytes.rawSpan, at: 0, end: bytes.count) == record)
            #expect(JournalRecord(bytes.rawSpan, at: 0, end: bytes.count - 1) == nil)
            #expect(record.endsEpoch == [3, 4, 10].contains(kind))
        }
    }

    @Test("Records with numbers that cannot be are none")
    func impossible() throws {
        let records = try records()
        let changes: [(Int, Int, [UInt8])] = [
            (0, 0, [0]), (0, 0, [12]), (0, 1, [1]), (0, 2, [0, 1]), (0, 4, [0, 0, 0, 0]), (0, 8, [0, 0, 0, 0x10]),
            (0, 8, [0xFF]), (0, 16, [0, 0, 0, 0x20]), (0, 16, [0, 0, 0, 0x1F, 0xFF, 0xFF, 0xFF, 0xFE]),
            (0, 24, [0, 0, 0, 0]), (1, 8, [0, 0, 0, 0x0F, 0xFF, 0xFF, 0xFF, 0xFF]), (2, 2, [0, 15]), (2, 2, [0, 33]),
            (2, 1, [255]), (2, 8, [0, 0, 0, 0, 0, 0, 0, 0]), (2, 8, [0, 0, 0, 1]), (2, 16, [0xFF]), (2, 53, [0xFF]),
            (3, 1, [5]), (3, 2, [0, 177]), (5, 8, [0, 0, 0, 0, 0, 8, 0, 1]), (7, 8, [0, 1, 0, 0, 0, 0, 0, 1]),
            (7, 8, [0, 0, 0, 0, 0, 0, 0, 0]), (10, 24, [0, 0, 0, 0]), (11, 2, [0, 1]),
            (11, 8, [0, 0, 0, 0, 0, 0, 0, 0]), (11, 8, [0, 0, 1]),
        ]
        for (index, offset, field) in changes {
            var bytes = [UInt8](repeating: 0, count: 256)
            bytes.modifyBytes { records[index].encode(into: &$0, at: 0) }
            bytes.replaceSubrange(offset..<offset + field.count, with: field)
            #expect(JournalRecord(bytes.rawSpan, at: 0, end: 256) == nil, "\(field) at \(offset) of \(index)")
        }
    }

    @Test("No bytes make the reading of a record stop the process")
    func anyBytes() {
        var generator = SeededRandom(seed: 7)
        for _ in 0..<4000 {
            var bytes = generator.bytes(256)
            bytes[0] = UInt8.random(in: 0...12, using: &generator)
            bytes[1] = UInt8.random(in: 0...7, using: &generator)
            bytes[2] = 0
            if let record = JournalRecord(bytes.rawSpan, at: 0, end: 256) { #expect(record.slots * 32 <= 256) }
        }
    }

    @Test("A frame has the layout of the format's page, and every changed byte is found")
    func frame() throws {
        let records = try records()
        var builder = JournalFrame.Builder(unitLimit: 4)
        let (isEmpty, units) = (builder.isEmpty, builder.units)
        #expect(isEmpty && units == 1)
        for record in records {
            let isAdded = builder.append(record)
            #expect(isAdded)
        }
        let (frame, bytes) = builder.finish(sequence: 0x1122, confirmed: 0x1120, chain: 0xA1B2_C3D4, seed: 5) {
            ($0, $1.copyToArray())
        }
        #expect(bytes.count == 4096 && frame.units == 1 && frame.slots == records.reduce(0) { $0 + $1.slots })
        #expect(Array(bytes[..<16]) == Array("CRSLJRNL".utf8) + [0, 0, 0, 0, 0, 0, 0x11, 0x22])
        #expect(Array(bytes[16..<24]) == [0, 0, 0, 0, 0, 0, 0x11, 0x20])
        #expect(Array(bytes[24..<32]) == [0, 0, 0, 1, 0, 0, 0, UInt8(frame.slots)])
        #expect(Array(bytes[32..<36]) == [0xA1, 0xB2, 0xC3, 0xD4])
        var plain = bytes
        plain.replaceSubrange(36..<40, with: [0, 0, 0, 0])
        #expect(CRC32C.checksum(plain.rawSpan, previous: 5) == bytes.rawSpan.loadBE32(at: 36))
        let found = try #require(header(bytes))
        #expect(found == frame && found.isWhole(bytes.rawSpan, seed: 5))
        #expect(found.isWhole(bytes.rawSpan, seed: 6) == false, "of another family")
        var read: [JournalRecord] = []
        let bad = found.forEachRecord(in: bytes.rawSpan) { record, _ in
            read.append(record)
            return true
        }
        #expect(bad == nil && read == records)
        for index in stride(from: 0, to: 4096, by: 7) {
            var changed = bytes
            changed[index] ^= 4
            let other = header(changed)
            let isWhole = other?.isWhole(changed.rawSpan, seed: 5) ?? false
            #expect(!isWhole, "byte \(index)")
        }
    }

    @Test("A frame grows up to its limit, and begins anew without what it had")
    func growing() throws {
        var builder = JournalFrame.Builder(unitLimit: 3)
        var count = 0
        while builder.append(.deletion(node: 7)) { count += 1 }
        let units = builder.units
        #expect(count == (3 * 4096 - 64) / 32 && units == 3)
        let isAdded = builder.append(.removal(node: 7))
        #expect(!isAdded)
        let first = builder.finish(sequence: 1, confirmed: 0, chain: 0, seed: 0) { $1.byteCount }
        #expect(first == 3 * 4096)
        builder.removeAll()
        let empty = builder.finish(sequence: 2, confirmed: 1, chain: 0, seed: 0) { $1.copyToArray() }
        #expect(empty.count == 4096 && empty[64...].allSatisfy { $0 == 0 })
        let found = try #require(header(empty))
        #expect(found.slots == 0 && found.isWhole(empty.rawSpan, seed: 0))
    }

    @Test("A record that is none has its slot named")
    func badRecord() throws {
        var builder = JournalFrame.Builder(unitLimit: 1)
        for record in try records().prefix(3) { _ = builder.append(record) }
        var (frame, bytes) = builder.finish(sequence: 1, confirmed: 0, chain: 0, seed: 0) { ($0, $1.copyToArray()) }
        bytes[64 + 32] = 99
        var count = 0
        let bad = frame.forEachRecord(in: bytes.rawSpan) { _, _ in
            count += 1
            return true
        }
        #expect(bad == 1 && count == 1)
        frame.slots = 1000
        let lie = frame.forEachRecord(in: bytes.rawSpan) { _, _ in true }
        #expect(lie == 0)
    }

    @Test("Headers of frames with numbers that cannot be are none")
    func impossibleHeaders() {
        var builder = JournalFrame.Builder(unitLimit: 1)
        let bytes = builder.finish(sequence: 9, confirmed: 8, chain: 0, seed: 0) { $1.copyToArray() }
        let ones = [UInt8](repeating: 0xFF, count: 8)
        for (offset, field) in [
            (0, [0]), (8, ones), (8, [0, 0, 0, 0, 0, 0, 0, 0]), (16, [0, 0, 0, 0, 0, 0, 0, 9]), (16, ones),
            (24, [0, 0, 0, 0]), (24, [0, 0, 0, 2]), (24, [0, 0, 1, 1]), (28, [0xFF, 0xFF, 0xFF, 0xFF]),
            (28, [0, 0, 0, 127]),
        ] as [(Int, [UInt8])] {
            var changed = bytes
            changed.replaceSubrange(offset..<offset + field.count, with: field)
            #expect(header(changed) == nil, "\(field) at \(offset)")
        }
        #expect(header(Array(bytes[..<63])) == nil)
    }
}

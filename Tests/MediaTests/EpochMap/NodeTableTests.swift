import Bytes
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Node table of disk images")
struct NodeTableTests {
    private let uuid = [UInt8](1...16)

    private func node(_ number: UInt32, parent: UInt32 = 0, epoch: UInt32 = 0, _ kind: NodeRecord.Kind) throws
        -> NodeRecord
    {
        NodeRecord(
            number: number, parent: parent, epoch: epoch, kind: kind, capacity: 5 << 30, blockSize: 512,
            time: try #require(CalendarTime(seconds: 0x6500_0000)), uuid: uuid, name: "node \(number)")
    }

    @Test("A record has the layout of the format's page")
    func layout() throws {
        var record = try node(0x0102_0304, parent: 0x0506, epoch: 0x0708, .snapshot)
        record.isBeingDeleted = true
        record.isNameless = true
        record.pagesDone = 3
        record.lockedUntil = CalendarTime(seconds: 0x0607_0809_0A)
        record.map = .page(0x77, birth: 2, checksum: 9)
        var bytes = [UInt8](repeating: 0, count: 512)
        bytes.modifyBytes { record.encode(into: &$0, at: 256) }
        #expect(Array(bytes[256..<272]) == [1, 2, 3, 4, 0, 0, 5, 6, 0, 0, 7, 8, 2, 3, 2, 13])
        #expect(Array(bytes[272..<288]) == [0, 0, 0, 1, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x65, 0, 0, 0])
        #expect(Array(bytes[288..<304]) == [1, 0, 0, 0, 0, 0, 0, 0x77, 0, 0, 0, 2, 0, 0, 0, 9])
        #expect(Array(bytes[304..<316]) == [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 2, 0])
        #expect(Array(bytes[316..<332]) == uuid)
        #expect(Array(bytes[336..<349]) == Array("node 16909060".utf8))
        #expect(Array(bytes[496..<504]) == [0, 0, 0, 6, 7, 8, 9, 0xA])
        #expect(NodeRecord(bytes.rawSpan, at: 256) == record)
        #expect(NodeRecord(bytes.rawSpan, at: 257) == nil)
        let impossible: [(Int, [UInt8])] = [
            (0, [0, 0, 0, 0]), (8, [1, 0, 0, 0]), (12, [0]), (12, [3]), (13, [4]), (13, [0]), (14, [1]), (14, [3]),
            (15, [161]), (16, [0, 0, 0, 0, 0, 0, 0, 0]), (16, [0, 1, 0, 0, 0, 0, 0, 1]), (20, [0x40, 0, 0, 1]),
            (24, [0x80]), (24, [0xFF, 0xFF]), (32, [2]), (48, [0, 0, 0, 0, 0, 0, 0, 11]), (58, [1]), (80, [0xFF]),
            (240, [1]), (240, [0xFF]),
        ]
        for (offset, field) in impossible {
            var changed = bytes
            changed.replaceSubrange(256 + offset..<256 + offset + field.count, with: field)
            #expect(NodeRecord(changed.rawSpan, at: 256) == nil, "\(field) at \(offset)")
        }
    }

    private func decoded(_ table: NodeTable, epoch: UInt32 = 100, nextNode: UInt32 = 10000) throws -> NodeTable {
        var read = NodeTable()
        var page = [UInt8](repeating: 0, count: 4096)
        for leaf in 0..<table.leafCount {
            guard page.modifyBytes({ table.encode(leaf: leaf, into: &$0) }) else { continue }
            try read.decode(leaf: leaf, page.rawSpan)
        }
        try read.finishDecoding(epoch: epoch, nextNode: nextNode)
        return read
    }

    @Test("Nodes keep their slots, and what was written is read again")
    func slots() throws {
        var table = NodeTable()
        for number in 1...40 as ClosedRange<UInt32> { try table.put(node(number, .head)) }
        #expect(table.dirtyLeaves == [0, 1, 2] && table.leafCount == 3 && table.levels == 1)
        table.setClean()
        try table.put(node(3, .head))
        #expect(table.dirtyLeaves.isEmpty, "nothing has changed")
        for number in 17...32 as ClosedRange<UInt32> { table.remove(number) }
        table.remove(1)
        #expect(table.dirtyLeaves == [0, 1])
        let read = try decoded(table)
        #expect(read.records == table.records && read.count == 23 && read[40] == table[40] && read[1] == nil)
        var more = read
        try more.put(node(99, .head))
        #expect(more.dirtyLeaves == [0] && more.count == 24, "the first free slot is used")
        #expect(try decoded(more).records == more.records)
    }

    @Test("A table has a most of nodes")
    func limit() throws {
        var table = NodeTable()
        for number in 1...65536 as ClosedRange<UInt32> { try table.put(node(number, .head)) }
        #expect(table.leafCount == 4096 && table.levels == 2)
        #expect(throws: EpochFault.limit(.nodes)) { try table.put(node(65537, .head)) }
    }

    @Test("Nodes that contradict each other are damage with a name")
    func contradictions() throws {
        let right = try [node(1, parent: 2, epoch: 5, .head), node(2, epoch: 5, .snapshot)]
        let wrong: [(UInt32, NodeRecord)] = try [
            (1, node(1, parent: 3, epoch: 5, .head)), (1, node(1, parent: 2, epoch: 4, .head)),
            (1, node(1, parent: 2, epoch: 5, .snapshot)), (1, node(1, parent: 1, epoch: 5, .snapshot)),
            (1, node(1, parent: 0, epoch: 1, .head)), (1, node(2, parent: 0, epoch: 5, .head)),
            (3, node(3, epoch: 100, .snapshot)), (10000, node(10000, .head)),
        ]
        var table = NodeTable()
        for record in right { try table.put(record) }
        #expect(try decoded(table).count == 2)
        for (number, record) in wrong {
            var table = table
            try table.put(record)
            #expect(throws: EpochFault.damaged(.node(number))) { try decoded(table) }
        }
        var twice = NodeTable()
        var page = [UInt8](repeating: 0, count: 4096)
        page.modifyBytes { page in
            right[1].encode(into: &page, at: 0)
            right[1].encode(into: &page, at: 3840)
        }
        #expect(throws: EpochFault.damaged(.node(2))) { try twice.decode(leaf: 0, page.rawSpan) }
        #expect(throws: EpochFault.damaged(.nodeTable)) { try twice.decode(leaf: 4096, page.rawSpan) }
        #expect(throws: EpochFault.damaged(.nodeTable)) { try twice.decode(leaf: 0, page.rawSpan) }
    }
}

import Bytes
import TestSupport
import Testing

@Suite("Buffer pool")
struct BufferPoolTests {
    @Test(
        "Requests are rounded up to the next class",
        arguments: [
            (0, 4096), (1, 4096), (4096, 4096), (4097, 16384), (16384, 16384), (16385, 65536), (1_048_577, 4_194_304),
            (16_777_215, 16_777_216),
        ])
    func classes(request: Int, capacity: Int) throws {
        let pool = BufferPool(limit: 64 << 20)
        let lease = try pool.required(request)
        #expect(lease.capacity == capacity)
        #expect(lease.count == 0)
    }

    @Test("The limit bounds what is mapped; kept buffers make room for other classes")
    func limit() throws {
        let pool = BufferPool(limit: 1 << 20)
        do {
            let first = try pool.required(1 << 20)
            let hasMore = pool.canLease(1)
            #expect(!hasMore)
            _ = consume first
        }
        #expect(pool.leasedBytes == 0)
        #expect(pool.mappedBytes == 1 << 20)
        let givesSmall = pool.canLease(1)
        #expect(givesSmall)
        #expect(pool.mappedBytes == 4096)
        let givesTooLarge = pool.canLease(BufferPool.maximumLeaseLength + 1)
        #expect(!givesTooLarge)
    }

    @Test("A lease shows what was put in, and only that")
    func contents() throws {
        let pool = BufferPool(limit: 1 << 20)
        var lease = try pool.required(16)
        lease.assign([1, 2, 3])
        lease.append([4, 5].rawSpan)
        lease.extendWithZeros(to: 7)
        #expect(lease.bytes.copyToArray() == [1, 2, 3, 4, 5, 0, 0])
        lease.extendWithZeros(to: 2)
        #expect(lease.count == 7)
    }

    @Test("Data that comes in pieces, in any order, makes the lease as long as the last byte")
    func pieces() throws {
        let pool = BufferPool(limit: 1 << 20)
        var lease = try pool.required(16)
        lease.store([3, 4].rawSpan, at: 2)
        #expect(lease.count == 4)
        lease.store([1, 2].rawSpan, at: 0)
        lease.store([5].rawSpan, at: 4)
        let bytes = lease.copyToArray()
        #expect(bytes == [1, 2, 3, 4, 5])
    }

    @Test("Memory is reused, not mapped anew")
    func reuse() throws {
        let pool = BufferPool(limit: 1 << 20)
        for _ in 0..<1000 {
            let lease = try pool.required(4096)
            _ = consume lease
        }
        #expect(pool.mappedBytes == 4096)
    }

    @Test("Every free buffer of every class is given out again before another is mapped")
    func freeBuffers() throws {
        let pool = BufferPool(limit: 64 << 20)
        #expect(BufferPool.classSizes == (0..<7).map { 4096 << (2 * $0) })
        for size in BufferPool.classSizes.dropLast() {
            var mapped = 0
            for round in 0..<3 {
                var first = try pool.required(size)
                var second = try pool.required(size)
                var third = try pool.required(size)
                for value in [UInt8(1), 2, 3] {
                    let bytes = [UInt8](repeating: value, count: size)
                    switch value {
                    case 1: first.assign(bytes)
                    case 2: second.assign(bytes)
                    default: third.assign(bytes)
                    }
                }
                let areDistinct = first.bytes.byte(at: 0) == 1 && second.bytes.byte(at: 0) == 2
                #expect(areDistinct, "no two leases share memory")
                if round == 0 { mapped = pool.mappedBytes }
                #expect(pool.mappedBytes == mapped)
                _ = consume second
                _ = consume first
                _ = consume third
            }
            #expect(pool.leasedBytes == 0)
        }
    }
}

@Suite("Big-endian fields and checksums")
struct FieldTests {
    @Test("Stores and loads are each other's inverse, at any alignment")
    func fields() {
        var bytes = [UInt8](repeating: 0, count: 32)
        bytes.modifyBytes { target in
            target.storeBE16(0x0102, at: 1)
            target.storeBE24(0x030405, at: 3)
            target.storeBE32(0x0607_0809, at: 7)
            target.storeBE64(0x1011_1213_1415_1617, at: 13)
        }
        let span = bytes.rawSpan
        #expect(span.loadBE16(at: 1) == 0x0102)
        #expect(span.byte(at: 1) == 1)
        #expect(span.loadBE24(at: 3) == 0x030405)
        #expect(span.loadBE32(at: 7) == 0x0607_0809)
        #expect(span.loadBE64(at: 13) == 0x1011_1213_1415_1617)
    }

    @Test("CRC32C gives the check value, and RFC 3720 appendix B.4's vectors")
    func checksum() {
        #expect(CRC32C.checksum(Array("123456789".utf8).rawSpan) == 0xE306_9283)
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32).rawSpan) == 0x8A91_36AA)
        #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32).rawSpan) == 0x62A8_AB43)
        let whole = CRC32C.checksum(Array("123456789".utf8).rawSpan)
        let head = CRC32C.checksum(Array("1234".utf8).rawSpan)
        #expect(CRC32C.checksum(Array("56789".utf8).rawSpan, previous: head) == whole)
    }

    @Test("The first difference and all-zero are found in the tail as in the words")
    func comparison() {
        let first = [UInt8](repeating: 0, count: 19)
        for position in 0..<19 {
            var second = first
            second[position] = 1
            #expect(first.rawSpan.firstDifference(from: second.rawSpan) == position)
            let isAllZero = second.rawSpan.isAllZero
            #expect(!isAllZero)
        }
        #expect(first.rawSpan.firstDifference(from: first.rawSpan) == nil)
        let isAllZero = first.rawSpan.isAllZero
        #expect(isAllZero)
    }
}

@Suite("Slot table")
struct SlotTableTests {
    final class Thing {}

    @Test("A stale name does not reach the slot's next use")
    func generations() throws {
        var table = SlotTable<Thing>(limit: 1)
        let inserted = table.insert(Thing())
        let first = try #require(inserted)
        let tooMany = table.insert(Thing())
        #expect(tooMany == nil)
        let removed = table.remove(first)
        #expect(removed != nil)
        let insertedAgain = table.insert(Thing())
        let second = try #require(insertedAgain)
        #expect(second.index == first.index)
        #expect(table[first] == nil)
        let removedStale = table.remove(first)
        #expect(removedStale == nil)
        #expect(table[second] != nil)
        #expect(SlotName(word: second.word) == second)
    }
}

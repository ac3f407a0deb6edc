import Bytes
import TestSupport
import Testing

@Suite("Buffer pool")
struct BufferPoolTests {
    @Test(
        "Requests are rounded up to pages, and from eight pages on by at most an eighth",
        arguments: [
            (-1, 1), (0, 1), (1, 1), (4096, 1), (4097, 2), (7 * 4096 + 1, 8), (9 * 4096, 9), (65536, 16), (65537, 18),
            (260 << 10, 72), (1 << 20, 256), (1 << 20 + 1, 288), (15 << 20, 3840), (16 << 20, 4096),
        ])
    func sizes(request: Int, pages: Int) throws {
        let pool = BufferPool(limit: 64 << 20)
        let lease = try pool.required(request)
        #expect(lease.capacity == pages * 4096)
        #expect(lease.count == 0)
    }

    @Test("No request, however long, gets more than an eighth too much")
    func waste() throws {
        let pool = BufferPool(limit: 64 << 20)
        for pages in 1...4096 {
            let lease = try pool.required(pages * 4096)
            #expect(lease.capacity >= pages * 4096 && lease.capacity <= pages * 4096 * 9 / 8)
        }
        #expect(pool.leasedBytes == 0)
    }

    @Test("The limit bounds what is leased; all of it can be, in any sizes, and again after it has come back")
    func limit() throws {
        let pool = BufferPool(limit: 1 << 20)
        for size in [4096, 65536, 1 << 20, 12288, 4096] {
            var leases: [BufferLeaseBox] = []
            while let lease = pool.lease(capacity: size) { leases.append(BufferLeaseBox(lease)) }
            #expect(leases.count == 1 << 20 / size)
            #expect(pool.leasedBytes == leases.count * size)
            #expect(pool.mappedBytes == 1 << 20)
        }
        #expect(pool.leasedBytes == 0)
        let givesTooMuch = pool.canLease(1 << 20 + 1)
        #expect(!givesTooMuch)
        let givesTooLarge = BufferPool(limit: 64 << 20).canLease(BufferPool.maximumLeaseLength + 1)
        #expect(!givesTooLarge)
        let givesMost = pool.canLease(.max)
        #expect(!givesMost)
    }

    @Test("A transfer of 260 KiB takes 288 KiB of the limit, not 1 MiB")
    func oddTransfers() throws {
        let pool = BufferPool(limit: 16 << 20)
        var leases: [BufferLeaseBox] = []
        while let lease = pool.lease(capacity: 260 << 10) { leases.append(BufferLeaseBox(lease)) }
        #expect(leases.count == (16 << 20) / (288 << 10))
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

    @Test("Memory that has come back is used first: a thousand leases in turn touch one piece of it")
    func reuse() throws {
        let pool = BufferPool(limit: 256 << 20)
        for _ in 0..<1000 {
            let lease = try pool.required(65536)
            #expect(lease.region == 0 && lease.offset == 0)
        }
        #expect(pool.mappedBytes == BufferArena.regionLength)
        #expect(pool.residentBytes == BufferArena.chunkLength)
    }

    @Test("A lease outlives the last other reference to its pool")
    func lifetime() throws {
        var pool: BufferPool? = BufferPool(limit: 1 << 20)
        var lease = pool?.lease(capacity: 100)
        pool = nil
        lease?.assign([1, 2, 3])
        let bytes = lease?.copyToArray()
        #expect(bytes == [1, 2, 3])
    }

    @Test("Leases of random sizes never overlap, keep what is written to them, and add up", arguments: UInt64(0)..<24)
    func model(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let limit = [1 << 20, 66 << 20, 200 << 20][Int(seed % 3)]
        let pool = BufferPool(limit: limit)
        var held: [LeaseModel.Entry] = []
        var model = LeaseModel(limit: limit)
        for step in 0..<2000 {
            let wantsLease = held.isEmpty || Int.random(in: 0..<100, using: &random) < (step / 250 % 2 == 0 ? 70 : 30)
            if wantsLease {
                let size = Int.random(in: 1...4096 << Int.random(in: 0...12, using: &random), using: &random)
                guard let lease = pool.lease(capacity: size) else { continue }
                let box = BufferLeaseBox(lease)
                #expect(box.capacity >= size && box.address % 4096 == 0)
                let isFree = model.add(region: box.region, offset: box.offset, length: box.capacity)
                #expect(isFree, "no two overlap")
                box.mark(UInt64(step))
                held.append(LeaseModel.Entry(box: box, mark: UInt64(step)))
            } else {
                let entry = held.remove(at: Int.random(in: 0..<held.count, using: &random))
                #expect(entry.box.isMarked(entry.mark), "nobody else has written there")
                model.remove(region: entry.box.region, offset: entry.box.offset)
            }
            #expect(pool.leasedBytes == model.total)
            #expect(pool.leasedBytes <= pool.mappedBytes && pool.mappedBytes <= limit)
            if step % 10 == 0 { pool.giveBackIdleMemory() }
        }
        held = []
        #expect(pool.leasedBytes == 0)
        // All of it is in one piece again.
        let wholeRegion = pool.canLease(min(BufferPool.maximumLeaseLength, limit))
        #expect(wholeRegion)
    }
}

import Testing

@testable import Bytes

/// The place of a lease.
struct LeasePlaceTests {
    @Test("A place keeps a lease until it is taken or replaced, and gives it back at its end")
    func keep() {
        let pool = BufferPool(limit: 1 << 20)
        do {
            let place = LeasePlace()
            #expect(count(place) == nil)
            place.lease = pool.lease(capacity: 4096)
            place.lease?.assign([1, 2, 3])
            #expect(count(place) == 3)
            #expect(pool.leasedBytes == 4096)
            let taken = place.lease.take()
            #expect(count(place) == nil)
            #expect(pool.leasedBytes == 4096)
            place.lease = pool.lease(capacity: 8192)
            #expect(pool.leasedBytes == 4096 + 8192)
            _ = consume taken
            #expect(pool.leasedBytes == 8192)
        }
        #expect(pool.leasedBytes == 0)
    }

    private func count(_ place: borrowing LeasePlace) -> Int? { place.lease?.count }
}

import TestSupport
import Testing

@testable import Bytes

@Suite("Buffer arena")
struct BufferArenaTests {
    /// A port that registers regions, as long as it has `room`.
    final class Registrar: BufferRegionObserver {
        let pinsPages: Bool
        var room: Int
        var registered: [Int] = []
        var lengths: [Int] = []
        var bases: [UInt] = []

        init(pinsPages: Bool = true, room: Int = .max) {
            self.pinsPages = pinsPages
            self.room = room
        }

        func regionWasMapped(_ region: BufferRegion) -> Bool {
            guard registered.count < room else { return false }
            registered.append(region.index)
            lengths.append(region.length)
            bases.append(unsafe region.withUnsafeMutableMemory { UInt(bitPattern: $0.baseAddress) })
            return true
        }

        func regionWillBeUnmapped(_ region: BufferRegion) {
            registered.removeAll { $0 == region.index }
        }
    }

    @Test("Regions are mapped as they are needed, stay where they are, and each lease tells where in them it is")
    func regions() throws {
        let pool = BufferPool(limit: 100 << 20)
        let registrar = Registrar()
        #expect(pool.arena.regions.isEmpty)
        #expect(pool.arena.addObserver(registrar))
        var leases: [BufferLeaseBox] = []
        while let lease = pool.lease(capacity: 4 << 20) { leases.append(BufferLeaseBox(lease)) }
        #expect(leases.count == 25)
        #expect(registrar.registered == [0, 1])
        #expect(registrar.lengths == [64 << 20, 36 << 20])
        for base in registrar.bases { #expect(base % UInt(BufferArena.chunkLength) == 0) }
        for lease in leases {
            #expect(lease.address == registrar.bases[lease.region] + UInt(lease.offset))
        }
        leases = []
        for _ in 0..<100 { pool.giveBackIdleMemory() }
        #expect(registrar.registered == [0, 1], "giving memory back unmaps nothing")
        let late = Registrar()
        #expect(pool.arena.addObserver(late))
        #expect(late.registered == [0, 1], "who comes later is told of what is there")
        #expect(late.bases == registrar.bases)
    }

    @Test("The end of an arena ends registrations")
    func end() throws {
        let registrar = Registrar()
        do {
            let pool = BufferPool(limit: 1 << 20)
            #expect(pool.arena.addObserver(registrar))
            _ = pool.canLease(1)
            #expect(registrar.registered == [0])
        }
        #expect(registrar.registered.isEmpty)
    }

    @Test("A region that cannot be registered gives no leases, and nobody else keeps it registered")
    func refusal() throws {
        let pool = BufferPool(limit: 128 << 20)
        let first = Registrar()
        let second = Registrar(room: 1)
        #expect(pool.arena.addObserver(first))
        #expect(pool.arena.addObserver(second))
        var leases: [BufferLeaseBox] = []
        while let lease = pool.lease(capacity: 16 << 20) { leases.append(BufferLeaseBox(lease)) }
        #expect(leases.count == 4)
        #expect(first.registered == [0])
        // With room again, the pool grows.
        second.room = 2
        let grows = pool.canLease(16 << 20)
        #expect(grows)
        #expect(first.registered == [0, 1])
        // Who cannot register what is there observes nothing.
        let third = Registrar(room: 1)
        #expect(!pool.arena.addObserver(third))
        #expect(third.registered.isEmpty)
    }

    @Test("An arena has a named number of observers")
    func observerLimit() {
        let pool = BufferPool(limit: 1 << 20)
        for _ in 0..<BufferArena.maximumObservers { #expect(pool.arena.addObserver(Registrar())) }
        #expect(!pool.arena.addObserver(Registrar()))
    }

    /// A lease whose first byte is 1, of `length` bytes.
    private func touched(_ pool: BufferPool, _ length: Int) throws -> BufferLeaseBox {
        let box = BufferLeaseBox(try pool.required(length))
        box.mark(1)
        return box
    }

    @Test("Memory that stays idle is given back, a bounded part at a time, down to what a pool keeps")
    func givingBack() throws {
        let pool = BufferPool(limit: 256 << 20)
        #expect(!pool.hasIdleMemory)
        var leases = try (0..<12).map { _ in try touched(pool, 16 << 20) }
        #expect(pool.residentBytes == 192 << 20)
        for _ in 0..<20 { pool.giveBackIdleMemory() }
        #expect(pool.residentBytes == 192 << 20, "what is leased stays")
        let mapped = pool.mappedBytes
        leases = []
        for _ in 0..<Int(BufferPool.idleCalls) - 1 { pool.giveBackIdleMemory() }
        #expect(pool.residentBytes == 192 << 20, "what was just used stays")
        var resident = pool.residentBytes
        while pool.hasIdleMemory {
            pool.giveBackIdleMemory()
            let excess = resident - BufferPool.keptIdleLength
            #expect(resident - pool.residentBytes == min(BufferPool.giveBackLength, excess))
            resident = pool.residentBytes
        }
        #expect(resident == BufferPool.keptIdleLength)
        #expect(pool.mappedBytes == mapped)
        // It can be used as before, and what was given back is zero.
        leases = try (0..<12).map { _ in BufferLeaseBox(try pool.required(16 << 20)) }
        let zeros = leases.count { $0.isMarked(0) }
        #expect(zeros >= 11)
    }

    @Test("A piece in use keeps its chunk, and leases that come and go keep theirs")
    func partlyUsed() throws {
        let pool = BufferPool(limit: 64 << 20)
        var leases = try (0..<32).map { _ in try touched(pool, 2 << 20) }
        let kept = leases[7]
        leases = []
        for _ in 0..<40 {
            pool.giveBackIdleMemory()
            _ = try pool.required(65536)
        }
        #expect(pool.residentBytes == BufferPool.keptIdleLength)
        #expect(kept.isMarked(1))
    }

    @Test("Pinned memory is not given back: the adapter would go on using pages that are no longer there")
    func pinned() throws {
        let pool = BufferPool(limit: 64 << 20)
        let registrar = Registrar()
        let onDemand = Registrar(pinsPages: false)
        #expect(pool.arena.addObserver(registrar))
        #expect(pool.arena.addObserver(onDemand))
        _ = try touched(pool, 16 << 20)
        for _ in 0..<40 { pool.giveBackIdleMemory() }
        #expect(pool.residentBytes == 16 << 20)
        #expect(!pool.hasIdleMemory, "a reactor need not ask again")
        pool.arena.removeObserver(registrar)
        #expect(pool.hasIdleMemory)
        for _ in 0..<40 { pool.giveBackIdleMemory() }
        #expect(pool.residentBytes == BufferPool.keptIdleLength)
    }

    @Test("Any choice of pages works: where huge ones are missing, others stand in", arguments: PageChoice.allCases)
    func pages(choice: PageChoice) throws {
        let pool = BufferPool(limit: 64 << 20, pages: choice)
        let lease = try touched(pool, 3 << 20)
        #expect(lease.isMarked(1))
        let got = try #require(pool.arena.regions.first?.pages)
        #expect(choice == .reserved || got == choice || got == .standard)
        if choice == .standard { #expect(got == .standard) }
    }

    @Test(
        "Reserved huge pages stay with the arena; what stands in for them is given back", arguments: PageChoice.allCases
    )
    func givingBack(choice: PageChoice) throws {
        let pool = BufferPool(limit: 64 << 20, pages: choice)
        _ = try touched(pool, 16 << 20)
        let got = try #require(pool.arena.regions.first?.pages)
        #expect(pool.hasIdleMemory == (got != .reserved))
        for _ in 0..<40 { pool.giveBackIdleMemory() }
        #expect(pool.residentBytes == (got == .reserved ? 16 << 20 : BufferPool.keptIdleLength))
    }

    /// A pool whose reserved huge pages are other memory: as much as `regions` need. Counts how often it is asked.
    private func pool(limit: Int, reserved regions: Int, asked: @escaping () -> Void = {}) -> BufferPool {
        var left = regions
        return BufferPool(limit: limit) { limit in
            unsafe BufferArena(limit: limit, pages: .reserved) { length in
                asked()
                guard left > 0 else { return nil }
                left -= 1
                return unsafe BufferArena.mapped(length)
            }
        }
    }

    @Test("Reserved huge pages are taken when somebody says so, in advance, and never when the pool grows")
    func reserving() throws {
        var count = 0
        let pool = pool(limit: 228 << 20, reserved: 9) { count += 1 }
        var leases = [try touched(pool, 16 << 20)]
        #expect(count == 0 && pool.arena.regions.map(\.pages) != [.reserved])
        while pool.arena.reserve() {}
        // Three more regions are within the limit, and the last of them is whole chunks too.
        #expect(count == 3)
        #expect(pool.arena.regions.count == 1, "they are mapped when they are needed")
        while let lease = pool.lease(capacity: 4 << 20) { leases.append(BufferLeaseBox(lease)) }
        #expect(count == 3)
        #expect(pool.arena.regions.dropFirst().map(\.pages) == [.reserved, .reserved, .reserved])
        #expect(pool.arena.regions.map(\.length) == [64 << 20, 64 << 20, 64 << 20, 36 << 20])
        #expect(!pool.arena.reserve())
    }

    @Test("Only reserved pages are taken in advance, only as many as there are, and only whole ones")
    func reservingLimits() throws {
        #expect(!BufferPool(limit: 64 << 20, pages: .transparent).arena.reserve())
        #expect(!BufferPool(limit: 64 << 20).arena.reserve())
        #expect(!pool(limit: 1 << 20, reserved: 9).arena.reserve())
        let pool = pool(limit: 256 << 20, reserved: 2)
        #expect(pool.arena.reserve() && pool.arena.reserve() && !pool.arena.reserve())
        // A refusal by an observer leaves what was taken for later.
        let registrar = Registrar(room: 0)
        #expect(pool.arena.addObserver(registrar))
        let isRefused = !pool.canLease(1)
        #expect(isRefused && pool.arena.regions.isEmpty)
        registrar.room = .max
        var leases: [BufferLeaseBox] = []
        while let lease = pool.lease(capacity: 16 << 20) { leases.append(BufferLeaseBox(lease)) }
        #expect(leases.count == 16)
        #expect(pool.arena.regions.prefix(2).allSatisfy { $0.pages == .reserved })
        #expect(pool.arena.regions.suffix(2).allSatisfy { $0.pages != .reserved })
    }

    @Test("Beside reserved pages, which stay, others are given back, and a reactor need not ask for ever")
    func givingBackBesideReserved() throws {
        // The first region and the last are of other pages.
        let pool = pool(limit: 192 << 20, reserved: 1)
        var leases = [try touched(pool, 16 << 20)]
        #expect(pool.arena.reserve() && !pool.arena.reserve())
        leases += try (0..<11).map { _ in try touched(pool, 16 << 20) }
        #expect(pool.arena.regions.map { $0.pages == .reserved } == [false, true, false])
        leases = []
        #expect(pool.hasIdleMemory)
        for _ in 0..<40 { pool.giveBackIdleMemory() }
        #expect(!pool.hasIdleMemory, "what is left stays, and that is known")
        #expect(pool.residentBytes == 64 << 20 + BufferPool.keptIdleLength)
    }
}

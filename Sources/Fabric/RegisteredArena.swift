public import Bytes

/// The regions of a buffer pool's arena, registered with a protection domain: the way from a lease to a scatter entry.
@safe public final class RegisteredArena: BufferRegionObserver {
    /// What may be done with the memory.
    public let access: AccessRights
    private let pool: BufferPool
    private unowned let domain: ProtectionDomain
    /// By the number of the arena's region.
    private var regions: [MemoryRegion?] = []
    private var failure: FabricError?

    init(_ pool: BufferPool, access: AccessRights, domain: ProtectionDomain) throws(FabricError) {
        self.pool = pool
        self.access = access
        self.domain = domain
        guard pool.arena.addObserver(self) else { throw failure ?? .limitReached("observers of an arena") }
    }

    func isOf(_ other: BufferPool) -> Bool { pool === other }

    /// Ends all registrations.
    func end() {
        pool.arena.removeObserver(self)
        for region in regions { if let region { domain.deregister(region) } }
        regions = []
    }

    /// The region that a lease of the pool is in.
    public func region(of lease: borrowing BufferLease) -> MemoryRegion? {
        let index = lease.region
        return index < regions.count ? regions[index] : nil
    }

    /// The entry for `length` bytes of the lease from `offset` on, which are within its capacity; nil when its region
    /// is not registered (any more), because the device is gone.
    public func entry(for lease: borrowing BufferLease, offset: Int = 0, length: Int) -> ScatterEntry? {
        precondition(offset >= 0 && length >= 0 && offset + length <= lease.capacity, "an entry is within its lease")
        return region(of: lease)?.entry(offset: lease.offset + offset, length: length)
    }

    // MARK: The arena

    public var pinsPages: Bool { true }

    public func regionWasMapped(_ region: BufferRegion) -> Bool {
        do throws(FabricError) {
            let registered = unsafe try region.withUnsafeMutableMemory { (memory) throws(FabricError) in
                unsafe try domain.register(memory, access: access)
            }
            while regions.count <= region.index { regions.append(nil) }
            regions[region.index] = registered
            return true
        } catch {
            failure = error
            return false
        }
    }

    public func regionWillBeUnmapped(_ region: BufferRegion) {
        guard region.index < regions.count, let registered = regions[region.index] else { return }
        regions[region.index] = nil
        domain.deregister(registered)
    }
}

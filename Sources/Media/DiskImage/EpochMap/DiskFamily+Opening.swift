internal import Bytes
public import Platform
internal import Synchronization

/// Making and opening a family.
extension DiskFamily {
    /// Makes a family of one head without data in an empty store, with `checksums` of data or without. `compression`:
    /// the level of zstd at which extents are compressed, 1 to 19; nil when they are not.
    public static func create(
        on store: any ByteStore, capacity: Int64, blockSize: Int, name: String, time: CalendarTime, uuid: [UInt8],
        checksums: Bool = false, compression: Int? = nil
    ) throws(FamilyError) -> DiskFamily {
        try create(
            on: store, capacity: capacity, blockSize: blockSize, name: name, time: time, uuid: uuid,
            checksums: checksums, compression: compression, number: 1, nextNode: 2, grace: Grace())
    }

    /// The same with the number of the head and of the next node, and those who look into maps counted in `grace`.
    static func create(
        on store: any ByteStore, capacity: Int64, blockSize: Int, name: String, time: CalendarTime, uuid: [UInt8],
        checksums: Bool, compression: Int?, number: UInt32, nextNode: UInt32, grace: Grace
    ) throws(FamilyError) -> DiskFamily {
        guard blockSize == 512 || blockSize == 4096 else { throw .invalidBlockSize(blockSize) }
        guard capacity > 0, UInt64(capacity) <= EpochFormat.maximumCapacity, capacity % Int64(blockSize) == 0 else {
            throw .invalidCapacity(capacity)
        }
        guard (1...EpochFormat.nameLimit).contains(name.utf8.count) else { throw .invalidName }
        guard uuid.count == EpochFormat.uuidLength else { throw .invalidUUID }
        if let compression, !ZstdContext.levels.contains(compression) { throw .invalidCompression(compression) }
        let units = EpochFormat.journalUnits(capacity: UInt64(capacity))
        var superblock = EpochSuperblock.beforeFirst(uuid: uuid, journalUnits: units)
        superblock.hasChecksums = checksums
        superblock.compressionLevel = compression ?? 0
        let erased = EpochSuperblock.eraseCopies(store)
        guard erased == 0 else { throw FamilyError(code: erased) }
        let length = Int64(units) << Int64(EpochFormat.unitShift)
        let code = store.reserve(at: EpochFormat.offset(ofUnit: EpochFormat.journalStart), length: length)
        guard code == 0 || code == Errno.notSupported else { throw FamilyError(code: code) }
        var map = FreeMap(limit: EpochFormat.physicalUnitLimit, areas: superblock.checksumAreas)
        let isEmpty = map.adopt(0..<superblock.firstPoolUnit)
        precondition(isEmpty, "a new map is empty")
        let state = FamilyState(
            memory: MapMemory(grace: grace), heads: LiveHeads(grace: grace), units: UnitAllocator(map), epoch: 1,
            nextNode: nextNode, isCopied: checksums)
        state.hasExtents = compression != nil
        do throws(EpochFault) {
            try state.addFirst(
                NodeRecord(
                    number: number, parent: 0, epoch: 0, kind: .head, capacity: UInt64(capacity), blockSize: blockSize,
                    time: time, uuid: Self.uuid(of: number, in: uuid), name: name))
        } catch {
            throw FamilyError(error)
        }
        let family = family(store, superblock, state, JournalRing(superblock), FreeMapTree())
        let made = family.checkpoint()
        guard made == 0 else { throw FamilyError(code: made) }
        return family
    }

    /// Opens what a store has: as all that was durable left it, and perhaps what came after.
    public static func open(_ store: any ByteStore) throws(FamilyError) -> DiskFamily {
        try open(store, grace: Grace())
    }

    /// The same with those who look into maps counted in `grace`.
    static func open(_ store: any ByteStore, grace: Grace) throws(FamilyError) -> DiskFamily {
        switch EpochSuperblock.newest(of: EpochSuperblock.readCopies(store)) {
        case .valid(let superblock): return try open(store, superblock, grace)
        case .newer(let version): throw .unknown("the image has version \(version) of its format")
        case .unknownFeatures(let bits): throw .unknown("the image has unknown features \(bits)")
        case .unreadable(let code): throw FamilyError(code: code)
        case .invalid: throw FamilyError(EpochFault.damaged(.superblock))
        }
    }

    /// Nothing that is written here needs new storage: an image on a full host is opened.
    private static func open(
        _ store: any ByteStore, _ superblock: EpochSuperblock, _ grace: Grace
    ) throws(FamilyError) -> DiskFamily {
        do throws(EpochFault) {
            let reader = PageReader(store, superblock)
            var map = FreeMap(limit: EpochFormat.physicalUnitLimit, areas: superblock.checksumAreas)
            let freeMap = try readFreeMap(superblock, reader, &map)
            let state = FamilyState(
                memory: MapMemory(grace: grace), heads: LiveHeads(grace: grace), units: UnitAllocator(map),
                epoch: superblock.epoch, nextNode: superblock.nextNode, isCopied: superblock.hasChecksums)
            state.hasExtents = superblock.compressionLevel > 0
            state.load(try NodeTable.read(superblock, reader))
            state.units.beginReplay()
            let survey = try JournalScan.survey(store, superblock)
            let replayed = try state.replay(store, superblock, survey, reader)
            try checkLength(store, state.units)
            if let unit = replayed.lostFrame { try erase(unit, store) }
            // What was compared, and is taken for durable from now on.
            try EpochSuperblock.synchronize(store)
            let opened = try superblock.opened(replayed.survey)
            try opened.write(to: store)
            let ring = JournalRing(opened, replayed.survey)
            state.units.endReplay(lastFrame: ring.end.sequence - 1)
            state.units.addReserve(opened.reserve)
            return family(store, opened, state, ring, freeMap, replayed)
        } catch .damaged(.journal(let unit, let sequence)) {
            let damage = EpochDamage.journal(unit: unit, sequence: sequence)
            throw .damaged("\(damage); 'carousel check DISK --repair' says what it had")
        } catch .damaged(.freeMap) {
            throw .damaged("the free map is damaged; 'carousel check DISK --repair' makes it anew from the maps")
        } catch {
            throw FamilyError(error)
        }
    }

    private static func readFreeMap(
        _ superblock: EpochSuperblock, _ reader: PageReader, _ map: inout FreeMap
    ) throws(EpochFault) -> FreeMapTree {
        do throws(EpochFault) {
            return try FreeMapTree.read(superblock, reader, into: &map)
        } catch {
            // All of it can be made of the maps.
            throw error.isDamagedPage ? .damaged(.freeMap) : error
        }
    }

    /// Makes a frame one that no replay finds.
    private static func erase(_ unit: UInt64, _ store: any ByteStore) throws(EpochFault) {
        let zeros = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        switch store.write(zeros.rawSpan, offset: EpochFormat.offset(ofUnit: unit)) {
        case .done: return
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
    }

    /// A file that ends before what is in use was cut off. It must not become longer: what is missing would be zeros.
    private static func checkLength(_ store: any ByteStore, _ units: UnitAllocator) throws(EpochFault) {
        let length: Int64
        do throws(SystemError) { length = try store.size() } catch { throw .device(error.code) }
        let end = UInt64(length) >> UInt64(EpochFormat.unitShift)
        if end < units.committedEnd { throw .damaged(.truncated(unit: units.committedEnd - 1)) }
    }

    /// A family with that state.
    private static func family(
        _ store: any ByteStore, _ superblock: EpochSuperblock, _ state: FamilyState, _ ring: JournalRing,
        _ freeMap: FreeMapTree, _ replayed: Replayed? = nil
    ) -> DiskFamily {
        state.endReplay()
        let records = RecordCollection(
            ringUnits: superblock.journalUnits, next: ring.end.sequence, usedUnits: UInt32(clamping: ring.usedUnits),
            unconfirmed: replayed?.unconfirmed ?? [])
        return DiskFamily(
            store: store, uuid: superblock.uuid, memory: state.memory,
            pages: PageReader(store, superblock),
            shared: Shared(state: state, records: records),
            heads: state.heads, compression: ExtentCodec(superblock),
            journal: JournalWriter(ring: ring, superblock, confirmed: replayed?.survey.confirmed ?? 0),
            maintenance: Maintenance(superblock: superblock, freeMap: freeMap))
    }
}

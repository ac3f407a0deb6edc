internal import Platform
internal import Synchronization

/// Records: room for them, and the place of their order.
extension DiskFamily {
    /// The part of the journal that discards, deletions and what a commit needs have for themselves: a quarter.
    static let reservedShare: UInt32 = 4

    /// Why records were not appended.
    private enum Obstacle {
        case missing(LiveHead, UInt64)
        case room
        case gone
        case closing
        case refused
    }

    /// Applies records to a head, all at one instant, and collects them, in one frame when they have room in one; or
    /// none of them.
    func append(_ records: [JournalRecord], to head: LiveHead, isReserved: Bool = false) throws(EpochFault) {
        while true {
            let (obstacle, isFull, isFirst) = shared.withLock { shared -> (Obstacle?, Bool, Bool) in
                guard shared.state.head(head.number)?.live === head else { return (.gone, false, false) }
                guard !isClosing.load(ordering: .sequentiallyConsistent) else { return (.closing, false, false) }
                for record in records {
                    if let (_, region) = shared.state.missingRegion(for: record) {
                        return (.missing(head, region), false, false)
                    }
                }
                guard shared.records.hasRoom(for: records, isReserved: isReserved) else {
                    return (.room, false, false)
                }
                _ = shared.records.frame(forSlots: records.reduce(0) { $0 + $1.slots })
                for record in records {
                    guard shared.add(record) else { return (.refused, false, false) }
                }
                return (nil, shared.records.first != nil, shared.records.takeFirst())
            }
            switch obstacle {
            case nil:
                if isFull { writeFullFrames() }
                if isFirst { noteFirstRecord() }
                return
            case .missing(let head, let region):
                let pass = memory.grace.enter()
                defer { memory.grace.leave(pass) }
                try load(head, region)
            case .room: try makeRoom(records: records.count, isReserved: isReserved)
            case .gone: throw .device(Errno.noSuchFile)
            case .closing: throw .device(Errno.cancelled)
            case .refused: preconditionFailure("a command's records fit the state")
            }
        }
    }

    /// Sees to it that the journal has room for so many slots, and memory for what they change, by checkpoints if need
    /// be: others may fill it meanwhile. ENOSPC when not even an empty journal has, or a checkpoint finds no room on
    /// the host.
    func makeRoom(records count: Int, isReserved: Bool) throws(EpochFault) {
        try commitForReserve()
        while true {
            let (hasRoom, isPossible) = shared.withLock { shared in
                (
                    shared.hasRoom(slots: count, isReserved: isReserved, memory),
                    shared.records.mayHaveRoom(slots: count, isReserved: isReserved)
                )
            }
            if hasRoom { return }
            guard isPossible else { throw .device(Errno.noSpace) }
            // Whoever had the lock before may have made the room.
            let code = checkpoint(unless: { $0.hasRoom(slots: count, isReserved: isReserved, memory) })
            guard code == 0 else { throw .device(code) }
        }
    }

    /// Makes a commit before more is changed than the reserve has room for. ENOSPC when the host is full and it has
    /// none.
    private func commitForReserve() throws(EpochFault) {
        let reserve = UInt64(units.reserveCount)
        guard reserve > 0, shared.withLock({ $0.state.commitPages }) > reserve - reserve / 8 else { return }
        let code = checkpoint()
        guard code == 0 else { throw .device(code) }
    }

    /// Begins a checkpoint when half of the journal is used, or many regions are changed, unless one is going on.
    func maintainIfNeeded() {
        let reserve = UInt64(units.reserveCount)
        let isDue = shared.withLock { $0.isCheckpointDue(memory) || (reserve > 0 && $0.isReserveSpent(reserve)) }
        guard isDue, !isMaintaining.exchange(true, ordering: .acquiring) else { return }
        defer { isMaintaining.store(false, ordering: .releasing) }
        if checkpoint() != 0 { shared.withLock { $0.postponeCheckpoint(memory) } }
    }
}

extension DiskFamily.Shared {
    /// Applies a record and collects it; false when the state does not allow it.
    mutating func add(_ record: JournalRecord) -> Bool {
        let frame = records.frame(forSlots: record.slots)
        do {
            try state.apply(record, frame: frame)
        } catch {
            return false
        }
        records.append(record)
        return true
    }

    /// Whether journal and memory have room for so many slots more.
    func hasRoom(slots: Int, isReserved: Bool, _ memory: MapMemory) -> Bool {
        records.hasRoom(slots: slots, isReserved: isReserved) && !memory.isFull(isReserved: isReserved)
            && records.count < RecordCollection.countLimit * MapMemory.waitingFactor
    }

    func isCheckpointDue(_ memory: MapMemory) -> Bool {
        records.usedUnits + records.pendingUnits >= records.checkpointMark
            || state.changedRegions >= max(memory.dirtyLimit, records.changeMark)
            || state.closedLayers >= max(FamilyState.closedLayerLimit, records.layerMark)
            || records.count >= max(RecordCollection.countLimit, records.countMark)
    }

    /// Whether a commit would take most of the reserve. After a checkpoint that has failed others say when.
    func isReserveSpent(_ reserve: UInt64) -> Bool {
        records.changeMark == 0 && state.commitPages > reserve * 3 / 4
    }

    /// A checkpoint has failed: the next one is due when the journal is an eighth fuller, or more regions are changed.
    mutating func postponeCheckpoint(_ memory: MapMemory) {
        records.checkpointMark = records.usedUnits + records.pendingUnits + records.ringUnits / 8
        records.changeMark = state.changedRegions + memory.dirtyLimit / 8
        records.countMark = records.count + RecordCollection.countLimit / 8
        records.layerMark = state.closedLayers + FamilyState.closedLayerLimit / 8
    }
}

extension RecordCollection {
    /// Whether the journal has room for so many slots more, behind what was collected.
    func hasRoom(slots: Int, isReserved: Bool) -> Bool {
        hasRoom(units: usedUnits + pendingUnits + JournalFrame.units(slots: slots), isReserved: isReserved)
    }

    /// Whether an empty journal has that room.
    func mayHaveRoom(slots: Int, isReserved: Bool) -> Bool {
        // What is being collected takes a unit.
        hasRoom(units: 1 + JournalFrame.units(slots: slots), isReserved: isReserved)
    }

    private func hasRoom(units: UInt32, isReserved: Bool) -> Bool {
        let reserve = isReserved ? 0 : ringUnits / DiskFamily.reservedShare
        return units + reserve <= Self.commandUnits(ringUnits)
    }

    /// The units that records of commands may fill: without what the ring keeps for the frame before a commit, what an
    /// empty frame takes, and what may be left unused before the end of the ring.
    private static func commandUnits(_ ringUnits: UInt32) -> UInt32 {
        ringUnits - 3 * EpochFormat.frameUnits(journalUnits: ringUnits) - 1
    }

    /// A checkpoint is due when half of the ring is used, or of a small one most of what commands may fill.
    static func checkpointMark(_ ringUnits: UInt32) -> UInt32 {
        min(ringUnits / 2, (commandUnits(ringUnits) - ringUnits / DiskFamily.reservedShare) * 3 / 4)
    }

    func hasRoom(for list: [JournalRecord], isReserved: Bool) -> Bool {
        hasRoom(slots: list.reduce(0) { $0 + $1.slots }, isReserved: isReserved)
    }
}

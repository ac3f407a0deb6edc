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
        case refused
    }

    /// Applies records to a head, all at one instant, and collects them; or none of them.
    func append(_ records: [JournalRecord], to head: LiveHead, isReserved: Bool = false) throws(EpochFault) {
        while true {
            let (obstacle, isFull) = shared.withLock { shared -> (Obstacle?, Bool) in
                guard shared.state.head(head.number)?.live === head else { return (.gone, false) }
                for record in records {
                    if let (_, region) = shared.state.missingRegion(for: record) {
                        return (.missing(head, region), false)
                    }
                }
                guard shared.records.hasRoom(for: records, isReserved: isReserved) else { return (.room, false) }
                for record in records {
                    guard shared.add(record) else { return (.refused, false) }
                }
                return (nil, shared.records.first != nil)
            }
            switch obstacle {
            case nil:
                if isFull { writeFullFrames() }
                return
            case .missing(let head, let region):
                let pass = memory.grace.enter()
                defer { memory.grace.leave(pass) }
                try load(head, region)
            case .room: try makeRoom(records: records.count, isReserved: isReserved)
            case .gone: throw .device(Errno.noSuchFile)
            case .refused: preconditionFailure("a command's records fit the state")
            }
        }
    }

    /// Sees to it that the journal has room for so many slots, by checkpoints if need be: others may fill it meanwhile.
    /// ENOSPC when not even an empty journal has, or a checkpoint finds no room on the host.
    func makeRoom(records count: Int, isReserved: Bool) throws(EpochFault) {
        while true {
            let (hasRoom, isPossible) = shared.withLock { shared in
                (
                    shared.records.hasRoom(slots: count, isReserved: isReserved),
                    shared.records.mayHaveRoom(slots: count, isReserved: isReserved)
                )
            }
            if hasRoom { return }
            guard isPossible else { throw .device(Errno.noSpace) }
            let code = checkpoint()
            guard code == 0 else { throw .device(code) }
        }
    }

    /// Begins a checkpoint when half of the journal is used, or many regions are changed, unless one is going on.
    func maintainIfNeeded() {
        let isDue = shared.withLock { $0.isCheckpointDue(memory) }
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

    func isCheckpointDue(_ memory: MapMemory) -> Bool {
        records.usedUnits + records.pendingUnits >= records.checkpointMark
            || state.changedRegions >= max(MapMemory.dirtyLimit, records.changeMark)
            || state.closedLayers >= max(FamilyState.closedLayerLimit, records.layerMark)
    }

    /// A checkpoint has failed: the next one is due when the journal is an eighth fuller, or more regions are changed.
    mutating func postponeCheckpoint(_ memory: MapMemory) {
        records.checkpointMark = records.usedUnits + records.pendingUnits + records.ringUnits / 8
        records.changeMark = state.changedRegions + MapMemory.dirtyLimit / 8
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

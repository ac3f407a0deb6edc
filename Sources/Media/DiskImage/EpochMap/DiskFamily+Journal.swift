internal import Bytes
internal import Platform
internal import Synchronization

/// What writes frames: who has it, writes the next one.
struct JournalWriter: ~Copyable, Sendable {
    var ring: JournalRing
    var builder: JournalFrame.Builder
    let seed: UInt32
    /// What frames say of when they were written.
    let opening: UInt64
    var commit: UInt64
    /// The last frame that was written.
    var written: UInt64
    /// The last frame that is durable.
    var durable: UInt64
    /// What the last frame that was written says is confirmed.
    var confirmed: UInt64
    /// The flushes that are done.
    var served: UInt64 = 0

    /// What goes on behind the frames of a ring, which are durable; the last of them says that those up to `confirmed`
    /// are.
    init(ring: JournalRing, _ superblock: EpochSuperblock, confirmed: UInt64) {
        self.ring = ring
        builder = JournalFrame.Builder(unitLimit: ring.frameUnits)
        seed = superblock.seed
        opening = superblock.opening
        commit = superblock.commit
        written = ring.end.sequence - 1
        durable = written
        self.confirmed = min(confirmed, written)
    }
}

/// Frames, and what is true when they are durable.
extension DiskFamily {
    /// Makes everything durable that was acknowledged before the call; 0 or an error number.
    ///
    /// One synchronisation serves all that wait for the one before. After one that has failed, all fail: the host tells
    /// of a loss once.
    public func flush() -> Int32 {
        let ticket = asked.add(1, ordering: .sequentiallyConsistent).newValue
        return journal.withLock { writer in
            guard failureCode == 0 else { return failureCode }
            if writer.served >= ticket { return 0 }
            guard !isClosing.load(ordering: .sequentiallyConsistent) else { return Errno.cancelled }
            let target = asked.load(ordering: .sequentiallyConsistent)
            var code = writeFrames(&writer, mayConfirm: true)
            if code == 0 { code = synchronize(&writer) }
            if code == 0 { writer.served = target }
            return code
        }
    }

    /// Writes what was collected, if it is a frame's worth; nobody waits for it to be durable.
    func writeFullFrames() {
        // What fails here stays, and fails again in the next flush, which tells.
        _ = journal.withLock { writer in
            while shared.withLock({ $0.records.first != nil }) {
                let code = writeFrame(&writer)
                guard code == 0 else { return code }
            }
            return 0
        }
    }

    /// Writes what was collected as a frame, if the journal has room for it; nobody waits for it to be durable.
    func writeCollected() {
        journal.withLock { writer in
            guard failureCode == 0, !isClosing.load(ordering: .sequentiallyConsistent) else { return }
            // What fails stays, and fails again in the next flush, which tells.
            _ = writeFrames(&writer, mayConfirm: false)
        }
    }

    /// Writes all records that were collected as frames; and if there are none, but a frame waits to be confirmed, an
    /// empty one. 0 or an error number.
    func writeFrames(_ writer: inout JournalWriter, mayConfirm: Bool) -> Int32 {
        let canConfirm = mayConfirm && writer.confirmed < writer.durable && writer.ring.hasRoom(for: 1, isLast: false)
        shared.withLock { shared in
            shared.records.close()
            guard canConfirm, shared.records.first == nil, shared.records.hasUnconfirmed else { return }
            shared.records.close(mayBeEmpty: true)
        }
        while shared.withLock({ $0.records.first != nil }) {
            let code = writeFrame(&writer)
            guard code == 0 else { return code }
        }
        return 0
    }

    /// Writes the first whole frame.
    func writeFrame(_ writer: inout JournalWriter, isLast: Bool = false) -> Int32 {
        guard let frame = shared.withLock({ $0.records.first }) else { return 0 }
        writer.builder.removeAll()
        for record in frame.records {
            let hasRoom = writer.builder.append(record)
            precondition(hasRoom, "what is collected for a frame fits into it")
        }
        let code = put(&writer, isLast: isLast)
        guard code == 0 else { return code }
        shared.withLock { shared in
            shared.records.setWritten()
            shared.records.usedUnits = UInt32(clamping: writer.ring.usedUnits)
        }
        return 0
    }

    /// Writes the frame in the builder to its place.
    private func put(_ writer: inout JournalWriter, isLast: Bool) -> Int32 {
        guard let place = writer.ring.place(for: writer.builder.units, isLast: isLast) else { return Errno.noSpace }
        let (confirmed, seed) = (writer.durable, writer.seed)
        let (opening, commit) = (writer.opening, writer.commit)
        let (code, frame) = writer.builder.finish(
            sequence: place.sequence, confirmed: confirmed, chain: place.chain, seed: seed, opening: opening,
            commit: commit
        ) { frame, bytes -> (Int32, JournalFrame) in
            switch store.write(bytes, offset: EpochFormat.offset(ofUnit: place.unit)) {
            case .done: (0, frame)
            case .wouldBlock: (Errno.wouldBlock, frame)
            case .failed(let code): (code, frame)
            }
        }
        guard code == 0 else { return code }
        writer.ring.append(frame)
        writer.written = frame.sequence
        writer.confirmed = confirmed
        return 0
    }

    /// Makes what was written durable, and what follows from that true; 0 or an error number.
    func synchronize(_ writer: inout JournalWriter) -> Int32 {
        let code = inTurn { store.synchronizeData() }
        guard code == 0 else { return code }
        writer.durable = writer.written
        settle(confirmed: writer.confirmed)
        return 0
    }

    /// Frames up to `sequence` are confirmed: their data may be overwritten in place, and what they freed may be used.
    func settle(confirmed sequence: UInt64) {
        // One after the other, so that nobody waits for all of them.
        var goesOn = true
        while goesOn {
            goesOn = shared.withLock { shared in
                guard let frame = shared.records.confirmNext(sequence) else { return false }
                for record in frame.records { shared.state.confirm(record) }
                return true
            }
        }
        shared.withLock { _ in
            memory.grace.whenUnseen { [units] in units.release(frameDurable: sequence) }
            for action in memory.grace.collect() { action() }
        }
    }
}

extension FamilyState {
    /// The entries that a record made, as far as they still are there, need no frame any more.
    func confirm(_ record: JournalRecord) {
        if case .extent = record { return confirmExtent(record) }
        guard case .data(let number, let first, let unit, let count, _) = record, let live = head(number)?.live else {
            return
        }
        let length = UInt64(EpochFormat.regionUnits)
        for index in 0..<UInt64(count) {
            guard case .leaf(let leaf) = live.map.region((first + index) / length) else { continue }
            let place = Int((first + index) % length)
            let entry = leaf[place]
            if entry.isData, entry.unit == unit + index { leaf[place] = entry.confirmed }
        }
    }
}

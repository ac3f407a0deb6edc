internal import Bytes
internal import Platform
internal import Synchronization

/// What writes frames: who has it, writes the next one.
struct JournalWriter: ~Copyable, Sendable {
    var ring: JournalRing
    var builder: JournalFrame.Builder
    let seed: UInt32
    /// The last frame that was written.
    var written: UInt64
    /// The last frame that is durable.
    var durable: UInt64
    /// What the last frame that was written says is confirmed.
    var confirmed: UInt64
    /// The flushes that are done.
    var served: UInt64 = 0

    /// What goes on behind the frame `written`, which is durable, and all before it are confirmed.
    init(ring: JournalRing, seed: UInt32) {
        self.ring = ring
        builder = JournalFrame.Builder(unitLimit: ring.frameUnits)
        self.seed = seed
        written = ring.end.sequence - 1
        durable = written
        confirmed = written
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
            let before = failure.load(ordering: .sequentiallyConsistent)
            guard before == 0 else { return before }
            if writer.served >= ticket { return 0 }
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
        let (code, frame) = writer.builder.finish(
            sequence: place.sequence, confirmed: confirmed, chain: place.chain, seed: seed
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
        let code = makeDurable()
        guard code == 0 else { return code }
        writer.durable = writer.written
        settle(confirmed: writer.confirmed)
        return 0
    }

    /// Synchronises the file; a failure is for ever.
    func makeDurable() -> Int32 {
        let before = failure.load(ordering: .sequentiallyConsistent)
        guard before == 0 else { return before }
        let code = store.synchronizeData()
        if code != 0 { failure.store(code, ordering: .sequentiallyConsistent) }
        return code
    }

    /// Frames up to `sequence` are confirmed: their data may be overwritten in place, and what they freed may be used.
    func settle(confirmed sequence: UInt64) {
        shared.withLock { shared in
            for frame in shared.records.confirm(sequence) {
                for record in frame.records { shared.state.confirm(record) }
            }
            memory.grace.whenUnseen { [units] in units.release(frameDurable: sequence) }
            for action in memory.grace.collect() { action() }
        }
    }
}

extension FamilyState {
    /// The entries that a record made, as far as they still are there, need no frame any more.
    func confirm(_ record: JournalRecord) {
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

internal import Bytes
internal import Platform
internal import Synchronization

/// What of a partition's data file is durable. It owns the superblocks, and every synchronisation goes through it.
///
/// The kernel reports data that it could not write back to one fdatasync and takes their pages for clean from then on:
/// the next call succeeds although they are lost. So the first failure is final until it is acknowledged, it is counted
/// where it happens, and synchronisations follow one another under a lock: a thread whose own call succeeded knows of
/// the failures of all calls before. All methods may be called on any thread; those that synchronise wait for the
/// device.
final class PartitionDurability: Sendable {
    private struct State {
        /// What the valid copy says.
        var superblock: Superblock
        /// The copy (0 or 1) that holds `superblock` durably.
        var validCopy: Int
        /// The highest generation and epoch that a failed write may have left in the other copy.
        var attemptedGeneration: UInt64
        var attemptedEpoch: UInt32
    }

    private enum WriteOutcome {
        case durable
        /// The page was not written; the other data are as they were.
        case notWritten(MediaFailure)
        /// It was written but not made durable, and neither was what had been written before.
        case notDurable(Int32)
    }

    private let store: any ByteStore
    private let state: Lock<State>
    private let durable: Atomic<UInt64>
    /// The error number of a loss that is not acknowledged; 0 without one.
    private let lossCode: Atomic<Int32>
    /// When that was, in seconds since 1970; -1 when that is not known.
    private let lossSeconds: Atomic<Int64>
    private let lossHandler = Lock<(@Sendable (LossReport) -> Void)?>(nil)

    init(store: any ByteStore, superblock: Superblock, validCopy: Int) {
        self.store = store
        state = Lock(
            State(
                superblock: superblock, validCopy: validCopy, attemptedGeneration: superblock.generation,
                attemptedEpoch: superblock.epoch.number))
        durable = Atomic(superblock.loss?.durableObjects ?? 0)
        lossCode = Atomic(superblock.loss.map { Int32($0.errorNumber) } ?? 0)
        lossSeconds = Atomic(superblock.loss?.time?.seconds ?? -1)
    }

    /// Why data that were written may be lost; nil when none are, or when the loss was acknowledged.
    var loss: MediaFailure? { MediaFailure.of(lossCode.load(ordering: .acquiring)) }

    /// The same with the time, for people.
    var lossReport: LossReport? {
        loss.map { LossReport(failure: $0, time: CalendarTime(seconds: lossSeconds.load(ordering: .relaxed))) }
    }

    /// The objects before this are durable. It does not change while there is a loss.
    var durableObjects: UInt64 { durable.load(ordering: .acquiring) }

    /// What is called, once and on the thread where it happens, when data are lost.
    func whenLost(_ handler: (@Sendable (LossReport) -> Void)?) {
        lossHandler.withLock { $0 = handler }
    }

    /// Takes objects that were found on the medium when it was opened for durable.
    func found(objects: UInt64) {
        durable.store(objects, ordering: .releasing)
    }

    /// Makes all that was written durable: the objects before `objects`, if `epoch` is still the current one. Nil when
    /// nothing has been lost, neither by this call nor by any before.
    func synchronize(objects: UInt64, epoch: UInt32) -> MediaFailure? {
        afterwards { state in
            guard loss == nil else { return }
            let code = store.synchronizeData()
            guard code == 0 else { return lose(code, &state) }
            if epoch == state.superblock.epoch.number, objects > durableObjects {
                durable.store(objects, ordering: .releasing)
            }
        }
        return loss
    }

    /// Begins an epoch: `object` and all that follow no longer count, and all before are durable. Gives the superblock
    /// that says so, durably.
    ///
    /// A superblock that could not be written leaves everything as it was; one that could not be made durable is a
    /// loss.
    func beginEpoch(at object: UInt64, fileOffset: Int64) -> Result<Superblock, MediaFailure> {
        var result = Result<Superblock, MediaFailure>.failure(.corrupt)
        afterwards { state in
            if let loss {
                result = .failure(loss)
                return
            }
            guard var next = nextEpoch(at: object, fileOffset: fileOffset, &state) else { return }
            switch write(&next, &state) {
            case .durable:
                durable.store(object, ordering: .releasing)
                result = .success(next)
            case .notWritten(let failure): result = .failure(failure)
            case .notDurable(let code):
                lose(code, &state)
                result = .failure(MediaFailure(errorNumber: code))
            }
        }
        return result
    }

    /// Acknowledges a loss: an epoch begins where durability ended, so what was lost never comes back, and the
    /// superblock speaks of no loss any more. On failure everything stays as it was.
    func acknowledgeLoss(fileOffset: Int64) -> Result<Superblock, MediaFailure> {
        state.withLock { state in
            guard loss != nil else { return .success(state.superblock) }
            guard var next = nextEpoch(at: durableObjects, fileOffset: fileOffset, &state) else {
                return .failure(.corrupt)
            }
            next.loss = nil
            switch write(&next, &state) {
            case .durable:
                lossCode.store(0, ordering: .releasing)
                return .success(next)
            case .notWritten(let failure): return .failure(failure)
            case .notDurable(let code):
                note(&state)
                return .failure(MediaFailure(errorNumber: code))
            }
        }
    }

    /// Makes sure that the medium tells of a loss, if there is one: tries again what failed when it happened.
    func noteLoss() {
        guard loss != nil else { return }
        state.withLock { state in
            if state.superblock.loss == nil { note(&state) }
        }
    }

    // MARK: Under the lock

    /// Does `work` under the lock; then tells of a loss that happened in it.
    private func afterwards(_ work: (inout State) -> Void) {
        let isNew = state.withLock { state in
            let hadLoss = loss != nil
            work(&state)
            return !hadLoss && loss != nil
        }
        guard isNew, let lossReport else { return }
        let handler = lossHandler.withLock { $0 }
        handler?(lossReport)
    }

    private func lose(_ code: Int32, _ state: inout State) {
        lossSeconds.store(CalendarTime.current().seconds, ordering: .relaxed)
        lossCode.store(code, ordering: .releasing)
        note(&state)
    }

    /// Writes into the superblock where durability ended. It may fail too: then opening finds out by reading the
    /// device.
    private func note(_ state: inout State) {
        var next = state.superblock
        next.loss = Superblock.Loss(
            errorNumber: UInt16(clamping: lossCode.load(ordering: .relaxed)), durableObjects: durableObjects,
            time: CalendarTime(seconds: lossSeconds.load(ordering: .relaxed)))
        _ = write(&next, &state)
    }

    /// The superblock after the present one; nil when its epochs have run out of numbers: nothing could tell new
    /// records from old ones any more.
    private func nextEpoch(at object: UInt64, fileOffset: Int64, _ state: inout State) -> Superblock? {
        guard state.attemptedEpoch < .max else { return nil }
        state.attemptedEpoch += 1
        var next = state.superblock
        next.beginEpoch(state.attemptedEpoch, firstObject: object, fileOffset: fileOffset)
        return next
    }

    /// Writes a superblock over the copy that does not count, and synchronises. Until that is done nobody can say which
    /// one a reader would find; another one over the same copy, with a higher generation, settles it.
    private func write(_ next: inout Superblock, _ state: inout State) -> WriteOutcome {
        guard state.attemptedGeneration < Superblock.maximumGeneration else { return .notWritten(.corrupt) }
        state.attemptedGeneration += 1
        next.generation = state.attemptedGeneration
        let copy = 1 - state.validCopy
        switch store.write(next.encoded().rawSpan, offset: Int64(copy * Superblock.byteCount)) {
        case .done: break
        case .wouldBlock: return .notWritten(.device(Errno.wouldBlock))
        case .failed(let code): return .notWritten(MediaFailure(errorNumber: code))
        }
        let code = store.synchronizeData()
        guard code == 0 else { return .notDurable(code) }
        state.superblock = next
        state.validCopy = copy
        return .durable
    }
}

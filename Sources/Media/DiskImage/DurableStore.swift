internal import Platform

/// The bytes of one disk, or of several, with the rules of what is lost and what is durable: for an image, or for the
/// file that images share.
///
/// Synchronisations take turns, so that no two can divide a failure and a success between them; whatever may find a
/// loss, records it or acknowledges it has the turn.
protocol DurableStore: AnyObject, Sendable {
    var store: any ByteStore { get }
    var losses: LossRecord { get }
    /// The turn.
    var durability: Lock<Void> { get }
    /// What `code`, which a synchronisation has given, is as a loss: an error number, or 0 when nothing is lost.
    func loss(by code: Int32) -> Int32
    /// Makes everything durable that was written, and the notes of the store; 0 or an error number. In its turn.
    func makeAllDurable() -> Int32
}

extension DurableStore {
    // MARK: Losses

    /// Makes something durable by `body`, which gives 0 or an error number, and notes the loss that it finds. After a
    /// loss it does not try again: the host would say that all is well.
    func synchronizing(_ body: () -> Int32) -> Int32 {
        let (code, isNew) = durability.withLock { _ -> (Int32, Bool) in
            let before = losses.refusal(since: losses.epoch)
            guard before == 0 else { return (before, false) }
            let code = body()
            let lost = loss(by: code)
            guard lost != 0 else { return (code, false) }
            countLoss(lost)
            return (lost, true)
        }
        if isNew { losses.tellNoted() }
        return code
    }

    /// Counts a loss, and records it for the next opening; `losses.tellNoted` follows, when the turn is over.
    func countLoss(_ code: Int32) {
        losses.count(code, at: CalendarTime.current())
        recordLoss()
    }

    /// Records the loss, if there is one, for the next opening. A file system that cannot keep it has no other place
    /// either.
    func recordLoss() {
        if let note = losses.note { losses.setNoted(store.noteLoss(note)) }
    }

    /// Tries again to record a loss that could not be recorded.
    func recordLossAgain() {
        durability.withLock { _ in if !losses.isNoted { recordLoss() } }
    }

    /// Permits writes again after a loss: `prepare` does what is to be done first, or says why the loss stays, and
    /// `finish` what follows when nothing can go wrong any more. Without a loss it does nothing.
    func acknowledgeLoss(prepare: () -> MediaFailure?, finish: () -> Void = {}) -> MediaFailure? {
        durability.withLock { _ in
            guard losses.failure != nil else { return nil }
            if let failure = prepare() { return failure }
            let code = store.noteLoss(nil)
            guard code == 0 else {
                // It may be removed all the same, but not durably.
                recordLoss()
                return MediaFailure.of(code)
            }
            losses.setNoted(0)
            finish()
            losses.acknowledge()
            return nil
        }
    }

    // MARK: Notes

    /// Keeps a note or removes it, durably with all that was written before; 0, or an error number, with which
    /// `previous` is what stays, as far as that can be done. After a loss nothing is touched. Data that the host cannot
    /// write out meanwhile are a loss as at any other synchronisation.
    func keep(_ note: [UInt8]?, insteadOf previous: [UInt8]?, as key: StoreNoteKey) -> Int32 {
        var refusal: Int32 = 0
        let code = synchronizing {
            refusal = store.setNote(key, note)
            // That the store does not take a note is no loss.
            guard refusal == 0 else { return 0 }
            let code = makeAllDurable()
            // The loss is known before another synchronisation can begin, so this one takes no failure from anybody.
            if code != 0 { _ = put(previous, as: key) }
            return code
        }
        return code != 0 ? code : refusal
    }

    /// Keeps a note also after a loss: 0 or an error number.
    func keep(afterLoss note: [UInt8], as key: StoreNoteKey) -> Int32 {
        let code = keep(note, insteadOf: note, as: key)
        guard code != 0 else { return 0 }
        // Beside the synchronisations that find losses: this one has nothing to find.
        return durability.withLock { _ in losses.failure == nil ? code : put(note, as: key) }
    }

    /// Keeps a note or removes it; 0 or an error number. It says nothing of what was written.
    private func put(_ note: [UInt8]?, as key: StoreNoteKey) -> Int32 {
        let code = store.setNote(key, note)
        return code == 0 ? store.synchronize() : code
    }

    /// The marks and the operation that are kept under those keys. What cannot be read makes the operation unreadable:
    /// nobody knows then which blocks may be read.
    static func notes(
        of store: any ByteStore, marks: StoreNoteKey, operation: StoreNoteKey
    ) -> (marks: [UInt8], operation: KeptOperation) {
        do throws(SystemError) {
            let kept = try store.note(operation)
            return (try store.note(marks) ?? [], kept.map { .bytes($0) } ?? .none)
        } catch {
            return ([], .unreadable)
        }
    }
}

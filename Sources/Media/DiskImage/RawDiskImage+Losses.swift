public import Platform

/// Durability, and losses of written data.
extension RawDiskImage {
    /// Makes all completed writes durable (SYNCHRONIZE CACHE, SBC-4 clause 5.33). After a loss that could not be
    /// recorded it tries that again.
    public func synchronize() -> MediaFailure? {
        let code = synchronizeStore()
        recordLossAgain()
        return MediaFailure.of(code)
    }

    /// Makes everything durable; 0 or an error number. After a loss it does not try again: the host would say that all
    /// is well. One at a time: see `SynchronizationGroup`.
    func synchronizeStore() -> Int32 { synchronizing { makeDurable { store.synchronizeData() } } }

    /// Makes the data durable by `body`, which gives 0 or an error number, then the protection information; beside no
    /// other synchronisation.
    func makeDurable(_ body: () -> Int32) -> Int32 { protectionFile?.synchronize(body) ?? body() }

    /// What a synchronisation has given; a host that has less than the disk's blocks has lost some too.
    func loss(by code: Int32) -> Int32 { code == 0 && isTruncated ? MediaFailure.truncatedNumber : code }

    func makeAllDurable() -> Int32 { loss(by: makeDurable { store.synchronize() }) }

    /// Where the file ends, when that is before the disk does; nil when all is well, or the host does not say.
    var truncatedEnd: Int64? {
        guard let length = try? store.size(), length < capacity else { return nil }
        return length
    }

    /// Whether the host has less than the disk's blocks, or than their protection information.
    var isTruncated: Bool {
        truncatedEnd != nil || protectionFile?.isTruncated(UInt64(capacity) >> blockShift) == true
    }

    public var truncatedFile: (path: String, length: Int64) {
        let blocks = UInt64(capacity) >> blockShift
        return truncatedEnd == nil && protectionFile?.isTruncated(blocks) == true
            ? (Self.protectionPath(ofImage: path), ProtectionFile.length(blocks)) : (path, capacity)
    }

    /// Notes that a file has become shorter than the disk: the next write behind its end would make it longer again,
    /// with zeros for what was there. A loss that is known already stays as it is. It gives the error number of the
    /// loss, and waits for the file system.
    @discardableResult
    func noteTruncation() -> Int32 {
        let known = losses.refusal(since: losses.epoch)
        guard known == 0 else { return known }
        countLoss(MediaFailure.truncatedNumber)
        losses.tellNoted()
        return MediaFailure.truncatedNumber
    }

    public var loss: MediaFailure? { losses.failure }

    public var lossReport: LossReport? { losses.report }

    public func loss(since request: FileRequest) -> MediaFailure? {
        MediaFailure.of(losses.refusal(since: request.epoch))
    }

    public func observeLosses(_ body: @escaping @Sendable (MediaFailure) -> Void) {
        losses.observe(body)
    }

    public func observeLossNotes(_ body: @escaping @Sendable (LossReport, MediaFailure?) -> Void) {
        losses.observeNoted(body)
    }

    /// Removes the record of the loss; then forgets what memory holds of the file, as far as the system can do that,
    /// and permits writes again. Without a loss it does nothing.
    public func acknowledgeLoss() -> MediaFailure? {
        let failure: MediaFailure?
        if let journal {
            // The journal outside: an atomic write synchronises while it has it.
            failure = journal.discarding { discard in acknowledgeLoss(discard) }
        } else {
            failure = acknowledgeLoss { 0 }
        }
        if failure == nil { startRecovery() }
        return failure
    }

    /// `discard` gives up what the journal has of a lost write; 0 or an error number.
    private func acknowledgeLoss(_ discard: () -> Int32) -> MediaFailure? {
        acknowledgeLoss(
            prepare: {
                if isTruncated { return .truncated }
                // What is written from now on is newer than an atomic write that was lost.
                if let failure = MediaFailure.of(discard()) { return failure }
                // What the host could not write out until now is a part of this loss, not a new one after it.
                _ = store.synchronizeData()
                _ = protectionFile?.store.synchronizeData()
                return MediaFailure.of(protectionFile?.restore(UInt64(capacity) >> blockShift) ?? 0)
            },
            finish: {
                store.dropCache()
                // What was looked at until now may have been in memory alone.
                recovery.stop()
                protectionFile?.forget()
            })
    }
}

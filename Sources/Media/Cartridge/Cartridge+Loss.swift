/// When the host has failed to make written data durable. `Media` in the documentation has the rule and its reasons.
extension Cartridge {
    /// Why data that were written may be lost; nil when none are, or when the loss was acknowledged. Any thread.
    public var loss: MediaFailure? { log.durability.loss }

    /// `loss` with the time, for people. Any thread.
    public var lossReport: LossReport? { log.durability.lossReport }

    /// Sets what is called when data are lost: once, on the thread where it happens, whatever operation it was.
    public func whenLost(_ handler: (@Sendable (LossReport) -> Void)?) {
        log.durability.whenLost(handler)
    }

    /// After a loss, takes what is not durable off the tape: end of data is where durability ended, and a position
    /// behind it moves there. A drive calls it before a command uses the cartridge; without a loss it costs one load.
    public func withdrawLost() {
        guard loss != nil, !hasWithdrawnLost else { return }
        hasWithdrawnLost = true
        log.forget(from: durableObjects)
        position = min(position, endOfData)
        indexedObjects = min(indexedObjects, endOfData)
    }

    /// Ends the consequences of a loss: an operator knows that what was not durable is gone. It never comes back, and
    /// the cartridge can be written again from there on. Waits for the device; on failure nothing has changed.
    public func acknowledgeLoss() -> MediaFailure? {
        guard loss != nil else { return nil }
        withdrawLost()
        if let failure = log.acknowledgeLoss() { return failure }
        hasWithdrawnLost = false
        checkpointOffset = log.table.endOffset + checkpointInterval
        checkpointRuns = log.table.extents.count + Self.checkpointRunInterval
        submitBatch(endObject: endOfData, synchronizesData: false)
        return nil
    }
}

internal import Bytes
public import Platform

/// What a synchronisation makes durable: all that was written before it began.
public struct SynchronizationPoint: Equatable, Sendable {
    let endObject: UInt64
    let epoch: UInt32
}

/// Making data durable, and telling the index about it.
extension Cartridge {
    /// The objects before this are durable.
    var durableObjects: UInt64 { log.durability.durableObjects }

    /// Whether all that was written is durable.
    public var isDurable: Bool { loss == nil && durableObjects == endOfData }

    /// The first step of a synchronisation whose middle step may run on a worker.
    public func beginSynchronize() -> SynchronizationPoint {
        SynchronizationPoint(endObject: endOfData, epoch: epoch)
    }

    /// The middle step: waits for the device. On any thread, beside other calls. Gives 0 or an error number, as
    /// `FileRequest.Operation.call` wants it; `completeSynchronize` tells how it ended.
    public func synchronizeData(_ point: SynchronizationPoint) -> Int32 {
        log.durability.synchronize(objects: point.endObject, epoch: point.epoch) == nil ? 0 : Errno.inputOutput
    }

    /// The last step, back on the cartridge's thread: nil when all that was written before the first step is durable,
    /// and nothing has been lost before.
    public func completeSynchronize() -> WriteFailure? {
        withdrawLost()
        absorbReport()
        if let loss { return .dataLost(loss) }
        if indexedObjects < durableObjects { submitBatch(endObject: durableObjects, synchronizesData: false) }
        return nil
    }

    /// Makes all that was written durable. Waits for the device.
    public func synchronize() -> WriteFailure? {
        _ = synchronizeData(beginSynchronize())
        return completeSynchronize()
    }

    /// Makes everything durable, the index and the attributes too, before the cartridge is released. Waits for the
    /// device.
    ///
    /// After a loss it makes sure that the medium tells of it, and leaves the file as it is.
    public func close() -> WriteFailure? {
        _ = writer.drain()
        withdrawLost()
        if loss == nil {
            log.cutLeftOver()
            log.trimTail()
            if !isDurable { _ = synchronize() }
        }
        log.durability.noteLoss()
        absorbReport()
        if indexedObjects < durableObjects || indexEpoch != epoch {
            submitBatch(endObject: durableObjects, synchronizesData: false)
        }
        let settingsFailure = writer.drain() ?? writer.synchronize()
        absorbReport()
        return loss.map { .dataLost($0) } ?? settingsFailure.map { .auxiliaryMemory($0) }
    }

    private var epoch: UInt32 { log.superblock.epoch.number }

    /// Synchronises in the background what has gathered, if the writer is free.
    func checkpoint() {
        absorbReport()
        guard loss == nil, submitBatch(endObject: endOfData, synchronizesData: true) else { return }
        checkpointOffset = log.table.endOffset + checkpointInterval
        checkpointRuns = log.table.extents.count + Self.checkpointRunInterval
    }

    /// Hands the writer what the index lacks up to `endObject`. False when the writer is busy: the next batch includes
    /// it.
    @discardableResult
    func submitBatch(endObject: UInt64, synchronizesData: Bool) -> Bool {
        guard !writer.isBusy else { return false }
        let extents = log.table.extents
        var rows: [CartridgeIndex.ExtentRow] = []
        var firstObject: UInt64 = 0
        // The run that holds the last indexed object may have grown or been cut since; it is written again.
        var start = 0
        if indexedObjects > 0 { start = log.table.index(holding: indexedObjects - 1) }
        if start < extents.count {
            firstObject = extents[start].firstObject
            for var extent in extents[start...] where extent.firstObject < endObject {
                extent.count = min(extent.count, endObject - extent.firstObject)
                rows.append(CartridgeIndex.ExtentRow(extent))
            }
        }
        let batch = IndexWriter.Batch(
            partition: log.superblock.partition, epoch: epoch, firstObject: firstObject, rows: rows,
            endObject: endObject, synchronizesData: synchronizesData)
        guard writer.submit(batch) else { return false }
        indexedObjects = endObject
        indexEpoch = epoch
        return true
    }

    /// Takes note of rows that the writer could not write since the last time.
    func absorbReport() {
        if let missing = writer.takeFirstObjectMissing() { indexedObjects = min(indexedObjects, missing) }
    }
}

/// Operations for a worker of the file engine. Between submission and completion the cartridge is the worker's.
extension Cartridge {
    /// Makes `request` read up to `count` blocks as `readBlocks` does, into its lease at `leaseOffset`. The outcome is
    /// `offloadedReadResult`.
    public func prepareRead(_ request: FileRequest, blocks count: Int, at leaseOffset: Int) {
        offloadedRead = BlockReadResult(count: 0, outcome: .failed(.device(Errno.cancelled)))
        // Unowned, because the request keeps its last operation: it must not keep the cartridge open and locked.
        request.operation = .call { [unowned self, unowned request] in
            guard var lease = request.payload.lease.take() else { preconditionFailure("reading needs a lease") }
            offloadedRead = readBlocks(count, into: &lease, at: leaseOffset, mode: .blocking)
            request.payload.lease = consume lease
            return 0
        }
    }

    /// Makes `request` write `count` blocks as `appendBlocks` does, from its lease. The outcome is
    /// `offloadedAppendResult`.
    public func prepareAppend(_ request: FileRequest, at leaseOffset: Int, length: Int, count: Int) {
        offloadedAppend = AppendResult(count: 0, outcome: .failed(.host(.device(Errno.cancelled))))
        request.operation = .call { [unowned self, unowned request] in
            guard let lease = request.payload.lease.take() else { preconditionFailure("writing needs a lease") }
            offloadedAppend = appendBlocks(from: lease, at: leaseOffset, length: length, count: count)
            cutLeftOver()
            request.payload.lease = consume lease
            return 0
        }
    }

    /// What the last read on a worker gave.
    public var offloadedReadResult: BlockReadResult { offloadedRead }
    /// What the last writing on a worker gave.
    public var offloadedAppendResult: AppendResult { offloadedAppend }
}

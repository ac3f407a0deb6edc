public import Platform

/// What a synchronisation makes durable: all that was written before it began.
public struct SynchronizationPoint: Equatable, Sendable {
    let endObject: UInt64
    let epoch: UInt32
}

/// Making data durable, and telling the index about it.
extension Cartridge {
    /// Whether all that was written is durable.
    public var isDurable: Bool {
        absorbReport()
        return stickyFailure == nil && durableObjects == endOfData
    }

    /// The first step of a synchronisation whose middle step may run on a worker.
    public func beginSynchronize() -> SynchronizationPoint {
        SynchronizationPoint(endObject: endOfData, epoch: log.superblock.epoch.number)
    }

    /// The middle step: waits for the device. On any thread, beside other calls. Gives 0 or an error number, as
    /// `FileRequest.Operation.call` wants it.
    public func synchronizeData() -> Int32 { log.store.synchronizeData() }

    /// The last step, back on the cartridge's thread, with what `synchronizeData` gave.
    ///
    /// After a failure the host may have dropped what it could not write; so the failure stays, and writing is refused,
    /// until the cartridge is opened again.
    public func completeSynchronize(_ point: SynchronizationPoint, errorNumber: Int32) -> MediaFailure? {
        absorbReport()
        if stickyFailure == nil { stickyFailure = MediaFailure.of(errorNumber) }
        if let stickyFailure { return stickyFailure }
        if point.epoch == log.superblock.epoch.number { durableObjects = max(durableObjects, point.endObject) }
        if indexedObjects < durableObjects { submitBatch(endObject: durableObjects, synchronizesData: false) }
        return nil
    }

    /// Makes all that was written durable. Waits for the device.
    public func synchronize() -> MediaFailure? {
        let point = beginSynchronize()
        return completeSynchronize(point, errorNumber: synchronizeData())
    }

    /// Makes everything durable, the index and the attributes too, before the cartridge is released. Waits for the device.
    public func close() -> MediaFailure? {
        log.trimTail()
        let failure = isDurable ? nil : synchronize()
        _ = writer.drain()
        absorbReport()
        if failure == nil, stickyFailure == nil, indexedObjects < durableObjects || indexEpoch != epoch {
            submitBatch(endObject: durableObjects, synchronizesData: false)
            _ = writer.drain()
        }
        return failure ?? stickyFailure
    }

    private var epoch: UInt32 { log.superblock.epoch.number }

    /// Synchronises in the background what has gathered, if the writer is free.
    func checkpoint() {
        absorbReport()
        guard stickyFailure == nil else { return }
        if submitBatch(endObject: endOfData, synchronizesData: true) {
            checkpointOffset = log.table.endOffset + checkpointInterval
        }
    }

    /// Hands the writer what the index lacks up to `endObject`. False when the writer is busy: the next one takes it along.
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

    /// Takes note of what the writer has done since the last time.
    func absorbReport() {
        let report = writer.takeReport()
        if let code = report.synchronizationError, stickyFailure == nil {
            stickyFailure = MediaFailure(errorNumber: code)
        }
        if let missing = report.firstObjectMissing { indexedObjects = min(indexedObjects, missing) }
        if let durable = report.durable, durable.epoch == epoch {
            durableObjects = max(durableObjects, durable.objects)
        }
    }
}

/// Operations for a worker of the file engine. Between submission and completion the cartridge is the worker's.
extension Cartridge {
    /// Makes `request` read up to `count` blocks as `readBlocks` does, into its lease at `leaseOffset`. The outcome is
    /// `offloadedReadResult`.
    public func prepareRead(_ request: FileRequest, blocks count: Int, at leaseOffset: Int) {
        // Unowned, because the request keeps its last operation: it must not keep the cartridge open and locked.
        request.operation = .call { [unowned self, unowned request] in
            guard var lease = request.lease.take() else { preconditionFailure("reading needs a lease") }
            offloadedRead = readBlocks(count, into: &lease, at: leaseOffset, mode: .blocking)
            request.lease = consume lease
            return 0
        }
    }

    /// Makes `request` write `count` blocks as `appendBlocks` does, from its lease. The outcome is `offloadedAppendResult`.
    public func prepareAppend(_ request: FileRequest, at leaseOffset: Int, length: Int, count: Int) {
        request.operation = .call { [unowned self, unowned request] in
            guard let lease = request.lease.take() else { preconditionFailure("writing needs a lease") }
            offloadedAppend = appendBlocks(from: lease, at: leaseOffset, length: length, count: count)
            request.lease = consume lease
            return 0
        }
    }

    /// What the last read on a worker gave.
    public var offloadedReadResult: BlockReadResult { offloadedRead }
    /// What the last writing on a worker gave.
    public var offloadedAppendResult: AppendResult { offloadedAppend }
}

internal import Platform
internal import Synchronization

/// What who serves a family has to know of its file.
extension DiskFamily {
    /// The error number of the synchronisation that has failed; 0 when all is well.
    var failureCode: Int32 { failure.load(ordering: .sequentiallyConsistent) }

    /// How long the file is at least, in bytes: superblocks and journal.
    var neededLength: Int64 {
        let units = shared.withLock { $0.records.ringUnits }
        return EpochFormat.offset(ofUnit: EpochFormat.journalStart + UInt64(units))
    }

    /// Makes notes durable that the store has recorded; 0 or an error number. A failure is for ever, as that of
    /// data.
    func synchronizeNotes() -> Int32 {
        journal.withLock { _ in
            let before = failureCode
            guard before == 0 else { return before }
            let code = store.synchronize()
            if code != 0 { failure.store(code, ordering: .sequentiallyConsistent) }
            return code
        }
    }
}

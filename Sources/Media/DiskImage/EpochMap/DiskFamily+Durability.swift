internal import Platform
internal import Synchronization

/// What who serves a family has to know of its file.
extension DiskFamily {
    /// The error number of the synchronisation that has failed; 0 when all is well.
    var failureCode: Int32 { failure.load(ordering: .sequentiallyConsistent) }

    /// The number of the next node that is made.
    var nextNode: UInt32 { shared.withLock { $0.state.nextNode } }

    /// Makes notes durable that the store has recorded; 0 or an error number. A failure is for ever, as that of
    /// data.
    func synchronizeNotes() -> Int32 {
        inTurn { store.synchronize() }
    }

    /// Another opening of the store takes its place: nothing is read or written any more, and everything fails with
    /// `code`. It may use units that the device does not have in use, and which this one would read.
    func retire(_ code: Int32 = Errno.inputOutput) {
        _ = failure.compareExchange(expected: 0, desired: code, ordering: .sequentiallyConsistent)
        isRetired.store(true, ordering: .sequentiallyConsistent)
        // A frame that is being written without a command.
        journal.withLock { _ in }
    }

    /// Everything that writes fails with this error number from now on, unless it does with another one already.
    func fail(_ code: Int32) {
        synchronization.withLock { _ in
            if failureCode == 0 { failure.store(code, ordering: .sequentiallyConsistent) }
        }
    }

    /// Calls `body`, which synchronises the file and gives 0 or an error number, when no other synchronisation goes on;
    /// not at all after one that has failed, whose error number it gives. A failure is for ever.
    ///
    /// The host tells of a loss once, to one synchronisation, and takes the pages for written: so they follow one
    /// another, and what one has found counts for all that come later.
    func inTurn(_ body: () -> Int32) -> Int32 {
        synchronization.withLock { _ in
            let before = failureCode
            guard before == 0 else { return before }
            let code = body()
            if code != 0 { failure.store(code, ordering: .sequentiallyConsistent) }
            return code
        }
    }
}

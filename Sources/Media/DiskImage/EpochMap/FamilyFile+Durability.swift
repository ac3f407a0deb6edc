internal import Platform
internal import Synchronization

/// Durability, and losses of written data.
extension FamilyFile {
    /// How long the file is at least, in bytes: it never becomes shorter by itself.
    var neededLength: Int64 { longest.load(ordering: .relaxed) }

    /// Whether the file has become shorter.
    var isTruncated: Bool {
        // Before the question: others may make it longer meanwhile.
        let before = longest.load(ordering: .acquiring)
        guard let length = try? store.size() else { return false }
        longest.max(length, ordering: .acquiringAndReleasing)
        return length < before
    }

    /// Makes everything durable that was acknowledged; 0 or an error number. A failed synchronisation is a loss.
    func flush() -> Int32 { durably { $0.flush() } }

    /// Calls `body`, which makes something durable and gives 0 or an error number; notes the loss that it finds.
    func durably(_ body: (DiskFamily) -> Int32) -> Int32 { synchronizing { withFamily(body) } }

    /// What has failed for ever; a file that has become shorter has lost data too. What fails because the file is
    /// closed has lost nothing: that is durable.
    func loss(by code: Int32) -> Int32 {
        guard !isGivenUp.load(ordering: .sequentiallyConsistent) else { return 0 }
        let failure = withFamily { $0.failureCode }
        return failure == 0 && (code == MediaFailure.truncatedNumber || isTruncated)
            ? MediaFailure.truncatedNumber : failure
    }

    func makeAllDurable() -> Int32 {
        withFamily { family in
            let code = family.flush()
            return code == 0 ? family.synchronizeNotes() : code
        }
    }

    /// Notes a loss that a command has met on its way, which has ended with `code`: the family's background work
    /// synchronises too. It gives the error number of the loss; 0 when there is none.
    @discardableResult
    func noteFailure(_ code: Int32 = 0) -> Int32 {
        let code = synchronizing { code }
        return losses.failure == nil ? 0 : code
    }

    /// Why everything that writes is refused; nil when all is well.
    public var loss: MediaFailure? { losses.failure }

    /// Forgets what memory holds, opens what the device has, and permits writes again. Nil, or why the loss stays: of a
    /// closed file it does.
    public func acknowledgeLoss() -> MediaFailure? {
        structure.withLock { structure in
            guard !structure.isClosed else { return FamilyError.closed.failure }
            let failure = acknowledgeLoss {
                if isTruncated { return .truncated }
                // What the host could not write out until now is a part of this loss, not a new one after it.
                _ = store.synchronizeData()
                return replaceFamily()
            }
            guard failure == nil else { return failure }
            settleRollbacks(&structure)
            structure.merger?.start()
            return nil
        }
    }
}

internal import Platform

/// What is kept of each node besides its blocks, as notes of the file: marks, and the operation on all blocks of heads.
///
/// A snapshot, and what begins with one, has the marks of its origin: a mark says that the data of a block are not to
/// be had, and the snapshot has the same data. An operation is of the head alone that it goes through.
extension FamilyFile {
    private static let kinds: [StoreNoteKey] = [.markedBlocks, .operation]

    /// The note of a node; nil when there is none.
    func note(_ kind: StoreNoteKey, of node: UInt32) throws(SystemError) -> [UInt8]? { try store.note(kind.of(node)) }

    /// What an image finds of its node; what cannot be read makes the operation unreadable: nobody knows which blocks
    /// may be read.
    func notes(of node: UInt32) -> (marks: [UInt8], operation: KeptOperation) {
        Self.notes(of: store, marks: .markedBlocks.of(node), operation: .operation.of(node))
    }

    /// Gives the nodes that are made next, from the number `first` on, the marks of `origins`, before they are there:
    /// so no crash leaves one without them.
    func prepareNotes(ofNodes first: UInt32, from origins: [UInt32]) throws(FamilyError) {
        var isChanged = false
        for (index, origin) in origins.enumerated() {
            let node = first + UInt32(index)
            let wanted: [StoreNoteKey: [UInt8]]
            var present: [StoreNoteKey: [UInt8]] = [:]
            do throws(SystemError) {
                wanted = try note(.markedBlocks, of: origin).map { [.markedBlocks: $0] } ?? [:]
                // What a crash has left of an attempt that came to nothing.
                for kind in Self.kinds { present[kind] = try note(kind, of: node) }
            } catch {
                throw FamilyError(code: error.code)
            }
            for kind in Self.kinds where present[kind] != wanted[kind] {
                let code = store.setNote(kind.of(node), wanted[kind])
                if code == Errno.noSpace {
                    throw .limit("the file's attributes have no room for the marked blocks of one more node")
                }
                guard code == 0 else { throw FamilyError(code: code) }
                isChanged = true
            }
        }
        guard isChanged else { return }
        let code = durably { $0.synchronizeNotes() }
        guard code == 0 else { throw FamilyError(code: code) }
    }

    /// Removes the notes of a node that is deleted. What fails here is done by an opening while the node is being
    /// merged; after that it takes room, and is nobody's: numbers are not given twice.
    func removeNotes(of node: UInt32) {
        for kind in Self.kinds { _ = store.setNote(kind.of(node), nil) }
    }

    /// Removes the notes of nodes that were deleted just before a crash.
    func removeForgottenNotes() {
        for node in nodes where !node.isPresent { removeNotes(of: node.number) }
    }
}

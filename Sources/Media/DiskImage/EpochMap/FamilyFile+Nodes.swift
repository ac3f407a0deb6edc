public import Platform

/// The tree, for the control plane: what succeeds is durable on return. After a loss of written data everything is
/// refused until that is acknowledged.
extension FamilyFile {
    /// Heads of a file, of which snapshots are made with those names.
    public struct SnapshotRequest: Sendable {
        public let file: FamilyFile
        public let heads: [UInt32]
        public let names: [String]

        /// Snapshots of `heads`, which have as many `names`.
        public init(file: FamilyFile, heads: [UInt32], names: [String]) {
            precondition(heads.count == names.count, "each snapshot has a name")
            self.file = file
            self.heads = heads
            self.names = names
        }
    }

    // MARK: Snapshots

    /// Snapshots of heads, all at one instant, and their numbers in that order.
    ///
    /// What was acknowledged before the call is in them, what begins after it is not; of writes that go on meanwhile,
    /// any sectors.
    public func snapshot(
        _ heads: [UInt32], names: [String], time: CalendarTime
    ) throws(FamilyError) -> [UInt32] {
        precondition(heads.count == names.count, "each snapshot has a name")
        return try structure.withLock { structure throws(FamilyError) in
            try checkOpen(structure)
            return try snapshotAlone(heads, names, time)
        }
    }

    /// Snapshots of heads of several files, all at one instant, and their numbers in that order; each file once.
    ///
    /// A write that was acknowledged before the call is in them. One that begins when another one has been acknowledged
    /// is in them only together with that one, whichever files they are of. Commands that write wait meanwhile. When
    /// it throws, none of the snapshots stays, unless a file has failed that has some already.
    public static func snapshot(
        _ requests: [SnapshotRequest], time: CalendarTime
    ) throws(FamilyError) -> [[UInt32]] {
        // In an order that is the same for all who do this.
        let order = requests.indices.sorted {
            ObjectIdentifier(requests[$0].file) < ObjectIdentifier(requests[$1].file)
        }
        for (index, next) in zip(order, order.dropFirst()) where requests[index].file === requests[next].file {
            guard let head = requests[next].heads.first else { continue }
            throw .repeated(head)
        }
        // What is durable already need not be waited for at the instant.
        for request in requests { _ = request.file.flush() }
        return try alone(order[...], requests) { () throws(FamilyError) in
            for index in order {
                requests[index].file.writes.close()
                requests[index].file.door.close()
            }
            defer {
                for index in order {
                    requests[index].file.door.open()
                    requests[index].file.writes.open()
                }
            }
            var made = [[UInt32]](repeating: [], count: requests.count)
            do throws(FamilyError) {
                for index in order {
                    let request = requests[index]
                    made[index] = try request.file.snapshotAlone(request.heads, request.names, time)
                }
            } catch {
                for index in order {
                    for node in made[index] { try requests[index].file.takeBack(node, time) }
                }
                throw error
            }
            return made
        }
    }

    /// Calls `body` while nobody else changes the trees of the files, which are open.
    private static func alone(
        _ order: ArraySlice<Int>, _ requests: [SnapshotRequest], _ body: () throws(FamilyError) -> [[UInt32]]
    ) throws(FamilyError) -> [[UInt32]] {
        guard let first = order.first else { return try body() }
        let file = requests[first].file
        return try file.structure.withLock { structure throws(FamilyError) in
            try file.checkOpen(structure)
            return try alone(order.dropFirst(), requests, body)
        }
    }

    private func snapshotAlone(
        _ heads: [UInt32], _ names: [String], _ time: CalendarTime, uuid: [UInt8]? = nil
    ) throws(FamilyError) -> [UInt32] {
        for head in heads { try checkIsNotErased(head) }
        try prepareNotes(ofNodes: withFamily { $0.nextNode }, from: heads)
        return try change { family throws(FamilyError) in
            try family.snapshot(heads, names: names, time: time, uuid: uuid)
        }
    }

    /// A snapshot of a head that has the content of one somewhere else, and its number: it has that one's identity.
    public func snapshot(_ head: UInt32, name: String, as identity: SnapshotIdentity) throws(FamilyError) -> UInt32 {
        try structure.withLock { structure throws(FamilyError) in
            try checkOpen(structure)
            return try snapshotAlone([head], [name], identity.time, uuid: identity.uuid)[0]
        }
    }

    /// Deletes a snapshot that others were to be made with. When that is refused it stays, and the file has failed:
    /// what is told is true of all of them then.
    private func takeBack(_ node: UInt32, _ time: CalendarTime) throws(FamilyError) {
        do throws(FamilyError) {
            try deleteAlone(node, time)
        } catch {
            let failure = error.failure
            withFamily { $0.fail(failure.errorNumber) }
            noteFailure()
            throw .uncertain(failure)
        }
    }

    // MARK: Others

    /// A head that begins with what a snapshot has, and its number.
    public func clone(_ snapshot: UInt32, name: String, time: CalendarTime) throws(FamilyError) -> UInt32 {
        try structure.withLock { structure throws(FamilyError) in
            try checkOpen(structure)
            try prepareNotes(ofNodes: withFamily { $0.nextNode }, from: [snapshot])
            return try change { family throws(FamilyError) in try family.clone(snapshot, name: name, time: time) }
        }
    }

    /// Deletes a node that no disk uses; what only it has is freed in the background. A snapshot with several children
    /// loses its name, and goes when one child is left. The last node stays.
    public func delete(_ node: UInt32, time: CalendarTime) throws(FamilyError) {
        try structure.withLock { structure throws(FamilyError) in
            try checkOpen(structure)
            guard structure.users[node] == nil else { throw .inUse(node) }
            try deleteAlone(node, time)
            structure.merger?.start()
        }
    }

    private func deleteAlone(_ node: UInt32, _ time: CalendarTime) throws(FamilyError) {
        try change { family throws(FamilyError) in try family.delete(node, time: time) }
        removeNotes(of: node)
    }

    /// Keeps a snapshot from being deleted until then; a lock does not become shorter.
    public func lock(_ node: UInt32, until time: CalendarTime) throws(FamilyError) {
        try structure.withLock { structure throws(FamilyError) in
            try checkOpen(structure)
            try change { family throws(FamilyError) in try family.lock(node, until: time) }
        }
    }

    /// Gives a node another name.
    public func rename(_ node: UInt32, to name: String) throws(FamilyError) {
        try structure.withLock { structure throws(FamilyError) in
            try checkOpen(structure)
            try change { family throws(FamilyError) in try family.rename(node, to: name) }
        }
    }

    /// Makes a head larger.
    func resize(_ head: UInt32, to capacity: Int64) throws(FamilyError) {
        try structure.withLock { structure throws(FamilyError) in
            try checkOpen(structure)
            try change { family throws(FamilyError) in try family.resize(head, to: capacity) }
        }
    }

    /// Makes what the head of an image has a snapshot of the name `name`, and has the image go on with a new head below
    /// `snapshot`; its number.
    func rollBack(
        _ image: EpochDiskImage, to snapshot: UInt32, keeping name: String, time: CalendarTime
    ) throws(FamilyError) -> UInt32 {
        try structure.withLock { structure throws(FamilyError) in
            try checkOpen(structure)
            let (former, next) = (image.node, withFamily { $0.nextNode })
            var failure: FamilyError?
            try image.switching { () throws(FamilyError) in
                guard case .none = notes(of: former).operation else { throw .operation(former) }
                try prepareNotes(ofNodes: next, from: [snapshot])
                do throws(FamilyError) {
                    try change { family throws(FamilyError) in
                        try family.rollBack(former, to: snapshot, keeping: name, time: time)
                    }
                } catch {
                    // It may be done, but not durable.
                    guard isHead(next) else { throw error }
                    failure = error
                }
                structure.users[next] = structure.users.removeValue(forKey: former)
                return next
            }
            guard let failure else { return next }
            structure.rollbacks.append(Rollback(image: image, former: former, next: next))
            throw failure
        }
    }

    private func isHead(_ node: UInt32) -> Bool {
        self.node(node).map { $0.kind == .head && $0.isPresent } ?? false
    }

    /// After an opening that has taken the place of what has failed: has images go on with what there is of a rollback
    /// that may not have become durable.
    func settleRollbacks(_ structure: inout Structure) {
        for rollback in structure.rollbacks {
            guard let image = rollback.image, image.node == rollback.next, isHead(rollback.former) else { continue }
            _ = try? image.switching { () throws(FamilyError) in
                structure.users[rollback.former] = structure.users.removeValue(forKey: rollback.next)
                return rollback.former
            }
        }
        structure.rollbacks = []
    }

    // MARK: Queries

    /// The bytes from `first` on, in whole units of 4096 but for the ends, that node `b` has in another version than
    /// node `a`: at most `limit` ranges in ascending order; fewer mean that there are no more. What one disk has behind
    /// the end of the other differs when it holds data. What is overwritten in place while this goes on may be missing.
    public func differences(
        from a: UInt32, to b: UInt32, first: Int64, limit: Int
    ) throws(FamilyError) -> [Range<Int64>] {
        if let loss { throw .dataLost(loss) }
        let length = Int64(EpochFormat.unitLength)
        let found = [a, b].compactMap { node($0) }.filter(\.isPresent)
        for number in [a, b] where !found.contains(where: { $0.number == number }) { throw .noNode(number) }
        let end = found.map(\.capacity).max() ?? 0
        guard first >= 0, first < end else { return [] }
        let ranges = try change { family throws(FamilyError) in
            try family.differences(from: a, to: b, first: UInt64(first / length), limit: limit)
        }
        return ranges.map { max(first, Int64($0.lowerBound) * length)..<min(end, Int64($0.upperBound) * length) }
    }

    // MARK: Failures

    func checkOpen(_ structure: borrowing Structure) throws(FamilyError) {
        if structure.isClosed { throw .closed }
        if let loss { throw .dataLost(loss) }
    }

    /// What `body` gives; notes the loss that it has met.
    @discardableResult
    private func change<Value>(_ body: (DiskFamily) throws(FamilyError) -> Value) throws(FamilyError) -> Value {
        let result = withFamily { family in Result { () throws(FamilyError) in try body(family) } }
        noteNodes()
        if case .failure(let error) = result {
            // A file that was cut is a loss too.
            let code = noteFailure()
            if case .uncertain = error { throw error }
            throw code == 0 ? error : .dataLost(MediaFailure(errorNumber: code))
        }
        return try result.get()
    }
}

public import Platform
internal import Synchronization

/// The tree: snapshots, clones, rollback, deletion, size. All of it is durable on return.
extension DiskFamily {
    /// Snapshots of heads, all at one instant, and their numbers in that order.
    ///
    /// What was acknowledged before the call is in them, what begins after it is not; of writes that go on meanwhile,
    /// any sectors.
    ///
    /// `uuid` is that of the snapshot somewhere else whose content the only one has; each has its own otherwise.
    public func snapshot(
        _ heads: [UInt32], names: [String], time: CalendarTime, uuid: [UInt8]? = nil
    ) throws(FamilyError) -> [UInt32] {
        precondition(uuid == nil || heads.count == 1, "a content is that of one snapshot")
        if let uuid, uuid.count != EpochFormat.uuidLength { throw .invalidUUID }
        precondition(heads.count == names.count, "each snapshot has a name")
        for name in names { try Self.check(name) }
        for (index, head) in heads.enumerated() where heads[..<index].contains(head) { throw .repeated(head) }
        guard !heads.isEmpty else { return [] }
        return try change(records: heads.count * JournalRecord.maximumSlots) { shared throws(FamilyError) in
            for head in heads { try shared.checkHead(head) }
            try shared.checkRoom(forNodes: heads.count)
            return heads.enumerated().map { index, head in
                let number = shared.state.nextNode + UInt32(index)
                return (
                    .snapshot(
                        head: head, number: number, time: time, uuid: uuid ?? nodeUUID(number), name: names[index]),
                    number
                )
            }
        }
    }

    /// A head that begins with what a snapshot has, and its number.
    public func clone(_ snapshot: UInt32, name: String, time: CalendarTime) throws(FamilyError) -> UInt32 {
        try Self.check(name)
        return try changeOne { shared throws(FamilyError) in
            try shared.checkSnapshot(snapshot)
            try shared.checkRoom(forNodes: 1)
            let number = shared.state.nextNode
            return (.head(snapshot: snapshot, number: number, time: time, uuid: nodeUUID(number), name: name), number)
        }
    }

    /// Makes what a head has a snapshot of the name `name`, and a new head below `snapshot` with the head's name; its
    /// number. Commands on the former head fail from then on.
    public func rollBack(
        _ head: UInt32, to snapshot: UInt32, keeping name: String, time: CalendarTime
    ) throws(FamilyError) -> UInt32 {
        try Self.check(name)
        return try changeOne { shared throws(FamilyError) in
            try shared.checkHead(head)
            try shared.checkSnapshot(snapshot)
            try shared.checkRoom(forNodes: 1)
            let number = shared.state.nextNode
            return (
                .turn(head: head, number: number, below: snapshot, time: time, uuid: nodeUUID(number), name: name),
                number
            )
        }
    }

    /// Has a node deleted: `mergeStep` frees what only it has. A snapshot with several children loses its name, and
    /// goes when one child is left. The last node stays, and a snapshot that is locked at `time`, which is now.
    public func delete(_ node: UInt32, time: CalendarTime) throws(FamilyError) {
        _ = try changeOne { shared throws(FamilyError) in
            let found = try shared.checkNode(node)
            if let lock = found.lockedUntil, time < lock { throw .locked(node, until: lock) }
            guard shared.state.nodes.count - shared.state.unwanted.count > 1 else { throw .lastNode(node) }
            let isSnapshot = shared.state.head(node) == nil
            let mustWait = found.children > 1 || (isSnapshot && shared.state.hasLongRow(above: node))
            return mustWait ? (.name(node: node, name: nil), 0) : (.deletion(node: node), 0)
        }
    }

    /// Has `delete` refuse a snapshot before a time, which is not before that of an earlier call: a lock never becomes
    /// shorter, and an equal one changes nothing.
    public func lock(_ node: UInt32, until time: CalendarTime) throws(FamilyError) {
        _ = try change(records: JournalRecord.maximumSlots) { shared throws(FamilyError) in
            try shared.isLocked(node, until: time) ? [] : [(.lock(node: node, until: time), 0)]
        }
    }

    /// Makes a head larger; what is added reads as zeros.
    public func resize(_ head: UInt32, to capacity: Int64) throws(FamilyError) {
        _ = try changeOne { shared throws(FamilyError) in
            let blockSize = try shared.checkHead(head)
            guard capacity > 0, UInt64(capacity) <= EpochFormat.maximumCapacity, capacity % Int64(blockSize) == 0 else {
                throw .invalidCapacity(capacity)
            }
            let present = shared.state.head(head)?.record.capacity ?? 0
            guard UInt64(capacity) >= present else { throw .smaller(head, capacity: Int64(clamping: present)) }
            return (.capacity(head: head, bytes: UInt64(capacity)), 0)
        }
    }

    /// Gives a node another name.
    public func rename(_ node: UInt32, to name: String) throws(FamilyError) {
        try Self.check(name)
        _ = try changeOne { shared throws(FamilyError) in
            _ = try shared.checkNode(node)
            return (.name(node: node, name: name), 0)
        }
    }

    // MARK: Changes

    private static func check(_ name: String) throws(FamilyError) {
        guard (1...EpochFormat.nameLimit).contains(name.utf8.count) else { throw .invalidName }
    }

    /// The UUID of a node: the family's, with its number in the last four bytes.
    static func uuid(of number: UInt32, in family: [UInt8]) -> [UInt8] {
        var uuid = family
        for index in 0..<4 { uuid[12 + index] ^= UInt8(truncatingIfNeeded: number >> (24 - 8 * UInt32(index))) }
        return uuid
    }

    private func nodeUUID(_ number: UInt32) -> [UInt8] { Self.uuid(of: number, in: uuid) }

    typealias Record = (JournalRecord, UInt32)

    private func changeOne(
        _ body: (inout Shared) throws(FamilyError) -> Record
    ) throws(FamilyError) -> UInt32 {
        let numbers = try change(records: JournalRecord.maximumSlots) { shared throws(FamilyError) in
            [try body(&shared)]
        }
        return numbers[0]
    }

    /// Applies what `body` says, at one instant, waits for those who overwrite in place, and makes it durable.
    private func change(
        records count: Int, _ body: (inout Shared) throws(FamilyError) -> [Record]
    ) throws(FamilyError) -> [UInt32] {
        var numbers: [UInt32]?
        while numbers == nil { numbers = try tryChange(records: count, body) }
        // They decided before the instant that they may, and write what a snapshot has now.
        writers.wait()
        try finish()
        return numbers ?? []
    }

    /// Applies what `body` says; nil, and nothing is done, when others have filled the journal meanwhile, or a region
    /// had to be brought into memory first.
    private func tryChange(
        records count: Int, _ body: (inout Shared) throws(FamilyError) -> [Record]
    ) throws(FamilyError) -> [UInt32]? {
        do throws(EpochFault) {
            try checkFailure()
            try makeRoom(records: count, isReserved: true)
        } catch {
            throw FamilyError(error)
        }
        var missing: (head: LiveHead, region: UInt64)?
        let numbers = try shared.withLock { shared throws(FamilyError) -> [UInt32]? in
            guard !isClosing.load(ordering: .sequentiallyConsistent) else { throw .failed(Errno.cancelled) }
            guard shared.records.hasRoom(slots: count, isReserved: true) else { return nil }
            let list = try body(&shared)
            // Whatever a crash leaves, all of them are there or none.
            let slots = list.reduce(0) { $0 + $1.0.slots }
            guard shared.records.hasFrame(forSlots: slots) else {
                throw .limit("a snapshot of \(list.count) disks at one instant has no room in the journal of the image")
            }
            for (record, _) in list {
                missing = shared.state.missingRegion(for: record)
                if missing != nil { return nil }
            }
            for (record, _) in list {
                let isDone = shared.add(record)
                precondition(isDone, "a command's records fit the state")
            }
            return list.map { $0.1 }
        }
        if let missing {
            let pass = memory.grace.enter()
            defer { memory.grace.leave(pass) }
            do throws(EpochFault) { try load(missing.head, missing.region) } catch { throw FamilyError(error) }
        }
        return numbers
    }

    private func finish() throws(FamilyError) {
        let code = flush()
        guard code == 0 else {
            // The closing commit has it.
            if code == Errno.cancelled { throw .failed(code) }
            // It is done in memory, and a frame may have it or not: no state is known any more to be the durable one.
            fail(code)
            throw .uncertain(MediaFailure(errorNumber: code))
        }
        maintainIfNeeded()
    }
}

extension DiskFamily.Shared {
    /// What `checkNode` found.
    struct Found {
        let children: Int
        let lockedUntil: CalendarTime?
    }

    @discardableResult
    func checkNode(_ number: UInt32) throws(FamilyError) -> Found {
        guard let node = state.node(number), !node.record.isBeingDeleted, !node.record.isNameless else {
            throw .noNode(number)
        }
        return Found(children: node.children.count, lockedUntil: node.record.lockedUntil)
    }

    /// The block size of a head.
    @discardableResult
    func checkHead(_ number: UInt32) throws(FamilyError) -> Int {
        try checkNode(number)
        guard let head = state.head(number) else { throw .notHead(number) }
        return head.record.blockSize
    }

    func checkSnapshot(_ number: UInt32) throws(FamilyError) {
        try checkNode(number)
        guard state.head(number) == nil else { throw .notSnapshot(number) }
    }

    /// Whether a snapshot has that lock; throws when it has a longer one. The beginning of 1970 is none.
    func isLocked(_ number: UInt32, until time: CalendarTime) throws(FamilyError) -> Bool {
        try checkSnapshot(number)
        guard let present = try checkNode(number).lockedUntil else { return time.seconds == 0 }
        guard present <= time else { throw .locked(number, until: present) }
        return present == time
    }

    func checkRoom(forNodes count: Int) throws(FamilyError) {
        guard state.nodes.count + count <= EpochFormat.nodeLimit else {
            throw .limit("a family has at most \(EpochFormat.nodeLimit) nodes")
        }
        guard UInt64(state.epoch) + UInt64(count) <= UInt64(EpochFormat.epochLimit),
            state.nextNode <= UInt32.max - UInt32(clamping: count) - 1
        else { throw .limit("a family has at most \(EpochFormat.epochLimit) epochs") }
    }
}

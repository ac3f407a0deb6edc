import Bytes
import Platform
import TestSupport

@testable import Media

/// An open family over a recording store, its model, and the log of what was done: which calls of the store belong to
/// which operation.
final class FamilyRun {
    struct Step {
        var label: String
        /// The calls of the store, as numbers in its record.
        var calls: Range<Int>
        var change: FamilyChange
        /// Whether it has succeeded. What failed may be there after a crash, in part or not at all.
        var isAcknowledged = true
    }

    let layout: DiskLayout
    private(set) var store: RecordingStore
    private(set) var family: DiskFamily
    private(set) var model: FamilyModel
    private(set) var log: [Step] = []
    /// The model when the log begins, and where that is.
    let firstModel: FamilyModel
    let firstCall: Int
    var random: SeededRandom
    /// The first head.
    let head: UInt32
    /// The time at which nodes are deleted.
    private var now = FamilyRun.time
    private var lastTag: UInt64 = 0
    private var lastName = 0
    /// Writes that a full host has made fail.
    private(set) var refusedWrites = 0
    private let keepsLog: Bool
    /// Whether some writes are of blocks that cannot be compressed, and some of both.
    private let mixesNoise: Bool
    /// What has failed and may be done all the same. What it made is not known.
    private(set) var doubtful: FamilyChange?
    private var pinFailure: ProofFailure?

    /// A new family, with extents compressed at a level or not.
    init(
        _ layout: DiskLayout, seed: UInt64 = 1, keepsHistory: Bool = true, keepsLog: Bool? = nil,
        compression: Int? = nil
    ) throws {
        self.layout = layout
        mixesNoise = compression != nil
        store = RecordingStore(keepsHistory: keepsHistory)
        family = try DiskFamily.create(
            on: FamilyCipher.over(store), capacity: Int64(layout.capacity * DiskLayout.blockLength), blockSize: 512,
            name: "disk", time: Self.time, uuid: (1...16).map { UInt8($0) }, checksums: layout.hasChecksums,
            compression: compression)
        guard let node = family.nodes.first else { throw ProofFailure("a new family has no node") }
        head = node.number
        model = FamilyModel(layout: layout, head: head, name: "disk")
        firstModel = model
        firstCall = store.entryCount
        random = SeededRandom(seed: seed)
        self.keepsLog = keepsLog ?? keepsHistory
    }

    /// Goes on with what a crash has left.
    init(_ family: DiskFamily, _ store: RecordingStore, _ model: FamilyModel, seed: UInt64) {
        mixesNoise = family.compressionLevel != nil
        layout = model.layout
        self.store = store
        self.family = family
        self.model = model
        firstModel = model
        firstCall = store.entryCount
        head = model.heads.first ?? 0
        random = SeededRandom(seed: seed)
        // Numbers that nothing before has.
        lastTag = 1 << 32
        lastName = 1 << 20
        keepsLog = true
    }

    static let time = CalendarTime(seconds: 1_800_000_000) ?? CalendarTime.current()

    func nextName() -> String {
        lastName += 1
        return "node \(lastName)"
    }

    private func note(
        _ label: @autoclosure () -> String, _ first: Int, _ change: FamilyChange, isAcknowledged: Bool = true
    ) {
        if isAcknowledged {
            model.finish(change)
            if change.isStructural { doubtful = nil }
        }
        guard keepsLog else { return }
        log.append(
            Step(
                label: label(), calls: first..<max(first, store.entryCount), change: change,
                isAcknowledged: isAcknowledged))
    }

    // MARK: Data

    /// The tags of `count` blocks that were never written before.
    func newTags(_ count: Int) -> [UInt64] {
        let tags = (1...UInt64(count)).map { BlockTag.tag(lastTag + $0) }
        let kind = lastTag / 5 % 3
        lastTag += UInt64(count)
        guard mixesNoise, kind > 0 else { return tags }
        return tags.enumerated().map { kind == 1 || $0 % 4 == 0 ? $1 | BlockTag.noise : $1 }
    }

    /// Writes new data to `count` blocks from a place on.
    func write(_ head: UInt32, _ first: Int, _ count: Int) throws {
        try write(head, first, newTags(count))
    }

    /// Writes; a failure is an error.
    func write(_ head: UInt32, _ first: Int, _ tags: [UInt64]) throws {
        let result = tryWrite(head, first, tags)
        guard result == .done(tags.count * DiskLayout.blockLength) else {
            throw ProofFailure("write to \(head) at place \(first), \(tags.count) blocks: \(result)")
        }
    }

    /// Writes; after a failure the blocks are as they were or as they should be.
    @discardableResult
    func tryWrite(_ head: UInt32, _ first: Int, _ tags: [UInt64]) -> FileResult {
        let bytes = BlockTag.bytes(tags)
        let offset = Int64(layout.block(first) * DiskLayout.blockLength)
        return perform("write", head, first, tags) { family.write(head, bytes.rawSpan, at: offset) }
    }

    func discard(_ head: UInt32, _ first: Int, _ count: Int) throws {
        let result = tryDiscard(head, first, count)
        if case .failed = result { throw ProofFailure("discard of \(head) at place \(first): \(result)") }
    }

    @discardableResult
    func tryDiscard(_ head: UInt32, _ first: Int, _ count: Int) -> FileResult {
        let offset = Int64(layout.block(first) * DiskLayout.blockLength)
        let zeros = [UInt64](repeating: 0, count: count)
        return perform("discard", head, first, zeros) {
            family.discard(head, at: offset, length: Int64(count * DiskLayout.blockLength))
        }
    }

    private func perform(
        _ label: String, _ head: UInt32, _ first: Int, _ tags: [UInt64], _ body: () -> FileResult
    ) -> FileResult {
        let call = store.entryCount
        let change = FamilyChange.write(head: head, first: first, tags: tags)
        model.start(change)
        let result = body()
        let isDone = if case .done = result { true } else { false }
        let writes = tags.first.map { FamilyModel.name($0) } ?? ""
        note(
            "\(label) \(head) place \(first) (unit \(layout.block(first) / 8)) + \(tags.count): \(writes)", call,
            change,
            isAcknowledged: isDone)
        return result
    }

    /// Reads blocks and compares them.
    func read(_ node: UInt32, _ first: Int, _ count: Int) throws {
        var tags = [UInt64](repeating: 0, count: count)
        let result = FamilyInspection.read(family, node, layout.block(first), count, into: &tags, at: 0)
        guard result == .done(count * DiskLayout.blockLength) else {
            throw ProofFailure("read of \(node) at place \(first), \(count) blocks: \(result)")
        }
        guard let current = model.nodes[node]?.current else { throw ProofFailure("there is no node \(node)") }
        for (number, tag) in tags.enumerated() where tag != current[first + number] {
            throw ProofFailure(
                "read of \(node), place \(first + number) (block \(layout.block(first + number))): "
                    + "\(FamilyModel.name(tag)), not \(FamilyModel.name(current[first + number]))")
        }
    }

    /// After a write that failed: each block is the old or the new one, and stays that.
    func pin(_ head: UInt32, _ first: Int, _ tags: [UInt64]) throws {
        var found = [UInt64](repeating: 0, count: tags.count)
        let result = FamilyInspection.read(family, head, layout.block(first), tags.count, into: &found, at: 0)
        // After a loss what no frame confirms is not read.
        if case .failed = result, family.failureCode != 0 { return }
        guard result == .done(tags.count * DiskLayout.blockLength) else {
            throw ProofFailure("read after a failed write to \(head) at place \(first): \(result)")
        }
        let current = model.nodes[head]?.current ?? []
        for number in tags.indices where found[number] != tags[number] && found[number] != current[first + number] {
            throw ProofFailure(
                "after a failed write to \(head), place \(first + number): \(FamilyModel.name(found[number])), neither "
                    + "\(FamilyModel.name(tags[number])) nor \(FamilyModel.name(current[first + number]))")
        }
        let change = FamilyChange.write(head: head, first: first, tags: found)
        model.start(change)
        note("found instead", store.entryCount, change)
    }

    func flush() throws {
        let code = tryFlush()
        guard code == 0 else { throw ProofFailure("flush: \(code)") }
    }

    @discardableResult
    func tryFlush() -> Int32 {
        let call = store.entryCount
        let code = family.flush()
        note("flush", call, .flush, isAcknowledged: code == 0)
        return code
    }

    func checkpoint() throws {
        let code = tryCheckpoint()
        guard code == 0 else { throw ProofFailure("checkpoint: \(code)") }
    }

    @discardableResult
    func tryCheckpoint() -> Int32 {
        let call = store.entryCount
        let code = family.checkpoint()
        note("checkpoint", call, .flush, isAcknowledged: code == 0)
        return code
    }

    /// A flush and a commit, before whose `number`-th write of a page `body` is done; false when it has fewer.
    func checkpoint(_ number: Int, _ body: @escaping () -> Void) throws -> Bool {
        try flush()
        let superblock = family.maintenance.withLock { $0.superblock }
        store.interleave(number, superblock, body)
        let call = store.entryCount
        let code = family.checkpoint()
        // What the steps in between have done is not durable by it.
        note("checkpoint with something before page \(number)", call, .nothing, isAcknowledged: code == 0)
        return !store.endInterleaving()
    }

    // MARK: Nodes

    @discardableResult
    func snapshot(_ heads: [UInt32]) throws -> [UInt32] {
        let call = store.entryCount
        let names = heads.map { _ in nextName() }
        doubtful = .snapshot(heads: heads, made: [], names: names)
        let made = try family.snapshot(heads, names: names, time: Self.time)
        guard made.count == heads.count else { throw ProofFailure("\(made.count) snapshots of \(heads.count) heads") }
        note("snapshot \(heads) -> \(made)", call, .snapshot(heads: heads, made: made, names: names))
        return made
    }

    @discardableResult
    func snapshot(_ head: UInt32) throws -> UInt32 { try snapshot([head])[0] }

    @discardableResult
    func clone(_ snapshot: UInt32) throws -> UInt32 {
        let call = store.entryCount
        let name = nextName()
        doubtful = .clone(of: snapshot, made: 0, name: name)
        let made = try family.clone(snapshot, name: name, time: Self.time)
        note("clone \(snapshot) -> \(made)", call, .clone(of: snapshot, made: made, name: name))
        return made
    }

    @discardableResult
    func rollBack(_ head: UInt32, to snapshot: UInt32) throws -> UInt32 {
        let call = store.entryCount
        let name = nextName()
        doubtful = .rollBack(head: head, to: snapshot, made: 0, name: name)
        let made = try family.rollBack(head, to: snapshot, keeping: name, time: Self.time)
        note(
            "roll \(head) back to \(snapshot) -> \(made)", call,
            .rollBack(head: head, to: snapshot, made: made, name: name))
        return made
    }

    /// Deletes a node; when it is locked, after its time has come.
    func delete(_ node: UInt32) throws {
        let call = store.entryCount
        if let lock = model.nodes[node]?.lock, lock > now.seconds {
            do {
                try family.delete(node, time: now)
                throw ProofFailure("node \(node) is deleted, which is locked until \(lock)")
            } catch FamilyError.locked(node, let until) where until.seconds == lock {
                now = until
            }
        }
        doubtful = .delete(node)
        try family.delete(node, time: now)
        note("delete \(node)", call, .delete(node))
    }

    /// Locks a snapshot for so many seconds, longer than it is.
    func lock(_ node: UInt32, for seconds: Int64) throws {
        let call = store.entryCount
        let end = max(now.seconds, model.nodes[node]?.lock ?? 0) + seconds
        guard let until = CalendarTime(seconds: end) else { throw ProofFailure("a lock until \(end)") }
        doubtful = .lock(node, end)
        try family.lock(node, until: until)
        note("lock \(node) until \(end)", call, .lock(node, end))
    }

    func resize(_ head: UInt32, _ capacity: Int) throws {
        let call = store.entryCount
        doubtful = .resize(head: head, capacity: capacity)
        try family.resize(head, to: Int64(capacity * DiskLayout.blockLength))
        note("resize \(head) to \(capacity) blocks", call, .resize(head: head, capacity: capacity))
    }

    /// One step of background work; false when there is nothing to do.
    @discardableResult
    func mergeStep() throws -> Bool {
        let call = store.entryCount
        let hasWorked = try family.mergeStep()
        note("merge step: \(hasWorked)", call, .nothing)
        return hasWorked
    }

    /// All background work.
    func drain() throws {
        for _ in 0..<10_000 where try !mergeStep() { return }
        throw ProofFailure("merging does not end")
    }

    // MARK: Failures

    /// Writes; after a failure, what is there counts.
    func writeOrPin(_ head: UInt32, _ first: Int, _ count: Int) {
        let tags = newTags(count)
        if case .failed = tryWrite(head, first, tags) { pinOrNote(head, first, tags) }
    }

    /// Discards likewise.
    func discardOrPin(_ head: UInt32, _ first: Int, _ count: Int) {
        if case .failed = tryDiscard(head, first, count) {
            pinOrNote(head, first, [UInt64](repeating: 0, count: count))
        }
    }

    /// Makes the host full, nearly full, or takes that back.
    func changeLimit(_ random: inout SeededRandom) {
        store.limit(to: store.isLimited ? nil : Int.random(in: 0...12, using: &random))
    }

    /// Writes; on a full host it may fail, and then what is there counts.
    func writeWithin(_ head: UInt32, _ first: Int, _ tags: [UInt64]) throws {
        guard store.isLimited else { return try write(head, first, tags) }
        let result = tryWrite(head, first, tags)
        guard case .failed(let code) = result else { return }
        guard code == Errno.noSpace else { throw ProofFailure("write on a full host: \(code)") }
        refusedWrites += 1
        try store.withoutFailures { try pin(head, first, tags) }
    }

    /// Discards; on a full host only parts of units may fail.
    func discardWithin(_ head: UInt32, _ first: Int, _ count: Int) throws {
        // What is a part of a unit, or of a compressed extent, needs room.
        let unit = DiskLayout.unitBlocks * (mixesNoise ? EpochFormat.extentUnits : 1)
        guard store.isLimited, layout.block(first) % unit != 0 || count % unit != 0 else {
            return try discard(head, first, count)
        }
        let result = tryDiscard(head, first, count)
        guard case .failed(let code) = result else { return }
        guard code == Errno.noSpace else { throw ProofFailure("discard on a full host: \(code)") }
        try store.withoutFailures { try pin(head, first, [UInt64](repeating: 0, count: count)) }
    }

    private func pinOrNote(_ head: UInt32, _ first: Int, _ tags: [UInt64]) {
        do {
            try store.withoutFailures { try pin(head, first, tags) }
        } catch {
            pinFailure = pinFailure ?? error as? ProofFailure
        }
    }

    /// Throws what was found to be wrong after failures.
    func rethrowPinFailure() throws {
        if let pinFailure { throw pinFailure }
    }

    /// Compares a family with the model, with what has failed done or not.
    func verifyDoubtful(_ family: DiskFamily? = nil, isLive: Bool) throws {
        try rethrowPinFailure()
        let family = family ?? self.family
        let found = inspect(family)
        if let difference = model.difference(from: found, isLive: isLive) {
            guard let change = doubtful?.resolved(model, found) else { throw ProofFailure(difference) }
            var after = model
            after.finish(change, isAcknowledged: false)
            if let other = after.difference(from: found, isLive: isLive) {
                throw ProofFailure("\(difference); or: \(other)")
            }
        }
        guard !isLive else { return }
        let findings = family.check()
        guard findings.isEmpty else { throw ProofFailure("check finds \(findings.prefix(5))") }
    }

    // MARK: Restarts and comparing

    /// Closes and opens.
    func reopen() throws {
        let call = store.entryCount
        let code = family.close()
        note("close", call, .flush, isAcknowledged: code == 0)
        guard code == 0 else { throw ProofFailure("close: \(code)") }
        let opening = store.entryCount
        family = try DiskFamily.open(FamilyCipher.over(store))
        note("open", opening, .nothing)
    }

    /// Puts the family away without closing it, and opens what `choice` leaves of its file.
    func crash(_ choice: CrashChoice) throws {
        note("crash: \(choice)", store.entryCount, .nothing)
        store = RecordingStore(store.afterCrash(choice), keepsHistory: false)
        family = try Self.open(store)
        let found = FamilyInspection(family, layout)
        if let difference = model.difference(from: found, isLive: false) {
            throw ProofFailure("after a crash (\(choice)): \(difference)")
        }
        model = model.settled(with: found)
        try check("after a crash (\(choice))")
    }

    /// What a family has; of blocks that are not read after a loss, what the model has.
    private func inspect(_ family: DiskFamily) -> FamilyInspection {
        guard family.failureCode != 0 else { return FamilyInspection(family, layout) }
        let unread = FamilyInspection.mixed - 1
        let expected = model.nodes.mapValues(\.current)
        return FamilyInspection(family, layout, unread: unread).replacing(unread, expected)
    }

    /// Opens what a crash has left; that needs no storage that is not there.
    static func open(_ store: RecordingStore) throws -> DiskFamily {
        store.limit(to: 0)
        defer { store.limit(to: nil) }
        return try DiskFamily.open(FamilyCipher.over(store))
    }

    /// Compares everything with the model.
    func verify() throws {
        if let difference = model.difference(from: inspect(family), isLive: true) {
            throw ProofFailure(difference)
        }
    }

    func check(_ place: String) throws {
        let findings = family.check()
        guard findings.isEmpty else { throw ProofFailure("\(place): check finds \(findings.prefix(5))") }
    }
}

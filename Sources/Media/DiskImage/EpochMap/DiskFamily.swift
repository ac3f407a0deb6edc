internal import Bytes
internal import Platform
internal import Synchronization

/// A disk with all its snapshots and clones, in one file.
///
/// Any thread may call any method at any time; those that write or read may wait. Four locks, taken in this order:
/// `maintenance` (a commit, a step of a merge), `journal` (a frame, a flush), `synchronization` (whatever synchronises
/// the file), and the family's lock, under which nothing waits. Looking a unit up takes none of them.
public final class DiskFamily: Sendable {
    /// The most bytes of a write that are done at a time.
    static let pieceLength: Int64 = 1 << 20

    /// What the family's lock guards.
    struct Shared {
        let state: FamilyState
        var records: RecordCollection
    }

    let store: any ByteStore
    let uuid: [UInt8]
    let memory: MapMemory
    /// Those who overwrite in place, for whom a snapshot waits.
    let writers = Grace()
    let guards = UnitGuards()
    let units: UnitAllocator
    /// Reads pages of maps.
    let pages: PageReader
    /// Those of data; nil in an image without.
    let checksums: DataChecksums?
    /// The family's lock.
    let shared: Lock<Shared>
    let heads: LiveHeads
    /// What extents are stored with; nil when they are not compressed.
    let compression: ExtentCodec?
    /// What is known of the space of nodes.
    let spaces = SpaceCache()
    let journal: Lock<JournalWriter>
    let maintenance: Lock<Maintenance>
    /// One after another: whatever synchronises the file, and stores `failure`.
    let synchronization = Lock(())
    /// Of a family that is served.
    private let frameRequest = Lock<(@Sendable () -> Void)?>(nil)
    /// The error number of the synchronisation that failed; everything that writes fails with it from then on.
    let failure = Atomic<Int32>(0)
    /// Whether a closing commit has begun, and has not failed: no record follows on its cut, and everything that writes
    /// fails. It changes under the family's lock, and records are made under that.
    let isClosing = Atomic<Bool>(false)
    /// Whether another opening may have written where this one has its data.
    let isRetired = Atomic<Bool>(false)
    /// How many flushes were asked for.
    let asked = Atomic<UInt64>(0)
    let isMaintaining = Atomic<Bool>(false)
    /// How many are freeing storage: the file system keeps the file for that long, and reactors would wait for it.
    let punching = Atomic<Int>(0)

    init(
        store: any ByteStore, uuid: [UInt8], memory: MapMemory, pages: PageReader, shared: consuming sending Shared,
        heads: LiveHeads, compression: ExtentCodec?, journal: consuming sending JournalWriter,
        maintenance: consuming sending Maintenance
    ) {
        self.store = store
        self.uuid = uuid
        self.memory = memory
        units = shared.state.units
        self.pages = pages
        self.shared = Lock(shared)
        self.heads = heads
        checksums = DataChecksums(store, maintenance.superblock)
        self.compression = compression
        self.journal = Lock(journal)
        self.maintenance = Lock(maintenance)
    }

    /// From now on what is collected is written as a frame soon, whether a flush comes or not: `request` has
    /// `writeCollected` called, without waiting.
    func startFrames(_ request: @escaping @Sendable () -> Void) { frameRequest.withLock { $0 = request } }

    /// Ends that.
    func stopFrames() { frameRequest.withLock { $0 = nil } }

    /// A frame has its first record.
    func noteFirstRecord() {
        if let request = frameRequest.withLock({ $0 }) { FrameTimer.shared?.begin(request) }
    }

    /// All nodes, by their numbers.
    public var nodes: [FamilyNode] {
        shared.withLock { $0.state.table.records.map { FamilyNode($0) } }
    }

    /// The node of that number; nil when there is none.
    public func node(_ number: UInt32) -> FamilyNode? {
        shared.withLock { shared in shared.state.node(number).map { FamilyNode($0.record) } }
    }

    /// The nodes of that name, deleted ones as well; a head and a snapshot may have the same.
    public func nodes(named name: String) -> [FamilyNode] {
        shared.withLock { shared in shared.state.nodes(named: name).map { FamilyNode($0.record) } }
    }

    /// How many nodes there are, those included that are being deleted.
    var nodeCount: Int { shared.withLock { $0.state.nodes.count } }

    /// The physical units that are in use, superblocks and journal included.
    public var usedUnits: UInt64 { units.usedUnits }

    /// What commands look into; nil when the node is no head.
    func liveHead(_ number: UInt32) -> LiveHead? { heads[number] }

    /// Whether a command's bytes are whole sectors inside of the disk.
    static func isInside(_ offset: Int64, _ count: Int64, capacity: UInt64) -> Bool {
        guard offset >= 0, count >= 0, offset % 512 == 0, count % 512 == 0 else { return false }
        return UInt64(offset) <= capacity && UInt64(count) <= capacity - UInt64(offset)
    }
}

/// The records that no frame has yet, and those whose frame is not confirmed yet.
struct RecordCollection: Sendable {
    /// What will be, or is, a frame.
    struct Frame: Sendable {
        let sequence: UInt64
        var records: [JournalRecord] = []
        var slots = 0
        /// Whether it was told that it has a record.
        var isNoted = false
    }

    /// The most slots of a frame.
    let slotLimit: Int
    /// Whole frames that are to be written, in order.
    private(set) var full: [Frame] = []
    /// What is being collected.
    private(set) var open: Frame
    /// What is written, and not confirmed by a durable frame.
    private(set) var unconfirmed: [Frame]
    /// The units of the journal, and the most of a frame.
    let ringUnits: UInt32
    let frameUnits: UInt32
    /// The units of the journal that hold frames; as of the last look.
    var usedUnits: UInt32
    /// From so many units on a checkpoint is due.
    var checkpointMark: UInt32
    /// From so many changed regions on one is due, if that is more than the limit.
    var changeMark = 0
    /// The same of closed layers, and of records.
    var layerMark = 0
    var countMark = 0
    /// The records that are in memory.
    private(set) var count = 0
    /// The records that there have been since the opening.
    private(set) var appended: UInt64 = 0
    /// Records in memory above which a checkpoint begins, which confirms them: 48 MiB. Twice as many are the most.
    static let countLimit = 1 << 20

    /// What goes on with the frame `next`, behind those that the journal has.
    init(ringUnits: UInt32, next: UInt64, usedUnits: UInt32 = 0, unconfirmed: [Frame] = []) {
        self.ringUnits = ringUnits
        self.usedUnits = usedUnits
        self.unconfirmed = unconfirmed
        frameUnits = EpochFormat.frameUnits(journalUnits: ringUnits)
        slotLimit = JournalFrame.slots(units: frameUnits)
        checkpointMark = Self.checkpointMark(ringUnits)
        open = Frame(sequence: next)
    }

    /// Sees to it that the next so many slots are in one frame; false when none has room for them.
    mutating func hasFrame(forSlots slots: Int) -> Bool {
        guard slots <= slotLimit else { return false }
        _ = frame(forSlots: slots)
        return true
    }

    /// The number of the frame that a record of so many slots goes into.
    mutating func frame(forSlots slots: Int) -> UInt64 {
        if open.slots + slots > slotLimit { close() }
        return open.sequence
    }

    /// A record that was applied for that frame.
    mutating func append(_ record: JournalRecord) {
        open.records.append(record)
        count += 1
        appended += 1
        open.slots += record.slots
    }

    /// Whether the open frame has its first record since the last call.
    mutating func takeFirst() -> Bool {
        guard !open.isNoted, !open.records.isEmpty else { return false }
        open.isNoted = true
        return true
    }

    /// What was collected is a frame, as far as there is anything; or in any case.
    mutating func close(mayBeEmpty: Bool = false) {
        guard mayBeEmpty || !open.records.isEmpty else { return }
        full.append(open)
        open = Frame(sequence: open.sequence + 1)
    }

    /// A commit is durable.
    mutating func setCommitted(usedUnits: UInt32) {
        self.usedUnits = usedUnits
        checkpointMark = Self.checkpointMark(ringUnits)
        changeMark = 0
        layerMark = 0
        countMark = 0
    }

    /// The next frame to write.
    var first: Frame? { full.first }

    /// The first whole frame is written.
    mutating func setWritten() {
        unconfirmed.append(full.removeFirst())
    }

    /// Whether an entry waits for a frame that confirms it.
    var hasUnconfirmed: Bool { unconfirmed.contains { !$0.records.isEmpty } }

    /// Takes the next frame up to that one, which is confirmed; nil when there is none.
    mutating func confirmNext(_ sequence: UInt64) -> Frame? {
        guard let first = unconfirmed.first, first.sequence <= sequence else { return nil }
        unconfirmed.removeFirst()
        count -= first.records.count
        return first
    }

    /// The units that the collected records will take.
    var pendingUnits: UInt32 {
        full.reduce(JournalFrame.units(slots: open.slots)) { $0 + JournalFrame.units(slots: $1.slots) }
    }
}

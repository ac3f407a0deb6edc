public import Encryption
public import Platform
internal import Synchronization

/// The file of a family that is served: what its disks have in common, a loss of written data first of all.
///
/// Any thread may call any method at any time; all of them may wait. Locks are taken in this order: `structure`, the
/// gates of images, `writes`, `durability`, `uses`, `door`.
public final class FamilyFile: DurableStore {
    /// What the lock of the control plane guards.
    struct Structure {
        /// How many images use a node.
        var users: [UInt32: Int] = [:]
        var isClosed = false
        /// Whether it stays open without an image.
        var isKept = false
        /// Of which nobody knows whether they are durable.
        var rollbacks: [Rollback] = []
        /// Frees what only deleted nodes have; there is one from the first image on.
        var merger: FamilyMerger?
    }

    /// A rollback that has met a failure.
    struct Rollback {
        weak var image: EpochDiskImage?
        let former: UInt32
        let next: UInt32
    }

    public let path: String
    /// The level of zstd at which its disks are compressed; nil when they are not.
    public let compressionLevel: Int?
    /// What the family is in: the file, or the filter over it.
    let store: any ByteStore
    /// The filter that is `store`, and the key file, if it is encrypted.
    let encryption: ImageEncryption?
    let losses: LossRecord
    /// Whether the file system may take no writes for some time.
    let canStall: Bool
    /// The most requests of all its disks that are performed at a time: others have threads too.
    public static let requestLimit = 32

    /// The requests of its disks.
    let requests = LaneGroup(limit: requestLimit)
    /// By which reactors come to the family.
    let door: FamilyDoor
    let lossObservers: LossObservers
    let family: Lock<DiskFamily>
    /// How many nodes there are, as of the last change of the tree: for reactors.
    let nodeCount: Atomic<Int>
    /// How many bytes were discarded since the host was given something back for that.
    private let discarded = Atomic<Int64>(0)
    /// Whether it is about to get something back.
    private let isReclaimDue = Atomic<Bool>(false)
    /// The merger of `structure`, for those who change blocks.
    private let reclaimer = Lock<FamilyMerger?>(nil)
    /// Writes what is collected; there is one from the first image on.
    private let frames = Lock<FamilyUpkeep?>(nil)
    /// Whoever has the family; closed while another opening takes its place.
    let uses = PassGate()
    /// Whoever changes blocks of a disk; closed while the instant of a snapshot of several files passes.
    let writes = PassGate()
    /// One change of the tree, or of who uses it, at a time.
    let structure = Lock(Structure())
    /// The most bytes that the file has had.
    let longest: Atomic<Int64>
    let durability = Lock(())
    /// How many units may be in use; and where they are counted besides, with those of other files.
    let limit = UnitLimit()
    let pool = Lock<SpacePool?>(nil)
    /// Whether another opening may have the file.
    let isGivenUp = Atomic<Bool>(false)
    /// The images whose data go past the page cache.
    private let direct = Lock<Set<ObjectIdentifier>>([])

    init(store: any ByteStore, family: DiskFamily, path: String, encryption: ImageEncryption? = nil) {
        self.store = encryption?.store ?? store
        self.encryption = encryption
        self.path = path
        compressionLevel = family.compressionLevel
        door = FamilyDoor(to: family)
        canStall = store.canStall
        nodeCount = Atomic(family.nodeCount)
        self.family = Lock(family)
        losses = LossRecord(noted: store.notedLoss)
        lossObservers = LossObservers(of: losses)
        longest = Atomic((try? store.size()) ?? 0)
        family.units.join(limit, nil)
        removeForgottenNotes()
    }

    // MARK: Opening

    /// Makes the file of a disk of `capacity` bytes, with `checksums` of data or without, and opens it; its name is
    /// durable on return. `compression`: the level of zstd at which extents are compressed; nil when they are not. With
    /// `userKey` it is encrypted, under a key that nobody knows; then it has no checksums.
    public static func create(
        path: String, capacity: Int64, blockSize: Int, name: String, time: CalendarTime, uuid: [UInt8],
        checksums: Bool = false, compression: Int? = nil, userKey: UserKey? = nil
    ) throws(DiskImageError) -> FamilyFile {
        guard userKey == nil || !checksums else { throw .family(path: path, .encryptedChecksums) }
        let file: File
        do throws(SystemError) {
            file = try File.open(
                path: path, [.readWrite, .create, .exclusive], writePieceLength: RawDiskImage.writePieceLength)
            guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock", path: path) }
        } catch {
            throw DiskImageError(error, path: path)
        }
        do throws(DiskImageError) {
            if let userKey {
                guard RawDiskImage.blockSizes.contains(blockSize) else { throw .invalidBlockSize(blockSize) }
                try ImageKeyFile.create(ofImage: path, content: .family, blockSize: blockSize, userKey: userKey)
            }
            let encryption = try ImageKeyFile.encryption(
                of: file, path: path, content: .family, blockSize: nil, userKey: userKey)
            return try create(
                file, path, encryption, capacity: capacity, blockSize: blockSize, name: name, time: time, uuid: uuid,
                checksums: checksums, compression: compression)
        } catch {
            // First: whose it is the image says.
            if userKey != nil { try? ImageKeyFile.remove(ofImage: path) }
            FilePath.remove(path)
            throw error
        }
    }

    private static func create(
        _ file: File, _ path: String, _ encryption: ImageEncryption?, capacity: Int64, blockSize: Int, name: String,
        time: CalendarTime, uuid: [UInt8], checksums: Bool, compression: Int?
    ) throws(DiskImageError) -> FamilyFile {
        do throws(FamilyError) {
            let family = try DiskFamily.create(
                on: encryption?.store ?? file, capacity: capacity, blockSize: blockSize, name: name, time: time,
                uuid: uuid, checksums: checksums, compression: compression)
            do throws(SystemError) {
                try File.synchronizeDirectory(path: FilePath.directory(of: path))
            } catch {
                throw .failed(error.code)
            }
            return FamilyFile(store: file, family: family, path: path, encryption: encryption)
        } catch {
            throw .family(path: path, error)
        }
    }

    /// Opens the file with an exclusive lock, which lasts as long as the object. An image whose host has lost written
    /// data under an earlier opening refuses writes until the loss is acknowledged. An encrypted one needs
    /// `userKey`, and a plain one refuses it; an erasure that a crash has broken off is completed.
    public static func open(path: String, userKey: UserKey? = nil) throws(DiskImageError) -> FamilyFile {
        let (file, encryption) = try lockedFile(path, userKey)
        do throws(FamilyError) {
            return try open(file, path: path, encryption)
        } catch {
            throw .family(path: path, error)
        }
    }

    /// The file at `path` with an exclusive lock, and the filter over it, if it is encrypted. Nothing is written.
    static func lockedFile(
        _ path: String, _ userKey: UserKey?
    ) throws(DiskImageError) -> (file: File, encryption: ImageEncryption?) {
        let file: File
        do throws(SystemError) {
            file = try File.open(path: path, .readWrite, writePieceLength: RawDiskImage.writePieceLength)
            guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock", path: path) }
        } catch {
            if error.code == Errno.wouldBlock { throw .inUse(path: path) }
            throw DiskImageError(error, path: path)
        }
        return (
            file,
            try ImageKeyFile.encryption(of: file, path: path, content: .family, blockSize: nil, userKey: userKey)
        )
    }

    static func open(
        _ store: any ByteStore, path: String, _ encryption: ImageEncryption? = nil
    ) throws(FamilyError) -> FamilyFile {
        // What the cache holds may be what the device has not.
        if store.notedLoss != nil { store.dropCache() }
        guard let encryption else {
            return FamilyFile(store: store, family: try DiskFamily.open(store), path: path)
        }
        return try openEncrypted(encryption, path: path)
    }

    /// Has what commands write be in the page cache soon after they have ended.
    func startFrames(_ family: DiskFamily) {
        guard let frames = frames.withLock({ $0 }) else { return }
        family.startFrames { [weak frames] in frames?.start() }
    }

    private func writeCollected() {
        let failure = withFamily { family in
            family.writeCollected()
            return family.failureCode
        }
        if failure != 0 { noteFailure() }
    }

    // MARK: The family

    /// Calls `body` with the family, which stays until it returns. Not inside of another `body`.
    func withFamily<Value>(_ body: (DiskFamily) -> Value) -> Value {
        uses.pass { body(family.withLock { $0 }) }
    }

    /// Puts a new opening in the place of the family, when nobody uses that. Why that was not possible, or nil.
    func replaceFamily() -> MediaFailure? {
        uses.close()
        door.close()
        defer {
            door.open()
            uses.open()
        }
        store.dropCache()
        family.withLock { $0 }.retire()
        do throws(FamilyError) {
            adopt(try DiskFamily.open(store, grace: door.grace))
            return nil
        } catch {
            return error.failure
        }
    }

    /// Ends the opening with a commit that leaves nothing to replay, calls `body` while nobody has the file, and opens
    /// it again. When that cannot be done any more, the family is one that has failed.
    func reopenFamily<Value>(_ body: () throws(FamilyError) -> Value) -> Result<Value, FamilyError> {
        uses.close()
        door.close()
        defer {
            door.open()
            uses.open()
        }
        let former = family.withLock { $0 }
        let code = former.close()
        guard code == 0 else { return .failure(FamilyError(code: code)) }
        former.retire()
        let result = Result { () throws(FamilyError) in try body() }
        do throws(FamilyError) {
            adopt(try DiskFamily.open(store, grace: door.grace))
            return result
        } catch {
            return .failure(error)
        }
    }

    /// Has another opening take the place of the present one, while nobody is inside: with all that the file's owner
    /// has asked of that.
    func adopt(_ opened: DiskFamily) {
        family.withLock { $0 }.units.leavePool()
        startFrames(opened)
        opened.units.join(limit, pool.withLock { $0 })
        door.lead(to: opened)
        family.withLock { $0 = opened }
        nodeCount.store(opened.nodeCount, ordering: .releasing)
    }

    /// Notes that the tree has changed, or may have.
    func noteNodes() { nodeCount.store(withFamily { $0.nodeCount }, ordering: .releasing) }

    /// All nodes of the family.
    public var nodes: [FamilyNode] { withFamily { $0.nodes } }

    /// The node of that number; nil when there is none.
    public func node(_ number: UInt32) -> FamilyNode? { withFamily { $0.node(number) } }

    /// The nodes of that name that are not deleted; a head and a snapshot may have the same.
    public func nodes(named name: String) -> [FamilyNode] {
        withFamily { $0.nodes(named: name) }.filter(\.isPresent)
    }

    /// Whether the image has checksums of data: what is read is what was written, or fails.
    public var hasChecksums: Bool { withFamily { $0.checksums != nil } }

    /// Makes everything durable that was acknowledged; nil, or why that was not possible.
    public func synchronize() -> MediaFailure? { MediaFailure.of(flush()) }

    /// Which file it is, whatever has its path now; nil where the store is no file.
    public var identity: FileStatus.Identity? { try? ((encryption?.store.store ?? store) as? File)?.status().identity }

    /// The bytes of storage that the family takes.
    public var allocatedBytes: Int64? { store.allocatedBytes }

    /// Has data go past the page cache while an image wants that; 0 or an error number.
    func setDirect(_ isOn: Bool, for image: EpochDiskImage) -> Int32 {
        direct.withLock { images in
            var next = images
            if isOn { next.insert(ObjectIdentifier(image)) } else { next.remove(ObjectIdentifier(image)) }
            let isChange = next.isEmpty != images.isEmpty
            // Reactors do not wait for a device: until it ends, the lane has everything.
            if isChange, isOn { door.close() }
            let code = isChange ? store.setDirect(isOn) : 0
            if isChange, isOn == (code != 0) { door.open() }
            guard code == 0 else { return code }
            images = next
            return 0
        }
    }

    // MARK: Users

    /// Whether it is closed: nobody uses it any more, nor can.
    public var isClosed: Bool { structure.withLock { $0.isClosed } }

    /// Begins the use of a node by an image whose requests `engine` performs; nil when it cannot be used: there is no
    /// such node, another image uses the head, or the file is closed. Several images may use a snapshot.
    func beginUse(of node: UInt32, engine: any MediumEngine) -> FamilyNode? {
        structure.withLock { structure -> FamilyNode? in
            let found = withFamily { $0.node(node) }
            guard !structure.isClosed, let found, found.isPresent,
                found.kind == .snapshot || structure.users[node] == nil
            else { return nil }
            structure.users[node, default: 0] += 1
            if structure.merger == nil {
                let merger = FamilyMerger(engine: engine) { [weak self] in self?.mergeStep() ?? false }
                structure.merger = merger
                reclaimer.withLock { $0 = merger }
            }
            if frames.withLock({ $0 }) == nil {
                frames.withLock { frames in
                    frames = FamilyUpkeep(engine: engine) { [weak self] in self?.writeCollected() }
                }
                withFamily { startFrames($0) }
            }
            structure.merger?.start()
            return found
        }
    }

    /// Ends the use of a node: everything is durable. The last one closes the file, after which there is nothing in the
    /// journal.
    func endUse(of node: UInt32) -> MediaFailure? {
        structure.withLock { structure in
            let users = structure.users[node, default: 1] - 1
            structure.users[node] = users > 0 ? users : nil
            return close(&structure)
        }
    }

    /// Has the file stay open without an image, until `close`.
    public func keepOpen() { structure.withLock { $0.isKept = true } }

    /// Makes everything durable; when no image uses the file, closes it. For who has opened it without an image.
    public func close() -> MediaFailure? {
        structure.withLock { structure in
            structure.isKept = false
            return close(&structure)
        }
    }

    private func close(_ structure: inout Structure) -> MediaFailure? {
        guard structure.users.isEmpty, !structure.isKept else {
            defer { recordLossAgain() }
            return MediaFailure.of(flush())
        }
        guard !structure.isClosed else { return nil }
        structure.merger?.stop()
        frames.withLock { $0 }?.stop()
        structure.isClosed = true
        let failure = MediaFailure.of(durably { $0.close() })
        recordLossAgain()
        giveUp()
        return failure
    }

    /// Lets another opening have the file, when nobody is inside any more. What comes later fails: also when the last
    /// commit has, which leaves a family that could go on.
    private func giveUp() {
        uses.close()
        door.close()
        // First: that it has ended is no loss of what was written.
        isGivenUp.store(true, ordering: .sequentiallyConsistent)
        let former = family.withLock { $0 }
        former.retire(Errno.cancelled)
        former.units.leavePool()
        ((encryption?.store.store ?? store) as? File)?.unlock()
        door.open()
        uses.open()
    }

    /// From so many discarded bytes on the host is given back their storage, which takes a commit.
    static let reclaimedLength: Int64 = 1 << 20
    /// How long more may come before that, in delays of `FrameTimer`: about a second.
    private static let reclaimDelays = 10

    /// Notes that bytes of a disk were discarded. What they had becomes holes soon, whatever else happens.
    func noteDiscarded(_ count: Int) {
        let total = discarded.add(Int64(count), ordering: .relaxed).newValue
        guard total >= Self.reclaimedLength, !isReclaimDue.exchange(true, ordering: .acquiringAndReleasing),
            let merger = reclaimer.withLock({ $0 })
        else { return }
        Self.start(merger, after: Self.reclaimDelays)
    }

    /// The timer keeps the merger, not the file: the end of a file may wait. Where there is no timer, at once.
    private static func start(_ merger: FamilyMerger, after delays: Int) {
        guard delays > 0, let timer = FrameTimer.shared else { return merger.start() }
        timer.begin { start(merger, after: delays - 1) }
    }

    /// One step of freeing what only deleted nodes have; false when there is no more to do now.
    private func mergeStep() -> Bool {
        guard losses.failure == nil else { return false }
        // A commit confirms the frames that have freed it.
        if discarded.load(ordering: .relaxed) >= Self.reclaimedLength {
            discarded.store(0, ordering: .relaxed)
            isReclaimDue.store(false, ordering: .releasing)
            withFamily { $0.reclaimSoon() }
        }
        let (hasMore, failure) = withFamily { family -> (Bool, Int32) in
            do {
                return (try family.mergeStep(), family.failureCode)
            } catch {
                return (false, family.failureCode)
            }
        }
        noteNodes()
        if failure != 0 { noteFailure() }
        return hasMore && failure == 0
    }
}

extension FamilyNode {
    /// Whether it is not deleted: others may need what it has, but nobody knows it.
    var isPresent: Bool { !isBeingDeleted && !name.isEmpty }
}

extension FamilyError {
    /// What a command ends with.
    var failure: MediaFailure {
        switch self {
        case .hostFull, .limit: .hostFull
        case .damaged, .unknown: .corrupt
        case .failed(let code): MediaFailure(errorNumber: code)
        case .dataLost(let failure), .uncertain(let failure): failure
        default: .device(Errno.invalidArgument)
        }
    }
}

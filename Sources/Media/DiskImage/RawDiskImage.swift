public import Encryption
public import Platform
public import SCSI
internal import Synchronization

/// A disk whose blocks lie one after another in a sparse file or on a block device, with no map.
public final class RawDiskImage: DiskImage, DurableStore {
    /// The block sizes that an image can have, in bytes.
    public static let blockSizes = [512, 4096]
    /// The most requests of an image that are performed at a time.
    public static let concurrency = 8
    /// What one system call writes at most, in bytes, where no page keeper has the pages: it decides in which units the
    /// page cache holds the file. Measured on ext4: a 4 KiB write takes 1.3 µs into pages that were filled 4 KiB at a
    /// time, 1.6 at 8 KiB, 1.9 at 16 KiB, 4 at 64 KiB and 23 at 1 MiB. A later write of 64 KiB in one piece takes 7,
    /// 5.1 and 4.5 µs after pieces of 4, 8 and 16 KiB.
    static let writePieceLength = 8192
    /// The most bytes that one call to the file system frees: it holds the file's lock for that long, and writers wait
    /// for it.
    static let deallocationLength = 64 << 20
    /// How long after a write that has ended the next one may go to the page cache on a reactor, in nanoseconds.
    static let inlineWriteWindow: Int64 = 100_000_000

    public let path: String
    public let blockSize: Int
    /// For what may wait.
    public let lane: Lane
    let store: any ByteStore
    let losses: LossRecord
    let marks: BlockMarks
    public let keptOperation: KeptOperation
    /// For atomic writes; nil where they are not possible. Those of an image with protection information are not:
    /// data and protection information are in two files, which no journal writes as a whole.
    private let ownJournal: AtomicWriteJournal?
    /// The protection information of its blocks, if there is any, and a change of its type that is not settled.
    let protectionState: Lock<(file: ProtectionFile?, change: ProtectionChange?)>
    /// Whether there is any.
    let isProtected: Atomic<Bool>
    /// Where its file can be made and removed; nil where the type does not change.
    let protectionPlace: ProtectionPlace?
    /// Held while the length or the type of protection information changes.
    let shape = Lock(())
    /// The filter that is `store`, and the key file, if it is encrypted.
    let encryption: ImageEncryption?
    /// Looks through what a crash has left of it.
    let recovery = ProtectionRecovery()
    let synchronizations = SynchronizationGroup()
    let durability = Lock(())
    /// How many requests are freeing storage: they keep the file's lock, so writes go to the lane meanwhile. One more
    /// while data go past the page cache, which has to be waited for.
    let deallocations = Atomic<Int>(0)
    /// Whether the file system may take no writes for some time.
    let canStall: Bool
    /// When a write ended last, to an eighth of `inlineWriteWindow`, in nanoseconds of `clock`.
    let lastWrite = Atomic<Int64>(-inlineWriteWindow - 1)
    let clock: MonotonicClock
    let blockShift: UInt64
    private let length: AtomicLength
    /// Whether data go past the page cache; the lock of whoever switches that.
    private let isDirect = Lock(false)

    init(
        store: any ByteStore, engine: any MediumEngine, path: String, blockSize: Int, capacity: Int64,
        clock: MonotonicClock = .system, journal: AtomicWriteJournal? = nil, protection: ProtectionFile? = nil,
        protectionChange: ProtectionChange? = nil, protectionPlace: ProtectionPlace? = nil,
        encryption: ImageEncryption? = nil
    ) {
        precondition(
            encryption == nil || protection == nil && protectionPlace == nil, "guards would be of plain blocks")
        self.store = encryption?.store ?? store
        self.encryption = encryption
        ownJournal = journal
        protectionState = Lock((protection, protectionChange))
        isProtected = Atomic(protection != nil)
        self.protectionPlace = protectionPlace
        self.clock = clock
        canStall = store.canStall
        self.path = path
        self.blockSize = blockSize
        blockShift = UInt64(blockSize.trailingZeroBitCount)
        length = AtomicLength(capacity)
        lane = Lane(engine: engine, concurrency: Self.concurrency)
        let notes = Self.notes(of: store, marks: .markedBlocks, operation: .operation)
        marks = BlockMarks(notes.marks)
        keptOperation = notes.operation
        let noted = store.notedLoss
        // What the cache holds may be what the device has not; nothing of it is mapped yet.
        if noted != nil {
            store.dropCache()
            protection?.store.dropCache()
        }
        losses = LossRecord(noted: noted)
    }

    /// The protection information of its blocks, if there is any. Not on a reactor: see `isProtected`.
    var protectionFile: ProtectionFile? { protectionState.withLock { $0.file } }
    /// For atomic writes; nil where they are not possible now.
    var journal: AtomicWriteJournal? { isProtected.load(ordering: .acquiring) ? nil : ownJournal }

    public var capacity: Int64 { length.value }
    public var allocatedBytes: Int64? { store.allocatedBytes }

    // MARK: Opening

    /// Makes a sparse image of `capacity` bytes and opens it. Storage is not reserved: a full file system shows when
    /// blocks are written. The length and the name are durable on return. With `changesProtection` the type of its
    /// protection information can be changed; not of an encrypted one. With `userKey` it is encrypted, under a key that
    /// nobody knows.
    public static func create(
        path: String, capacity: Int64, blockSize: Int, protection: ProtectionType? = nil,
        changesProtection: Bool = false, userKey: UserKey? = nil, engine: any MediumEngine,
        clock: MonotonicClock = .system
    ) throws(DiskImageError) -> RawDiskImage {
        try checkLength(path, capacity, blockSize)
        try checkIsNotBoth(path, protection, userKey)
        let file: File
        do throws(SystemError) {
            file = try File.open(
                path: path, [.readWrite, .create, .exclusive], writePieceLength: Self.writePieceLength)
            guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock", path: path) }
            for code in [file.truncate(to: capacity), file.synchronize()] where code != 0 {
                throw SystemError(code: code, operation: "resize", path: path)
            }
            try File.synchronizeDirectory(path: FilePath.directory(of: path))
            try removeJournal(ofImage: path)
        } catch {
            if error.code != Errno.fileExists { FilePath.remove(path) }
            throw DiskImageError(error, path: path)
        }
        var protectionFile: ProtectionFile?
        if let protection {
            do throws(SystemError) {
                try createProtection(ofImage: path, protection, blockSize: blockSize, capacity: capacity)
            } catch {
                FilePath.remove(path)
                throw DiskImageError(error, path: protectionPath(ofImage: path))
            }
            protectionFile = try ProtectionFile.open(
                imagePath: path, [protection], blockSize: blockSize, capacity: capacity, clock: clock)
        }
        if let userKey {
            do throws(DiskImageError) {
                try ImageKeyFile.create(ofImage: path, blockSize: blockSize, userKey: userKey)
            } catch {
                FilePath.remove(path)
                throw error
            }
        }
        let image = RawDiskImage(
            store: file, engine: engine, path: path, blockSize: blockSize, capacity: capacity, clock: clock,
            journal: AtomicWriteJournal(imagePath: path), protection: protectionFile,
            protectionPlace: changesProtection && userKey == nil ? ProtectionPlace(imagePath: path) : nil,
            encryption: try ImageKeyFile.encryption(of: file, path: path, blockSize: blockSize, userKey: userKey))
        image.keepIdentity()
        // The file system has just taken the length.
        image.lastWrite.store(clock.now.nanoseconds, ordering: .relaxed)
        return image
    }

    /// Opens an image with an exclusive lock, a block device also so that nothing is mounted from it; that lasts as
    /// long as the object. `engine` performs its requests.
    ///
    /// With `expectedCapacity` the length must be just that; else the length is the capacity, if it is a whole number
    /// of blocks. With a `pageKeeper`, the hot parts of the present length stay in memory.
    ///
    /// An image whose host has lost written data under an earlier opening refuses writes until the loss is
    /// acknowledged. With `protection` its protection information is opened too, and is of that type; unless a format
    /// operation that changes the type was broken off: then the image has what the file beside it says, and the medium
    /// is corrupt. With `changesProtection` the type can be changed, unless the image is a block device or encrypted.
    /// An encrypted one needs `userKey`, and a plain one refuses it.
    public static func open(
        path: String, blockSize: Int, expectedCapacity: Int64? = nil, protection: ProtectionType? = nil,
        changesProtection: Bool = false, userKey: UserKey? = nil, engine: any MediumEngine,
        pageKeeper: PageKeeper? = nil
    ) throws(DiskImageError) -> RawDiskImage {
        try checkIsNotBoth(path, protection, userKey)
        let file: File
        let length: Int64
        do throws(SystemError) {
            // What is on a block device must not be mounted at the same time.
            let isDevice = try FileStatus.of(path).kind == .blockDevice
            file = try File.open(
                path: path, isDevice ? [.readWrite, .exclusive] : .readWrite, writePieceLength: Self.writePieceLength,
                pageKeeper: pageKeeper)
            guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock", path: path) }
            length = try file.size()
        } catch {
            if error.code == Errno.wouldBlock || error.code == Errno.busy { throw .inUse(path: path) }
            throw DiskImageError(error, path: path)
        }
        try checkLength(path, length, blockSize)
        if let expectedCapacity, expectedCapacity != length {
            throw .capacityMismatch(path: path, length: length, expected: expectedCapacity)
        }
        // Before anything is written to it.
        let encryption = try ImageKeyFile.encryption(of: file, path: path, blockSize: blockSize, userKey: userKey)
        do throws(SystemError) {
            try AtomicWriteJournal.recover(imagePath: path, image: file, length: length)
        } catch {
            throw DiskImageError(error, path: path)
        }
        // An encrypted one has none, whatever its attributes and the files beside it say.
        let notes = encryption == nil ? ProtectionNotes(file) : ProtectionNotes()
        let protectionFile = try openProtection(protection, notes) { types, mended throws(DiskImageError) in
            try ProtectionFile.open(
                imagePath: path, types, mending: mended, blockSize: blockSize, capacity: length,
                identity: notes.identity)
        }
        let image = RawDiskImage(
            store: file, engine: engine, path: path, blockSize: blockSize, capacity: length,
            journal: AtomicWriteJournal(imagePath: path), protection: protectionFile,
            protectionChange: notes.unsettled,
            protectionPlace: changesProtection && encryption == nil && !file.hasFixedLength
                ? ProtectionPlace(imagePath: path) : nil,
            encryption: encryption)
        image.keepIdentity()
        // Where that cannot be, older key files go on to be taken.
        _ = image.keepKeyMark(of: encryption)
        image.startRecovery()
        return image
    }

    /// Guards are of plain blocks, and would tell of them.
    private static func checkIsNotBoth(
        _ path: String, _ protection: ProtectionType?, _ userKey: UserKey?
    ) throws(DiskImageError) {
        guard protection == nil || userKey == nil else {
            throw .protection(path: protectionPath(ofImage: path), reason: "would be of an encrypted image")
        }
    }

    static func checkLength(_ path: String, _ length: Int64, _ blockSize: Int) throws(DiskImageError) {
        guard blockSizes.contains(blockSize) else { throw .invalidBlockSize(blockSize) }
        guard length > 0, length % Int64(blockSize) == 0 else {
            throw .lengthMismatch(path: path, length: length, blockSize: blockSize)
        }
    }

    public func setDirect(_ isOn: Bool) throws(DiskImageError) {
        let code = isDirect.withLock { isDirect -> Int32 in
            guard isOn != isDirect else { return 0 }
            let code = store.setDirect(isOn)
            guard code == 0 else { return code }
            isDirect = isOn
            if isOn {
                deallocations.add(1, ordering: .relaxed)
            } else {
                deallocations.subtract(1, ordering: .relaxed)
            }
            return 0
        }
        switch code {
        case 0: return
        case Errno.invalidArgument, Errno.notSupported: throw .notDirect(path: path)
        default: throw .system(SystemError(code: code, operation: "open directly", path: path))
        }
    }

    /// Makes the disk longer; what is added reads as zeros. The new length is durable on return, or taken back.
    public func resize(to capacity: Int64) throws(DiskImageError) {
        let outcome = shape.withLock { _ -> Result<Void, DiskImageError> in
            Result { () throws(DiskImageError) in try resizeAlone(to: capacity) }
        }
        try outcome.get()
    }

    private func resizeAlone(to capacity: Int64) throws(DiskImageError) {
        if store.hasFixedLength { throw .fixedLength(path: path) }
        try Self.checkLength(path, capacity, blockSize)
        let before = length.value
        guard capacity >= before else { throw .smaller(path: path, capacity: before) }
        if let failure = losses.failure { throw .dataLost(path: path, failure) }
        let found: Int64
        do { found = try store.size() } catch { throw .system(error) }
        guard found >= before else {
            noteTruncation()
            throw .capacityMismatch(path: path, length: found, expected: before)
        }
        guard !isTruncated else {
            noteTruncation()
            throw .protection(path: Self.protectionPath(ofImage: path), reason: "is truncated")
        }
        // That of the new blocks first; without them it does no harm.
        if let code = protectionFile?.resize(to: capacity, synchronize: synchronizeProtection), code != 0 {
            throw .system(
                SystemError(code: code, operation: "resize", path: Self.protectionPath(ofImage: path)))
        }
        let truncation = store.truncate(to: capacity)
        guard truncation == 0 else {
            throw .system(SystemError(code: truncation, operation: "resize", path: path))
        }
        let synchronization = synchronizeStore()
        guard synchronization == 0 else {
            let error = SystemError(code: synchronization, operation: "synchronize", path: path)
            // Nobody was told of the new blocks, so nothing is cut off that anybody has written.
            guard store.truncate(to: found) == 0 else { throw .lengthKept(path: path, length: capacity, error) }
            throw .system(error)
        }
        length.value = capacity
    }
}

internal import Bytes
internal import GRDBSQLite
internal import Platform
internal import Synchronization
public import TestSupport

/// The files of one SQLite database on simulated stores: a crash takes from them what was not synchronised, and each
/// write, synchronisation, truncation and deletion can fail.
///
/// SQLite finds them by a VFS of its own, which `path` names. One connection at a time uses them.
public final class SimulatedDatabase: Sendable {
    private struct State {
        var files: [String: SimulatedStore] = [:]
        var calls = 0
        var failingCall: Int?
        var failsFromThenOn = false
        var errorNumber = Errno.inputOutput
        var hasFailed = false
        var openFiles = 0
    }

    private static let registered = Lock<[String: Reference]>([:])
    private static let names = Atomic<Int>(0)

    private struct Reference: Sendable {
        weak let database: SimulatedDatabase?
    }

    private let name: String
    private let state: Lock<State>

    /// A database that is not there yet.
    public convenience init() { self.init(files: [:]) }

    private init(files: [String: SimulatedStore]) {
        SimulatedFileSystem.register()
        name = "database-\(Self.names.add(1, ordering: .relaxed).newValue)"
        state = Lock(State(files: files))
        let reference = Reference(database: self)
        Self.registered.withLock { [name] in $0[name] = reference }
    }

    deinit {
        Self.registered.withLock { [name] in $0[name] = nil }
    }

    /// Where SQLite finds the database.
    public var path: String { "file:/\(name)/index.sqlite?vfs=\(SimulatedFileSystem.name)" }

    // MARK: Failures

    /// How many changing calls there have been since the last `fail(at:errorNumber:fromThenOn:)`.
    public var callCount: Int { state.withLock { $0.calls } }
    /// Whether a call has failed.
    public var hasFailed: Bool { state.withLock { $0.hasFailed } }

    /// Makes the `call`-th changing call from now on fail, counted from 1; and with `fromThenOn` all later ones.
    public func fail(at call: Int, errorNumber: Int32, fromThenOn: Bool) {
        state.withLock { state in
            state.calls = 0
            state.failingCall = call
            state.errorNumber = errorNumber
            state.failsFromThenOn = fromThenOn
            state.hasFailed = false
        }
    }

    /// Lets all calls succeed.
    public func stopFailing() {
        state.withLock { $0.failingCall = nil }
    }

    /// Counts a changing call; the error number when it is to fail.
    fileprivate func failure() -> Int32? {
        state.withLock { state in
            state.calls += 1
            guard let failing = state.failingCall else { return nil }
            guard state.calls == failing || (state.failsFromThenOn && state.calls > failing) else { return nil }
            state.hasFailed = true
            return state.errorNumber
        }
    }

    // MARK: Afterwards

    /// What could be there after a crash now.
    public func afterCrash(using generator: inout SeededRandom) -> SimulatedDatabase {
        var files: [String: SimulatedStore] = [:]
        for (name, store) in state.withLock({ $0.files }).sorted(by: { $0.key < $1.key }) {
            files[name] = store.afterCrash(using: &generator)
        }
        return SimulatedDatabase(files: files)
    }

    /// What another process finds now.
    public func afterKill() -> SimulatedDatabase {
        SimulatedDatabase(files: state.withLock { $0.files }.mapValues { SimulatedStore($0.content) })
    }

    // MARK: Files

    /// Whether a connection uses it.
    public var isOpen: Bool { state.withLock { $0.openFiles > 0 } }

    fileprivate func countOpenFiles(_ change: Int) {
        state.withLock { $0.openFiles += change }
    }

    fileprivate static func named(_ path: String) -> (database: SimulatedDatabase, file: String)? {
        let parts = path.split(separator: "/").map(String.init)
        guard parts.count == 2, let database = registered.withLock({ $0[parts[0]]?.database }) else { return nil }
        return (database, parts[1])
    }

    fileprivate func file(_ name: String, creates: Bool) -> SimulatedStore? {
        state.withLock { state in
            if state.files[name] == nil, creates {
                state.files[name] = SimulatedStore(forgetsAfterFailedSynchronization: true)
            }
            return state.files[name]
        }
    }

    fileprivate func remove(_ name: String) -> Bool {
        state.withLock { $0.files.removeValue(forKey: name) != nil }
    }
}

/// An open file, as the functions of the VFS find it.
@safe private final class OpenFile {
    let database: SimulatedDatabase?
    let store: SimulatedStore
    /// The pages of the index of the write-ahead log, which live as long as the file is open.
    private var sharedPages: [UnsafeMutableRawPointer]

    init(_ database: SimulatedDatabase?, _ store: SimulatedStore) {
        self.database = database
        self.store = store
        unsafe sharedPages = []
        database?.countOpenFiles(1)
    }

    deinit {
        database?.countOpenFiles(-1)
        for index in unsafe sharedPages.indices { unsafe sharedPages[index].deallocate() }
    }

    /// A page of shared memory; nil when it is not there and `extends` is false.
    @unsafe func sharedPage(_ page: Int, length: Int, extends: Bool) -> UnsafeMutableRawPointer? {
        while extends, unsafe sharedPages.count <= page {
            let memory = UnsafeMutableRawPointer.allocate(byteCount: length, alignment: 16)
            unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: length)
            unsafe sharedPages.append(memory)
        }
        return unsafe page < sharedPages.count ? sharedPages[page] : nil
    }

    /// What a changing call ends with. When it is to fail `body` is done on a store that fails.
    func change(failing code: Int32, _ body: () -> Int32) -> Int32 {
        if let number = database?.failure() {
            store.fail(at: 1, errorNumber: number, fromThenOn: false)
            _ = body()
            store.stopFailing()
            return number == Errno.noSpace ? SQLITE_FULL : code
        }
        return body() == 0 ? SQLITE_OK : code
    }
}

/// The VFS: functions that SQLite calls, over `SimulatedDatabase`.
private enum SimulatedFileSystem {
    static let name = "carousel-simulated"

    /// SQLite's structure of an open file with what this VFS keeps of it.
    @unsafe private struct FileStructure {
        var base: sqlite3_file
        var object: UnsafeMutableRawPointer?
    }

    /// Makes the VFS known to SQLite, once.
    static func register() { _ = isRegistered }

    private static let isRegistered: Bool = {
        // Time and randomness are those of the usual VFS.
        guard let usual = unsafe sqlite3_vfs_find(nil) else { return false }
        let own = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        unsafe own.initialize(to: usual.pointee)
        let nameBytes: [UInt8] = Array(name.utf8) + [0]
        let text = UnsafeMutablePointer<CChar>.allocate(capacity: nameBytes.count)
        for index in nameBytes.indices { unsafe text[index] = CChar(bitPattern: nameBytes[index]) }
        unsafe own.pointee.iVersion = 2
        unsafe own.pointee.szOsFile = Int32(MemoryLayout<FileStructure>.size)
        unsafe own.pointee.pNext = nil
        unsafe own.pointee.zName = UnsafePointer(text)
        unsafe own.pointee.xOpen = { _, name, file, flags, outFlags in
            unsafe SimulatedFileSystem.open(name, file, flags, outFlags)
        }
        unsafe own.pointee.xDelete = { _, name, _ in unsafe SimulatedFileSystem.delete(name) }
        unsafe own.pointee.xAccess = { _, name, _, exists in unsafe SimulatedFileSystem.access(name, exists) }
        unsafe own.pointee.xFullPathname = { _, name, capacity, target in
            unsafe SimulatedFileSystem.fullPathname(name, capacity, target)
        }
        return unsafe sqlite3_vfs_register(own, 0) == SQLITE_OK
    }()

    /// Never changed after it was made.
    nonisolated(unsafe) private static let methods: UnsafeMutablePointer<sqlite3_io_methods> = {
        var methods = sqlite3_io_methods()
        methods.iVersion = 2
        unsafe methods.xClose = { unsafe SimulatedFileSystem.close($0) }
        unsafe methods.xRead = { unsafe SimulatedFileSystem.read($0, $1, $2, $3) }
        unsafe methods.xWrite = { unsafe SimulatedFileSystem.write($0, $1, $2, $3) }
        unsafe methods.xTruncate = { file, length in
            let file = unsafe SimulatedFileSystem.object(file)
            return file.change(failing: SQLITE_IOERR | 6 << 8) { file.store.truncate(to: length) }
        }
        unsafe methods.xSync = { file, _ in
            let file = unsafe SimulatedFileSystem.object(file)
            return file.change(failing: SQLITE_IOERR | 4 << 8) { file.store.synchronizeData() }
        }
        unsafe methods.xFileSize = { file, size in
            unsafe size?.pointee = SimulatedFileSystem.object(file).store.size()
            return SQLITE_OK
        }
        unsafe methods.xLock = { _, _ in SQLITE_OK }
        unsafe methods.xUnlock = { _, _ in SQLITE_OK }
        unsafe methods.xCheckReservedLock = { _, isReserved in
            unsafe isReserved?.pointee = 0
            return SQLITE_OK
        }
        unsafe methods.xFileControl = { _, _, _ in SQLITE_NOTFOUND }
        unsafe methods.xSectorSize = { _ in 512 }
        // A write changes no byte beside those written, as the usual VFS promises too.
        unsafe methods.xDeviceCharacteristics = { _ in SQLITE_IOCAP_POWERSAFE_OVERWRITE }
        unsafe methods.xShmMap = { unsafe SimulatedFileSystem.mapShared($0, $1, $2, $3, $4) }
        unsafe methods.xShmLock = { _, _, _, _ in SQLITE_OK }
        unsafe methods.xShmBarrier = { _ in atomicMemoryFence(ordering: .sequentiallyConsistent) }
        unsafe methods.xShmUnmap = { _, _ in SQLITE_OK }
        let memory = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
        unsafe memory.initialize(to: methods)
        return unsafe memory
    }()

    private static func structure(
        _ file: UnsafeMutablePointer<sqlite3_file>?
    ) -> UnsafeMutablePointer<FileStructure> {
        guard let file = unsafe file else { preconditionFailure("SQLite names a file") }
        return unsafe UnsafeMutableRawPointer(file).assumingMemoryBound(to: FileStructure.self)
    }

    private static func object(_ file: UnsafeMutablePointer<sqlite3_file>?) -> OpenFile {
        guard let object = unsafe structure(file).pointee.object else { preconditionFailure("the file is open") }
        return unsafe Unmanaged<OpenFile>.fromOpaque(object).takeUnretainedValue()
    }

    private static func open(
        _ name: UnsafePointer<CChar>?, _ file: UnsafeMutablePointer<sqlite3_file>?, _ flags: Int32,
        _ outFlags: UnsafeMutablePointer<Int32>?
    ) -> Int32 {
        unsafe structure(file).pointee.base.pMethods = nil
        unsafe structure(file).pointee.object = nil
        let opened: OpenFile
        if let name = unsafe name.map({ unsafe String(cString: $0) }) {
            guard let (database, file) = SimulatedDatabase.named(name),
                let store = database.file(file, creates: flags & SQLITE_OPEN_CREATE != 0)
            else { return SQLITE_CANTOPEN }
            opened = OpenFile(database, store)
        } else {
            // A temporary file, whose failures lose nothing.
            opened = OpenFile(nil, SimulatedStore())
        }
        unsafe structure(file).pointee.object = Unmanaged.passRetained(opened).toOpaque()
        unsafe structure(file).pointee.base.pMethods = UnsafePointer(methods)
        unsafe outFlags?.pointee = flags
        return SQLITE_OK
    }

    private static func close(_ file: UnsafeMutablePointer<sqlite3_file>?) -> Int32 {
        guard let object = unsafe structure(file).pointee.object else { return SQLITE_OK }
        unsafe structure(file).pointee.object = nil
        unsafe Unmanaged<OpenFile>.fromOpaque(object).release()
        return SQLITE_OK
    }

    private static func delete(_ name: UnsafePointer<CChar>?) -> Int32 {
        guard let name = unsafe name.map({ unsafe String(cString: $0) }),
            let (database, file) = SimulatedDatabase.named(name)
        else { return SQLITE_OK }
        if database.failure() != nil { return SQLITE_IOERR | 10 << 8 }
        return database.remove(file) ? SQLITE_OK : SQLITE_IOERR | 23 << 8
    }

    private static func access(_ name: UnsafePointer<CChar>?, _ exists: UnsafeMutablePointer<Int32>?) -> Int32 {
        let path = unsafe name.map { unsafe String(cString: $0) } ?? ""
        let store = SimulatedDatabase.named(path).flatMap { $0.database.file($0.file, creates: false) }
        unsafe exists?.pointee = store.map { $0.size() > 0 ? 1 : 0 } ?? 0
        return SQLITE_OK
    }

    private static func fullPathname(
        _ name: UnsafePointer<CChar>?, _ capacity: Int32, _ target: UnsafeMutablePointer<CChar>?
    ) -> Int32 {
        guard let name = unsafe name, let target = unsafe target else { return SQLITE_CANTOPEN }
        let bytes = unsafe Array(String(cString: name).utf8) + [0]
        guard bytes.count <= capacity else { return SQLITE_CANTOPEN }
        for (index, byte) in bytes.enumerated() { unsafe target[index] = CChar(bitPattern: byte) }
        return SQLITE_OK
    }

    private static func read(
        _ file: UnsafeMutablePointer<sqlite3_file>?, _ target: UnsafeMutableRawPointer?, _ count: Int32,
        _ offset: Int64
    ) -> Int32 {
        let content = unsafe object(file).store.content
        let available = max(0, min(Int(count), content.count - Int(offset)))
        let target = unsafe UnsafeMutableRawBufferPointer(start: target, count: Int(count))
        unsafe target.initializeMemory(as: UInt8.self, repeating: 0)
        if available > 0 {
            unsafe content[Int(offset)..<Int(offset) + available].withUnsafeBytes { unsafe target.copyMemory(from: $0) }
        }
        return available == Int(count) ? SQLITE_OK : SQLITE_IOERR | 2 << 8
    }

    private static func write(
        _ file: UnsafeMutablePointer<sqlite3_file>?, _ source: UnsafeRawPointer?, _ count: Int32, _ offset: Int64
    ) -> Int32 {
        let bytes = unsafe Array(UnsafeRawBufferPointer(start: source, count: Int(count)))
        let file = unsafe object(file)
        return file.change(failing: SQLITE_IOERR | 3 << 8) {
            if case .failed(let code) = file.store.write(bytes.rawSpan, offset: offset) { return code }
            return 0
        }
    }

    private static func mapShared(
        _ file: UnsafeMutablePointer<sqlite3_file>?, _ page: Int32, _ length: Int32, _ extends: Int32,
        _ target: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) -> Int32 {
        let file = unsafe object(file)
        unsafe target?.pointee = file.sharedPage(Int(page), length: Int(length), extends: extends != 0)
        return SQLITE_OK
    }
}

public import Platform
internal import Synchronization

/// The file of a family that is served: what its heads have in common, a loss of written data first of all.
///
/// Any thread may call any method at any time; all of them may wait.
public final class FamilyFile: Sendable {
    private struct State {
        var family: DiskFamily
        /// How many use it now.
        var users = 0
        /// Whether it is being replaced: who comes now waits.
        var isReplacing = false
    }

    public let path: String
    let store: any ByteStore
    let losses: LossRecord
    private let state: Lock<State>
    /// One after another: whatever may find a loss, records it or acknowledges it.
    private let durability = Lock(())

    init(store: any ByteStore, family: DiskFamily, path: String) {
        self.store = store
        self.path = path
        state = Lock(State(family: family))
        losses = LossRecord(noted: store.notedLoss)
    }

    // MARK: Opening

    /// Makes the file of a disk of `capacity` bytes and opens it; its name is durable on return.
    public static func create(
        path: String, capacity: Int64, blockSize: Int, name: String, time: CalendarTime, uuid: [UInt8]
    ) throws(DiskImageError) -> FamilyFile {
        let file: File
        do throws(SystemError) {
            file = try File.open(path: path, [.readWrite, .create, .exclusive])
            guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock", path: path) }
        } catch {
            throw DiskImageError(error, path: path)
        }
        do throws(FamilyError) {
            let family = try DiskFamily.create(
                on: file, capacity: capacity, blockSize: blockSize, name: name, time: time, uuid: uuid)
            do throws(SystemError) {
                try File.synchronizeDirectory(path: FilePath.directory(of: path))
            } catch {
                throw .failed(error.code)
            }
            return FamilyFile(store: file, family: family, path: path)
        } catch {
            FilePath.remove(path)
            throw .family(path: path, error)
        }
    }

    /// Opens the file with an exclusive lock, which lasts as long as the object. An image whose host has lost written
    /// data under an earlier opening refuses writes until the loss is acknowledged.
    public static func open(path: String) throws(DiskImageError) -> FamilyFile {
        let file: File
        do throws(SystemError) {
            file = try File.open(path: path, .readWrite)
            guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock", path: path) }
        } catch {
            if error.code == Errno.wouldBlock { throw .inUse(path: path) }
            throw DiskImageError(error, path: path)
        }
        // What the cache holds may be what the device has not.
        if file.notedLoss != nil { file.dropCache() }
        do throws(FamilyError) {
            return FamilyFile(store: file, family: try DiskFamily.open(file), path: path)
        } catch {
            throw .family(path: path, error)
        }
    }

    // MARK: The family

    /// Calls `body` with the family, which stays until it returns.
    func withFamily<Value>(_ body: (DiskFamily) -> Value) -> Value {
        let family = enter()
        defer { state.withLock { $0.users -= 1 } }
        return body(family)
    }

    private func enter() -> DiskFamily {
        var patience = Patience()
        while true {
            let family: DiskFamily? = state.withLock { state in
                guard !state.isReplacing else { return nil }
                state.users += 1
                return state.family
            }
            if let family { return family }
            patience.pause()
        }
    }

    /// All nodes of the family.
    public var nodes: [FamilyNode] { withFamily { $0.nodes } }

    /// How long the file is at least, in bytes.
    var neededLength: Int64 { withFamily { $0.neededLength } }

    /// The bytes of storage that the family takes.
    var allocatedBytes: Int64? { store.allocatedBytes }

    // MARK: Durability and losses

    /// Makes everything durable that was acknowledged; 0 or an error number. A failed synchronisation is a loss.
    func flush() -> Int32 { durably { $0.flush() } }

    /// Calls `body`, which makes something durable and gives 0 or an error number; notes the loss that it finds. One
    /// after another, so that no two can divide a failure and a success between them.
    func durably(_ body: (DiskFamily) -> Int32) -> Int32 {
        let (code, isNew) = durability.withLock { _ -> (Int32, Bool) in
            let before = losses.refusal(since: losses.epoch)
            guard before == 0 else { return (before, false) }
            let (code, failure) = withFamily { (body($0), $0.failureCode) }
            guard failure != 0 else { return (code, false) }
            countLoss(failure)
            return (failure, true)
        }
        if isNew { losses.tellNoted() }
        return code
    }

    /// Notes a loss that a command has met on its way: the family's background work synchronises too.
    func noteFailure() {
        let isNew = durability.withLock { _ -> Bool in
            let failure = withFamily { $0.failureCode }
            guard failure != 0, losses.failure == nil else { return false }
            countLoss(failure)
            return true
        }
        if isNew { losses.tellNoted() }
    }

    private func countLoss(_ code: Int32) {
        losses.count(code, at: CalendarTime.current())
        recordLoss()
    }

    private func recordLoss() {
        if let note = losses.note { losses.setNoted(store.noteLoss(note)) }
    }

    /// Tries again to record a loss that could not be recorded.
    func recordLossAgain() {
        durability.withLock { _ in if !losses.isNoted { recordLoss() } }
    }

    /// Forgets what memory holds, opens what the device has, and permits writes again. Nil, or why the loss stays.
    func acknowledgeLoss() -> MediaFailure? {
        durability.withLock { _ in
            guard losses.failure != nil else { return nil }
            // What the host could not write out until now is a part of this loss, not a new one after it.
            _ = store.synchronizeData()
            if let failure = replace() { return failure }
            let code = store.noteLoss(nil)
            guard code == 0 else {
                // It may be removed all the same, but not durably.
                recordLoss()
                return MediaFailure.of(code)
            }
            losses.setNoted(0)
            losses.acknowledge()
            return nil
        }
    }

    /// Puts a new opening in the place of the family, when nobody uses that.
    private func replace() -> MediaFailure? {
        state.withLock { $0.isReplacing = true }
        defer { state.withLock { $0.isReplacing = false } }
        var patience = Patience()
        while state.withLock({ $0.users > 0 }) { patience.pause() }
        store.dropCache()
        do throws(FamilyError) {
            let family = try DiskFamily.open(store)
            state.withLock { $0.family = family }
            return nil
        } catch {
            return error.failure
        }
    }

    /// Ends the use of the file: everything is durable, and nothing is in the journal.
    func close() -> MediaFailure? { MediaFailure.of(durably { $0.close() }) }
}

extension FamilyError {
    /// What a command ends with.
    var failure: MediaFailure {
        switch self {
        case .hostFull, .limit: .hostFull
        case .damaged, .unknown: .corrupt
        case .failed(let code): MediaFailure(errorNumber: code)
        default: .device(Errno.invalidArgument)
        }
    }
}

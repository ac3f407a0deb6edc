public import Bytes
internal import CPlatform
internal import Synchronization

/// What a file request calls when it is done, on the reactor that submitted it.
public protocol FileRequestOwner: AnyObject {
    /// The request is done: `request.result` tells how, and its lease is back.
    func fileRequestCompleted(_ request: FileRequest)
}

/// One file operation at a time: made once by its owner, filled in, submitted, and reused after its completion.
///
/// While it is submitted only the engine touches it.
public final class FileRequest: @unchecked Sendable {
    /// The most bytes of a header that goes before the payload of a write.
    public static let maximumHeaderLength = 64

    /// What is to be done.
    public enum Operation: Sendable {
        /// Read `count` bytes at `fileOffset` into the lease at `leaseOffset`.
        case read
        /// Write the header, if there is one, and `count` bytes of the lease from `leaseOffset` on at `fileOffset`.
        case write
        /// Make written data durable.
        case synchronizeData
        /// Free the storage of `count` bytes at `fileOffset`.
        case punchHole
        /// Make `count` bytes at `fileOffset` zero.
        case zeroRange
        /// Run the closure, which gives 0 or an error number. For rare control work.
        case call(@Sendable () -> Int32)
    }

    /// Where the request is; changes under the engine's lock or while no thread has it.
    enum State {
        case idle, queued, running
    }

    /// Who is told of the completion; it keeps the request, not the other way round.
    public unowned let owner: any FileRequestOwner
    /// What is to be done.
    public var operation = Operation.read
    /// The file; released at completion.
    public var file: File?
    /// The payload; it stays here during the operation.
    public var lease: BufferLease?
    /// Where in the lease the payload is.
    public var leaseOffset = 0
    /// How many bytes of payload, or of the file.
    public var count = 0
    /// Where in the file.
    public var fileOffset: Int64 = 0
    /// For the owner: which step of its work this is.
    public var context = 0
    /// How it ended. `.done` of a write counts header and payload; of other operations it is `.done(0)`.
    public private(set) var result = FileResult.done(0)

    private var header = InlineArray<64, UInt8>(repeating: 0)
    private var headerCount = 0
    var state = State.idle
    var reactor: Reactor?

    /// A request of `owner`.
    public init(owner: any FileRequestOwner) {
        self.owner = owner
    }

    /// Whether it is submitted and not completed.
    public var isSubmitted: Bool { reactor != nil }

    /// Puts a copy of `bytes`, at most `maximumHeaderLength`, before the payload of the next write. An empty span takes it away.
    public func setHeader(_ bytes: RawSpan) {
        precondition(bytes.byteCount <= Self.maximumHeaderLength, "a header has at most 64 bytes")
        header.modifyBytes { $0.store(bytes, at: 0) }
        headerCount = bytes.byteCount
    }

    /// Does the work, on a worker's thread.
    func perform() {
        result =
            switch operation {
            case .read: read()
            case .write: write()
            case .synchronizeData: Self.result(openFile.synchronizeData())
            case .punchHole: Self.result(openFile.punchHole(at: fileOffset, length: Int64(count)))
            case .zeroRange: Self.result(openFile.zeroRange(at: fileOffset, length: Int64(count)))
            case .call(let body): Self.result(body())
            }
    }

    /// Hands the request back to its owner, on the submitting reactor's thread.
    func deliver() {
        reset()
        owner.fileRequestCompleted(self)
    }

    /// Makes the request ready for the next operation; the lease stays.
    func reset() {
        state = .idle
        file = nil
        reactor = nil
        headerCount = 0
    }

    private var openFile: File {
        guard let file else { preconditionFailure("a file request needs a file") }
        return file
    }

    private func read() -> FileResult {
        guard var payload = lease.take() else { preconditionFailure("reading needs a lease") }
        let result = openFile.read(into: &payload, at: leaseOffset, count: count, fileOffset: fileOffset)
        lease = consume payload
        return result
    }

    private func write() -> FileResult {
        // A copy of its own: a span of the stored property would be one of a temporary.
        let stored = header
        let headerBytes = stored.rawSpan.extracting(0..<headerCount)
        guard let payload = lease.take() else { return openFile.write(headerBytes, fileOffset: fileOffset) }
        let result =
            headerCount == 0
            ? openFile.write(from: payload, at: leaseOffset, count: count, fileOffset: fileOffset)
            : openFile.write(
                header: headerBytes, from: payload, at: leaseOffset, count: count, fileOffset: fileOffset)
        lease = consume payload
        return result
    }

    private static func result(_ code: Int32) -> FileResult { code == 0 ? .done(0) : .failed(code) }
}

/// Threads that do file operations which may wait, so that no reactor does.
///
/// Requests start in the order of their submission. The queue is bounded; nothing is allocated per request.
@safe public final class FileEngine: Sendable {
    /// The most requests that wait for a thread.
    public let queueLimit: Int

    private struct Queue {
        var ring: [FileRequest?]
        var head = 0
        var count = 0
        var isStopping = false
    }

    private let queue: Mutex<Queue>
    // Safe: made in init, destroyed in deinit, and a POSIX semaphore in between, which any thread may use.
    private nonisolated(unsafe) let semaphore: OpaquePointer
    private let threads = Mutex<[PlatformThread]>([])

    /// An engine of `threads` threads with room for `queueLimit` waiting requests.
    public init(threads count: Int = 4, queueLimit: Int = 4096, name: String = "file") throws(SystemError) {
        precondition(count > 0 && queueLimit > 0, "an engine needs threads and a queue")
        self.queueLimit = queueLimit
        queue = Mutex(Queue(ring: [FileRequest?](repeating: nil, count: queueLimit)))
        guard let semaphore = unsafe cplatform_semaphore_create() else { preconditionFailure("no memory") }
        unsafe self.semaphore = semaphore
        for number in 0..<count {
            // The threads keep the engine until `stop`.
            let thread = try PlatformThread.start(name: "\(name)-\(number)") { self.work() }
            threads.withLock { $0.append(thread) }
        }
    }

    deinit {
        unsafe cplatform_semaphore_destroy(semaphore)
    }

    /// Queues `request`, whose owner is called on `reactor` when it is done. Call it on that reactor's thread.
    ///
    /// False when `queueLimit` requests wait or the engine is stopping: the request is untouched, answer BUSY.
    public func submit(_ request: FileRequest, on reactor: Reactor) -> Bool {
        precondition(!request.isSubmitted, "a request does one operation at a time")
        let accepted = queue.withLock { queue in
            guard !queue.isStopping, queue.count < queueLimit else { return false }
            request.state = .queued
            request.reactor = reactor
            var index = queue.head + queue.count
            if index >= queueLimit { index -= queueLimit }
            queue.ring[index] = request
            queue.count += 1
            return true
        }
        if accepted { unsafe cplatform_semaphore_post(semaphore) }
        return accepted
    }

    /// Takes `request` back if no thread has begun it: true, and its owner is not called. False when it runs or is done: its
    /// completion comes.
    public func cancel(_ request: FileRequest) -> Bool {
        queue.withLock { queue in
            guard request.state == .queued else { return false }
            for step in 0..<queue.count {
                let index = (queue.head + step) % queueLimit
                if queue.ring[index] === request {
                    // The place stays taken until a thread comes to it; the semaphore counts places.
                    queue.ring[index] = nil
                    request.reset()
                    return true
                }
            }
            return false
        }
    }

    /// Finishes what is queued and ends the threads. Not on one of them; submit nothing afterwards.
    public func stop() {
        let waiting = threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        queue.withLock { $0.isStopping = true }
        for _ in waiting { unsafe cplatform_semaphore_post(semaphore) }
        for thread in waiting { thread.join() }
    }

    private func work() {
        while true {
            unsafe cplatform_semaphore_wait(semaphore)
            let (request, isEnd) = takeNext()
            if isEnd { return }
            guard let request, let reactor = request.reactor else { continue }
            request.perform()
            reactor.complete(request)
        }
    }

    private func takeNext() -> (request: FileRequest?, isEnd: Bool) {
        queue.withLock { queue in
            guard queue.count > 0 else { return (nil, queue.isStopping) }
            let request = queue.ring[queue.head]
            queue.ring[queue.head] = nil
            queue.head = queue.head + 1 == queueLimit ? 0 : queue.head + 1
            queue.count -= 1
            request?.state = .running
            return (request, false)
        }
    }
}

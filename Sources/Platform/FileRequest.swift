public import Bytes

/// What a file request calls when it is done, on the reactor that submitted it.
public protocol FileRequestOwner: AnyObject {
    /// The request is done: `request.result` tells how, and its lease is back.
    func fileRequestCompleted(_ request: FileRequest)
}

/// What performs the requests that it has prepared: a disk image, a cartridge.
///
/// Between a request and its bytes stands the medium, so that a medium can map addresses, count losses of written data
/// where they occur, and refuse.
public protocol Medium: AnyObject, Sendable {
    /// Does the work of `request` on a thread that may wait. `FileRequest.perform(on:)` does the plain operations.
    ///
    /// Nil when the medium has put the request aside, for example because another one's work will do for both: it ends
    /// it by `Lane.complete(_:with:)`, or gives it back to its lane by `Lane.requeue(_:)`.
    func perform(_ request: FileRequest) -> FileResult?
}

/// One operation at a time that may wait: made once by its owner, filled in, submitted to a lane, and reused after its
/// completion.
///
/// While it is submitted only the lane and its engine touch it.
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
        /// Make `count` bytes at `fileOffset` zero and keep their storage.
        case zeroRange
        /// Run the closure, which gives 0 or an error number. For rare control work.
        case call(@Sendable () -> Int32)
        /// What the medium defines under this number.
        case special(Int)
    }

    /// Who is told of the completion; it keeps the request, not the other way round. Set before the first submission.
    public unowned var owner: (any FileRequestOwner)?
    /// The medium that performs it; released at completion. Nil means the plain operation on `store`.
    public var medium: (any Medium)? {
        get { fields.medium }
        set { fields.medium = newValue }
    }
    /// The bytes of a request without a medium; released at completion.
    public var store: (any ByteStore)? {
        get { fields.store }
        set { fields.store = newValue }
    }
    /// What a special operation has found out; nil for all others.
    public var answer: (any Sendable)?
    /// For the medium: what a special operation has to know besides range and lease.
    public var detail: (any Sendable)?
    /// What is to be done.
    public var operation: Operation {
        get { fields.operation }
        set { fields.operation = newValue }
    }
    /// The payload; it stays here during the operation.
    public let payload = LeasePlace()
    /// The offset of the payload in the lease, in bytes.
    public var leaseOffset: Int {
        get { fields.leaseOffset }
        set { fields.leaseOffset = newValue }
    }
    /// The bytes of payload, or of the range of the file.
    public var count: Int {
        get { fields.count }
        set { fields.count = newValue }
    }
    /// The offset in the file, in bytes.
    public var fileOffset: Int64 {
        get { fields.fileOffset }
        set { fields.fileOffset = newValue }
    }
    /// For the owner: which step of its work this is.
    public var context: Int {
        get { fields.context }
        set { fields.context = newValue }
    }
    /// For the medium: what it remembers from the first step of a command to its last.
    public var epoch: UInt64 {
        get { fields.epoch }
        set { fields.epoch = newValue }
    }
    /// How it ended. `.done` of a write counts header and payload; of operations without payload it is `.done(0)`.
    public internal(set) var result = FileResult.done(0)

    /// What the owner fills in. It is in one struct that no other module sees, because each access to a stored property
    /// that others see would call the runtime's exclusivity check.
    private struct Fields {
        var operation = Operation.read
        var medium: (any Medium)?
        var store: (any ByteStore)?
        var leaseOffset = 0
        var count = 0
        var fileOffset: Int64 = 0
        var context = 0
        var epoch: UInt64 = 0
    }
    private var fields = Fields()
    private var header = InlineArray<64, UInt8>(repeating: 0)
    private var headerCount = 0
    /// The request behind this one in its lane, or in its reactor's list of completed requests.
    var next: FileRequest?
    private(set) var reactor: Reactor?
    /// Whether it is background work without a reactor.
    var isDetached = false

    /// A request of `owner`, which may also be set later.
    public init(owner: (any FileRequestOwner)? = nil) {
        self.owner = owner
    }

    /// Whether it is submitted and not completed.
    public var isSubmitted: Bool { reactor != nil }

    /// Puts a copy of `bytes`, at most `maximumHeaderLength`, before the payload of the next write. An empty span takes
    /// it away.
    public func setHeader(_ bytes: RawSpan) {
        precondition(bytes.byteCount <= Self.maximumHeaderLength, "a header has at most 64 bytes")
        header.modifyBytes { $0.store(bytes, at: 0) }
        headerCount = bytes.byteCount
    }

    /// Does the plain operation on `store`; for a medium, on a thread that may wait.
    public func perform(on store: any ByteStore) -> FileResult {
        switch operation {
        case .read: read(store)
        case .write: write(store)
        case .synchronizeData: Self.result(store.synchronizeData())
        case .punchHole: Self.result(store.punchHole(at: fileOffset, length: Int64(count)))
        case .zeroRange: Self.result(store.zeroRange(at: fileOffset, length: Int64(count)))
        case .call(let body): Self.result(body())
        case .special: preconditionFailure("a special operation is its medium's")
        }
    }

    // MARK: For lanes and reactors

    /// Marks the request as submitted by an owner on `reactor`.
    func begin(on reactor: Reactor) {
        precondition(!isSubmitted, "a request does one operation at a time")
        self.reactor = reactor
    }

    /// Does the work; nil when the medium has put the request aside.
    func perform() -> FileResult? {
        if let medium { return medium.perform(self) }
        if case .call(let body) = operation { return Self.result(body()) }
        guard let store else { preconditionFailure("a file request needs a medium or a store") }
        return perform(on: store)
    }

    /// Hands the request back to its owner, on the submitting reactor's thread. The lease stays.
    func deliver() {
        medium = nil
        store = nil
        reactor = nil
        headerCount = 0
        guard let owner else { preconditionFailure("a submitted request has an owner") }
        owner.fileRequestCompleted(self)
    }

    // MARK: Plain operations

    private func read(_ store: any ByteStore) -> FileResult {
        guard var lease = payload.lease.take() else { preconditionFailure("reading needs a lease") }
        var nothing = MutableRawSpan()
        let result = store.read(
            header: &nothing, into: &lease, at: leaseOffset, count: count, offset: fileOffset, mode: .blocking)
        payload.lease = consume lease
        return result
    }

    private func write(_ store: any ByteStore) -> FileResult {
        // A copy of its own: a span of the stored property would be one of a temporary.
        let stored = header
        let headerBytes = stored.rawSpan.extracting(0..<headerCount)
        guard let lease = payload.lease.take() else { return store.write(headerBytes, offset: fileOffset) }
        let result =
            headerCount == 0
            ? writePayload(lease, store)
            : store.write(header: headerBytes, from: lease, at: leaseOffset, count: count, offset: fileOffset)
        payload.lease = consume lease
        return result
    }

    private func writePayload(_ lease: borrowing BufferLease, _ store: any ByteStore) -> FileResult {
        store.write(lease.bytes.extracting(leaseOffset..<leaseOffset + count), offset: fileOffset)
    }

    private static func result(_ code: Int32) -> FileResult { code == 0 ? .done(0) : .failed(code) }
}

/// Requests in a row, linked through the requests themselves: it costs no memory, and a request is in one list at a
/// time.
public struct FileRequestList: @unchecked Sendable {
    private var first: FileRequest?
    private var last: FileRequest?
    /// How many requests there are.
    public private(set) var count = 0

    public init() {}

    /// Whether there is none.
    public var isEmpty: Bool { count == 0 }

    /// Puts a request behind the others.
    public mutating func append(_ request: FileRequest) {
        if let last { last.next = request } else { first = request }
        last = request
        count += 1
    }

    /// Takes the oldest request out.
    public mutating func takeFirst() -> FileRequest? {
        guard let request = first else { return nil }
        first = request.next.take()
        if first == nil { last = nil }
        count -= 1
        return request
    }

    /// Takes all requests out.
    public mutating func takeAll() -> FileRequestList {
        defer { self = FileRequestList() }
        return self
    }
}

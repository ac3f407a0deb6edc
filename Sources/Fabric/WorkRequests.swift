/// A piece of registered memory that a work request gathers from or scatters to.
///
/// Whoever posts it keeps the memory to itself, and its lease alive, until the request has completed.
public struct ScatterEntry: Sendable, Equatable {
    /// Where it begins, in the address space of the process.
    public var address: UInt64
    /// Its length in bytes.
    public var length: UInt32
    /// The key of the region that it lies in.
    public var localKey: UInt32

    public init(address: UInt64, length: UInt32, localKey: UInt32) {
        self.address = address
        self.length = length
        self.localKey = localKey
    }
}

/// What a work request of the send queue does (InfiniBand volume 1, clause 11.4.1.1; RFC 5040 clause 3).
public enum WorkOpcode: UInt8, Sendable, CaseIterable {
    case send
    /// A Send that makes a remote key of the receiver invalid.
    case sendWithInvalidate
    case rdmaWrite
    case rdmaRead
    /// Makes a memory window of this queue pair invalid.
    case localInvalidate
    /// Gives a memory window a range, access rights and a new remote key.
    case bindWindow
    /// Not posted but completed: a receive.
    case receive
}

/// How a work request of the send queue is done.
public struct WorkOptions: OptionSet, Sendable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Its success is reported. Its failure always is.
    public static let signaled = WorkOptions(rawValue: 1)
    /// The receiver's completion is a solicited event. Of Sends only.
    public static let solicited = WorkOptions(rawValue: 2)
    /// The data is copied when it is posted; the memory is free at once and needs no key. Not for RDMA Reads.
    public static let inline = WorkOptions(rawValue: 4)
    /// It begins when the RDMA Reads before it have ended.
    public static let fenced = WorkOptions(rawValue: 8)
}

/// A work request of the send queue, as a provider takes it.
public struct SendWorkRequest: Sendable {
    /// What its completion carries.
    public var id: UInt64
    public var opcode: WorkOpcode
    public var options: WorkOptions
    /// How many of the scatter entries that come with it are its own.
    public var entryCount: UInt16
    /// The remote key of an RDMA operation, the key that is made invalid, or the new key of a window.
    public var key: UInt32 = 0
    /// Where the memory of an RDMA operation begins at the peer, or the range of a window here.
    public var address: UInt64 = 0
    /// Of a window: the length of its range in bytes.
    public var length: UInt64 = 0
    /// Of a window: what it permits.
    public var access: AccessRights = []
    /// Of a window: its handle.
    public var window = FabricHandle.none
    /// Of a window: the handle of the region that its range lies in.
    public var region = FabricHandle.none

    public init(id: UInt64, opcode: WorkOpcode, options: WorkOptions, entryCount: UInt16) {
        self.id = id
        self.opcode = opcode
        self.options = options
        self.entryCount = entryCount
    }
}

/// A work request of the receive queue, as a provider takes it.
public struct ReceiveWorkRequest: Sendable {
    /// What its completion carries.
    public var id: UInt64
    /// How many of the scatter entries that come with it are its own.
    public var entryCount: UInt16

    public init(id: UInt64, entryCount: UInt16) {
        self.id = id
        self.entryCount = entryCount
    }
}

/// The end of a work request, as a provider reports it and, with the consumer's own `id`, as a `QueuePairHandler` gets
/// it.
public struct Completion: Sendable, Equatable {
    /// What was posted with the request.
    public var id: UInt64
    /// How it ended.
    public var status: CompletionStatus
    /// What it was.
    public var opcode: WorkOpcode
    /// Of a receive that succeeded: the bytes of the message.
    public var byteCount: Int
    /// Of a receive whose sender has made a key invalid: that key.
    public var invalidatedKey: UInt32?
    /// What the device says about a failure besides; 0 where it says nothing.
    public var vendorError: UInt32

    public init(
        id: UInt64, status: CompletionStatus, opcode: WorkOpcode, byteCount: Int = 0, invalidatedKey: UInt32? = nil,
        vendorError: UInt32 = 0
    ) {
        self.id = id
        self.status = status
        self.opcode = opcode
        self.byteCount = byteCount
        self.invalidatedKey = invalidatedKey
        self.vendorError = vendorError
    }
}

/// What became of an attempt to post. All but `posted` have had no effect, and no completion follows.
public enum PostResult: Sendable, Equatable {
    /// Its completion follows, unless it succeeds and was not to be signaled.
    case posted
    /// As many requests are outstanding as the queue takes: the consumer has counted wrongly, or waits for completions.
    case queueFull
    /// More scatter entries than the queue pair takes for this operation.
    case tooManyEntries
    /// More inline data than the queue pair takes.
    case inlineTooLong
    /// The entries together are longer than a message may be.
    case messageTooLong
    /// The device does not have this operation.
    case notSupported
    /// The queue pair is not connected yet, or is being closed.
    case notConnected
}

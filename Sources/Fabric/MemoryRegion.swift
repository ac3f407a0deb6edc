/// A provider's name for one of its objects. It means nothing to anybody else.
public struct FabricHandle: Hashable, Sendable {
    /// The name; 0 names nothing.
    public let word: UInt64

    public init(word: UInt64) {
        self.word = word
    }

    /// Names nothing.
    public static let none = FabricHandle(word: 0)
}

/// What may be done with registered memory (InfiniBand volume 1, clause 10.6.3).
///
/// It may always be read locally. A region that peers may write must be locally writable, too.
public struct AccessRights: OptionSet, Sendable {
    /// The bits, as libibverbs has them (`enum ibv_access_flags`).
    public let rawValue: UInt16

    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// Receives and RDMA Reads of this side may write it.
    public static let localWrite = AccessRights(rawValue: 1)
    /// RDMA Writes of a peer may write it.
    public static let remoteWrite = AccessRights(rawValue: 2)
    /// RDMA Reads of a peer may read it.
    public static let remoteRead = AccessRights(rawValue: 4)
    /// Memory windows may be bound to it.
    public static let windowBind = AccessRights(rawValue: 16)

    /// What goes beyond this side.
    public static let remote: AccessRights = [.remoteWrite, .remoteRead]
}

/// Memory that a protection domain knows: pinned, with a key for this side and one for peers.
public struct MemoryRegion: Sendable {
    /// The provider's name for it.
    public let handle: FabricHandle
    /// Where it begins, in the address space of the process; also its address for peers.
    public let address: UInt64
    /// Its length in bytes.
    public let length: Int
    /// What may be done with it.
    public let access: AccessRights
    /// The key that scatter entries name it by.
    public let localKey: UInt32
    /// The key that peers name it by; of use only with a right of `AccessRights.remote`.
    public let remoteKey: UInt32

    public init(
        handle: FabricHandle, address: UInt64, length: Int, access: AccessRights, localKey: UInt32, remoteKey: UInt32
    ) {
        self.handle = handle
        self.address = address
        self.length = length
        self.access = access
        self.localKey = localKey
        self.remoteKey = remoteKey
    }

    /// The entry for `length` bytes from `offset` on. Whether they are in the region is checked when it is used.
    public func entry(offset: Int, length: Int) -> ScatterEntry {
        ScatterEntry(
            address: address &+ UInt64(truncatingIfNeeded: offset), length: UInt32(clamping: length),
            localKey: localKey)
    }
}

/// A memory window of type 2 (InfiniBand volume 1, clause 10.6.7.2): a remote key for a part of a region that is given
/// by a work request, and taken by the peer (Send with Invalidate) or by another work request.
public struct MemoryWindow: Sendable {
    /// The provider's name for it.
    public let handle: FabricHandle
    /// The key of its last binding, or the one it was allocated with, which permits nothing.
    public internal(set) var remoteKey: UInt32

    public init(handle: FabricHandle, remoteKey: UInt32) {
        self.handle = handle
        self.remoteKey = remoteKey
    }

    /// The key for its next binding: the same but for the last 8 bits, which belong to the consumer.
    public var nextKey: UInt32 { remoteKey & 0xFFFF_FF00 | (remoteKey &+ 1) & 0xFF }
}

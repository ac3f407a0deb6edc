internal import Bytes

/// The versions of iSER.
public enum ISERVersion {
    /// The version of RFC 7145 (section 9.3).
    public static let current: UInt8 = 10
}

/// Hello: what the initiator sends first when it declared iSERHelloRequired=Yes (RFC 7145 section 9.3).
@frozen public struct ISERHello: Hashable, Sendable {
    /// MaxVer: the highest version that the initiator knows, four bits.
    public var highestVersion = ISERVersion.current
    /// MinVer: the lowest version that the initiator knows, four bits.
    public var lowestVersion = ISERVersion.current
    /// iSER-IRD: how many RDMA Reads of the target the initiator can have outstanding.
    public var inboundReadDepth: UInt16 = 0

    public init() {}

    /// The header at the start of `bytes`.
    public init(parsing bytes: RawSpan) throws(ISERError) {
        try ISERHeader.check(bytes, is: .hello)
        highestVersion = bytes.byte(at: 1) >> 4
        lowestVersion = bytes.byte(at: 1) & 0x0F
        inboundReadDepth = bytes.loadBE16(at: 2)
        guard lowestVersion <= highestVersion else {
            throw .contradictoryVersions(highest: highestVersion, other: lowestVersion)
        }
    }

    /// Writes the 28 bytes at the start of `bytes`, which must be at least that long.
    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.fill(at: 0, count: ISERHeader.length)
        bytes.store(byte: ISEROpcode.hello.rawValue << 4, at: 0)
        bytes.store(byte: highestVersion << 4 | lowestVersion & 0x0F, at: 1)
        bytes.storeBE16(inboundReadDepth, at: 2)
    }

    /// What a target answers that knows `ISERVersion.current` and has at most `outboundReadDepth` RDMA Reads
    /// outstanding. A rejection ends the connection when it has been sent (section 5.1.3).
    public func reply(outboundReadDepth: UInt16) -> ISERHelloReply {
        var reply = ISERHelloReply()
        reply.isRejected = !(lowestVersion...highestVersion).contains(ISERVersion.current)
        reply.outboundReadDepth = min(outboundReadDepth, inboundReadDepth)
        return reply
    }
}

/// HelloReply: the target's answer to Hello (RFC 7145 section 9.4).
@frozen public struct ISERHelloReply: Hashable, Sendable {
    /// REJ: the target rejects the connection.
    public var isRejected = false
    /// MaxVer: the highest version that the target knows, four bits.
    public var highestVersion = ISERVersion.current
    /// CurVer: the version that is in force, four bits.
    public var version = ISERVersion.current
    /// iSER-ORD: how many RDMA Reads the target has outstanding at most.
    public var outboundReadDepth: UInt16 = 0

    public init() {}

    /// The header at the start of `bytes`.
    public init(parsing bytes: RawSpan) throws(ISERError) {
        try ISERHeader.check(bytes, is: .helloReply)
        isRejected = bytes.byte(at: 0) & Self.rejectFlag != 0
        highestVersion = bytes.byte(at: 1) >> 4
        version = bytes.byte(at: 1) & 0x0F
        outboundReadDepth = bytes.loadBE16(at: 2)
        guard version <= highestVersion else {
            throw .contradictoryVersions(highest: highestVersion, other: version)
        }
    }

    /// Writes the 28 bytes at the start of `bytes`, which must be at least that long.
    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.fill(at: 0, count: ISERHeader.length)
        bytes.store(byte: ISEROpcode.helloReply.rawValue << 4 | (isRejected ? Self.rejectFlag : 0), at: 0)
        bytes.store(byte: highestVersion << 4 | version & 0x0F, at: 1)
        bytes.storeBE16(outboundReadDepth, at: 2)
    }

    /// REJ.
    private static let rejectFlag: UInt8 = 0x01
}

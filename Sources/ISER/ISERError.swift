/// Why an iSER message cannot be understood. Each of them ends the connection (RFC 7145 section 10.1.3).
public enum ISERError: Error, Hashable, Sendable {
    /// The message ends before what it begins with says; both are in bytes.
    case tooShort(length: Int, needed: Int)
    /// The opcode is reserved.
    case unknownOpcode(UInt8)
    /// The message is of a kind that does not belong here.
    case unexpectedOpcode(ISEROpcode, expected: ISEROpcode)
    /// The lowest version of Hello is above its highest, or HelloReply has a version above its highest.
    case contradictoryVersions(highest: UInt8, other: UInt8)
}

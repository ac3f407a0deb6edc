public import SCSI

/// What a request does with the protection information of its blocks. Without one it has the image check what it reads,
/// and make it for what it writes.
public struct ProtectionTransfer: Sendable {
    /// Where the protection information of a write comes from, or that of a read goes.
    public enum Place: Sendable {
        /// It stays in the image: made for what is written.
        case image
        /// It is in the lease, behind each block.
        case lease
        /// As `lease`, but the guard of what is written is made for it.
        case leaseWithoutGuard
        /// All blocks have this one, with reference tags that count as their type has them do.
        case repeated(ProtectionInformation)
    }

    public var place: Place
    /// What is checked of what is read.
    public var checks: ProtectionChecks
    /// What the first block of the request should have.
    public var expected: ExpectedTags

    public init(
        _ place: Place, checks: ProtectionChecks = [], expected: ExpectedTags = ExpectedTags()
    ) {
        self.place = place
        self.checks = checks
        self.expected = expected
    }

    /// Whether the lease has protection information behind each block.
    public var isInterleaved: Bool {
        switch place {
        case .lease, .leaseWithoutGuard: true
        case .image, .repeated: false
        }
    }
}

/// A block whose protection information does not fit.
public struct ProtectionFailure: Equatable, Sendable {
    public let field: ProtectionField
    /// Its logical block address.
    public let block: UInt64

    public init(_ field: ProtectionField, block: UInt64) {
        self.field = field
        self.block = block
    }
}

internal import Bytes

/// How the tags of protection information are to be understood (SBC-4 clause 4.21.2). A unit without protection
/// information, type 0, has none of these.
public enum ProtectionType: UInt8, Sendable, CaseIterable {
    /// The reference tag is the low half of the logical block address.
    case type1 = 1
    /// The reference tag of the first block comes with a 32-byte command, and each following one is one more.
    case type2
    /// Nobody but the application client knows the reference tag.
    case type3

    /// Whether the reference tag of each block is one more than that of the block before.
    public var isCounting: Bool { self != .type3 }
}

/// The 8 bytes that go with a logical block (SBC-4 clause 4.21.3).
public struct ProtectionInformation: Hashable, Sendable {
    /// How many bytes they are: with a protection interval exponent of zero, once behind each logical block.
    public static let length = 8

    /// LOGICAL BLOCK GUARD: CRC16 of the block's data.
    public var blockGuard: UInt16
    /// LOGICAL BLOCK APPLICATION TAG.
    public var applicationTag: UInt16
    /// LOGICAL BLOCK REFERENCE TAG.
    public var referenceTag: UInt32

    /// What blocks have that were never written or were given back: nothing of it is checked.
    public static let unchecked = ProtectionInformation(
        blockGuard: .max, applicationTag: .max, referenceTag: .max)

    public init(blockGuard: UInt16, applicationTag: UInt16, referenceTag: UInt32) {
        self.blockGuard = blockGuard
        self.applicationTag = applicationTag
        self.referenceTag = referenceTag
    }

    /// The 8 bytes as one number.
    public init(word: UInt64) {
        self.init(
            blockGuard: UInt16(truncatingIfNeeded: word >> 48), applicationTag: UInt16(truncatingIfNeeded: word >> 32),
            referenceTag: UInt32(truncatingIfNeeded: word))
    }

    /// The 8 bytes as one number, the guard first.
    public var word: UInt64 { UInt64(blockGuard) << 48 | UInt64(applicationTag) << 32 | UInt64(referenceTag) }

    /// What a device server makes for a block that comes without it (SBC-4 table for WRPROTECT 000b, ATO one): an
    /// application tag that switches checks off, as its owner has said none; with type 1 the reference tag that there
    /// has to be.
    public init(generatedFor data: RawSpan, _ type: ProtectionType, logicalBlock: UInt64) {
        self.init(
            blockGuard: CRC16T10.checksum(data), applicationTag: .max,
            referenceTag: type == .type1 ? UInt32(truncatingIfNeeded: logicalBlock) : .max)
    }

    /// Whether nothing of it is checked: the escape of the application tag, with type 3 of the reference tag too.
    public func isUnchecked(_ type: ProtectionType) -> Bool {
        applicationTag == .max && (type != .type3 || referenceTag == .max)
    }

    /// What is wrong with it for a block with those data, the first of guard, application tag and reference tag. The
    /// block is the one at `index` of those that `expected` is about.
    public func wrongField(
        _ data: RawSpan, _ type: ProtectionType, _ checks: ProtectionChecks, _ expected: ExpectedTags, index: UInt64
    ) -> ProtectionField? {
        guard !checks.isEmpty, !isUnchecked(type) else { return nil }
        if checks.contains(.blockGuard), blockGuard != CRC16T10.checksum(data) { return .blockGuard }
        if checks.contains(.applicationTag),
            (applicationTag ^ expected.applicationTag) & expected.applicationTagMask != 0
        {
            return .applicationTag
        }
        guard checks.contains(.referenceTag), let first = expected.referenceTag else { return nil }
        let wanted = type.isCounting ? first &+ UInt32(truncatingIfNeeded: index) : first
        return referenceTag == wanted ? nil : .referenceTag
    }
}

/// The fields of protection information, in the order in which they are checked.
public enum ProtectionField: UInt8, Sendable, CaseIterable {
    case blockGuard = 1
    case applicationTag
    case referenceTag

    /// LOGICAL BLOCK GUARD, APPLICATION TAG or REFERENCE TAG CHECK FAILED.
    public var checkFailed: AdditionalSenseCode { AdditionalSenseCode(0x10, rawValue) }
}

/// Which fields are checked, or compared.
public struct ProtectionChecks: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let blockGuard = Self(rawValue: 1)
    public static let applicationTag = Self(rawValue: 2)
    public static let referenceTag = Self(rawValue: 4)
    public static let all: Self = [.blockGuard, .applicationTag, .referenceTag]
}

/// What is known of the tags that blocks should have.
public struct ExpectedTags: Hashable, Sendable {
    /// The reference tag of the first block; nil when nobody knows it.
    public var referenceTag: UInt32?
    /// EXPECTED LOGICAL BLOCK APPLICATION TAG.
    public var applicationTag: UInt16
    /// LOGICAL BLOCK APPLICATION TAG MASK: which of its bits are known.
    public var applicationTagMask: UInt16

    /// Tags of which nothing is known but what is said.
    public init(referenceTag: UInt32? = nil, applicationTag: UInt16 = 0, applicationTagMask: UInt16 = 0) {
        self.referenceTag = referenceTag
        self.applicationTag = applicationTag
        self.applicationTagMask = applicationTagMask
    }

    /// The tags of the blocks from `index` on.
    public func advanced(by index: UInt64, _ type: ProtectionType) -> ExpectedTags {
        guard type.isCounting, let referenceTag else { return self }
        var tags = self
        tags.referenceTag = referenceTag &+ UInt32(truncatingIfNeeded: index)
        return tags
    }
}

/// RDPROTECT, WRPROTECT, VRPROTECT and ORPROTECT: what a command says of protection information. Other values than
/// 000b have it transferred.
public struct ProtectField: Equatable, Sendable {
    /// The field's value.
    public let code: UInt8

    public init(code: UInt8) { self.code = code }

    /// Whether protection information goes with the data.
    public var transfers: Bool { code != 0 }
    /// 110b and 111b.
    public var isReserved: Bool { code > 5 }

    /// What is checked of protection information that is sent or read: 001b and 101b all, 010b all but the guard, 011b
    /// nothing, 100b the guard.
    private var named: ProtectionChecks {
        switch code {
        case 1, 5: .all
        case 2: [.applicationTag, .referenceTag]
        case 4: .blockGuard
        default: []
        }
    }

    /// What is checked of what the medium has, when it is not compared with what was sent (SBC-4 tables for RDPROTECT,
    /// and VRPROTECT with BYTCHK 00b).
    public var checksOfMedium: ProtectionChecks { transfers ? named : .all }
    /// What is checked of what the medium has, when it is compared (VRPROTECT with BYTCHK 01b and 11b).
    public var checksOfComparedMedium: ProtectionChecks { transfers ? [] : .all }
    /// What is checked of what is sent (WRPROTECT, and VRPROTECT with BYTCHK 01b and 11b).
    public var checksOfDataOut: ProtectionChecks { transfers ? named : [] }
    /// What is compared of what is sent and what the medium has (VRPROTECT with BYTCHK 01b and 11b, ATO one).
    public var compared: ProtectionChecks {
        switch code {
        case 0: []
        case 2: [.applicationTag, .referenceTag]
        default: .all
        }
    }
}

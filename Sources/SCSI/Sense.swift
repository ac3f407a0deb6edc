internal import Bytes

/// What kind of condition sense data reports (SPC-5 clause 4.4.8).
public enum SenseKey: UInt8, Sendable {
    /// NO SENSE: nothing wrong, but there may be filemark, end-of-medium or length indications.
    case noSense = 0x0
    case recoveredError = 0x1
    case notReady = 0x2
    case mediumError = 0x3
    case hardwareError = 0x4
    case illegalRequest = 0x5
    case unitAttention = 0x6
    case dataProtect = 0x7
    case blankCheck = 0x8
    case copyAborted = 0xA
    case abortedCommand = 0xB
    case volumeOverflow = 0xD
    case miscompare = 0xE
}

/// Where in the command or the parameter list the offending field is (SPC-5 clause 4.4.2.4.2).
public struct FieldPointer: Hashable, Sendable {
    /// Whether the field is in the command descriptor block (C/D one) or in the parameter list (C/D zero).
    public var isInCommand: Bool
    /// The offset of the field's first byte in CDB or parameter list (FIELD POINTER).
    public var byte: UInt16
    /// The most significant bit of the field in that byte, or nil when it is about the whole byte.
    public var bit: UInt8?

    public init(isInCommand: Bool, byte: UInt16, bit: UInt8? = nil) {
        self.isInCommand = isInCommand
        self.byte = byte
        self.bit = bit
    }

    /// The three sense-key specific bytes, SKSV one.
    var bytes: (UInt8, UInt8, UInt8) {
        var flags: UInt8 = 0x80
        if isInCommand { flags |= 0x40 }
        if let bit { flags |= 0x08 | bit }
        return (flags, UInt8(truncatingIfNeeded: byte >> 8), UInt8(truncatingIfNeeded: byte))
    }
}

/// Sense data as a value: why a command did not end with GOOD (SPC-5 clause 4.4), independent of its format.
public struct SenseData: Hashable, Sendable {
    /// The length of the fixed format, in bytes (SPC-5 clause 4.4.3): 18, without additional bytes.
    public static let fixedLength = 18
    /// The most bytes that `write` puts: all descriptors of the descriptor format.
    public static let maximumLength = 64

    /// SENSE KEY: the kind of condition.
    public var key: SenseKey
    /// ADDITIONAL SENSE CODE and its qualifier: the condition itself.
    public var additionalSenseCode: AdditionalSenseCode
    /// INFORMATION, when valid. Two's complement where the standard allows negative residues (SSC-5 clause 4.2.15.4).
    public var information: Int64?
    /// COMMAND-SPECIFIC INFORMATION, when valid.
    public var commandSpecificInformation: UInt64?
    /// The field that an ILLEGAL REQUEST is about (SPC-5 clause 4.4.2.4.2).
    public var fieldPointer: FieldPointer?
    /// PROGRESS INDICATION of the operation that keeps the unit busy, in 65536ths (SPC-5 clause 4.4.2.4.4); it goes
    /// where `fieldPointer` would.
    public var progress: UInt16?
    /// FILEMARK: a filemark was met.
    public var isFilemark = false
    /// EOM: the position is at beginning of partition, in early warning or at end of partition.
    public var isEndOfMedium = false
    /// ILI: the block's length was not the requested one.
    public var isIncorrectLength = false
    /// Whether the error belongs to an earlier command (response codes 71h and 73h).
    public var isDeferred = false

    /// Sense data with that key and code.
    public init(
        _ key: SenseKey, _ additionalSenseCode: AdditionalSenseCode, information: Int64? = nil,
        fieldPointer: FieldPointer? = nil, isFilemark: Bool = false, isEndOfMedium: Bool = false,
        isIncorrectLength: Bool = false
    ) {
        self.key = key
        self.additionalSenseCode = additionalSenseCode
        self.information = information
        self.fieldPointer = fieldPointer
        self.isFilemark = isFilemark
        self.isEndOfMedium = isEndOfMedium
        self.isIncorrectLength = isIncorrectLength
    }

    /// ILLEGAL REQUEST, INVALID FIELD IN CDB, pointing at `bit` (the field's most significant) or all of `byte`.
    public static func invalidField(byte: Int, bit: UInt8? = nil) -> SenseData {
        SenseData(
            .illegalRequest, .invalidFieldInCDB,
            fieldPointer: FieldPointer(isInCommand: true, byte: UInt16(truncatingIfNeeded: byte), bit: bit))
    }

    /// ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST, pointing at `bit` (the field's most significant) or all of
    /// `byte`.
    public static func invalidParameter(byte: Int, bit: UInt8? = nil) -> SenseData {
        SenseData(
            .illegalRequest, .invalidFieldInParameterList,
            fieldPointer: FieldPointer(isInCommand: false, byte: UInt16(truncatingIfNeeded: byte), bit: bit))
    }

    /// The same sense data as a deferred error (SPC-5 clause 4.4.7).
    public var deferred: SenseData {
        var sense = self
        sense.isDeferred = true
        return sense
    }

    /// Writes the data at `offset` in fixed or descriptor format and returns its length in bytes.
    @_lifetime(target: copy target)
    public func write(into target: inout MutableRawSpan, at offset: Int = 0, isDescriptorFormat: Bool = false) -> Int {
        isDescriptorFormat ? writeDescriptors(into: &target, at: offset) : writeFixed(into: &target, at: offset)
    }

    /// The bytes that `write` puts.
    public func encoded(isDescriptorFormat: Bool = false) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.maximumLength)
        let length = bytes.modifyBytes { write(into: &$0, isDescriptorFormat: isDescriptorFormat) }
        return Array(bytes.prefix(length))
    }

    private var flags: UInt8 {
        (isFilemark ? 0x80 : 0) | (isEndOfMedium ? 0x40 : 0) | (isIncorrectLength ? 0x20 : 0)
    }

    /// The three bytes of SENSE KEY SPECIFIC, SKSV one; nil when there is nothing to say (SPC-5 clause 4.4.2.4).
    private var senseKeySpecific: (UInt8, UInt8, UInt8)? {
        if let fieldPointer { return fieldPointer.bytes }
        return progress.map { (0x80, UInt8($0 >> 8), UInt8($0 & 0xFF)) }
    }

    /// Fixed format, SPC-5 table 48. INFORMATION is valid only when it fits four bytes.
    @_lifetime(target: copy target)
    private func writeFixed(into target: inout MutableRawSpan, at offset: Int) -> Int {
        target.fill(at: offset, count: Self.fixedLength)
        var response: UInt8 = isDeferred ? 0x71 : 0x70
        if let information,
            let short = Int32(exactly: information) ?? UInt32(exactly: information).map({ Int32(bitPattern: $0) })
        {
            response |= 0x80
            target.storeBE32(UInt32(bitPattern: short), at: offset + 3)
        }
        target.store(byte: response, at: offset)
        target.store(byte: flags | key.rawValue, at: offset + 2)
        target.store(byte: UInt8(Self.fixedLength - 8), at: offset + 7)
        if let value = commandSpecificInformation, let short = UInt32(exactly: value) {
            target.storeBE32(short, at: offset + 8)
        }
        target.store(byte: additionalSenseCode.code, at: offset + 12)
        target.store(byte: additionalSenseCode.qualifier, at: offset + 13)
        if let (first, second, third) = senseKeySpecific {
            target.store(byte: first, at: offset + 15)
            target.store(byte: second, at: offset + 16)
            target.store(byte: third, at: offset + 17)
        }
        return Self.fixedLength
    }

    /// Descriptor format, SPC-5 clause 4.4.2.
    @_lifetime(target: copy target)
    private func writeDescriptors(into target: inout MutableRawSpan, at offset: Int) -> Int {
        target.fill(at: offset, count: Self.maximumLength)
        var end = offset + 8
        if let information {
            // Information descriptor, type 00h, VALID one (clause 4.4.2.2).
            target.store(byte: 0x00, at: end)
            target.store(byte: 0x0A, at: end + 1)
            target.store(byte: 0x80, at: end + 2)
            target.storeBE64(UInt64(bitPattern: information), at: end + 4)
            end += 12
        }
        if let commandSpecificInformation {
            target.store(byte: 0x01, at: end)
            target.store(byte: 0x0A, at: end + 1)
            target.storeBE64(commandSpecificInformation, at: end + 4)
            end += 12
        }
        if let (first, second, third) = senseKeySpecific {
            target.store(byte: 0x02, at: end)
            target.store(byte: 0x06, at: end + 1)
            target.store(byte: first, at: end + 4)
            target.store(byte: second, at: end + 5)
            target.store(byte: third, at: end + 6)
            end += 8
        }
        if flags != 0 {
            // Stream commands descriptor, type 04h (SSC-5): filemark, end of medium, incorrect length.
            target.store(byte: 0x04, at: end)
            target.store(byte: 0x02, at: end + 1)
            target.store(byte: flags, at: end + 3)
            end += 4
        }
        target.store(byte: isDeferred ? 0x73 : 0x72, at: offset)
        target.store(byte: key.rawValue, at: offset + 1)
        target.store(byte: additionalSenseCode.code, at: offset + 2)
        target.store(byte: additionalSenseCode.qualifier, at: offset + 3)
        target.store(byte: UInt8(end - offset - 8), at: offset + 7)
        return end - offset
    }

    /// Parses sense data of either format, as an initiator does; nil when it is too short or of neither format.
    public init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= 4 else { return nil }
        switch bytes.byte(at: 0) & 0x7F {
        case 0x70, 0x71:
            guard bytes.byteCount >= 14, let key = SenseKey(rawValue: bytes.byte(at: 2) & 0x0F) else { return nil }
            self.init(key, AdditionalSenseCode(bytes.byte(at: 12), bytes.byte(at: 13)))
            isFilemark = bytes.byte(at: 2) & 0x80 != 0
            isEndOfMedium = bytes.byte(at: 2) & 0x40 != 0
            isIncorrectLength = bytes.byte(at: 2) & 0x20 != 0
            if bytes.byte(at: 0) & 0x80 != 0 { information = Int64(Int32(bitPattern: bytes.loadBE32(at: 3))) }
            if bytes.byteCount >= 18, bytes.byte(at: 15) & 0x80 != 0, key == .notReady || key == .noSense {
                progress = bytes.loadBE16(at: 16)
            } else if bytes.byteCount >= 18, bytes.byte(at: 15) & 0x80 != 0 {
                fieldPointer = FieldPointer(
                    isInCommand: bytes.byte(at: 15) & 0x40 != 0, byte: bytes.loadBE16(at: 16),
                    bit: bytes.byte(at: 15) & 0x08 != 0 ? bytes.byte(at: 15) & 7 : nil)
            }
        case 0x72, 0x73:
            guard let key = SenseKey(rawValue: bytes.byte(at: 1) & 0x0F) else { return nil }
            self.init(key, AdditionalSenseCode(bytes.byte(at: 2), bytes.byte(at: 3)))
        default: return nil
        }
        isDeferred = bytes.byte(at: 0) & 1 != 0
    }
}

/// Sense data on its way to an initiator: made here, or passed on from another device as it came.
public enum Sense: Hashable, Sendable {
    /// The most bytes of sense data (SPC-5 clause 4.4.1).
    public static let maximumLength = 252

    /// Made here; the logical unit's D_SENSE bit says in which format it goes out.
    case fields(SenseData)
    /// The bytes of another device, at most `maximumLength`, in the format that it has chosen.
    case verbatim([UInt8])

    /// Writes the data at `offset` and returns its length in bytes.
    @_lifetime(target: copy target)
    public func write(into target: inout MutableRawSpan, at offset: Int, isDescriptorFormat: Bool) -> Int {
        switch self {
        case .fields(let sense):
            return sense.write(into: &target, at: offset, isDescriptorFormat: isDescriptorFormat)
        case .verbatim(let bytes):
            let length = min(bytes.count, Self.maximumLength)
            target.store(bytes.rawSpan.extracting(0..<length), at: offset)
            return length
        }
    }
}

internal import Bytes
public import SCSI

/// What the login agreed on, as far as commands depend on it.
@frozen public struct SRPCommandRules: Hashable, Sendable {
    /// The formats of buffer descriptors that commands may have.
    public var bufferFormats: SRPBufferFormats
    /// Where immediate data begins, in bytes from the start of the command; nil when there must be none.
    public var immediateDataOffset: Int?

    @inlinable
    public init(bufferFormats: SRPBufferFormats = .all, immediateDataOffset: Int? = nil) {
        self.bufferFormats = bufferFormats
        self.immediateDataOffset = immediateDataOffset
    }

    /// Whether data-in buffers may have the format.
    func allowsDataIn(_ formatCode: UInt8) -> Bool {
        switch formatCode {
        case 0: true
        case 1: bufferFormats.contains(.direct)
        case 2: bufferFormats.contains(.indirect)
        default: false
        }
    }

    /// Whether data-out buffers may have the format.
    func allowsDataOut(_ formatCode: UInt8) -> Bool {
        formatCode == 3 ? immediateDataOffset != nil : allowsDataIn(formatCode)
    }
}

/// SRP_CMD: a SCSI command and where its data is (SRP r16a clause 6.8).
///
/// 48 bytes, then the additional CDB, the description of the data-out buffer and that of the data-in buffer; immediate
/// data follows at the offset that was agreed on at login. Descriptors of partial lists stay where they are:
/// `dataOutList` and `dataInList` say where that is.
@frozen public struct SRPCommand: SRPInformationUnit {
    @inlinable public static var type: SRPInformationUnitType { .command }
    @inlinable public static var minimumLength: Int { 48 }

    public var tag: UInt64 = 0
    /// UCSOLNT and SCSOLNT: which answers shall be solicited.
    public var solicitation: SRPSolicitation = []
    /// LOGICAL UNIT NUMBER.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// TASK ATTRIBUTE; never `untagged`.
    public var taskAttribute = TaskAttribute.simple
    /// CDB with ADDITIONAL CDB, of which at most `CommandDescriptorBlock.maximumLength` bytes are kept.
    public private(set) var cdb: CommandDescriptorBlock
    /// ADDITIONAL CDB LENGTH, in bytes: a multiple of four, at most 252.
    public private(set) var additionalCDBLength: Int
    /// The buffer of the data that the initiator sends.
    public var dataOut = SRPDataBuffer.none
    /// The buffer of the data that the initiator receives.
    public var dataIn = SRPDataBuffer.none
    /// Where immediate data begins, in bytes from the start of the command, when `dataOut` is immediate.
    public var immediateDataOffset = 0

    /// A command without data. A `cdb` of more than 16 bytes becomes longer up to a multiple of four.
    public init(cdb: CommandDescriptorBlock = CommandDescriptorBlock()) {
        self.cdb = cdb
        additionalCDBLength = (max(0, cdb.count - Self.fixedCDBLength) + 3) & ~3
    }

    /// The length of the CDB that every command has, in bytes.
    public static let fixedCDBLength = 16

    /// Whether `cdb` is all of what the initiator sent; a longer one has no command that is known.
    public var isCDBWhole: Bool {
        Self.fixedCDBLength + additionalCDBLength <= CommandDescriptorBlock.maximumLength
    }

    /// A command of a channel with both buffer formats and without immediate data.
    public init(parsing bytes: RawSpan) throws(SRPError) {
        try self.init(parsing: bytes, rules: SRPCommandRules())
    }

    /// The command in `bytes`, which are all that was received, by the rules of its channel.
    ///
    /// Every count and length that the command has inside of it fits when this succeeds. What can only be seen in a
    /// table that is still to be fetched, `SRPIndirectBuffer.check` says then.
    public init(parsing bytes: RawSpan, rules: SRPCommandRules) throws(SRPError) {
        try Self.check(bytes)
        tag = bytes.loadBE64(at: 8)
        solicitation = SRPSolicitation(rawValue: bytes.byte(at: 1))
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 20))
        // The two lowest bits are reserved, and the rest counts words of four bytes: so it is the length, in bytes.
        additionalCDBLength = Int(bytes.byte(at: 31) & 0xFC)
        let descriptors = Self.minimumLength + additionalCDBLength
        guard descriptors <= bytes.byteCount else {
            throw .descriptorsDoNotFit(end: descriptors, limit: bytes.byteCount)
        }
        cdb = CommandDescriptorBlock(bytes.extracting(32..<descriptors))

        let (outCode, inCode) = (bytes.byte(at: 5) >> 4, bytes.byte(at: 5) & 0x0F)
        guard rules.allowsDataOut(outCode) else { throw .unsupportedDataOutFormat(outCode) }
        guard rules.allowsDataIn(inCode) else { throw .unsupportedDataInFormat(inCode) }
        guard let attribute = Self.taskAttribute(ofCode: bytes.byte(at: 29) & 0x07) else {
            throw .reservedTaskAttribute(bytes.byte(at: 29) & 0x07)
        }
        taskAttribute = attribute
        var limit = bytes.byteCount
        if outCode == 3, let offset = rules.immediateDataOffset {
            immediateDataOffset = offset
            limit = min(limit, offset)
        }
        dataOut = try SRPDataBuffer(
            bytes, at: descriptors, formatCode: outCode, listCount: Int(bytes.byte(at: 6)), limit: limit)
        dataIn = try SRPDataBuffer(
            bytes, at: descriptors + dataOut.descriptorLength, formatCode: inCode, listCount: Int(bytes.byte(at: 7)),
            limit: limit)
        guard length <= bytes.byteCount else {
            throw .immediateDataDoesNotFit(end: length, limit: bytes.byteCount)
        }
    }

    /// Writes the command without the descriptors of partial lists and without immediate data, for which there are
    /// zeros: the caller puts them at `dataOutList`, `dataInList` and `immediateData`.
    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeader(Self.type, second: solicitation.rawValue, tag: tag, length: length)
        bytes.store(byte: dataOut.formatCode << 4 | dataIn.formatCode, at: 5)
        bytes.store(byte: UInt8(truncatingIfNeeded: dataOut.listCount), at: 6)
        bytes.store(byte: UInt8(truncatingIfNeeded: dataIn.listCount), at: 7)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 20)
        bytes.store(byte: Self.code(ofTaskAttribute: taskAttribute), at: 29)
        bytes.store(byte: UInt8(truncatingIfNeeded: additionalCDBLength), at: 31)
        let kept = min(Self.fixedCDBLength + additionalCDBLength, CommandDescriptorBlock.maximumLength)
        bytes.store(cdb.bytes.extracting(0..<kept), at: 32)
        dataOut.encode(into: &bytes, at: descriptorOffset)
        dataIn.encode(into: &bytes, at: descriptorOffset + dataOut.descriptorLength)
    }

    // MARK: Places, in bytes from the start of the command

    /// Where the description of the data-out buffer begins, and behind it that of the data-in buffer.
    public var descriptorOffset: Int { Self.minimumLength + additionalCDBLength }

    /// Where the partial list of the data-out buffer is; empty for other formats.
    public var dataOutList: Range<Int> { list(of: dataOut, at: descriptorOffset) }

    /// Where the partial list of the data-in buffer is; empty for other formats.
    public var dataInList: Range<Int> { list(of: dataIn, at: descriptorOffset + dataOut.descriptorLength) }

    /// Where the immediate data is; nil for other formats.
    public var immediateData: Range<Int>? {
        guard case .immediate(let count) = dataOut else { return nil }
        return immediateDataOffset..<immediateDataOffset + Int(count)
    }

    public var length: Int {
        max(descriptorOffset + dataOut.descriptorLength + dataIn.descriptorLength, immediateData?.upperBound ?? 0)
    }

    private func list(of buffer: SRPDataBuffer, at offset: Int) -> Range<Int> {
        let end = offset + buffer.descriptorLength
        return end - buffer.listCount * SRPMemoryDescriptor.length..<end
    }

    // MARK: Task attributes (SRP r16a table 21)

    private static func taskAttribute(ofCode code: UInt8) -> TaskAttribute? {
        switch code {
        case 0: .simple
        case 1: .headOfQueue
        case 2: .ordered
        case 4: .autoContingentAllegiance
        default: nil
        }
    }

    private static func code(ofTaskAttribute attribute: TaskAttribute) -> UInt8 {
        switch attribute {
        case .untagged, .simple: 0
        case .headOfQueue: 1
        case .ordered: 2
        case .autoContingentAllegiance: 4
        }
    }
}

internal import Bytes
internal import SCSI

/// A CSCD descriptor of type E4h, which names a logical unit by a designator (SPC-5 clause 6.4.5.6).
struct CSCDDescriptor {
    /// The bytes of each.
    static let length = 32
    /// Identification Descriptor CSCD descriptor.
    static let identification: UInt8 = 0xE4

    /// Where it begins in the parameter list.
    let offset: Int
    /// PERIPHERAL DEVICE TYPE.
    let peripheralType: UInt8
    /// The NAA designator of a logical unit; nil when the designator is another, which no disk has.
    let naa: UInt64?
    /// PAD.
    let isPadded: Bool
    /// DISK BLOCK LENGTH; zero when the initiator leaves it to the copy manager.
    let blockLength: Int

    /// Where DISK BLOCK LENGTH is in the descriptor.
    static let blockLengthOffset = 29
    private static let designatorLengthOffset = 7

    init(_ list: RawSpan, at offset: Int) throws(CopyListError) {
        guard list.byte(at: offset) == Self.identification else {
            throw .illegal(SenseData(.illegalRequest, .unsupportedTargetDescriptorTypeCode))
        }
        guard list.byte(at: offset + Self.designatorLengthOffset) <= 20 else {
            throw .field(offset + Self.designatorLengthOffset)
        }
        self.offset = offset
        peripheralType = list.byte(at: offset + 1) & 0x1F
        // CODE SET binary; ASSOCIATION logical unit, DESIGNATOR TYPE NAA; eight bytes.
        let isNAA =
            list.byte(at: offset + 4) & 0x0F == 1 && list.byte(at: offset + 5) & 0x3F == 3
            && list.byte(at: offset + Self.designatorLengthOffset) == 8
        naa = isNAA ? list.loadBE64(at: offset + 8) : nil
        isPadded = list.byte(at: offset + 28) & 0x04 != 0
        blockLength = Int(list.loadBE32(at: offset + 28) & 0xFF_FFFF)
    }
}

/// A segment descriptor that copies from block device to block device: of type 02h, or of type 0Ah, which counts bytes
/// (SPC-5 clauses 6.4.6.4 and 6.4.6.12).
struct CopySegment {
    /// DESCRIPTOR TYPE CODE; the raw values are the codes.
    enum Kind: UInt8, CaseIterable {
        case blocks = 0x02
        /// With byte offsets in the first blocks.
        case bytes = 0x0A

        /// The bytes of each.
        var length: Int { self == .blocks ? 28 : 32 }
        /// Where the descriptor has how much is copied.
        var countOffset: Int { self == .blocks ? 10 : 8 }
    }

    // Where fields are in the descriptor.
    static let sourceOffset = 4
    static let destinationOffset = 6
    static let sourceAddressOffset = 12
    static let destinationAddressOffset = 20
    static let sourceByteOffset = 28
    static let destinationByteOffset = 30

    let kind: Kind
    /// DC: whether BLOCK DEVICE NUMBER OF BLOCKS counts blocks of the destination.
    let countsDestination: Bool
    /// CAT.
    let isConcatenated: Bool
    /// SOURCE CSCD DESCRIPTOR ID.
    let source: UInt16
    /// DESTINATION CSCD DESCRIPTOR ID.
    let destination: UInt16
    /// BLOCK DEVICE NUMBER OF BLOCKS, or NUMBER OF BYTES.
    let count: UInt64
    /// SOURCE BLOCK DEVICE LOGICAL BLOCK ADDRESS.
    let sourceAddress: UInt64
    /// DESTINATION BLOCK DEVICE LOGICAL BLOCK ADDRESS.
    let destinationAddress: UInt64
    /// SOURCE BLOCK BYTE OFFSET; zero where blocks are counted.
    let sourceByte: Int
    /// DESTINATION BLOCK BYTE OFFSET; zero where blocks are counted.
    let destinationByte: Int

    /// The descriptor at `offset`, of a list of segment descriptors that ends at `end`.
    init(_ list: RawSpan, at offset: Int, end: Int) throws(CopyListError) {
        guard end - offset >= 4 else { throw .field(offset) }
        guard let kind = Kind(rawValue: list.byte(at: offset)) else {
            throw .illegal(SenseData(.illegalRequest, .unsupportedSegmentDescriptorTypeCode))
        }
        guard Int(list.loadBE16(at: offset + 2)) == kind.length - 4, end - offset >= kind.length else {
            throw .field(offset + 2)
        }
        self.kind = kind
        countsDestination = kind == .blocks && list.byte(at: offset + 1) & 0x02 != 0
        isConcatenated = list.byte(at: offset + 1) & 0x01 != 0
        source = list.loadBE16(at: offset + Self.sourceOffset)
        destination = list.loadBE16(at: offset + Self.destinationOffset)
        let countAt = offset + kind.countOffset
        count = kind == .blocks ? UInt64(list.loadBE16(at: countAt)) : UInt64(list.loadBE32(at: countAt))
        sourceAddress = list.loadBE64(at: offset + Self.sourceAddressOffset)
        destinationAddress = list.loadBE64(at: offset + Self.destinationAddressOffset)
        sourceByte = kind == .blocks ? 0 : Int(list.loadBE16(at: offset + Self.sourceByteOffset))
        destinationByte = kind == .blocks ? 0 : Int(list.loadBE16(at: offset + Self.destinationByteOffset))
    }
}

/// Why a parameter list is refused before anything is copied (SPC-5 clause 5.17.7.3).
enum CopyListError: Error {
    case illegal(SenseData)

    /// INVALID FIELD IN PARAMETER LIST, pointing at a byte and the most significant bit of the field there.
    static func field(_ byte: Int, bit: UInt8? = nil) -> CopyListError {
        .illegal(.invalidParameter(byte: byte, bit: bit))
    }
    /// PARAMETER LIST LENGTH ERROR.
    static var length: CopyListError { .illegal(SenseData(.illegalRequest, .parameterListLengthError)) }
}

/// The parameter list of an EXTENDED COPY (SPC-5 clauses 5.17.7.1, 6.4 and 6.5).
struct ExtendedCopyList {
    /// The two forms of the command.
    enum Form {
        /// EXTENDED COPY(LID1), with a list identifier of one byte.
        case short
        /// EXTENDED COPY(LID4), with one of four.
        case long

        /// The bytes before the CSCD descriptors.
        var headerLength: Int { self == .short ? 16 : 48 }
        /// Where LIST IDENTIFIER is.
        var identifierOffset: Int { self == .short ? 0 : 20 }
        /// Where CSCD DESCRIPTOR LIST LENGTH is.
        var descriptorLengthOffset: Int { self == .short ? 2 : 42 }
        /// Where INLINE DATA LENGTH is.
        var inlineLengthOffset: Int { self == .short ? 12 : 46 }
        /// The CSCD descriptor ID of the first descriptor: IDs count from byte 16 on, where the long form has its
        /// header (clause 6.4.6.1, table 148).
        var firstDescriptor: Int { (headerLength - 16) / CSCDDescriptor.length }
        /// The most bytes of the list.
        var limit: Int { headerLength + CopyLimit.listLength }
    }

    let form: Form
    /// LIST IDENTIFIER; nil when LIST ID USAGE says that there is none (11b).
    let identifier: UInt32?
    let descriptors: [CSCDDescriptor]
    let segments: [CopySegment]

    init(_ bytes: [UInt8], form: Form) throws(CopyListError) {
        let list = bytes.rawSpan
        guard list.byteCount >= form.headerLength else { throw .length }
        self.form = form
        if form == .long { try Self.checkLongHeader(list) }
        let named = form == .short ? UInt32(list.byte(at: 0)) : list.loadBE32(at: 20)
        switch list.byte(at: 1) >> 3 & 0x03 {
        case 0b01: throw .field(1, bit: 4)
        case 0b11:
            guard named == 0 else { throw .field(form.identifierOffset) }
            identifier = nil
        default: identifier = named
        }
        let lengths = Self.lengths(list, form)
        // MAXIMUM INLINE DATA LENGTH is zero.
        guard lengths.inline == 0 else { throw .field(form.inlineLengthOffset) }
        let (listLength, overflow) = lengths.segments.addingReportingOverflow(lengths.descriptors)
        guard !overflow, listLength <= CopyLimit.listLength, form.headerLength + listLength <= list.byteCount else {
            throw .length
        }
        guard lengths.descriptors % CSCDDescriptor.length == 0 else { throw .field(form.descriptorLengthOffset) }
        let count = lengths.descriptors / CSCDDescriptor.length
        guard count <= CopyLimit.descriptors else {
            throw .illegal(SenseData(.illegalRequest, .tooManyTargetDescriptors))
        }
        var descriptors: [CSCDDescriptor] = []
        for index in 0..<count {
            try descriptors.append(CSCDDescriptor(list, at: form.headerLength + index * CSCDDescriptor.length))
        }
        self.descriptors = descriptors
        segments = try Self.segments(list, from: form.headerLength + lengths.descriptors, length: lengths.segments)
    }

    /// The fixed fields of the long form, which keep it apart from what SPC-3 defines (clause 6.4.2).
    private static func checkLongHeader(_ list: RawSpan) throws(CopyListError) {
        guard list.byte(at: 0) == 0x01 else { throw .field(0) }
        guard list.loadBE16(at: 2) == UInt16(CSCDDescriptor.length) else { throw .field(2) }
        // G_SENSE: there is no sense data with GOOD.
        guard list.byte(at: 15) & 0x02 == 0 else { throw .field(15, bit: 1) }
        guard list.byte(at: 16) == 0xFF else { throw .field(16) }
    }

    private static func lengths(_ list: RawSpan, _ form: Form) -> (descriptors: Int, segments: Int, inline: Int) {
        switch form {
        case .short: (Int(list.loadBE16(at: 2)), Int(list.loadBE32(at: 8)), Int(list.loadBE32(at: 12)))
        case .long: (Int(list.loadBE16(at: 42)), Int(list.loadBE16(at: 44)), Int(list.loadBE16(at: 46)))
        }
    }

    private static func segments(
        _ list: RawSpan, from start: Int, length: Int
    ) throws(CopyListError) -> [CopySegment] {
        var segments: [CopySegment] = []
        var offset = start
        while offset < start + length {
            guard segments.count < CopyLimit.segments else {
                throw .illegal(SenseData(.illegalRequest, .tooManySegmentDescriptors))
            }
            let segment = try CopySegment(list, at: offset, end: start + length)
            segments.append(segment)
            offset += segment.kind.length
        }
        return segments
    }

    /// The descriptor with that CSCD descriptor ID.
    func descriptor(_ identifier: UInt16) -> CSCDDescriptor? {
        let index = Int(identifier) - form.firstDescriptor
        return descriptors.indices.contains(index) ? descriptors[index] : nil
    }
}

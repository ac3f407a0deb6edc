internal import Bytes
internal import SCSI

/// The sense data of a copy that ends while its segments are processed: COPY ABORTED (SPC-5 clause 5.17.7.4).
struct CopySense: Equatable, Error {
    /// Where the field is that the error is about (clause 4.5.2.4.5, segment pointer).
    struct Pointer: Equatable, Sendable {
        /// SD: whether `byte` counts from the start of the segment descriptor; else from that of the parameter list.
        var isInSegment: Bool
        var byte: Int
        /// The most significant bit of the field in that byte; nil when it is about the whole byte.
        var bit: UInt8?

        /// A byte of the segment descriptor.
        static func segment(_ byte: Int, bit: UInt8? = nil) -> Pointer {
            Pointer(isInSegment: true, byte: byte, bit: bit)
        }
        /// A byte of the parameter list.
        static func list(_ byte: Int) -> Pointer { Pointer(isInSegment: false, byte: byte, bit: nil) }
    }

    /// What the copy source or the copy destination has answered.
    struct Answer: Equatable, Sendable {
        var isDestination: Bool
        var status: SCSIStatus
        /// The sense data that go with CHECK CONDITION.
        var sense: SenseData?
    }

    var code: AdditionalSenseCode
    /// The segment that was being processed: the first is 0.
    var segment: Int
    var pointer: Pointer?
    var answer: Answer?
    /// The blocks of the segment that have not been written, when some have.
    var residual: Int?

    init(
        _ code: AdditionalSenseCode, segment: Int, pointer: Pointer? = nil, answer: Answer? = nil, residual: Int? = nil
    ) {
        self.code = code
        self.segment = segment
        self.pointer = pointer
        self.answer = answer
        self.residual = residual
    }

    /// The sense data in the format that the logical unit uses.
    func encoded(isDescriptorFormat: Bool) -> [UInt8] {
        isDescriptorFormat ? descriptors : fixed
    }

    /// The three sense key specific bytes, SKSV one.
    private var pointerBytes: [UInt8]? {
        guard let pointer else { return nil }
        let bit = pointer.bit.map { 0x08 | $0 } ?? 0
        let flags = 0x80 | (pointer.isInSegment ? 0x40 : 0) | bit
        return [flags, UInt8(pointer.byte >> 8 & 0xFF), UInt8(pointer.byte & 0xFF)]
    }

    /// Fixed format: what the source or the destination has answered follows, and the first or second byte of
    /// COMMAND-SPECIFIC INFORMATION says where (5.17.7.4, d and e). The third and fourth are the segment.
    private var fixed: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: SenseData.fixedLength)
        bytes[0] = residual == nil ? 0x70 : 0xF0
        bytes[2] = SenseKey.copyAborted.rawValue
        if let residual {
            let count = UInt32(clamping: residual)
            for index in 0..<4 { bytes[3 + index] = UInt8(count >> UInt32(24 - 8 * index) & 0xFF) }
        }
        bytes[10] = UInt8(segment >> 8 & 0xFF)
        bytes[11] = UInt8(segment & 0xFF)
        bytes[12] = code.code
        bytes[13] = code.qualifier
        for (index, byte) in (pointerBytes ?? []).enumerated() { bytes[15 + index] = byte }
        if let answer {
            bytes[answer.isDestination ? 9 : 8] = UInt8(bytes.count)
            bytes.append(answer.status.rawValue)
            bytes += answer.sense?.encoded() ?? []
        }
        bytes[7] = UInt8(bytes.count - 8)
        return bytes
    }

    /// Descriptor format, with what the source or the destination has answered in a forwarded sense data descriptor
    /// (clause 4.5.2.7).
    private var descriptors: [UInt8] {
        var bytes: [UInt8] = [0x72, SenseKey.copyAborted.rawValue, code.code, code.qualifier, 0, 0, 0, 0]
        if let residual {
            bytes += [0x00, 0x0A, 0x80, 0x00]
            bytes.appendBE64(UInt64(residual))
        }
        // The segment is in the third and fourth byte of the field.
        bytes += [0x01, 0x0A, 0x00, 0x00, 0, 0, UInt8(segment >> 8 & 0xFF), UInt8(segment & 0xFF), 0, 0, 0, 0]
        if let pointerBytes { bytes += [0x02, 0x06, 0x00, 0x00] + pointerBytes + [0x00] }
        if let answer {
            let sense = answer.sense?.encoded(isDescriptorFormat: true) ?? []
            bytes += [0x0C, UInt8(2 + sense.count), answer.isDestination ? 0x02 : 0x01, answer.status.rawValue]
            bytes += sense
        }
        bytes[7] = UInt8(bytes.count - 8)
        return bytes
    }
}

/// Why a copy operation ends without GOOD.
enum CopyFailure: Equatable {
    /// COPY ABORTED.
    case aborted(CopySense)
    /// Other sense data.
    case sense(SenseData)

    /// The sense data that the initiator gets.
    func encoded(isDescriptorFormat: Bool) -> [UInt8] {
        switch self {
        case .aborted(let sense): sense.encoded(isDescriptorFormat: isDescriptorFormat)
        case .sense(let sense): sense.encoded(isDescriptorFormat: isDescriptorFormat)
        }
    }
}

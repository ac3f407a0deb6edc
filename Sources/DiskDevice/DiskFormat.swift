internal import Bytes
internal import Media
internal import SCSI
internal import TargetCore

/// FORMAT UNIT (SBC-4 clause 5.4): frees all storage, or fills all blocks with an initialization pattern, and gives the
/// disk the type of protection information that is asked for. Without defects and other block lengths there is nothing
/// else to format.
extension DiskDeviceServer {
    // Byte 1 of the command: FMTDATA, and LONGLIST; CMPLST and DEFECT LIST FORMAT say how a defect list is meant.
    private static let hasData: UInt8 = 0x10
    private static let isLongList: UInt8 = 0x20
    private static let defectListFields: UInt8 = 0x0F
    /// PROTECTION FIELD USAGE, in byte 0 of the parameter list header.
    private static let protectionUsage: UInt8 = 0x07

    // Byte 1 of the parameter list header: FOV; DPRY, DCRT and STPF, which have no effect where no block is defective;
    // IP; IMMED.
    private static let optionsValid: UInt8 = 0x80
    private static let hasPattern: UInt8 = 0x08
    private static let options: UInt8 = 0x78
    private static let immediate: UInt8 = 0x02
    /// Obsolete and vendor specific bits.
    private static let unusedOptions: UInt8 = 0x05

    /// The command does not say how long its parameter list is, only the list does: what the initiator has is taken, up
    /// to a long header and a pattern of the longest block.
    private static let maximumFormatListLength = 8 + 4 + 4096

    func beginFormat(_ task: SCSITask) -> CommandProgress {
        if let refusal = operationInProgressRefusal(task) { return refusal }
        let flags = task.commandDescriptorBlock[1]
        guard flags & Self.hasData != 0 else {
            if case .failure(let refusal) = wantedProtection(flags, usage: 0) { return task.fail(refusal.sense) }
            // Without a list nothing describes it.
            let wrong = flags & (Self.isLongList | Self.defectListFields)
            return wrong == 0
                ? .awaitDataOut(length: 0) : task.failInvalidField(byte: 1, bit: 7 - wrong.leadingZeroBitCount)
        }
        guard task.expectedDataOutLength >= Self.formatHeaderLength(flags) else {
            return task.fail(.illegalRequest, .parameterListLengthError)
        }
        return .awaitDataOut(length: min(task.expectedDataOutLength, Self.maximumFormatListLength))
    }

    private static func formatHeaderLength(_ flags: UInt8) -> Int { flags & isLongList != 0 ? 8 : 4 }

    func format(_ task: SCSITask) -> CommandProgress {
        let flags = task.commandDescriptorBlock[1]
        guard flags & Self.hasData != 0 else {
            switch wantedProtection(flags, usage: 0) {
            case .failure(let refusal): return task.fail(refusal.sense)
            case .success(let wanted):
                return begin(MediumOperation(.format), task, isImmediate: false, format(wanted, task))
            }
        }
        let list = task.parameterList()
        task.dataOut.lease = nil
        let headerLength = Self.formatHeaderLength(flags)
        guard list.count >= headerLength else { return task.fail(.illegalRequest, .parameterListLengthError) }
        if let refusal = formatHeaderRefusal(list, isLong: headerLength == 8) { return task.fail(refusal) }
        let wanted: ProtectionType?
        switch wantedProtection(flags, usage: list[0] & Self.protectionUsage) {
        case .success(let type): wanted = type
        case .failure(let refusal): return task.fail(refusal.sense)
        }
        var operation = MediumOperation(.format)
        if list[1] & Self.hasPattern != 0 {
            switch initializationPattern(list, at: headerLength) {
            case .success(let pattern): operation.pattern = pattern
            case .failure(let refusal): return task.fail(refusal.sense)
            }
        }
        return begin(operation, task, isImmediate: list[1] & Self.immediate != 0, format(wanted, task))
    }

    private func format(_ protection: ProtectionType?, _ task: SCSITask) -> FormatRequest {
        FormatRequest(protection: protection, nexus: task.nexus)
    }

    /// Why a parameter list header asks for what cannot be done (SBC-4 tables 40 and 41).
    private func formatHeaderRefusal(_ list: [UInt8], isLong: Bool) -> SenseData? {
        // Those before PROTECTION FIELD USAGE are reserved.
        if let bit = Self.firstBit(list[0] & ~Self.protectionUsage) { return .invalidParameter(byte: 0, bit: bit) }
        if let bit = Self.firstBit(list[1] & Self.unusedOptions) { return .invalidParameter(byte: 1, bit: bit) }
        if list[1] & Self.optionsValid == 0, let bit = Self.firstBit(list[1] & Self.options) {
            return .invalidParameter(byte: 1, bit: bit)
        }
        guard isLong else {
            // DEFECT LIST LENGTH: no part of a file can be left out.
            return list.rawSpan.loadBE16(at: 2) == 0 ? nil : .invalidParameter(byte: 2)
        }
        if list[2] != 0 { return .invalidParameter(byte: 2) }
        // P_I_INFORMATION and PROTECTION INTERVAL EXPONENT.
        if list[3] & 0xF0 != 0 { return .invalidParameter(byte: 3, bit: 7) }
        if list[3] & 0x0F != 0 { return .invalidParameter(byte: 3, bit: 3) }
        return list.rawSpan.loadBE32(at: 4) == 0 ? nil : .invalidParameter(byte: 4)
    }

    /// Which type of protection information FMTPINFO and PROTECTION FIELD USAGE ask for, or why the disk cannot have it
    /// (SBC-4 table 39).
    private func wantedProtection(_ flags: UInt8, usage: UInt8) -> Result<ProtectionType?, FormatRefusal> {
        let wanted: ProtectionType?
        switch (flags >> 6, usage) {
        case (0, 0): wanted = nil
        case (2, 0): wanted = .type1
        case (3, 0): wanted = .type2
        case (3, 1): wanted = .type3
        default:
            return .failure(
                FormatRefusal(
                    sense: usage == 0 ? protectionRefusal(flags) : .invalidParameter(byte: 0, bit: 2)))
        }
        return wanted == protection || image.canChangeProtection
            ? .success(wanted) : .failure(FormatRefusal(sense: protectionRefusal(flags)))
    }

    /// What FORMAT UNIT ends with when the disk cannot have what FMTPINFO asks for.
    func protectionRefusal(_ flags: UInt8) -> SenseData {
        // Without any, FMTPINFO is two bits that should be zero.
        .invalidField(byte: 1, bit: protection == nil && flags & 0xC0 == 0x40 ? 6 : 7)
    }

    private struct FormatRefusal: Error { let sense: SenseData }

    /// The pattern of the initialization pattern descriptor (SBC-4 table 43); none for the default, which is zeros.
    private func initializationPattern(_ list: [UInt8], at offset: Int) -> Result<[UInt8], FormatRefusal> {
        func refuse(_ sense: SenseData) -> Result<[UInt8], FormatRefusal> { .failure(FormatRefusal(sense: sense)) }
        let tooShort = SenseData(.illegalRequest, .parameterListLengthError)
        guard list.count >= offset + 4 else { return refuse(tooShort) }
        // SI asks for blocks that were reassigned, of which there are none; the other bits are obsolete or reserved.
        if let bit = Self.firstBit(list[offset] & ~0x20) { return refuse(.invalidParameter(byte: offset, bit: bit)) }
        let length = Int(list.rawSpan.loadBE16(at: offset + 2))
        switch list[offset + 1] {
        case 0x00: return length == 0 ? .success([]) : refuse(.invalidParameter(byte: offset + 2))
        case 0x01:
            guard length > 0, length <= blockSize else { return refuse(.invalidParameter(byte: offset + 2)) }
            guard list.count >= offset + 4 + length else { return refuse(tooShort) }
            let pattern = list[(offset + 4)..<(offset + 4 + length)]
            return .success(pattern.allSatisfy { $0 == 0 } ? [] : Self.shortest(Array(pattern), blockSize))
        default: return refuse(.invalidParameter(byte: offset + 1))
        }
    }

    /// The most significant bit that is set.
    private static func firstBit(_ byte: UInt8) -> UInt8? {
        byte == 0 ? nil : 7 - UInt8(byte.leadingZeroBitCount)
    }
}

internal import Bytes
internal import SCSI

/// Mode parameters as MODE SENSE gives them, and MODE SELECT takes them (SPC-5 clause 7.5).
struct ModeParameters {
    /// A page as it came.
    struct Page {
        var code: UInt8
        var subpage: UInt8
        /// The bytes before the content.
        var header: [UInt8]
        var content: [UInt8]

        /// The page as MODE SELECT takes it: PS is zero.
        var bytes: [UInt8] { [header[0] & 0x7F] + header.dropFirst() + content }
    }

    var mediumType: UInt8
    var deviceSpecificParameter: UInt8
    var blockDescriptor: [UInt8]
    var pages: [Page] = []

    /// Parses the data of MODE SENSE, which must be whole.
    init(parsing data: [UInt8], isLong: Bool) throws {
        let headerLength = isLong ? 8 : 4
        try require(data.count >= headerLength, "a mode parameter header", got: "\(data.count) bytes")
        let length = isLong ? Int(data.rawSpan.loadBE16(at: 0)) + 2 : Int(data[0]) + 1
        try require(
            length == data.count, "MODE DATA LENGTH to be that of the \(data.count) bytes", got: "\(length) bytes")
        mediumType = data[isLong ? 2 : 1]
        deviceSpecificParameter = data[isLong ? 3 : 2]
        let descriptorLength = isLong ? Int(data.rawSpan.loadBE16(at: 6)) : Int(data[3])
        var offset = headerLength + descriptorLength
        try require(offset <= data.count, "a block descriptor within the data", got: "\(descriptorLength) bytes")
        blockDescriptor = Array(data[headerLength..<offset])
        while offset < data.count {
            let hasSubpage = data[offset] & 0x40 != 0
            let contentOffset = offset + (hasSubpage ? 4 : 2)
            try require(contentOffset <= data.count, "mode pages that fill the data", got: "one that exceeds them")
            let pageLength = hasSubpage ? Int(data.rawSpan.loadBE16(at: offset + 2)) : Int(data[offset + 1])
            let end = contentOffset + pageLength
            try require(end <= data.count, "mode pages that fill the data", got: "one that exceeds them")
            pages.append(
                Page(
                    code: data[offset] & 0x3F, subpage: hasSubpage ? data[offset + 1] : 0,
                    header: Array(data[offset..<contentOffset]), content: Array(data[contentOffset..<end])))
            offset = end
        }
    }

    /// A parameter list of MODE SELECT(10) with `page`, which changes nothing in the header.
    func list(_ page: Page, deviceType: UInt8) -> [UInt8] {
        // WP is no parameter; of a disk nothing else is either.
        let parameter = deviceType == 0 ? 0 : deviceSpecificParameter & 0x7F
        return [0, 0, deviceType == 0 ? 0 : mediumType, parameter, 0, 0, 0, 0] + page.bytes
    }
}

/// A bit of a mode page that tests change, and put back.
struct ModeBit {
    let code: UInt8
    /// In the content: after the page's header.
    let byte: Int
    let mask: UInt8

    /// D_SENSE, TAS and SWP of the Control mode page (SPC-5 clause 7.5.10).
    static let descriptorSense = ModeBit(code: 0x0A, byte: 0, mask: 0x04)
    static let taskAbortedStatus = ModeBit(code: 0x0A, byte: 3, mask: 0x40)
    static let softwareWriteProtect = ModeBit(code: 0x0A, byte: 2, mask: 0x08)
    /// QERR.
    static let queueErrorManagement = ModeBit(code: 0x0A, byte: 1, mask: 0x06)
    /// UA_INTLCK_CTRL.
    static let interlock = ModeBit(code: 0x0A, byte: 2, mask: 0x30)
    /// WCE of the Caching mode page (SBC-4 clause 6.5.6).
    static let writeCacheEnable = ModeBit(code: 0x08, byte: 0, mask: 0x04)
    /// DEXCPT of the Informational Exceptions Control mode page.
    static let disableExceptions = ModeBit(code: 0x1C, byte: 0, mask: 0x08)

    /// Those that do least harm, in this order.
    static let harmless = [
        descriptorSense, taskAbortedStatus, disableExceptions, writeCacheEnable, softwareWriteProtect,
    ]
}

extension Wire {
    /// PC of MODE SENSE.
    enum PageControl: UInt8 {
        case current = 0
        case changeable = 1
        case defaults = 2
        case saved = 3
    }

    /// MODE SENSE(10), or (6).
    func modeSense(
        _ code: UInt8, subpage: UInt8 = 0, _ control: PageControl = .current, isLong: Bool = true,
        hasBlockDescriptors: Bool = false, allocationLength: Int? = nil
    ) throws -> CommandResult {
        let flags: UInt8 = hasBlockDescriptors ? 0 : 0x08
        let page = control.rawValue << 6 | code
        let length = allocationLength ?? (isLong ? 4096 : 255)
        return try run(
            .reading(
                isLong
                    ? [
                        OperationCode.modeSense10, flags, page, subpage, 0, 0, 0, UInt8(length >> 8),
                        UInt8(length & 0xFF), 0,
                    ]
                    : [OperationCode.modeSense6, flags, page, subpage, UInt8(length), 0], length))
    }

    /// Mode parameters that must be there.
    func modeParameters(
        _ code: UInt8, subpage: UInt8 = 0, _ control: PageControl = .current, isLong: Bool = true,
        hasBlockDescriptors: Bool = false
    ) throws -> ModeParameters {
        let result = try modeSense(
            code, subpage: subpage, control, isLong: isLong, hasBlockDescriptors: hasBlockDescriptors)
        return try ModeParameters(
            parsing: try expectGood(result, "MODE SENSE of page \(Self.hex(code))"), isLong: isLong)
    }

    /// MODE SELECT(10) of `list`, of which PARAMETER LIST LENGTH names `length` bytes. With SP it `saves`.
    func modeSelect(_ list: [UInt8], length: Int? = nil, saves: Bool = false) throws -> CommandResult {
        let length = length ?? list.count
        return try run(
            .writing(
                [
                    OperationCode.modeSelect10, saves ? 0x11 : 0x10, 0, 0, 0, 0, 0, UInt8(length >> 8),
                    UInt8(length & 0xFF), 0,
                ],
                Array(list.prefix(length))))
    }

    /// Whether MODE SELECT changes a bit.
    func canChange(_ bit: ModeBit) throws -> Bool {
        let result = try modeSense(bit.code, .changeable)
        guard result.isGood, try support(OperationCode.modeSelect10) != .none else { return false }
        let page = try ModeParameters(parsing: result.dataIn, isLong: true).pages.first
        guard let content = page?.content, bit.byte < content.count else { return false }
        return content[bit.byte] & bit.mask == bit.mask
    }

    /// Puts `value` in a bit that can be changed; what comes back puts the page as it was. The one that changes it
    /// clears its own unit attentions; others are told.
    func change(_ bit: ModeBit, to value: UInt8) throws -> () throws -> Void {
        guard try canChange(bit) else { throw TestEnd.skipped("MODE SELECT does not change the bits") }
        let before = try modeParameters(bit.code)
        guard var page = before.pages.first else { throw TestEnd.skipped("the mode page is empty") }
        let former = before.list(page, deviceType: bench.survey.deviceType)
        page.content[bit.byte] = page.content[bit.byte] & ~bit.mask | value
        try expectGood(
            try modeSelect(before.list(page, deviceType: bench.survey.deviceType)), "MODE SELECT of a bit that changes")
        return { [self] in
            try takeUnitAttentions()
            try expectGood(try modeSelect(former), "MODE SELECT of the former page")
        }
    }
}

/// Runs `body`, and `restoring` whatever comes of it.
func ending(with restoring: () throws -> Void, _ body: () throws -> Void) throws {
    let ended = Result { try body() }
    let restored = Result { try restoring() }
    try ended.get()
    try restored.get()
}

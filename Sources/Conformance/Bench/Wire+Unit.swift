internal import Bytes
internal import ISCSI
internal import SCSI

/// What a logical unit says of itself, for tests that need something that not every unit has.
extension Wire {
    // MARK: INQUIRY

    /// INQUIRY: standard data, or a VPD page.
    func inquire(
        page: UInt8? = nil, allocationLength: Int = 4096, on unit: LogicalUnitNumber? = nil
    ) throws -> CommandResult {
        var command = Command.inquiry(allocationLength: allocationLength)
        if let page { command.cdb.replaceSubrange(1...2, with: [1, page]) }
        command.isRead = allocationLength > 0
        command.logicalUnitNumber = unit
        return try run(command)
    }

    /// Standard INQUIRY data, of at least 36 bytes.
    func standardInquiryData(on unit: LogicalUnitNumber? = nil) throws -> [UInt8] {
        let data = try expectGood(try inquire(on: unit), "INQUIRY")
        try require(data.count >= 36, "at least 36 bytes of standard INQUIRY data", got: "\(data.count)")
        return data
    }

    /// The VPD pages that are listed.
    func supportedPages() throws -> [UInt8] {
        let data = try expectGood(try inquire(page: 0), "INQUIRY of VPD page 00h")
        try require(data.count >= 4, "a VPD page with a header", got: "\(data.count) bytes")
        return Array(data.dropFirst(4).prefix(Int(data.rawSpan.loadBE16(at: 2))))
    }

    /// A VPD page without its header; nil when it is not listed.
    func vitalProductData(_ page: UInt8, on unit: LogicalUnitNumber? = nil) throws -> [UInt8]? {
        guard try supportedPages().contains(page) else { return nil }
        let data = try expectGood(try inquire(page: page, on: unit), "INQUIRY of VPD page \(Self.hex(page))")
        guard data.count >= 4 else { return [] }
        return Array(data.dropFirst(4).prefix(Int(data.rawSpan.loadBE16(at: 2))))
    }

    /// A designation descriptor of VPD page 83h (SPC-5 clause 7.7.6).
    struct Designator: Hashable {
        var codeSet: UInt8
        var association: UInt8
        var type: UInt8
        var bytes: [UInt8]
    }

    /// The designation descriptors of VPD page 83h, which must fill the page.
    func designators(on unit: LogicalUnitNumber? = nil) throws -> [Designator] {
        guard let page = try vitalProductData(0x83, on: unit) else {
            throw TestEnd.failed(expected: "VPD page 83h, which is mandatory", got: "a list without it")
        }
        var found: [Designator] = []
        var offset = 0
        while offset < page.count {
            let end = offset + 4 <= page.count ? offset + 4 + Int(page[offset + 3]) : Int.max
            try require(end <= page.count, "descriptors that fill the page", got: "one that exceeds it")
            found.append(
                Designator(
                    codeSet: page[offset] & 0x0F, association: page[offset + 1] >> 4 & 3, type: page[offset + 1] & 0x0F,
                    bytes: Array(page[offset + 4..<end])))
            offset = end
        }
        return found
    }

    // MARK: REPORT LUNS

    /// The numbers of logical units that are reported.
    func reportedUnits(_ select: UInt8 = 0) throws -> [UInt64] {
        var command = Command.reportLUNs(allocationLength: 16_384)
        command.cdb[2] = select
        let data = try expectGood(try run(command), "REPORT LUNS with SELECT REPORT \(Self.hex(select))")
        try require(data.count >= 8, "a LUN list with a header", got: "\(data.count) bytes")
        let end = min(data.count, 8 + Int(data.rawSpan.loadBE32(at: 0)))
        return stride(from: 8, to: end - 7, by: 8).map { data.rawSpan.loadBE64(at: $0) }
    }

    /// A number that no logical unit has.
    func absentUnit() throws -> LogicalUnitNumber {
        let present = try reportedUnits()
        guard let number = (100..<256).map(LogicalUnitNumber.init).last(where: { !present.contains($0.rawValue) })
        else { throw TestEnd.skipped("each number has a logical unit") }
        return number
    }

    // MARK: REPORT SUPPORTED OPERATION CODES

    /// REPORT SUPPORTED OPERATION CODES (SPC-5 clause 6.35); with 80h in the option timeouts are asked for.
    func reportOperationCodes(
        _ option: UInt8, _ operationCode: UInt8 = 0, _ action: UInt16 = 0, allocationLength: Int = 16_384
    ) throws -> CommandResult {
        var cdb: [UInt8] = [OperationCode.maintenanceIn, 0x0C, option, operationCode]
        cdb.appendBE16(action)
        cdb.appendBE32(UInt32(allocationLength))
        return try run(.reading(cdb + [0, 0], allocationLength))
    }

    /// A command descriptor of the list of all commands.
    struct ListedCommand: Hashable {
        var operationCode: UInt8
        var action: UInt16?
        /// CDB LENGTH.
        var length: Int

        var name: String {
            "command \(Wire.hex(operationCode))" + (action.map { "/" + String($0, radix: 16, uppercase: true) } ?? "")
        }
    }

    /// The commands of a list, which they must fill.
    static func listedCommands(_ data: [UInt8], hasTimeouts: Bool = false) throws -> [ListedCommand] {
        try require(data.count >= 4, "a list with a header", got: "\(data.count) bytes")
        try require(
            Int(data.rawSpan.loadBE32(at: 0)) == data.count - 4, "COMMAND DATA LENGTH \(data.count - 4)",
            got: "\(data.rawSpan.loadBE32(at: 0))")
        var listed: [ListedCommand] = []
        var offset = 4
        while offset < data.count {
            try require(offset + 8 <= data.count, "whole descriptors", got: "a part of one at \(offset)")
            let flags = data[offset + 5]
            try require(hasTimeouts || flags & 0x02 == 0, "no command timeouts descriptor without RCTD", got: "CTDP")
            listed.append(
                ListedCommand(
                    operationCode: data[offset], action: flags & 1 != 0 ? data.rawSpan.loadBE16(at: offset + 2) : nil,
                    length: Int(data.rawSpan.loadBE16(at: offset + 6))))
            offset += 8
            if flags & 0x02 != 0 {
                try require(
                    offset + 12 <= data.count && data.rawSpan.loadBE16(at: offset) == 0x0A,
                    "a command timeouts descriptor of 12 bytes", got: "another at \(offset)")
                offset += 12
            }
        }
        return listed
    }

    /// What is known of a command.
    enum Support: Equatable {
        case none
        /// CDB USAGE DATA, as far as the unit says them.
        case supported([UInt8])
        /// The unit does not say what it supports.
        case unknown
    }

    /// Whether the unit lists a command. A wrong list is the matter of SPC.OperationCodes.
    func support(_ operationCode: UInt8, _ action: UInt16? = nil) throws -> Support {
        let all = try reportOperationCodes(0)
        guard all.isGood, let listed = try? Self.listedCommands(all.dataIn) else { return .unknown }
        guard listed.contains(where: { $0.operationCode == operationCode && $0.action == action }) else { return .none }
        let data = try reportOperationCodes(action == nil ? 1 : 2, operationCode, action ?? 0).dataIn
        guard data.count > 4 else { return .supported([]) }
        return .supported(Array(data.dropFirst(4).prefix(Int(data.rawSpan.loadBE16(at: 2)))))
    }

    /// CDB USAGE DATA of a command that the test needs, as far as the unit says it; ends the test when the unit says
    /// that it does not have it.
    @discardableResult
    func need(_ name: String, _ operationCode: UInt8, _ action: UInt16? = nil) throws -> [UInt8] {
        switch try support(operationCode, action) {
        case .none: throw TestEnd.skipped("the unit does not have \(name)")
        case .supported(let usage): return usage
        case .unknown: return []
        }
    }

    /// Those of `operationCodes` that the unit does not say it lacks.
    func supported(_ operationCodes: [UInt8]) throws -> [UInt8] {
        try operationCodes.filter { try support($0) != .none }
    }

    // MARK: REQUEST SENSE

    /// REQUEST SENSE in fixed format, or descriptor format.
    func requestSense(isDescriptorFormat: Bool = false, allocationLength: Int = 252) throws -> CommandResult {
        try run(
            .reading(
                [OperationCode.requestSense, isDescriptorFormat ? 1 : 0, 0, 0, UInt8(allocationLength), 0],
                allocationLength))
    }

    /// What REQUEST SENSE reports; nil when it is no sense data.
    func reportedSense(on unit: LogicalUnitNumber? = nil) throws -> SenseData? {
        var command = Command.reading([OperationCode.requestSense, 0, 0, 0, 252, 0], 252)
        command.logicalUnitNumber = unit
        let bytes = try expectGood(try run(command), "REQUEST SENSE")
        return SenseData(parsing: bytes.rawSpan)
    }

    /// Takes unit attentions by REQUEST SENSE, which clears them whatever UA_INTLCK_CTRL is.
    func takeUnitAttentions() throws {
        let limit = 32
        for _ in 0..<limit {
            let result = try requestSense()
            // That it does not end with a unit attention is the matter of SPC.Attention.
            if result.sense?.key == .unitAttention {
                _ = try run(.testUnitReady)
                continue
            }
            let bytes = try expectGood(result, "REQUEST SENSE")
            guard SenseData(parsing: bytes.rawSpan)?.key == .unitAttention else { return }
        }
        throw TestEnd.inconclusive("REQUEST SENSE reports unit attentions without end")
    }

    /// The next TEST UNIT READY reports a unit attention with that code, and only that one.
    func expectOneAttention(_ code: AdditionalSenseCode, _ why: @autoclosure () -> String) throws {
        try expectSense(try run(.testUnitReady), .unitAttention, code, "TEST UNIT READY after \(why())")
        try expectNoAttention("it has been reported")
    }

    /// The next TEST UNIT READY reports no unit attention.
    func expectNoAttention(_ why: @autoclosure () -> String) throws {
        let result = try run(.testUnitReady)
        try require(result.sense?.key != .unitAttention, "no unit attention: \(why())", got: result.summary)
    }
}

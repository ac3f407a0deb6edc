internal import Bytes
internal import SCSI

/// Commands of copy managers, and their parameter lists, as the tests of them send them (SPC-5 clauses 6.3 to 6.5 and
/// 6.22 to 6.26, SBC-4 clauses 5.12, 5.25 and 5.59).
enum Copying {
    /// SERVICE ACTION of THIRD-PARTY COPY OUT.
    enum Out {
        static let extendedCopyShort: UInt16 = 0x00
        static let extendedCopyLong: UInt16 = 0x01
        static let populateToken: UInt16 = 0x10
        static let writeUsingToken: UInt16 = 0x11
    }

    /// SERVICE ACTION of THIRD-PARTY COPY IN.
    enum In {
        static let statusShort: UInt16 = 0x00
        static let operatingParameters: UInt16 = 0x03
        static let failureDetails: UInt16 = 0x04
        static let statusLong: UInt16 = 0x05
        static let tokenInformation: UInt16 = 0x07
    }

    /// THIRD-PARTY COPY OUT; those of tokens have a list identifier.
    static func out(_ action: UInt16, _ list: [UInt8], identifier: UInt32 = 0, length: Int? = nil) -> Command {
        var cdb: [UInt8] = [OperationCode.thirdPartyCopyOut, UInt8(action), 0, 0, 0, 0]
        cdb.appendBE32(identifier)
        cdb.appendBE32(UInt32(length ?? list.count))
        return .writing(cdb + [0, 0], list)
    }

    /// THIRD-PARTY COPY IN; those of LID1 have a list identifier of one byte.
    static func receive(_ action: UInt16, _ identifier: UInt32 = 0, allocationLength: Int = 4096) -> Command {
        var cdb: [UInt8] = [OperationCode.thirdPartyCopyIn, UInt8(action)]
        if action < In.statusLong {
            cdb += [UInt8(truncatingIfNeeded: identifier), 0, 0, 0]
        } else {
            cdb.appendBE32(identifier)
        }
        cdb += [0, 0, 0, 0]
        cdb.appendBE32(UInt32(allocationLength))
        return .reading(cdb + [0, 0], allocationLength)
    }

    // MARK: EXTENDED COPY

    /// The two forms of the command.
    enum Form: CaseIterable {
        case short, long

        var action: UInt16 { self == .short ? Out.extendedCopyShort : Out.extendedCopyLong }
        var name: String { self == .short ? "EXTENDED COPY(LID1)" : "EXTENDED COPY(LID4)" }
        var headerLength: Int { self == .short ? 16 : 48 }
        /// Where CSCD DESCRIPTOR LIST LENGTH is, two bytes.
        var descriptorLengthOffset: Int { self == .short ? 2 : 42 }
        /// Where the last two bytes of SEGMENT DESCRIPTOR LIST LENGTH are.
        var segmentLengthOffset: Int { self == .short ? 10 : 44 }
        /// The ID of the first CSCD descriptor (SPC-5 clause 6.4.6.1): the long header takes one.
        var firstDescriptor: UInt16 { self == .short ? 0 : 1 }
    }

    static let descriptorLength = 32
    /// Identification Descriptor CSCD descriptor.
    static let identification: UInt8 = 0xE4
    /// Block to block.
    static let blockToBlock: UInt8 = 0x02

    /// The CSCD descriptor of a disk that a designator names.
    static func descriptor(_ designator: Wire.Designator) -> [UInt8] {
        let room = 20
        var bytes: [UInt8] = [identification, 0, 0, 0]
        bytes += [designator.codeSet, designator.association << 4 | designator.type, 0, UInt8(designator.bytes.count)]
        bytes += designator.bytes + [UInt8](repeating: 0, count: room - designator.bytes.count)
        return bytes + [0, 0, 0, 0]
    }

    /// A block to block segment.
    struct Segment {
        /// Which of the descriptors; from 0.
        var source: UInt16 = 0
        var destination: UInt16 = 0
        var from: UInt64
        var to: UInt64
        var count: UInt16

        func bytes(_ form: Form) -> [UInt8] {
            var bytes: [UInt8] = [blockToBlock, 0, 0, 24]
            bytes.appendBE16(source + form.firstDescriptor)
            bytes.appendBE16(destination + form.firstDescriptor)
            bytes.appendBE16(0)
            bytes.appendBE16(count)
            bytes.appendBE64(from)
            bytes.appendBE64(to)
            return bytes
        }
    }

    /// A parameter list of EXTENDED COPY.
    static func list(
        _ form: Form, identifier: UInt32 = 0x11, _ descriptors: [[UInt8]], segments: [[UInt8]]
    ) -> [UInt8] {
        let (descriptors, segments) = (descriptors.flatMap { $0 }, segments.flatMap { $0 })
        var bytes: [UInt8] = []
        switch form {
        case .short:
            bytes += [UInt8(truncatingIfNeeded: identifier), 0]
            bytes.appendBE16(UInt16(descriptors.count))
            bytes.appendBE32(0)
            bytes.appendBE32(UInt32(segments.count))
            bytes.appendBE32(0)
        case .long:
            bytes += [0x01, 0, 0, UInt8(descriptorLength)] + [UInt8](repeating: 0, count: 12)
            bytes += [0xFF, 0, 0, 0]
            bytes.appendBE32(identifier)
            bytes += [UInt8](repeating: 0, count: 18)
            bytes.appendBE16(UInt16(descriptors.count))
            bytes.appendBE16(UInt16(segments.count))
            bytes.appendBE16(0)
        }
        return bytes + descriptors + segments
    }

    // MARK: ROD tokens

    /// The bytes of a ROD token (SPC-5 clause 5.17.6.4).
    static let tokenLength = 512
    /// ROD TYPE of the block device zero ROD token.
    static let zeroType: UInt32 = 0xFFFF_0001

    private static func ranges(_ ranges: [(first: UInt64, count: UInt32)]) -> [UInt8] {
        var bytes: [UInt8] = []
        for range in ranges {
            bytes.appendBE64(range.first)
            bytes.appendBE32(range.count)
            bytes.appendBE32(0)
        }
        return bytes
    }

    /// The parameter list of POPULATE TOKEN.
    static func populateList(_ extents: [(first: UInt64, count: UInt32)]) -> [UInt8] {
        let ranges = ranges(extents)
        var bytes: [UInt8] = []
        bytes.appendBE16(UInt16(14 + ranges.count))
        bytes += [UInt8](repeating: 0, count: 12)
        bytes.appendBE16(UInt16(ranges.count))
        return bytes + ranges
    }

    /// The parameter list of WRITE USING TOKEN.
    static func writeList(_ token: [UInt8], _ extents: [(first: UInt64, count: UInt32)]) -> [UInt8] {
        let ranges = ranges(extents)
        var bytes: [UInt8] = []
        bytes.appendBE16(UInt16(534 + ranges.count))
        bytes += [UInt8](repeating: 0, count: 14) + token + [UInt8](repeating: 0, count: 6)
        bytes.appendBE16(UInt16(ranges.count))
        return bytes + ranges
    }

    /// The block device zero ROD token.
    static var zeroToken: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE32(zeroType)
        bytes += [0, 0]
        bytes.appendBE16(UInt16(tokenLength - 8))
        return bytes + [UInt8](repeating: 0, count: tokenLength - bytes.count)
    }
}

extension Disk {
    /// Ends the test when the unit has no copy manager, or it does not have that command.
    func needCopies(_ name: String, _ action: UInt16, isIn: Bool = false) throws {
        guard try wire.standardInquiryData()[5] & 0x08 != 0 else {
            throw TestEnd.skipped("3PC is zero: the unit has no copy manager")
        }
        try wire.need(name, isIn ? OperationCode.thirdPartyCopyIn : OperationCode.thirdPartyCopyOut, action)
    }

    /// The forms of EXTENDED COPY that the unit has; ends the test when that is none.
    func copyForms() throws -> [Copying.Form] {
        guard try wire.standardInquiryData()[5] & 0x08 != 0 else {
            throw TestEnd.skipped("3PC is zero: the unit has no copy manager")
        }
        let forms = try Copying.Form.allCases.filter {
            try wire.support(OperationCode.thirdPartyCopyOut, $0.action) != .none
        }
        guard !forms.isEmpty else { throw TestEnd.skipped("the unit does not have EXTENDED COPY") }
        return forms
    }

    /// The CSCD descriptor of a unit, by the designator that copy managers know best: NAA, EUI-64, T10 vendor ID.
    func copyDescriptor(on unit: LogicalUnitNumber? = nil) throws -> [UInt8] {
        let own = try wire.designators(on: unit).filter { $0.association == 0 && $0.bytes.count <= 20 }
        for type: UInt8 in [3, 2, 1] {
            if let designator = own.first(where: { $0.type == type }) { return Copying.descriptor(designator) }
        }
        throw TestEnd.skipped("VPD page 83h has no designator of the unit that a CSCD descriptor has room for")
    }

    /// EXTENDED COPY with those segments.
    func copy(
        _ form: Copying.Form, identifier: UInt32 = 0x11, _ descriptors: [[UInt8]], _ segments: [Copying.Segment]
    ) throws -> CommandResult {
        let list = Copying.list(
            form, identifier: identifier, descriptors, segments: segments.map { $0.bytes(form) })
        return try wire.run(Copying.out(form.action, list))
    }

    /// Populates a token, and gives it.
    func token(_ extents: [(first: UInt64, count: UInt32)], identifier: UInt32) throws -> [UInt8] {
        let list = Copying.populateList(extents)
        try expectGood(
            try wire.run(Copying.out(Copying.Out.populateToken, list, identifier: identifier)), "POPULATE TOKEN")
        let data = try expectGood(
            try wire.run(Copying.receive(Copying.In.tokenInformation, identifier)),
            "RECEIVE ROD TOKEN INFORMATION of it")
        try require(data.count > 32, "a shared third-party copy status header", got: "\(data.count) bytes")
        // It follows the sense data, with a length and two reserved bytes before it.
        let start = 32 + Int(data[13])
        try require(
            data[5] & 0x7F == 0x01 || data[5] & 0x7F == 0x03, "COPY OPERATION STATUS 01h or 03h",
            got: Wire.hex(data[5]))
        try require(
            data.count >= start + 6 + Copying.tokenLength
                && Int(data.rawSpan.loadBE32(at: start)) >= 2 + Copying.tokenLength,
            "a ROD token of \(Copying.tokenLength) bytes", got: "\(data.count) bytes of data")
        return Array(data[start + 6..<start + 6 + Copying.tokenLength])
    }

    /// WRITE USING TOKEN.
    func write(
        using token: [UInt8], _ extents: [(first: UInt64, count: UInt32)], identifier: UInt32
    ) throws -> CommandResult {
        try wire.run(
            Copying.out(
                Copying.Out.writeUsingToken, Copying.writeList(token, extents), identifier: identifier))
    }
}

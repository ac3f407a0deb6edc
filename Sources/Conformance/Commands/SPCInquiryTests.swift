internal import Bytes
internal import SCSI

/// INQUIRY and vital product data (SPC-5 clauses 6.6 and 7.7). They run on a unit of any device type.
enum SPCInquiryTests {
    static let all = inquiry + vitalProductData + identification

    private static func test(
        _ name: String, _ clause: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("SPC.\(name)", standard: "SPC-5 clause \(clause)", rule, requirements) { bench in
            try body(try bench.logInToUnit())
        }
    }

    private static let inquiry = [
        test(
            "Inquiry.Standard", "6.6.2",
            "Standard INQUIRY data have 36 bytes at least, response data format 2, and names of printable ASCII."
        ) { wire in
            let data = try wire.standardInquiryData()
            try require(data[0] >> 5 == 0, "PERIPHERAL QUALIFIER 000b", got: "\(data[0] >> 5)")
            try require(data[3] & 0x0F == 2, "RESPONSE DATA FORMAT 2", got: "\(data[3] & 0x0F)")
            try require(
                data.count == min(5 + Int(data[4]), 4096), "as many bytes as ADDITIONAL LENGTH says",
                got: "\(data.count) bytes and \(data[4])")
            for byte in data[8..<36] where !(0x20...0x7E).contains(byte) {
                throw TestEnd.failed(expected: "printable ASCII in bytes 8 to 35", got: Wire.hex(byte))
            }
        },
        test(
            "Inquiry.AllocationLength", "4.2.5.6",
            "A shorter ALLOCATION LENGTH truncates the data, which are the same otherwise, and is no error."
        ) { wire in
            let whole = try wire.standardInquiryData()
            for length in [0, 1, 4, 5, 8, 35, 36, 37, 95, 96, 255, 1000] {
                let part = try expectGood(
                    try wire.inquire(allocationLength: length), "INQUIRY with ALLOCATION LENGTH \(length)")
                try require(
                    part == Array(whole.prefix(length)), "the first \(min(length, whole.count)) bytes",
                    got: "\(part.count) bytes, or others")
            }
        },
        test(
            "Inquiry.PageWithoutEVPD", "6.6.1", "A PAGE CODE without EVPD is refused with INVALID FIELD IN CDB."
        ) { wire in
            for page: UInt8 in [0x80, 0x83, 0xFF] {
                let command = Command.reading([OperationCode.inquiry, 0, page, 0, 96, 0], 96)
                try expectInvalidField(
                    try wire.run(command), at: [1, 2], "INQUIRY of page \(Wire.hex(page)) without EVPD")
            }
        },
        test("Inquiry.UnknownPage", "6.6.1", "A VPD page that is not listed is refused with INVALID FIELD IN CDB.") {
            wire in
            let listed = try wire.supportedPages()
            // 40h to 7Fh are reserved or obsolete.
            for page: UInt8 in [0x5F, 0x7E, 0xAF, 0xBF] where !listed.contains(page) {
                try expectInvalidField(try wire.inquire(page: page), at: [2], "INQUIRY of page \(Wire.hex(page))")
            }
        },
        test(
            "Inquiry.AbsentUnit", "6.6.1",
            "At a number without a logical unit INQUIRY says so by 7Fh, and others meet LOGICAL UNIT NOT SUPPORTED."
        ) { wire in
            let absent = try wire.absentUnit()
            let data = try expectGood(
                try wire.inquire(allocationLength: 36, on: absent), "INQUIRY of a unit that is not there")
            try require(data.first == 0x7F, "7Fh in byte 0", got: data.first.map(Wire.hex) ?? "nothing")
            var command = Command.testUnitReady
            command.logicalUnitNumber = absent
            try expectSense(
                try wire.run(command), .illegalRequest, .logicalUnitNotSupported, "TEST UNIT READY there")
            let reported = try wire.reportedSense(on: absent)
            try require(
                reported?.additionalSenseCode == .logicalUnitNotSupported, "LOGICAL UNIT NOT SUPPORTED in its data",
                got: "\(reported?.additionalSenseCode.code ?? 0)")
        },
    ]

    private static let vitalProductData = [
        test(
            "VPD.Supported", "7.7.17", "Page 00h lists itself and 83h, and its pages in ascending order, each once."
        ) { wire in
            let listed = try wire.supportedPages()
            try require(listed.first == 0, "page 00h first", got: listed.first.map(Wire.hex) ?? "nothing")
            try require(listed.contains(0x83), "page 83h", got: "a list without it")
            try require(
                zip(listed, listed.dropFirst()).allSatisfy(<), "ascending page codes",
                got: listed.map(Wire.hex).joined(separator: " "))
        },
        test(
            "VPD.Pages", "7.7.1",
            "Each listed page comes with its own code, the device type, and the PAGE LENGTH that it has."
        ) { wire in
            let type = try wire.standardInquiryData()[0]
            for page in try wire.supportedPages() {
                let what = "page \(Wire.hex(page))"
                let data = try expectGood(try wire.inquire(page: page, allocationLength: 16_384), "INQUIRY of \(what)")
                try require(data.count >= 4, "\(what) with a header", got: "\(data.count) bytes")
                try require(
                    data[0] == type && data[1] == page, "\(what) of the type \(Wire.hex(type))",
                    got: "page \(Wire.hex(data[1])) of \(Wire.hex(data[0]))")
                let length = Int(data.rawSpan.loadBE16(at: 2))
                try require(
                    data.count == min(4 + length, 16_384), "\(what) of \(length) bytes", got: "\(data.count - 4)")
            }
        },
        test(
            "VPD.Truncated", "4.2.5.6", "PAGE LENGTH is that of the whole page, whatever ALLOCATION LENGTH is."
        ) { wire in
            for page in try wire.supportedPages() {
                let whole = try expectGood(try wire.inquire(page: page), "INQUIRY of page \(Wire.hex(page))")
                for length in [4, 5, 8] {
                    let part = try expectGood(
                        try wire.inquire(page: page, allocationLength: length),
                        "INQUIRY of page \(Wire.hex(page)) with ALLOCATION LENGTH \(length)")
                    try require(
                        part == Array(whole.prefix(length)), "the first bytes of page \(Wire.hex(page))", got: "others")
                }
            }
        },
        test("VPD.SerialNumber", "7.7.19", "The unit serial number is ASCII, right-aligned where it is padded.") {
            wire in
            guard let number = try wire.vitalProductData(0x80) else {
                throw TestEnd.skipped("page 80h is not listed")
            }
            for byte in number where !(0x20...0x7E).contains(byte) {
                throw TestEnd.failed(expected: "printable ASCII", got: Wire.hex(byte))
            }
            if number.contains(where: { $0 != 0x20 }) {
                try require(number.last != 0x20, "spaces before the number alone", got: "spaces behind it")
            }
        },
        test("VPD.ExtendedInquiry", "7.7.8", "The Extended INQUIRY Data page has the length 3Ch.") { wire in
            guard let page = try wire.vitalProductData(0x86) else { throw TestEnd.skipped("page 86h is not listed") }
            try require(page.count == 0x3C, "60 bytes", got: "\(page.count)")
        },
        test("VPD.ModePagePolicy", "7.7.10", "The Mode Page Policy page has descriptors of four bytes, in their order.")
        {
            wire in
            guard let page = try wire.vitalProductData(0x87) else { throw TestEnd.skipped("page 87h is not listed") }
            try require(
                !page.isEmpty && page.count.isMultiple(of: 4), "descriptors of four bytes", got: "\(page.count) bytes")
            let codes = stride(from: 0, to: page.count, by: 4).map { Int(page[$0] & 0x3F) << 8 | Int(page[$0 + 1]) }
            try require(
                Set(codes).count == codes.count, "each page and subpage once", got: "one of them twice")
        },
    ]

    // MARK: Device Identification

    private static func isWellFormed(_ designator: Wire.Designator) -> Bool {
        let count = designator.bytes.count
        switch designator.type {
        case 1: return count >= 8
        case 2: return designator.codeSet == 1 && [8, 12, 16].contains(count)
        case 3:
            guard designator.codeSet == 1, let first = designator.bytes.first else { return false }
            switch first >> 4 {
            case 2, 3, 5: return count == 8
            case 6: return count == 16
            default: return false
            }
        case 4, 5: return designator.codeSet == 1 && designator.association == 1 && count == 4
        case 6, 7: return designator.codeSet == 1 && designator.association == 0
        case 8: return designator.codeSet == 3 && count.isMultiple(of: 4) && designator.bytes.last == 0
        default: return true
        }
    }

    private static let identification = [
        test(
            "Identification.Unit", "7.7.6.2.2",
            "Page 83h has a designator of the logical unit of type T10 vendor ID, EUI-64, NAA, name string or UUID."
        ) { wire in
            let designators = try wire.designators().filter { $0.association == 0 }
            try require(
                designators.contains { [1, 2, 3, 8, 10].contains($0.type) && !$0.bytes.isEmpty },
                "a designator that names the unit", got: "types \(designators.map(\.type))")
        },
        test(
            "Identification.Form", "7.7.6.2",
            "Each designator has the code set, the association and the length that its type has."
        ) { wire in
            for designator in try wire.designators() {
                try require(
                    designator.association <= 2 && (1...3).contains(designator.codeSet)
                        && isWellFormed(designator),
                    "a designator of type \(designator.type) as the standard has it",
                    got: "code set \(designator.codeSet), association \(designator.association), "
                        + "\(designator.bytes.count) bytes")
            }
        },
        ConformanceTest(
            "SPC.Identification.Everywhere", standard: "SPC-5 clause 7.7.6",
            "The designators of the logical unit are the same for each I_T nexus."
        ) { bench in
            let (first, second) = (try bench.logInToUnit(), try bench.logInToUnit())
            let one = try first.designators().filter { $0.association == 0 }
            let other = try second.designators().filter { $0.association == 0 }
            try require(one == other, "the same designators", got: "others")
        },
        test(
            "Identification.Unique", "7.7.6.1",
            "Two logical units do not have a designator in common that names a unit.",
            .secondDisk
        ) { wire in
            func names(_ unit: LogicalUnitNumber?) throws -> Set<Wire.Designator> {
                Set(
                    try wire.designators(on: unit).filter { $0.association == 0 && [1, 2, 3, 8, 10].contains($0.type) })
            }
            let common = try names(nil).intersection(try names(wire.bench.survey.secondDisk))
            try require(common.isEmpty, "no designator in common", got: "\(common.count)")
        },
    ]
}

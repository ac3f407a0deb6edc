internal import Bytes
internal import ISCSI
internal import SCSI

/// MODE SENSE and MODE SELECT (SPC-5 clauses 6.11 to 6.14 and 7.5).
enum SPCModeTests {
    static let all = sensing + selecting + changing

    private static let allPages: UInt8 = 0x3F

    private static func test(
        _ name: String, _ clause: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("SPC.Mode\(name)", standard: "SPC-5 clause \(clause)", rule, requirements) { bench in
            let wire = try bench.logInToUnit()
            guard try !wire.modeSense(allPages).isUnknownCommand else {
                throw TestEnd.skipped("the unit does not have MODE SENSE(10)")
            }
            try body(wire)
        }
    }

    // MARK: MODE SENSE

    private static let sensing = [
        test(
            "Sense.Pages", "6.13",
            "MODE DATA LENGTH and page lengths fit the data, and each page comes once, in the page_0 format."
        ) { wire in
            let pages = try wire.modeParameters(allPages).pages
            try require(!pages.isEmpty, "mode pages", got: "none")
            for page in pages where page.subpage != 0 {
                throw TestEnd.failed(
                    expected: "no subpages", got: "\(Wire.hex(page.subpage)) of page \(Wire.hex(page.code))")
            }
            let codes = pages.map(\.code)
            try require(
                Set(codes).count == codes.count, "each page once", got: codes.map(Wire.hex).joined(separator: " "))
        },
        test("Sense.Short", "6.13", "MODE SENSE(6) has the same pages and block descriptor as MODE SENSE(10).") {
            wire in
            try wire.need("MODE SENSE(6)", OperationCode.modeSense6)
            let long = try wire.modeParameters(allPages, hasBlockDescriptors: true)
            guard long.pages.reduce(12, { $0 + $1.bytes.count }) < 255 else {
                throw TestEnd.skipped("MODE SENSE(6) has no room for all pages")
            }
            let short = try wire.modeParameters(allPages, isLong: false, hasBlockDescriptors: true)
            try require(
                short.pages.map(\.bytes) == long.pages.map(\.bytes), "the same pages",
                got: "\(short.pages.count) others")
            try require(
                short.blockDescriptor == long.blockDescriptor, "the same block descriptor",
                got: "\(short.blockDescriptor)")
            try require(
                short.deviceSpecificParameter == long.deviceSpecificParameter && short.mediumType == long.mediumType,
                "the same medium type and device-specific parameter", got: "others")
        },
        test("Sense.BlockDescriptor", "6.13", "With DBD there is no block descriptor; without it, one of eight bytes.")
        {
            wire in
            let without = try wire.modeParameters(allPages).blockDescriptor
            try require(without.isEmpty, "no block descriptor with DBD", got: "\(without.count) bytes")
            let with = try wire.modeParameters(allPages, hasBlockDescriptors: true).blockDescriptor
            try require(with.count.isMultiple(of: 8), "block descriptors of 8 bytes", got: "\(with.count) bytes")
        },
        test(
            "Sense.Truncated", "4.2.5.6",
            "MODE DATA LENGTH is that of all pages, whatever ALLOCATION LENGTH is, which is no error."
        ) { wire in
            let whole = try expectGood(try wire.modeSense(allPages), "MODE SENSE")
            for length in [0, 1, 2, 8, 9, 20] {
                let part = try expectGood(
                    try wire.modeSense(allPages, allocationLength: length),
                    "MODE SENSE with ALLOCATION LENGTH \(length)")
                try require(part == Array(whole.prefix(length)), "the first \(length) bytes", got: "others")
            }
        },
        test(
            "Sense.Control", "6.13.1",
            "Changeable and default values have the form of the current ones; saved ones too, where there are some."
        ) { wire in
            let current = try wire.modeParameters(allPages).pages.map(\.header)
            for control in [Wire.PageControl.changeable, .defaults] {
                let pages = try wire.modeParameters(allPages, control).pages.map(\.header)
                try require(
                    pages.map { $0.dropFirst() } == current.map { $0.dropFirst() },
                    "pages of the same lengths with PC \(control)",
                    got: "\(pages.count) others")
            }
            let saved = try wire.modeSense(allPages, .saved)
            guard !saved.isGood else {
                let pages = try ModeParameters(parsing: saved.dataIn, isLong: true).pages.map(\.header)
                return try require(
                    pages.map { $0.dropFirst() } == current.map { $0.dropFirst() }, "saved pages of the same lengths",
                    got: "\(pages.count) others")
            }
            try expectSense(saved, .illegalRequest, .savingParametersNotSupported, "MODE SENSE of saved values")
        },
        test("Sense.OnePage", "6.13", "A page that is asked for alone is the one among all.") { wire in
            for page in try wire.modeParameters(allPages).pages where page.subpage == 0 && page.code != 0 {
                let alone = try wire.modeParameters(page.code).pages
                try require(
                    alone.count == 1 && alone[0].bytes == page.bytes, "page \(Wire.hex(page.code)) alone",
                    got: "\(alone.count) pages, or another content")
            }
        },
        test(
            "Sense.UnknownPage", "6.13", "A page, or a subpage, that is not there is refused with INVALID FIELD IN CDB."
        ) { wire in
            let pages = Set(try wire.modeParameters(allPages).pages.map(\.code))
            // Only changers have some of them.
            for page: UInt8 in [0x17, 0x1E, 0x1F] where !pages.contains(page) {
                try expectInvalidField(try wire.modeSense(page), at: [2], "MODE SENSE of page \(Wire.hex(page))")
                let long = try wire.modeSense(page, .changeable)
                try expectInvalidField(long, at: [2], "MODE SENSE of changeable values of page \(Wire.hex(page))")
            }
            try expectInvalidField(
                try wire.modeSense(0x0A, subpage: 0xDD), at: [2, 3], "MODE SENSE of subpage DDh of page 0Ah")
        },
        test("Sense.Subpages", "6.13", "Page 3Fh with subpage FFh has each page of 3Fh with subpage 00h.") { wire in
            let plain = try wire.modeParameters(allPages).pages
            let result = try wire.modeSense(allPages, subpage: 0xFF)
            guard result.isGood else {
                return try expectInvalidField(result, at: [2, 3], "MODE SENSE of all subpages")
            }
            let all = try ModeParameters(parsing: result.dataIn, isLong: true).pages.map(\.bytes)
            for page in plain where !all.contains(page.bytes) {
                throw TestEnd.failed(expected: "page \(Wire.hex(page.code)) among them", got: "\(all.count) others")
            }
        },
    ]

    // MARK: MODE SELECT

    /// A test of MODE SELECT lists that are wrong, after which all pages are as they were.
    private static func refusal(
        _ name: String, _ clause: String, _ rule: String,
        body: @escaping @Sendable (Wire, ModeParameters, ModeParameters.Page, UInt8) throws -> Void
    ) -> ConformanceTest {
        test("Select.\(name)", clause, rule, .dataLoss) { wire in
            try wire.need("MODE SELECT(10)", OperationCode.modeSelect10)
            let before = try wire.modeParameters(allPages)
            guard let page = before.pages.first(where: { $0.subpage == 0 && $0.content.count >= 4 && $0.code != 0 })
            else { throw TestEnd.skipped("there is no mode page") }
            try body(wire, before, page, wire.bench.survey.deviceType)
            let after = try wire.modeParameters(allPages)
            try require(
                after.pages.map(\.bytes) == before.pages.map(\.bytes), "the mode pages as they were", got: "others")
        }
    }

    private static let selecting = [
        refusal(
            "Cut", "6.12", "A list that ends in the middle of header or page meets PARAMETER LIST LENGTH ERROR."
        ) { wire, parameters, page, type in
            let list = parameters.list(page, deviceType: type)
            for length in 1..<list.count where length != 8 {
                try expectSense(
                    try wire.modeSelect(list, length: length), .illegalRequest, .parameterListLengthError,
                    "MODE SELECT of \(length) of \(list.count) bytes")
            }
        },
        refusal(
            "CutShort", "6.11", "In MODE SELECT(6) such a list meets PARAMETER LIST LENGTH ERROR too."
        ) { wire, parameters, page, type in
            try wire.need("MODE SELECT(6)", OperationCode.modeSelect6)
            let long = parameters.list(page, deviceType: type)
            let list = [0, long[2], long[3], 0] + page.bytes
            for length in 1..<list.count where length != 4 {
                let cdb = [OperationCode.modeSelect6, 0x10, 0, 0, UInt8(length), 0]
                try expectSense(
                    try wire.run(.writing(cdb, Array(list.prefix(length)))), .illegalRequest, .parameterListLengthError,
                    "MODE SELECT(6) of \(length) of \(list.count) bytes")
            }
        },
        refusal("Nothing", "6.11", "A PARAMETER LIST LENGTH of zero is no error, and changes nothing.") {
            wire, _, _, _ in
            let other = try wire.bench.logInToUnit()
            try expectGood(try wire.modeSelect([]), "MODE SELECT of nothing")
            try other.expectNoAttention("nothing was changed")
        },
        refusal(
            "Same", "6.11", "A page with the values that it has is taken."
        ) { wire, parameters, page, type in
            try expectGood(
                try wire.modeSelect(parameters.list(page, deviceType: type)), "MODE SELECT of the current values")
        },
        refusal(
            "Unchangeable", "6.11",
            "Another value in a bit that cannot be changed meets INVALID FIELD IN PARAMETER LIST."
        ) { wire, parameters, _, type in
            for page in parameters.pages where page.subpage == 0 && page.code != 0 {
                let mask = try wire.modeParameters(page.code, .changeable).pages.first?.content ?? []
                for index in page.content.indices where index < mask.count && mask[index] != 0xFF {
                    var changed = page
                    changed.content[index] ^= 0x80 >> UInt8((~mask[index]).leadingZeroBitCount)
                    try expectInvalidField(
                        try wire.modeSelect(parameters.list(changed, deviceType: type)),
                        at: [8 + page.header.count + index],
                        isInCommand: false, "MODE SELECT of another byte \(index) of page \(Wire.hex(page.code))")
                    break
                }
            }
        },
        refusal(
            "PageLength", "6.11", "A page with another PAGE LENGTH meets INVALID FIELD IN PARAMETER LIST."
        ) { wire, parameters, page, type in
            var longer = page
            longer.header[1] += 2
            longer.content += [0, 0]
            try expectInvalidField(
                try wire.modeSelect(parameters.list(longer, deviceType: type)), at: [9], isInCommand: false,
                "MODE SELECT of a page that is too long")
        },
        refusal(
            "AllOrNothing", "6.11", "A list that is wrong in its second page does not change what is in its first one."
        ) { wire, parameters, page, type in
            guard let bit = try ModeBit.harmless.first(where: { try wire.canChange($0) }),
                var first = parameters.pages.first(where: { $0.code == bit.code && $0.subpage == 0 })
            else { throw TestEnd.skipped("MODE SELECT changes none of the bits D_SENSE, TAS, DEXCPT, WCE and SWP") }
            let former = parameters.list(first, deviceType: type)
            first.content[bit.byte] ^= bit.mask
            var unknown = page
            unknown.header[0] = 0x17
            let list = parameters.list(first, deviceType: type)
            let other = try wire.bench.logInToUnit()
            try ending(with: {
                guard try wire.modeParameters(bit.code).pages.first?.content == first.content else { return }
                try expectGood(try wire.modeSelect(former), "MODE SELECT of the former page")
            }) {
                try expectInvalidField(
                    try wire.modeSelect(list + unknown.bytes), at: [list.count], isInCommand: false,
                    "MODE SELECT of a page and an unknown page")
                let found = try wire.modeParameters(bit.code).pages.first?.content
                try require(found != first.content, "the first page as it was", got: "it changed")
                try other.expectNoAttention("nothing was changed")
            }
        },
        refusal(
            "UnknownPage", "6.11", "A page that is not there meets INVALID FIELD IN PARAMETER LIST."
        ) { wire, parameters, page, type in
            let pages = Set(parameters.pages.map(\.code))
            var unknown = page
            for code: UInt8 in [0x17, 0x1F] where !pages.contains(code) {
                unknown.header[0] = code
                try expectInvalidField(
                    try wire.modeSelect(parameters.list(unknown, deviceType: type)), at: [8], isInCommand: false,
                    "MODE SELECT of page \(Wire.hex(code))")
            }
        },
    ]

    // MARK: Changes

    /// A test that changes a bit, whichever can be changed and does least harm.
    private static func change(
        _ name: String, _ clause: String, _ rule: String,
        body: @escaping @Sendable (Wire, Wire, ModeBit, UInt8) throws -> Void
    ) -> ConformanceTest {
        test("Change.\(name)", clause, rule, .dataLoss) { first in
            let second = try first.bench.logInToUnit()
            guard let bit = try ModeBit.harmless.first(where: { try first.canChange($0) }) else {
                throw TestEnd.skipped("MODE SELECT changes none of the bits D_SENSE, TAS, DEXCPT, WCE and SWP")
            }
            let page = try first.modeParameters(bit.code).pages.first
            let value = ~(page?.content[bit.byte] ?? 0) & bit.mask
            try ending(with: try first.change(bit, to: value)) { try body(first, second, bit, value) }
        }
    }

    private static let changing = [
        change("Values", "6.11", "What MODE SELECT changes, MODE SENSE gives to each I_T nexus.") {
            first, second, bit, value in
            try second.takeUnitAttentions()
            for wire in [first, second] {
                let content = try wire.modeParameters(bit.code).pages.first?.content ?? []
                try require(
                    bit.byte < content.count && content[bit.byte] & bit.mask == value, "the changed bit",
                    got: "the former")
            }
        },
        change(
            "Attention", "6.11", "MODE SELECT tells each other I_T nexus of the change, once: MODE PARAMETERS CHANGED."
        ) { first, second, _, _ in
            try second.expectOneAttention(.modeParametersChanged, "MODE SELECT of another nexus")
            try first.expectNoAttention("it has changed the parameters itself")
        },
        test(
            "Change.Saved", "6.11",
            "With SP what MODE SELECT changes is saved: it is there after a reset; without PS it cannot be.", .dataLoss
        ) { wire in
            let parameters = try wire.modeParameters(allPages)
            let candidates = try ModeBit.harmless.filter { try wire.canChange($0) }
            let isSavable = { (bit: ModeBit) in
                parameters.pages.contains { $0.code == bit.code && $0.header[0] & 0x80 != 0 }
            }
            guard let bit = candidates.first(where: isSavable),
                let saved = try ModeParameters(
                    parsing: try expectGood(try wire.modeSense(bit.code, .saved), "MODE SENSE of saved values"),
                    isLong: true
                ).pages.first
            else { throw TestEnd.skipped("no page that can be changed has PS") }
            let type = wire.bench.survey.deviceType
            var changed = saved
            changed.content[bit.byte] ^= bit.mask
            try ending(with: {
                try wire.takeUnitAttentions()
                try expectGood(
                    try wire.modeSelect(parameters.list(saved, deviceType: type), saves: true),
                    "MODE SELECT of the former saved values")
            }) {
                try expectGood(
                    try wire.modeSelect(parameters.list(changed, deviceType: type), saves: true),
                    "MODE SELECT with SP")
                let kept = try ModeParameters(
                    parsing: try expectGood(try wire.modeSense(bit.code, .saved), "MODE SENSE of saved values"),
                    isLong: true)
                try require(
                    kept.pages.first?.content == changed.content, "saved values with the change", got: "others")
                guard try wire.manageTasks(.logicalUnitReset) == .functionComplete else { return }
                try wire.takeUnitAttentions()
                let current = try wire.modeParameters(bit.code).pages.first?.content
                try require(current == changed.content, "the saved values after a reset", got: "others")
            }
        },
    ]
}

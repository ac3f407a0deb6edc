internal import Bytes
internal import Initiator
internal import SCSI

/// EXTENDED COPY and what is told of it (SPC-5 clauses 5.17, 6.4, 6.5 and 6.22 to 6.26).
enum CopyTests {
    static let all = lists + segments + status

    private static let first = UInt64(Disk.scratch)

    /// A test of a disk, of a clause of SPC.
    static func test(
        _ name: String, _ clause: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Disk) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("Copy.\(name)", standard: "SPC-5 clause \(clause)", rule, [.disk] + requirements) { bench in
            try body(try Disk(try bench.logInToUnit()))
        }
    }

    /// A list of one segment of four blocks within the scratch blocks.
    private static func sample(_ disk: Disk, _ form: Copying.Form) throws -> [UInt8] {
        let segment = Copying.Segment(from: first, to: first + 16, count: 4)
        return Copying.list(form, [try disk.copyDescriptor()], segments: [segment.bytes(form)])
    }

    /// Requires that each of `lists` is refused with one of `codes`, and that nothing is copied.
    private static func expectRefused(
        _ disk: Disk, _ form: Copying.Form, _ lists: [(what: String, list: [UInt8])], _ codes: [AdditionalSenseCode],
        keys: [SenseKey] = [.illegalRequest]
    ) throws {
        let before = try disk.fill(Disk.scratch, 32, seed: 3)
        for (what, list) in lists {
            let result = try disk.wire.run(Copying.out(form.action, list))
            if result.isUnknownCommand { throw TestEnd.skipped("the unit does not have \(form.name)") }
            try require(
                keys.contains { key in codes.contains { result.has(key, $0) } },
                "\(form.name) with \(what) to end with \(SenseData(keys[0], codes[0]).summary)", got: result.summary)
        }
        try disk.expect(before, at: Disk.scratch, "all blocks as they were")
    }

    // MARK: Parameter lists

    private static let lists = [
        test("List.Nothing", "6.4.1", "A PARAMETER LIST LENGTH of zero copies nothing, and is no error.") { disk in
            for form in try disk.copyForms() {
                try expectGood(try disk.wire.run(Copying.out(form.action, [])), "\(form.name) without a list")
            }
        },
        test(
            "List.Cut", "6.4.1",
            "A PARAMETER LIST LENGTH that cuts header or descriptors meets PARAMETER LIST LENGTH ERROR; nothing is "
                + "copied.", .dataLoss
        ) { disk in
            for form in try disk.copyForms() {
                let list = try sample(disk, form)
                let lengths = [1, form.headerLength - 1, form.headerLength + 31, list.count - 1]
                try expectRefused(
                    disk, form, lengths.map { ("\($0) of \(list.count) bytes", Array(list.prefix($0))) },
                    [.parameterListLengthError])
            }
        },
        test(
            "List.Lengths", "6.4.2",
            "List lengths that exceed the parameter list, or end inside a descriptor, are refused; nothing is copied.",
            .dataLoss
        ) { disk in
            for form in try disk.copyForms() {
                let list = try sample(disk, form)
                let lies: [(Int, UInt16)] = [
                    (form.descriptorLengthOffset, 0xFFE0), (form.descriptorLengthOffset, 31),
                    (form.descriptorLengthOffset, 33), (form.segmentLengthOffset, 0xFFF0),
                    (form.segmentLengthOffset, 27), (form.segmentLengthOffset, 29),
                ]
                try expectRefused(
                    disk, form,
                    lies.map { offset, value in
                        var lying = list
                        lying.replaceSubrange(offset..<offset + 2, with: [UInt8(value >> 8), UInt8(value & 0xFF)])
                        return ("\(value) in byte \(offset)", lying)
                    },
                    // A descriptor list that is cut elsewhere may be found out by what comes in its place.
                    [
                        .parameterListLengthError, .invalidFieldInParameterList, .unsupportedTargetDescriptorTypeCode,
                        .unsupportedSegmentDescriptorTypeCode,
                    ], keys: [.illegalRequest, .copyAborted])
            }
        },
        test(
            "List.Types", "6.4.5.1",
            "Descriptors of a type that the unit does not list meet UNSUPPORTED CSCD or SEGMENT DESCRIPTOR TYPE CODE.",
            .dataLoss
        ) { disk in
            for form in try disk.copyForms() {
                let known = try? parameters(disk).descriptors
                let list = try sample(disk, form)
                // Those of fibre channel names, and of embedded blocks.
                for (offset, type, code) in [
                    (form.headerLength, 0xFE, AdditionalSenseCode.unsupportedTargetDescriptorTypeCode),
                    (form.headerLength + Copying.descriptorLength, 0xBE, .unsupportedSegmentDescriptorTypeCode),
                ] as [(Int, UInt8, AdditionalSenseCode)] where known?.contains(type) != true {
                    var other = list
                    other[offset] = type
                    try expectRefused(
                        disk, form, [("descriptor type \(Wire.hex(type))", other)], [code],
                        keys: [.illegalRequest, .copyAborted])
                }
            }
        },
        test(
            "List.TooMany", "6.22",
            "More descriptors than the operating parameters allow meet TOO MANY CSCD or SEGMENT DESCRIPTORS.",
            .dataLoss
        ) { disk in
            let limits = try parameters(disk)
            let most = 512
            for form in try disk.copyForms() {
                let descriptor = try disk.copyDescriptor()
                let segment = Copying.Segment(from: first, to: first + 16, count: 1).bytes(form)
                if (1..<most).contains(limits.maximumDescriptors) {
                    let count = limits.maximumDescriptors + 1
                    let list = Copying.list(
                        form, [[UInt8]](repeating: descriptor, count: count), segments: [segment])
                    try expectRefused(
                        disk, form, [("\(count) CSCD descriptors", list)],
                        [.tooManyTargetDescriptors, .parameterListLengthError])
                }
                if (1..<most).contains(limits.maximumSegments) {
                    let count = limits.maximumSegments + 1
                    let list = Copying.list(form, [descriptor], segments: [[UInt8]](repeating: segment, count: count))
                    try expectRefused(
                        disk, form, [("\(count) segment descriptors", list)],
                        [.tooManySegmentDescriptors, .parameterListLengthError])
                }
            }
        },
    ]

    // MARK: Segments

    /// Requires that a copy fails as one that cannot be carried out, and that nothing is copied.
    private static func expectAborted(_ disk: Disk, _ segment: Copying.Segment, _ what: String) throws {
        let before = try disk.fill(Disk.scratch, 32, seed: 4)
        for form in try disk.copyForms() {
            let result = try disk.copy(form, [try disk.copyDescriptor()], [segment])
            if result.isUnknownCommand { throw TestEnd.skipped("the unit does not have \(form.name)") }
            try require(
                result.sense?.key == .copyAborted || result.sense?.key == .illegalRequest,
                "\(form.name) \(what) to end with COPY ABORTED", got: result.summary)
        }
        try disk.expect(before, at: Disk.scratch, "all blocks as they were")
    }

    private static let segments = [
        test(
            "Segment.Itself", "6.4.6.4",
            "Blocks are copied within the unit that is named as source and destination, and no others are changed.",
            .dataLoss
        ) { disk in
            for (seed, form) in try disk.copyForms().enumerated() {
                let before = try disk.fill(Disk.scratch, 32, seed: 10 + seed)
                let segment = Copying.Segment(from: first + 2, to: first + 20, count: 5)
                try expectGood(try disk.copy(form, [try disk.copyDescriptor()], [segment]), form.name)
                let length = disk.blockLength
                let expected = before[..<(20 * length)] + before[(2 * length)..<(7 * length)] + before[(25 * length)...]
                try disk.expect(Array(expected), at: Disk.scratch, "five blocks copied, and the others as they were")
            }
        },
        test(
            "Segment.Order", "5.17.7.2",
            "Segments are processed in their order: one that reads what another has written before copies that.",
            .dataLoss
        ) { disk in
            for (seed, form) in try disk.copyForms().enumerated() {
                let before = try disk.fill(Disk.scratch, 32, seed: 20 + seed)
                let segments = [
                    Copying.Segment(from: first, to: first + 8, count: 4),
                    Copying.Segment(from: first + 8, to: first + 16, count: 4),
                    Copying.Segment(from: first + 16, to: first + 2, count: 1),
                ]
                try expectGood(try disk.copy(form, [try disk.copyDescriptor()], segments), form.name)
                let four = Array(before.prefix(4 * disk.blockLength))
                try disk.expect(four, at: Disk.scratch + 8, "the first blocks in the second place")
                try disk.expect(four, at: Disk.scratch + 16, "the first blocks in the third place too")
                try disk.expect(
                    Array(four.prefix(disk.blockLength)), at: Disk.scratch + 2, "the first block in the last place")
            }
        },
        test(
            "Segment.Overlap", "6.4.6.4",
            "A segment whose source and destination overlap changes no other blocks than those of its destination.",
            .dataLoss
        ) { disk in
            for (seed, form) in try disk.copyForms().enumerated() {
                for (from, to) in [(4, 7), (7, 4)] {
                    let before = try disk.fill(Disk.scratch, 32, seed: 30 + seed)
                    let segment = Copying.Segment(from: first + UInt64(from), to: first + UInt64(to), count: 6)
                    let result = try disk.copy(form, [try disk.copyDescriptor()], [segment])
                    let length = disk.blockLength
                    try disk.expect(
                        Array(before[..<(to * length)]), at: Disk.scratch, "the blocks before as they were")
                    try disk.expect(
                        Array(before[((to + 6) * length)...]), at: Disk.scratch + to + 6,
                        "the blocks behind as they were")
                    guard result.isGood else { continue }
                    // Which of the shared blocks are read before they are written is left to the copy manager.
                    let edge = from < to ? 0 : 3
                    try disk.expect(
                        Array(before[((from + edge) * length)..<((from + edge + 3) * length)]),
                        at: Disk.scratch + to + edge, "the blocks copied that are not written before they are read")
                }
            }
        },
        test(
            "Segment.OtherUnit", "6.4.6.4", "Blocks are copied to another unit that the copy manager reaches.",
            .dataLoss, .secondDisk
        ) { disk in
            guard let other = disk.wire.bench.survey.secondDisk else { throw TestEnd.skipped("there is no other disk") }
            let descriptors = [try disk.copyDescriptor(), try disk.copyDescriptor(on: other)]
            try disk.wire.clearUnitAttentions(other)
            for (seed, form) in try disk.copyForms().enumerated() {
                let data = try disk.fill(Disk.scratch, 8, seed: 40 + seed)
                let result = try disk.copy(
                    form, descriptors, [Copying.Segment(destination: 1, from: first, to: first + 3, count: 8)])
                guard result.sense?.additionalSenseCode != .copyTargetDeviceNotReachable else {
                    throw TestEnd.skipped("the copy manager does not reach the other unit")
                }
                try expectGood(result, "\(form.name) to another unit")
                var read = Command.read(Disk.scratch + 3, 8, blockLength: disk.blockLength)
                read.logicalUnitNumber = other
                let found = try expectGood(try disk.wire.run(read), "READ of the other unit")
                try require(found == data, "the blocks of the first unit", got: "others")
            }
        },
        test(
            "Segment.Beyond", "5.17.7.4", "A segment that leaves its source or its destination fails, COPY ABORTED.",
            .dataLoss
        ) { disk in
            try expectAborted(
                disk, Copying.Segment(from: disk.last, to: first, count: 2), "from beyond the end")
            try expectAborted(disk, Copying.Segment(from: .max, to: first, count: 1), "from the last address")
            try expectAborted(
                disk, Copying.Segment(from: first, to: disk.count, count: 1), "to beyond the end")
        },
        test(
            "Segment.UnknownID", "6.4.6.1", "A segment with a CSCD descriptor ID that no descriptor has fails.",
            .dataLoss
        ) { disk in
            try expectAborted(
                disk, Copying.Segment(source: 1, from: first, to: first + 8, count: 1), "from a CSCD that is not listed"
            )
            try expectAborted(
                disk, Copying.Segment(destination: 0x7FF, from: first, to: first + 8, count: 1),
                "to a CSCD that is not listed")
        },
        test(
            "Segment.Unreachable", "5.17.7.4",
            "A CSCD that the copy manager does not reach fails, COPY TARGET DEVICE NOT REACHABLE.", .dataLoss
        ) { disk in
            let before = try disk.fill(Disk.scratch, 16, seed: 5)
            let nowhere = Copying.descriptor(
                Wire.Designator(codeSet: 1, association: 0, type: 3, bytes: [0x3F, 0xFF, 0xFF, 0xFE, 1, 2, 3, 4]))
            for form in try disk.copyForms() {
                let result = try disk.copy(
                    form, [nowhere, try disk.copyDescriptor()],
                    [Copying.Segment(source: 0, destination: 1, from: 0, to: first, count: 1)])
                if result.isUnknownCommand { throw TestEnd.skipped("the unit does not have \(form.name)") }
                try require(
                    [SenseKey.copyAborted, .illegalRequest].contains { result.has($0, .copyTargetDeviceNotReachable) },
                    "\(form.name) to end with \(SenseData(.copyAborted, .copyTargetDeviceNotReachable).summary)",
                    got: result.summary)
            }
            try disk.expect(before, at: Disk.scratch, "all blocks as they were")
        },
    ]

    // MARK: What is told

    private struct Parameters {
        var maximumDescriptors: Int
        var maximumSegments: Int
        /// The descriptor type codes that are implemented.
        var descriptors: [UInt8]
    }

    /// What RECEIVE COPY OPERATING PARAMETERS says.
    private static func parameters(_ disk: Disk) throws -> Parameters {
        try disk.needCopies("RECEIVE COPY OPERATING PARAMETERS", Copying.In.operatingParameters, isIn: true)
        let data = try expectGood(
            try disk.wire.run(Copying.receive(Copying.In.operatingParameters)), "RECEIVE COPY OPERATING PARAMETERS")
        try require(data.count >= 44, "44 bytes of operating parameters at least", got: "\(data.count)")
        try require(
            Int(data.rawSpan.loadBE32(at: 0)) == data.count - 4, "AVAILABLE DATA \(data.count - 4)",
            got: "\(data.rawSpan.loadBE32(at: 0))")
        let end = 44 + Int(data[43])
        try require(end <= data.count, "a descriptor list within the data", got: "one of \(data[43]) bytes")
        return Parameters(
            maximumDescriptors: Int(data.rawSpan.loadBE16(at: 8)), maximumSegments: Int(data.rawSpan.loadBE16(at: 10)),
            descriptors: Array(data[44..<end]))
    }

    private static let status = [
        test(
            "Status.Parameters", "6.22",
            "RECEIVE COPY OPERATING PARAMETERS lists the descriptors that there are in ascending order, and is cut "
                + "without error."
        ) { disk in
            let listed = try parameters(disk).descriptors
            try require(
                zip(listed, listed.dropFirst()).allSatisfy(<), "ascending descriptor type codes",
                got: listed.map(Wire.hex).joined(separator: " "))
            for length in [0, 4, 43] {
                let part = try expectGood(
                    try disk.wire.run(Copying.receive(Copying.In.operatingParameters, allocationLength: length)),
                    "RECEIVE COPY OPERATING PARAMETERS with ALLOCATION LENGTH \(length)")
                try require(part.count == length, "\(length) bytes", got: "\(part.count)")
            }
        },
        test(
            "Status.Unknown", "6.24",
            "What is asked about a list identifier that no copy operation of the nexus has is refused."
        ) { disk in
            for (name, action) in [
                ("RECEIVE COPY STATUS(LID1)", Copying.In.statusShort),
                ("RECEIVE COPY FAILURE DETAILS(LID1)", Copying.In.failureDetails),
                ("RECEIVE COPY STATUS(LID4)", Copying.In.statusLong),
                ("RECEIVE ROD TOKEN INFORMATION", Copying.In.tokenInformation),
            ] {
                try disk.needCopies(name, action, isIn: true)
                try expectInvalidField(try disk.wire.run(Copying.receive(action, 0xEE)), at: [2], "\(name) of no copy")
            }
        },
        test(
            "Status.Short", "6.25",
            "RECEIVE COPY STATUS(LID1) says of a copy that has ended that it has, and how many segments it processed.",
            .dataLoss
        ) { disk in
            try disk.needCopies("EXTENDED COPY(LID1)", Copying.Out.extendedCopyShort)
            try disk.needCopies("RECEIVE COPY STATUS(LID1)", Copying.In.statusShort, isIn: true)
            let segment = Copying.Segment(from: first, to: first + 16, count: 2)
            _ = try disk.fill(Disk.scratch, 32, seed: 6)
            try expectGood(
                try disk.copy(.short, identifier: 0x21, [try disk.copyDescriptor()], [segment, segment]),
                "EXTENDED COPY(LID1)")
            let data = try expectGood(
                try disk.wire.run(Copying.receive(Copying.In.statusShort, 0x21)), "RECEIVE COPY STATUS(LID1)")
            try require(data.count == 12 && data.rawSpan.loadBE32(at: 0) == 8, "12 bytes", got: "\(data.count)")
            try require(data[4] & 0x7F == 0x01, "COPY MANAGER STATUS 01h", got: Wire.hex(data[4]))
            try require(
                data.rawSpan.loadBE16(at: 5) == 2, "two segments processed", got: "\(data.rawSpan.loadBE16(at: 5))")
        },
        test(
            "Status.Long", "6.24",
            "RECEIVE COPY STATUS(LID4) says of a copy that has ended how it did, and how much it transferred.",
            .dataLoss
        ) { disk in
            try disk.needCopies("EXTENDED COPY(LID4)", Copying.Out.extendedCopyLong)
            try disk.needCopies("RECEIVE COPY STATUS(LID4)", Copying.In.statusLong, isIn: true)
            _ = try disk.fill(Disk.scratch, 32, seed: 7)
            for (identifier, from, status) in [(0x1234_5678, first, [0x01]), (0x1234_5679, disk.count, [0x02])]
                as [(UInt32, UInt64, [UInt8])]
            {
                let result = try disk.copy(
                    .long, identifier: identifier, [try disk.copyDescriptor()],
                    [Copying.Segment(from: from, to: first + 16, count: 2)])
                try require(result.isGood == (from == first), "GOOD only within the medium", got: result.summary)
                let data = try expectGood(
                    try disk.wire.run(Copying.receive(Copying.In.statusLong, identifier)), "RECEIVE COPY STATUS(LID4)")
                try require(data.count >= 32, "a shared third-party copy status header", got: "\(data.count) bytes")
                try require(data[4] & 0x1F == 0x01, "RESPONSE TO SERVICE ACTION 01h", got: Wire.hex(data[4]))
                try require(
                    status.contains(data[5] & 0x7F), "COPY OPERATION STATUS \(Wire.hex(status[0]))",
                    got: Wire.hex(data[5]))
                guard from == first else { continue }
                // TRANSFER COUNT UNITS 00h to 0Ah: powers of 1024 bytes.
                let units = data[15]
                let bytes = data.rawSpan.loadBE64(at: 16)
                try require(
                    units != 0 || bytes == UInt64(2 * disk.blockLength), "TRANSFER COUNT \(2 * disk.blockLength)",
                    got: "\(bytes)")
            }
        },
    ]
}

internal import Bytes
internal import SCSI

/// SET TARGET PORT GROUPS, and what may be done in each access state (SPC-5 clauses 5.16.2 and 6.45). Each test puts
/// the group back in its state.
enum ALUAStateTests {
    static let all = refusals + changes + states

    private typealias State = Wire.AccessState

    /// A test of the group that the used port is in, of a unit with explicit asymmetric access.
    private static func test(
        _ name: String, _ clause: String, _ rule: String, needs state: UInt8? = nil,
        body: @escaping @Sendable (Wire, Wire, Wire.TargetPortGroup) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("ALUA.\(name)", standard: "SPC-5 clause \(clause)", rule, .dataLoss) { bench in
            let (first, second) = (try bench.logInToUnit(), try bench.logInToUnit())
            guard try first.targetPortGroupSupport() & 2 != 0 else {
                throw TestEnd.skipped("TPGS does not say explicit: there is no SET TARGET PORT GROUPS")
            }
            let group = try first.usedGroup()
            guard group.state <= State.unavailable else {
                throw TestEnd.skipped("the group is in the state \(Wire.hex(group.state))")
            }
            if let state, !group.supports(state) {
                throw TestEnd.skipped("the group does not support the state \(Wire.hex(state))")
            }
            try ending(with: {
                try first.takeUnitAttentions()
                try first.waitForTransitions()
                try set(first, group.state, group)
                try first.takeUnitAttentions()
            }) { try body(first, second, group) }
        }
    }

    private static func set(_ wire: Wire, _ state: UInt8, _ group: Wire.TargetPortGroup) throws {
        try expectGood(
            try wire.setTargetPortGroups([(state, group.identifier)]),
            "SET TARGET PORT GROUPS of the state \(Wire.hex(state))")
        try wire.waitForTransitions()
    }

    private static func expectUnchanged(_ wire: Wire, _ group: Wire.TargetPortGroup) throws {
        let state = try wire.usedGroup().state
        try require(state == group.state, "the state \(Wire.hex(group.state)) to stay", got: Wire.hex(state))
    }

    private static let refusals = [
        test("Set.UnknownGroup", "6.45", "A group that there is not meets INVALID FIELD IN PARAMETER LIST.") {
            first, _, group in
            let known = Set(try first.targetPortGroups().map(\.identifier))
            guard let unknown = (0x7F00...0x7FFF).map(UInt16.init).first(where: { !known.contains($0) }) else { return }
            try expectInvalidField(
                try first.setTargetPortGroups([(State.optimized, unknown)]), isInCommand: false,
                "SET TARGET PORT GROUPS of an unknown group")
            try expectUnchanged(first, group)
        },
        test(
            "Set.UnknownState", "6.45",
            "A state that is reserved, transitioning, or not supported meets INVALID FIELD IN PARAMETER LIST."
        ) { first, _, group in
            let unsupported = (State.optimized...State.unavailable).filter { !group.supports($0) }
            for state in [5, 0xD, State.transitioning] + unsupported {
                try expectInvalidField(
                    try first.setTargetPortGroups([(state, group.identifier)]), at: [4], isInCommand: false,
                    "SET TARGET PORT GROUPS of the state \(Wire.hex(state))")
            }
            try expectUnchanged(first, group)
        },
        test(
            "Set.Cut", "6.45", "A list that ends in the middle of header or descriptor is refused, and changes nothing."
        ) { first, _, group in
            let other = group.state == State.nonOptimized ? State.optimized : State.nonOptimized
            for length in [1, 3, 5, 6, 7] {
                let result = try first.setTargetPortGroups([(other, group.identifier)], length: length)
                try require(
                    result.sense?.key == .illegalRequest, "\(length) bytes to end with ILLEGAL REQUEST",
                    got: result.summary)
            }
            try expectUnchanged(first, group)
        },
        test("Set.Nothing", "6.45", "A PARAMETER LIST LENGTH of zero is no error, and changes nothing.") {
            first, second, group in
            try expectGood(try first.setTargetPortGroups([], length: 0), "SET TARGET PORT GROUPS of nothing")
            try expectUnchanged(first, group)
            try second.expectNoAttention("nothing was changed")
        },
        test("Set.Same", "6.45", "The state that the group has is taken.") { first, _, group in
            try set(first, group.state, group)
            try expectUnchanged(first, group)
        },
    ]

    // MARK: Changes

    private static let changes = [
        test(
            "Change.Attention", "6.45",
            "A change is told to the other I_T nexuses, once: ASYMMETRIC ACCESS STATE CHANGED.",
            needs: State.nonOptimized
        ) { first, second, group in
            try set(first, other(group), group)
            try second.expectOneAttention(.asymmetricAccessStateChanged, "SET TARGET PORT GROUPS of another nexus")
            try first.expectNoAttention("it has changed the state itself")
        },
        test(
            "Change.Report", "6.37", "The report has the new state, and that SET TARGET PORT GROUPS was the cause.",
            needs: State.nonOptimized
        ) { first, second, group in
            try set(first, other(group), group)
            try second.takeUnitAttentions()
            for wire in [first, second] {
                let found = try wire.usedGroup()
                try require(
                    found.state == other(group), "the state \(Wire.hex(other(group)))", got: Wire.hex(found.state))
                try require(found.status == 1, "STATUS CODE 01h", got: "\(found.status)")
            }
        },
        test(
            "Change.NonOptimized", "5.16.2.4.3", "In the active/non-optimized state commands are performed.",
            needs: State.nonOptimized
        ) { first, second, group in
            try set(first, State.nonOptimized, group)
            try second.takeUnitAttentions()
            for wire in [first, second] {
                try expectGood(try wire.run(.testUnitReady), "TEST UNIT READY")
                try read(wire) { try expectGood($0, "READ") }
            }
        },
    ]

    /// The other of the two active states.
    private static func other(_ group: Wire.TargetPortGroup) -> UInt8 {
        group.state == State.nonOptimized ? State.optimized : State.nonOptimized
    }

    /// A READ of a disk; nothing of others.
    private static func read(_ wire: Wire, _ check: (CommandResult) throws -> Void) throws {
        guard wire.bench.survey.deviceType == 0, wire.bench.survey.blockCount > 0 else { return }
        try check(try wire.run(.read(0, 1, blockLength: wire.bench.survey.blockLength)))
    }

    // MARK: States that keep commands away

    /// What every state but offline allows.
    private static func expectReports(_ wire: Wire) throws {
        try expectGood(try wire.inquire(), "INQUIRY")
        try expectGood(try wire.inquire(page: 0x83), "INQUIRY of VPD page 83h")
        _ = try wire.reportedUnits()
        try expectGood(try wire.requestSense(), "REQUEST SENSE")
        _ = try wire.targetPortGroups()
    }

    private static let states = [
        test(
            "Standby.Refused", "5.16.2.4.4",
            "In the standby state TEST UNIT READY and READ meet NOT READY, TARGET PORT IN STANDBY STATE.",
            needs: State.standby
        ) { first, second, group in
            try set(first, State.standby, group)
            try second.takeUnitAttentions()
            for wire in [first, second] {
                try expectSense(
                    try wire.run(.testUnitReady), .notReady, .targetPortInStandbyState, "TEST UNIT READY in standby")
                try read(wire) { try expectSense($0, .notReady, .targetPortInStandbyState, "READ in standby") }
            }
        },
        test(
            "Standby.Allowed", "5.16.2.4.4",
            "In the standby state INQUIRY, REPORT LUNS, REQUEST SENSE, MODE SENSE and the reports are performed.",
            needs: State.standby
        ) { first, _, group in
            try set(first, State.standby, group)
            try expectReports(first)
            let mode = try first.modeSense(0x3F)
            if !mode.isUnknownCommand { try expectGood(mode, "MODE SENSE in standby") }
            let keys = try first.reserveIn(0)
            if !keys.isUnknownCommand { try expectGood(keys, "PERSISTENT RESERVE IN in standby") }
        },
        test(
            "Standby.Back", "5.16.2.4.4",
            "From the standby state SET TARGET PORT GROUPS leads back, and commands go on.",
            needs: State.standby
        ) { first, second, group in
            try set(first, State.standby, group)
            try second.takeUnitAttentions()
            try set(first, State.optimized, group)
            try second.expectOneAttention(.asymmetricAccessStateChanged, "the way back")
            for wire in [first, second] {
                try expectGood(try wire.run(.testUnitReady), "TEST UNIT READY")
                try read(wire) { try expectGood($0, "READ") }
            }
        },
        test(
            "Unavailable.Refused", "5.16.2.4.5",
            "In the unavailable state TEST UNIT READY meets NOT READY, TARGET PORT IN UNAVAILABLE STATE.",
            needs: State.unavailable
        ) { first, _, group in
            try set(first, State.unavailable, group)
            try expectSense(
                try first.run(.testUnitReady), .notReady, .targetPortInUnavailableState, "TEST UNIT READY")
            try read(first) { try expectSense($0, .notReady, .targetPortInUnavailableState, "READ") }
        },
        test(
            "Unavailable.Allowed", "5.16.2.4.5",
            "In the unavailable state INQUIRY, REPORT LUNS, REQUEST SENSE and the report of groups are performed.",
            needs: State.unavailable
        ) { first, _, group in
            try set(first, State.unavailable, group)
            let data = try expectGood(try first.inquire(), "INQUIRY")
            try require(
                [0, 1].contains((data.first ?? 0xFF) >> 5), "PERIPHERAL QUALIFIER 001b or 000b",
                got: "\(data.prefix(1))")
            try expectReports(first)
        },
        test(
            "Other.Groups", "5.16.2.4", "The state of another group does not keep commands of this port away.",
            needs: State.standby
        ) { first, _, group in
            let others = try first.targetPortGroups().filter {
                $0.identifier != group.identifier && $0.supports(State.standby) && $0.state <= State.unavailable
            }
            guard let other = others.first else { throw TestEnd.skipped("there is no other group") }
            try ending(with: { try set(first, other.state, other) }) {
                try set(first, State.standby, other)
                try expectGood(try first.run(.testUnitReady), "TEST UNIT READY")
                try read(first) { try expectGood($0, "READ") }
                try expectUnchanged(first, group)
            }
        },
    ]
}

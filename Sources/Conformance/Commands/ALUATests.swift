internal import Bytes
internal import SCSI

/// REPORT TARGET PORT GROUPS, and what it has in common with INQUIRY (SPC-5 clauses 5.16 and 6.37).
enum ALUATests {
    private typealias State = Wire.AccessState

    /// A test of a unit whose TPGS is not zero.
    private static func test(
        _ name: String, _ clause: String, _ rule: String, body: @escaping @Sendable (Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("ALUA.\(name)", standard: "SPC-5 clause \(clause)", rule) { bench in
            let wire = try bench.logInToUnit()
            guard try wire.targetPortGroupSupport() != 0 else {
                throw TestEnd.skipped("TPGS is zero: the unit has no asymmetric access")
            }
            try body(wire)
        }
    }

    static let all = [
        ConformanceTest(
            "ALUA.Claim.Report", standard: "SPC-5 clause 6.6.2",
            "TPGS is zero exactly where REPORT TARGET PORT GROUPS is not there."
        ) { bench in
            let wire = try bench.logInToUnit()
            let result = try wire.reportTargetPortGroups()
            guard try wire.targetPortGroupSupport() != 0 else {
                // The unit may have access states of its vendor's, which nobody can test.
                return try require(
                    result.isGood || result.sense?.key == .illegalRequest, "GOOD or ILLEGAL REQUEST",
                    got: result.summary)
            }
            try require(result.isGood, "REPORT TARGET PORT GROUPS to end with GOOD", got: result.summary)
        },
        test("Claim.Set", "6.6.2", "TPGS says that there is SET TARGET PORT GROUPS exactly where it is.") { wire in
            let isExplicit = try wire.targetPortGroupSupport() & 2 != 0
            switch try wire.support(OperationCode.maintenanceOut, 0x0A) {
            case .none: try require(!isExplicit, "SET TARGET PORT GROUPS where TPGS says explicit", got: "none")
            case .supported: try require(isExplicit, "TPGS 10b or 11b", got: "01b")
            case .unknown: throw TestEnd.skipped("the unit does not say which commands it has")
            }
        },
        test("Report.Form", "6.37", "The descriptors fill the report; each group and each port is in it once.") {
            wire in
            let groups = try wire.targetPortGroups()
            try require(!groups.isEmpty, "a target port group", got: "none")
            let identifiers = groups.map(\.identifier)
            try require(Set(identifiers).count == identifiers.count, "each group once", got: "\(identifiers)")
            let ports = groups.flatMap(\.ports)
            try require(
                Set(ports).count == ports.count && !ports.contains(0), "each port once, none 0", got: "\(ports)")
        },
        test("Report.Truncated", "4.2.5.6", "RETURN DATA LENGTH is that of all groups, whatever ALLOCATION LENGTH is.")
        {
            wire in
            let whole = try expectGood(try wire.reportTargetPortGroups(), "REPORT TARGET PORT GROUPS")
            for length in [0, 4, 8, 12] {
                let part = try expectGood(
                    try wire.reportTargetPortGroups(allocationLength: length),
                    "REPORT TARGET PORT GROUPS with ALLOCATION LENGTH \(length)")
                try require(part == Array(whole.prefix(length)), "the first \(length) bytes", got: "others")
            }
        },
        test(
            "Report.Extended", "6.37", "The extended header, where it is supported, comes before the same groups."
        ) { wire in
            let plain = try wire.targetPortGroups()
            let result = try wire.reportTargetPortGroups(format: 1)
            guard result.isGood else { return try expectInvalidField(result, at: [1], "the extended header") }
            let data = result.dataIn
            try require(data.count >= 8 && data[4] >> 4 & 7 == 1, "FORMAT TYPE 001b", got: "\(data.prefix(8))")
            try require(try Wire.targetPortGroups(in: data, from: 8) == plain, "the same groups", got: "others")
        },
        test("Report.Format", "6.37", "A reserved PARAMETER DATA FORMAT is refused with INVALID FIELD IN CDB.") {
            wire in
            for format: UInt8 in [2, 7] {
                try expectInvalidField(
                    try wire.reportTargetPortGroups(format: format), at: [1], "PARAMETER DATA FORMAT \(format)")
            }
        },
        test(
            "Report.Port", "7.7.6",
            "The target port group that VPD page 83h names has the relative target port named there, and no other has."
        ) { wire in
            let (group, port) = try wire.usedPort()
            let groups = try wire.targetPortGroups().filter { $0.ports.contains(port) }.map(\.identifier)
            try require(groups == [group], "the port \(port) in the group \(group) alone", got: "in \(groups)")
        },
        test("Report.States", "6.37", "Each group is in a state that it says it supports.") { wire in
            for group in try wire.targetPortGroups() {
                try require(
                    group.supports(group.state) || group.state == State.transitioning,
                    "a supported state of group \(group.identifier)",
                    got: "\(Wire.hex(group.state)) of \(Wire.hex(group.supported))")
                try require(group.status <= 2, "a STATUS CODE", got: "\(group.status)")
            }
        },
        test("Report.Everywhere", "6.37", "Each I_T nexus of the port gets the same report.") { wire in
            let other = try wire.bench.logInToUnit()
            try require(try other.targetPortGroups() == wire.targetPortGroups(), "the same groups", got: "others")
        },
        test("Report.Ports", "7.7.15", "The relative target ports of VPD page 88h are those of the groups.") { wire in
            guard let page = try wire.vitalProductData(0x88) else { throw TestEnd.skipped("page 88h is not listed") }
            var listed: [UInt16] = []
            var offset = 0
            while offset + 8 <= page.count {
                listed.append(page.rawSpan.loadBE16(at: offset + 2))
                offset += 8 + Int(page.rawSpan.loadBE16(at: offset + 6))
                guard offset + 4 <= page.count else { break }
                offset += 4 + Int(page.rawSpan.loadBE16(at: offset + 2))
            }
            let grouped = try wire.targetPortGroups().flatMap(\.ports)
            try require(Set(grouped).isSubset(of: listed), "the ports \(grouped) in page 88h", got: "\(listed)")
        },
    ]
}

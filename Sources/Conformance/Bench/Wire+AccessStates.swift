internal import Bytes
internal import SCSI

/// Asymmetric logical unit access (SPC-5 clause 5.16).
extension Wire {
    /// ASYMMETRIC ACCESS STATE.
    enum AccessState {
        static let optimized: UInt8 = 0
        static let nonOptimized: UInt8 = 1
        static let standby: UInt8 = 2
        static let unavailable: UInt8 = 3
        static let transitioning: UInt8 = 0xF
    }

    /// A target port group descriptor.
    struct TargetPortGroup: Equatable {
        var isPreferred: Bool
        var state: UInt8
        /// AO_SUP, AN_SUP, S_SUP, U_SUP, LBD_SUP, O_SUP, T_SUP from bit 0 on.
        var supported: UInt8
        var identifier: UInt16
        var status: UInt8
        var ports: [UInt16]

        /// Whether it supports a state.
        func supports(_ state: UInt8) -> Bool {
            switch state {
            case 0...4: supported & 1 << state != 0
            case 0xE: supported & 0x40 != 0
            case 0xF: supported & 0x80 != 0
            default: false
            }
        }
    }

    /// TPGS: 1 implicit, 2 explicit, 3 both.
    func targetPortGroupSupport() throws -> UInt8 { try standardInquiryData()[5] >> 4 & 3 }

    /// REPORT TARGET PORT GROUPS, in that parameter data format.
    func reportTargetPortGroups(format: UInt8 = 0, allocationLength: Int = 8192) throws -> CommandResult {
        var cdb: [UInt8] = [OperationCode.maintenanceIn, format << 5 | 0x0A, 0, 0, 0, 0]
        cdb.appendBE32(UInt32(allocationLength))
        return try run(.reading(cdb + [0, 0], allocationLength))
    }

    /// The groups of a report, which they must fill.
    static func targetPortGroups(in data: [UInt8], from start: Int = 4) throws -> [TargetPortGroup] {
        try require(data.count >= 4, "a report with a header", got: "\(data.count) bytes")
        try require(
            Int(data.rawSpan.loadBE32(at: 0)) == data.count - 4, "RETURN DATA LENGTH \(data.count - 4)",
            got: "\(data.rawSpan.loadBE32(at: 0))")
        var groups: [TargetPortGroup] = []
        var offset = start
        while offset < data.count {
            let end = offset + 8 <= data.count ? offset + 8 + 4 * Int(data[offset + 7]) : Int.max
            try require(end <= data.count, "groups that fill the report", got: "one that exceeds it")
            groups.append(
                TargetPortGroup(
                    isPreferred: data[offset] & 0x80 != 0, state: data[offset] & 0x0F, supported: data[offset + 1],
                    identifier: data.rawSpan.loadBE16(at: offset + 2), status: data[offset + 5],
                    ports: stride(from: offset + 8, to: end, by: 4).map { data.rawSpan.loadBE16(at: $0 + 2) }))
            offset = end
        }
        return groups
    }

    /// The groups that are reported.
    func targetPortGroups() throws -> [TargetPortGroup] {
        try Self.targetPortGroups(in: try expectGood(try reportTargetPortGroups(), "REPORT TARGET PORT GROUPS"))
    }

    /// The identifiers that VPD page 83h gives of the port that is used: its target port group, and its own.
    func usedPort() throws -> (group: UInt16, port: UInt16) {
        func number(_ type: UInt8) throws -> UInt16 {
            let found = try designators().filter { $0.association == 1 && $0.type == type && $0.bytes.count == 4 }
            guard found.count == 1, let designator = found.first else {
                throw TestEnd.failed(
                    expected: "one designator of type \(type) of the target port", got: "\(found.count)")
            }
            return designator.bytes.rawSpan.loadBE16(at: 2)
        }
        return (try number(5), try number(4))
    }

    /// The group that the used port is in.
    func usedGroup() throws -> TargetPortGroup {
        let group = try usedPort().group
        guard let found = try targetPortGroups().first(where: { $0.identifier == group }) else {
            throw TestEnd.failed(expected: "the group \(group) in the report", got: "others")
        }
        return found
    }

    /// SET TARGET PORT GROUPS.
    func setTargetPortGroups(_ states: [(state: UInt8, group: UInt16)], length: Int? = nil) throws -> CommandResult {
        var list: [UInt8] = [0, 0, 0, 0]
        for (state, group) in states {
            list += [state, 0]
            list.appendBE16(group)
        }
        if let length { list = Array(list.prefix(length)) }
        var cdb: [UInt8] = [OperationCode.maintenanceOut, 0x0A, 0, 0, 0, 0]
        cdb.appendBE32(UInt32(list.count))
        return try run(.writing(cdb + [0, 0], list))
    }

    /// Waits until no group is in transition.
    func waitForTransitions() throws {
        let limit = 200
        for _ in 0..<limit {
            guard try targetPortGroups().contains(where: { $0.state == AccessState.transitioning }) else { return }
            _ = try nextWithin(.milliseconds(50))
        }
        throw TestEnd.inconclusive("a group is in transition without end")
    }
}

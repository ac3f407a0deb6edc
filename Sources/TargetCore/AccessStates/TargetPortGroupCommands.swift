internal import Bytes
internal import Platform
internal import SCSI

extension ITNexus {
    /// The ports that the target has, the one that is used among them, by target port group, in their order.
    var targetPortsByGroup: [(group: UInt16, ports: [UInt16])] {
        let ports = Set(knownTargetPorts() + [targetPort])
        return Dictionary(grouping: ports, by: \.groupIdentifier).sorted { $0.key < $1.key }.map { group, ports in
            (group, ports.map(\.relativeIdentifier).sorted())
        }
    }
}

/// REPORT TARGET PORT GROUPS and SET TARGET PORT GROUPS (SPC-5 clauses 6.37 and 6.45).
extension LogicalUnit {
    /// SERVICE ACTION of MAINTENANCE IN and MAINTENANCE OUT.
    static let targetPortGroupsAction: UInt8 = 0x0A

    /// ASYMMETRIC ACCESS STATE of a group in transition.
    private static let transitioningCode: UInt8 = 0xF
    /// T_SUP, O_SUP, U_SUP, S_SUP, AN_SUP, AO_SUP: all states but the logical block dependent one.
    private static let supportedStates: UInt8 = 0xCF

    /// Whether its device type has the commands.
    var managesAccessStates: Bool {
        if case .command = commands.findListed(
            operationCode: OperationCode.maintenanceIn, serviceAction: UInt16(Self.targetPortGroupsAction))
        {
            true
        } else {
            false
        }
    }

    // MARK: REPORT TARGET PORT GROUPS

    func reportTargetPortGroups(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let block = task.commandDescriptorBlock
        // PARAMETER DATA FORMAT: length only, or extended header.
        let format = block[1] >> 5
        guard format <= 1 else { return task.failInvalidField(byte: 1, bit: 7) }
        let groups = attachedNexuses.targetPortGroups
        let present = nexus.iTNexus.targetPortsByGroup
        var bytes: [UInt8] = []
        if format == 1 {
            // FORMAT TYPE, and IMPLICIT TRANSITION TIME: the longest, for it is said once for all groups.
            let time = present.map { groups.told(of: $0.group).transitionTime }.max() ?? 0
            bytes += [0x10, time, 0, 0]
        }
        for (group, ports) in present {
            let record = groups.told(of: group)
            let state = groups.isTransitioning(group) ? Self.transitioningCode : record.state.rawValue
            bytes += [(record.isPreferred ? 0x80 : 0) | state, Self.supportedStates]
            bytes.appendBE16(group)
            let listed = ports.prefix(255)
            bytes += [0, record.cause.rawValue, 0, UInt8(listed.count)]
            for port in listed {
                bytes += [0, 0]
                bytes.appendBE16(port)
            }
        }
        var header: [UInt8] = []
        header.appendBE32(UInt32(bytes.count))
        return task.answer(header + bytes, allocationLength: Int(block.bytes.loadBE32(at: 6)))
    }

    // MARK: SET TARGET PORT GROUPS

    /// The most set target port group descriptors of a parameter list.
    private static let maximumDescriptors = 256
    /// How long a descriptor is, and what comes before the first.
    private static let descriptorLength = 4

    /// Checks the CDB, and asks for the parameter list; there need not be one.
    static func beginSetTargetPortGroups(_ task: SCSITask) -> CommandProgress {
        let length = Int(task.commandDescriptorBlock.bytes.loadBE32(at: 6))
        guard length % descriptorLength == 0, length <= (1 + maximumDescriptors) * descriptorLength else {
            return task.failInvalidField(byte: 6)
        }
        return .awaitDataOut(length: length)
    }

    func setTargetPortGroups(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let present = nexus.iTNexus.targetPortsByGroup
        let states: [UInt16: AsymmetricAccessState]
        switch Self.wantedStates(task.parameterList(), present) {
        case .failure(let refusal): return task.failInvalidParameter(byte: refusal.byte, bit: refusal.bit)
        case .success(let wanted): states = wanted
        }
        guard !states.isEmpty else { return task.good() }
        let change = AccessStateChange.explicit(states, of: present.map(\.group))
        let reactor = task.reactor
        return task.wait { [attachedNexuses] wait in
            attachedNexuses.changeAccessStates(change, of: nexus, on: reactor) { outcome in
                // A reactor that is stopping answers nobody any more.
                reactor.postCompletion { wait.end { task in _ = Self.progress(of: outcome, task) } }
            }
        }
    }

    private static func progress(of outcome: AccessStateOutcome, _ task: SCSITask) -> CommandProgress {
        switch outcome {
        case .done: task.good()
        case .busy: task.fail(.notReady, .asymmetricAccessStateTransition)
        case .unkept: task.fail(.hardwareError, .setTargetPortGroupsCommandFailed)
        case .tooMany: task.fail(.illegalRequest, .insufficientResources)
        // An invalid combination of states.
        case .unreachable: task.failInvalidParameter(byte: descriptorLength, bit: 3)
        }
    }

    /// The first field of a parameter list that cannot be.
    private struct Refusal: Error {
        let byte: Int
        var bit: Int?
    }

    /// The states that the parameter list asks for, by group (SPC-5 tables 328 to 330).
    private static func wantedStates(
        _ list: [UInt8], _ present: [(group: UInt16, ports: [UInt16])]
    ) -> Result<[UInt16: AsymmetricAccessState], Refusal> {
        var states: [UInt16: AsymmetricAccessState] = [:]
        for offset in stride(from: descriptorLength, to: list.count, by: descriptorLength) {
            // Neither reserved ones, nor those that cannot be asked for: logical block dependent, transitioning.
            guard let state = AsymmetricAccessState(rawValue: list[offset] & 0x0F) else {
                return .failure(Refusal(byte: offset, bit: 3))
            }
            let identifier = list.rawSpan.loadBE16(at: offset + 2)
            // The secondary state is that of a target port.
            let named = present.first { group, ports in
                state == .offline ? ports == [identifier] : group == identifier
            }
            // Two states of one group are no state.
            guard let named, states.updateValue(state, forKey: named.group) == nil else {
                return .failure(Refusal(byte: offset + 2))
            }
        }
        return .success(states)
    }
}

internal import Bytes
internal import Platform
internal import SCSI

/// The command priorities that SET PRIORITY has given to I_T nexuses (SAM-5 clause 8.7). Any thread.
///
/// They are for simple commands without a priority of their own, and decide nothing where commands run as soon as they
/// come; so a unit only remembers and reports them. A reset of the unit ends them.
final class NexusPriorities: Sendable {
    /// The most nexuses with a priority of their own.
    static let limit = 1024

    private struct State {
        /// What nexuses have that are not listed. 0: none, which is how a unit begins.
        var initial: UInt8 = 0
        var own: [Registrant: UInt8] = [:]
    }
    private let state = Lock(State())

    subscript(nexus: Registrant) -> UInt8 { state.withLock { $0.own[nexus] ?? $0.initial } }

    /// Whether the nexus has another priority than it began with.
    func isSet(_ nexus: Registrant) -> Bool { state.withLock { $0.own[nexus] != nil || $0.initial != 0 } }

    /// Gives a nexus a priority, 0 takes its own away; nil when there is no room, else whether that changes it.
    func set(_ priority: UInt8, of nexus: Registrant) -> Bool? {
        state.withLock { state in
            let former = state.own[nexus] ?? state.initial
            guard priority == 0 || state.own[nexus] != nil || state.own.count < Self.limit else { return nil }
            state.own[nexus] = priority == 0 ? nil : priority
            return former != state.own[nexus] ?? state.initial
        }
    }

    /// Gives all nexuses a priority; 0 takes all away.
    func setAll(_ priority: UInt8) {
        state.withLock { state in
            state.initial = priority
            state.own = [:]
        }
    }

    func clear() { setAll(0) }
}

/// REPORT and SET PRIORITY (SPC-5 clauses 6.34 and 6.45).
extension LogicalUnit {
    /// Where the TransportID begins in the parameter list of SET PRIORITY.
    private static let priorityHeaderLength = 8
    /// Which nexuses SET PRIORITY is about: the one in its parameter list, the one that it came by, or all.
    private enum PriorityScope: UInt8 {
        case listed = 0, own = 1, all = 2
    }

    /// PRIORITY REPORTED 0: of the nexus that asks; 1: of all whose priority was set.
    func reportPriority(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let reported = block[2] >> 6
        guard reported <= 1 else { return task.failInvalidField(byte: 2, bit: 7) }
        let listed = reported == 0 ? [nexus] : attachedNexuses.all.filter { priorities.isSet($0.registrant) }
        var list: [UInt8] = []
        for nexus in listed {
            let transportID = nexus.registrant.transportID.bytes
            list += [priorities[nexus.registrant], 0]
            list.appendBE16(nexus.registrant.targetPort)
            list.appendBE16(0)
            list.appendBE16(UInt16(transportID.count))
            list += transportID
        }
        var bytes: [UInt8] = []
        bytes.appendBE32(UInt32(list.count))
        return task.answer(bytes + list, allocationLength: Int(block.bytes.loadBE32(at: 6)))
    }

    func beginSetPriority(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        guard PriorityScope(rawValue: block[2] >> 6) != nil else { return task.failInvalidField(byte: 2, bit: 7) }
        let length = Int(block.bytes.loadBE32(at: 6))
        guard length > 0 else { return task.good() }
        guard length >= Self.priorityHeaderLength,
            length <= Self.priorityHeaderLength + TransportID.maximumLength
        else { return task.fail(.illegalRequest, .parameterListLengthError) }
        return .awaitDataOut(length: length)
    }

    func setPriority(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let list = task.parameterList()
        guard list.count >= Self.priorityHeaderLength,
            let scope = PriorityScope(rawValue: task.commandDescriptorBlock[2] >> 6)
        else { return task.fail(.illegalRequest, .parameterListLengthError) }
        let priority = list[0] & 0x0F
        guard list[0] & 0xF0 == 0 else { return task.failInvalidParameter(byte: 0, bit: 7) }
        switch scope {
        case .all:
            priorities.setAll(priority)
            attachedNexuses.establishUnitAttention(.priorityChanged, except: nexus)
            return task.good()
        case .own:
            return priorities.set(priority, of: nexus.registrant) == nil
                ? task.fail(.illegalRequest, .insufficientResources) : task.good()
        case .listed: return setPriority(priority, listedIn: list, task, nexus)
        }
    }

    /// The parameter list names a nexus by its TransportID and target port; it is one that is there.
    private func setPriority(
        _ priority: UInt8, listedIn list: [UInt8], _ task: SCSITask, _ nexus: ITLNexus
    ) -> CommandProgress {
        let length = Int(list.rawSpan.loadBE16(at: 6))
        guard list.count >= Self.priorityHeaderLength + length else {
            return task.fail(.illegalRequest, .parameterListLengthError)
        }
        guard let (transportID, used) = TransportID.read(list, at: Self.priorityHeaderLength), used == length else {
            return task.failInvalidParameter(byte: length == 0 ? 6 : Self.priorityHeaderLength)
        }
        let named = Registrant(
            transportID, target: nexus.iTNexus.target.name, targetPort: list.rawSpan.loadBE16(at: 2))
        let nexuses = attachedNexuses.all.filter { $0.registrant == named }
        guard !nexuses.isEmpty else { return task.failInvalidParameter(byte: Self.priorityHeaderLength) }
        guard let isChanged = priorities.set(priority, of: named) else {
            return task.fail(.illegalRequest, .insufficientResources)
        }
        if isChanged {
            for changed in nexuses where changed !== nexus { changed.establishUnitAttention(.priorityChanged) }
        }
        return task.good()
    }
}

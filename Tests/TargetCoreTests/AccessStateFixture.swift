import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TestSupport

@testable import TargetCore

/// A keeper of access states that keeps when the test says so.
final class AccessKeeper: AccessStateKeeper, @unchecked Sendable {
    let kept: [AccessStateRecord]
    private let state = Lock<(records: [[AccessStateRecord]], waiting: [@Sendable (Bool) -> Void])>(([], []))
    /// Whether each record is kept at once.
    private let isQuick: Bool
    let isReadable: Bool

    init(_ kept: [AccessStateRecord] = [], isQuick: Bool = true, isReadable: Bool = true) {
        self.kept = kept
        self.isReadable = isReadable
        self.isQuick = isQuick
    }

    var records: [[AccessStateRecord]] { state.withLock { $0.records } }
    var waiting: Int { state.withLock { $0.waiting.count } }

    func keep(_ records: [AccessStateRecord], completion: @escaping @Sendable (Bool) -> Void) {
        state.withLock { state in
            state.records.append(records)
            if !isQuick { state.waiting.append(completion) }
        }
        if isQuick { completion(isReadable) }
    }

    /// Waits until something is to be kept, and ends that.
    func end(_ isKept: Bool) {
        while waiting == 0 { sleepMilliseconds(1) }
        state.withLock { $0.waiting.removeFirst() }(isKept)
    }
}

extension UnitFixture {
    /// An initiator that has seen its unit attentions, at one of the ports of a target that has `ports`.
    func initiator(
        _ name: String, port: UInt16, of ports: [UInt16] = [1, 2], on reactor: Reactor? = nil
    ) -> InMemoryPort {
        let initiator = InMemoryPort(
            "iqn.2026-11.test:\(name)", target: target, reactor: reactor ?? self.reactor, portIdentifier: port,
            of: ports)
        initiator.clearUnitAttentions()
        return initiator
    }

    /// Changes an access state as the operator does, and gives what comes of it.
    @discardableResult
    func setAccessState(
        _ group: UInt16, _ state: AsymmetricAccessState, isPreferred: Bool = false, time: UInt8 = 0
    ) -> AccessStateOutcome? {
        let found = Lock<AccessStateOutcome?>(nil)
        let record = AccessStateRecord(
            group: group, state: state, isPreferred: isPreferred, transitionTime: time)
        unit.attachedNexuses.setAccessState(record, on: reactor) { outcome in found.withLock { $0 = outcome } }
        return found.withLock { $0 }
    }
}

/// What an initiator sends of REPORT TARGET PORT GROUPS and SET TARGET PORT GROUPS.
extension InMemoryPort {
    func reportTargetPortGroups(
        format: UInt8 = 0, allocationLength: UInt32 = 4096, logicalUnit: Int = 0
    ) -> CommandResult {
        var command: [UInt8] = [OperationCode.maintenanceIn, format << 5 | 0x0A, 0, 0, 0, 0]
        command.appendBE32(allocationLength)
        return execute(command + [0, 0], logicalUnit: logicalUnit)
    }

    /// ASYMMETRIC ACCESS STATE by group.
    func accessStates(logicalUnit: Int = 0) -> [UInt16: UInt8] {
        let data = reportTargetPortGroups(logicalUnit: logicalUnit).dataIn
        var states: [UInt16: UInt8] = [:]
        var offset = 4
        while offset + 8 <= data.count {
            states[data.rawSpan.loadBE16(at: offset + 2)] = data[offset] & 0x0F
            offset += 8 + 4 * Int(data[offset + 7])
        }
        return states
    }

    static func setTargetPortGroupsCommand(length: Int) -> [UInt8] {
        var command: [UInt8] = [OperationCode.maintenanceOut, 0x0A, 0, 0, 0, 0]
        command.appendBE32(UInt32(length))
        return command + [0, 0]
    }

    /// The parameter list with those pairs of ASYMMETRIC ACCESS STATE and TARGET PORT GROUP OR TARGET PORT.
    static func setTargetPortGroupsList(_ states: [(UInt8, UInt16)]) -> [UInt8] {
        var list: [UInt8] = [0, 0, 0, 0]
        for (state, group) in states {
            list += [state, 0]
            list.appendBE16(group)
        }
        return list
    }

    @discardableResult
    func setTargetPortGroups(_ states: [(UInt8, UInt16)], logicalUnit: Int = 0) -> CommandResult {
        let list = Self.setTargetPortGroupsList(states)
        return execute(
            Self.setTargetPortGroupsCommand(length: list.count), logicalUnit: logicalUnit, dataOut: list)
    }
}

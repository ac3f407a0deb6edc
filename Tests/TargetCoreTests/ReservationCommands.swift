import Bytes
import DeviceTestSupport
import SCSI
import TargetCore

/// SERVICE ACTION of PERSISTENT RESERVE OUT.
enum Action {
    static let (register, reserve, release, clear): (UInt8, UInt8, UInt8, UInt8) = (0, 1, 2, 3)
    static let (preempt, preemptAndAbort, registerAndIgnore, move): (UInt8, UInt8, UInt8, UInt8) = (4, 5, 6, 7)
}

/// What an initiator sends of PERSISTENT RESERVE IN and OUT.
extension InMemoryPort {
    /// Whether a command that writes the medium is performed.
    var writes: Bool { execute([ExampleDevice.take, 0, 0, 0, 1, 0], dataOut: [1]).status == .good }
    /// Whether one is that only reads: MODE SENSE.
    var reads: Bool { execute([OperationCode.modeSense6, 0, 0x0A, 0, 255, 0]).status == .good }

    @discardableResult
    func reserveOut(
        _ action: UInt8, _ type: UInt8 = 0, key: UInt64 = 0, newKey: UInt64 = 0, flags: UInt8 = 0,
        transportIDs: [[UInt8]]? = nil
    ) -> CommandResult {
        var list: [UInt8] = []
        list.appendBE64(key)
        list.appendBE64(newKey)
        list += [0, 0, 0, 0, flags, 0, 0, 0]
        if let transportIDs {
            let content = transportIDs.flatMap { $0 }
            list.appendBE32(UInt32(content.count))
            list += content
        }
        return reserveOut(action, type, list: list)
    }

    /// Sends a PREEMPT AND ABORT of type 1, or another, without waiting for it. On the reactor.
    func submitPreemptionOnReactor(
        _ type: UInt8 = 1, key: UInt64, victims: UInt64, completion: @escaping @Sendable (CommandResult) -> Void
    ) {
        var list: [UInt8] = []
        list.appendBE64(key)
        list.appendBE64(victims)
        list += [UInt8](repeating: 0, count: 8)
        let command: [UInt8] = [OperationCode.persistentReserveOut, Action.preemptAndAbort, type, 0, 0, 0, 0, 0, 24, 0]
        submitOnReactor(command, dataOut: list, completion: completion)
    }

    @discardableResult
    func reserveOut(_ action: UInt8, _ type: UInt8 = 0, list: [UInt8]) -> CommandResult {
        var command: [UInt8] = [OperationCode.persistentReserveOut, action, type, 0, 0]
        command.appendBE32(UInt32(list.count))
        return execute(command + [0], dataOut: list)
    }

    func reserveIn(_ action: UInt8, allocationLength: UInt16 = 4096) -> [UInt8] {
        let result = execute([
            OperationCode.persistentReserveIn, action, 0, 0, 0, 0, 0, UInt8(allocationLength >> 8),
            UInt8(allocationLength & 0xFF), 0,
        ])
        return result.status == .good ? result.dataIn : []
    }

    var keys: [UInt64] {
        let data = reserveIn(0)
        return stride(from: 8, to: data.count, by: 8).map { data.rawSpan.loadBE64(at: $0) }
    }

    var generation: UInt32 { reserveIn(0).rawSpan.loadBE32(at: 0) }
    /// Key and type of the reservation.
    var reservation: (key: UInt64, type: UInt8)? {
        let data = reserveIn(1)
        return data.count < 24 ? nil : (data.rawSpan.loadBE64(at: 8), data[21])
    }
}

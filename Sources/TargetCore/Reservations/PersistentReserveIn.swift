internal import Bytes
internal import SCSI

/// PERSISTENT RESERVE IN (SPC-5 clause 6.15).
extension LogicalUnit {
    /// SERVICE ACTION of PERSISTENT RESERVE IN (SPC-5 table 208).
    enum PersistentReserveInAction: UInt8, CaseIterable {
        case readKeys = 0
        case readReservation = 1
        case reportCapabilities = 2
        case readFullStatus = 3
    }

    func persistentReserveIn(_ task: SCSITask, _ action: PersistentReserveInAction) -> CommandProgress {
        // As long as a reservation by RESERVE is there (SPC-2 clause 5.5.1).
        guard !attachedNexuses.isReserved else { return task.end(.reservationConflict) }
        let reservations = attachedNexuses.persistentReservations
        guard !reservations.isLost else { return task.fail(.hardwareError, .persistentReservationInformationLost) }
        let bytes =
            switch action {
            case .readKeys: reservations.keys
            case .readReservation: reservations.reservationData
            case .reportCapabilities: reservations.capabilities
            case .readFullStatus: reservations.fullStatus
            }
        return task.answer(bytes, allocationLength: Int(task.commandDescriptorBlock.bytes.loadBE16(at: 7)))
    }
}

extension PersistentReservations {
    /// PRGENERATION, ADDITIONAL LENGTH and what follows.
    private func withHeader(_ content: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE32(generation)
        bytes.appendBE32(UInt32(content.count))
        return bytes + content
    }

    /// READ KEYS: the key of each registration (SPC-5 table 209).
    var keys: [UInt8] {
        var content: [UInt8] = []
        for registration in registrations { content.appendBE64(registration.key) }
        return withHeader(content)
    }

    /// READ RESERVATION (SPC-5 tables 210 and 211). Without a key where all registrants hold it.
    var reservationData: [UInt8] {
        guard let reservation else { return withHeader([]) }
        var content: [UInt8] = []
        content.appendBE64(reservation.holder.flatMap { self[$0]?.key } ?? 0)
        return withHeader(content + [0, 0, 0, 0, 0, reservation.type.rawValue, 0, 0])
    }

    /// REPORT CAPABILITIES (SPC-5 table 213): REPLACE LOST RESERVATION, compatible reservation handling, SPEC_I_PT,
    /// ALL_TG_PT and APTPL; TEST UNIT READY passes all reservations, and what changes nothing the write exclusive ones
    /// (ALLOW COMMANDS 011b); whether APTPL is in force; all types.
    var capabilities: [UInt8] { [0, 8, 0x9D, 0x80 | 0x30 | (persists ? 1 : 0), 0xEA, 0x01, 0, 0] }

    /// READ FULL STATUS: a descriptor of each registration, which is of one I_T nexus (SPC-5 table 216). Where the unit
    /// is mapped in several targets, their ports are not told apart here.
    var fullStatus: [UInt8] {
        var content: [UInt8] = []
        for registration in registrations {
            let holds = isHolder(registration.registrant)
            let registrant = registration.registrant
            content.appendBE64(registration.key)
            content += [0, 0, 0, 0, holds ? 0x01 : 0, holds ? reservation?.type.rawValue ?? 0 : 0, 0, 0, 0, 0]
            content.appendBE16(registrant.targetPort)
            content.appendBE32(UInt32(registrant.transportID.bytes.count))
            content += registrant.transportID.bytes
        }
        return withHeader(content)
    }
}

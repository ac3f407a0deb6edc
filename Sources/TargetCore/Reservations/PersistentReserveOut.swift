internal import Bytes
internal import SCSI

extension ITLNexus {
    /// Who the nexus is for persistent reservations.
    var registrant: Registrant {
        Registrant(
            TransportID(bytes: iTNexus.initiatorPort.transportID), targetPort: iTNexus.targetPort.relativeIdentifier)
    }
}

extension PersistentReservations.Attention {
    var code: AdditionalSenseCode {
        switch self {
        case .reservationsPreempted: .reservationsPreempted
        case .reservationsReleased: .reservationsReleased
        case .registrationsPreempted: .registrationsPreempted
        }
    }
}

/// PERSISTENT RESERVE OUT (SPC-5 clause 6.16).
extension LogicalUnit {
    /// SERVICE ACTION of PERSISTENT RESERVE OUT (SPC-5 table 219).
    enum PersistentReserveOutAction: UInt8, CaseIterable {
        case register = 0
        case reserve = 1
        case release = 2
        case clear = 3
        case preempt = 4
        case preemptAndAbort = 5
        case registerAndIgnoreExistingKey = 6
        case registerAndMove = 7
    }

    /// How long the parameter list is without TransportIDs.
    private static let basicLength = 24
    /// The longest: the basic part, a length, and the TransportIDs of as many as may be registered.
    private static let maximumLength =
        28 + PersistentReservations.Limit.registrations * TransportID.maximumLength

    /// Checks the CDB, and asks for the parameter list.
    func beginPersistentReserveOut(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let length = Int(block.bytes.loadBE32(at: 5))
        guard length >= Self.basicLength, length <= Self.maximumLength else {
            return task.fail(.illegalRequest, .parameterListLengthError)
        }
        return .awaitDataOut(length: length)
    }

    /// Performs it.
    func persistentReserveOut(
        _ task: SCSITask, _ nexus: ITLNexus, _ action: PersistentReserveOutAction
    ) -> CommandProgress {
        // As long as a reservation by RESERVE is there (SPC-2 clause 5.5.1).
        guard !attachedNexuses.isReserved else { return task.end(.reservationConflict) }
        let list = task.parameterList()
        guard list.count >= Self.basicLength else { return task.fail(.illegalRequest, .parameterListLengthError) }
        let parameters = Parameters(
            key: list.rawSpan.loadBE64(at: 0), actionKey: list.rawSpan.loadBE64(at: 8), list: list)
        let block = task.commandDescriptorBlock
        let type = PersistentReservationType(rawValue: block[2] & 0x0F)
        switch action {
        case .register, .registerAndIgnoreExistingKey:
            return register(task, nexus, parameters, ignoresKey: action == .registerAndIgnoreExistingKey)
        case .registerAndMove: return registerAndMove(task, nexus, parameters)
        default: break
        }
        guard list.count == Self.basicLength else { return task.fail(.illegalRequest, .parameterListLengthError) }
        for (bit, mask) in [(3, 0x08), (2, 0x04), (0, 0x01)] as [(Int, UInt8)] where list[20] & mask != 0 {
            return task.failInvalidParameter(byte: 20, bit: bit)
        }
        let who = nexus.registrant
        switch action {
        case .reserve:
            guard block[2] >> 4 == 0 else { return task.failInvalidField(byte: 2, bit: 7) }
            guard let type else { return task.failInvalidField(byte: 2, bit: 3) }
            return change(task) { $0.reserve(who, key: parameters.key, type) }
        case .release:
            return change(task) { $0.release(who, key: parameters.key, block[2] >> 4 == 0 ? type : nil) }
        case .clear: return change(task) { $0.clear(who, key: parameters.key) }
        default:
            guard block[2] >> 4 == 0 else { return task.failInvalidField(byte: 2, bit: 7) }
            guard let type else { return task.failInvalidField(byte: 2, bit: 3) }
            return preempt(task, nexus, parameters, type, aborts: action == .preemptAndAbort)
        }
    }

    private struct Parameters {
        /// RESERVATION KEY.
        let key: UInt64
        /// SERVICE ACTION RESERVATION KEY.
        let actionKey: UInt64
        let list: [UInt8]
    }

    private func change(
        _ task: SCSITask, _ body: (inout PersistentReservations) -> PersistentReservations.Outcome
    ) -> CommandProgress {
        progress(of: attachedNexuses.changePersistentReservations(body).outcome, task)
    }

    private func progress(of outcome: PersistentReservations.Outcome, _ task: SCSITask) -> CommandProgress {
        switch outcome {
        case .good: task.good()
        case .conflict: task.end(.reservationConflict)
        case .refused(.key): task.failInvalidParameter(byte: 8)
        case .refused(.transportID): task.failInvalidParameter(byte: 24)
        case .refused(.release): task.fail(.illegalRequest, .invalidReleaseOfPersistentReservation)
        case .refused(.resources): task.fail(.illegalRequest, .insufficientRegistrationResources)
        }
    }

    // MARK: Registrations

    private func register(
        _ task: SCSITask, _ nexus: ITLNexus, _ parameters: Parameters, ignoresKey: Bool
    ) -> CommandProgress {
        let list = parameters.list
        // Registrations are not kept over a loss of power (PTPL_C zero).
        guard list[20] & 0x01 == 0 else { return task.failInvalidParameter(byte: 20, bit: 0) }
        var others: [TransportID] = []
        if list[20] & 0x08 != 0 {
            // SPEC_I_PT is for REGISTER alone, and for who is not registered.
            let isRegistered = attachedNexuses.persistentReservations.registration(of: nexus.registrant) != nil
            guard !ignoresKey, !isRegistered else { return task.failInvalidParameter(byte: 20, bit: 3) }
            switch Self.transportIDs(list) {
            case .success(let found): others = found
            case .failure(let fault): return fault.fails(task)
            }
        } else if list.count != Self.basicLength {
            return task.fail(.illegalRequest, .parameterListLengthError)
        }
        let who = nexus.registrant
        return change(task) {
            $0.register(
                who, key: parameters.key, newKey: parameters.actionKey, ignoresKey: ignoresKey,
                forAllPorts: list[20] & 0x04 != 0, others: others)
        }
    }

    private enum ListFault: Error {
        case length
        case field(Int)

        func fails(_ task: SCSITask) -> CommandProgress {
            switch self {
            case .length: task.fail(.illegalRequest, .parameterListLengthError)
            case .field(let byte): task.failInvalidParameter(byte: byte)
            }
        }
    }

    /// The TransportIDs behind the basic part (SPC-5 table 222).
    private static func transportIDs(_ list: [UInt8]) -> Result<[TransportID], ListFault> {
        guard list.count >= 28 else { return .failure(.length) }
        let end = 28 + Int(list.rawSpan.loadBE32(at: 24))
        guard end == list.count else { return .failure(end < list.count ? .field(24) : .length) }
        var found: [TransportID] = []
        var offset = 28
        while offset < end {
            guard let transportID = TransportID(list, at: offset) else { return .failure(.field(offset)) }
            found.append(transportID)
            offset += transportID.bytes.count
        }
        return .success(found)
    }

    private func registerAndMove(_ task: SCSITask, _ nexus: ITLNexus, _ parameters: Parameters) -> CommandProgress {
        let list = parameters.list
        guard list[17] & 0x01 == 0 else { return task.failInvalidParameter(byte: 17, bit: 0) }
        let length = Int(list.rawSpan.loadBE32(at: 20))
        guard list.count == Self.basicLength + length else {
            return task.fail(.illegalRequest, .parameterListLengthError)
        }
        guard let transportID = TransportID(list, at: 24), transportID.bytes.count == length else {
            return task.failInvalidParameter(byte: length == 0 ? 20 : 24)
        }
        let port = list.rawSpan.loadBE16(at: 18)
        guard port > 0 else { return task.failInvalidParameter(byte: 18) }
        let who = nexus.registrant
        return change(task) {
            $0.registerAndMove(
                who, key: parameters.key, newKey: parameters.actionKey, to: transportID, targetPort: port,
                unregisters: list[17] & 0x02 != 0)
        }
    }

    // MARK: Preemption

    private func preempt(
        _ task: SCSITask, _ nexus: ITLNexus, _ parameters: Parameters, _ type: PersistentReservationType, aborts: Bool
    ) -> CommandProgress {
        let who = nexus.registrant
        let (outcome, preempted) = attachedNexuses.changePersistentReservations {
            $0.preempt(who, key: parameters.key, victims: parameters.actionKey, type)
        }
        guard case .good = outcome, aborts else { return progress(of: outcome, task) }
        // It ends when the tasks have: nothing of those who were fenced reaches the medium after it, also of those
        // whose nexus is gone or has not come back to the unit.
        let iTNexus = nexus.iTNexus
        return task.wait { wait in iTNexus.abortTasks(of: preempted, on: self) { wait.end() } }
    }
}

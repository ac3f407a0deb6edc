internal import Bytes
internal import Platform
internal import SCSI

extension ITLNexus {
    /// Who the nexus is for persistent reservations.
    var registrant: Registrant { iTNexus.registrant }
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
        case replaceLostReservation = 8
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
        let namesPorts = list[20] & 0x08 != 0
        guard list.count == Self.basicLength || action == .registerAndMove || namesPorts else {
            return task.fail(.illegalRequest, .parameterListLengthError)
        }
        let wanted = Self.wanted(action, list, task.commandDescriptorBlock[2], nexus.iTNexus)
        let request = PersistentReservationRequest(key: list.rawSpan.loadBE64(at: 0), action: wanted)
        let reactor = task.reactor
        return task.wait { [self] wait in
            attachedNexuses.changePersistentReservations(request, of: nexus) { outcome, preempted in
                // A reactor that is stopping answers nobody any more.
                reactor.postCompletion { [self] in
                    guard case .good = outcome, action == .preemptAndAbort else {
                        return wait.end { task in _ = Self.progress(of: outcome, task) }
                    }
                    abortPreempted(preempted, wait, nexus)
                }
            }
        }
    }

    private static func progress(of outcome: PersistentReservations.Outcome, _ task: SCSITask) -> CommandProgress {
        switch outcome {
        case .good: task.good()
        case .conflict: task.end(.reservationConflict)
        case .refused(.command(let byte, let bit)): task.failInvalidField(byte: byte, bit: bit)
        case .refused(.parameter(let byte, let bit)): task.failInvalidParameter(byte: byte, bit: bit)
        case .refused(.length): task.fail(.illegalRequest, .parameterListLengthError)
        case .refused(.release): task.fail(.illegalRequest, .invalidReleaseOfPersistentReservation)
        case .refused(.resources): task.fail(.illegalRequest, .insufficientRegistrationResources)
        case .refused(.lost): task.fail(.hardwareError, .persistentReservationInformationLost)
        case .refused(.unkept): task.fail(.hardwareError, .internalTargetFailure)
        case .refused(.busy): task.end(.busy)
        }
    }

    /// PREEMPT AND ABORT ends when the commands of those who were preempted have: nothing of those who are fenced
    /// reaches the medium after it, also of those whose nexus is gone or has not come back to the unit. Who asks may be
    /// one of them, with its other commands.
    private func abortPreempted(_ preempted: [ITLNexus], _ wait: CommandWait, _ nexus: ITLNexus) {
        let iTNexus = nexus.iTNexus
        let own = preempted.filter { $0.iTNexus === iTNexus }
        iTNexus.forEachTask { other in
            if !wait.isOf(other), own.contains(where: { $0 === other.nexus }) { other.fields.isToBeCleared = true }
        }
        iTNexus.abortTasks(of: preempted, on: self) { wait.end() }
    }

    // MARK: The parameter list

    /// What a service action with that parameter list asks for.
    private static func wanted(
        _ action: PersistentReserveOutAction, _ list: [UInt8], _ scopeAndType: UInt8, _ nexus: ITNexus
    ) -> PersistentReservationRequest.Action {
        let actionKey = list.rawSpan.loadBE64(at: 8)
        switch action {
        case .register, .registerAndIgnoreExistingKey:
            return .register(registering(list, actionKey, nexus, ignoresKey: action != .register))
        case .registerAndMove:
            return .registerAndMove(
                PersistentReservationRequest.Moving(
                    newKey: actionKey, unregisters: list[17] & 0x02 != 0, persists: list[17] & 0x01 != 0,
                    destination: destination(list, nexus)))
        default: break
        }
        // SPEC_I_PT is for REGISTER alone; APTPL and ALL_TG_PT are ignored elsewhere.
        guard list[20] & 0x08 == 0 else { return .refused(.parameter(byte: 20, bit: 3)) }
        switch action {
        case .reserve: return .reserve(scopeAndType)
        case .release: return .release(scopeAndType)
        case .clear: return .clear
        case .replaceLostReservation:
            return .replaceLost(newKey: actionKey, scopeAndType, persists: list[20] & 0x01 != 0)
        default: return .preempt(victims: actionKey, scopeAndType)
        }
    }

    private static func registering(
        _ list: [UInt8], _ newKey: UInt64, _ nexus: ITNexus, ignoresKey: Bool
    ) -> PersistentReservationRequest.Registering {
        var registering = PersistentReservationRequest.Registering(newKey: newKey, ignoresKey: ignoresKey)
        registering.persists = list[20] & 0x01 != 0
        if list[20] & 0x08 != 0 {
            if ignoresKey {
                registering.refusal = .parameter(byte: 20, bit: 3)
            } else {
                registering.others = namedPorts(list, nexus)
            }
        }
        if list[20] & 0x04 != 0 { registering.targetPorts = nexus.knownTargetPorts().map(\.relativeIdentifier) }
        return registering
    }

    /// The initiator ports behind the basic part (SPC-5 table 222). Instead of a device that is named, those are meant
    /// that are known: its ports that are logged in to the target (SPC-5 clause 7.6.4.6).
    private static func namedPorts(
        _ list: [UInt8], _ nexus: ITNexus
    ) -> Result<[PersistentReservationRequest.NamedPort], PersistentReservationRefusal> {
        guard list.count >= 28 else { return .failure(.length) }
        let end = 28 + Int(list.rawSpan.loadBE32(at: 24))
        guard end == list.count else {
            return .failure(end < list.count ? .parameter(byte: 24, bit: nil) : .length)
        }
        var ports: [PersistentReservationRequest.NamedPort] = []
        var known: [ArraySlice<UInt8>: [TransportID]]?
        var offset = 28
        while offset < end {
            guard let (transportID, length) = TransportID.read(list, at: offset), nexus.isOfTransport(transportID)
            else {
                return .failure(.parameter(byte: offset, bit: nil))
            }
            var named = [transportID]
            if transportID.namesDevice {
                let devices = known ?? nexus.target.initiatorPorts
                known = devices
                named = transportID.deviceName.flatMap { devices[$0] } ?? []
                guard !named.isEmpty else { return .failure(.parameter(byte: offset, bit: nil)) }
            }
            ports += named.map { PersistentReservationRequest.NamedPort(transportID: $0, offset: offset) }
            guard ports.count <= PersistentReservations.Limit.registrations else { return .failure(.resources) }
            offset += length
        }
        return .success(ports)
    }

    /// The I_T nexus that REGISTER AND MOVE names (SPC-5 table 225): of an initiator port, and a port that the target
    /// has.
    private static func destination(
        _ list: [UInt8], _ nexus: ITNexus
    ) -> Result<Registrant, PersistentReservationRefusal> {
        let length = Int(list.rawSpan.loadBE32(at: 20))
        guard list.count == basicLength + length else { return .failure(.length) }
        guard length > 0 else { return .failure(.parameter(byte: 20, bit: nil)) }
        guard let (transportID, used) = TransportID.read(list, at: 24), used == length, !transportID.namesDevice,
            nexus.isOfTransport(transportID)
        else { return .failure(.parameter(byte: 24, bit: nil)) }
        let port = list.rawSpan.loadBE16(at: 18)
        guard
            port == nexus.targetPort.relativeIdentifier
                || nexus.knownTargetPorts().contains(where: { $0.relativeIdentifier == port })
        else {
            return .failure(.parameter(byte: 18, bit: nil))
        }
        return .success(Registrant(transportID, target: nexus.target.name, targetPort: port))
    }
}

extension ITNexus {
    /// Whether a TransportID is one of the protocol that the target port speaks.
    fileprivate func isOfTransport(_ transportID: TransportID) -> Bool {
        transportID.protocolIdentifier == targetPort.protocolIdentifier.rawValue
    }
}

extension Target {
    /// The initiator ports that are logged in, by the names of their devices.
    fileprivate var initiatorPorts: [ArraySlice<UInt8>: [TransportID]] {
        var ports: [ArraySlice<UInt8>: Set<TransportID>] = [:]
        for nexus in nexuses {
            let transportID = nexus.registrant.transportID
            if let name = transportID.deviceName { ports[name, default: []].insert(transportID) }
        }
        return ports.mapValues(Array.init)
    }
}

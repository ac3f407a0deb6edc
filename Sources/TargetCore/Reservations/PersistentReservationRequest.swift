/// What a PERSISTENT RESERVE OUT asks for, besides the I_T nexus that it comes from.
struct PersistentReservationRequest: Sendable {
    /// RESERVATION KEY.
    let key: UInt64
    let action: Action

    /// The service action with its parameters. SCOPE and TYPE are byte 2 of the CDB: which of them say something
    /// depends on what there is.
    enum Action: Sendable {
        case register(Registering)
        case reserve(UInt8)
        case release(UInt8)
        case clear
        case preempt(victims: UInt64, UInt8)
        case registerAndMove(Moving)
        case replaceLost(newKey: UInt64, UInt8, persists: Bool)
        /// The parameter list is wrong, whatever there is.
        case refused(PersistentReservationRefusal)
    }

    /// REGISTER, and with `ignoresKey` REGISTER AND IGNORE EXISTING KEY.
    struct Registering: Sendable {
        /// SERVICE ACTION RESERVATION KEY.
        let newKey: UInt64
        let ignoresKey: Bool
        /// APTPL.
        var persists = false
        /// Through which ports of the target it is to be registered besides the one that was used (ALL_TG_PT).
        var targetPorts: [UInt16] = []
        /// The initiator ports in the parameter list, or what is wrong with them; nil without SPEC_I_PT.
        var others: Result<[NamedPort], PersistentReservationRefusal>?
        /// What is wrong with the parameter list, whatever there is.
        var refusal: PersistentReservationRefusal?
    }

    /// An initiator port in the parameter list.
    struct NamedPort: Sendable {
        let transportID: TransportID
        /// Where it stands.
        let offset: Int

        func of(_ target: String, _ targetPort: UInt16) -> Registrant {
            Registrant(transportID, target: target, targetPort: targetPort)
        }
    }

    /// REGISTER AND MOVE.
    struct Moving: Sendable {
        /// SERVICE ACTION RESERVATION KEY.
        let newKey: UInt64
        /// UNREG.
        let unregisters: Bool
        /// APTPL.
        let persists: Bool
        /// The I_T nexus in the parameter list, or what is wrong with the list.
        let destination: Result<Registrant, PersistentReservationRefusal>
    }
}

/// Why a PERSISTENT RESERVE OUT is refused with CHECK CONDITION.
enum PersistentReservationRefusal: Error, Hashable {
    /// INVALID FIELD IN CDB.
    case command(byte: Int, bit: Int)
    /// INVALID FIELD IN PARAMETER LIST.
    case parameter(byte: Int, bit: Int?)
    /// PARAMETER LIST LENGTH ERROR.
    case length
    /// INVALID RELEASE OF PERSISTENT RESERVATION: scope or type are not those of the reservation.
    case release
    /// INSUFFICIENT REGISTRATION RESOURCES.
    case resources
    /// PERSISTENT RESERVATION INFORMATION LOST.
    case lost
    /// It could not be kept: INTERNAL TARGET FAILURE.
    case unkept
    /// Too many wait for theirs to be kept: BUSY.
    case busy
}

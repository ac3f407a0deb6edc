internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// What an initiator sends of PERSISTENT RESERVE IN and OUT.
extension Wire {
    /// SERVICE ACTION of PERSISTENT RESERVE OUT (SPC-5 table 219).
    enum ReserveOutAction: UInt8 {
        case register = 0
        case reserve = 1
        case release = 2
        case clear = 3
        case preempt = 4
        case preemptAndAbort = 5
        case registerAndIgnore = 6
    }

    func reserveOut(
        _ action: ReserveOutAction, _ type: UInt8 = 0, key: UInt64 = 0, newKey: UInt64 = 0, more: [UInt8] = []
    ) throws -> CommandResult {
        var list: [UInt8] = []
        list.appendBE64(key)
        list.appendBE64(newKey)
        list += [UInt8](repeating: 0, count: 8) + more
        var command = Command([
            OperationCode.persistentReserveOut, action.rawValue, type, 0, 0, 0, 0, 0, UInt8(list.count), 0,
        ])
        command.isWrite = true
        command.expectedDataTransferLength = list.count
        command.dataOut = list
        return try run(command)
    }

    func reserveIn(_ action: UInt8, allocationLength: Int = 1024) throws -> CommandResult {
        var command = Command([
            OperationCode.persistentReserveIn, action, 0, 0, 0, 0, 0, UInt8(allocationLength >> 8),
            UInt8(allocationLength & 0xFF), 0,
        ])
        command.isRead = true
        command.expectedDataTransferLength = allocationLength
        return try run(command)
    }

    /// The keys that are registered, and PRGENERATION.
    func registeredKeys() throws -> (keys: [UInt64], generation: UInt32) {
        let result = try reserveIn(0)
        try require(result.isGood && result.dataIn.count >= 8, "READ KEYS to end with GOOD", got: result.summary)
        let data = result.dataIn
        let end = min(data.count, 8 + Int(data.rawSpan.loadBE32(at: 4)))
        return (
            stride(from: 8, to: end - 7, by: 8).map { data.rawSpan.loadBE64(at: $0) }, data.rawSpan.loadBE32(at: 0)
        )
    }

    /// Key and type of the reservation; nil when there is none.
    func presentReservation() throws -> (key: UInt64, type: UInt8)? {
        let result = try reserveIn(1)
        try require(result.isGood, "READ RESERVATION to end with GOOD", got: result.summary)
        let data = result.dataIn
        return data.count < 24 ? nil : (data.rawSpan.loadBE64(at: 8), data[21])
    }
}

/// Persistent reservations between two I_T nexuses of one initiator name.
enum PersistentReservationTests {
    static let all = registering + reserving + preempting

    private static let conflict = SCSIStatus.reservationConflict

    /// Two sessions with the unit, with whose keys nobody is registered, and nobody else is.
    private static func two(_ bench: Bench) throws -> (first: Wire, second: Wire) {
        let (first, second) = (try bench.logInToUnit(), try bench.logInToUnit())
        guard try first.reserveIn(0).isGood else { throw TestEnd.skipped("the unit has no persistent reservations") }
        try clean(first)
        for wire in [first, second] { try wire.clearUnitAttentions(bench.target.logicalUnitNumber) }
        return (first, second)
    }

    /// Ends all registrations.
    private static func clean(_ wire: Wire) throws {
        _ = try wire.reserveOut(.registerAndIgnore, newKey: 0xC1EA)
        _ = try wire.reserveOut(.clear, key: 0xC1EA)
    }

    /// A test between two nexuses, which leaves nobody registered.
    private static func test(
        _ name: String, _ clause: String, _ rule: String, _ body: @escaping @Sendable (Wire, Wire) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("Reservation.\(name)", standard: "SPC-5 clause \(clause)", rule, .disk, .dataLoss) { bench in
            let (first, second) = try two(bench)
            let ended = Result { try body(first, second) }
            try clean(first)
            try ended.get()
        }
    }

    /// The first has the key Ah then, the second Bh.
    private static func registerBoth(_ first: Wire, _ second: Wire) throws {
        for (wire, key) in [(first, 0xA), (second, 0xB)] as [(Wire, UInt64)] {
            try good(try wire.reserveOut(.register, newKey: key), "REGISTER")
        }
    }

    private static func good(_ result: CommandResult, _ what: String) throws {
        try require(result.isGood, "\(what) to end with GOOD", got: result.summary)
    }

    private static func refused(_ result: CommandResult, _ what: String) throws {
        try require(
            result.status == conflict, "\(what) to end with RESERVATION CONFLICT", got: result.summary)
    }

    private static func invalid(_ result: CommandResult, _ code: AdditionalSenseCode, _ what: String) throws {
        try require(
            result.sense?.key == .illegalRequest && result.sense?.additionalSenseCode == code,
            "\(what) to end with sense \(SenseData(.illegalRequest, code).summary)", got: result.summary)
    }

    private static func write(_ wire: Wire) throws -> CommandResult {
        let length = wire.bench.survey.blockLength
        return try wire.run(.write(0, Command.pattern(length, seed: 1), blockLength: length))
    }

    private static func read(_ wire: Wire) throws -> CommandResult {
        try wire.run(.read(0, 1, blockLength: wire.bench.survey.blockLength))
    }

    // MARK: Registrations

    private static let registering = [
        test(
            "Register.Key", "5.14.7", "REGISTER makes, changes and ends a registration only with the key that is there."
        ) { first, second in
            try refused(try first.reserveOut(.register, key: 1, newKey: 0xA), "REGISTER with a key that is not there")
            try good(try first.reserveOut(.register, newKey: 0xA), "REGISTER")
            try refused(try first.reserveOut(.register, newKey: 0xAA), "REGISTER without the key")
            try good(try first.reserveOut(.register, key: 0xA, newKey: 0xAA), "REGISTER with the key")
            let keys = try second.registeredKeys().keys
            try require(keys == [0xAA], "READ KEYS to have the key AAh", got: "\(keys)")
            try good(try first.reserveOut(.register, key: 0xAA), "REGISTER of the key 0")
            try require(try second.registeredKeys().keys.isEmpty, "no registration", got: "one")
        },
        test(
            "Register.Generation", "5.14.7",
            "PRGENERATION rises with REGISTER, CLEAR and PREEMPT, and not with RESERVE."
        ) { first, second in
            let start = try first.registeredKeys().generation
            func expect(_ count: UInt32, _ what: String) throws {
                let found = try first.registeredKeys().generation &- start
                try require(found == count, "PRGENERATION to be \(count) higher after \(what)", got: "\(found)")
            }
            try good(try first.reserveOut(.register, newKey: 0xA), "REGISTER")
            try expect(1, "REGISTER")
            try good(try first.reserveOut(.reserve, 1, key: 0xA), "RESERVE")
            try good(try first.reserveOut(.release, 1, key: 0xA), "RELEASE")
            try expect(1, "RESERVE and RELEASE")
            try good(try second.reserveOut(.register, newKey: 0xB), "REGISTER")
            try good(try first.reserveOut(.preempt, 1, key: 0xA, newKey: 0xB), "PREEMPT")
            try expect(3, "PREEMPT")
            try good(try first.reserveOut(.clear, key: 0xA), "CLEAR")
            try expect(4, "CLEAR")
        },
        test(
            "Register.List", "6.16.3", "A parameter list of another length than 24 bytes is refused, without SPEC_I_PT."
        ) { first, second in
            try invalid(
                try first.reserveOut(.register, newKey: 0xA, more: [0]), .parameterListLengthError,
                "REGISTER with 25 bytes")
            try require(try second.registeredKeys().keys.isEmpty, "no registration", got: "one")
        },
        test(
            "Register.Unregistered", "5.14.6", "All service actions but those that register need a registration."
        ) { first, _ in
            for action in [Wire.ReserveOutAction.reserve, .release, .clear, .preempt, .preemptAndAbort] {
                try refused(try first.reserveOut(action, 1, newKey: 1), "service action \(action.rawValue)")
            }
        },
    ]

    // MARK: Reservations

    /// Who may do what: type, whether the other registrant may read and write, and whether one who is not may.
    private static let types:
        [(type: UInt8, registrant: (reads: Bool, writes: Bool), stranger: (reads: Bool, writes: Bool))] = [
            (1, (true, false), (true, false)), (3, (false, false), (false, false)), (5, (true, true), (true, false)),
            (6, (true, true), (false, false)), (7, (true, true), (true, false)), (8, (true, true), (false, false)),
        ]

    private static func allows(
        _ wire: Wire, _ allowed: (reads: Bool, writes: Bool), _ who: String
    ) throws {
        for (result, isAllowed, what) in [
            (try read(wire), allowed.reads, "READ"), (try write(wire), allowed.writes, "WRITE"),
        ] {
            if isAllowed { try good(result, "\(what) of \(who)") } else { try refused(result, "\(what) of \(who)") }
        }
    }

    private static let reserving =
        types.map { type, registrant, stranger in
            test(
                "Reserve.Type\(type)", "5.14.1",
                "A reservation of type \(type) keeps those away from the medium that the type says."
            ) { first, second in
                try good(try first.reserveOut(.register, newKey: 0xA), "REGISTER")
                try good(try first.reserveOut(.reserve, type, key: 0xA), "RESERVE")
                try allows(first, (true, true), "the holder")
                try allows(second, stranger, "one who is not registered")
                try good(try second.reserveOut(.register, newKey: 0xB), "REGISTER")
                try allows(second, registrant, "another registrant")
            }
        } + [
            test(
                "Reserve.Again", "5.14.9",
                "RESERVE of the holder with the same type ends with GOOD, with another with RESERVATION CONFLICT."
            ) { first, second in
                try registerBoth(first, second)
                try good(try first.reserveOut(.reserve, 5, key: 0xA), "RESERVE")
                try good(try first.reserveOut(.reserve, 5, key: 0xA), "the same RESERVE again")
                try refused(try first.reserveOut(.reserve, 1, key: 0xA), "RESERVE of another type")
                try refused(try second.reserveOut(.reserve, 5, key: 0xB), "RESERVE of another registrant")
            },
            test(
                "Reserve.BadType", "6.16.2", "RESERVE of a type that there is not, or another scope, is refused."
            ) { first, second in
                try good(try first.reserveOut(.register, newKey: 0xA), "REGISTER")
                for type: UInt8 in [0, 2, 4, 9, 15, 0x11] {
                    try invalid(
                        try first.reserveOut(.reserve, type, key: 0xA), .invalidFieldInCDB, "RESERVE of type \(type)")
                }
                try require(try second.presentReservation() == nil, "no reservation", got: "one")
            },
            test(
                "Release.Attention", "5.14.11.2.2",
                "RELEASE of a reservation that admits registrants tells those by a unit attention, once."
            ) { first, second in
                try registerBoth(first, second)
                try good(try first.reserveOut(.reserve, 5, key: 0xA), "RESERVE")
                try good(try first.reserveOut(.release, 5, key: 0xA), "RELEASE")
                let told = try second.run(.testUnitReady)
                try require(
                    told.sense?.key == .unitAttention && told.sense?.additionalSenseCode == .reservationsReleased,
                    "RESERVATIONS RELEASED", got: told.summary)
                try good(try second.run(.testUnitReady), "the next TEST UNIT READY")
            },
            test(
                "Release.Wrong", "5.14.11.2.2",
                "RELEASE of the holder with another type is refused; of others it is GOOD."
            ) { first, second in
                try registerBoth(first, second)
                try good(try first.reserveOut(.reserve, 1, key: 0xA), "RESERVE")
                try invalid(
                    try first.reserveOut(.release, 3, key: 0xA), .invalidReleaseOfPersistentReservation,
                    "RELEASE with another type")
                try good(try second.reserveOut(.release, 1, key: 0xB), "RELEASE of who holds nothing")
                let present = try second.presentReservation()
                try require(present?.key == 0xA, "the reservation to stay", got: "\(present?.key ?? 0)")
            },
            test(
                "Reserve.Old", "5.14.3", "RESERVE(6) and a registration exclude each other, but for the holder."
            ) { first, second in
                let old = Command([OperationCode.reserve6, 0, 0, 0, 0, 0])
                try good(try first.reserveOut(.register, newKey: 0xA), "REGISTER")
                try refused(try second.run(old), "RESERVE(6) of one who is not registered")
                try good(try first.reserveOut(.reserve, 1, key: 0xA), "RESERVE")
                try good(try first.run(old), "RESERVE(6) of the holder")
                try good(try first.reserveOut(.clear, key: 0xA), "CLEAR")
                try good(try first.run(old), "RESERVE(6)")
                try refused(try second.reserveOut(.register, newKey: 0xB), "REGISTER")
                try good(try first.run(Command([OperationCode.release6, 0, 0, 0, 0, 0])), "RELEASE(6)")
            },
        ]

    // MARK: Preempting

    private static let preempting = [
        test(
            "Preempt.Holder", "5.14.11.3",
            "PREEMPT with the holder's key takes the reservation over, ends the registration, and tells of that."
        ) { first, second in
            try registerBoth(first, second)
            try good(try first.reserveOut(.reserve, 5, key: 0xA), "RESERVE")
            try good(try second.reserveOut(.preempt, 5, key: 0xB, newKey: 0xA), "PREEMPT")
            let keys = try second.registeredKeys().keys
            try require(keys == [0xB], "the key Bh alone", got: "\(keys)")
            let told = try first.run(.testUnitReady)
            try require(
                told.sense?.additionalSenseCode == .registrationsPreempted, "REGISTRATIONS PREEMPTED", got: told.summary
            )
            try refused(try write(first), "WRITE of who was preempted")
            try good(try write(second), "WRITE of the new holder")
        },
        test(
            "Preempt.Unknown", "5.14.11.3", "PREEMPT with a key that nobody has ends with RESERVATION CONFLICT."
        ) { first, second in
            try good(try first.reserveOut(.register, newKey: 0xA), "REGISTER")
            try refused(try first.reserveOut(.preempt, 1, key: 0xA, newKey: 0x77), "PREEMPT")
            try require(try second.registeredKeys().keys == [0xA], "the registration to stay", got: "another")
        },
        test(
            "Preempt.Fence", "5.14.11.4",
            "After PREEMPT AND ABORT ends with GOOD, no write of who was preempted is performed."
        ) { first, second in
            try registerBoth(first, second)
            try good(try first.reserveOut(.reserve, 5, key: 0xA), "RESERVE")
            try good(try write(first), "WRITE of the holder")
            try good(try second.reserveOut(.preemptAndAbort, 5, key: 0xB, newKey: 0xA), "PREEMPT AND ABORT")
            try first.clearUnitAttentions(first.bench.target.logicalUnitNumber)
            try refused(try write(first), "WRITE of who was preempted")
        },
        test("Clear.Attention", "5.14.11.5", "CLEAR ends all registrations and tells the others of that.") {
            first, second in
            try registerBoth(first, second)
            try good(try first.reserveOut(.reserve, 1, key: 0xA), "RESERVE")
            try good(try second.reserveOut(.clear, key: 0xB), "CLEAR")
            let told = try first.run(.testUnitReady)
            try require(
                told.sense?.additionalSenseCode == .reservationsPreempted, "RESERVATIONS PREEMPTED", got: told.summary)
            try require(try first.registeredKeys().keys.isEmpty, "no registration", got: "one")
            try good(try write(first), "WRITE")
        },
    ]
}

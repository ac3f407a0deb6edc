/// Registrations and reservation of a logical unit as they are kept beyond the life of the process.
public struct PersistentReservationRecord: Hashable, Sendable {
    /// A registration.
    public struct Registration: Hashable, Sendable {
        /// Another one for each registration of the unit, in the order in which they came.
        public let number: UInt64
        public let registrant: Registrant
        /// The reservation key, which is not 0.
        public let key: UInt64
        /// Whether somebody else has made it, and the registrant has not used it.
        public let isUnused: Bool

        public init(number: UInt64, registrant: Registrant, key: UInt64, isUnused: Bool) {
            self.number = number
            self.registrant = registrant
            self.key = key
            self.isUnused = isUnused
        }
    }

    /// Whether it is there again after a loss of power (APTPL).
    public let persists: Bool
    /// PRGENERATION.
    public let generation: UInt32
    /// More than the number of any registration.
    public let nextNumber: UInt64
    /// TYPE of the reservation; nil when there is none.
    public let type: UInt8?
    /// The number of the registration that holds it; nil when all do.
    public let holder: UInt64?
    public let registrations: [Registration]

    public init(
        persists: Bool, generation: UInt32, nextNumber: UInt64, type: UInt8?, holder: UInt64?,
        registrations: [Registration]
    ) {
        self.persists = persists
        self.generation = generation
        self.nextNumber = nextNumber
        self.type = type
        self.holder = holder
        self.registrations = registrations
    }

    /// Whether there is nothing that anybody has to know of.
    public var isEmpty: Bool { registrations.isEmpty }
}

/// What keeps registrations and reservations of one logical unit beyond the life of the process.
public protocol PersistentReservationKeeper: Sendable {
    /// What was kept, and is in force again.
    var kept: KeptReservations { get }
    /// Keeps `record`, and calls `completion` with true when it is durable, and with false when it could not be kept
    /// and what was kept before still is. It does not wait; `completion` is called on any thread, and the next record
    /// comes behind that.
    func keep(_ record: PersistentReservationRecord, completion: @escaping @Sendable (Bool) -> Void)
}

/// What a keeper has.
public enum KeptReservations: Hashable, Sendable {
    case none
    case record(PersistentReservationRecord)
    /// Something that cannot be read: the unit is closed to all until somebody replaces or clears it (SPC-5 clause
    /// 5.14.5).
    case unreadable
}

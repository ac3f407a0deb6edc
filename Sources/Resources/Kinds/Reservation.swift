public import struct Foundation.Date

/// Who has registered for persistent reservations with a device, and who holds the reservation (SPC-5 clause 5.14); or
/// who has reserved it with RESERVE. Its name is that of the disk, of the library for its changer, or
/// `LIBRARY/drive:N`.
public enum Reservation: ResourceKind {
    public typealias Spec = NoFields

    public struct Registration: Record {
        /// The name of the initiator port.
        public var initiator = ""
        /// The iSCSI name of the target.
        public var target = ""
        /// The relative identifier of the target port.
        public var targetPort = 1
        /// The reservation key, 16 hexadecimal digits.
        public var key = ""
        /// Since when it is registered.
        public var since: Date?
        /// Whether it holds the reservation.
        public var isHolder = false

        public init() {}

        public var line: String { "\(initiator) key \(key)\(isHolder ? ", holder" : "")" }

        public static let fields: [Field<Registration>] = [
            Field(
                "initiator", \.initiator, .text(.any("name")), .required, column: "INITIATOR PORT",
                help: "The name of the initiator port."),
            Field(
                "target", \.target, .text(.any("name")), .required, column: "TARGET",
                help: "The iSCSI name of the target."),
            Field(
                "targetPort", \.targetPort, .number, .required, column: "PORT",
                help: "The relative identifier of the target port: the tag of its portal group."),
            Field(
                "key", \.key, .text(.any("key")), .required, column: "KEY",
                help: "The reservation key, 16 hexadecimal digits."),
            Field("since", \.since, .date, column: "SINCE", help: "Since when it is registered."),
            Field("isHolder", \.isHolder, .flag, .required, help: "Whether it holds the reservation."),
        ]
    }

    public struct Status: Record {
        /// What others may not do, in SPC's words: `Write Exclusive – Registrants Only`; nil when nobody has reserved
        /// the device.
        public var type: String?
        /// The name of the initiator port that holds the reservation, or `all registrants`.
        public var holder: String?
        /// Since when it is held.
        public var since: Date?
        /// Whether reservation and registrations are there again after the daemon has died.
        public var persists = false
        /// PRGENERATION.
        public var generation = 0
        /// Who is registered, in the order in which they came.
        public var registrations: [Registration] = []

        public init() {}

        public static let fields: [Field<Status>] = [
            Field("type", \.type, .text(.any("type")), column: "TYPE", help: "What others may not do, in SPC's words."),
            Field(
                "holder", \.holder, .text(.any("name")), column: "HOLDER",
                help: "The initiator port that holds it, or 'all registrants'."),
            Field("since", \.since, .date, column: "SINCE", help: "Since when it is held."),
            Field(
                "persists", \.persists, .flag, .required, column: "PERSISTS",
                help: "Whether all of it is there again after the daemon has died (APTPL)."),
            Field("generation", \.generation, .number, .required, help: "PRGENERATION."),
            Field(
                "registrations", \.registrations, .list(Registration.type, maximumCount: 2048), .required,
                column: "REGISTERED", help: "Who is registered."),
        ]
    }

    public static let description = KindDescription(
        Reservation.self, "reservation", "reservations", help: "Show who has reserved devices, and clear that.",
        discussion: """
            Clusters keep nodes that they have given up away from a device by persistent reservations, and backup \
            servers each other from a drive. A device is named by its disk, its library (the changer), or \
            LIBRARY/drive:N.
            """,
        naming: .name(.any("device")), verbs: [.list, .show],
        verbHelp: [
            .list: "Of the devices that somebody has reserved, or is registered with.",
            .show: "With all who are registered, and their keys.",
        ])

    public static var actions: [any ResourceAction.Type] { [Clear.self] }

    public enum Clear: ResourceAction {
        public typealias Kind = Reservation
        public typealias Arguments = NoFields

        public static let description = ActionDescription(
            "clear", Arguments.self, help: "End the reservation of a device, and all registrations.",
            discussion: """
                As PERSISTENT RESERVE OUT with CLEAR, or the end of a RESERVE. Who was kept away may use the device \
                again: only do it when nobody relies on that any more. Who was registered is told by a unit attention.
                """, role: .admin)
    }
}

/// A tape drive of a library.
public enum Drive: ResourceKind {
    public typealias Spec = NoFields

    public struct Status: Record {
        /// The logical unit number in the library's target.
        public var logicalUnitNumber = 0
        /// The name of its profile.
        public var profile = ""
        /// The barcode of the cartridge in it; nil when it is empty.
        public var cartridge: String?
        /// The unit serial number (VPD page 80h).
        public var serialNumber = ""
        /// The NAA designator (VPD page 83h), 16 hexadecimal digits.
        public var naa = ""
        /// The revision of the microcode that it runs (standard INQUIRY data); nil when it is not served.
        public var revision: String?

        public init() {}

        public static let fields: [Field<Status>] = [
            Field(
                "logicalUnitNumber", \.logicalUnitNumber, .number, .required, column: "LUN",
                help: "The logical unit number in the library's target."),
            Field(
                "profile", \.profile, .text(.any("profile")), .required, column: "PROFILE",
                help: "The name of its profile."),
            Field(
                "serialNumber", \.serialNumber, .text(.any("text")), .required, column: "SERIAL",
                help: "The unit serial number (VPD page 80h)."),
            Field("cartridge", \.cartridge, .text(.barcode), column: "CARTRIDGE", help: "The cartridge in it."),
            Field(
                "naa", \.naa, .text(.any("text")), .required,
                help: "The NAA designator (VPD page 83h), 16 hexadecimal digits."),
            Field(
                "revision", \.revision, .text(.any("text")),
                help: "The revision of the microcode that it runs; none while it is not served."),
        ]
    }

    public static let description = KindDescription(
        Drive.self, "drive", "drives", help: "List and show the drives of libraries.",
        naming: .part(of: .name(of: "library"), .element), verbs: [.list, .show])
}

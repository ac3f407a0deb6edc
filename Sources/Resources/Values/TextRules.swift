import ISCSI

// The rules of text in fields, by what it is.
extension TextRule {
    /// The name of a disk, a library, a group of initiators or a target, or what ends its iSCSI name.
    public static func name(of what: String) -> TextRule {
        TextRule("name") { text throws(ManagementError) in
            try DeviceName.check(text, of: what)
            return text
        }
    }

    public static let barcode = TextRule("barcode") { text throws(ManagementError) in
        try Barcode.check(text)
        return text
    }

    /// `slot:3`
    public static let element = TextRule("element") { text throws(ManagementError) in
        try ElementAddress.parse(text).description
    }

    /// Where a cartridge lies when no drive has it: `slot:3`, `mail:1` or `vault`.
    public static let home = TextRule("place") { text throws(ManagementError) in
        try CartridgeLocation.parse(home: text).description
    }

    /// An address and a port to listen on or to go to, `192.0.2.7:3260`.
    public static let portal = TextRule("addr:port") { text throws(ManagementError) in
        try PortalAddress.parse(text).description
    }

    /// An iSCSI name, in its normalised form.
    public static let iSCSIName = TextRule("name") { text throws(ManagementError) in
        guard let name = ISCSIName.normalized(text) else {
            throw ManagementError(
                .invalid, "'\(text)' is no iSCSI name; give a whole one, as in iqn.2004-10.com.example:host")
        }
        return name
    }

    /// A device to show at a target: `disk0`, `vtl` for the changer of that library, `vtl/drive:1`.
    public static let device = TextRule("device") { text throws(ManagementError) in
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        try DeviceName.check(String(parts[0]), of: "device")
        guard parts.count == 2 else { return text }
        let element = try ElementAddress.parse(String(parts[1]))
        guard element.kind == .drive else {
            throw ManagementError(
                .invalid, "'\(text)' is no device; of a library write vtl, or vtl/drive:1 for a drive")
        }
        return "\(parts[0])/\(element)"
    }

    /// The name of a target: an iSCSI name, or what ends that of one of this daemon's own.
    public static let target = TextRule("target") { text throws(ManagementError) in
        if let name = ISCSIName.normalized(text) { return name }
        try DeviceName.check(text, of: "target")
        return text
    }

    /// Where CHAP is asked for, `target:disk0`.
    public static let credentialPlace = TextRule("place") { text throws(ManagementError) in
        try CredentialPlace.parse(text).description
    }

    /// CHAP_N: a name to prove.
    public static let credentialUser = TextRule("user") { text throws(ManagementError) in
        guard (1...255).contains(text.utf8.count), text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw ManagementError(
                .invalid, "'\(text)' is no name for CHAP; give 1 to 255 bytes without control characters")
        }
        return text
    }

    /// A number from a range, as the key of a map.
    public static func number(_ range: ClosedRange<Int>, _ valueName: String = "n") -> TextRule {
        TextRule(valueName) { text throws(ManagementError) in
            guard let number = PlainNumber.parse(text), range.contains(number) else {
                throw ManagementError(
                    .invalid, "'\(text)' is not possible; give a number from \(range.lowerBound) to \(range.upperBound)"
                )
            }
            return "\(number)"
        }
    }

    /// An iSNS server, `isns.example.com:3205`.
    public static let nameServer = TextRule("host:port") { text throws(ManagementError) in
        try NameServerAddress.parse(text).description
    }

    /// A pattern of initiators' names.
    public static let namePattern = TextRule("pattern") { text throws(ManagementError) in
        try NamePattern.parse(text).description
    }

    /// A range of initiators' addresses.
    public static let addressRange = TextRule("range") { text throws(ManagementError) in
        try AddressRange.parse(text).description
    }

    /// The absolute path of a file.
    public static let path = TextRule("file", isPath: true) { text throws(ManagementError) in
        guard text.hasPrefix("/"), text.utf8.count <= maximumPathLength, !text.utf8.contains(0) else {
            throw ManagementError(.invalid, "'\(text)' is no absolute path of at most \(maximumPathLength) bytes")
        }
        return text
    }

    /// PATH_MAX of Linux, less the NUL.
    private static let maximumPathLength = 4095
}

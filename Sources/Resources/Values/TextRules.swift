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

    /// An address and a port to listen on or to go to, `192.0.2.7:3260`.
    public static let portal = TextRule("addr:port") { text throws(ManagementError) in
        try PortalAddress.parse(text).description
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

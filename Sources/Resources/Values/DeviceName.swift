import ISCSI

/// The rules for names of disks and libraries, which end the iSCSI names of their targets.
public enum DeviceName {
    /// How many characters a name may have.
    public static let maximumLength = 64
    /// What stands before the name in the name of its target (RFC 7143 section 4.2.7.4).
    public static let targetPrefix = "iqn.2026-11.dev.carousel:"

    /// The iSCSI name of the target of `name`.
    public static func targetName(_ name: String) -> String { targetPrefix + name }

    /// What people call the target of that iSCSI name: what stands behind our prefix where ``TextRule/target`` takes
    /// that for this target, else the whole name.
    public static func alias(ofTarget name: String) -> String {
        let end = end(ofTarget: name)
        return isValid(end) && ISCSIName.normalized(end) == nil ? end : name
    }

    /// The name of the disk or library that brings the target of that iSCSI name along, if there is one: what stands
    /// behind our prefix, or the whole name.
    public static func end(ofTarget name: String) -> String {
        name.hasPrefix(targetPrefix) ? String(name.dropFirst(targetPrefix.count)) : name
    }

    /// Checks that `name` may be the name of a disk or a library.
    public static func check(_ name: String, of what: String) throws(ManagementError) {
        guard isValid(name) else {
            throw ManagementError(
                .invalid,
                "'\(name)' is no name for a \(what); "
                    + "use 1 to \(maximumLength) of a-z, 0-9, '-' and '.', with a letter or digit first")
        }
    }

    private static func isValid(_ name: String) -> Bool {
        let isAllowed = name.utf8.allSatisfy { character in
            switch character {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "."):
                true
            default: false
            }
        }
        // A leading dot or dash would be a hidden folder or look like an option.
        return isAllowed && !name.isEmpty && name.utf8.count <= maximumLength && !name.hasPrefix(".")
            && !name.hasPrefix("-")
    }
}

/// The name of a snapshot: that of its disk, and its own.
public struct SnapshotName: Hashable, Sendable, CustomStringConvertible {
    /// What stands between the two.
    public static let separator: Character = "@"

    public let disk: String
    /// Unique among the snapshots of the disk.
    public let name: String

    public init(disk: String, name: String) {
        (self.disk, self.name) = (disk, name)
    }

    /// The name that `text` means, `DISK@NAME`; nil when it has another form.
    public init?(_ text: String) {
        let parts = text.split(separator: Self.separator, maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        self.init(disk: String(parts[0]), name: String(parts[1]))
    }

    public var description: String { "\(disk)\(Self.separator)\(name)" }

    /// The name that `text` means.
    ///
    /// - Throws: `ManagementError.Code.invalid` for what no snapshot can be called.
    public static func parse(_ text: String) throws(ManagementError) -> SnapshotName {
        guard let name = SnapshotName(text) else {
            throw ManagementError(.invalid, "'\(text)' is no name of a snapshot; write DISK@NAME, as in disk0@monday")
        }
        try DeviceName.check(name.disk, of: "disk")
        try DeviceName.check(name.name, of: "snapshot")
        return name
    }
}

extension TextRule {
    /// `disk0@monday`
    public static let snapshot = TextRule("disk@name") { text throws(ManagementError) in
        try SnapshotName.parse(text).description
    }

    /// A disk, or a snapshot of one.
    public static let diskOrSnapshot = TextRule("disk[@name]") { text throws(ManagementError) in
        guard !text.contains(SnapshotName.separator) else { return try SnapshotName.parse(text).description }
        try DeviceName.check(text, of: "disk")
        return text
    }
}

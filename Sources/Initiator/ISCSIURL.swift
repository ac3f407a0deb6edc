public import Platform

/// Where a logical unit is, as libiscsi and QEMU write it: `iscsi://HOST[:PORT][/TARGET-NAME[/LUN]]`.
public struct ISCSIURL: Hashable, Sendable, CustomStringConvertible {
    /// The port that IANA assigned to iSCSI (RFC 7143 section 14).
    public static let defaultPort: UInt16 = 3260
    private static let scheme = "iscsi://"

    /// The portal; its host is numeric.
    public let portal: SocketAddress
    /// The target's iSCSI name; nil stands for the portal itself (discovery).
    public let targetName: String?
    /// The number of the logical unit, below 16384.
    public let logicalUnit: Int?

    /// The parts of `text`, or nil when it is no such URL.
    public init?(_ text: String) {
        guard text.hasPrefix(Self.scheme) else { return nil }
        let parts = text.dropFirst(Self.scheme.count).split(separator: "/", omittingEmptySubsequences: false)
        guard (1...3).contains(parts.count), let first = parts.first,
            let portal = SocketAddress(String(first), defaultPort: Self.defaultPort), portal.port != nil
        else { return nil }
        self.portal = portal
        targetName = parts.count > 1 && !parts[1].isEmpty ? String(parts[1]) : nil
        if parts.count > 2 {
            guard targetName != nil, let number = Int(parts[2]), (0..<16_384).contains(number) else { return nil }
            logicalUnit = number
        } else {
            logicalUnit = nil
        }
    }

    /// The URL.
    public var description: String {
        var text = Self.scheme + portal.description
        if let targetName { text += "/" + targetName }
        if let logicalUnit { text += "/\(logicalUnit)" }
        return text
    }
}

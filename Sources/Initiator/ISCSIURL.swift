public import ISCSI
public import Platform

/// Where a logical unit is, as libiscsi and QEMU write it: `iscsi://[USER%SECRET@]HOST[:PORT][/TARGET-NAME[/LUN]]`.
public struct ISCSIURL: Hashable, Sendable, CustomStringConvertible {
    /// The port that IANA assigned to iSCSI (RFC 7143 section 14).
    public static let defaultPort: UInt16 = 3260
    private static let scheme = "iscsi://"

    /// The portal; its host is numeric.
    public let portal: SocketAddress
    /// The initiator's CHAP name and secret.
    public let credential: CHAPCredential?
    /// The target's iSCSI name; nil stands for the portal itself (discovery).
    public let targetName: String?
    /// The number of the logical unit, below 65536.
    public let logicalUnit: Int?

    /// The parts of `text`, or nil when it is no such URL.
    public init?(_ text: String) {
        guard text.hasPrefix(Self.scheme) else { return nil }
        let parts = text.dropFirst(Self.scheme.count).split(separator: "/", omittingEmptySubsequences: false)
        guard (1...3).contains(parts.count), var host = parts.first else { return nil }
        if let at = host.lastIndex(of: "@") {
            guard let credential = Self.credential(host[..<at]) else { return nil }
            self.credential = credential
            host = host[host.index(after: at)...]
        } else {
            credential = nil
        }
        guard let portal = SocketAddress(String(host), defaultPort: Self.defaultPort), portal.port != nil else {
            return nil
        }
        self.portal = portal
        targetName = parts.count > 1 && !parts[1].isEmpty ? String(parts[1]) : nil
        if parts.count > 2 {
            guard targetName != nil, let number = Int(parts[2]), (0..<65_536).contains(number) else { return nil }
            logicalUnit = number
        } else {
            logicalUnit = nil
        }
    }

    /// The credential that `text` names as USER%SECRET; nil when a part is missing.
    public static func credential(_ text: some StringProtocol) -> CHAPCredential? {
        guard let percent = text.firstIndex(of: "%") else { return nil }
        let name = text[..<percent]
        let secret = text[text.index(after: percent)...]
        guard !name.isEmpty, !secret.isEmpty else { return nil }
        return CHAPCredential(name: String(name), secret: Array(secret.utf8))
    }

    /// The URL, without the credential.
    public var description: String {
        var text = Self.scheme + portal.description
        if let targetName { text += "/" + targetName }
        if let logicalUnit { text += "/\(logicalUnit)" }
        return text
    }
}

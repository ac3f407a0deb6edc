/// The form of iSCSI names (RFC 7143 section 4.2.7).
public enum ISCSIName {
    /// The most bytes of an iSCSI name.
    public static let maximumLength = 223

    /// The name in its normalised form, or nil when it is none: `iqn.yyyy-mm.domain[:string]`, `eui.` and 16
    /// hexadecimal digits, or `naa.` and 16 or 32.
    ///
    /// Normalising is lower-casing of ASCII; other characters are taken as they are, for initiators are to apply
    /// the stringprep profile before they send a name (section 4.2.7.2).
    public static func normalized(_ name: String) -> String? {
        guard (1...maximumLength).contains(name.utf8.count) else { return nil }
        let lowered = String(
            decoding: name.utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 },
            as: UTF8.self)
        if lowered.hasPrefix("iqn.") { return isQualified(lowered.utf8.dropFirst(4)) ? lowered : nil }
        if lowered.hasPrefix("eui.") { return isHexadecimal(lowered.utf8.dropFirst(4), counts: [16]) ? lowered : nil }
        if lowered.hasPrefix("naa.") {
            return isHexadecimal(lowered.utf8.dropFirst(4), counts: [16, 32]) ? lowered : nil
        }
        return nil
    }

    /// `yyyy-mm.` and at least one character more, none of them a space, a control character or one of those ASCII
    /// marks that names may not have.
    private static func isQualified(_ rest: Substring.UTF8View) -> Bool {
        let bytes = Array(rest)
        guard bytes.count >= 9 else { return false }
        for position in [0, 1, 2, 3, 5, 6] where !isDigit(bytes[position]) { return false }
        guard bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: ".") else { return false }
        let month = (bytes[5] - UInt8(ascii: "0")) * 10 + bytes[6] - UInt8(ascii: "0")
        guard (1...12).contains(month) else { return false }
        return bytes.dropFirst(8).allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "."), UInt8(ascii: ":"), 0x80...:
                true
            // Not allowed by section 4.2.7.2, yet common in names that administrators choose.
            case UInt8(ascii: "_"), UInt8(ascii: "+"), UInt8(ascii: "@"), UInt8(ascii: "/"): true
            default: false
            }
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func isHexadecimal(_ digits: Substring.UTF8View, counts: [Int]) -> Bool {
        counts.contains(digits.count)
            && digits.allSatisfy { isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0) }
    }
}

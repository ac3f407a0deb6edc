/// The rules for barcodes of cartridges.
public enum Barcode {
    /// How many characters a barcode may have (SMC-3 clause 6.12: the volume identification field).
    public static let maximumLength = 32

    /// Checks that `text` may be a barcode.
    public static func check(_ text: String) throws(ManagementError) {
        let isAllowed = text.utf8.allSatisfy { character in
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "_"):
                true
            default: false
            }
        }
        guard isAllowed, !text.isEmpty, text.utf8.count <= maximumLength, !text.hasPrefix("-") else {
            throw ManagementError(
                .invalid,
                "'\(text)' is no barcode; "
                    + "use 1 to \(maximumLength) of A-Z, 0-9, '-' and '_', with a letter or digit first")
        }
    }

    /// `count` barcodes from `first` on, counting up in its first run of digits: V00001L8, V00002L8, …
    public static func series(from first: String, count: Int) throws(ManagementError) -> [String] {
        try check(first)
        guard count > 1 else { return count == 1 ? [first] : [] }
        let prefix = first.prefix { !$0.isNumber }
        let digits = first.dropFirst(prefix.count).prefix { $0.isNumber }
        let suffix = first.dropFirst(prefix.count + digits.count)
        guard let start = Int(digits), let largest = Int(String(repeating: "9", count: digits.count)) else {
            throw ManagementError(
                .invalid,
                "barcode '\(first)' has no digits to count \(count) cartridges with; use one such as V00001L8")
        }
        guard start <= largest - (count - 1) else {
            throw ManagementError(
                .invalid,
                "\(count) cartridges from barcode '\(first)' on pass \(largest), the last number of its digits; begin "
                    + "with a lower one, or with more digits")
        }
        return (start..<start + count).map { number in
            let text = String(number)
            return prefix + String(repeating: "0", count: digits.count - text.count) + text + suffix
        }
    }
}

/// Numbers as they are written in names, keys and on command lines: digits without a zero before them, and a dash
/// before what is negative. So each number is written in one way, and two ways to write one never become two things.
public enum PlainNumber {
    /// The number that `text` is; nil when it is none, or is written otherwise: `01`, `+1`, `-0`.
    public static func parse<Number: FixedWidthInteger>(
        _ text: some StringProtocol, as type: Number.Type = Int.self
    ) -> Number? {
        guard let number = Number(text), String(number) == String(text) else { return nil }
        return number
    }

    /// The number that `text` is, which is given for `what`. Of those that are no `Number`, `range` is told as what
    /// there is; others beyond it are given.
    ///
    /// - Throws: `ManagementError.Code.invalid`.
    public static func number<Number: FixedWidthInteger>(
        _ text: some StringProtocol, for what: String, in range: ClosedRange<Number>
    ) throws(ManagementError) -> Number {
        if let number = parse(text, as: Number.self) { return number }
        let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
        if let first = digits.first, first != "0", digits.allSatisfy({ $0.isASCII && $0.isNumber }) {
            throw ManagementError(
                .invalid,
                "'\(text)' is beyond the numbers for \(what); give \(range.lowerBound) to "
                    + "\(range.upperBound)")
        }
        throw refusal(text, for: what)
    }

    /// The same with digits after a point, if there are any: `2`, `0.5`.
    public static func decimal(_ text: some StringProtocol, for what: String) throws(ManagementError) -> Double {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let isPlain =
            parse(parts[0], as: Int64.self) != nil
            && parts.dropFirst().allSatisfy { !$0.isEmpty && $0.allSatisfy { $0.isASCII && $0.isNumber } }
        if isPlain, let number = Double(String(text)) { return number }
        throw refusal(text, for: what)
    }

    private static func refusal(_ text: some StringProtocol, for what: String) -> ManagementError {
        ManagementError(
            .invalid, "'\(text)' is no number for \(what); write digits, without a sign or zeros before them")
    }
}
